//! Histories of ended jobs in the chunk store. `write` writes each, first as a `draft`, with logs
//! that `early` has saved; `read` finds them again; `sweep` removes old ones. The core decides
//! which jobs, where, and for how long.

mod draft;
pub(crate) mod early;
mod logs;
pub(crate) mod read;
pub(crate) mod sweep;
pub(crate) mod write;

use chunkstore_client::StoreError;
use chunkstore_protocol::PathError;
use mapreduce_protocol::{AttemptId, JobId};

use crate::event_loop::AskError;

/// Why a history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The chunk store refuses or does not answer.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// A folder name that is no valid path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The JobTracker's core does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A file of a history has unexpected contents.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The core no longer waits for this history.
    #[error("the history of {job} is given up: too many others wait for the chunk store")]
    GivenUp {
        /// Its job.
        job: JobId,
    },
}

impl HistoryError {
    /// Whether a retry would fail in the same way. What people can repair (space, addresses,
    /// secrets) does not count: the job's work is worth waiting for them.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Path(_) | Self::Damaged { .. } | Self::GivenUp { .. } => true,
            Self::Ask(_) => false,
            Self::Store(error) => match &**error {
                StoreError::Refused { .. } => !error.is_transient(),
                StoreError::AlreadyExists { .. }
                | StoreError::NotAFolder { .. }
                | StoreError::IsAFolder { .. }
                | StoreError::FolderNotEmpty { .. }
                | StoreError::LogOrNot { .. }
                | StoreError::TooMuch { .. } => true,
                _ => false,
            },
        }
    }
}

impl From<StoreError> for HistoryError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Name of an attempt's log in its job's log folder.
fn log_name(attempt: AttemptId) -> String {
    format!("{attempt}.log")
}

#[cfg(test)]
mod tests {
    use net::{CallError, Problem};

    use super::*;

    #[test]
    fn what_people_or_time_mend_is_tried_again_and_nothing_else() {
        let path: chunkstore_protocol::StorePath = "/a".parse().unwrap();
        let said = |status, kind: &str| {
            let problem = Problem::new(status, kind, "no");
            StoreError::from_call(&path, CallError::Problem { address: "m:1".into(), problem })
        };
        for (status, kind, is_permanent) in [
            (400, "invalid-request", true),
            (409, "already-exists", true),
            (409, "not-a-folder", true),
            (503, "unavailable", false),
            (507, "out-of-space", false),
            (403, "forbidden", false),
            (404, "not-found", false),
        ] {
            let error = HistoryError::from(said(status, kind));
            assert_eq!(error.is_permanent(), is_permanent, "{kind}");
        }
        let address = "m:1".to_owned();
        let away = StoreError::from_call(&path, CallError::TimedOut { address });
        assert!(!HistoryError::from(away).is_permanent());
    }
}
