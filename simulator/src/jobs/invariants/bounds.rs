//! No queue grows without bound: the number of waiting events stays below what a world can cause.

use super::Watch;

/// Limit on waiting events, whatever the seed: far more than a world of this size causes.
const EVENTS_MAX: usize = 20_000;

impl Watch {
    pub(crate) fn check_events(&mut self, n: usize) {
        if n > EVENTS_MAX {
            self.broken("bounds", format!("{n} events wait, {EVENTS_MAX} at most may"));
        }
    }
}
