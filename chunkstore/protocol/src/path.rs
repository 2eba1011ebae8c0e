//! The one path parser: every entrance of the chunk store, REST or CLI, takes a [`StorePath`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Length limit of a whole path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Length limit of one part of a path, in bytes (HDFS: 255).
pub const PART_BYTES_MAX: usize = 255;

/// The folder of the system's own files. Whoever uses the chunk store may look into it, and change
/// nothing there but [`PROGRAMS_FOLDER`] and [`TRASH_FOLDER`].
pub const SYSTEM_FOLDER: &str = "/.howdah";
/// Where goes what users remove: `<time>-<number>/<the path that it had>`. From there they may move it back,
/// or remove it for good.
pub const TRASH_FOLDER: &str = "/.howdah/trash";
/// Where users leave executables for the system, each under its SHA-256 in hexadecimal. One that is
/// still being put has a name with a dot.
pub const PROGRAMS_FOLDER: &str = "/.howdah/programs";

/// An absolute path of the chunk store: `/` or `/part/part`, parts of UTF-8 without `/` and NUL,
/// never empty, `.` or `..`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct StorePath(Arc<str>);

impl Serialize for StorePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

ids::text_schema!(
    StorePath,
    r"^(/|(/[^/\u0000]+)+)$",
    "An absolute path of the chunk store: parts of up to 255 bytes, none empty, `.` or `..`, 4096 bytes in all."
);

/// Why a text is not a path of the chunk store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("path {0:?} is not absolute: write it with a leading '/'")]
    Relative(String),
    /// It has an empty, `.` or `..` part.
    #[error(
        "path {0:?} has an empty, '.' or '..' part: write each folder's name once, without them"
    )]
    BadPart(String),
    /// It holds a NUL byte.
    #[error("path {0:?} holds a NUL byte")]
    Nul(String),
    /// One part, or the whole, is too long.
    #[error("path {0:?}… is too long: at most 255 bytes a part and 4096 in all")]
    TooLong(String),
}

impl StorePath {
    /// The folder that holds all: `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The parts from the root down; none for the root.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The last part; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.parts().next_back()
    }

    /// The folder above; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.0.rsplit_once('/')?;
        match (self.is_root(), above) {
            (true, _) => None,
            (false, "") => Some(Self::root()),
            (false, above) => Some(Self(above.into())),
        }
    }

    /// This path with `relative` (one or more parts) below it.
    ///
    /// # Errors
    /// When the result breaks a rule of paths.
    pub fn join(&self, relative: &str) -> Result<Self, PathError> {
        let above = if self.is_root() { "" } else { self.as_str() };
        format!("{above}/{relative}").parse()
    }

    /// Whether `text` may be one part of a path: a file's or folder's name.
    #[must_use]
    pub fn is_part(text: &str) -> bool {
        !matches!(text, "" | "." | "..")
            && text.len() <= PART_BYTES_MAX
            && !text.bytes().any(|byte| matches!(byte, b'/' | 0))
    }

    /// Whether this path is `folder` or lies below it, by whole parts (`/a/b` is not below `/a/bc`).
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        match self.0.strip_prefix(folder.as_str()) {
            Some(rest) => folder.is_root() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl FromStr for StorePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let shown = || text.chars().take(80).collect::<String>();
        let Some(below_root) = text.strip_prefix('/') else {
            return Err(PathError::Relative(shown()));
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong(shown()));
        }
        if text.contains('\0') {
            return Err(PathError::Nul(shown()));
        }
        if below_root.is_empty() {
            return Ok(Self::root());
        }
        for part in below_root.split('/') {
            if matches!(part, "" | "." | "..") {
                return Err(PathError::BadPart(shown()));
            }
            if part.len() > PART_BYTES_MAX {
                return Err(PathError::TooLong(shown()));
            }
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for StorePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.as_str().to_owned()
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_parsed_once_and_walked_by_whole_parts() {
        let path: StorePath = "/a/b c/ü".parse().unwrap();
        assert_eq!(path.parts().collect::<Vec<_>>(), ["a", "b c", "ü"]);
        assert_eq!(path.name(), Some("ü"));
        assert_eq!(path.parent().unwrap().as_str(), "/a/b c");
        assert_eq!("/a".parse::<StorePath>().unwrap().parent(), Some(StorePath::root()));
        assert_eq!(StorePath::root().parent(), None);
        assert_eq!(StorePath::root().join("x/y").unwrap().as_str(), "/x/y");
        let within =
            |a: &str, b: &str| a.parse::<StorePath>().unwrap().is_within(&b.parse().unwrap());
        assert!(within("/a/b", "/a") && within("/a", "/a") && within("/a", "/"));
        assert!(!within("/ab", "/a") && !within("/", "/a"));
    }

    #[test]
    fn what_could_escape_or_surprise_is_refused() {
        let long_part = format!("/{}", "x".repeat(256));
        let long_path = "/x".repeat(2049);
        for bad in ["", "a", "//", "/a//b", "/a/", "/.", "/a/../b", "/a\0b", &long_part, &long_path]
        {
            assert!(bad.parse::<StorePath>().is_err(), "{bad:?}");
        }
        for name in ["", ".", "..", "a/b", "a\0", "x", "..x", "ü", &"x".repeat(256)] {
            let path = StorePath::root().join(name);
            let is_part = path.is_ok_and(|path| path.name() == Some(name));
            assert_eq!(StorePath::is_part(name), is_part, "{name:?}");
        }
    }
}
