//! Maps each refusal to an HTTP status: the only place in the JobTracker that decides it.

use std::fmt::Display;
use std::time::Duration;

use chunkstore_client::StoreError;
use chunkstore_client::stores::OtherStoreError;
use chunkstore_protocol::PathError;
use ids::NameError;
use jobtracker_core::{Refusal, Reply};
use mapreduce_protocol::{AttemptId, IdError, JobId, ProblemKind};
use net::api::Problems;
use net::{CallError, Problem};

use crate::admission::AdmissionError;
use crate::event_loop::AskError;
use crate::history::HistoryError;

/// Seconds after which a restarting daemon is mostly back.
const RETRY_AFTER: u32 = 1;
/// Seconds after which some job may have ended.
const RETRY_AFTER_JOBS: u32 = 5;

/// Problems of any request to the core: the JobTracker stops.
pub(super) const ASKS: Problems = &[(503, "unavailable")];
/// Problems of any change.
pub(super) const CHANGES: Problems = &[(503, "unavailable"), (507, "out-of-space")];
/// The named object does not exist.
pub(super) const NO_SUCH: Problems = &[(404, "not-found")];
/// What the core has forgotten is read from the chunk store.
pub(super) const KEPT: Problems = &[(503, "unavailable"), (503, "store-unavailable")];
/// The job has ended, which cannot be changed.
pub(super) const ENDS_JOB: Problems = &[(409, "job-ended")];
/// The attempt has ended, which cannot be changed.
pub(super) const ENDS_ATTEMPT: Problems = &[(409, "attempt-ended")];
/// Why a job is not accepted.
pub(super) const SUBMITS: Problems = &[
    (400, "invalid-job"),
    (404, "input-not-found"),
    (409, "output-exists"),
    (409, "key-reused"),
    (429, "too-many-jobs"),
    (503, "store-unavailable"),
];
/// The number of listeners is limited.
pub(super) const LISTENS: Problems = &[(429, "too-many-requests")];
/// Why a TaskTracker is not, or no longer, a member of the cluster.
pub(super) const REGISTERS: Problems = &[
    (409, "not-registered"),
    (409, "wrong-cluster"),
    (409, "wrong-protocol"),
    (409, "host-name-taken"),
];
/// Problems of a TaskTracker with a log, or of the chunk store with a saved one.
pub(super) const PASSED_ON: Problems = &[(503, "unavailable"), (503, "store-unavailable")];
/// Problems of the chunk store with reading metadata.
pub(super) const LOOKS: Problems = &[
    (404, "not-found"),
    (409, "not-a-folder"),
    (503, "journal-outdated"),
    (503, "starting"),
    (503, "store-unavailable"),
    (503, "unavailable"),
];
/// Further ones with reading a file.
pub(super) const READS: Problems = &[
    (409, "invalid-request"),
    (409, "is-a-folder"),
    (409, "log-or-not"),
    (409, "still-open"),
    (416, "invalid-request"),
    (429, "too-many-requests"),
];
/// Further ones with removing a file.
pub(super) const REMOVES: Problems = &[(409, "invalid-request"), (507, "out-of-space")];
/// Further ones with writing a file.
pub(super) const WRITES: Problems = &[
    (409, "already-exists"),
    (409, "changed"),
    (409, "invalid-request"),
    (409, "is-a-folder"),
    (409, "lease-lost"),
    (409, "still-open"),
    (409, "too-few-replicas"),
    (429, "too-many-requests"),
    (503, "next-server-failed"),
    (503, "no-servers"),
    (507, "no-servers"),
    (507, "out-of-space"),
];

/// The statuses used with each `type`, for problems that this daemon decides.
fn statuses(kind: ProblemKind) -> &'static [u16] {
    match kind {
        ProblemKind::InvalidRequest => &[400, 408, 409, 413, 415, 416],
        ProblemKind::InvalidJob => &[400],
        ProblemKind::Forbidden => &[401, 403],
        ProblemKind::InputNotFound | ProblemKind::NotFound => &[404],
        ProblemKind::OutputExists
        | ProblemKind::KeyReused
        | ProblemKind::JobEnded
        | ProblemKind::AttemptEnded
        | ProblemKind::NotRegistered
        | ProblemKind::WrongCluster
        | ProblemKind::WrongProtocol
        | ProblemKind::HostNameTaken => &[409],
        ProblemKind::TooManyJobs | ProblemKind::TooManyRequests => &[429],
        ProblemKind::Internal => &[500],
        ProblemKind::StoreUnavailable | ProblemKind::Unavailable => &[503],
        ProblemKind::OutOfSpace => &[507],
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refused(&refusal),
            AskError::Stopped => problem(503, ProblemKind::Unavailable, error.to_string()),
        }
    }
}

impl From<AdmissionError> for Problem {
    fn from(error: AdmissionError) -> Self {
        let (status, kind) = match &error {
            AdmissionError::Invalid(_)
            | AdmissionError::Path(_)
            | AdmissionError::Url(_)
            | AdmissionError::InputIsLog { .. }
            | AdmissionError::NoProgramFile { .. }
            | AdmissionError::ProgramFileTooLong { .. } => (400, ProblemKind::InvalidJob),
            AdmissionError::InputNotFound { .. } | AdmissionError::InputWithoutFiles { .. } => {
                (404, ProblemKind::InputNotFound)
            }
            AdmissionError::OutputExists { .. } | AdmissionError::OutputHoldsObjects { .. } => {
                (409, ProblemKind::OutputExists)
            }
            AdmissionError::NotYours { .. } => (403, ProblemKind::Forbidden),
            AdmissionError::Elsewhere(OtherStoreError::Missing { .. }) => {
                (404, ProblemKind::InputNotFound)
            }
            AdmissionError::Elsewhere(error) if error.is_transient() => {
                (503, ProblemKind::StoreUnavailable)
            }
            // It is not configured, or the store denies access.
            AdmissionError::Elsewhere(_) => (400, ProblemKind::InvalidJob),
            AdmissionError::Store(store) if store.is_transient() => {
                (503, ProblemKind::StoreUnavailable)
            }
            AdmissionError::Store(_) => (500, ProblemKind::Internal),
        };
        problem(status, kind, error.to_string())
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        let detail = error.to_string();
        match error {
            HistoryError::Ask(error) => error.into(),
            HistoryError::Store(store) if store.is_transient() => {
                problem(503, ProblemKind::StoreUnavailable, detail)
            }
            HistoryError::Store(_)
            | HistoryError::Path(_)
            | HistoryError::Damaged { .. }
            | HistoryError::GivenUp { .. } => problem(500, ProblemKind::Internal, detail),
        }
    }
}

/// As what an answer a refusal of the core is told.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    let (status, kind) = match refusal {
        Refusal::InvalidJob(_) | Refusal::NoSuchPool { .. } => (400, ProblemKind::InvalidJob),
        Refusal::OutputReserved { .. } => (409, ProblemKind::OutputExists),
        Refusal::KeyReused { .. } => (409, ProblemKind::KeyReused),
        Refusal::BadKey | Refusal::BadSlots { .. } => (400, ProblemKind::InvalidRequest),
        Refusal::NoSuchTask { .. } | Refusal::UnknownPool { .. } => (404, ProblemKind::NotFound),
        Refusal::NoSuchJob { .. } | Refusal::NoSuchAttempt { .. } | Refusal::NoSuchHost { .. } => {
            (404, ProblemKind::NotFound)
        }
        Refusal::JobEnded { .. } | Refusal::Committing { .. } => (409, ProblemKind::JobEnded),
        Refusal::AttemptEnded { .. } => (409, ProblemKind::AttemptEnded),
        Refusal::TooManyJobs { .. } | Refusal::PoolFull { .. } => (429, ProblemKind::TooManyJobs),
        Refusal::NotRegistered { .. } => (409, ProblemKind::NotRegistered),
        Refusal::WrongCluster { .. } => (409, ProblemKind::WrongCluster),
        Refusal::WrongProtocol { .. } => (409, ProblemKind::WrongProtocol),
        Refusal::HostNameTaken { .. } => (409, ProblemKind::HostNameTaken),
        Refusal::JournalFull => (507, ProblemKind::OutOfSpace),
    };
    problem(status, kind, refusal.to_string())
}

fn problem(status: u16, kind: ProblemKind, detail: String) -> Problem {
    debug_assert!(statuses(kind).contains(&status), "{kind:?} with {status}");
    let problem = Problem::new(status, kind.as_str(), detail);
    match status {
        503 => problem.retry_after(RETRY_AFTER),
        429 => problem.retry_after(RETRY_AFTER_JOBS),
        _ => problem,
    }
}

/// A job file that did not arrive completely in time.
pub(super) fn late_job(limit: Duration) -> Problem {
    let detail = format!("the job did not arrive within {} s: send it again", limit.as_secs());
    problem(408, ProblemKind::InvalidRequest, detail)
}

/// A job file that is too long, or whose sender hung up.
pub(super) fn long_job(bytes_max: usize, error: &axum::Error) -> Problem {
    let detail = format!("the job did not arrive whole within {bytes_max} bytes: {error}");
    problem(413, ProblemKind::InvalidRequest, detail)
}

/// A body that is no job.
pub(super) fn no_job(why: &str) -> Problem {
    problem(400, ProblemKind::InvalidRequest, format!("this is no job: {why}"))
}

/// A file that is not part of the web page.
pub(super) fn no_page_file(name: &str) -> Problem {
    let detail = format!("the page has no file {name:?}: it begins at /");
    problem(404, ProblemKind::NotFound, detail)
}

/// A path without a valid id of a job or an attempt.
pub(super) fn bad_id(error: &IdError) -> Problem {
    problem(400, ProblemKind::InvalidRequest, error.to_string())
}

/// There is no history of the job.
pub(super) fn no_history(job: JobId) -> Problem {
    let detail = format!(
        "there is no history of {job}: it has not ended, has ended this very moment or longer ago than \
         'jobtracker.history_keep', or was never accepted"
    );
    problem(404, ProblemKind::NotFound, detail)
}

/// No log of the attempt is kept.
pub(super) fn no_kept_log(attempt: AttemptId) -> Problem {
    let job = attempt.task.job;
    let detail = format!(
        "no log of {attempt} is kept: those of failed attempts are, at the job's end; `howdah job history {job}` says why \
         one is not"
    );
    problem(404, ProblemKind::NotFound, detail)
}

/// A path without a valid host name.
pub(super) fn bad_host(error: &NameError) -> Problem {
    problem(400, ProblemKind::InvalidRequest, error.to_string())
}

/// A path that names one job and an attempt of another.
pub(super) fn not_of_job(job: JobId, (what, theirs): (&dyn Display, JobId)) -> Problem {
    let detail = format!("{what} is not of {job}: it would be of {theirs}");
    problem(400, ProblemKind::InvalidRequest, detail)
}

/// An `Idempotency-Key` that is not text.
pub(super) fn bad_key() -> Problem {
    refused(&Refusal::BadKey)
}

/// A path that the chunk store does not accept.
pub(super) fn bad_path(error: &PathError) -> Problem {
    problem(400, ProblemKind::InvalidRequest, error.to_string())
}

/// A header that makes the request conditional on a version of the file, which is not known here.
pub(super) fn unknown_condition(header: &str) -> Problem {
    let detail = format!(
        "{header} can't be heeded: files have no e-tags here; to never replace one, leave replace=true away, and send no \
         {header} but `If-None-Match: *`"
    );
    problem(400, ProblemKind::InvalidRequest, detail)
}

/// An upload of part of a file.
pub(super) fn partial_upload() -> Problem {
    let detail = "the body is a part of a file, as its Content-Range says, and a file is made of all of it at once: send the \
                  whole file (with curl, without -C), or append to it with `howdah fs append`";
    problem(400, ProblemKind::InvalidRequest, detail.to_owned())
}

/// An upload with a content coding, whose bytes are not those of the file.
pub(super) fn coded_upload() -> Problem {
    let detail = "a file has the bytes of the body as they are: send them without Content-Encoding, or give the file a name \
                  that says how it is compressed, such as .gz, and jobs will read it";
    problem(400, ProblemKind::InvalidRequest, detail.to_owned())
}

/// The limit on parallel requests of a kind is reached.
pub(super) fn too_many(detail: String) -> Problem {
    problem(429, ProblemKind::TooManyRequests, detail)
}

/// The limit on histories being read is reached.
pub(super) fn many_histories(max: usize) -> Problem {
    let detail = format!(
        "{max} histories of jobs are being read already, and others wait: try again in a moment"
    );
    problem(503, ProblemKind::Unavailable, detail)
}

/// The requested range is outside the file.
pub(super) fn no_such_range(path: &str, whole: u64) -> Problem {
    let detail =
        format!("{path} has {whole} bytes, and none of those that the header Range asks for");
    problem(416, ProblemKind::InvalidRequest, detail)
}

/// Folders cannot be removed by this route.
pub(super) fn folder_not_removed(path: &str) -> Problem {
    let detail = format!(
        "{path} is a folder, and only files are removed here: ask the chunk master (`POST /v1/files/delete`), or use \
         `howdah fs rm -r`"
    );
    problem(409, ProblemKind::InvalidRequest, detail)
}

/// The bytes of a file did not arrive completely.
pub(super) fn broken_upload(why: &str) -> Problem {
    let detail =
        format!("the file did not arrive whole, and nothing of it is kept: {why}; send it again");
    problem(400, ProblemKind::InvalidRequest, detail)
}

/// An error of the chunk store, passed on in its own words.
pub(super) fn of_store(error: &StoreError) -> Problem {
    if let Some(said) = error.problem() {
        return said.clone();
    }
    match error {
        StoreError::Call { .. }
        | StoreError::TooFewReplicas { .. }
        | StoreError::Unreadable { .. } => {
            problem(503, ProblemKind::StoreUnavailable, error.to_string())
        }
        StoreError::Moved { .. }
        | StoreError::LeaseLost { .. }
        | StoreError::Replaced { .. }
        | StoreError::ChangedMeanwhile { .. } => {
            problem(409, ProblemKind::InvalidRequest, error.to_string())
        }
        _ => problem(500, ProblemKind::Internal, error.to_string()),
    }
}

/// Neither the TaskTracker nor the history has a log of the attempt.
pub(super) fn no_log(attempt: AttemptId) -> Problem {
    let detail = format!(
        "there is no log of {attempt}: its TaskTracker is gone or has removed it, and only those of failed attempts are kept"
    );
    problem(404, ProblemKind::NotFound, detail)
}

/// An error of the TaskTracker with a log, or that it does not answer.
pub(super) fn of_tracker(error: &CallError) -> Problem {
    match error.problem() {
        Some(said) => said.clone(),
        None => {
            problem(503, ProblemKind::Unavailable, format!("the attempt's TaskTracker: {error}"))
        }
    }
}

/// A reply of the wrong kind for its request: a bug.
pub(super) fn unexpected(reply: &Reply) -> Problem {
    tracing::error!(?reply, "a reply that does not answer its request");
    let detail = "the JobTracker gave a reply of another kind; its log says more".to_owned();
    problem(500, ProblemKind::Internal, detail)
}

#[cfg(test)]
mod tests {
    use jobtracker_core::InvalidJob;
    use mapreduce_protocol::{AttemptState, JobState, TaskKind};

    use super::*;

    /// Problems passed on have the chunk store's types, and that daemon decides their statuses.
    #[test]
    fn the_document_names_no_problem_that_the_code_can_not_give() {
        let groups = [
            ASKS,
            CHANGES,
            NO_SUCH,
            KEPT,
            ENDS_JOB,
            ENDS_ATTEMPT,
            SUBMITS,
            LISTENS,
            REGISTERS,
            PASSED_ON,
            LOOKS,
            READS,
            REMOVES,
            WRITES,
        ];
        for (status, kind) in groups.into_iter().flatten() {
            let name = serde_json::Value::from(*kind);
            match serde_json::from_value::<ProblemKind>(name.clone()) {
                Ok(own) => assert!(statuses(own).contains(status), "{kind} with {status}"),
                Err(_) => {
                    let theirs = serde_json::from_value::<chunkstore_protocol::ProblemKind>(name);
                    assert!(theirs.is_ok(), "{kind} is no type of a problem");
                }
            }
        }
    }

    #[test]
    fn each_refusal_has_its_status_type_and_remedy() {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let host: ids::HostName = "host-1".parse().unwrap();
        let reserved = Refusal::OutputReserved { output: "/out".to_owned(), by: job };
        let ended = Refusal::JobEnded { job, state: JobState::Killed };
        let attempt = job.task(TaskKind::Map, 0).attempt(0);
        let attempt_ended = Refusal::AttemptEnded { attempt, state: AttemptState::Failed };
        let unknown_pool = Refusal::UnknownPool { name: "p".into(), pools: vec!["default".into()] };
        for (refusal, status, kind, remedy) in [
            (InvalidJob::NoInput.into(), 400, "invalid-job", "at least one"),
            (reserved, 409, "output-exists", "choose another"),
            (Refusal::KeyReused { job }, 409, "key-reused", "new key"),
            (Refusal::BadKey, 400, "invalid-request", "printable"),
            (Refusal::NoSuchJob { job }, 404, "not-found", "job_20261122_0001"),
            (ended, 409, "job-ended", "KILLED"),
            (Refusal::NoSuchAttempt { attempt }, 404, "not-found", "howdah attempt list job_"),
            (Refusal::NoSuchHost { host: host.clone() }, 404, "not-found", "howdah host list"),
            (unknown_pool, 404, "not-found", "names default"),
            (attempt_ended, 409, "attempt-ended", "FAILED"),
            (Refusal::Committing { job }, 409, "job-ended", "ask for its state"),
            (Refusal::TooManyJobs { unfinished: 9 }, 429, "too-many-jobs", "submit again"),
            (Refusal::NotRegistered { host }, 409, "not-registered", "register again"),
            (Refusal::JournalFull, 507, "out-of-space", "make space"),
        ] {
            let problem = refused(&refusal);
            assert_eq!((problem.status, problem.kind.as_str()), (status, kind), "{refusal}");
            assert!(problem.detail.contains(remedy), "{}", problem.detail);
            assert_eq!(problem.retry_after.is_some(), matches!(status, 429 | 503), "{refusal}");
        }
    }
}
