//! Queries of clients, and the requests that wait for a job's end. Nothing here changes a job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{HostName, Monotonic, Now, UnixMillis};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptState, AttemptStatus, JobCounters, JobId, JobList, JobState,
    JobStatus, JobtrackerInfo, Place, TaskCounts, TaskId, TaskKind,
};

use crate::durable::{JobEntry, Stage};
use crate::ended::EndedAttempt;
use crate::job::LiveJob;
use crate::locality::Locality;
use crate::machine::Core;
use crate::messages::{Reply, ReplyTo};
use crate::pools::DEFAULT_POOL;
use crate::records::{IdempotencyKey, Span};
use crate::refusal::Refusal;
use crate::running::RunningEntry;
use crate::timers::Timer;

/// Limit on how long one request may wait for a job's end.
pub const WAIT_MAX: Duration = Duration::from_mins(1);
/// Limit on the requests that wait at once; further ones are answered immediately.
const WAITERS_MAX: usize = 10_000;
/// Limit on the jobs in one list.
const LIST_MAX: usize = 1000;

/// Queries of clients. None changes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One job's state.
    Status {
        /// The job.
        job: JobId,
        /// Wait this long for its end, at most [`crate::WAIT_MAX`].
        wait: Option<Duration>,
    },
    /// The newest jobs.
    List {
        /// How many.
        limit: usize,
        /// Which jobs to list.
        only: JobFilter,
    },
    /// One job's attempts.
    Attempts {
        /// The job.
        job: JobId,
    },
    /// One task's attempts.
    AttemptsOf {
        /// The task.
        task: TaskId,
    },
    /// One attempt.
    Attempt {
        /// The attempt.
        attempt: AttemptId,
    },
    /// When and where the attempts of the next tasks of a job ran, maps before reduces.
    Timeline {
        /// The job.
        job: JobId,
        /// The first task: 0, or `next` of the previous page.
        first: usize,
        /// Leaves out attempts that ended before.
        since: UnixMillis,
    },
    /// The input sizes of the next reduces of a job.
    Partitions {
        /// The job.
        job: JobId,
        /// The first reduce.
        first: u32,
    },
    /// Why the next tasks of a job wait, or one of its tasks.
    Explain {
        /// The job.
        job: JobId,
        /// The task.
        task: Option<TaskId>,
    },
    /// One job's counters.
    Counters {
        /// The job.
        job: JobId,
    },
    /// The history of an ended job, if not written yet, without its attempts.
    History {
        /// The job.
        job: JobId,
    },
    /// A page of the attempts for its history.
    HistoryPage {
        /// The job.
        job: JobId,
        /// The first task: 0, or `next` of the previous page.
        first: usize,
    },
    /// The job submitted with an idempotency key, if any.
    Submitted {
        /// The owner of the job.
        owner: String,
        /// The key, and the digest of the job submitted with it now.
        key: IdempotencyKey,
    },
    /// A summary of the cluster.
    Cluster,
    /// The hosts of TaskTrackers.
    Hosts {
        /// Only this host.
        only: Option<HostName>,
    },
    /// The pools.
    Pools,
    /// Gauges.
    Summary,
}

/// Which jobs to list. Absent fields exclude none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Jobs in this state.
    pub state: Option<JobState>,
    /// Jobs of this pool.
    pub pool: Option<String>,
    /// Jobs submitted before this one.
    pub before: Option<JobId>,
}

/// Requests that wait for a job's end.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    jobs: BTreeMap<JobId, BTreeSet<ReplyTo>>,
    /// The job and the deadline of each request.
    until: BTreeMap<ReplyTo, (JobId, Monotonic)>,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }

    fn add(&mut self, job: JobId, to: ReplyTo, until: Monotonic) {
        self.jobs.entry(job).or_default().insert(to);
        self.until.insert(to, (job, until));
    }

    fn remove(&mut self, to: ReplyTo) -> Option<(JobId, Monotonic)> {
        let (job, until) = self.until.remove(&to)?;
        if let Some(waiting) = self.jobs.get_mut(&job) {
            waiting.remove(&to);
            if waiting.is_empty() {
                self.jobs.remove(&job);
            }
        }
        Some((job, until))
    }

    fn of(&self, job: JobId) -> Vec<ReplyTo> {
        self.jobs.get(&job).into_iter().flatten().copied().collect()
    }
}

impl Core {
    pub(crate) fn handle_query(&mut self, now: Now, query: Query, reply_to: ReplyTo) {
        let reply = match query {
            Query::Status { job, wait } => {
                if self.waits(now, job, wait, reply_to) {
                    return;
                }
                self.status(job).map(|status| Reply::Status(Box::new(status))).ok_or(job)
            }
            Query::List { limit, only } => Ok(Reply::List(self.list(limit, &only))),
            Query::Attempts { job } => self.attempts(job).map(Reply::Attempts).ok_or(job),
            Query::AttemptsOf { task } => {
                self.attempts_of(task).map(Reply::Attempts).ok_or(task.job)
            }
            Query::Attempt { attempt } => Ok(match self.attempt(attempt) {
                Some(found) => Reply::Attempt(Box::new(found)),
                None => Reply::Refused(Refusal::NoSuchAttempt { attempt }),
            }),
            Query::Timeline { job, first, since } => {
                self.timeline(job, first, since).map(Reply::Timeline).ok_or(job)
            }
            Query::Partitions { job, first } => {
                self.partitions(job, first).map(Reply::Partitions).ok_or(job)
            }
            Query::Counters { job } => self.counters(job).map(Reply::Counters).ok_or(job),
            Query::History { job } => {
                self.history(job).map(|history| Reply::History(Box::new(history))).ok_or(job)
            }
            Query::HistoryPage { job, first } => {
                self.history_page(job, first).map(Reply::HistoryPage).ok_or(job)
            }
            Query::Submitted { owner, key } => Ok(match self.submitted(&owner, Some(&key)) {
                Ok(accepted) => Reply::Submitted(accepted),
                Err(refusal) => Reply::Refused(refusal),
            }),
            Query::Explain { job, task } => Ok(match self.explain(now.monotonic, job, task) {
                Ok(explanation) => Reply::Explanation(Box::new(explanation)),
                Err(refusal) => Reply::Refused(refusal),
            }),
            Query::Hosts { only } => return self.answer_hosts(now, only, reply_to),
            Query::Pools => return self.answer_pools(now, None, reply_to),
            Query::Cluster => Ok(Reply::Cluster(self.cluster())),
            Query::Summary => Ok(Reply::Summary(Box::new(self.summary()))),
        };
        match reply {
            Ok(reply) => self.reply(reply_to, reply),
            Err(job) => self.refuse_with(reply_to, Refusal::NoSuchJob { job }),
        }
    }

    /// Registers the request as a waiter; false if it must be answered now.
    fn waits(&mut self, now: Now, job: JobId, wait: Option<Duration>, to: ReplyTo) -> bool {
        let Some(wait) = wait.filter(|wait| !wait.is_zero()) else { return false };
        if self.live(job).is_none() || self.waiters.len() >= WAITERS_MAX {
            return false;
        }
        let until = now.monotonic + wait.min(WAIT_MAX);
        self.waiters.add(job, to, until);
        self.timers.set(until, Timer::Wait(job, to));
        true
    }

    pub(crate) fn handle_wait_over(&mut self, job: JobId, to: ReplyTo) {
        if self.waiters.remove(to).is_some() {
            self.reply_status(job, to);
        }
    }

    /// The job has reached its final state: answers the requests that wait for it.
    pub(crate) fn on_ended(&mut self, job: JobId) {
        for to in self.waiters.of(job) {
            if let Some((_, until)) = self.waiters.remove(to) {
                self.timers.cancel(until, Timer::Wait(job, to));
            }
            self.reply_status(job, to);
        }
    }

    pub(crate) fn handle_gone(&mut self, to: ReplyTo) {
        match self.waiters.remove(to) {
            Some((job, until)) => self.timers.cancel(until, Timer::Wait(job, to)),
            None => self.unpark(to),
        }
    }

    pub(crate) fn reply_status(&mut self, job: JobId, to: ReplyTo) {
        match self.status(job) {
            Some(status) => self.reply(to, Reply::Status(Box::new(status))),
            None => self.refuse_with(to, Refusal::NoSuchJob { job }),
        }
    }

    /// The state of a job that is known.
    pub(crate) fn state_of(&self, job: JobId) -> JobState {
        match self.durable.job(job).map(|entry| &entry.stage) {
            Some(Stage::Ended(ended)) => ended.state,
            Some(Stage::Running(_)) => JobState::Running,
            Some(Stage::Planning) | None => JobState::Prep,
        }
    }

    /// The status of a job, if it is known; clients get it as [`Reply::Status`].
    #[must_use]
    pub fn status(&self, job: JobId) -> Option<JobStatus> {
        Some(self.status_of(job, self.durable.job(job)?))
    }

    /// For each live tracker the number of occupied slots and of all slots.
    pub fn occupancy(&self) -> impl Iterator<Item = (&HostName, usize, usize)> {
        let trackers = self.trackers.iter();
        trackers.map(|(host, it)| (host, it.occupied().len(), it.slots as usize))
    }

    fn status_of(&self, job: JobId, entry: &JobEntry) -> JobStatus {
        let status = JobStatus {
            id: job,
            name: entry.spec.name.clone(),
            owner: entry.owner.clone(),
            state: self.state_of(job),
            priority: entry.priority,
            pool: entry.spec.pool.clone().unwrap_or_else(|| DEFAULT_POOL.to_owned()),
            paused: self.live(job).is_some_and(|live| live.paused.at_all()),
            maps: TaskCounts::default(),
            reduces: TaskCounts { total: entry.n_reduces, ..TaskCounts::default() },
            failure: None,
            waiting: self.live(job).and_then(|live| self.why_waiting(live)),
            output: entry.spec.output.clone(),
            input_bytes: 0,
            submitted_at: entry.submitted_at,
            finished_at: None,
        };
        match &entry.stage {
            Stage::Planning => status,
            Stage::Running(running) => {
                let counts = |kind| {
                    self.live(job).map(|live| live.counts(kind, Some(running))).unwrap_or_default()
                };
                JobStatus {
                    maps: counts(TaskKind::Map),
                    reduces: counts(TaskKind::Reduce),
                    input_bytes: running.input_bytes,
                    ..status
                }
            }
            Stage::Ended(ended) => JobStatus {
                maps: ended.maps,
                reduces: ended.reduces,
                failure: ended.failure.clone(),
                input_bytes: ended.input_bytes,
                finished_at: Some(ended.finished_at),
                ..status
            },
        }
    }

    fn list(&self, limit: usize, only: &JobFilter) -> JobList {
        let is_wanted = |(job, entry): &(&JobId, &JobEntry)| {
            let pool = entry.spec.pool.as_deref().unwrap_or(DEFAULT_POOL);
            only.before.is_none_or(|before| job.ordinal < before.ordinal)
                && only.pool.as_deref().is_none_or(|wanted| wanted == pool)
                && only.state.is_none_or(|wanted| wanted == self.state_of(**job))
        };
        let mut newest: Vec<_> = self.durable.jobs().iter().filter(is_wanted).collect();
        newest.sort_by_key(|(job, _)| std::cmp::Reverse(job.ordinal));
        newest.truncate(limit.min(LIST_MAX));
        JobList { jobs: newest.into_iter().map(|(job, e)| self.status_of(*job, e)).collect() }
    }

    fn counters(&self, job: JobId) -> Option<JobCounters> {
        let counters = match &self.durable.job(job)?.stage {
            Stage::Planning => BTreeMap::new(),
            Stage::Running(running) => running.counters(),
            Stage::Ended(ended) => ended.counters.clone(),
        };
        Some(JobCounters { counters })
    }

    fn attempts(&self, job: JobId) -> Option<AttemptList> {
        let mut attempts: Vec<_> = match &self.durable.job(job)?.stage {
            Stage::Planning => Vec::new(),
            Stage::Running(running) => self.unfinished_attempts(job, running),
            Stage::Ended(ended) => ended.attempts.iter().map(|it| self.shown(it)).collect(),
        };
        attempts.sort_by_key(|shown| shown.attempt);
        Some(AttemptList { attempts })
    }

    fn attempts_of(&self, task: TaskId) -> Option<AttemptList> {
        let mut attempts: Vec<_> = match &self.durable.job(task.job)?.stage {
            Stage::Planning => Vec::new(),
            Stage::Running(running) => self.unfinished_attempts_of(task, running),
            Stage::Ended(ended) => {
                let of_task = ended.attempts.iter().filter(|it| it.attempt.task == task);
                of_task.map(|it| self.shown(it)).collect()
            }
        };
        attempts.sort_by_key(|shown| shown.attempt);
        Some(AttemptList { attempts })
    }

    fn unfinished_attempts_of(&self, task: TaskId, running: &RunningEntry) -> Vec<AttemptStatus> {
        let Some(live) = self.live(task.job) else { return Vec::new() };
        let mut attempts = Vec::new();
        if let Some(entry) = running.tasks(task.kind).get(task.index as usize) {
            let ended = entry.ended(task, self.split(task));
            attempts.extend(ended.map(|it| self.shown(&it)));
        }
        attempts.extend(self.running_attempts(live, task.kind, Some(task)));
        let killed = running.killed.iter().filter(|killed| killed.attempt.task == task);
        for killed in killed {
            if attempts.iter().all(|shown| shown.attempt != killed.attempt) {
                attempts.push(self.shown(&killed.ended()));
            }
        }
        attempts
    }

    fn unfinished_attempts(&self, job: JobId, running: &RunningEntry) -> Vec<AttemptStatus> {
        let Some(live) = self.live(job) else { return Vec::new() };
        let mut attempts = Vec::new();
        for kind in [TaskKind::Map, TaskKind::Reduce] {
            for (index, entry) in (0..).zip(running.tasks(kind)) {
                let task = job.task(kind, index);
                let ended = entry.ended(task, self.split(task));
                attempts.extend(ended.map(|it| self.shown(&it)));
            }
            attempts.extend(self.running_attempts(live, kind, None));
        }
        // An attempt that was given up may have come back.
        let known: BTreeSet<_> = attempts.iter().map(|shown| shown.attempt).collect();
        let killed = running.killed.iter().filter(|killed| !known.contains(&killed.attempt));
        attempts.extend(killed.map(|killed| self.shown(&killed.ended())));
        attempts
    }

    fn running_attempts(
        &self,
        live: &LiveJob,
        kind: TaskKind,
        only: Option<TaskId>,
    ) -> impl Iterator<Item = AttemptStatus> {
        let attempts = live.live_attempts(kind);
        let wanted = attempts.filter(move |(task, _)| only.is_none_or(|only| only == *task));
        wanted.map(|(task, attempt)| {
            self.shown(&EndedAttempt {
                attempt: task.attempt(attempt.number),
                host: attempt.host.clone(),
                state: AttemptState::Running,
                failure: None,
                split: self.split(task).cloned(),
                place: attempt.place,
                span: Span { began_at: attempt.began_at, ended_at: UnixMillis(0) },
                status: attempt.status.clone(),
            })
        })
    }

    pub(crate) fn shown(&self, ended: &EndedAttempt) -> AttemptStatus {
        AttemptStatus {
            attempt: ended.attempt,
            host: ended.host.clone(),
            address: self.trackers.get(&ended.host).map(|tracker| tracker.address.clone()),
            state: ended.state,
            failure: ended.failure.clone(),
            split: ended.split.clone(),
            place: ended.place.map(shown_place),
            status: ended.status.clone(),
            began_at: Some(ended.span.began_at).filter(|at| at.0 > 0),
            ended_at: Some(ended.span.ended_at).filter(|at| at.0 > 0),
        }
    }

    fn cluster(&self) -> JobtrackerInfo {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        JobtrackerInfo {
            cluster: self.settings.cluster.clone(),
            epoch: self.epoch(),
            trackers: count(self.trackers.len()),
            slots: count(self.trackers.slots()),
            unfinished_jobs: count(self.jobs.len()),
        }
    }
}

/// The corresponding value in the API.
pub(crate) fn shown_place(place: Locality) -> Place {
    match place {
        Locality::NodeLocal => Place::NodeLocal,
        Locality::RackLocal => Place::RackLocal,
        Locality::OffRack => Place::OffRack,
    }
}
