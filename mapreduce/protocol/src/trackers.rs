//! TaskTrackers and the JobTracker: registration, heartbeats, map events.
//!
//! Heartbeats deliver [`TrackerEvent`]s and [`TrackerCommand`]s by number (see `ids::Outbox`): each side
//! repeats what is not acknowledged. The JobTracker parks a heartbeat until it has something to say or
//! the interval is over; a newer heartbeat makes it answer the parked one first.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{ClusterId, Epoch, HeartbeatNumber, HostName, Numbered, RackName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Ailment, AttemptId, FailedRecord, Failure, Formats, JobId, NamedOutput, OutputForms,
    OutputSizes, Program, Skipping, Split, StagedOutput, TaskLimits,
};

/// `POST /v1/trackers/register` → [`TrackerRegistered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterTracker {
    /// [`crate::PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
    /// The cluster in its data folder; absent for an empty one, which then joins this cluster.
    pub cluster: Option<ClusterId>,
    /// Its host name.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` of its HTTP server (shuffle, logs).
    pub address: String,
    /// Random per process: a second process with the same host name is told from a restart.
    pub incarnation: u64,
    /// Task processes that it runs at once.
    pub slots: u32,
    /// Attempts that run there now.
    pub running: Vec<AttemptId>,
    /// Finished map attempts whose outputs it serves.
    pub map_outputs: Vec<AttemptId>,
    /// Jobs of which something is left there: logs, or what it remembers of their attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobId>,
    /// Why tasks there can read what is not theirs; absent if they can't, and from older ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_isolated: Option<String>,
}

/// Reply to [`RegisterTracker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackerRegistered {
    /// The cluster, to be kept in the data folder.
    pub cluster: ClusterId,
    /// The JobTracker's term.
    pub epoch: Epoch,
    /// Number of this registration within the epoch: an older one's messages are refused.
    pub session: u64,
    /// How long a heartbeat may stay parked, milliseconds.
    pub heartbeat_interval_ms: u64,
}

/// `POST /v1/trackers/heartbeat` → [`TrackerHeartbeatReply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrackerHeartbeat {
    /// The sender.
    pub host: HostName,
    /// The epoch it is registered with.
    pub epoch: Epoch,
    /// Its registration.
    pub session: u64,
    /// From 1 within the session.
    pub number: HeartbeatNumber,
    /// What happened, unacknowledged ones first.
    pub events: Vec<Numbered<TrackerEvent>>,
    /// Every command up to this number is carried out or under way.
    pub commands_done: u64,
    /// Running attempts and how far they are.
    pub running: Vec<AttemptProgress>,
    /// For each job of which reduces run here: the index of the next map event wanted. From 0 after each
    /// registration: every JobTracker makes its lists anew.
    pub map_event_cursors: BTreeMap<JobId, u64>,
    /// What is wrong with the host: while there is anything, it wants no new attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ailments: Vec<Ailment>,
    /// What is wrong with local disks that it does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks_without: Vec<Ailment>,
}

/// How far a running attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptProgress {
    /// The attempt.
    pub attempt: AttemptId,
    /// 0 to 1, by bytes.
    pub progress: f32,
    /// What it said last of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// What a TaskTracker tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TrackerEvent {
    /// An attempt has ended well: its output is served here (map) or closed in the staging folder.
    Succeeded {
        /// The attempt.
        attempt: AttemptId,
        /// What it produced.
        result: AttemptResult,
    },
    /// An attempt has ended, nothing of it is left.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        failure: Failure,
        /// What it said last of itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        /// The record that it was at, where the job may leave some out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<FailedRecord>,
    },
    /// A reduce goes on without this map output for now; the map's tracker may be in trouble.
    FetchFailed {
        /// The reduce attempt that can't fetch.
        reduce: AttemptId,
        /// Whose output.
        map: AttemptId,
        /// Why, for people.
        message: String,
    },
    /// A map output that was served here is gone (disk fault, torn file).
    MapOutputLost {
        /// Whose output.
        attempt: AttemptId,
    },
}

/// What a successful attempt produced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptResult {
    /// Digest of its uncompressed output (XXH3-128, 32 hexadecimal digits): equal digests are
    /// interchangeable outputs.
    pub digest: String,
    /// Counters, `GROUP.NAME` → value; they count once, from the winning attempt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// What it staged in another store, if the job's output goes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<StagedOutput>,
    /// How a map's output is spread over the reduces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<OutputSizes>,
    /// Its named outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedOutput>,
}

/// Reply to [`TrackerHeartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackerHeartbeatReply {
    /// The JobTracker's term.
    pub epoch: Epoch,
    /// Every event up to this number has arrived, durably.
    pub events_received: u64,
    /// What to do, unacknowledged ones first.
    pub commands: Vec<Numbered<TrackerCommand>>,
    /// Map events after the cursors.
    pub map_events: Vec<MapEvents>,
    /// How long the next heartbeat may stay parked, milliseconds: the more trackers there are, the longer. 0: as at the
    /// registration.
    #[serde(default)]
    pub heartbeat_interval_ms: u64,
}

/// What the JobTracker tells a TaskTracker to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum TrackerCommand {
    /// Start an attempt.
    Launch(Launch),
    /// End an attempt; it is then reported as failed with [`crate::FailureKind::Killed`].
    Kill {
        /// The attempt.
        attempt: AttemptId,
        /// Why, for its log.
        reason: String,
    },
    /// The job is over: end its attempts, remove its map outputs and folders.
    Purge {
        /// The job.
        job: JobId,
    },
    /// This map output will not be asked for any more.
    DropMapOutput {
        /// Whose output.
        attempt: AttemptId,
    },
}

/// Start an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Launch {
    /// The attempt.
    pub attempt: AttemptId,
    /// What all tasks of the job share.
    pub job: Arc<JobDescription>,
    /// What this one does.
    pub work: Work,
    /// What it leaves out; absent where the job may leave out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipping: Option<Skipping>,
}

/// What all tasks of a job share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDescription {
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// What to run; of a native program, the executable is a chunk-store path.
    pub program: Program,
    /// Number of reduces; 0: maps write the job's output.
    pub n_reduces: u32,
    /// Number of maps.
    pub n_maps: u32,
    /// Chunk-store folder into which attempts write, each a file named by its attempt id.
    pub staging: String,
    /// The job's output, where that is a URL of another store: attempts stage their parts there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What each attempt may use, where the job says so.
    #[serde(default, skip_serializing_if = "TaskLimits::is_empty")]
    pub limits: TaskLimits,
    /// How files are read.
    #[serde(default, skip_serializing_if = "Formats::is_default")]
    pub formats: Formats,
    /// How its tasks write.
    #[serde(default, skip_serializing_if = "OutputForms::is_default")]
    pub output_forms: OutputForms,
}

/// What one task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// Read a split.
    Map {
        /// The split.
        split: Split,
    },
    /// Fetch one partition of every map's output, merge, reduce, write. The partition is the task's
    /// index.
    Reduce,
}

/// A run of a job's map events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MapEvents {
    /// The job.
    pub job: JobId,
    /// Index of the first of `events` in the job's list.
    pub first: u64,
    /// The events in order; later ones override earlier ones of the same map.
    pub events: Vec<MapEvent>,
}

/// Where a map's output is, or no longer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MapEvent {
    /// This attempt's output is the one to fetch.
    Available {
        /// The winning attempt; its task's index is the map's ordinal.
        attempt: AttemptId,
        /// The host that serves it.
        host: HostName,
        /// `host:port` of its shuffle server.
        address: String,
        /// Digest of the output.
        digest: String,
    },
    /// This attempt's output is gone: forget it, unless it is fetched already.
    Withdrawn {
        /// The attempt.
        attempt: AttemptId,
    },
}
