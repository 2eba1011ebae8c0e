//! The durable half of a planned job: what the journal's records say of its tasks and their attempts. `durable` calls
//! it for each record; all others only read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ids::HostName;
use mapreduce_protocol::{
    AttemptId, AttemptState, JobId, NamedOutput, Split, StagedOutput, TaskId, TaskKind,
};
use serde::{Deserialize, Serialize};

use crate::counters::{CounterTable, Share};
use crate::digest::Digest;
use crate::ended::{EndedAttempt, FailedAttempt};
use crate::locality::Locality;
use crate::records::{KilledAttempt, Record, Span, SplitList};
use crate::tally::Tally;

/// Limit on the failures kept per task, not counting those that use up its attempts.
const UNCOUNTED_FAILURES_MAX: usize = 20;
/// Limit on the killed attempts kept per job; the latest are kept.
const KILLED_ATTEMPTS_MAX: usize = 200;
/// Limit on the attempts kept per ended job: failed ones first, then killed ones, then winners.
const ENDED_ATTEMPTS_MAX: usize = 500;

/// What is known of a planned job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningEntry {
    pub(crate) input_bytes: u64,
    pub(crate) list: SplitList,
    pub(crate) maps: Vec<TaskEntry>,
    pub(crate) reduces: Vec<TaskEntry>,
    pub(crate) maps_done: u32,
    pub(crate) reduces_done: u32,
    /// Reduce attempts below this number may have read map outputs that are now void.
    #[serde(default)]
    pub(crate) reduces_from: u32,
    counters: CounterTable,
    /// Outcomes of the maps' attempts.
    #[serde(default)]
    map_tally: Tally,
    /// Outcomes of the reduces' attempts.
    #[serde(default)]
    reduce_tally: Tally,
    /// The latest attempts that were killed or lost.
    #[serde(default)]
    pub(crate) killed: VecDeque<KilledAttempt>,
}

/// What is known of a task. Most tasks have no past, for long not even a winner: absent parts take no memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "KeptTask", into = "KeptTask")]
pub(crate) struct TaskEntry {
    pub(crate) winner: Option<Box<Winner>>,
    past: Option<Box<Past>>,
}

/// Outcomes of a task's attempts other than the winner.
#[derive(Clone, Debug, Default, PartialEq)]
struct Past {
    /// Failed attempts: all that use up the task's attempts, and the latest of the others.
    failures: Vec<FailedAttempt>,
    /// Digest of a former winner whose output was lost.
    lost_digest: Option<Digest>,
    /// Numbers of former winners whose outputs were lost.
    lost: BTreeSet<u32>,
    /// Numbers of attempts that were killed or lost and whose tracker has not reported another end since.
    given_up: BTreeSet<u32>,
    /// Number and named outputs of the last winner whose map output was lost: these files still count.
    lost_named: Option<(u32, Vec<NamedOutput>)>,
    /// What it counted; it stays in the job's sums until another attempt wins, which none may.
    lost_counters: Option<Share>,
}

/// A task as snapshots store it.
#[derive(Serialize, Deserialize)]
struct KeptTask {
    winner: Option<Box<Winner>>,
    failures: Vec<FailedAttempt>,
    lost_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<u32>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    given_up: BTreeSet<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_named: Option<(u32, Vec<NamedOutput>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_counters: Option<Share>,
}

impl From<KeptTask> for TaskEntry {
    fn from(kept: KeptTask) -> Self {
        let KeptTask { winner, failures, lost_digest, lost, given_up, lost_named, lost_counters } =
            kept;
        let past = Past { failures, lost_digest, lost, given_up, lost_named, lost_counters };
        Self { winner, past: (past != Past::default()).then(|| Box::new(past)) }
    }
}

impl From<TaskEntry> for KeptTask {
    fn from(entry: TaskEntry) -> Self {
        let Past { failures, lost_digest, lost, given_up, lost_named, lost_counters } =
            entry.past.map(|past| *past).unwrap_or_default();
        let winner = entry.winner;
        Self { winner, failures, lost_digest, lost, given_up, lost_named, lost_counters }
    }
}

/// The attempt that won a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Winner {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) digest: Digest,
    counters: Share,
    /// What it staged in another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) staged: Option<Box<StagedOutput>>,
    /// Its named outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    named: Option<Box<[NamedOutput]>>,
    /// How long it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ran_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Locality>,
    #[serde(default)]
    pub(crate) span: Span,
}

impl RunningEntry {
    /// A job none of whose tasks has run.
    pub(crate) fn new(n_maps: u32, n_reduces: u32, input_bytes: u64, list: &SplitList) -> Self {
        Self {
            input_bytes,
            list: list.clone(),
            maps: vec![TaskEntry::default(); n_maps as usize],
            reduces: vec![TaskEntry::default(); n_reduces as usize],
            maps_done: 0,
            reduces_done: 0,
            reduces_from: 0,
            counters: CounterTable::default(),
            map_tally: Tally::default(),
            reduce_tally: Tally::default(),
            killed: VecDeque::new(),
        }
    }

    pub(crate) fn tasks(&self, kind: TaskKind) -> &[TaskEntry] {
        match kind {
            TaskKind::Map => &self.maps,
            TaskKind::Reduce => &self.reduces,
        }
    }

    /// All its tasks: maps, then reduces.
    pub(crate) fn entries(&self, job: JobId) -> impl Iterator<Item = (TaskId, &TaskEntry)> {
        let of = move |kind| {
            let tasks = (0..).zip(self.tasks(kind));
            tasks.map(move |(index, entry)| (job.task(kind, index), entry))
        };
        of(TaskKind::Map).chain(of(TaskKind::Reduce))
    }

    /// Mean input bytes of a task of that kind; 0 for reduces, where it is not known.
    pub(crate) fn mean_bytes(&self, kind: TaskKind) -> u64 {
        match kind {
            TaskKind::Map => self.input_bytes / (self.maps.len() as u64).max(1),
            TaskKind::Reduce => 0,
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

    /// Tasks that are done: with the last reduce all maps, even those whose outputs were lost since.
    pub(crate) fn n_done(&self, kind: TaskKind) -> u32 {
        match kind {
            TaskKind::Map if self.is_done() => u32::try_from(self.maps.len()).unwrap_or(u32::MAX),
            TaskKind::Map => self.maps_done,
            TaskKind::Reduce => self.reduces_done,
        }
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

    /// Folds in a success.
    pub(crate) fn succeed(&mut self, record: &Record) {
        let Record::TaskSucceeded {
            attempt,
            host,
            digest,
            counters,
            place,
            staged,
            named,
            ran_ms,
            span,
        } = record
        else {
            return;
        };
        self.count_end(*attempt, *place);
        if let Some(lost) = self.task_mut(attempt.task).take_lost_counters() {
            self.counters.subtract(&lost);
        }
        let counters = self.counters.add(counters);
        let winner = Winner {
            number: attempt.number,
            host: host.clone(),
            digest: Digest::from(digest.as_str()),
            counters,
            staged: staged.clone().map(Box::new),
            named: (!named.is_empty()).then(|| named.as_slice().into()),
            ran_ms: *ran_ms,
            place: *place,
            span: *span,
        };
        let before = self.task_mut(attempt.task).winner.replace(Box::new(winner));
        assert!(before.is_none(), "{} won a task that had a winner", attempt);
        *self.done_mut(attempt.task.kind) += 1;
    }

    pub(crate) fn fail(&mut self, task: TaskId, failed: FailedAttempt) {
        self.count_end(task.attempt(failed.number), failed.place).failed += 1;
        self.task_mut(task).fail(failed);
    }

    /// Whether no attempt has ended.
    pub(crate) fn is_untouched(&self) -> bool {
        self.maps_done + self.reduces_done == 0
            && self.map_tally.attempts + self.reduce_tally.attempts == 0
    }

    /// Outcomes of the ended attempts of one kind.
    pub(crate) fn tally(&self, kind: TaskKind) -> Tally {
        match kind {
            TaskKind::Map => self.map_tally,
            TaskKind::Reduce => self.reduce_tally,
        }
    }

    fn tally_mut(&mut self, kind: TaskKind) -> &mut Tally {
        match kind {
            TaskKind::Map => &mut self.map_tally,
            TaskKind::Reduce => &mut self.reduce_tally,
        }
    }

    /// Counts an attempt that won or failed; one that had been given up is counted already.
    fn count_end(&mut self, attempt: AttemptId, place: Option<Locality>) -> &mut Tally {
        let came_back = self.task_mut(attempt.task).comes_back(attempt.number);
        if came_back {
            self.killed.retain(|killed| killed.attempt != attempt);
        }
        let tally = self.tally_mut(attempt.task.kind);
        if came_back {
            tally.killed -= 1;
        } else {
            tally.count(place);
        }
        tally
    }

    pub(crate) fn kill(&mut self, killed: &KilledAttempt, place: Option<Locality>) {
        let TaskId { kind, .. } = killed.attempt.task;
        if self.task_mut(killed.attempt.task).past_mut().given_up.insert(killed.attempt.number) {
            self.tally_mut(kind).count(place);
            self.tally_mut(kind).killed += 1;
            if self.killed.len() == KILLED_ATTEMPTS_MAX {
                self.killed.pop_front();
            }
            self.killed.push_back(KilledAttempt { place, ..killed.clone() });
        }
    }

    pub(crate) fn undo(&mut self, task: TaskId) {
        let entry = self.task_mut(task);
        if let Some(winner) = entry.winner.take() {
            let Winner { number, digest, named, counters, .. } = *winner;
            let past = entry.past_mut();
            past.lost_digest = Some(digest);
            past.lost.insert(number);
            // Void map output voids what a reduce wrote from it; what a map wrote and counted remains good.
            match task.kind {
                TaskKind::Map => {
                    past.lost_named = Some((number, named.unwrap_or_default().into_vec()));
                    past.lost_counters = Some(counters);
                }
                TaskKind::Reduce => self.counters.subtract(&counters),
            }
            *self.done_mut(task.kind) -= 1;
        }
    }

    pub(crate) fn undo_reduces(&mut self, job: JobId) {
        for index in 0..self.reduces.len() {
            let index = u32::try_from(index).expect("a job has at most u32::MAX reduces");
            self.undo(job.task(TaskKind::Reduce, index));
        }
    }

    /// The split of a map, if the journal itself contains it.
    pub(crate) fn split(&self, task: TaskId) -> Option<&Split> {
        match (&self.list, task.kind) {
            (SplitList::Inline(splits), TaskKind::Map) => {
                splits.get(task.index as usize).map(|planned| &planned.split)
            }
            (SplitList::Inline(_) | SplitList::Staged(_), _) => None,
        }
    }

    pub(crate) fn winner(&self, task: TaskId) -> Option<&Winner> {
        self.tasks(task.kind).get(task.index as usize)?.winner.as_deref()
    }

    /// The task at index `at` of all, maps before reduces.
    pub(crate) fn task_at(&self, job: JobId, at: usize) -> TaskId {
        let (kind, index) = match at.checked_sub(self.maps.len()) {
            None => (TaskKind::Map, at),
            Some(reduce) => (TaskKind::Reduce, reduce),
        };
        job.task(kind, u32::try_from(index).expect("a job has at most u32::MAX tasks of a kind"))
    }

    /// Names of the counters by index, for [`Winner::counters`].
    pub(crate) fn counter_names(&self) -> BTreeMap<u16, &str> {
        self.counters.names()
    }

    /// Index of a counter, for [`Winner::count`]; `None` if no winner has counted it.
    pub(crate) fn counter_index(&self, name: &str) -> Option<u16> {
        self.counters.index(name)
    }

    /// The attempts of one task that have ended and are kept.
    pub(crate) fn ended_of(&self, task: TaskId) -> Vec<EndedAttempt> {
        let Some(entry) = self.tasks(task.kind).get(task.index as usize) else { return Vec::new() };
        let killed = self.killed.iter().filter(|killed| killed.attempt.task == task);
        entry.ended(task, self.split(task)).chain(killed.map(KilledAttempt::ended)).collect()
    }

    pub(crate) fn ended_attempts(&self, job: JobId) -> Vec<EndedAttempt> {
        // Lazily: of a million winners only the first few are needed.
        let tasks = || {
            [TaskKind::Map, TaskKind::Reduce].into_iter().flat_map(move |kind| {
                let tasks = (0..).zip(self.tasks(kind));
                tasks.map(move |(index, entry)| (job.task(kind, index), entry))
            })
        };
        let failed = tasks().flat_map(|(task, entry)| {
            entry.failures().iter().map(move |failed| failed.ended(task))
        });
        let won = tasks().flat_map(|(task, entry)| {
            entry.winner.iter().map(move |winner| winner.ended(task, self.split(task)))
        });
        let all = failed.chain(self.killed.iter().map(KilledAttempt::ended)).chain(won);
        let mut attempts: Vec<_> = all.take(ENDED_ATTEMPTS_MAX).collect();
        attempts.sort_by_key(|ended| ended.attempt);
        attempts
    }
}

impl TaskEntry {
    /// Its failed attempts, as far as they are kept.
    pub(crate) fn failures(&self) -> &[FailedAttempt] {
        self.past.as_ref().map_or(&[], |past| &past.failures)
    }

    /// Number and named outputs of the attempt whose named outputs count: the winner, or the last one whose map output
    /// was lost if no other has won since.
    pub(crate) fn named(&self) -> (u32, &[NamedOutput]) {
        if let Some(winner) = &self.winner {
            return (winner.number, winner.named.as_deref().unwrap_or_default());
        }
        let lost = self.past.as_ref().and_then(|past| past.lost_named.as_ref());
        lost.map_or((0, &[]), |(number, named)| (*number, named))
    }

    fn take_lost_counters(&mut self) -> Option<Share> {
        self.past.as_mut()?.lost_counters.take()
    }

    fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// The tracker of a killed or lost attempt reports another end; returns whether there was one with that number.
    fn comes_back(&mut self, number: u32) -> bool {
        self.past.as_mut().is_some_and(|past| past.given_up.remove(&number))
    }

    fn fail(&mut self, failed: FailedAttempt) {
        let failures = &mut self.past_mut().failures;
        let uncounted = failures.iter().filter(|failed| !failed.counts()).count();
        if !failed.counts() && uncounted == UNCOUNTED_FAILURES_MAX {
            let oldest = failures.iter().position(|failed| !failed.counts());
            oldest.map(|oldest| failures.remove(oldest));
        }
        failures.push(failed);
    }

    /// Its ended attempts, as far as they are kept.
    pub(crate) fn ended(
        &self,
        task: TaskId,
        split: Option<&Split>,
    ) -> impl Iterator<Item = EndedAttempt> {
        let failed = self.failures().iter().map(move |failed| failed.ended(task));
        failed.chain(self.winner.iter().map(move |winner| winner.ended(task, split)))
    }

    /// Whether the attempt of that number was killed or lost, and no other end of it has been reported since.
    pub(crate) fn is_given_up(&self, number: u32) -> bool {
        self.past.as_ref().is_some_and(|past| past.given_up.contains(&number))
    }

    /// Whether the attempt of that number failed.
    pub(crate) fn failed(&self, number: u32) -> bool {
        self.failures().iter().any(|failed| failed.number == number)
    }

    /// Outcome of the attempt of that number; `None` if it has not ended or is not kept.
    pub(crate) fn end_of(&self, number: u32) -> Option<AttemptState> {
        let won = self.winner.as_ref().is_some_and(|winner| winner.number == number);
        if won || self.lost(number) {
            Some(AttemptState::Succeeded)
        } else if self.failed(number) {
            Some(AttemptState::Failed)
        } else {
            self.is_given_up(number).then_some(AttemptState::Killed)
        }
    }

    /// Whether the attempt of that number won and its output was lost: a tracker that reports its success again does
    /// not know of the loss yet.
    pub(crate) fn lost(&self, number: u32) -> bool {
        self.past.as_ref().is_some_and(|past| past.lost.contains(&number))
    }

    /// Whether a former winner's output was lost and had another digest than `digest`.
    pub(crate) fn lost_other_than(&self, digest: &str) -> bool {
        let lost = self.past.as_ref().and_then(|past| past.lost_digest.as_ref());
        lost.is_some_and(|lost| *lost != Digest::from(digest))
    }
}

impl Winner {
    /// Its own counters.
    pub(crate) fn counters(&self, names: &BTreeMap<u16, &str>) -> BTreeMap<String, u64> {
        let named = |(index, value): &(u16, u64)| Some(((*names.get(index)?).to_owned(), *value));
        self.counters.iter().filter_map(named).collect()
    }

    /// One of its counters, by [`RunningEntry::counter_index`].
    pub(crate) fn count(&self, index: Option<u16>) -> Option<u64> {
        self.counters.iter().find(|(of, _)| Some(*of) == index).map(|(_, value)| *value)
    }

    fn ended(&self, task: TaskId, split: Option<&Split>) -> EndedAttempt {
        EndedAttempt {
            attempt: task.attempt(self.number),
            host: self.host.clone(),
            state: AttemptState::Succeeded,
            failure: None,
            split: split.cloned(),
            place: self.place,
            span: self.span,
            status: None,
        }
    }
}
