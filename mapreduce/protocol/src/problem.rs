//! The stable `type`s of the JobTracker's and the TaskTrackers' problem documents.

use schemars::JsonSchema;
use serde::de::value::{Error as ValueError, StrDeserializer};
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
    /// What a problem document's `type` means; `None` for one that this version does not know.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<ValueError>::new(name)).ok()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_means_what_it_is_the_name_of() {
        let schema = schemars::schema_for!(ProblemKind);
        let all = schema.get("oneOf").and_then(|all| all.as_array()).expect("a list of names");
        let names: Vec<&str> = all.iter().filter_map(|one| one.get("const")?.as_str()).collect();
        assert!(names.len() > 10 && names.len() == all.len(), "{schema:?}");
        for name in names {
            assert_eq!(ProblemKind::of(name).map(ProblemKind::as_str), Some(name));
        }
        assert_eq!(ProblemKind::of("of-a-newer-release"), None);
    }
}
