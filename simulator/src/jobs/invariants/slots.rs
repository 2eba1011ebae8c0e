//! Slots are never exceeded on any tracker: neither by what truly runs there, nor by the JobTracker's books.

use jobtracker_core::Core;

use super::Watch;

impl Watch {
    /// So many processes run on a tracker that have not said that they succeeded.
    pub(crate) fn check_processes(&mut self, tracker: usize, n: usize, slots: u32) {
        if n > slots as usize {
            self.broken("slots", format!("host-{tracker} runs {n} attempts on {slots} slots"));
        }
    }

    /// The JobTracker's books.
    pub(crate) fn check_books(&mut self, core: &Core) {
        let mut over = core.occupancy().filter(|(_, occupied, slots)| occupied > slots);
        if let Some((host, occupied, slots)) = over.next() {
            let what = format!("{host} is taken to run {occupied} attempts on {slots} slots");
            self.broken("slots", what);
        }
    }
}
