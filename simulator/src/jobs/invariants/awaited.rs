//! A restarted JobTracker waits for exactly the right trackers. Nothing of an earlier term's job is
//! launched before every tracker of that time has reported what it runs, or was silent long enough
//! to be lost; and once all have reported, none is awaited.

use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::Core;
use mapreduce_protocol::AttemptId;

use super::Watch;
use crate::jobs::ground::tracker_on;

impl Watch {
    /// Checks the launch of an attempt.
    pub(super) fn check_wait(&mut self, now: Monotonic, attempt: AttemptId, dead_after: Duration) {
        let planned_in = self.book.jobs.get(&attempt.task.job).and_then(|book| book.planned_in);
        let is_old = planned_in.is_some_and(|epoch| epoch < self.book.epoch);
        let is_over = now.since(self.started_at) >= dead_after;
        let silent = self.expected.iter().find(|tracker| !self.has_told.contains(tracker)).copied();
        if let Some(tracker) = silent.filter(|_| is_old && !is_over) {
            let what =
                format!("{attempt} is launched, and host-{tracker} has not told what it runs");
            self.broken("awaited", what);
        }
    }

    /// Checks which trackers the JobTracker waits for.
    pub(crate) fn check_awaited(&mut self, core: &Core) {
        let needless = core.awaited().find(|host| self.has_told.contains(&tracker_on(host)));
        if let Some(host) = needless {
            let what = format!("{host} has told what it runs, and is waited for");
            self.broken("awaited", what);
        }
    }
}
