//! The channel between a TaskTracker and its task process: a Unix stream socket that the child
//! inherits, with messages framed as `length: u32 LE, JSON`. Standard input, output and error stay free
//! for the author's program.
//!
//! The tracker opens with [`ToTask::Describe`]; the task ends with [`FromTask::Succeeded`] or
//! [`FromTask::Failed`] and then exits. Whoever finds the channel closed gives up: a task never outlives
//! its tracker's word.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{HostName, RackName};
use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, AttemptResult, Failure, JobDescription, MapEvent, Skipping, TaskStore, Work,
};

/// Version of these messages: an author's executable may be older than the cluster.
pub const CHANNEL_VERSION: u32 = 5;

/// Length limit of one message, bytes.
pub const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// The argument that makes an executable a task process: `--howdah-task-channel=FD`.
pub const CHANNEL_ARGUMENT: &str = "--howdah-task-channel=";

/// The argument that makes an executable run a whole job on local files, with a [`LocalJob`] as JSON on standard input, which
/// has no limit of length as arguments do. Its result goes to standard output as a [`LocalResult`] in JSON on a line of its
/// own; whatever stands in other lines its author's code has printed.
pub const LOCAL_ARGUMENT: &str = "--howdah-local-job=-";

/// TaskTracker → task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToTask {
    /// What to do; the first message.
    Describe(Box<TaskDescription>),
    /// News of the job's map outputs (reduces only), in the order of the job's list.
    MapEvents {
        /// The events.
        events: Vec<MapEvent>,
    },
}

/// Everything that a task process is told at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDescription {
    /// [`CHANNEL_VERSION`] of the sender.
    pub version: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// What all tasks of the job share.
    pub job: Arc<JobDescription>,
    /// What this one does.
    pub work: Work,
    /// The host it runs on.
    pub host: HostName,
    /// The rack of that host.
    pub rack: RackName,
    /// `host:port` of the chunk master.
    pub chunkmaster: String,
    /// Capability of this attempt alone: its inputs, its staging folder, its job's map outputs.
    pub token: String,
    /// A folder of its own, empty at the start and removed at the end.
    pub folder: String,
    /// Where a map leaves its output file.
    pub map_output: String,
    /// Where the files of a streaming program lie on this host, in the order of `Streaming::shipped`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Other stores that its input or output lies in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<TaskStore>,
    /// The authorities that vouch for the daemons, in PEM; absent where these speak plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
    /// Limits.
    pub settings: TaskSettings,
    /// What it leaves out; absent where the job may leave out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipping: Option<Skipping>,
}

/// Limits of a task process (configuration sections `task` and `client`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSettings {
    /// Memory of the map side's sort buffer, bytes.
    pub sort_buffer_bytes: u64,
    /// Memory of the reduce side's fetched segments, bytes.
    pub fetch_buffer_bytes: u64,
    /// Fetches at once.
    pub parallel_fetches: u32,
    /// Runs merged at once.
    pub merge_factor: u32,
    /// Time before a fetch is tried again first, milliseconds; it doubles, with jitter, up to 3 s.
    pub fetch_retry_ms: u64,
    /// A TaskTracker that sends nothing of a map output for so long is given up for now, milliseconds.
    pub fetch_stall_ms: u64,
    /// Time to connect to a daemon, milliseconds.
    pub connect_timeout_ms: u64,
    /// Time for a daemon's answer to one small request, milliseconds; retries are on top.
    pub request_timeout_ms: u64,
    /// How long another host may acknowledge nothing before a connection to it is given up, milliseconds.
    #[serde(default = "silence_timeout_ms")]
    pub silence_timeout_ms: u64,
    /// How long calls to the chunk store are retried while a daemon restarts, milliseconds.
    pub store_retry_ms: u64,
    /// Silence of a chunkserver in the middle of a read after which another one is asked, milliseconds;
    /// 0: never.
    pub hedge_after_ms: u64,
    /// Replicas asked for the job's output.
    pub output_replication: Option<u8>,
}

/// Where a TaskTracker does not say.
fn silence_timeout_ms() -> u64 {
    3000
}

/// Task → TaskTracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromTask {
    /// How far it is; also the sign of life.
    Progress {
        /// 0 to 1, by bytes.
        progress: f32,
    },
    /// What it is doing, in the author's words; the last one counts.
    Status {
        /// As [`crate::status_line`] makes it.
        status: String,
    },
    /// A map output does not come; the task goes on trying.
    FetchFailed {
        /// Whose output.
        map: AttemptId,
        /// Why, for people.
        message: String,
    },
    /// The output is complete: closed in the staging folder, or in the map output file.
    Succeeded {
        /// What it produced.
        result: AttemptResult,
    },
    /// It gives up.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// A whole job on local files, for an author's executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalJob {
    /// The job, with local paths.
    pub spec: crate::JobSpec,
    /// Run the sequential oracle instead of the task runtime.
    pub sequential: bool,
    /// Threads.
    pub parallelism: u32,
    /// Length limit of a split, bytes.
    pub split_bytes: u64,
    /// Limits.
    pub settings: TaskSettings,
}

/// Result of a [`LocalJob`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalResult {
    /// Counters of the job, or why it failed.
    pub outcome: Result<BTreeMap<String, u64>, Failure>,
}
