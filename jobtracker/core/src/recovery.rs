//! A start: the epoch grows, and every unfinished job goes on from its records. What ran in the last
//! term is told by the trackers when they register; until they had time to, nothing of those jobs is
//! launched.

use ids::Now;
use mapreduce_protocol::JobId;

use crate::durable::{RunningEntry, Stage};
use crate::job::StoreCall;
use crate::machine::Core;
use crate::records::{PlannedSplit, Record, SplitList};
use crate::timers::Timer;

/// What a job needs to go on.
enum Resume {
    Plan,
    Tasks(Option<Vec<PlannedSplit>>),
    RemoveStaging,
    Nothing,
}

impl Core {
    pub(crate) fn handle_start(&mut self, now: Now) {
        self.record(Record::Started { epoch: self.epoch().next() });
        let resume: Vec<_> =
            self.durable.jobs().iter().map(|(job, entry)| (*job, needs(&entry.stage))).collect();
        for (job, needed) in resume {
            match needed {
                Resume::Plan => {
                    self.begin(job);
                    self.call_store(job, StoreCall::Plan);
                }
                Resume::Tasks(splits) => self.resume_tasks(now, job, splits),
                Resume::RemoveStaging => self.remove_staging(job),
                Resume::Nothing => {}
            }
        }
        self.timers.set(now.monotonic + self.settings.dead_after, Timer::Unreported);
    }

    fn resume_tasks(&mut self, now: Now, job: JobId, splits: Option<Vec<PlannedSplit>>) {
        self.begin(job);
        self.begin_tasks(job);
        let hold_until = now.monotonic + self.settings.recovery_grace;
        if let Some(live) = self.live_mut(job) {
            live.hold_until = Some(hold_until);
        }
        self.expect_outputs(job);
        let done = self.durable.running(job).is_some_and(RunningEntry::is_done);
        match splits {
            Some(splits) => self.on_splits(job, splits),
            // The former process' publication may have taken the staging folder away, list and all.
            None if done => {}
            None => self.call_store(job, StoreCall::ReadSplits),
        }
        self.commit_if_done(job);
    }
}

fn needs(stage: &Stage) -> Resume {
    match stage {
        Stage::Planning => Resume::Plan,
        Stage::Running(running) => Resume::Tasks(match &running.list {
            SplitList::Inline(splits) => Some(splits.clone()),
            SplitList::Staged(_) => None,
        }),
        Stage::Ended(ended) if ended.staging_removed => Resume::Nothing,
        Stage::Ended(_) => Resume::RemoveStaging,
    }
}
