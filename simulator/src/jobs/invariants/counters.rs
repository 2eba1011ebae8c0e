//! Counters count once: a job's counters are the sums over its winners and nothing else.

use std::collections::BTreeMap;

use mapreduce_protocol::JobId;

use super::Watch;

impl Watch {
    /// Checks a job's counters as a client got them.
    pub(crate) fn check_counters(&mut self, job: JobId, counters: &BTreeMap<String, u64>) {
        let Some(book) = self.book.jobs.get(&job) else { return };
        let counted = book.winners.values().flat_map(|winner| winner.counters.values());
        let (sum, told) = (counted.sum::<u64>(), counters.values().sum::<u64>());
        if sum != told {
            self.broken("counters", format!("{job}'s winners counted {sum}, and it says {told}"));
        }
    }
}
