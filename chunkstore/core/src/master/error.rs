//! Why the chunk master refuses a client's request ([`FsError`]); refusals to chunkservers are in
//! `server_error.rs`. Every text names the thing and the remedy. The HTTP status is decided in the
//! daemon's `http/error.rs` alone.

mod forget;

use chunkstore_protocol::{ChunkId, FileId, ProblemKind, Remedies, Remedy, StorePath};
use ids::HostName;

use super::concat::ConcatError;
use super::error_words::{Hosts, Live, Unfits, WhyNeeded, for_parent, for_room, for_servers};
use super::rights::NotYours;
pub use super::server_error::ServerError;
use super::terms::Outdated;
pub use forget::ForgetError;

/// A refused request of a client or chunkserver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A client's.
    #[error(transparent)]
    Files(#[from] FsError),
    /// A chunkserver's.
    #[error(transparent)]
    Servers(#[from] ServerError),
}

/// A refused request of a client. It had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// There is no entry at the path.
    #[error("{path} does not exist: {folder} has no entry {missing:?}")]
    NotFound {
        /// What was asked for.
        path: StorePath,
        /// The deepest folder that exists.
        folder: StorePath,
        /// What it lacks.
        missing: String,
    },
    /// The folder that should hold the new entry is not there.
    #[error(
        "{path} can't be made: its folder {folder} does not exist; {}", Remedies(&for_parent(path))
    )]
    ParentMissing {
        /// What was to be made.
        path: StorePath,
        /// The folder that is missing.
        folder: StorePath,
    },
    /// The name is taken.
    #[error("{path} already exists: choose another name, or delete it first")]
    AlreadyExists {
        /// The name.
        path: StorePath,
    },
    /// A file is where a folder is needed.
    #[error("{path} can't be reached: {file} is a file, not a folder")]
    NotAFolder {
        /// What was asked for.
        path: StorePath,
        /// The file in the way.
        file: StorePath,
    },
    /// A file was needed.
    #[error("{path} is a folder: name a file in it")]
    IsAFolder {
        /// The folder.
        path: StorePath,
    },
    /// A folder with entries is only removed if the request says so.
    #[error("{path} has entries; {}", Remedies(&[Remedy::Recursive]))]
    FolderNotEmpty {
        /// The folder.
        path: StorePath,
    },
    /// The target lies below the entry that moves.
    #[error("{from} can't move to {to}: that is a place within itself")]
    RenameIntoItself {
        /// What moves.
        from: StorePath,
        /// Where to.
        to: StorePath,
    },
    /// `/` is always there.
    #[error("/ can't be removed, moved or replaced: name something in it")]
    RootStays,
    /// The names below the target would exceed the limit of paths.
    #[error(
        "{to} is too long a name: paths below it would exceed 4096 bytes; choose a shorter one"
    )]
    PathTooLong {
        /// Where it was to go.
        to: StorePath,
    },
    /// The trash can't hold it.
    #[error(
        "{path} can't go to the trash: paths there would exceed 4096 bytes; {}",
        Remedies(&[Remedy::SkipTrash])
    )]
    TooLongForTrash {
        /// What was to be removed.
        path: StorePath,
    },
    /// A name that is not a single part of a path.
    #[error("{name:?} is not a file name: 1 to 255 bytes, without '/', not '.' or '..'")]
    BadName {
        /// As given, cut to 80 characters.
        name: String,
    },
    /// The file is being written.
    #[error("{path} is still being written: wait until its writer has closed it")]
    StillOpen {
        /// The file.
        path: StorePath,
    },
    /// The file is a log.
    #[error(
        "{path} is a log: records are appended to it and read from it one by one (`howdah fs append --lines`, `fs cat`); to use it as a file, put its records into one, as in `howdah fs cat {path} | howdah fs put - FILE`"
    )]
    IsALog {
        /// The log.
        path: StorePath,
    },
    /// The file is no log.
    #[error("{path} is not a log; {}", Remedies(&[Remedy::AppendBytes]))]
    NotALog {
        /// The file.
        path: StorePath,
    },
    /// A chunk that is not the open chunk of any log, or not in this version.
    #[error("chunk {chunk} takes no more records: ask for its log's open chunk")]
    LogEnded {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The path has another file than the one to be replaced, or that file with other bytes, or
    /// none.
    #[error(
        "{path} is not file {} as it was any more: look at what stands there now, and decide again", expected.0
    )]
    Changed {
        /// The path.
        path: StorePath,
        /// The file that was expected.
        expected: FileId,
    },
    /// The file is not open, or is open for another client.
    #[error(
        "this client holds no lease on file {}: it was closed, removed, or its lease expired; {}",
        file.0, Remedies(&[Remedy::WriteAgain])
    )]
    LeaseLost {
        /// The file.
        file: FileId,
    },
    /// A chunk that was not allotted to this writer, or that is finished.
    #[error(
        "chunk {chunk} is not the open chunk of {path}: finish each chunk once, under the version it was allotted with"
    )]
    NotAllotted {
        /// The file.
        path: StorePath,
        /// The chunk.
        chunk: ChunkId,
    },
    /// A server that the chunk was not allotted on.
    #[error(
        "chunk {chunk} of {path} can't be sealed on {host}: it was allotted on other servers; name those that sealed it"
    )]
    NotInPipeline {
        /// The file.
        path: StorePath,
        /// The chunk.
        chunk: ChunkId,
        /// That server.
        host: HostName,
    },
    /// The previous chunk is neither finished nor given up.
    #[error(
        "{path} has the open chunk {chunk}: say that it is sealed or abandoned before asking for another"
    )]
    ChunkStillOpen {
        /// The file.
        path: StorePath,
        /// Its open chunk.
        chunk: ChunkId,
    },
    /// A length that no chunk of this file can have.
    #[error("chunk {chunk} of {path} can't have {length} bytes: 1 to {max} are allowed")]
    BadChunkLength {
        /// The file.
        path: StorePath,
        /// The chunk.
        chunk: ChunkId,
        /// The length in the request.
        length: u64,
        /// The file's limit.
        max: u64,
    },
    /// Too few servers have the chunk for a close to guarantee its durability.
    #[error(
        "chunk {chunk} of {path} is sealed on {} but {needed} replicas are needed: abandon it and write it to another pipeline",
        Hosts(on)
    )]
    TooFewReplicas {
        /// The file.
        path: StorePath,
        /// The chunk.
        chunk: ChunkId,
        /// Who has it.
        on: Vec<HostName>,
        /// How many must have it.
        needed: u8,
    },
    /// Fewer live chunkservers than a chunk needs.
    #[error(
        "a chunk of {path} needs {needed} live chunkserver(s){}, there {}{}; {}",
        WhyNeeded(*needed), Live(live), Unfits(unfit), Remedies(&for_servers(*needed, *starting))
    )]
    NoLiveServers {
        /// The file.
        path: StorePath,
        /// How many are needed at least.
        needed: u8,
        /// The live servers.
        live: Vec<HostName>,
        /// Every known server that can't take it, and why.
        unfit: Vec<Unfit>,
        /// Whether the cluster is so new that none has ever registered.
        starting: bool,
    },
    /// Enough servers are alive, but too few have room.
    #[error(
        "no {needed} chunkserver(s) with room for a chunk of {chunk_bytes} bytes of {path}{}{}; {}",
        WhyNeeded(*needed), Unfits(unfit), Remedies(&for_room(*needed))
    )]
    NoRoom {
        /// The file.
        path: StorePath,
        /// How many are needed at least.
        needed: u8,
        /// The chunk's largest possible length.
        chunk_bytes: u64,
        /// Every known server that can't take it, and why.
        unfit: Vec<Unfit>,
    },
    /// The journal's disk has no room for another segment.
    #[error(
        "the chunk master's journal has no room: free space on its disk (chunkmaster.data_dir, and that of chunkmaster.journal_mirror if there is one); reads go \
         on, and so do removals past the trash (fs rm --skip-trash), which make the journal shorter, and free space on the chunkservers"
    )]
    JournalFull,
    /// A copy of more chunks than the bound.
    #[error(
        "{path} has {given} chunks: at most {max} are shared by one copy; read it and write it anew, with larger chunks"
    )]
    CopyTooLong {
        /// The file.
        path: StorePath,
        /// Its chunks.
        given: usize,
        /// The bound.
        max: usize,
    },
    /// Files that can't become one.
    #[error(transparent)]
    BadConcat(#[from] ConcatError),
    /// It belongs to somebody else.
    #[error(transparent)]
    NotYours(#[from] NotYours),
    /// More owners than the bound.
    #[error(
        "nothing can be made for {owner}: files and folders have {max} different owners already; use a token of one of them, or remove all that some have"
    )]
    TooManyOwners {
        /// The owner that would be one too many.
        owner: String,
        /// The bound.
        max: usize,
    },
    /// The master has just started and is in safe mode.
    #[error(
        "the chunk master has just started and changes nothing before it knows what {} hold(s): try again, in \
         {seconds} s at the latest, or start what does not run",
        Hosts(awaited)
    )]
    SafeMode {
        /// Servers that have not reported what they hold.
        awaited: Vec<HostName>,
        /// When it stops waiting for them, seconds from now.
        seconds: u64,
    },
    /// The journal is an older copy than the cluster's.
    #[error("{0}")]
    JournalOutdated(Outdated),
    /// The chunkserver can't be forgotten or emptied.
    #[error(transparent)]
    Forget(#[from] ForgetError),
    /// It is not known yet what the server holds, so neither are its orphans.
    #[error(
        "chunkserver {host} is not alive, or has not told all that it holds yet: try again when it has"
    )]
    NotReported {
        /// The server in the request.
        host: HostName,
    },
    /// A page size out of range.
    #[error("limit {given} is not allowed: 1 to {max} entries a page")]
    BadLimit {
        /// The limit in the request.
        given: u32,
        /// The highest allowed limit.
        max: u32,
    },
    /// A number of replicas out of range.
    #[error("replication {given} is not allowed: 1 to {max}")]
    BadReplication {
        /// The number in the request.
        given: u8,
        /// The highest allowed number.
        max: u8,
    },
    /// A chunk length out of range.
    #[error(
        "chunks of {given} bytes are not allowed; {}", Remedies(&[Remedy::ChunkBytes])
    )]
    BadChunkBytes {
        /// The length in the request.
        given: u64,
    },
    /// Two winners of a publish, or a winner and the marker, have the same name.
    #[error("publish names {name:?} twice: every winner and the marker need a name of their own")]
    NamedTwice {
        /// That name.
        name: String,
    },
    /// A publish of more files than the bound.
    #[error("publish of {given} files is too large: at most {max} at once; use fewer reduces")]
    PublishTooLarge {
        /// Files in the request.
        given: usize,
        /// The bound.
        max: usize,
    },
    /// A late duplicate of an earlier request.
    #[error(
        "request {sequence} of this client's slot comes after request {last}: it is a stray copy and was not carried out"
    )]
    StaleRequest {
        /// Its number.
        sequence: u64,
        /// The last one of the slot.
        last: u64,
    },
    /// The stamp was already used for another request.
    #[error(
        "request {sequence} of this client's slot was another request: number every new request anew"
    )]
    StampReused {
        /// Its number.
        sequence: u64,
    },
}

/// Why a server was not given a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The server.
    pub host: HostName,
    /// Its reason.
    pub why: UnfitReason,
}

/// See [`Unfit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfitReason {
    /// It has not been heard from for too long.
    Dead {
        /// Since when it counts as dead, seconds ago.
        seconds: u64,
    },
    /// It is to be emptied.
    Draining,
    /// Its disks are full.
    NoRoom {
        /// What it has left, bytes, without its reserve and the space promised to other chunks.
        free_bytes: u64,
    },
}

impl Refusal {
    /// What to do, as far as programs may say it in words of their own: the sentence ends with these.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Files(error) => error.remedies(),
            Self::Servers(_) => Vec::new(),
        }
    }

    /// The stable kind that programs act on.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::Files(error) => error.kind(),
            Self::Servers(error) => error.kind(),
        }
    }
}

impl FsError {
    /// See [`Refusal::remedies`].
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::ParentMissing { path, .. } => for_parent(path),
            Self::FolderNotEmpty { .. } => vec![Remedy::Recursive],
            Self::TooLongForTrash { .. } => vec![Remedy::SkipTrash],
            Self::NotALog { .. } => vec![Remedy::AppendBytes],
            Self::LeaseLost { .. } => vec![Remedy::WriteAgain],
            Self::NoLiveServers { needed, starting, .. } => for_servers(*needed, *starting),
            Self::NoRoom { needed, .. } => for_room(*needed),
            Self::BadChunkBytes { .. } => vec![Remedy::ChunkBytes],
            _ => Vec::new(),
        }
    }

    /// The stable kind that programs act on.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::NotFound { .. } | Self::ParentMissing { .. } => ProblemKind::NotFound,
            Self::Forget(error) => error.kind(),
            Self::NotReported { .. } => ProblemKind::UnknownServer,
            Self::SafeMode { .. } => ProblemKind::Starting,
            Self::JournalOutdated(_) => ProblemKind::JournalOutdated,
            Self::AlreadyExists { .. } => ProblemKind::AlreadyExists,
            Self::NotAFolder { .. } => ProblemKind::NotAFolder,
            Self::IsAFolder { .. } => ProblemKind::IsAFolder,
            Self::FolderNotEmpty { .. } => ProblemKind::FolderNotEmpty,
            Self::RenameIntoItself { .. } => ProblemKind::RenameIntoItself,
            Self::StillOpen { .. } => ProblemKind::StillOpen,
            Self::IsALog { .. } | Self::NotALog { .. } => ProblemKind::LogOrNot,
            Self::LogEnded { .. } => ProblemKind::LogEnded,
            Self::Changed { .. } => ProblemKind::Changed,
            Self::LeaseLost { .. } => ProblemKind::LeaseLost,
            Self::TooFewReplicas { .. } => ProblemKind::TooFewReplicas,
            Self::NoLiveServers { starting: true, .. } => ProblemKind::Starting,
            Self::NoLiveServers { .. } | Self::NoRoom { .. } => ProblemKind::NoServers,
            Self::JournalFull => ProblemKind::OutOfSpace,
            Self::NotYours(_) => ProblemKind::Forbidden,
            Self::RootStays
            | Self::PathTooLong { .. }
            | Self::TooLongForTrash { .. }
            | Self::BadName { .. }
            | Self::NotAllotted { .. }
            | Self::NotInPipeline { .. }
            | Self::ChunkStillOpen { .. }
            | Self::BadChunkLength { .. }
            | Self::BadLimit { .. }
            | Self::BadReplication { .. }
            | Self::BadChunkBytes { .. }
            | Self::NamedTwice { .. }
            | Self::PublishTooLarge { .. }
            | Self::CopyTooLong { .. }
            | Self::BadConcat(_)
            | Self::TooManyOwners { .. }
            | Self::StaleRequest { .. }
            | Self::StampReused { .. } => ProblemKind::InvalidRequest,
        }
    }
}
