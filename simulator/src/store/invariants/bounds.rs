//! No queue grows without limit: what waits anywhere stays below what the world can have caused.

use super::Watch;

/// The most events that wait, in a world of any seed: far more than a world of this size causes.
const EVENTS_MAX: usize = 20_000;
/// The most commands to servers that wait, and the most replica events of one server.
const PENDING_MAX: u64 = 2_000;
/// The most answers that wait for a sync of the journal.
const UNTOLD_MAX: usize = 2_000;

impl Watch {
    pub(crate) fn check_bound(&mut self, what: &str, n: usize, max: usize) {
        if n > max {
            self.broken("bounds", format!("{n} {what} wait, {max} at most may"));
        }
    }

    pub(crate) fn check_events(&mut self, n: usize) {
        self.check_bound("events", n, EVENTS_MAX);
    }

    pub(crate) fn check_pending(&mut self, what: &str, n: u64) {
        self.check_bound(what, usize::try_from(n).unwrap_or(usize::MAX), PENDING_MAX as usize);
    }

    pub(crate) fn check_untold(&mut self, n: usize) {
        self.check_bound("answers", n, UNTOLD_MAX);
    }
}
