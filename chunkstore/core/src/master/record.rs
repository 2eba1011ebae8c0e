//! What the chunk master journals: one record for each mutating request that was granted, with the
//! request's stamp and all that its reply needs. Records are facts that include the ids they use:
//! applying one decides nothing. Not here: what servers hold and which are alive, as servers report
//! that again.
//!
//! Records are encoded by field names, so that fields can be added with a serde default. Each fits
//! into the journal: paths are bounded, and a publish is split by [`WINNER_BYTES_PER_RECORD`].

use chunkstore_protocol::{ChunkId, FileId, IfWriterDies, SealedChunk, ServerAddress, Version};
use ids::{ClusterId, Epoch, HostName, UnixMillis};
use serde::{Deserialize, Serialize};

pub use super::moved::Moved;
pub use super::stamp::{RequestDigest, Stamp};

/// Winners of a publish go into one record until their names have this many bytes; then another one
/// begins. Half of the journal's limit of 1 MiB leaves room for the rest of the record.
pub(crate) const WINNER_BYTES_PER_RECORD: usize = 512 << 10;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(id: &u64) -> bool {
    *id == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unknown(at: &UnixMillis) -> bool {
    at.0 == 0
}

/// A fact of the chunk master's durable state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The cluster exists from here on: always the first record.
    ClusterInitialised {
        /// Its identity.
        cluster: ClusterId,
    },
    /// A master process began to serve: a new term.
    Started {
        /// Its epoch.
        epoch: Epoch,
        /// The random number of its term.
        #[serde(default, skip_serializing_if = "is_zero")]
        id: u64,
        /// The first chunk id that it may give out, if it skips some. Ids are skipped so that none
        /// is the same as one given out in another history of this journal, after which it was
        /// restored from a copy.
        #[serde(default, skip_serializing_if = "is_zero")]
        first_chunk: u64,
        /// The number of the journal's last record before this one.
        #[serde(default, skip_serializing_if = "is_zero")]
        after: u64,
    },
    /// The journal is accepted although the cluster may have gone on without it: epochs and ids
    /// continue from these.
    OldJournalAccepted {
        /// The next start's epoch is higher.
        epoch: Epoch,
        /// The id for the next entry.
        next_file: u64,
        /// The id for the next chunk.
        next_chunk: u64,
    },
    /// A chunkserver that was not known registered: from here on it belongs to the cluster.
    ServerJoined {
        /// Its host.
        host: HostName,
    },
    /// A chunkserver no longer belongs to the cluster.
    ServerForgotten {
        /// The request.
        stamp: Stamp,
        /// Its host.
        host: HostName,
    },
    /// A chunkserver is to be emptied, or no longer.
    ServerDraining {
        /// The request.
        stamp: Stamp,
        /// Its host.
        host: HostName,
        /// Whether it is to be emptied.
        on: bool,
    },
    /// A file was opened for one writer.
    FileCreated {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// The file's name.
        name: String,
        /// The file.
        file: FileId,
        /// Replicas asked for.
        replication: u8,
        /// Length limit of its chunks.
        chunk_bytes: u64,
        /// Its first chunk.
        allotted: Allotted,
        /// What becomes of it if its writer is silent for too long.
        #[serde(default, skip_serializing_if = "IfWriterDies::is_default")]
        if_writer_dies: IfWriterDies,
        /// Its owner; empty for none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
    },
    /// A closed file was opened for one writer, who appends to it.
    FileReopened {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
        /// Its next chunk.
        allotted: Allotted,
    },
    /// An open file got its next chunk.
    ChunkAllocated {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
        /// The chunk before it if that is finished; otherwise that one was given up.
        sealed: Option<Sealed>,
        /// The chunk.
        allotted: Allotted,
    },
    /// A file is complete. A chunk that is allotted and not in `sealed` is given up.
    FileClosed {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
        /// Its last chunk, if that has any bytes.
        sealed: Option<Sealed>,
        /// Where it went in the same step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<Box<Moved>>,
    },
    /// The writer gave up an open file.
    FileAbandoned {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
    },
    /// The writer of a reopened file gave up: the file is as it was before.
    AppendAbandoned {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
    },
    /// The writer of a reopened file was silent for too long: the file is as it was before.
    AppendLapsed {
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
    },
    /// The writer of an open file was silent for too long: the file is removed.
    LeaseExpired {
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
    },
    /// The writer of an open file was silent for too long: the file is closed after its last sealed
    /// chunk.
    WriterDied {
        /// When.
        at: UnixMillis,
        /// The file.
        file: FileId,
        /// Whether it is marked as cut.
        cut: bool,
    },
    /// An empty log was created.
    LogCreated {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// The log's name.
        name: String,
        /// The log.
        file: FileId,
        /// Replicas asked for.
        replication: u8,
        /// Length limit of its chunks.
        chunk_bytes: u64,
        /// Its owner.
        owner: String,
    },
    /// A log got an open chunk.
    LogChunkAllotted {
        /// The log.
        file: FileId,
        /// The chunk, its primary first.
        allotted: Allotted,
    },
    /// The primary of a log's open chunk may take records.
    LogChunkBegun {
        /// The log.
        file: FileId,
        /// Identifies this beginning: a primary that has forgotten it can't begin again.
        beginning: u64,
        /// When; zero in records of the releases before.
        #[serde(default, skip_serializing_if = "is_unknown")]
        at: UnixMillis,
    },
    /// A log's open chunk is sealed, or given up.
    LogChunkEnded {
        /// When.
        at: UnixMillis,
        /// The log.
        file: FileId,
        /// The sealed chunk; `None` if it holds nothing that was acknowledged.
        sealed: Option<Sealed>,
    },
    /// Folders were made.
    FoldersMade {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// Their owner; empty for none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
    },
    /// A file or folder moved.
    Renamed {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// What moved.
        entry: FileId,
        /// The folder that it went to.
        parent: FileId,
        /// Its new name.
        name: String,
        /// The file that was there and is replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced: Option<FileId>,
    },
    /// A copy of a file was made, which shares its chunks.
    Copied {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file that was copied.
        source: FileId,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// The copy's name.
        name: String,
        /// The copy.
        file: FileId,
        /// The file that was there and is replaced.
        replaced: Option<FileId>,
        /// The copy's owner.
        owner: String,
    },
    /// Several files became one that has all their chunks.
    Concatenated {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// These files, in the order of their chunks; at least one.
        parts: Vec<FileId>,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// The new file's name.
        name: String,
        /// The new file.
        file: FileId,
        /// The file that was there and is replaced.
        replaced: Option<FileId>,
        /// The new file's owner.
        owner: String,
    },
    /// A file asks for another number of replicas, which [`Record::ReplicationSpread`] applies to
    /// its chunks.
    ReplicationSet {
        /// The request.
        stamp: Stamp,
        /// The file.
        file: FileId,
        /// The new number of replicas.
        replication: u8,
    },
    /// A file or folder got another owner.
    OwnerSet {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The file or folder.
        entry: FileId,
        /// The new owner.
        owner: String,
    },
    /// A new replication was applied to the next chunks of the files that ask for it.
    ReplicationSpread {
        /// The limit of chunks.
        chunks: u32,
    },
    /// A file, or a folder with everything below it, was removed for good.
    Deleted {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// What was removed.
        entry: FileId,
    },
    /// A file or folder was moved to the trash.
    Trashed {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// What was removed.
        entry: FileId,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before.
        folders: Vec<NewFolder>,
        /// Its name in the last of them.
        name: String,
        /// The owner of the new folders.
        owner: String,
    },
    /// A folder of the trash was removed for good.
    TrashEmptied {
        /// When.
        at: UnixMillis,
        /// The folder.
        folder: FileId,
    },
    /// Some of the winners of the [`Record::Published`] that follows. Changes nothing visible; if
    /// that record never comes because the master died in between, it is forgotten at the next
    /// start.
    WinnersGathered {
        /// These winners.
        winners: Vec<Adopted>,
    },
    /// The winners in a staging folder became a folder of their own; the rest of the staging folder
    /// was removed.
    Published {
        /// The request.
        stamp: Stamp,
        /// When.
        at: UnixMillis,
        /// The staging folder.
        staging: FileId,
        /// The deepest folder that already existed.
        parent: FileId,
        /// Folders made below it, each in the one before; the last is the target.
        folders: Vec<NewFolder>,
        /// The winners, after those gathered before.
        winners: Vec<Adopted>,
        /// Name of the empty file that marks the folder as complete.
        marker: String,
        /// That file.
        marker_file: FileId,
        /// Replicas asked for the marker.
        replication: u8,
        /// Length limit of the marker's chunks, should it ever get any.
        chunk_bytes: u64,
        /// The owner of all that; empty for none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
    },
    /// The next entries of removed subtrees were reclaimed.
    Reclaimed {
        /// The limit of entries.
        entries: u32,
    },
}

impl Record {
    /// The request that it carries out; `None` for what the master does of its own accord, or in
    /// several records.
    #[must_use]
    pub fn stamp(&self) -> Option<&Stamp> {
        match self {
            Self::FileCreated { stamp, .. }
            | Self::FileReopened { stamp, .. }
            | Self::ChunkAllocated { stamp, .. }
            | Self::FileClosed { stamp, .. }
            | Self::FileAbandoned { stamp, .. }
            | Self::AppendAbandoned { stamp, .. }
            | Self::LogCreated { stamp, .. }
            | Self::FoldersMade { stamp, .. }
            | Self::Renamed { stamp, .. }
            | Self::Copied { stamp, .. }
            | Self::Concatenated { stamp, .. }
            | Self::ReplicationSet { stamp, .. }
            | Self::OwnerSet { stamp, .. }
            | Self::Deleted { stamp, .. }
            | Self::Trashed { stamp, .. }
            | Self::Published { stamp, .. }
            | Self::ServerForgotten { stamp, .. }
            | Self::ServerDraining { stamp, .. } => Some(stamp),
            Self::ClusterInitialised { .. }
            | Self::Started { .. }
            | Self::OldJournalAccepted { .. }
            | Self::ServerJoined { .. }
            | Self::LeaseExpired { .. }
            | Self::WriterDied { .. }
            | Self::AppendLapsed { .. }
            | Self::LogChunkAllotted { .. }
            | Self::LogChunkBegun { .. }
            | Self::LogChunkEnded { .. }
            | Self::ReplicationSpread { .. }
            | Self::TrashEmptied { .. }
            | Self::WinnersGathered { .. }
            | Self::Reclaimed { .. } => None,
        }
    }
}

/// A folder in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFolder {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: String,
}

/// A winner in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted(
    /// The file.
    pub FileId,
    /// Its name in the target folder.
    pub String,
);

/// A chunk given to a writer, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allotted {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// The servers, to repeat the reply from; the locations of replicas are not durable.
    pub pipeline: Vec<ServerAddress>,
}

/// A finished chunk in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Its length, bytes.
    pub length: u64,
    /// CRC32C of its bytes.
    pub checksum: u32,
}

impl From<&SealedChunk> for Sealed {
    fn from(told: &SealedChunk) -> Self {
        let SealedChunk { chunk, version, length, checksum, servers: _ } = told;
        Self { chunk: *chunk, version: *version, length: *length, checksum: *checksum }
    }
}
