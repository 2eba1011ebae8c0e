//! Clients and the chunk master: the life of a file under its writer, and where its chunks are.
//!
//! A writer's life: [`Create`] gives the first [`Allocation`]; the bytes of a chunk go through its
//! pipeline; the [`SealedChunk`] that comes back goes to the master with the next [`Allocate`] or with
//! [`Close`]. Until the close the file is not listed as readable, and its lease must be renewed.
//! [`Append`] opens a closed file again: it stays readable as it was, and what is new appears at the close.

use std::sync::Arc;

use ids::{ClientId, HostName, RackName, RequestStamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, FileId, OpenLogChunk, ProblemKind, Replace, StorePath, Version};

/// Replicas of a file that may be asked for, at most.
pub const REPLICATION_MAX: u8 = 10;

/// Chunks of one [`Located`]; for those that follow, ask again from the end of the last.
pub const LOCATE_CHUNKS_MAX: usize = 10_000;

/// Paths of one [`LocateMany`].
pub const LOCATE_PATHS_MAX: usize = 1000;
/// Chunks of one file in the reply to a [`LocateMany`].
pub const LOCATE_MANY_CHUNKS_MAX: usize = 1000;

/// A chunkserver as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ServerAddress {
    /// Its host, which locality compares.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` to connect to.
    pub address: String,
}

impl ServerAddress {
    /// The name under which capabilities speak of sending to this server: no path of a file, as
    /// [`ChunkId::resource`].
    #[must_use]
    pub fn resource(&self) -> String {
        format!("server/{}", self.address)
    }
}

/// `POST /v1/files/create` → [`Created`]. Opens a new file for one writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Makes a retry safe; its client is the holder of the lease.
    pub stamp: RequestStamp,
    /// Where the file appears, open until closed.
    pub path: StorePath,
    /// Make missing folders above; without it they must exist (a zombie's staging folder does not).
    #[serde(default)]
    pub parents: bool,
    /// Replicas asked for; the master's default if absent.
    #[serde(default)]
    pub replication: Option<u8>,
    /// Length limit of the file's chunks ([`crate::is_chunk_limit`]); the master's default if absent.
    #[serde(default)]
    pub chunk_bytes: Option<u64>,
    /// The writer's host, for the first replica.
    #[serde(default)]
    pub writer_host: Option<HostName>,
    /// What becomes of the file if its lease ends before it is closed.
    #[serde(default, skip_serializing_if = "IfWriterDies::is_default")]
    pub if_writer_dies: IfWriterDies,
}

/// What becomes of an open file whose writer is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfWriterDies {
    /// It disappears.
    #[default]
    Remove,
    /// It is closed at its last sealed chunk, and marked: see [`FileKind::File`](crate::FileKind::File)'s `cut`.
    Close,
}

impl IfWriterDies {
    /// Whether this need not be said. Journals keep digests of requests: those of old ones must not change.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `POST /v1/files/append` → [`Created`]. Opens a closed file for one writer, to put more behind its end.
/// Until the close it is readable as it was. If the writer dies it is closed at its last sealed chunk; if it
/// gives up ([`Abandon`]), the file is what it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Append {
    /// Makes a retry safe; its client is the holder of the lease.
    pub stamp: RequestStamp,
    /// The file.
    pub path: StorePath,
    /// The writer's host, for the first replica.
    #[serde(default)]
    pub writer_host: Option<HostName>,
}

/// Reply to [`Create`] and [`Append`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The file for the calls that follow.
    pub file: FileId,
    /// Replicas asked for.
    pub replication: u8,
    /// Length limit of its chunks, bytes.
    pub chunk_bytes: u64,
    /// How long the lease lasts without [`Renew`], milliseconds.
    pub lease_ms: u64,
    /// Where to write the first chunk.
    pub allocation: Allocation,
}

/// A chunk to be written, and the pipeline it goes through, nearest server first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allocation {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// The servers, at least one.
    pub pipeline: Vec<ServerAddress>,
    /// Capability to write this chunk on these servers.
    pub token: String,
}

/// A chunk that servers have written, synced and sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedChunk {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Its length, bytes; more than 0.
    pub length: u64,
    /// CRC32C of its bytes.
    pub checksum: u32,
    /// The servers that hold it.
    pub servers: Vec<HostName>,
}

/// Reply of a chunkserver to `POST /v1/chunks/{chunk}/freeze?version=N`, sent when a pipeline has failed: an
/// upload of the chunk to this server ends, and from the reply on nothing is added.
/// `POST /v1/chunks/{chunk}/seal?version=N&length=N` → [`SealedChunk`] of that server alone then seals the
/// chunk at that many bytes; a block must end there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frozen {
    /// Bytes of the chunk that are there and verified.
    pub length: u64,
    /// Whether they are sealed: the replica has that length for ever.
    #[serde(default)]
    pub sealed: bool,
    /// Of a log: whether bytes follow that are no record, so that more may have been here than is verified.
    #[serde(default)]
    pub damaged: bool,
    /// Of a log: whether an earlier process of the server left it, so that nobody remembers how much there was.
    #[serde(default)]
    pub found: bool,
}

/// `POST /v1/files/allocate` → [`Allocation`]. The next chunk of an open file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allocate {
    /// Makes a retry safe; its client must hold the lease.
    pub stamp: RequestStamp,
    /// The open file.
    pub file: FileId,
    /// The chunk just finished, if one was. It is appended to the file.
    #[serde(default)]
    pub sealed: Option<SealedChunk>,
    /// A chunk that could not be written and is given up.
    #[serde(default)]
    pub abandoned: Option<ChunkId>,
    /// Servers that failed this writer: not to be chosen if there are others.
    #[serde(default)]
    pub exclude: Vec<HostName>,
    /// The writer's host, for the first replica.
    #[serde(default)]
    pub writer_host: Option<HostName>,
}

/// `POST /v1/files/close` → [`crate::FileStatus`]. From the reply on the file is readable, whole and durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Close {
    /// Makes a retry safe; its client must hold the lease.
    pub stamp: RequestStamp,
    /// The open file.
    pub file: FileId,
    /// The last chunk, if it has bytes.
    #[serde(default)]
    pub sealed: Option<SealedChunk>,
    /// An allocated chunk that was not used.
    #[serde(default)]
    pub abandoned: Option<ChunkId>,
    /// The name that the file gets in the same step; where it can't have it, the file stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<CloseInto>,
}

/// Where a file goes as it is closed: nobody ever finds it whole under the name that it was written by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseInto {
    /// The path.
    pub path: StorePath,
    /// Whether it may take another file's place there.
    #[serde(default, skip_serializing_if = "Replace::is_never")]
    pub replace: Replace,
}

/// `POST /v1/files/abandon` → [`Done`]. The writer gives up: the open file disappears; one opened by
/// [`Append`] loses what was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Abandon {
    /// Makes a retry safe; its client must hold the lease.
    pub stamp: RequestStamp,
    /// The open file.
    pub file: FileId,
}

/// Files of one [`Renew`], at most.
pub const RENEW_FILES_MAX: usize = 1000;

/// `POST /v1/files/renew` → [`Done`]. Keeps the leases of a writer that has nothing else to say. Refused
/// only when none of the files is held any more. A writer whose connection ends while this is being answered
/// is taken for dead soon, unless it renews again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renew {
    /// The holder.
    pub client: ClientId,
    /// Its open files.
    pub files: Vec<FileId>,
    /// How long to wait with the answer, milliseconds; up to a minute.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Nothing to say but that it is done, durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

/// `POST /v1/files/locate` → [`Located`]. Where the chunks of a file are that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Locate {
    /// The file.
    pub path: StorePath,
    /// First byte of interest.
    #[serde(default)]
    pub offset: u64,
    /// Bytes of interest; to the end if absent.
    #[serde(default)]
    pub length: Option<u64>,
    /// Whether the sealed chunks of an open file are of interest too: it may yet grow, or disappear.
    /// Without it, one that was never closed is refused, and one opened by [`Append`] ends where it did.
    #[serde(default)]
    pub open: bool,
    /// Whether the asker can read a log: its chunks hold frames, not the bytes that somebody put there. Without
    /// it, a log is refused.
    #[serde(default)]
    pub log: bool,
}

/// Reply to [`Locate`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Located {
    /// Which file stands there: another one of that name has another.
    pub file: FileId,
    /// Length of the whole file, bytes; of an open one, as far as it was asked for.
    pub length: u64,
    /// The chunks that cover the range, in order: at most [`LOCATE_CHUNKS_MAX`], the first ones.
    pub chunks: Vec<ChunkLocation>,
    /// Of a log that has one: its open chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_log: Option<OpenLogChunk>,
}

/// `POST /v1/files/locate_many` → [`LocatedMany`]. Where many files are, in one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocateMany {
    /// The files, at most [`LOCATE_PATHS_MAX`].
    pub paths: Vec<StorePath>,
}

/// Reply to [`LocateMany`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocatedMany {
    /// One for each path, in their order.
    pub files: Vec<PathLocation>,
}

/// Where one of many files is, or why it is not told. What is wrong with one says nothing of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PathLocation {
    /// As [`Locate`] tells it, but at most the first [`LOCATE_MANY_CHUNKS_MAX`] chunks; for those that follow
    /// in its length, ask with that.
    Located(Located),
    /// As the problem document of a [`Locate`] says it.
    Refused {
        /// What programs act on.
        kind: ProblemKind,
        /// For people.
        detail: String,
    },
}

/// One chunk of a file and its live replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChunkLocation {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Its first byte's offset in the file.
    pub offset: u64,
    /// Its length, bytes.
    pub length: u64,
    /// CRC32C of its bytes.
    pub checksum: u32,
    /// Live servers that hold it; empty if none is known just now. Shared: few servers are told of very often.
    pub servers: Vec<Arc<ServerAddress>>,
    /// Capability to read it.
    pub token: String,
}
