//! The errors, one type per operation; each says which file, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use crate::frame::Flaw;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", file.display())]
pub struct FileError {
    /// What was tried, as a verb: "write", "sync".
    pub action: &'static str,
    /// The file or folder.
    pub file: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// A journal that cannot be created, opened or read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no journal where there must be one.
    #[error(
        "there is no journal in {}: an empty journal is never taken for a new cluster, since it may be a \
         lost or unmounted disk. If this is a new cluster, start once with --init; else mount or restore \
         the folder", dir.display()
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// `create` found an existing journal.
    #[error("there is a journal in {} already: start without --init, or name another folder", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// `create` found the marks of a journal whose other files are missing.
    #[error(
        "{} is left of a journal whose other files are not there: a new one would pass for that one. Look for that \
         journal, which may be in its other folder; if it is to be given up, remove this file, then start again",
        file.display()
    )]
    Leftover {
        /// The mark.
        file: PathBuf,
    },
    /// Another process has it open.
    #[error(
        "the journal in {} is in use by another process (pid {holder}): stop that one, or name another folder",
        dir.display()
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Process id that the lock file names.
        holder: String,
    },
    /// Stored bytes differ from what was written.
    #[error(
        "{} is corrupt at byte {offset}: {flaw}. Nothing was changed. Put a copy of the journal's folder \
         there that has all of its records; one that is older than the cluster is refused by the chunk master. `howdah \
         journal verify` checks it", file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Offset of the frame or header.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
    },
    /// One of a journal's two folders is corrupt.
    #[error(
        "{source}. If the journal in {} is whole, stop its daemon and let `howdah journal repair {} --from {}` \
         make this folder good", other.display(), dir.display(), other.display()
    )]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        other: PathBuf,
        /// What is wrong in it.
        source: Box<Self>,
    },
    /// The two folders of a journal hold different records, or snapshots, under the same number.
    #[error(
        "{} at byte {offset} and {} at byte {other_offset} differ, but both are record {sequence}: these folders \
         were written apart from each other. Nothing was changed. Find out which of them counts, move the other \
         one away, and start again: it is filled anew", file.display(), other.display()
    )]
    Diverged {
        /// The file in one folder.
        file: PathBuf,
        /// Where the record's frame begins.
        offset: u64,
        /// The file in the other one.
        other: PathBuf,
        /// Where the record's frame begins there.
        other_offset: u64,
        /// The record, or the last one that the snapshots cover.
        sequence: u64,
    },
    /// The two folders are not known to belong to one journal.
    #[error(
        "the journal in {} is another one than that in {}, or nothing shows that it is the same. Nothing was \
         changed. Name the folder that belongs to it, or an empty one, which is filled", dir.display(),
        other.display()
    )]
    OtherJournal {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// The only folder that is available lacks records that were acknowledged.
    #[error(
        "the journal in {} is behind: its disk failed, or it was being filled, while the journal's other folder \
         went on, and that one is not there. Mount, name or restore that one. If it is lost for ever, remove the \
         file {} to start without what was acknowledged since", dir.display(),
        crate::folder::behind_path(dir).display()
    )]
    Behind {
        /// The folder.
        dir: PathBuf,
    },
    /// Only one of the journal's two folders is available, and nothing shows that it went on
    /// without the other one.
    #[error(
        "the journal in {} is one of two folders, and {other}: that one may have gone on alone, and hold what this one \
         lacks. Nothing was changed. Mount, name or restore the other one, and keep both named until a start has found \
         them the same. Only if it is lost for ever, and this one was in use to the end, or if both are whole and \
         journal_mirror is taken out on purpose, start once with --accept-one-journal-folder", dir.display()
    )]
    OneOfTwo {
        /// The folder.
        dir: PathBuf,
        /// What is known of the other one.
        other: OtherFolder,
    },
    /// The file was written by a newer release.
    #[error(
        "{} has format version {found}, this release reads {}: start the release that wrote it, or a newer one",
        file.display(), crate::FORMAT_VERSION
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The system refused an operation.
    #[error("{0}. Check the folder's owner, mode and free space")]
    File(#[from] FileError),
}

/// Why one folder of a journal must do without the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherFolder {
    /// The configuration names only one.
    NotNamed,
    /// It is empty.
    Empty(PathBuf),
    /// Its disk fails, with this error of the system.
    Lost(String),
}

impl fmt::Display for OtherFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed => write!(f, "the other one is not named (journal_mirror)"),
            Self::Empty(dir) => write!(f, "there is nothing in the other one, {}", dir.display()),
            Self::Lost(error) => write!(f, "the other one can't be read ({error})"),
        }
    }
}

/// A record that was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It is longer than a record may be, or than fits into a segment.
    #[error("a record of {bytes} bytes is longer than {limit}: it must be cut into several")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The segment is full and the next one is not ready yet: [`crate::Durability::RoomChanged`]
    /// will be reported.
    #[error("the journal's next segment is still being prepared: wait for it")]
    NotYet,
    /// The segment is full and there is no room for another: free space on the disk.
    #[error(
        "the journal's last segment is full and its disk has no room for another: free some space"
    )]
    NoRoom,
    /// An earlier write or sync failed.
    #[error("the journal has failed and takes no records any more: the process must end")]
    Failed,
}

/// A write or sync failed. What it covered may or may not be on disk; it is never retried.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal has failed: {0}. The process must end; its next start finds out what is on disk"
)]
pub struct JournalError(#[from] pub FileError);

/// A record or snapshot that the fold does not accept: it is from a newer release, or of another
/// kind.
#[derive(Debug, thiserror::Error)]
#[error("the journal holds what this release cannot read: {0}")]
pub struct FoldError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl FoldError {
    /// Wraps the decoder's error.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// No snapshot was made. The journal is unchanged, and goes on.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The old snapshot or a closed segment cannot be read.
    #[error(transparent)]
    Read(#[from] OpenError),
    /// The fold does not accept a record.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The new file can't be written, or old ones can't be removed.
    #[error("no snapshot was made: {0}")]
    Write(#[from] FileError),
}

/// Adds the operation and the file to an I/O error.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, file: &std::path::Path) -> Result<T, FileError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, file: &std::path::Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, file: file.to_owned(), source })
    }
}
