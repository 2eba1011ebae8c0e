//! Durable state: the fold of the journal's records. [`Durable::apply`] is the only way to change it,
//! live and in recovery alike. Soft state (who runs what) is in `job` and `trackers`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ids::{ClusterId, Epoch, HostName, UnixMillis};
use mapreduce_protocol::{
    AttemptId, AttemptState, Blame, Failure, JobId, JobSpec, JobState, TaskCounts, TaskId, TaskKind,
};
use serde::{Deserialize, Serialize};

use crate::counters::{CounterTable, Share};
use crate::records::{KilledAttempt, Record, SplitList};

/// Failures that are remembered of one task, beyond those that count against its tries.
const UNCOUNTED_FAILURES_MAX: usize = 20;
/// Attempts that are remembered of an ended job: failed ones first, then killed ones.
const ENDED_ATTEMPTS_MAX: usize = 500;

/// Jobs for which one journal has numbers. TaskTrackers and the chunk store outlive a JobTracker that
/// loses its journal: what they still hold of a job must not pass for another job's.
const ORDINALS_PER_JOURNAL: u32 = 1_000_000;
/// The same of starts: a message of a lost journal's term must not pass for one of this term.
const EPOCHS_PER_JOURNAL: u64 = 1_000_000;

/// Everything that survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durable {
    cluster: Option<ClusterId>,
    epoch: Epoch,
    last_ordinal: u32,
    jobs: BTreeMap<JobId, JobEntry>,
    keys: BTreeMap<String, KeyUse>,
    /// Ended jobs, in the order of their ends.
    ended: VecDeque<JobId>,
}

/// A job as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobEntry {
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) n_reduces: u32,
    pub(crate) max_attempts: u32,
    pub(crate) submitted_at: UnixMillis,
    /// The term in which it was accepted: attempt numbers count from there.
    pub(crate) accepted_in: Epoch,
    key: Option<String>,
    pub(crate) stage: Stage,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Its splits are not known yet.
    Planning,
    /// Its tasks run, or wait, or are all done and its output is about to be published.
    Running(RunningEntry),
    /// It is over.
    Ended(EndedEntry),
}

/// What is known of a planned job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningEntry {
    pub(crate) input_bytes: u64,
    pub(crate) list: SplitList,
    pub(crate) maps: Vec<TaskEntry>,
    pub(crate) reduces: Vec<TaskEntry>,
    pub(crate) maps_done: u32,
    pub(crate) reduces_done: u32,
    /// Reduce attempts below this number may have read bytes that no map stands for any more.
    #[serde(default)]
    pub(crate) reduces_from: u32,
    counters: CounterTable,
}

/// What is known of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskEntry {
    pub(crate) winner: Option<Winner>,
    /// Attempts that failed: all that count against its tries, and the last of the others.
    pub(crate) failures: Vec<FailedAttempt>,
    /// Digest of a former winner whose output was lost.
    lost_digest: Option<String>,
    /// Numbers of former winners whose outputs were lost.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<u32>,
}

/// The attempt that won a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Winner {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) digest: String,
    counters: Share,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailedAttempt {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) failure: Failure,
}

/// What is kept of a job that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndedEntry {
    pub(crate) state: JobState,
    pub(crate) failure: Option<String>,
    pub(crate) finished_at: UnixMillis,
    pub(crate) input_bytes: u64,
    pub(crate) maps: TaskCounts,
    pub(crate) reduces: TaskCounts,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) attempts: Vec<EndedAttempt>,
    /// Whether its staging folder is known to be gone.
    pub(crate) staging_removed: bool,
}

/// An attempt of a job that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndedAttempt {
    pub(crate) attempt: AttemptId,
    pub(crate) host: HostName,
    pub(crate) state: AttemptState,
    pub(crate) failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeyUse {
    job: JobId,
    digest: String,
}

impl Durable {
    /// The cluster in the first record; `None` in an empty fold.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// The term of the last process that started.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn jobs(&self) -> &BTreeMap<JobId, JobEntry> {
        &self.jobs
    }

    pub(crate) fn job(&self, job: JobId) -> Option<&JobEntry> {
        self.jobs.get(&job)
    }

    /// The planned, not ended job; `None` if it is in another stage.
    pub(crate) fn running(&self, job: JobId) -> Option<&RunningEntry> {
        match &self.jobs.get(&job)?.stage {
            Stage::Running(running) => Some(running),
            Stage::Planning | Stage::Ended(_) => None,
        }
    }

    pub(crate) fn task(&self, task: TaskId) -> Option<&TaskEntry> {
        self.running(task.job)?.tasks(task.kind).get(task.index as usize)
    }

    /// The job that `key` was used for, and the digest of that job.
    pub(crate) fn key(&self, key: &str) -> Option<(JobId, &str)> {
        self.keys.get(key).map(|used| (used.job, used.digest.as_str()))
    }

    /// Ordinal of the next job.
    pub(crate) fn next_ordinal(&self) -> u32 {
        self.last_ordinal + 1
    }

    /// Jobs that have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = JobId> {
        let unfinished = |entry: &JobEntry| !matches!(entry.stage, Stage::Ended(_));
        self.jobs.iter().filter(move |(_, entry)| unfinished(entry)).map(|(job, _)| *job)
    }

    /// Ended jobs, oldest end first.
    pub(crate) fn ended(&self) -> &VecDeque<JobId> {
        &self.ended
    }

    /// Folds one record in. Records come from this core alone, in the order in which it made them.
    ///
    /// # Panics
    /// If the record does not continue this state: the journal is not ours.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Initialised { cluster, former_journals } => {
                self.cluster = Some(cluster.clone());
                self.last_ordinal = former_journals.saturating_mul(ORDINALS_PER_JOURNAL);
                self.epoch = Epoch(u64::from(*former_journals) * EPOCHS_PER_JOURNAL);
            }
            Record::Started { epoch } => self.epoch = *epoch,
            Record::JobAccepted { .. } => self.apply_accepted(record),
            Record::SplitsPlanned { job, n_maps, input_bytes, list } => {
                let entry = self.known(*job);
                entry.stage = Stage::Running(RunningEntry {
                    input_bytes: *input_bytes,
                    list: list.clone(),
                    maps: vec![TaskEntry::default(); *n_maps as usize],
                    reduces: vec![TaskEntry::default(); entry.n_reduces as usize],
                    maps_done: 0,
                    reduces_done: 0,
                    reduces_from: 0,
                    counters: CounterTable::default(),
                });
            }
            Record::TaskSucceeded { attempt, host, digest, counters } => {
                self.known_running(attempt.task.job).succeed(*attempt, host, digest, counters);
            }
            Record::AttemptFailed { attempt, host, failure } => {
                let task = self.known_running(attempt.task.job).task_mut(attempt.task);
                let (number, host) = (attempt.number, host.clone());
                task.fail(FailedAttempt { number, host, failure: failure.clone() });
            }
            Record::MapOutputLost { attempt } => {
                self.known_running(attempt.task.job).undo(attempt.task);
            }
            Record::ReducesUndone { map, reduces_from } => {
                let running = self.known_running(map.task.job);
                running.undo_reduces(map.task.job);
                running.reduces_from = running.reduces_from.max(*reduces_from);
            }
            Record::JobEnded { .. } => self.apply_ended(record),
            Record::StagingRemoved { job } => {
                if let Stage::Ended(ended) = &mut self.known(*job).stage {
                    ended.staging_removed = true;
                }
            }
            Record::JobForgotten { job } => self.apply_forgotten(*job),
        }
    }

    fn apply_accepted(&mut self, record: &Record) {
        let Record::JobAccepted { job, spec, n_reduces, max_attempts, key, at } = record else {
            return;
        };
        if let Some(key) = key {
            let used = KeyUse { job: *job, digest: key.digest.clone() };
            self.keys.insert(key.key.clone(), used);
        }
        self.last_ordinal = job.ordinal;
        self.jobs.insert(
            *job,
            JobEntry {
                spec: Arc::clone(spec),
                n_reduces: *n_reduces,
                max_attempts: *max_attempts,
                submitted_at: *at,
                accepted_in: self.epoch,
                key: key.as_ref().map(|key| key.key.clone()),
                stage: Stage::Planning,
            },
        );
    }

    fn apply_ended(&mut self, record: &Record) {
        let Record::JobEnded { job, state, failure, at, maps, reduces, killed } = record else {
            return;
        };
        let stage = &mut self.known(*job).stage;
        let (input_bytes, counters, attempts) = match stage {
            Stage::Running(running) => {
                (running.input_bytes, running.counters(), running.ended_attempts(*job, killed))
            }
            Stage::Planning | Stage::Ended(_) => Default::default(),
        };
        *stage = Stage::Ended(EndedEntry {
            state: *state,
            failure: failure.clone(),
            finished_at: *at,
            input_bytes,
            maps: *maps,
            reduces: *reduces,
            counters,
            attempts,
            staging_removed: *state == JobState::Succeeded,
        });
        self.ended.push_back(*job);
    }

    fn apply_forgotten(&mut self, job: JobId) {
        if let Some(key) = self.jobs.remove(&job).and_then(|entry| entry.key) {
            self.keys.remove(&key);
        }
        self.ended.retain(|ended| *ended != job);
    }

    fn known(&mut self, job: JobId) -> &mut JobEntry {
        self.jobs.get_mut(&job).expect("records speak of jobs that were accepted before")
    }

    fn known_running(&mut self, job: JobId) -> &mut RunningEntry {
        match &mut self.known(job).stage {
            Stage::Running(running) => running,
            Stage::Planning | Stage::Ended(_) => {
                unreachable!("records of tasks come between a job's planning and its end")
            }
        }
    }
}

impl RunningEntry {
    pub(crate) fn tasks(&self, kind: TaskKind) -> &[TaskEntry] {
        match kind {
            TaskKind::Map => &self.maps,
            TaskKind::Reduce => &self.reduces,
        }
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.totals()
    }

    /// Whether nothing is left but to publish.
    pub(crate) fn is_done(&self) -> bool {
        if self.reduces.is_empty() {
            self.maps_done as usize == self.maps.len()
        } else {
            self.reduces_done as usize == self.reduces.len()
        }
    }

    /// Whether map outputs are still needed by some reduce.
    pub(crate) fn needs_map_outputs(&self) -> bool {
        (self.reduces_done as usize) < self.reduces.len()
    }

    fn task_mut(&mut self, task: TaskId) -> &mut TaskEntry {
        match task.kind {
            TaskKind::Map => &mut self.maps[task.index as usize],
            TaskKind::Reduce => &mut self.reduces[task.index as usize],
        }
    }

    fn done_mut(&mut self, kind: TaskKind) -> &mut u32 {
        match kind {
            TaskKind::Map => &mut self.maps_done,
            TaskKind::Reduce => &mut self.reduces_done,
        }
    }

    fn succeed(
        &mut self,
        attempt: AttemptId,
        host: &HostName,
        digest: &str,
        counters: &BTreeMap<String, u64>,
    ) {
        let counters = self.counters.add(counters);
        let winner = Winner {
            number: attempt.number,
            host: host.clone(),
            digest: digest.to_owned(),
            counters,
        };
        let before = self.task_mut(attempt.task).winner.replace(winner);
        assert!(before.is_none(), "{} won a task that had a winner", attempt);
        *self.done_mut(attempt.task.kind) += 1;
    }

    fn undo(&mut self, task: TaskId) {
        let entry = self.task_mut(task);
        if let Some(winner) = entry.winner.take() {
            entry.lost_digest = Some(winner.digest);
            entry.lost.insert(winner.number);
            self.counters.subtract(&winner.counters);
            *self.done_mut(task.kind) -= 1;
        }
    }

    fn undo_reduces(&mut self, job: JobId) {
        for index in 0..self.reduces.len() {
            let index = u32::try_from(index).expect("a job has at most u32::MAX reduces");
            self.undo(job.task(TaskKind::Reduce, index));
        }
    }

    fn ended_attempts(&self, job: JobId, killed: &[KilledAttempt]) -> Vec<EndedAttempt> {
        let mut failed = Vec::new();
        let mut won = Vec::new();
        for kind in [TaskKind::Map, TaskKind::Reduce] {
            for (index, entry) in (0..).zip(self.tasks(kind)) {
                let task = job.task(kind, index);
                failed.extend(entry.failures.iter().map(|failed| failed.ended(task)));
                won.extend(entry.winner.iter().map(|winner| winner.ended(task)));
            }
        }
        // One that was given up may have won after all.
        let has_won = |attempt: AttemptId| {
            let task = self.tasks(attempt.task.kind).get(attempt.task.index as usize);
            let winner = task.and_then(|task| task.winner.as_ref());
            winner.is_some_and(|winner| winner.number == attempt.number)
        };
        let killed = killed.iter().filter(|it| !has_won(it.attempt)).map(KilledAttempt::ended);
        let all = failed.into_iter().chain(killed).chain(won);
        let mut attempts: Vec<_> = all.take(ENDED_ATTEMPTS_MAX).collect();
        attempts.sort_by_key(|ended| ended.attempt);
        attempts
    }
}

impl TaskEntry {
    fn fail(&mut self, failed: FailedAttempt) {
        let uncounted = self.failures.iter().filter(|failed| !failed.counts()).count();
        if !failed.counts() && uncounted == UNCOUNTED_FAILURES_MAX {
            let oldest = self.failures.iter().position(|failed| !failed.counts());
            oldest.map(|oldest| self.failures.remove(oldest));
        }
        self.failures.push(failed);
    }

    /// Its attempts that have ended and are remembered.
    pub(crate) fn ended(&self, task: TaskId) -> impl Iterator<Item = EndedAttempt> {
        let failed = self.failures.iter().map(move |failed| failed.ended(task));
        failed.chain(self.winner.iter().map(move |winner| winner.ended(task)))
    }

    /// Whether the attempt of that number won and its output was lost: whoever tells of its success again
    /// has not heard of that.
    pub(crate) fn lost(&self, number: u32) -> bool {
        self.lost.contains(&number)
    }

    /// Digest of a former winner's output, if it is another than `digest`.
    pub(crate) fn lost_other_than(&self, digest: &str) -> bool {
        self.lost_digest.as_ref().is_some_and(|lost| lost != digest)
    }
}

impl FailedAttempt {
    /// Whether it used up one of its task's tries.
    pub(crate) fn counts(&self) -> bool {
        self.failure.kind.blame() == Blame::Task
    }

    fn ended(&self, task: TaskId) -> EndedAttempt {
        EndedAttempt {
            attempt: task.attempt(self.number),
            host: self.host.clone(),
            state: AttemptState::Failed,
            failure: Some(self.failure.clone()),
        }
    }
}

impl KilledAttempt {
    pub(crate) fn ended(&self) -> EndedAttempt {
        EndedAttempt {
            attempt: self.attempt,
            host: self.host.clone(),
            state: AttemptState::Killed,
            failure: None,
        }
    }
}

impl Winner {
    fn ended(&self, task: TaskId) -> EndedAttempt {
        EndedAttempt {
            attempt: task.attempt(self.number),
            host: self.host.clone(),
            state: AttemptState::Succeeded,
            failure: None,
        }
    }
}
