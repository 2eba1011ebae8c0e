//! Whether a file is another one than before.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What changes with every edit of a file, in place or by a new one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    file: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileStamp {
    /// Looks at the file; absent where there is none, or it can't be looked at. May wait for a disk.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let modified = (file.mtime(), file.mtime_nsec());
        Some(Self { file: file.ino(), length: file.len(), modified })
    }
}
