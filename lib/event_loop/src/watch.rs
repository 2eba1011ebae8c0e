//! Notices when the journal's disk hangs: when the journal is at work and makes no progress. Called
//! by the loop.

use std::time::Duration;

use clock::Stopwatch;

/// Watches the journal's steps.
pub(crate) struct Watch {
    /// The step last seen while the journal was at work, and since when.
    seen: Option<(u64, Stopwatch)>,
    hangs: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { seen: None, hangs: false }
    }

    /// Takes [`journal::Journal::at_work`]. Returns whether the disk hangs, if that has changed: it
    /// does if a step takes longer than `patience`.
    pub(crate) fn look(&mut self, at_work: Option<u64>, patience: Duration) -> Option<bool> {
        let hangs = match (at_work, &self.seen) {
            (Some(step), Some((seen, since))) if step == *seen => since.elapsed() >= patience,
            (at_work, _) => {
                self.seen = at_work.map(|step| (step, Stopwatch::start()));
                false
            }
        };
        let changed = hangs != self.hangs;
        self.hangs = hangs;
        changed.then_some(hangs)
    }

    /// Whether to look again even if the journal sends no message.
    pub(crate) fn is_on(&self) -> bool {
        self.seen.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_too_long_is_said_once_and_that_it_is_over_once() {
        let (long, none) = (Duration::from_secs(3600), Duration::ZERO);
        let mut watch = Watch::new();
        assert!(!watch.is_on());
        let mut looks = Vec::new();
        for (at_work, patience) in [
            (None, none),
            (Some(1), none),
            (Some(1), long),
            (Some(3), none),
            (Some(3), none),
            (Some(3), none),
            (Some(5), none),
            (Some(5), none),
            (None, none),
            (None, none),
        ] {
            looks.push(watch.look(at_work, patience));
        }
        let (hangs, over) = (Some(true), Some(false));
        assert_eq!(looks, [None, None, None, None, hangs, None, over, hangs, over, None]);
    }
}
