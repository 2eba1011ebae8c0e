//! Slots are never exceeded on any tracker, neither by what really runs there nor in the
//! JobTracker's books.

use jobtracker_core::Core;

use super::Watch;
use crate::jobs::ground::tracker_on;

impl Watch {
    /// `n` processes run on a tracker that have not reported success.
    pub(crate) fn check_processes(&mut self, tracker: usize, n: usize, slots: u32) {
        if n > slots as usize {
            self.broken("slots", format!("host-{tracker} runs {n} attempts on {slots} slots"));
        }
    }

    /// Checks the JobTracker's books. A registration may list more running attempts than the
    /// tracker has slots: it includes ended ones as long as the tracker does not know that the
    /// JobTracker knows.
    pub(crate) fn check_books(&mut self, core: &Core) {
        let said = |host| self.running.get(&tracker_on(host)).copied().unwrap_or(0);
        let most = |host, slots: usize| slots.max(said(host));
        let mut over = core.occupancy().filter(|(host, n, slots)| *n > most(host, *slots));
        if let Some((host, occupied, slots)) = over.next() {
            let what = format!("{host} is taken to run {occupied} attempts on {slots} slots");
            self.broken("slots", what);
        }
    }
}
