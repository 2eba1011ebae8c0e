//! What is kept of a job that is over, in the chunk store: `job.json` and a line of `attempts.jsonl` for each attempt. Files
//! of earlier releases must be read for years, so fields are only added, with serde defaults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptStatus, JobSpec, JobStatus};

/// Folder of the chunk store below which histories lie, each in `<year>/<month>/<day>/<job>`, by the day of the job's end
/// (UTC).
pub const HISTORY_ROOT: &str = "/.howdah/history";
/// What is known of the job, in its folder; there is no history without it.
pub const JOB_FILE: &str = "job.json";
/// What is known of its attempts, a line of JSON each.
pub const ATTEMPTS_FILE: &str = "attempts.jsonl";
/// Folder in it of the logs of its failed attempts, each named by its attempt, with `.log`.
pub const LOGS_FOLDER: &str = "logs";

/// `GET /v1/history/{job}`, and `job.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobHistory {
    /// How it ended.
    pub status: JobStatus,
    /// What was asked.
    pub spec: JobSpec,
    /// What it ran with.
    pub settings: JobSettings,
    /// Sums over the winning attempts.
    pub counters: BTreeMap<String, u64>,
}

/// What a job ran with when it ended: what it did not say itself is the cluster's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSettings {
    /// Reduces.
    pub reduces: u32,
    /// Tries of each task.
    pub max_attempts: u32,
    /// Whether late attempts got backups.
    pub speculative: bool,
    /// Share of all slots that backups could hold.
    pub speculative_share: f64,
    /// How the jobs of its pool shared its slots: `fair` or `fifo`.
    pub sharing: String,
    /// Share of its maps that had to be done before its reduces started.
    pub reduce_slowstart: f64,
    /// How long its maps waited for a better place, per level, milliseconds.
    pub locality_wait_ms: u64,
    /// Length limit of its splits, bytes.
    #[serde(default)]
    pub split_bytes: u64,
}

/// One line of `attempts.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptHistory {
    /// What became of it. (`address` is absent: it may be another one's by now.)
    #[serde(flatten)]
    pub status: AttemptStatus,
    /// How long a winner worked, milliseconds: of a reduce, from the end of the last map on; what is left of its time it
    /// fetched while maps ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_ms: Option<u64>,
    /// Counters of a winner.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Bytes of its log that are kept; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Why the log of a failed attempt is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_log: Option<String>,
}

/// `GET /v1/history`: those that ended last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryList {
    /// The jobs, as they ended.
    pub jobs: Vec<JobStatus>,
}
