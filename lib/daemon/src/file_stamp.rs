//! Detects whether a file has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Changes with every edit of a file, whether in place or by replacing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    file: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileStamp {
    /// The file's stamp; `None` if there is no file, or it can't be examined. May wait for a disk.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let modified = (file.mtime(), file.mtime_nsec());
        Some(Self { file: file.ino(), length: file.len(), modified })
    }
}
