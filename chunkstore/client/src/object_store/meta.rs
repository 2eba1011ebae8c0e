//! Objects' metadata, and errors, in the terms of the crate `object_store`.

use chrono::DateTime;
use chunkstore_protocol::{FileId, FileKind, FileStatus};
use object_store::path::Path;
use object_store::{Attributes, Error, ObjectMeta, PutResult, Result};

use crate::StoreError;

/// Any reason.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The e-tag of a file; `None` for a folder.
fn e_tag(status: &FileStatus) -> Option<String> {
    match status.kind {
        FileKind::File { file, length, .. } => Some(format!("\"{}-{length}\"", file.0)),
        FileKind::Folder => None,
    }
}

/// The file and length that an e-tag stands for.
pub(super) fn tagged(e_tag: &str) -> Option<(FileId, u64)> {
    let inner = e_tag.strip_prefix('"')?.strip_suffix('"')?;
    let (file, length) = inner.split_once('-')?;
    Some((FileId(file.parse().ok()?), length.parse().ok()?))
}

/// Whether the object found is this file.
pub(super) fn is_of(found: &ObjectMeta, file: FileId) -> bool {
    found.e_tag.as_deref().and_then(tagged).is_some_and(|(tagged, _)| tagged == file)
}

/// The metadata of the file at `location`; `None` for a folder.
pub(super) fn object(location: Path, status: &FileStatus) -> Option<ObjectMeta> {
    let FileKind::File { length, .. } = status.kind else { return None };
    let millis = i64::try_from(status.modified.0).unwrap_or(i64::MAX);
    let last_modified = DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::UNIX_EPOCH);
    let e_tag = e_tag(status);
    Some(ObjectMeta { location, last_modified, size: length, e_tag, version: None })
}

/// The result of putting a file.
pub(super) fn put_result(status: &FileStatus) -> PutResult {
    PutResult { e_tag: e_tag(status), version: None, extensions: Default::default() }
}

/// Refuses attributes: only an object's bytes are kept.
pub(super) fn refuse_attributes(attributes: &Attributes) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let (operation, implementer) = ("attributes".to_owned(), "the chunk store".to_owned());
    Err(Error::NotImplemented { operation, implementer })
}

/// An error without a more specific kind.
pub(super) fn generic(source: impl Into<Source>) -> Error {
    Error::Generic { store: "howdah", source: source.into() }
}

/// The error that there is no such object.
pub(super) fn missing(location: &Path, source: impl Into<Source>) -> Error {
    Error::NotFound { path: location.to_string(), source: source.into() }
}

/// The error that the object exists already.
pub(super) fn taken(location: &Path) -> Error {
    let source = format!("there is an object {location} already").into();
    Error::AlreadyExists { path: location.to_string(), source }
}

/// The error that the object is not the expected one.
pub(super) fn changed(location: &Path, source: impl Into<Source>) -> Error {
    Error::Precondition { path: location.to_string(), source: source.into() }
}

/// Converts a failure with the object at `location`.
pub(super) fn failed(location: &Path, error: StoreError) -> Error {
    let path = location.to_string();
    match error {
        StoreError::NotFound { .. } => Error::NotFound { path, source: error.into() },
        StoreError::AlreadyExists { .. } => Error::AlreadyExists { path, source: error.into() },
        StoreError::Changed { .. } => Error::Precondition { path, source: error.into() },
        StoreError::Forbidden { .. } => Error::PermissionDenied { path, source: error.into() },
        error => generic(error),
    }
}

/// Converts a failure with a requested object: below a file there are no objects.
pub(super) fn not_found(location: &Path, error: StoreError) -> Error {
    match error {
        StoreError::NotAFolder { .. } => missing(location, error),
        error => failed(location, error),
    }
}

#[cfg(test)]
mod tests {
    use ids::UnixMillis;

    use super::*;

    #[test]
    fn a_tag_names_the_file_and_changes_with_its_length() {
        let status = |length| FileStatus {
            path: "/a".parse().unwrap(),
            owner: String::new(),
            created: UnixMillis(1),
            modified: UnixMillis(1500),
            kind: FileKind::File {
                file: FileId(7),
                length,
                replication: 2,
                chunk_bytes: 1 << 20,
                n_chunks: 1,
                open: false,
                cut: false,
                log: false,
            },
        };
        let tag = |length| put_result(&status(length)).e_tag.unwrap();
        assert_ne!(tag(3), tag(4));
        assert_eq!(tagged(&tag(3)), Some((FileId(7), 3)));
        for wrong in ["", "7-3", "\"7\"", "\"x-3\"", "\"7-x\"", "\"", "\"-\""] {
            assert_eq!(tagged(wrong), None, "{wrong:?}");
        }
        let meta = object(Path::from("a"), &status(3)).unwrap();
        assert_eq!((meta.size, meta.last_modified.timestamp_millis()), (3, 1500));
        let folder = FileStatus { kind: FileKind::Folder, ..status(0) };
        assert_eq!(object(Path::from("a"), &folder), None);
    }
}
