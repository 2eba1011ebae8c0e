//! Failure as a type: it travels from the task process through the TaskTracker to the JobTracker's
//! core, which acts on the kind. The text is for humans alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AttemptId;

/// Why an attempt ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What the scheduler acts on.
    #[serde(flatten)]
    pub kind: FailureKind,
    /// What happened, with which file or key, for people.
    pub message: String,
}

/// What the scheduler acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FailureKind {
    /// The author's code returned an error.
    UserCode,
    /// The process ended without a word: a panic, a signal, `exit`.
    Crashed {
        /// Exit status, if it exited.
        exit_code: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
    },
    /// A map that was run again, since its output was lost, made other bytes than this reduce has read.
    MapOutputChanged {
        /// The map's new attempt.
        map_attempt: AttemptId,
    },
    /// The split could not be read: no replica answers or none is intact.
    InputUnavailable,
    /// The output could not be written to the chunk store.
    OutputUnavailable,
    /// The host has no room: a local disk is full.
    OutOfSpace,
    /// The host can't run it for another reason: a local disk fails, or no process can be made, or none that is kept apart.
    HostUnfit,
    /// It wanted more memory than it may have.
    OutOfMemory {
        /// Bytes that it may have.
        limit: u64,
        /// Bytes that it had; the limit, where the system gave it no more.
        used: u64,
    },
    /// It wanted more processes and threads than it may have.
    TooManyProcesses {
        /// How many it may have.
        limit: u32,
    },
    /// It wanted more of the local disk than it may have.
    OverDiskQuota {
        /// Bytes that it may have.
        limit: u64,
        /// Bytes that it had.
        used: u64,
    },
    /// The program could not be fetched, does not have the digest that the job names, or can't be run.
    ProgramUnavailable,
    /// The program's name or arguments are wrong, or the task's description can't be understood: it would
    /// be so on every host.
    BadJob,
    /// No progress for longer than the time-out.
    TimedOut,
    /// A client said that it fails (Hadoop: `mapred job -fail-task`).
    FailedOnRequest,
    /// Somebody asked for its end; does not count as a failure.
    Killed,
    /// Its TaskTracker died or forgot it; does not count as a failure.
    TrackerLost,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The task's, as far as anybody can tell: one of its tries is used up (Hadoop: FAILED).
    Task,
    /// The host's: the task runs elsewhere, and the job leaves that host alone for a while.
    Host,
    /// The job's: it would fail alike everywhere, and fails at once.
    Job,
    /// Nobody's: the task runs again (Hadoop: KILLED).
    Nobody,
}

impl FailureKind {
    /// What [`Self::as_str`] may say.
    pub const NAMES: &[&str] = &[
        "user_code",
        "crashed",
        "map_output_changed",
        "input_unavailable",
        "output_unavailable",
        "out_of_space",
        "host_unfit",
        "out_of_memory",
        "too_many_processes",
        "over_disk_quota",
        "program_unavailable",
        "bad_job",
        "timed_out",
        "failed_on_request",
        "killed",
        "tracker_lost",
    ];

    /// The wire form's `kind`, for metrics and tables.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::UserCode => "user_code",
            Self::Crashed { .. } => "crashed",
            Self::MapOutputChanged { .. } => "map_output_changed",
            Self::InputUnavailable => "input_unavailable",
            Self::OutputUnavailable => "output_unavailable",
            Self::OutOfSpace => "out_of_space",
            Self::HostUnfit => "host_unfit",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::TooManyProcesses { .. } => "too_many_processes",
            Self::OverDiskQuota { .. } => "over_disk_quota",
            Self::ProgramUnavailable => "program_unavailable",
            Self::BadJob => "bad_job",
            Self::TimedOut => "timed_out",
            Self::FailedOnRequest => "failed_on_request",
            Self::Killed => "killed",
            Self::TrackerLost => "tracker_lost",
        }
    }

    /// Whose fault it is, which decides how the job goes on.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Killed | Self::TrackerLost | Self::MapOutputChanged { .. } => Blame::Nobody,
            Self::OutOfSpace | Self::HostUnfit => Blame::Host,
            Self::BadJob => Blame::Job,
            Self::UserCode
            | Self::Crashed { .. }
            | Self::InputUnavailable
            | Self::OutputUnavailable
            | Self::OutOfMemory { .. }
            | Self::TooManyProcesses { .. }
            | Self::OverDiskQuota { .. }
            | Self::ProgramUnavailable
            | Self::TimedOut
            | Self::FailedOnRequest => Blame::Task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_kind_is_its_wire_form() {
        let map_attempt = "attempt_20261122_0001_m_000003_0".parse().unwrap();
        let kinds = [
            FailureKind::UserCode,
            FailureKind::Crashed { exit_code: Some(1), signal: None },
            FailureKind::MapOutputChanged { map_attempt },
            FailureKind::InputUnavailable,
            FailureKind::OutputUnavailable,
            FailureKind::OutOfSpace,
            FailureKind::HostUnfit,
            FailureKind::OutOfMemory { limit: 1, used: 2 },
            FailureKind::TooManyProcesses { limit: 1 },
            FailureKind::OverDiskQuota { limit: 1, used: 2 },
            FailureKind::ProgramUnavailable,
            FailureKind::BadJob,
            FailureKind::TimedOut,
            FailureKind::FailedOnRequest,
            FailureKind::Killed,
            FailureKind::TrackerLost,
        ];
        assert_eq!(kinds.each_ref().map(FailureKind::as_str).as_slice(), FailureKind::NAMES);
        for kind in kinds {
            let wire = serde_json::to_value(&kind).unwrap();
            assert_eq!(wire["kind"], kind.as_str());
        }
    }
}
