//! The one place that decides HTTP statuses of this daemon.

use mapreduce_protocol::ProblemKind;
use net::Problem;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A part of the path is not what it must be.
    #[error("{0}")]
    BadId(#[from] mapreduce_protocol::IdError),
    /// The partition is not a number.
    #[error("{given:?} is not a partition: expected a number from 0")]
    BadPartition {
        /// As given.
        given: String,
    },
    /// The maps are not named as they must be.
    #[error(
        "the parameter maps must name 1 to {} map attempts of the job, separated by commas",
        mapreduce_protocol::shuffle::MAPS_PER_REQUEST_MAX
    )]
    BadMaps,
    /// The length of the tail is not a number.
    #[error("{given:?} is not a number of bytes")]
    BadTail {
        /// As given.
        given: String,
    },
    /// Two different parts of a log are asked for.
    #[error("name the last bytes by 'tail', or a part by 'offset' and 'limit', not both")]
    TwoParts,
    /// No log of that attempt is here.
    #[error("no log of {attempt} on this host: it ran elsewhere, or its job ended long ago")]
    NoLog {
        /// The attempt.
        attempt: mapreduce_protocol::AttemptId,
    },
    /// The log can't be read.
    #[error("the log of {attempt} can't be read: {source}")]
    Log {
        /// The attempt.
        attempt: mapreduce_protocol::AttemptId,
        /// Why.
        source: std::io::Error,
    },
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let (status, kind) = match error {
            ApiError::BadId(_)
            | ApiError::BadPartition { .. }
            | ApiError::BadMaps
            | ApiError::BadTail { .. }
            | ApiError::TwoParts => (400, ProblemKind::InvalidRequest),
            ApiError::NoLog { .. } => (404, ProblemKind::NotFound),
            ApiError::Log { .. } => (500, ProblemKind::Internal),
        };
        Self::new(status, kind.as_str(), error.to_string())
    }
}
