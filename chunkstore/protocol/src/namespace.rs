//! Clients and the chunk master: the tree of folders and files.

use ids::{RequestStamp, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FileId, StorePath};

/// Entries of one page of a [`Listing`].
pub const LIST_ENTRIES_MAX: u32 = 10_000;

/// Characters of an owner's name; what is longer is cut, or refused.
pub const OWNER_CHARS_MAX: usize = 128;

/// Files of one [`Concat`].
pub const CONCAT_PARTS_MAX: usize = 1000;

/// `POST /v1/files/stat` → [`FileStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stat {
    /// What to look at.
    pub path: StorePath,
}

/// A file or folder as listings and `stat` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileStatus {
    /// Its full path.
    pub path: StorePath,
    /// The subject of the token that created it; `task` while it is a task's and not yet published.
    pub owner: String,
    /// When it was created.
    pub created: UnixMillis,
    /// When it was created or closed, or when a folder's entries changed last.
    pub modified: UnixMillis,
    /// What it is.
    #[serde(flatten)]
    pub kind: FileKind,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Which file it is, wherever it moves: never that of another, nor of a copy.
        file: FileId,
        /// Its length, bytes; of an open file, its sealed chunks; of one opened by [`crate::Append`], what it
        /// had before.
        length: u64,
        /// Replicas asked for.
        replication: u8,
        /// Length limit of its chunks, bytes.
        chunk_bytes: u64,
        /// Number of chunks.
        n_chunks: u64,
        /// Whether a writer still holds it.
        open: bool,
        /// Whether its writer died before closing it ([`crate::IfWriterDies::Close`]): it ends with the last
        /// chunk that was sealed, and more may have been meant to follow. Whoever appends to it and closes
        /// it takes the mark away.
        #[serde(default)]
        cut: bool,
        /// Whether records are appended to it ([`crate::CreateLog`]); its length is that of its sealed chunks.
        #[serde(default)]
        log: bool,
    },
}

/// `POST /v1/files/list` → [`Listing`]. One page of a folder; of a file, itself. Recursively, every folder is
/// followed by what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// The folder.
    pub path: StorePath,
    /// Names after this one; absent for the first page. Recursively, paths relative to the folder.
    #[serde(default)]
    pub after: Option<String>,
    /// All that is below the folder, too.
    #[serde(default)]
    pub recursive: bool,
    /// Entries wanted, 1 to 10,000.
    pub limit: u32,
}

/// `POST /v1/files/count` → [`Counted`]. How much there is at and below a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// A folder, which counts itself, or a file.
    pub path: StorePath,
}

/// Reply to [`Count`]. What changes while it is counted is counted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Folders.
    pub folders: u64,
    /// Files, open ones included.
    pub files: u64,
    /// Their lengths together, bytes.
    pub bytes: u64,
    /// The same, each length as often as its file asks for replicas. Copies share theirs on disk; here
    /// each counts.
    pub replica_bytes: u64,
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.folders += other.folders;
        self.files += other.files;
        self.bytes += other.bytes;
        self.replica_bytes += other.replica_bytes;
    }
}

/// A page of a folder, sorted by the names' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<FileStatus>,
    /// Pass as `after` for the next page; absent at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// `POST /v1/files/mkdir` → [`Done`](crate::Done). With `parents` an existing folder is fine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mkdir {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The folder to make.
    pub path: StorePath,
    /// Make missing folders above too.
    #[serde(default)]
    pub parents: bool,
}

/// What becomes of a file that stands where another is to go. A folder is never replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    /// Nothing may stand there.
    #[default]
    Never,
    /// It goes, in the same step.
    Always,
    /// It goes if it is this very file; another one, or none, is refused.
    Only(FileId),
    /// It goes if it is this very file and still has so many bytes; one that was appended to since is refused too.
    OnlyOf {
        /// The file.
        file: FileId,
        /// Its length in bytes.
        length: u64,
    },
}

impl Replace {
    /// Whether this is what a request means that does not say: so it is left out, and requests keep their
    /// digests.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::Never
    }

    /// The one file that may be replaced, where only one may.
    #[must_use]
    pub fn expected(&self) -> Option<FileId> {
        match *self {
            Self::Never | Self::Always => None,
            Self::Only(file) | Self::OnlyOf { file, .. } => Some(file),
        }
    }
}

/// `POST /v1/files/rename` → [`Done`](crate::Done). Atomic, for files and folders. Onto itself it is done without a
/// change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rename {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// What to move.
    pub from: StorePath,
    /// Its new path.
    pub to: StorePath,
    /// Whether a closed file may go over another.
    #[serde(default, skip_serializing_if = "Replace::is_never")]
    pub replace: Replace,
}

/// `POST /v1/files/copy` → [`FileStatus`] of the copy. A closed file's copy shares its chunks: no byte is read
/// or written, and each chunk goes with the last file that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Copy {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The file.
    pub from: StorePath,
    /// The copy's path.
    pub to: StorePath,
    /// Whether it may go over another file.
    #[serde(default)]
    pub replace: Replace,
    /// Make missing folders above `to`.
    #[serde(default)]
    pub parents: bool,
}

/// `POST /v1/files/concat` → [`FileStatus`] of the new file. Closed files become one, of their chunks in this order:
/// no byte is read or written, and the parts are gone in the same step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concat {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The files, each named once: 1 to [`CONCAT_PARTS_MAX`].
    pub parts: Vec<StorePath>,
    /// The new file's path; not that of a part.
    pub to: StorePath,
    /// Whether it may go over another file.
    #[serde(default)]
    pub replace: Replace,
    /// Make missing folders above `to`.
    #[serde(default)]
    pub parents: bool,
}

/// `POST /v1/files/set_replication` → [`Done`](crate::Done). How many replicas a closed file asks for. Chunks that it shares
/// with copies keep the highest number asked for them while they are shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetReplication {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The file.
    pub path: StorePath,
    /// Replicas wanted from now on.
    pub replication: u8,
}

/// `POST /v1/files/set_owner` → [`Done`](crate::Done). Whose a file or folder is: what is below a folder keeps its own
/// owner, and the folder's may change it too. For superusers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetOwner {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// What is to be another's.
    pub path: StorePath,
    /// The name of its owner from now on, at most [`OWNER_CHARS_MAX`] characters.
    pub owner: String,
}

/// `POST /v1/files/may_make` → [`Done`](crate::Done). Whether the caller may make something at a path: refused as making
/// it would be because of whose the folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MayMake {
    /// Where.
    pub path: StorePath,
}

/// `POST /v1/files/delete` → [`Done`](crate::Done). What users remove goes to the trash ([`crate::path::TRASH_FOLDER`])
/// first, unless it is of the system's own, a new file that was never closed, or there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// What to remove.
    pub path: StorePath,
    /// Remove a folder's entries too.
    #[serde(default)]
    pub recursive: bool,
    /// Remove it for good.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_trash: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// `POST /v1/files/publish` → [`Done`](crate::Done). In one transaction: makes `target` (it must not exist), moves
/// the winners from the staging folder into it, adds the marker, removes the staging folder with all
/// that lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The folder that holds the winners.
    pub staging: StorePath,
    /// What to move.
    pub winners: Vec<Winner>,
    /// The folder to make; missing folders above it are made too.
    pub target: StorePath,
    /// An empty file that says the folder is whole (`_SUCCESS`).
    pub marker: String,
    /// For whom a master asks: whose the output is, who must be allowed to make it. Absent: the master itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// One file of a [`Publish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Winner {
    /// Name in the staging folder; it must be closed.
    pub staged: String,
    /// Name in the target folder.
    pub published: String,
}
