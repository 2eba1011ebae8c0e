//! How the chunk store is: the report on its servers and repairs, and the check of files below a path.

use ids::{Epoch, HostName, RackName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, DiskState, StorePath};

/// Bad chunks on one page of a check at most.
pub const FSCK_CHUNKS_MAX: u32 = 1000;
/// Copies that a report shows at most; the others are counted.
pub const REPORT_COPIES_MAX: usize = 1000;

/// `POST /v1/servers/report` → [`ClusterReport`]. Answered whole; the core gives it in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Report {
    /// Only servers whose host names come after this one.
    pub after: Option<HostName>,
}

/// Reply to [`Report`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterReport {
    /// The chunk master's term.
    pub epoch: Epoch,
    /// Why a master takes no changes; absent if it does.
    pub safe_mode: Option<Box<SafeModeReport>>,
    /// Sums.
    pub totals: StoreTotals,
    /// What is done about replicas that are missing, or in the wrong place.
    pub repairs: RepairReport,
    /// What is done about servers that are fuller than others.
    #[serde(default)]
    pub balance: BalanceReport,
    /// The servers of the cluster, by host name.
    pub servers: Vec<ServerReport>,
    /// `after` of the next part; `None` with the last.
    pub next: Option<HostName>,
}

/// Why nothing changes yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SafeModeReport {
    /// Servers that have not told what they hold.
    pub awaited: Vec<HostName>,
    /// When the master stops to wait for them.
    pub seconds_left: u64,
    /// That the journal is older than the cluster, how that is known, and what to do: until that is done, nothing
    /// changes. Absent if nothing speaks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_outdated: Option<String>,
}

/// Sums over the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreTotals {
    /// Files, open ones included.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Sealed chunks.
    pub chunks: u64,
    /// Servers that are alive.
    pub servers_live: u64,
    /// Servers that are not.
    pub servers_dead: u64,
    /// Size of the live servers' disks, bytes.
    pub capacity_bytes: u64,
    /// Free on them for chunks, bytes.
    pub free_bytes: u64,
}

/// One server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerReport {
    /// Its host.
    pub host: HostName,
    /// Its rack, if it has registered since the master started.
    pub rack: Option<RackName>,
    /// `host:port` where clients reach it, if so.
    pub address: Option<String>,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// What is left of emptying it; absent if it is not to be emptied.
    pub drain: Option<DrainReport>,
    /// Size of its disks, bytes.
    pub capacity_bytes: u64,
    /// Free on them for chunks, bytes.
    pub free_bytes: u64,
    /// Good replicas that it has told of.
    pub replicas: u64,
    /// Replicas that it reported, that no file refers to, and that are too many to be deleted without asking.
    #[serde(default)]
    pub orphans: u64,
    /// Commands that it has not carried out.
    pub commands_pending: u64,
    /// Its disks.
    pub disks: Vec<DiskState>,
    /// Where and why the chunk master does not reach it; absent if it does, or it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
}

/// Whether a server is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Liveness {
    /// It is.
    Live,
    /// It is, and has not told all that it holds.
    Reporting,
    /// It has not registered yet with a master that has just started.
    Awaited,
    /// It is not.
    Dead {
        /// For so many seconds; since the master started if it was silent all that time.
        seconds: u64,
    },
}

/// What is left of emptying a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainReport {
    /// Chunks that have too few replicas elsewhere.
    pub chunks_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
    /// Whether all chunks were looked at: before, more may be left.
    pub counted: bool,
}

impl DrainReport {
    /// Whether the server can be switched off.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.counted && self.chunks_left == 0
    }
}

/// Repairs of the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairReport {
    /// Chunks that wait for a copy, most urgent first.
    pub waiting: Vec<RepairsWaiting>,
    /// Chunks whose last copy failed, and that are tried again in a moment.
    pub retrying: u64,
    /// Copies under way.
    pub n_running: u64,
    /// Of these the first, [`REPORT_COPIES_MAX`] at most.
    pub running: Vec<CopyReport>,
    /// Chunks without a live replica, as last counted.
    pub chunks_missing: u64,
    /// Whether chunks are being looked at: more repairs may be found.
    pub sweeping: bool,
}

/// How evenly full the servers are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BalanceReport {
    /// Servers whose used share of space lies above the mean by more than the threshold.
    pub servers_over: u64,
    /// Servers whose share lies below it by as much.
    pub servers_under: u64,
    /// What must yet move before there is none of these, besides what moves now.
    pub bytes_left: u64,
    /// Moves under way.
    pub n_running: u64,
    /// Of these the first, [`REPORT_COPIES_MAX`] at most.
    pub running: Vec<CopyReport>,
}

/// Repairs that wait for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairsWaiting {
    /// The reason.
    pub why: RepairCause,
    /// Chunks.
    pub chunks: u64,
}

/// Why a chunk is copied. In the order in which that is done.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum RepairCause {
    /// It has no good live replica, and may be put together from the broken ones of several servers.
    Broken,
    /// It has fewer live replicas than its file asks for.
    Under {
        /// So many.
        live: u8,
    },
    /// It has enough, but on servers that are to be emptied.
    Draining,
    /// All its replicas are on one rack.
    MisReplicated,
}

/// A copy under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyReport {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its bytes.
    pub bytes: u64,
    /// Who sends it.
    pub from: HostName,
    /// To whom.
    pub to: HostName,
}

/// `POST /v1/servers/delete_orphans` → [`OrphansDeleted`]: lets the replicas go that a server reported and no
/// file refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteOrphans {
    /// The server.
    pub host: HostName,
}

/// Reply to [`DeleteOrphans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrphansDeleted {
    /// So many are deleted, through the server's trash.
    pub deleted: u64,
}

/// `POST /v1/files/fsck` → [`FsckPage`]: looks at the chunks of all files below a path, or of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fsck {
    /// A folder or a file.
    pub path: StorePath,
    /// Where the page before ended.
    #[serde(default)]
    pub after: Option<FsckPlace>,
    /// Bad chunks on the page at most; from 1 to [`FSCK_CHUNKS_MAX`].
    pub limit: u32,
}

/// How far a check has come: everything before this is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FsckPlace {
    /// The last file or folder that was looked at.
    pub path: StorePath,
    /// The next of its chunks; `None` if all are done.
    pub chunk: Option<u64>,
}

/// Reply to [`Fsck`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FsckPage {
    /// Files with bad chunks, in the order of their paths' names. One may go on on the next page.
    pub files: Vec<FileHealth>,
    /// What was looked at for this page.
    pub checked: FsckCount,
    /// `after` of the next page; `None` on the last.
    pub next: Option<FsckPlace>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FsckCount {
    /// Files.
    pub files: u64,
    /// Of these, being written: only their sealed chunks were looked at.
    pub open_files: u64,
    /// Chunks.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for FsckCount {
    fn add_assign(&mut self, more: Self) {
        self.files += more.files;
        self.open_files += more.open_files;
        self.chunks += more.chunks;
        self.bytes += more.bytes;
    }
}

/// A file with bad chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileHealth {
    /// The file.
    pub path: StorePath,
    /// Those chunks.
    pub chunks: Vec<ChunkHealth>,
}

/// A bad chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChunkHealth {
    /// The chunk.
    pub chunk: ChunkId,
    /// Which of its file's it is, from 0.
    pub index: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Replicas asked for.
    pub wanted: u8,
    /// What is wrong.
    pub fault: ChunkFault,
    /// Who holds it, or held it.
    pub replicas: Vec<ReplicaHealth>,
    /// What is done about it.
    pub repair: RepairState,
}

/// What is wrong with a chunk.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ChunkFault {
    /// No live server holds it.
    Missing,
    /// The same, and one that held it found its replica broken or gone.
    Corrupt,
    /// Fewer live servers than asked for hold it.
    Under,
    /// More do.
    Over,
    /// All that do are on one rack, and there are several.
    MisReplicated,
}

/// One server's part in a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaHealth {
    /// The server.
    pub host: HostName,
    /// What it has.
    #[serde(flatten)]
    pub state: ReplicaState,
}

/// What a server has of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReplicaState {
    /// A good replica.
    Good,
    /// A good replica, on a server that is to be emptied.
    Draining,
    /// A good replica, when it was alive.
    Dead {
        /// For how long it has not been.
        seconds: u64,
    },
    /// Other bytes than were sealed.
    Stale,
    /// Nothing any more: it found its replica broken or gone.
    Broken,
}

/// What is done about a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RepairState {
    /// Nothing can be: no live server holds it, or there is no server that it could go to.
    None,
    /// Its turn is to come.
    Waiting,
    /// It is being copied.
    Copying {
        /// Who sends it.
        from: HostName,
        /// To whom.
        to: HostName,
    },
}
