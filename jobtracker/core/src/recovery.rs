//! A start, and a pause. A start increments the epoch and resumes every unfinished job from its
//! records. Trackers report what ran in the previous term when they register; until they have, or
//! have had time to (see `members`), nothing of those jobs is launched. A process that was
//! suspended for a while does not blame others for the silence.

use std::sync::Arc;
use std::time::Duration;

use ids::{Monotonic, Now};
use mapreduce_protocol::{JobId, JobState, TaskKind};

use crate::durable::Stage;
use crate::job::StoreCall;
use crate::machine::Core;
use crate::numbers::Places;
use crate::records::{PlannedSplit, Record, SplitList};
use crate::running::RunningEntry;
use crate::timers::Timer;

/// A timer must be late by at least twice this before the process counts as having been paused.
const PUNCTUAL_MIN: Duration = Duration::from_secs(1);

/// What a job needs to go on.
enum Resume {
    Plan,
    Tasks(Option<Arc<[PlannedSplit]>>),
    RemoveStaging,
    Nothing,
}

impl Core {
    pub(crate) fn handle_start(&mut self, now: Now) {
        self.started_at = now.monotonic;
        self.record(Record::Started { epoch: self.epoch().next() });
        let resume: Vec<_> =
            self.durable.jobs().iter().map(|(job, entry)| (*job, needs(&entry.stage))).collect();
        let hold_until = self.await_members(now);
        for (job, needed) in resume {
            self.resume_history(now, job);
            match needed {
                Resume::Plan => {
                    self.begin(now, job);
                    self.call_store(job, StoreCall::Plan);
                }
                Resume::Tasks(splits) => self.resume_tasks(now, job, splits, hold_until),
                Resume::RemoveStaging => self.remove_staging(job),
                Resume::Nothing => {}
            }
        }
        self.timers.set(now.monotonic + self.dead_after(), Timer::Unreported);
    }

    /// Must be called with each input. A timer that is long overdue means that this process did not
    /// run (it or its host was suspended): heartbeats may be waiting to be read, and none of that
    /// time counts.
    pub(crate) fn notice_pause(&mut self, now: Now) {
        self.wall = now.wall;
        let before = self.last_input.replace(now.monotonic);
        let punctual = self.settings.heartbeat_interval.max(PUNCTUAL_MIN) * 2;
        let late = self.timers.soonest().map(|due| now.monotonic.since(due));
        let (Some(before), true) = (before, late.is_some_and(|late| late > punctual)) else {
            return;
        };
        let pause = now.monotonic.since(before);
        self.trackers.pardon(now.monotonic, pause);
        self.timers.postpone(&Timer::Unreported, pause);
        for pool in self.jobs.order_mut().pools_mut() {
            pool.short_since = pool.short_since.map(|since| since + pause);
        }
        for live in self.jobs.values_mut() {
            live.fetch_reports.clear();
            live.pardon(pause);
            live.hold_until = live.hold_until.map(|until| until + pause);
        }
    }

    fn resume_tasks(
        &mut self,
        now: Now,
        job: JobId,
        splits: Option<Arc<[PlannedSplit]>>,
        hold_until: Option<Monotonic>,
    ) {
        self.begin(now, job);
        self.begin_tasks(job);
        // The last failure may have reached the disk before a crash, and the job's end not.
        if let Some(reason) = self.why_over(job) {
            return self.end_job(now, job, JobState::Failed, Some(reason));
        }
        let entry = self.durable.running(job);
        // The former process may have died before it made the folder: there is no list in it, and
        // no attempt has ended.
        let may_lack_staging = splits.is_some() && entry.is_some_and(RunningEntry::is_untouched);
        if let Some(live) = self.live_mut(job) {
            live.hold_until = hold_until;
            live.awaits_staging = may_lack_staging.then_some(None);
        }
        if may_lack_staging {
            self.call_store(job, StoreCall::MakeStaging);
        }
        self.expect_outputs(job);
        let done = self.durable.running(job).is_some_and(RunningEntry::is_done);
        match splits {
            Some(splits) => {
                let places = Places::of_splits(&splits, &mut self.trackers.numbers);
                self.on_splits(job, splits, places);
            }
            // The former process may have published, which moves the staging folder away, list
            // included.
            None if done => {}
            None => self.call_store(job, StoreCall::ReadSplits),
        }
        self.commit_if_done(now.monotonic, job);
    }
}

impl Core {
    /// Why the job fails, if one of its tasks has used up its attempts.
    fn why_over(&self, job: JobId) -> Option<String> {
        let entry = self.durable.running(job)?;
        [TaskKind::Map, TaskKind::Reduce].into_iter().find_map(|kind| {
            let tasks = (0..).zip(entry.tasks(kind));
            let mut failed = tasks.filter(|(_, task)| !task.failures().is_empty());
            failed.find_map(|(index, _)| self.why_given_up(job.task(kind, index)))
        })
    }
}

fn needs(stage: &Stage) -> Resume {
    match stage {
        Stage::Planning => Resume::Plan,
        Stage::Running(running) => Resume::Tasks(match &running.list {
            SplitList::Inline(splits) => Some(Arc::clone(splits)),
            SplitList::Staged(_) => None,
        }),
        Stage::Ended(ended) if ended.staging_removed => Resume::Nothing,
        Stage::Ended(_) => Resume::RemoveStaging,
    }
}
