//! How far a task is: by bytes, told now and then. Telling is also the sign of life.

use ids::Monotonic;
use std::time::Duration;

/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(500);

/// Tells how far a task is.
pub(crate) struct Progress<'a> {
    tell: &'a dyn Fn(f32),
    told_at: Monotonic,
}

impl<'a> Progress<'a> {
    /// `tell` is called at most every half second.
    pub(crate) fn new(tell: &'a dyn Fn(f32)) -> Self {
        Self { tell, told_at: clock::monotonic() }
    }

    /// `done` of `total` bytes are passed.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        let now = clock::monotonic();
        if now.since(self.told_at) >= INTERVAL {
            self.told_at = now;
            (self.tell)((done as f64 / total.max(1) as f64).min(1.0) as f32);
        }
    }
}
