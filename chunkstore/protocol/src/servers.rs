//! Chunkservers and the chunk master: registration, heartbeats, chunk reports.
//!
//! Heartbeats deliver [`ReplicaEvent`]s and [`ServerCommand`]s by number (see `ids::Outbox`): each side
//! repeats what is not acknowledged. After a registration both start from 1, and the server first
//! delivers every replica that it holds: that is the chunk report.

use ids::{ClusterId, Epoch, HeartbeatNumber, HostName, Numbered, RackName, RequestStamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, ServerAddress, Version};

/// Replica events that one heartbeat carries at most.
pub const EVENTS_PER_HEARTBEAT_MAX: usize = 10_000;

/// Chunks that one [`BrokenChunks`] asks about at most.
pub const BROKEN_CHUNKS_MAX: usize = 256;

/// Disks that one server has at most.
pub const DISKS_MAX: usize = 64;
/// Length limit of a text of a [`DiskState`].
pub const DISK_TEXT_BYTES_MAX: usize = 800;

/// Reply to `GET /v1/cluster` of the chunk master (any role): which cluster this is. `jobtracker --init`
/// asks it for the id that its own data folder then keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterInfo {
    /// The id minted by `chunkmaster --init`.
    pub cluster: ClusterId,
    /// The chunk master's term.
    pub epoch: Epoch,
}

/// A start of the chunk master: two journals that parted may both have its epoch, and not its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Term {
    /// The master's epoch.
    pub epoch: Epoch,
    /// A random number.
    pub id: u64,
}

/// `POST /v1/servers/register` → [`ServerRegistered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterServer {
    /// [`crate::PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
    /// The cluster in the data folder; absent for an empty one, which then joins this cluster.
    pub cluster: Option<ClusterId>,
    /// The last term that it was told to keep; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
    /// The last record of that term's journal that it was told of and has kept; 0 if none was.
    #[serde(default)]
    pub last_record: u64,
    /// Its host name.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` where clients reach it.
    pub address: String,
    /// Random per process: a second process with the same host name is told from a restart.
    pub incarnation: u64,
    /// Size of its disks, bytes.
    pub capacity_bytes: u64,
    /// Free for chunks, bytes.
    pub free_bytes: u64,
    /// Each of its disks, at most [`DISKS_MAX`].
    #[serde(default)]
    pub disks: Vec<DiskState>,
}

/// One disk of a server: a data folder, as it was found last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DiskState {
    /// The folder.
    pub path: String,
    /// Size, bytes; 0 of a failed one.
    pub capacity_bytes: u64,
    /// Free for chunks, bytes; folders on one file system each tell all of it.
    pub free_bytes: u64,
    /// Sealed replicas on it.
    pub replicas: u64,
    /// Files in its trash: orphans, and replicas that were found broken.
    pub trash_files: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Of these files, the broken replicas.
    pub broken_files: u64,
    /// Why it is not used: it could not be opened at start, or failed since.
    pub failed: Option<String>,
}

/// Reply to [`RegisterServer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerRegistered {
    /// The cluster, to be kept in the data folder.
    pub cluster: ClusterId,
    /// The master's term.
    pub epoch: Epoch,
    /// Number of this registration within the epoch: an older one's messages are refused.
    pub session: u64,
    /// Time between heartbeats, milliseconds.
    pub heartbeat_interval_ms: u64,
}

/// `POST /v1/servers/heartbeat` → [`ServerHeartbeatReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerHeartbeat {
    /// The sender.
    pub host: HostName,
    /// The epoch it is registered with.
    pub epoch: Epoch,
    /// Its registration.
    pub session: u64,
    /// From 1 within the session.
    pub number: HeartbeatNumber,
    /// Size of its disks, bytes.
    pub capacity_bytes: u64,
    /// Free for chunks, bytes.
    pub free_bytes: u64,
    /// Each of its disks, at most [`DISKS_MAX`].
    #[serde(default)]
    pub disks: Vec<DiskState>,
    /// Replicas won and lost, unacknowledged ones first.
    pub events: Vec<Numbered<ReplicaEvent>>,
    /// Whether everything held at registration is delivered with this message.
    pub report_complete: bool,
    /// Every command up to this number is carried out.
    pub commands_done: u64,
}

/// `POST /v1/servers/broken` → [`Purgeable`]: a server has broken replicas of these chunks in its trash, and their
/// time is over. May they go?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokenChunks {
    /// The chunks, at most [`BROKEN_CHUNKS_MAX`]; what comes after these is not answered.
    pub chunks: Vec<ChunkId>,
}

/// Reply to [`BrokenChunks`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purgeable {
    /// Those that no file refers to, or of which a live server has a sound replica. What is broken of the others may
    /// be all that there is of them.
    pub chunks: Vec<ChunkId>,
}

/// `POST /v1/servers/forget` → [`crate::Done`]: a dead server no longer belongs to the cluster, and nobody
/// waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgetServer {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The server.
    pub host: HostName,
    /// Also if it is the last one that may have records of a log's open chunk: they are lost then.
    #[serde(default)]
    pub lose_records: bool,
    /// Also if it is the last one that may have chunks of files: they are lost then.
    #[serde(default)]
    pub lose_chunks: bool,
}

/// `POST /v1/servers/drain` → [`crate::Done`]: a server is to be emptied, so that it can be taken away; or no
/// longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainServer {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// The server.
    pub host: HostName,
    /// Stop it: the server gets new chunks again.
    #[serde(default)]
    pub stop: bool,
}

/// What happened to a replica on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReplicaEvent {
    /// It is held, sealed and synced.
    Held {
        /// The chunk.
        chunk: ChunkId,
        /// The version that it was written under.
        version: Version,
        /// Its length, bytes.
        length: u64,
        /// CRC32C of its bytes.
        checksum: u32,
    },
    /// A replica of a log's open chunk is here.
    LogHeld {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// Whether it takes no more records.
        ended: bool,
    },
    /// Told at a registration: a replica that was found broken is kept here, of which some blocks may be sound.
    Broken {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
    },
    /// A [`ServerCommand::Copy`] or [`ServerCommand::Assemble`] has ended.
    CopyEnded {
        /// The chunk.
        chunk: ChunkId,
        /// The command's number.
        command: u64,
        /// Whether it is sealed and synced there.
        done: bool,
    },
    /// A [`ServerCommand::Verify`] has ended.
    Verified {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// Whether all of it was read, as it was sealed; one that is broken is told to be lost before.
        whole: bool,
    },
    /// It is gone: deleted as told, or found missing or corrupt.
    Lost {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
    },
}

/// Reply to [`ServerHeartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerHeartbeatReply {
    /// The master's epoch.
    pub epoch: Epoch,
    /// The number of its [`Term`], to be kept in the data folders before anything else is done; absent while it
    /// takes no changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_id: Option<u64>,
    /// The last record of the master's journal, which is on disk: kept with the term now and then. 0 while no term is told.
    #[serde(default)]
    pub last_record: u64,
    /// Every event up to this number has arrived.
    pub events_received: u64,
    /// What to do, unacknowledged ones first.
    pub commands: Vec<Numbered<ServerCommand>>,
}

/// What the master tells a server to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum ServerCommand {
    /// No file refers to this replica any more (or it is stale): remove it.
    Delete {
        /// The chunk.
        chunk: ChunkId,
        /// The version to remove; another version stays.
        version: Version,
        /// Only a report showed it, and no file is known that it was ever of: it goes to the server's trash,
        /// and can be put back from there for a while.
        #[serde(default)]
        orphan: bool,
    },
    /// Send this replica to another server; answered by [`ReplicaEvent::CopyEnded`].
    Copy {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// Where it goes.
        to: ServerAddress,
        /// What for.
        #[serde(default)]
        purpose: CopyPurpose,
    },
    /// Put a replica together from the sound blocks of those that were found broken, here and on other servers;
    /// answered by [`ReplicaEvent::CopyEnded`].
    Assemble {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// Its length, bytes.
        length: u64,
        /// CRC32C of its bytes.
        checksum: u32,
        /// The other servers.
        from: Vec<ServerAddress>,
    },
    /// Read all of this replica: others are to be removed. Answered by
    /// [`ReplicaEvent::Verified`].
    Verify {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
    },
    /// End the open chunk of a log: seal, on all of its servers that can be asked, what these have in common, and
    /// tell by [`crate::EndLog`].
    EndLog {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// All of its servers; of a chunk that was sealed without them, those that are to seal it too.
        servers: Vec<ServerAddress>,
        /// Bytes that it was sealed with, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<u64>,
    },
}

/// What a copy is for. Each has a rate of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CopyPurpose {
    /// Replicas are missing, or in the wrong place.
    #[default]
    Repair,
    /// Some servers are fuller than others.
    Balance,
}
