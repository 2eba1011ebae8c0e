//! Counters count once: those of a job are the sums of what its winners counted, and of nobody else.

use std::collections::BTreeMap;

use mapreduce_protocol::JobId;

use super::Watch;

impl Watch {
    /// A job's counters, as a client gets them.
    pub(crate) fn check_counters(&mut self, job: JobId, counters: &BTreeMap<String, u64>) {
        let Some(book) = self.book.jobs.get(&job) else { return };
        let counted = book.winners.values().flat_map(|winner| winner.counters.values());
        let (sum, told) = (counted.sum::<u64>(), counters.values().sum::<u64>());
        if sum != told {
            self.broken("counters", format!("{job}'s winners counted {sum}, and it says {told}"));
        }
    }
}
