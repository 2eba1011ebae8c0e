//! Counters count once: a job's counters are the sums over its tasks' winners and nothing else. A map whose output was lost
//! counts as its last winner counted until another attempt wins: if the reduces have all that they need, none does.

use std::collections::BTreeMap;

use mapreduce_protocol::JobId;

use super::Watch;

impl Watch {
    /// Checks a job's counters as a client got them.
    pub(crate) fn check_counters(&mut self, job: JobId, counters: &BTreeMap<String, u64>) {
        let Some(book) = self.book.jobs.get(&job) else { return };
        let winners = book.winners.values().chain(book.lost.values());
        let counted = winners.flat_map(|winner| winner.counters.values());
        let (sum, told) = (counted.sum::<u64>(), counters.values().sum::<u64>());
        if sum != told {
            self.broken("counters", format!("{job}'s winners counted {sum}, and it says {told}"));
        }
    }
}
