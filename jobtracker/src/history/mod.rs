//! What is kept of jobs that are over, in the chunk store: `write` puts it there, with logs that `early` has kept, `read` finds it again, `sweep` removes what
//! is old. Which jobs, where, and for how long is the core's to say.

pub(crate) mod early;
mod logs;
pub(crate) mod read;
pub(crate) mod sweep;
pub(crate) mod write;

use chunkstore_client::StoreError;
use chunkstore_protocol::PathError;
use mapreduce_protocol::AttemptId;

use crate::event_loop::AskError;

/// Why a history is not written, or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The chunk store says no, or nothing.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// A folder that is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The JobTracker's core does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A file of a history does not hold what such files hold.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl From<StoreError> for HistoryError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Name of an attempt's log within its job's folder of logs.
fn log_name(attempt: AttemptId) -> String {
    format!("{attempt}.log")
}
