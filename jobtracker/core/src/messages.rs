//! What goes into the core and what comes out: inputs, replies, refusals and effects. The edge turns
//! HTTP requests and results of calls into inputs, and carries effects out; it decides nothing.

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

/// Names the request that a reply belongs to; minted by the edge, never used twice in a process.
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
        /// What makes a retry safe, if the client wants that.
        key: Option<IdempotencyKey>,
        /// Whose it is.
        owner: String,
        /// The request.
        reply_to: ReplyTo,
    },
    /// [`StoreEffect::PlanSplits`] came to an end.
    SplitsPlanned {
        /// The job.
        job: JobId,
        /// Its splits, or why there are none.
        outcome: StoreOutcome<Plan>,
    },
    /// [`StoreEffect::PlanSplits`] has found the splits, which are few, and its staging folder is still being made: what is to
    /// be written down of them goes to the disk meanwhile. [`Input::StagingMade`] follows.
    SplitsFound {
        /// The job.
        job: JobId,
        /// Its splits.
        splits: Vec<PlannedSplit>,
    },
    /// [`StoreEffect::MakeStaging`], or the rest of [`StoreEffect::PlanSplits`], came to an end.
    StagingMade {
        /// The job.
        job: JobId,
        /// Whether the folder is there.
        outcome: StoreOutcome<()>,
    },
    /// [`StoreEffect::ReadSplits`] came to an end.
    SplitsRead {
        /// The job.
        job: JobId,
        /// Its splits, or why there are none.
        outcome: StoreOutcome<Vec<PlannedSplit>>,
    },
    /// [`StoreEffect::Publish`] came to an end.
    Published {
        /// The job.
        job: JobId,
        /// Whether its output is there.
        outcome: StoreOutcome<()>,
    },
    /// [`StoreEffect::RemoveStaging`] came to an end.
    StagingRemoved {
        /// The job.
        job: JobId,
        /// Whether nothing is left. (`Refused` counts as done: nothing more can be tried.)
        outcome: StoreOutcome<()>,
    },
    /// [`Effect::WriteHistory`] came to an end.
    HistoryWritten {
        /// The job.
        job: JobId,
        /// Whether it is in the chunk store. (`Refused` counts as done: nothing more can be tried.)
        outcome: StoreOutcome<()>,
    },
    /// A TaskTracker registers.
    RegisterTracker {
        /// What it says of itself.
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
        /// What that counts as.
        counts: EndsAs,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants a job to have more of the slots, or less.
    SetPriority {
        /// The job.
        job: JobId,
        /// From now on.
        priority: Priority,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants nothing new of a job to be launched.
    Pause {
        /// The job.
        job: JobId,
        /// Whether what runs is to end now, and run again later.
        kill: bool,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants a paused job to go on.
    Resume {
        /// The job.
        job: JobId,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants something of all jobs of a pool.
    Pool {
        /// Its name.
        pool: String,
        /// What.
        verb: PoolVerb,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client wants to stop a host.
    Drain {
        /// The host.
        host: HostName,
        /// Whether what runs there is to end now, and run elsewhere.
        kill: bool,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client does not want to stop a host any more.
    Undrain {
        /// The host.
        host: HostName,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client says that nothing speaks against a host any more.
    Forgive {
        /// The host.
        host: HostName,
        /// The request.
        reply_to: ReplyTo,
    },
    /// A client asks.
    Query {
        /// What.
        query: Query,
        /// The request.
        reply_to: ReplyTo,
    },
    /// Nobody waits for this reply any more: the connection broke.
    Gone {
        /// The request.
        reply_to: ReplyTo,
    },
}

/// What the end of an attempt that a client ends counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsAs {
    /// Nothing: its task runs again.
    Killed,
    /// One of its task's tries.
    Failed,
}

/// How a call to the chunk store ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome<T> {
    /// It did what was asked.
    Done(T),
    /// It said no, and will say no again.
    Refused {
        /// Why and what to do, for people.
        reason: String,
    },
    /// It did not answer for as long as the edge retries: it is asked again.
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
    /// Where they are written down, if they are too long for a record.
    pub staged: Option<StagedSplits>,
}

/// What the edge is to do, once the records before it are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Which.
        to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
    /// Say it in the log.
    Tell(Notice),
    /// Call the chunk store, or another one.
    Store(StoreEffect),
    /// Ask for what is to be kept of a job ([`Query::History`]), write it into the chunk store, with the logs of failed
    /// attempts; then [`Input::HistoryWritten`]. A second time, if the first is there already, changes nothing.
    WriteHistory {
        /// The job.
        job: JobId,
    },
    /// Keep what a failed attempt of a job that goes on wrote, if there is time for that: its host may be gone at the job's
    /// end. Nothing is waited for.
    KeepLog {
        /// The attempt.
        attempt: AttemptId,
        /// `host:port` of its TaskTracker.
        address: String,
    },
}

/// A call to the chunk store, or to another one; it comes to an end as an input.
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
    /// Make the staging folder, if it is not there; then [`Input::StagingMade`].
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
        /// Where it is.
        list: StagedSplits,
    },
    /// Make a job's output appear in one transaction, stamped by the job's id and its time so that a
    /// second one is the first; then [`Input::Published`].
    Publish {
        /// The job.
        job: JobId,
        /// When it was submitted. A JobTracker with a new journal gives the same ids again.
        submitted_at: UnixMillis,
        /// The folder that holds the winners.
        staging: String,
        /// What appears.
        parts: Vec<Part>,
        /// The folder that appears.
        target: String,
        /// Whose it is; empty for the JobTracker's own.
        owner: String,
    },
    /// Make a job's output appear in another store, part by part and `_SUCCESS` last; a second time does what the
    /// first left undone. Then [`Input::Published`].
    PublishElsewhere {
        /// The job.
        job: JobId,
        /// URL of the folder.
        target: String,
        /// What appears.
        parts: Vec<PartElsewhere>,
    },
    /// Remove a job's staging folder, if there is one, and what was staged in another store and not published; then
    /// [`Input::StagingRemoved`].
    RemoveStaging {
        /// The job.
        job: JobId,
        /// The folder.
        staging: String,
        /// The job's output, if that is in another store.
        elsewhere: Option<String>,
    },
}

/// Attempts of some tasks of a job, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The attempts, with the addresses of their TaskTrackers, where those are there.
    pub attempts: Vec<AttemptHistory>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

/// What an operator would want to hear, and no record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A tracker is there.
    TrackerRegistered {
        /// Its host.
        host: HostName,
        /// `host:port` of it.
        address: String,
        /// What it offers.
        slots: u32,
        /// Attempts that run there and go on.
        running: usize,
    },
    /// A tracker was silent for too long; what it ran and held is made elsewhere.
    TrackerLost {
        /// Its host.
        host: HostName,
        /// Attempts that ran there.
        attempts: usize,
        /// Map outputs there that reduces still need.
        map_outputs: usize,
    },
    /// A host gets no new attempts for a while, or gets some again.
    HostSetAside {
        /// The host.
        host: HostName,
        /// For how long at least; absent: no longer.
        on_for: Option<Duration>,
        /// How much speaks against it.
        strikes: usize,
    },
    /// What is wrong with a host has changed.
    HostHealth {
        /// The host.
        host: HostName,
        /// All that is wrong now.
        ailments: Vec<Ailment>,
    },
    /// A late attempt got a backup.
    BackupLaunched {
        /// The late one.
        late: AttemptId,
        /// Its host.
        on: HostName,
        /// How long it is expected to have left.
        left: Duration,
        /// The backup's host.
        host: HostName,
        /// How long the backup is expected to take.
        expected: Duration,
    },
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// SUCCEEDED, FAILED or KILLED.
        state: JobState,
        /// Since its submission.
        took: Duration,
        /// How long which phase took, if it succeeded; absent too if the JobTracker restarted meanwhile.
        phases: Option<Phases>,
    },
    /// The chunk store did not answer; the job waits for it.
    StoreUnavailable {
        /// The job.
        job: JobId,
        /// What went wrong.
        reason: String,
    },
    /// So many histories are not written that this one never will be: see [`crate::UNWRITTEN_MAX`].
    HistoryGivenUp {
        /// The job, which ended first of them.
        job: JobId,
    },
}

/// Answers to requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A job is accepted, now or before.
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
    /// Attempts of some tasks of a job; `None` if its tasks are not known any more.
    Timeline(Option<TimelinePage>),
    /// What the next reduces of a job read; `None` likewise.
    Partitions(Option<Vec<Partition>>),
    /// A job's counters.
    Counters(JobCounters),
    /// What is to be kept of a job.
    History(Box<JobHistory>),
    /// A page of its attempts.
    HistoryPage(HistoryPage),
    /// The job of an idempotency key.
    Submitted(Option<JobAccepted>),
    /// The cluster in short.
    Cluster(JobtrackerInfo),
    /// The hosts of TaskTrackers.
    Hosts(HostList),
    /// The pools, or the one that something was done to.
    Pools(PoolList),
    /// Gauges.
    Summary(Box<Summary>),
    /// A tracker is registered.
    Registered(TrackerRegistered),
    /// What a tracker is to do.
    Heartbeat(Box<TrackerHeartbeatReply>),
    /// No.
    Refused(Refusal),
}

/// What an input led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// To be journaled in order.
    pub records: Vec<Record>,
    /// To be carried out once the records are durable.
    pub effects: Vec<Effect>,
}
