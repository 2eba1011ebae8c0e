//! Ids of jobs, tasks and attempts. They read like Hadoop's (`JobID`, `TaskID`, `TaskAttemptID`):
//! `job_20261122_0001`, `task_20261122_0001_m_000003`, `attempt_20261122_0001_m_000003_0`.
//!
//! ```compile_fail
//! use mapreduce_protocol::{JobId, TaskId};
//! fn kill(_: JobId) {}
//! let task: TaskId = "task_20261122_0001_m_000003".parse().unwrap();
//! kill(task);
//! ```

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job: the day of its submission (UTC, `yyyymmdd`) and its ordinal in the life of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId {
    /// `yyyymmdd`, UTC.
    pub date: u32,
    /// From 1; never used twice, whatever the date.
    pub ordinal: u32,
}

/// Map or reduce.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Reads a split.
    Map,
    /// Reads a partition of all maps' outputs.
    Reduce,
}

/// A task: for a map the ordinal of its split, for a reduce its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// Its job.
    pub job: JobId,
    /// Map or reduce.
    pub kind: TaskKind,
    /// From 0.
    pub index: u32,
}

/// One try to run a task. Numbers start at (restarts of the JobTracker during the job) × 1000, so that
/// none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// What it tries to do.
    pub task: TaskId,
    /// Which try.
    pub number: u32,
}

ids::text_schema!(
    JobId,
    r"^job_[0-9]{8}_[0-9]{4,10}$",
    "A job: the day of its submission (UTC) and its number."
);
ids::text_schema!(
    TaskId,
    r"^task_[0-9]{8}_[0-9]{4,10}_[mr]_[0-9]{6,10}$",
    "A task: its job, whether it is a map or a reduce, and its number, from 0."
);
ids::text_schema!(
    AttemptId,
    r"^attempt_[0-9]{8}_[0-9]{4,10}_[mr]_[0-9]{6,10}_[0-9]{1,10}$",
    "An attempt: its task, and which try it is."
);

/// A text that is not an id of the kind wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct IdError {
    given: String,
    wanted: &'static str,
}

impl IdError {
    fn new(given: &str, wanted: &'static str) -> Self {
        Self { given: given.chars().take(80).collect(), wanted }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job_{:08}_{:04}", self.date, self.ordinal)
    }
}

impl TaskKind {
    fn letter(self) -> char {
        match self {
            Self::Map => 'm',
            Self::Reduce => 'r',
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        })
    }
}

impl TaskId {
    fn write(self, f: &mut fmt::Formatter<'_>, prefix: &str) -> fmt::Result {
        let JobId { date, ordinal } = self.job;
        write!(f, "{prefix}_{date:08}_{ordinal:04}_{}_{:06}", self.kind.letter(), self.index)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "task")
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.write(f, "attempt")?;
        write!(f, "_{}", self.number)
    }
}

/// A decimal number of at least `width` digits, written the one way that `Display` writes it.
fn digits(text: &str, width: usize) -> Option<u32> {
    let plain = text.len() >= width
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == width || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn job_of(date: &str, ordinal: &str) -> Option<JobId> {
    if date.len() != 8 {
        return None;
    }
    Some(JobId { date: digits(date, 8)?, ordinal: digits(ordinal, 4)? })
}

fn task_of(date: &str, ordinal: &str, kind: &str, index: &str) -> Option<TaskId> {
    let kind = match kind {
        "m" => TaskKind::Map,
        "r" => TaskKind::Reduce,
        _ => return None,
    };
    Some(TaskId { job: job_of(date, ordinal)?, kind, index: digits(index, 6)? })
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<_> = text.split('_').collect();
        match parts[..] {
            ["job", date, ordinal] => job_of(date, ordinal),
            _ => None,
        }
        .ok_or_else(|| IdError::new(text, "a job id like job_20261122_0001"))
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<_> = text.split('_').collect();
        match parts[..] {
            ["task", date, ordinal, kind, index] => task_of(date, ordinal, kind, index),
            _ => None,
        }
        .ok_or_else(|| IdError::new(text, "a task id like task_20261122_0001_m_000003"))
    }
}

impl FromStr for AttemptId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<_> = text.split('_').collect();
        match parts[..] {
            ["attempt", date, ordinal, kind, index, number] => task_of(date, ordinal, kind, index)
                .zip(digits(number, 1))
                .map(|(task, number)| Self { task, number }),
            _ => None,
        }
        .ok_or_else(|| IdError::new(text, "an attempt id like attempt_20261122_0001_m_000003_0"))
    }
}

macro_rules! as_text {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }
    )*};
}
as_text!(JobId, TaskId, AttemptId);

impl JobId {
    /// The id of one of this job's tasks.
    #[must_use]
    pub fn task(self, kind: TaskKind, index: u32) -> TaskId {
        TaskId { job: self, kind, index }
    }
}

impl TaskId {
    /// The id of one of this task's attempts.
    #[must_use]
    pub fn attempt(self, number: u32) -> AttemptId {
        AttemptId { task: self, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_like_hadoops_and_round_trip() {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let task = job.task(TaskKind::Map, 3);
        assert_eq!(job.to_string(), "job_20261122_0001");
        assert_eq!(task.to_string(), "task_20261122_0001_m_000003");
        let attempt = task.attempt(1000);
        assert_eq!(attempt.to_string(), "attempt_20261122_0001_m_000003_1000");
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
        assert_eq!("task_20261122_12345_r_1000000".parse::<TaskId>().unwrap().index, 1_000_000);
    }

    #[test]
    fn one_id_has_one_spelling() {
        for bad in [
            "job_20261122_1",
            "job_20261122_00001",
            "job_2026112_0001",
            "attempt_20261122_0001_m_000003_01",
            "attempt_20261122_0001_x_000003_0",
            "job_20261122_0001_",
            "../job_20261122_0001",
        ] {
            let refused = bad.parse::<JobId>().is_err() && bad.parse::<AttemptId>().is_err();
            assert!(refused, "{bad}");
        }
    }
}
