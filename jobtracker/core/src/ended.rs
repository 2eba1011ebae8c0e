//! Ended attempts as the journal's records describe them: failed ones of any job, and all kinds
//! once the job is over.

use ids::HostName;
use mapreduce_protocol::{AttemptId, AttemptState, Blame, FailedRecord, Failure, Split, TaskId};
use serde::{Deserialize, Serialize};

use crate::locality::Locality;
use crate::records::{KilledAttempt, Span};

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailedAttempt {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) failure: Failure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<Split>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Locality>,
    #[serde(default)]
    pub(crate) span: Span,
    /// Its last status message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// The record at which it failed, if its job may skip records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<FailedRecord>,
}

/// An attempt of a job that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndedAttempt {
    pub(crate) attempt: AttemptId,
    pub(crate) host: HostName,
    pub(crate) state: AttemptState,
    pub(crate) failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<Split>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Locality>,
    #[serde(default)]
    pub(crate) span: Span,
    /// Its last status message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
}

impl FailedAttempt {
    /// Whether it used up one of its task's attempts.
    pub(crate) fn counts(&self) -> bool {
        self.failure.kind.blame() == Blame::Task
    }

    pub(crate) fn ended(&self, task: TaskId) -> EndedAttempt {
        EndedAttempt {
            attempt: task.attempt(self.number),
            host: self.host.clone(),
            state: AttemptState::Failed,
            failure: Some(self.failure.clone()),
            split: self.split.clone(),
            place: self.place,
            span: self.span,
            status: self.status.clone(),
        }
    }
}

impl KilledAttempt {
    pub(crate) fn ended(&self) -> EndedAttempt {
        EndedAttempt {
            attempt: self.attempt,
            host: self.host.clone(),
            state: AttemptState::Killed,
            failure: self.why.clone(),
            split: self.split.clone(),
            place: self.place,
            span: self.span,
            status: None,
        }
    }
}
