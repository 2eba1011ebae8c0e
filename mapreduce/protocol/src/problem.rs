//! The stable `type`s of the JobTracker's and the TaskTrackers' problem documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why the JobTracker or a TaskTracker said no. The wire form is kebab-case and never changes its
/// meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request itself is malformed.
    InvalidRequest,
    /// The job can't be run as it is written (unknown builtin, reduces, paths).
    InvalidJob,
    /// An input does not exist, or is a folder without files.
    InputNotFound,
    /// The output exists, or another job has reserved it.
    OutputExists,
    /// No such job, attempt or log.
    NotFound,
    /// The same `Idempotency-Key` came with another job.
    KeyReused,
    /// The job is over already.
    JobEnded,
    /// The attempt is over already.
    AttemptEnded,
    /// The journal has no room.
    OutOfSpace,
    /// The chunk store does not answer.
    StoreUnavailable,
    /// The sender is not registered with this epoch.
    NotRegistered,
    /// The sender belongs to another cluster.
    WrongCluster,
    /// The sender speaks another protocol version.
    WrongProtocol,
    /// Another live TaskTracker has registered under this host name.
    HostNameTaken,
    /// The capability does not allow this.
    Forbidden,
    /// There are as many unfinished jobs as may be: wait until some have ended.
    TooManyJobs,
    /// As many as may do this at once do it: try again in a moment.
    TooManyRequests,
    /// The daemon is starting or stopping.
    Unavailable,
    /// The daemon failed; its log says more.
    Internal,
}

impl ProblemKind {
    /// The `type` of the problem document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::InvalidJob => "invalid-job",
            Self::InputNotFound => "input-not-found",
            Self::OutputExists => "output-exists",
            Self::NotFound => "not-found",
            Self::KeyReused => "key-reused",
            Self::JobEnded => "job-ended",
            Self::AttemptEnded => "attempt-ended",
            Self::OutOfSpace => "out-of-space",
            Self::StoreUnavailable => "store-unavailable",
            Self::NotRegistered => "not-registered",
            Self::WrongCluster => "wrong-cluster",
            Self::WrongProtocol => "wrong-protocol",
            Self::HostNameTaken => "host-name-taken",
            Self::Forbidden => "forbidden",
            Self::TooManyJobs => "too-many-jobs",
            Self::TooManyRequests => "too-many-requests",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}
