//! What the records say of jobs, folded a second time by rules other than the core's own: just
//! enough to judge the next record.

use std::collections::{BTreeMap, BTreeSet};

use ids::{Epoch, HostName};
use jobtracker_core::Record;
use mapreduce_protocol::{AttemptId, Blame, JobId, JobState, TaskId, TaskKind};

use crate::jobs::ground::tracker_on;
use crate::jobs::nature::number_of;

/// The winner of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Winner {
    pub(crate) attempt: AttemptId,
    pub(crate) host: HostName,
    pub(crate) digest: String,
    pub(crate) counters: BTreeMap<String, u64>,
}

/// A job, according to the records.
#[derive(Clone, Debug)]
pub(crate) struct JobBook {
    pub(crate) nature: usize,
    pub(crate) output: String,
    pub(crate) n_reduces: u32,
    pub(crate) max_attempts: u32,
    /// Its number of maps once it is planned, and the term in which it was.
    pub(crate) n_maps: Option<u32>,
    pub(crate) planned_in: Option<Epoch>,
    pub(crate) winners: BTreeMap<TaskId, Winner>,
    /// Maps without a winner whose last one lost its output.
    pub(crate) lost: BTreeMap<TaskId, Winner>,
    /// All attempts that ever won.
    pub(crate) won: BTreeSet<AttemptId>,
    /// Attempts that failed.
    pub(crate) failed: BTreeSet<AttemptId>,
    /// Digests of all attempts that ever won, by map.
    pub(crate) digests: BTreeMap<TaskId, BTreeSet<String>>,
    /// Reduce attempts below this number may not win.
    pub(crate) reduces_from: u32,
    /// Failures that count against each task.
    pub(crate) failures: BTreeMap<TaskId, u32>,
    /// Failures that were hosts' fault.
    pub(crate) host_faults: u32,
    /// Whether it turned out that it cannot run on any host.
    pub(crate) is_bad: bool,
    pub(crate) ended: Option<JobState>,
    pub(crate) is_forgotten: bool,
}

impl JobBook {
    /// The tasks whose outputs make up the job's.
    pub(crate) fn last_tasks(&self, job: JobId) -> impl Iterator<Item = TaskId> {
        let (kind, n) = match self.n_reduces {
            0 => (TaskKind::Map, self.n_maps.unwrap_or(0)),
            n => (TaskKind::Reduce, n),
        };
        (0..n).map(move |index| job.task(kind, index))
    }

    fn win(&mut self, winner: Winner) {
        let attempt = winner.attempt;
        self.won.insert(attempt);
        self.digests.entry(attempt.task).or_default().insert(winner.digest.clone());
        self.winners.insert(attempt.task, winner);
        self.lost.remove(&attempt.task);
    }

    fn lose(&mut self, map: TaskId) {
        let lost = self.winners.remove(&map);
        self.lost.extend(lost.map(|winner| (map, winner)));
    }

    /// Whether some reduce may still need map outputs.
    pub(crate) fn needs_map_outputs(&self) -> bool {
        let reduces = self.winners.keys().filter(|task| task.kind == TaskKind::Reduce).count();
        self.ended.is_none() && reduces < self.n_reduces as usize
    }
}

/// The state of all jobs, according to the records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) epoch: Epoch,
    pub(crate) jobs: BTreeMap<JobId, JobBook>,
    /// Trackers on drained hosts.
    pub(crate) drained: BTreeSet<usize>,
}

impl Book {
    pub(crate) fn winner(&self, task: TaskId) -> Option<&Winner> {
        self.jobs.get(&task.job)?.winners.get(&task)
    }

    /// The job, if it is known and not over.
    pub(crate) fn unfinished(&self, job: JobId) -> Option<&JobBook> {
        self.jobs.get(&job).filter(|book| book.ended.is_none())
    }

    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Started { epoch } => self.epoch = *epoch,
            Record::HostDrained { host } => drop(self.drained.insert(tracker_on(host))),
            Record::HostUndrained { host } => drop(self.drained.remove(&tracker_on(host))),
            Record::JobAccepted { job, spec, n_reduces, max_attempts, .. } => {
                let (n_reduces, max_attempts) = (*n_reduces, *max_attempts);
                let book = JobBook {
                    nature: number_of(&spec.name),
                    output: spec.output.clone(),
                    n_reduces,
                    max_attempts,
                    n_maps: None,
                    planned_in: None,
                    winners: BTreeMap::new(),
                    lost: BTreeMap::new(),
                    won: BTreeSet::new(),
                    failed: BTreeSet::new(),
                    digests: BTreeMap::new(),
                    reduces_from: 0,
                    failures: BTreeMap::new(),
                    host_faults: 0,
                    is_bad: false,
                    ended: None,
                    is_forgotten: false,
                };
                self.jobs.insert(*job, book);
            }
            Record::SplitsPlanned { job, n_maps, .. } => {
                let epoch = self.epoch;
                self.with(*job, |book| {
                    (book.n_maps, book.planned_in) = (Some(*n_maps), Some(epoch));
                });
            }
            Record::TaskSucceeded { attempt, host, digest, counters, .. } => {
                let (digest, counters) = (digest.clone(), counters.clone());
                let (attempt, host) = (*attempt, host.clone());
                let winner = Winner { attempt, host, digest, counters };
                self.with(attempt.task.job, |book| book.win(winner));
            }
            Record::AttemptFailed { attempt, failure, .. } => {
                let blame = failure.kind.blame();
                self.with(attempt.task.job, |book| {
                    book.failed.insert(*attempt);
                    match blame {
                        Blame::Task => *book.failures.entry(attempt.task).or_default() += 1,
                        Blame::Host => book.host_faults += 1,
                        Blame::Job => book.is_bad = true,
                        Blame::Nobody => {}
                    }
                });
            }
            Record::MapOutputLost { attempt } => {
                self.with(attempt.task.job, |book| book.lose(attempt.task));
            }
            Record::ReducesUndone { map, reduces_from } => self.with(map.task.job, |book| {
                book.winners.retain(|task, _| task.kind == TaskKind::Map);
                book.reduces_from = book.reduces_from.max(*reduces_from);
            }),
            Record::JobEnded { job, state, .. } => {
                self.with(*job, |book| book.ended = Some(*state));
            }
            Record::JobForgotten { job } => self.with(*job, |book| book.is_forgotten = true),
            _ => {}
        }
    }

    fn with(&mut self, job: JobId, change: impl FnOnce(&mut JobBook)) {
        if let Some(book) = self.jobs.get_mut(&job) {
            change(book);
        }
    }
}
