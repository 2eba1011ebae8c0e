//! What clients see of jobs: `GET /v1/jobs`, `GET /v1/jobs/{id}` and what hangs below it.

use std::collections::BTreeMap;

use ids::{ClusterId, Epoch, HostName, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, Failure, JobId, Priority, Split};

/// The state of a job (Hadoop: `JobStatus`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Accepted; its splits are being planned.
    Prep,
    /// Its tasks run or wait for slots.
    Running,
    /// Its output is published.
    Succeeded,
    /// A task failed too often, or its output could not be published.
    Failed,
    /// Somebody ended it.
    Killed,
}

impl JobState {
    /// Whether it will never change again.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Prep | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Killed => true,
        }
    }

    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prep => "PREP",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// Reply to `GET /v1/cluster` of the JobTracker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobtrackerInfo {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its term.
    pub epoch: Epoch,
    /// TaskTrackers that are registered and alive.
    pub trackers: u32,
    /// Slots of all of them.
    pub slots: u32,
    /// Jobs that have not ended.
    pub unfinished_jobs: u32,
}

/// `201` reply to `POST /v1/jobs` (with `Location: /v1/jobs/{id}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobAccepted {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
}

/// `GET /v1/jobs/{id}`; with `?wait_ms=N` the reply comes at the job's end, or after that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Whose it is: the user of the token that it came with; empty: nobody's.
    #[serde(default)]
    pub owner: String,
    /// Its state.
    pub state: JobState,
    /// Its share of the slots beside other jobs.
    #[serde(default)]
    pub priority: Priority,
    /// The pool whose share of the slots it takes part in.
    #[serde(default)]
    pub pool: String,
    /// Whether nothing of it is launched until somebody resumes it, or its pool.
    #[serde(default)]
    pub paused: bool,
    /// Its maps.
    pub maps: TaskCounts,
    /// Its reduces.
    pub reduces: TaskCounts,
    /// Why it failed or was killed.
    pub failure: Option<String>,
    /// What an unfinished job waits for, if nothing of it runs: slots, TaskTrackers, the chunk store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Where its output appears.
    pub output: String,
    /// Bytes of all splits; 0 until they are planned.
    pub input_bytes: u64,
    /// When it was accepted.
    pub submitted_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
}

/// Tasks of one kind, and what became of their attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// Tasks.
    pub total: u32,
    /// Tasks that wait for a slot.
    pub waiting: u32,
    /// Tasks with a running attempt.
    pub running: u32,
    /// Tasks that have succeeded.
    pub succeeded: u32,
    /// Attempts: those that run, and those that ended. (One is not counted that was lost, with its
    /// TaskTracker, while no JobTracker ran.)
    pub attempts: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// Attempts that were killed or lost with their tracker.
    pub killed_attempts: u32,
    /// Attempts that had succeeded, and whose output was lost, or made void, later; absent if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost_outputs: u32,
    /// Attempts on a host that holds a replica of their split.
    pub node_local: u32,
    /// Attempts on the rack of one.
    pub rack_local: u32,
    /// Attempts elsewhere.
    pub off_rack: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_none(number: &u32) -> bool {
    *number == 0
}

/// `GET /v1/jobs`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// A page of jobs.
    pub jobs: Vec<JobStatus>,
}

/// `GET /v1/jobs/{id}/counters`: sums over the winning attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobCounters {
    /// `GROUP.NAME` → value.
    pub counters: BTreeMap<String, u64>,
}

/// `GET /v1/jobs/{id}/attempts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptList {
    /// Attempts known, by task and number.
    pub attempts: Vec<AttemptStatus>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptStatus {
    /// Its id.
    pub attempt: AttemptId,
    /// Where it ran or runs.
    pub host: HostName,
    /// `host:port` of that TaskTracker; absent if it is lost.
    pub address: Option<String>,
    /// What became of it.
    pub state: AttemptState,
    /// Why it failed, or was killed, if it did.
    pub failure: Option<Failure>,
    /// What a map reads: absent of reduces, while a restarted JobTracker has not read a long list of
    /// splits again, and of winners of such a job when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// How near to its bytes a map ran; absent of reduces, and where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it said last of itself (Hadoop: `reporter:status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it was launched; absent of attempts that went on while the JobTracker restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<UnixMillis>,
    /// When the JobTracker heard of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
}

/// How near to its bytes a map ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On a host that holds a replica.
    NodeLocal,
    /// On the rack of one.
    RackLocal,
    /// Elsewhere.
    OffRack,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptState {
    /// It runs.
    Running,
    /// It won.
    Succeeded,
    /// It failed.
    Failed,
    /// It was killed, lost a race, or went with its tracker.
    Killed,
}

impl AttemptState {
    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// Characters of what an attempt says of itself, at most.
pub const STATUS_CHARS_MAX: usize = 200;

/// What an attempt says of itself as one printable line of at most [`STATUS_CHARS_MAX`] characters; control characters are
/// blanks.
#[must_use]
pub fn status_line(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    let plain = plain.trim();
    let mut line: String = plain.chars().take(STATUS_CHARS_MAX).collect();
    if plain.chars().count() > STATUS_CHARS_MAX {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_short_printable_line() {
        assert_eq!(status_line(" half\tway\n"), "half way");
        assert_eq!(status_line("a\u{1b}[2J\u{9b}b\nc"), "a [2J b c");
        assert_eq!(status_line(""), "");
        let longest = "ü".repeat(STATUS_CHARS_MAX);
        assert_eq!(status_line(&longest), longest);
        let cut = status_line(&format!("{longest}x"));
        assert_eq!((cut.chars().count(), cut.ends_with("ü…")), (STATUS_CHARS_MAX, true));
    }
}
