//! Outputs on a host that is silent for too long do not count: no map there counts as done while a
//! reduce may still need its output.

use std::time::Duration;

use ids::Monotonic;

use super::Watch;
use crate::jobs::ground::tracker_on;

/// Tolerance beyond a tracker's time-out: timers are not that exact, and two checks may be close
/// together.
const SLACK: Duration = Duration::from_secs(3);

impl Watch {
    /// Checks all finished maps, while the JobTracker runs.
    pub(crate) fn check_lost_maps(&mut self, now: Monotonic, dead_after: Duration) {
        let patience = dead_after + SLACK;
        if now.since(self.runs_since) <= patience {
            return;
        }
        let is_silent = |tracker: usize| {
            // A refusal is noticed when the silence timer goes off, and gives the tracker its time
            // once more.
            let refused = self.refused.get(&tracker);
            if refused.is_some_and(|at| now.since(*at) <= dead_after + patience) {
                return false;
            }
            let heard = self.heard.get(&tracker).copied().unwrap_or(self.runs_since);
            now.since(heard.max(self.runs_since)) > patience
        };
        let needed = self.book.jobs.values().filter(|book| book.needs_map_outputs());
        let mut winners = needed.flat_map(|book| book.winners.values());
        let kept = winners.find(|winner| {
            let is_map = winner.attempt.task.kind == mapreduce_protocol::TaskKind::Map;
            is_map && is_silent(tracker_on(&winner.host))
        });
        if let Some(winner) = kept {
            let what = format!(
                "{} counts as done, and {} has not been heard for {patience:?}",
                winner.attempt, winner.host
            );
            self.broken("lost_maps", what);
        }
    }
}
