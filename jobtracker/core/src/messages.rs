//! Inputs, replies, refusals and effects of the core. The edge turns HTTP requests and results of calls into inputs and
//! carries out effects; it decides nothing.

use std::sync::Arc;
use std::time::Duration;

use ids::{HostName, UnixMillis};
use mapreduce_protocol::{
    Ailment, AttemptHistory, AttemptId, AttemptList, AttemptStatus, Explanation, HostList,
    JobAccepted, JobCounters, JobHistory, JobId, JobList, JobSpec, JobState, JobStatus,
    JobtrackerInfo, Partition, PoolList, Priority, RegisterTracker, TrackerHeartbeat,
    TrackerHeartbeatReply, TrackerRegistered,
};

use crate::parts::{Part, PartElsewhere};
use crate::phases::Phases;
use crate::pool_verbs::PoolVerb;
use crate::queries::Query;
use crate::records::{IdempotencyKey, PlannedSplit, Record, StagedSplits};
use crate::refusal::Refusal;
use crate::summary::Summary;
use crate::timeline::TimelinePage;

/// Identifies the request that a reply belongs to; minted by the edge, unique within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What happens to the JobTracker.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first input of a process, after recovery.
    Start,
    /// A client submits a job whose inputs exist and whose output does not.
    Submit {
        /// The job.
        spec: Box<JobSpec>,
        /// Makes a retry safe; optional.
        key: Option<IdempotencyKey>,
        /// The user who owns it.
        owner: String,
        /// The request.
        reply_to: ReplyTo,
    },
    /// [`StoreEffect::PlanSplits`] has ended.
    SplitsPlanned {
        /// The job.
        job: JobId,
        /// Its splits, or why there are none.
        outcome: StoreOutcome<Plan>,
    },
    /// [`StoreEffect::PlanSplits`] has found the splits, few enough for a record, and is still making the staging
    /// folder: meanwhile the record goes to disk. [`Input::StagingMade`] follows.
    SplitsFound {
        /// The job.
        job: JobId,
        /// Its splits.
        splits: Vec<PlannedSplit>,
    },
    /// [`StoreEffect::MakeStaging`], or the rest of [`StoreEffect::PlanSplits`], has ended.
    StagingMade {
        /// The job.
        job: JobId,
        /// Whether the folder is there.
        outcome: StoreOutcome<()>,
    },
    /// [`StoreEffect::ReadSplits`] has ended.
    SplitsRead {
        /// The job.
        job: JobId,
        /// Its splits, or why there are none.
        outcome: StoreOutcome<Vec<PlannedSplit>>,
    },
    /// [`StoreEffect::Publish`] has ended.
    Published {
        /// The job.
        job: JobId,
        /// Whether its output is there.
        outcome: StoreOutcome<()>,
    },
    /// [`StoreEffect::RemoveStaging`] has ended.
    StagingRemoved {
        /// The job.
        job: JobId,
        /// Whether nothing is left. (`Refused` counts as done: there is nothing else to try.)
        outcome: StoreOutcome<()>,
    },
    /// [`Effect::WriteHistory`] has ended.
    HistoryWritten {
        /// The job.
        job: JobId,
        /// Whether it is in the chunk store. (`Refused` counts as done: there is nothing else to try.)
        outcome: StoreOutcome<()>,
    },
    /// A TaskTracker registers.
    RegisterTracker {
        /// What it says about itself.
        request: Box<RegisterTracker>,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A TaskTracker reports and asks for work.
    Heartbeat {
        /// The message.
        heartbeat: Box<TrackerHeartbeat>,
        /// The request, which may stay parked for the heartbeat interval.
        reply_to: ReplyTo,
    },
    /// A client wants a job to end.
    Kill {
        /// The job.
        job: JobId,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants a running attempt to end.
    EndAttempt {
        /// The attempt.
        attempt: AttemptId,
        /// What its end counts as.
        counts: EndsAs,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client changes a job's priority.
    SetPriority {
        /// The job.
        job: JobId,
        /// The new priority.
        priority: Priority,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client pauses a job: none of its attempts is launched.
    Pause {
        /// The job.
        job: JobId,
        /// Whether its running attempts end now, to be run again later.
        kill: bool,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client resumes a paused job.
    Resume {
        /// The job.
        job: JobId,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client does something to all jobs of a pool.
    Pool {
        /// Its name.
        pool: String,
        /// What to do.
        verb: PoolVerb,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client drains a host, to stop it.
    Drain {
        /// The host.
        host: HostName,
        /// Whether the attempts running there end now, to be run elsewhere.
        kill: bool,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client cancels a drain.
    Undrain {
        /// The host.
        host: HostName,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client clears all that counts against a host.
    Forgive {
        /// The host.
        host: HostName,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client sends a query.
    Query {
        /// The query.
        query: Query,
        /// The request.
        reply_to: ReplyTo,
    },
    /// The connection of a parked request broke: nobody waits for its reply.
    Gone {
        /// The request.
        reply_to: ReplyTo,
    },
}

/// How the end of an attempt counts when a client ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsAs {
    /// Not at all: its task runs again.
    Killed,
    /// As one of its task's failures.
    Failed,
}

/// Result of a call to the chunk store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome<T> {
    /// The call succeeded.
    Done(T),
    /// The store refused, and would refuse again.
    Refused {
        /// Why and what to do, for people.
        reason: String,
    },
    /// The store did not answer for as long as the edge retries; the call will be repeated.
    Unavailable {
        /// What went wrong, for people.
        reason: String,
    },
}

/// A job's splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of map ordinals.
    pub splits: Vec<PlannedSplit>,
    /// The file that lists them, if they are too long for a record.
    pub staged: Option<StagedSplits>,
}

/// What the edge is to do, once the records before it are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// The request.
        to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
    /// Write it to the log.
    Tell(Notice),
    /// Call the chunk store or another store.
    Store(StoreEffect),
    /// Ask for what is to be kept of a job ([`Query::History`]) and write it into the chunk store with the logs of
    /// failed attempts; then [`Input::HistoryWritten`]. Idempotent.
    WriteHistory {
        /// The job.
        job: JobId,
    },
    /// Save the log of a failed attempt while its job goes on, as its host may be gone when the job ends. Best effort:
    /// nothing waits for it.
    KeepLog {
        /// The attempt.
        attempt: AttemptId,
        /// `host:port` of its TaskTracker.
        address: String,
    },
}

/// A call to the chunk store or to another store; an input reports its end.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreEffect {
    /// Make the staging folder and list and locate the inputs; then [`Input::SplitsPlanned`], or [`Input::SplitsFound`] and
    /// [`Input::StagingMade`].
    PlanSplits {
        /// The job.
        job: JobId,
        /// What it reads.
        spec: Arc<JobSpec>,
        /// The folder to make.
        staging: String,
    },
    /// Make the staging folder unless it exists; then [`Input::StagingMade`].
    MakeStaging {
        /// The job.
        job: JobId,
        /// The folder.
        staging: String,
    },
    /// Read a split list back; then [`Input::SplitsRead`].
    ReadSplits {
        /// The job.
        job: JobId,
        /// Where the list is.
        list: StagedSplits,
    },
    /// Publish a job's output in one transaction, stamped with the job's id and submission time so that a repeated call
    /// is recognised as the first; then [`Input::Published`].
    Publish {
        /// The job.
        job: JobId,
        /// When it was submitted. A JobTracker with a new journal may reuse the id.
        submitted_at: UnixMillis,
        /// The folder that holds the winners' output.
        staging: String,
        /// The files to publish.
        parts: Vec<Part>,
        /// The output folder.
        target: String,
        /// The user who owns it; empty for the JobTracker itself.
        owner: String,
    },
    /// Publish a job's output in another store, part by part and `_SUCCESS` last; a repeated call completes what the
    /// first left undone. Then [`Input::Published`].
    PublishElsewhere {
        /// The job.
        job: JobId,
        /// URL of the output folder.
        target: String,
        /// The files to publish.
        parts: Vec<PartElsewhere>,
    },
    /// Remove a job's staging folder, if there is one, and what was staged but not published in another store; then
    /// [`Input::StagingRemoved`].
    RemoveStaging {
        /// The job.
        job: JobId,
        /// The folder.
        staging: String,
        /// The job's output folder, if it is in another store.
        elsewhere: Option<String>,
    },
}

/// Attempts of some tasks of a job, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The attempts, with the addresses of their TaskTrackers if those are registered.
    pub attempts: Vec<AttemptHistory>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

/// What an operator should know although no record says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A tracker registered.
    TrackerRegistered {
        /// Its host.
        host: HostName,
        /// Its `host:port`.
        address: String,
        /// Its slots.
        slots: u32,
        /// Running attempts that it brought along and that continue.
        running: usize,
    },
    /// A tracker was silent for too long; its attempts run again, and its map outputs are made again, on other hosts.
    TrackerLost {
        /// Its host.
        host: HostName,
        /// Attempts that ran there.
        attempts: usize,
        /// Map outputs there that reduces still need.
        map_outputs: usize,
    },
    /// A host is set aside, that is gets no new attempts for a while, or is set aside no longer.
    HostSetAside {
        /// The host.
        host: HostName,
        /// For how long at least; `None`: it gets attempts again.
        on_for: Option<Duration>,
        /// Number of strikes against it.
        strikes: usize,
    },
    /// A host's ailments have changed.
    HostHealth {
        /// The host.
        host: HostName,
        /// All its present ailments.
        ailments: Vec<Ailment>,
    },
    /// A slow attempt got a backup.
    BackupLaunched {
        /// The slow attempt.
        late: AttemptId,
        /// Its host.
        on: HostName,
        /// Its estimated remaining time.
        left: Duration,
        /// The backup's host.
        host: HostName,
        /// The estimated run time of the backup.
        expected: Duration,
    },
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// SUCCEEDED, FAILED or KILLED.
        state: JobState,
        /// Time since its submission.
        took: Duration,
        /// The duration of each phase, if it succeeded and the JobTracker did not restart meanwhile.
        phases: Option<Phases>,
    },
    /// The chunk store did not answer; the job waits for it.
    StoreUnavailable {
        /// The job.
        job: JobId,
        /// What went wrong.
        reason: String,
    },
    /// A history is given up because too many are unwritten: see [`crate::UNWRITTEN_MAX`].
    HistoryGivenUp {
        /// The job; of those unwritten, the first to end.
        job: JobId,
    },
}

/// Answers to requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A job is accepted, by this request or an earlier one with its key.
    Accepted(JobAccepted),
    /// One job.
    Status(Box<JobStatus>),
    /// Several jobs.
    List(JobList),
    /// A job's attempts.
    Attempts(AttemptList),
    /// Why its tasks wait.
    Explanation(Box<Explanation>),
    /// One attempt.
    Attempt(Box<AttemptStatus>),
    /// Attempts of some tasks of a job; `None` if its tasks are no longer known.
    Timeline(Option<TimelinePage>),
    /// The inputs of the next reduces of a job; `None` if its tasks are no longer known.
    Partitions(Option<Vec<Partition>>),
    /// A job's counters.
    Counters(JobCounters),
    /// What is to be kept of a job.
    History(Box<JobHistory>),
    /// A page of its attempts.
    HistoryPage(HistoryPage),
    /// The job submitted with an idempotency key.
    Submitted(Option<JobAccepted>),
    /// A summary of the cluster.
    Cluster(JobtrackerInfo),
    /// The hosts of TaskTrackers.
    Hosts(HostList),
    /// All pools, or the one that was acted on.
    Pools(PoolList),
    /// Gauges.
    Summary(Box<Summary>),
    /// A tracker is registered.
    Registered(TrackerRegistered),
    /// What a tracker is to do.
    Heartbeat(Box<TrackerHeartbeatReply>),
    /// The request is refused.
    Refused(Refusal),
}

/// The result of an input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// To be journaled, in order.
    pub records: Vec<Record>,
    /// To be carried out once the records are durable.
    pub effects: Vec<Effect>,
}
