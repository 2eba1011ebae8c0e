//! Every job ends, and ends correctly: it succeeds unless the records show what was wrong with it,
//! or a client killed it. Each task has exactly its maximum of attempts, across restarts too.

use jobtracker_core::Record;
use mapreduce_protocol::{JobId, JobState};

use super::Watch;
use crate::jobs::book::JobBook;
use crate::jobs::nature::Fate;
use crate::jobs::scene::Scene;

impl Scene {
    pub(super) fn check_end(&mut self, record: &Record) {
        let Record::JobEnded { job, state, failure, .. } = record else { return };
        let Some(book) = self.watch.book.jobs.get(job) else { return };
        let is_right = match state {
            JobState::Succeeded => self.may_succeed(*job, book),
            JobState::Failed => self.may_fail(*job, book),
            JobState::Killed => self.watch.kills.contains(job),
            JobState::Prep | JobState::Running => false,
        };
        if let Some(before) = book.ended {
            let what = format!("{job} was {before:?} and ends again: {state:?}");
            return self.watch.broken("ends", what);
        }
        if !is_right {
            let fate = self.natures[book.nature].fate;
            let what = format!("{job}, {fate:?}, ends as {state:?}: {failure:?}");
            self.watch.broken("ends", what);
        }
    }

    fn may_succeed(&self, job: JobId, book: &JobBook) -> bool {
        let has_tasks = book.n_maps.is_some_and(|n| n > 0) || book.n_reduces > 0;
        let may = match self.natures[book.nature].fate {
            Fate::Fine => true,
            Fate::BadJob => !has_tasks,
            Fate::NoInput | Fate::OutputTaken | Fate::Broken(..) => false,
        };
        may && book.last_tasks(job).all(|task| book.winners.contains_key(&task))
    }

    fn may_fail(&self, job: JobId, book: &JobBook) -> bool {
        let used_up = book.failures.values().any(|n| *n >= book.max_attempts);
        let no_host = book.host_faults >= book.max_attempts;
        let no_input = self.natures[book.nature].fate == Fate::NoInput && book.n_maps.is_none();
        let is_others = |by| by != Some(job);
        let published = self.store.outputs.get(&book.output);
        let taken = published.is_some_and(|it| is_others(it.by.map(|(by, _)| by)));
        used_up || no_host || no_input || taken || book.is_bad
    }
}

impl Watch {
    /// Called when all records of one step of the JobTracker have been seen.
    pub(crate) fn check_tries(&mut self) {
        let used_up = |book: &&JobBook| {
            book.ended.is_none() && book.failures.values().any(|n| *n >= book.max_attempts)
        };
        if let Some(book) = self.book.jobs.values().find(used_up) {
            let what = format!("job {} goes on after its tries: {:?}", book.nature, book.failures);
            self.broken("ends", what);
        }
    }
}
