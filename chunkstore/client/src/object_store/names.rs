//! Maps objects' locations to the paths of their files, and names what is under way.

use chunkstore_protocol::path::SYSTEM_FOLDER;
use chunkstore_protocol::{FileStatus, StorePath};
use object_store::path::Path;
use object_store::{Error, Result};

use super::meta::generic;

/// Prefix of the names of files that are not objects yet: of a put (`.upload-ID`), or of a part
/// (`.upload-ID-PART`). They are not listed, and no object may have such a name.
const UPLOAD_PREFIX: &str = ".upload-";
/// Random bytes in an id.
const ID_BYTES: usize = 8;

/// Maps names below a root folder.
#[derive(Clone, Debug)]
pub(super) struct Names {
    root: StorePath,
}

impl Names {
    pub(super) fn new(root: StorePath) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &StorePath {
        &self.root
    }

    /// The file of an object.
    pub(super) fn object(&self, location: &Path) -> Result<StorePath> {
        if location.as_ref().is_empty() {
            return Err(generic("an object needs a name: the empty one is that of all together"));
        }
        if location.parts().any(|part| part.as_ref().starts_with(UPLOAD_PREFIX)) {
            return Err(generic(format!(
                "no object can be called {location}: names with {UPLOAD_PREFIX} are those of uploads under way"
            )));
        }
        self.root.join(location.as_ref()).map_err(generic)
    }

    /// The folder of all objects below `prefix`.
    pub(super) fn folder(&self, prefix: Option<&Path>) -> Result<StorePath> {
        match prefix.filter(|prefix| !prefix.as_ref().is_empty()) {
            Some(prefix) => self.root.join(prefix.as_ref()).map_err(generic),
            None => Ok(self.root.clone()),
        }
    }

    /// The location of a file or folder; an error if the crate's locations can't express it.
    pub(super) fn location(&self, path: &StorePath) -> Result<Path> {
        let below = match self.root.is_root() {
            true => path.as_str(),
            false => path.as_str().strip_prefix(self.root.as_str()).unwrap_or(path.as_str()),
        };
        Path::parse(below).map_err(Error::from)
    }

    /// Whether a listed entry is an object, or may hold some.
    pub(super) fn is_shown(entry: &FileStatus) -> bool {
        let is_upload = entry.path.name().is_some_and(|name| name.starts_with(UPLOAD_PREFIX));
        !is_upload && entry.path.as_str() != SYSTEM_FOLDER
    }

    /// A new temporary name beside `path`.
    pub(super) fn beside(path: &StorePath) -> Result<StorePath> {
        sibling(path, &format!("{UPLOAD_PREFIX}{}", net::random_hex(ID_BYTES)))
    }

    /// The id of a new multipart upload.
    pub(super) fn new_upload() -> String {
        net::random_hex(ID_BYTES)
    }

    /// The id of a new part.
    pub(super) fn new_part() -> String {
        net::random_hex(ID_BYTES)
    }

    /// The file of a part of an upload to `path`.
    pub(super) fn part(path: &StorePath, upload: &str, part: &str) -> Result<StorePath> {
        if !is_id(part) {
            return Err(generic(format!("{part:?} is no part of an upload to {path}")));
        }
        sibling(path, &format!("{}{part}", Self::parts(path, upload)?))
    }

    /// In a folder, everything under way comes after this name.
    pub(super) fn before_uploads() -> String {
        UPLOAD_PREFIX.to_owned()
    }

    /// The id of the upload or put that a file belongs to; `None` if its name is not of that form.
    pub(super) fn upload_of(path: &StorePath) -> Option<&str> {
        let ids = path.name()?.strip_prefix(UPLOAD_PREFIX)?;
        let (upload, part) = ids.split_once('-').map_or((ids, None), |(id, part)| (id, Some(part)));
        (is_id(upload) && part.is_none_or(is_id)).then_some(upload)
    }

    /// Prefix of the names of an upload's parts.
    pub(super) fn parts(path: &StorePath, upload: &str) -> Result<String> {
        match is_id(upload) {
            true => Ok(format!("{UPLOAD_PREFIX}{upload}-")),
            false => Err(generic(format!("{upload:?} is no upload to {path}"))),
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn sibling(path: &StorePath, name: &str) -> Result<StorePath> {
    path.parent().unwrap_or_else(StorePath::root).join(name).map_err(generic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StorePath {
        text.parse().unwrap()
    }

    #[test]
    fn locations_and_paths_are_each_others_and_keep_every_letter() {
        for root in ["/", "/objects", "/a/b"] {
            let names = Names::new(path(root));
            for location in ["a", "a/b c", "ü/%2F.x", "a/😀"] {
                let location = Path::parse(location).unwrap();
                let file = names.object(&location).unwrap();
                assert_eq!(names.location(&file).unwrap(), location, "{file}");
            }
        }
        let names = Names::new(path("/o"));
        assert_eq!(names.folder(Some(&Path::default())).unwrap(), path("/o"));
        assert!(names.location(&path("/o/a\nb")).is_err(), "no location holds a newline");
    }

    #[test]
    fn what_is_under_way_has_names_that_no_object_has() {
        let names = Names::new(path("/o"));
        let upload = Names::new_upload();
        let part = Names::part(&path("/o/a/b"), &upload, &Names::new_part()).unwrap();
        assert_eq!(part.parent(), Some(path("/o/a")));
        let beside = Names::beside(&path("/o/a/b")).unwrap();
        for file in [part, beside] {
            assert!(names.object(&names.location(&file).unwrap()).is_err(), "{file}");
        }
        for wrong in ["", "a/b", "..", "0123456789abcde/", "0123456789abcdef0"] {
            assert!(Names::part(&path("/o/a"), &upload, wrong).is_err(), "{wrong:?}");
            assert!(Names::parts(&path("/o/a"), wrong).is_err(), "{wrong:?}");
        }
        assert!(names.object(&Path::default()).is_err());
    }
}
