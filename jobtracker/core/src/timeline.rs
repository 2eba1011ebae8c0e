//! Data for a job's time line and partition sizes, in pages, so that no job is too large to be
//! viewed while it runs. Nothing changes by it. If a job's tasks are forgotten, the edge reads its
//! history instead.

use std::collections::BTreeMap;

use ids::UnixMillis;
use mapreduce_protocol::{
    AttemptId, AttemptState, AttemptStatus, JobId, Partition, Split, TaskId, TaskKind,
    TimelineAttempt,
};

use crate::durable::Stage;
use crate::ended::EndedAttempt;
use crate::machine::Core;
use crate::queries::shown_place;
use crate::records::{KilledAttempt, Span};
use crate::running::RunningEntry;
use crate::task::LiveAttempt;

/// Number of tasks whose attempts make up one page.
const TASKS_PER_PAGE: usize = 500;
/// Number of reduces in one page of partitions.
pub const PARTITIONS_PER_PAGE: u32 = 2000;

/// Attempts of some tasks of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimelinePage {
    /// The attempts.
    pub attempts: Vec<TimelineAttempt>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

/// Indexes of the counters of bytes read, in the job's table.
struct ReadCounters {
    split: Option<u16>,
    shuffled: Option<u16>,
}

impl Core {
    /// One attempt, if it is still known.
    pub(crate) fn attempt(&self, attempt: AttemptId) -> Option<AttemptStatus> {
        let task = attempt.task;
        let live = self.live(task.job).into_iter().flat_map(|live| live.live(task));
        if let Some(live) = live.into_iter().find(|live| live.number == attempt.number) {
            let span = Span { began_at: live.began_at, ended_at: UnixMillis(0) };
            let (host, split) = (live.host.clone(), self.split(task).cloned());
            return Some(self.shown(&EndedAttempt {
                attempt,
                host,
                state: AttemptState::Running,
                failure: None,
                split,
                place: live.place,
                span,
                status: live.status.clone(),
            }));
        }
        let ended = match &self.durable.job(task.job)?.stage {
            Stage::Planning => return None,
            Stage::Running(running) => running.ended_of(task),
            Stage::Ended(ended) => match &ended.unwritten {
                Some(tasks) => tasks.ended_of(task),
                None => ended.attempts.clone(),
            },
        };
        ended.iter().find(|ended| ended.attempt == attempt).map(|ended| self.shown(ended))
    }

    /// The tasks of a known job; `Some(None)` if they are not planned yet, or forgotten.
    fn tasks_of(&self, job: JobId) -> Option<Option<&RunningEntry>> {
        Some(match &self.durable.job(job)?.stage {
            Stage::Planning => None,
            Stage::Running(running) => Some(running),
            Stage::Ended(ended) => ended.unwritten.as_deref(),
        })
    }

    /// Whether its tasks are still to be planned.
    fn is_planning(&self, job: JobId) -> bool {
        self.durable.job(job).is_some_and(|entry| matches!(entry.stage, Stage::Planning))
    }

    /// A page of the time line; `None` for an unknown job, `Some(None)` for one whose tasks are
    /// forgotten.
    pub(crate) fn timeline(
        &self,
        job: JobId,
        first: usize,
        since: UnixMillis,
    ) -> Option<Option<TimelinePage>> {
        let Some(tasks) = self.tasks_of(job)? else {
            return Some(self.is_planning(job).then(TimelinePage::default));
        };
        let n_tasks = tasks.maps.len() + tasks.reduces.len();
        let end = n_tasks.min(first.saturating_add(TASKS_PER_PAGE));
        let mut killed: BTreeMap<TaskId, Vec<&KilledAttempt>> = BTreeMap::new();
        for it in &tasks.killed {
            killed.entry(it.attempt.task).or_default().push(it);
        }
        let counters = ReadCounters {
            split: tasks.counter_index("task.SPLIT_BYTES"),
            shuffled: tasks.counter_index("task.REDUCE_SHUFFLE_BYTES"),
        };
        let mut attempts = Vec::new();
        for at in first..end {
            let task = tasks.task_at(job, at);
            let gone = killed.get(&task).map(Vec::as_slice).unwrap_or_default();
            let of_task = attempts.len();
            self.of_task(tasks, task, gone, &counters, &mut attempts);
            attempts[of_task..].sort_by_key(|it| it.attempt);
        }
        attempts.retain(|it| it.ended_at.is_none_or(|ended| ended >= since));
        Some(Some(TimelinePage { attempts, next: (end < n_tasks).then_some(end) }))
    }

    fn of_task(
        &self,
        tasks: &RunningEntry,
        task: TaskId,
        killed: &[&KilledAttempt],
        counters: &ReadCounters,
        into: &mut Vec<TimelineAttempt>,
    ) {
        let entry = &tasks.tasks(task.kind)[task.index as usize];
        let split = self.split(task).or_else(|| tasks.split(task)).map(Split::length);
        let live = self.live(task.job).map(|live| live.live(task)).unwrap_or_default();
        let ended = entry.ended(task, None).chain(killed.iter().map(|it| it.ended()));
        for ended in ended {
            // An attempt that was given up may have come back.
            let is_there = |it: &TimelineAttempt| it.attempt == ended.attempt;
            if into.iter().rev().take_while(|it| it.attempt.task == task).any(is_there)
                || live.iter().any(|live| live.number == ended.attempt.number)
            {
                continue;
            }
            let winner = entry.winner.as_ref().filter(|_| ended.state == AttemptState::Succeeded);
            let read = winner.and_then(|winner| match task.kind {
                TaskKind::Map => winner.count(counters.split),
                TaskKind::Reduce => winner.count(counters.shuffled),
            });
            into.push(TimelineAttempt { bytes: read.or(split), ..of_ended(&ended) });
        }
        into.extend(live.iter().map(|live| of_live(task, live, split)));
    }

    /// Input sizes of the reduces from `first` on; `None` and `Some(None)` as in
    /// [`Self::timeline`].
    pub(crate) fn partitions(&self, job: JobId, first: u32) -> Option<Option<Vec<Partition>>> {
        let Some(tasks) = self.tasks_of(job)? else {
            return Some(self.is_planning(job).then(Vec::new));
        };
        let live = self.live(job);
        let shuffled = tasks.counter_index("task.REDUCE_SHUFFLE_BYTES");
        let records = tasks.counter_index("task.REDUCE_INPUT_RECORDS");
        let reduces = (0_u32..).zip(&tasks.reduces).skip(first as usize);
        let partitions = reduces.take(PARTITIONS_PER_PAGE as usize).map(|(partition, entry)| {
            let winner = entry.winner.as_deref();
            let fetched = winner.and_then(|winner| winner.count(shuffled));
            let told = live.map_or(0, |live| live.reduce_inputs.bytes(partition));
            Partition {
                partition,
                bytes: fetched.unwrap_or(told),
                estimate: fetched.is_none(),
                records: winner.and_then(|winner| winner.count(records)),
                worked_ms: winner.and_then(|winner| winner.ran_ms),
                host: winner.map(|winner| winner.host.clone()),
            }
        });
        Some(Some(partitions.collect()))
    }
}

fn known(at: UnixMillis) -> Option<UnixMillis> {
    Some(at).filter(|at| at.0 > 0)
}

fn of_ended(ended: &EndedAttempt) -> TimelineAttempt {
    TimelineAttempt {
        attempt: ended.attempt,
        host: ended.host.clone(),
        state: ended.state,
        place: ended.place.map(shown_place),
        began_at: known(ended.span.began_at),
        ended_at: known(ended.span.ended_at),
        progress: None,
        bytes: None,
        backup: false,
        failure: ended.failure.as_ref().map(|failure| failure.kind.as_str().to_owned()),
    }
}

fn of_live(task: TaskId, live: &LiveAttempt, split: Option<u64>) -> TimelineAttempt {
    TimelineAttempt {
        attempt: task.attempt(live.number),
        host: live.host.clone(),
        state: AttemptState::Running,
        place: live.place.map(shown_place),
        began_at: known(live.began_at),
        ended_at: None,
        progress: Some(live.told.progress),
        bytes: split,
        backup: live.backup,
        failure: None,
    }
}
