//! An output is published once, complete, from the winners, and only for a job that then succeeds.

use std::collections::BTreeSet;

use jobtracker_core::Record;
use mapreduce_protocol::{AttemptId, JobState};

use crate::jobs::scene::Scene;

impl Scene {
    pub(super) fn check_publish(&mut self, record: &Record) {
        if let Some(odd) = self.store.odd.take() {
            self.watch.broken("publish", odd);
        }
        let Record::JobEnded { job, state, .. } = record else { return };
        let Some(book) = self.watch.book.jobs.get(job) else { return };
        let published = self.store.outputs.get(&book.output);
        let own = published.filter(|it| it.by.is_some_and(|(by, _)| by == *job));
        let last = book.last_tasks(*job);
        let winners: BTreeSet<AttemptId> =
            last.filter_map(|task| Some(book.winners.get(&task)?.attempt)).collect();
        let is_right = match state {
            JobState::Succeeded => own.is_some_and(|it| it.is_whole && it.parts == winners),
            _ => own.is_none_or(|it| !it.is_whole),
        };
        if !is_right {
            let what = format!("{job} is {state:?}; its winners are {winners:?}, there is {own:?}");
            self.watch.broken("publish", what);
        }
    }

    /// At the end, each complete output belongs to the job that succeeded there.
    pub(crate) fn check_outputs(&mut self) {
        for (output, published) in &self.store.outputs {
            let Some((job, _)) = published.by.filter(|_| published.is_whole) else { continue };
            let state = self.watch.book.jobs.get(&job).and_then(|book| book.ended);
            if state != Some(JobState::Succeeded) {
                let what = format!("{output} is there, and {job} is {state:?}");
                return self.watch.broken("publish", what);
            }
        }
    }
}
