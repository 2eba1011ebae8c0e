//! What a client was told remains true across restarts: an accepted job is known, and how it ended
//! does not change.

use jobtracker_core::Record;
use mapreduce_protocol::{JobId, JobState};

use super::Watch;
use crate::jobs::book::Book;

impl Watch {
    /// A client learns that its job is accepted.
    pub(crate) fn see_accepted(&mut self, job: JobId) {
        self.told.entry(job).or_default();
    }

    /// A client learns the state of its job.
    pub(crate) fn see_state(&mut self, job: JobId, state: JobState) {
        let before = self.told.entry(job).or_default();
        match *before {
            Some(told) if told != state => {
                let what = format!("{job} was {told:?}, and is told to be {state:?}");
                self.broken("acknowledged", what);
            }
            Some(_) => {}
            None => *before = state.is_final().then_some(state),
        }
    }

    /// A client learns that its job is not known.
    pub(crate) fn check_forgotten(&mut self, job: JobId) {
        if self.book.jobs.get(&job).is_none_or(|book| !book.is_forgotten) {
            self.broken("acknowledged", format!("{job} was accepted, and is not known"));
        }
    }

    /// Checks the journal that a crash of the JobTracker leaves.
    pub(super) fn check_acknowledged(&mut self, journal: &[Record]) {
        let mut kept = Book::default();
        journal.iter().for_each(|record| kept.apply(record));
        for (job, told) in self.told.clone() {
            let ended = kept.jobs.get(&job).map(|book| book.ended);
            if ended.is_none() || (told.is_some() && ended != Some(told)) {
                let what = format!("{job}, told to be {told:?}, is {ended:?} after a crash");
                self.broken("acknowledged", what);
            }
        }
    }
}
