//! No queue grows without end: what waits anywhere stays below what the world can have given rise to.

use super::Watch;

/// Events that wait, whatever the seed: far more than a world of this size makes.
const EVENTS_MAX: usize = 20_000;

impl Watch {
    pub(crate) fn check_events(&mut self, n: usize) {
        if n > EVENTS_MAX {
            self.broken("bounds", format!("{n} events wait, {EVENTS_MAX} at most may"));
        }
    }
}
