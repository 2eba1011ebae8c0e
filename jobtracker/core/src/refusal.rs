//! Why requests are refused, in words that say what to do. The edge assigns an HTTP status to each.

use ids::{ClusterId, HostName};
use mapreduce_protocol::{AttemptId, AttemptState, JobId, JobState, TaskId};

use crate::spec::InvalidJob;

/// Why a request is refused. A refused request has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job cannot be run as it is specified.
    #[error(transparent)]
    InvalidJob(#[from] InvalidJob),
    /// Another job that is unfinished, or not yet cleaned up after, uses that output.
    #[error(
        "output {output:?} is reserved by {by}, which has not ended, or not been tidied up after: choose another folder, or wait for that job"
    )]
    OutputReserved {
        /// The output.
        output: String,
        /// The job that reserved it.
        by: JobId,
    },
    /// The job names a pool that is not configured.
    #[error("there is no pool {name:?}: `pools` in the JobTracker's configuration names {}", .pools.join(", "))]
    NoSuchPool {
        /// The name in the job.
        name: String,
        /// The configured pools.
        pools: Vec<String>,
    },
    /// A client acts on a pool that does not exist.
    #[error("there is no pool {name:?}: `pools` in the JobTracker's configuration names {}", .pools.join(", "))]
    UnknownPool {
        /// The name in the request.
        name: String,
        /// The configured pools.
        pools: Vec<String>,
    },
    /// The pool has reached its limit of unfinished jobs.
    #[error(
        "pool {name:?} has {unfinished} unfinished jobs, as many as it may (jobs_max): submit again when some have ended"
    )]
    PoolFull {
        /// Its name.
        name: String,
        /// Its unfinished jobs.
        unfinished: usize,
    },
    /// The key was used for another job.
    #[error("the Idempotency-Key was used for another job, {job}: send a new key with a new job")]
    KeyReused {
        /// The other job.
        job: JobId,
    },
    /// The key is too long or not printable.
    #[error("the Idempotency-Key is not 1 to {} printable ASCII characters", crate::KEY_BYTES_MAX)]
    BadKey,
    /// There is no such job, or it was forgotten.
    #[error("there is no job {job}: it was never accepted, or has been forgotten since it ended")]
    NoSuchJob {
        /// The job asked for.
        job: JobId,
    },
    /// The job is over.
    #[error("{job} has ended already: it is {}", .state.as_str())]
    JobEnded {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
    },
    /// There is no such attempt, or it is no longer known.
    #[error(
        "there is no attempt {attempt}: it was never launched, has been forgotten since it ended, or its TaskTracker has not registered again since the JobTracker started; `howdah attempt list {}` shows those that are known",
        .attempt.task.job
    )]
    NoSuchAttempt {
        /// The attempt asked for.
        attempt: AttemptId,
    },
    /// The job has no such task.
    #[error("there is no {task}: its job has fewer tasks of that kind")]
    NoSuchTask {
        /// The task asked for.
        task: TaskId,
    },
    /// There is no such TaskTracker.
    #[error(
        "no TaskTracker is or was registered as {host} since the JobTracker started: `howdah host list` shows those that are known"
    )]
    NoSuchHost {
        /// The host asked for.
        host: HostName,
    },
    /// The attempt is over.
    #[error("{attempt} has ended already: it is {}", .state.as_str())]
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        state: AttemptState,
    },
    /// The job's output is being published, which cannot be stopped.
    #[error("{job} is publishing its output and can't be killed any more: ask for its state again")]
    Committing {
        /// The job.
        job: JobId,
    },
    /// The queue is full.
    #[error(
        "{unfinished} jobs have not ended yet, which is the limit: submit again when some have"
    )]
    TooManyJobs {
        /// Number of unfinished jobs.
        unfinished: usize,
    },
    /// The sender is not registered in this term.
    #[error("TaskTracker {host} is not registered with this JobTracker: register again")]
    NotRegistered {
        /// The sender.
        host: HostName,
    },
    /// The sender belongs to another cluster.
    #[error(
        "TaskTracker {host} belongs to cluster {theirs}, this is {ours}: point it at its own JobTracker, or give it an empty data folder"
    )]
    WrongCluster {
        /// The sender.
        host: HostName,
        /// Its cluster.
        theirs: ClusterId,
        /// This cluster.
        ours: ClusterId,
    },
    /// The sender speaks another protocol version.
    #[error(
        "TaskTracker {host} speaks protocol version {theirs}, this JobTracker {}: run the same release on all hosts",
        mapreduce_protocol::PROTOCOL_VERSION
    )]
    WrongProtocol {
        /// The sender.
        host: HostName,
        /// Its version.
        theirs: u32,
    },
    /// Another live tracker is registered under that name.
    #[error(
        "a TaskTracker at {address} is registered as {host} and alive: give each host its own name, or stop that one"
    )]
    HostNameTaken {
        /// The name.
        host: HostName,
        /// Address of the other tracker.
        address: String,
    },
    /// The number of slots is out of range.
    #[error(
        "TaskTracker {host} offers {slots} slots: set 'tasktracker.slots' to 1 to {}",
        crate::SLOTS_MAX
    )]
    BadSlots {
        /// The sender.
        host: HostName,
        /// The slots offered.
        slots: u32,
    },
    /// The journal's disk is full.
    #[error("the JobTracker's journal has no room: make space in its data folder and try again")]
    JournalFull,
}
