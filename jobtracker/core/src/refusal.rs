//! Why requests are refused, in words that say what to do. The HTTP status of each is the edge's.

use ids::{ClusterId, HostName};
use mapreduce_protocol::{AttemptId, AttemptState, JobId, JobState, TaskId};

use crate::spec::InvalidJob;

/// Why a request is refused. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job can't be run as it is written.
    #[error(transparent)]
    InvalidJob(#[from] InvalidJob),
    /// Another unfinished job will write there.
    #[error(
        "output {output:?} is reserved by {by}, which has not ended, or not been tidied up after: choose another folder, or wait for that job"
    )]
    OutputReserved {
        /// The output.
        output: String,
        /// Whose it is.
        by: JobId,
    },
    /// The job names a pool that the configuration does not.
    #[error("there is no pool {name:?}: `pools` in the JobTracker's configuration names {}", .pools.join(", "))]
    NoSuchPool {
        /// What the job names.
        name: String,
        /// Those that there are.
        pools: Vec<String>,
    },
    /// There is no such pool to be changed.
    #[error("there is no pool {name:?}: `pools` in the JobTracker's configuration names {}", .pools.join(", "))]
    UnknownPool {
        /// What the client named.
        name: String,
        /// Those that there are.
        pools: Vec<String>,
    },
    /// The pool has as many unfinished jobs as it may.
    #[error(
        "pool {name:?} has {unfinished} unfinished jobs, as many as it may (jobs_max): submit again when some have ended"
    )]
    PoolFull {
        /// Its name.
        name: String,
        /// Its unfinished jobs.
        unfinished: usize,
    },
    /// The key came with another job before.
    #[error("the Idempotency-Key was used for another job, {job}: send a new key with a new job")]
    KeyReused {
        /// That job.
        job: JobId,
    },
    /// The key is too long or not printable.
    #[error("the Idempotency-Key is not 1 to {} printable ASCII characters", crate::KEY_BYTES_MAX)]
    BadKey,
    /// No such job, or it was forgotten.
    #[error("there is no job {job}: it was never accepted, or has been forgotten since it ended")]
    NoSuchJob {
        /// What was asked for.
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
    /// No such attempt, or it is not remembered.
    #[error(
        "there is no attempt {attempt}: it was never launched, has been forgotten since it ended, or its TaskTracker has not registered again since the JobTracker started; `howdah attempt list {}` shows those that are known",
        .attempt.task.job
    )]
    NoSuchAttempt {
        /// What was asked for.
        attempt: AttemptId,
    },
    /// The job has no such task.
    #[error("there is no {task}: its job has fewer tasks of that kind")]
    NoSuchTask {
        /// What was asked for.
        task: TaskId,
    },
    /// No such TaskTracker.
    #[error(
        "no TaskTracker is or was registered as {host} since the JobTracker started: `howdah host list` shows those that are known"
    )]
    NoSuchHost {
        /// What was asked for.
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
    /// The job's output is being published, which can't be stopped.
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
        /// How many there are.
        unfinished: usize,
    },
    /// The sender's registration is none of this term.
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
    /// The sender speaks another version.
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
    /// Another live tracker bears the name.
    #[error(
        "a TaskTracker at {address} is registered as {host} and alive: give each host its own name, or stop that one"
    )]
    HostNameTaken {
        /// The name.
        host: HostName,
        /// Where its bearer is.
        address: String,
    },
    /// The registration makes no sense.
    #[error(
        "TaskTracker {host} offers {slots} slots: set 'tasktracker.slots' to 1 to {}",
        crate::SLOTS_MAX
    )]
    BadSlots {
        /// The sender.
        host: HostName,
        /// Slots as given.
        slots: u32,
    },
    /// The journal's disk is full.
    #[error("the JobTracker's journal has no room: make space in its data folder and try again")]
    JournalFull,
}
