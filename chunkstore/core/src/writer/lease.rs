//! When a writer's lease is renewed. The master holds its answer to a renewal back for a third of
//! the lease, so that it notices when the writer's connection ends; then the next one is sent. Two
//! may be lost. `chunkstore-client` asks, in the background of each open file.

use std::time::Duration;

use ids::Monotonic;

/// A younger file is not renewed: most are closed by then, and need no watching.
const FIRST_AFTER: Duration = Duration::from_millis(500);

/// The renewal times of one lease. Only the master says whether the lease still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    wait: Duration,
    due: Monotonic,
}

impl Lease {
    /// A lease granted at `now` for `length`, of a writer that gives up a request after `timeout`.
    #[must_use]
    pub fn new(now: Monotonic, length: Duration, timeout: Duration) -> Self {
        let wait = (length / 3).min(timeout / 2);
        Self { length, wait, due: now + wait.min(FIRST_AFTER) }
    }

    /// How long the master is to hold back its answer to a renewal.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// When to renew.
    #[must_use]
    pub fn poll_timeout(&self) -> Monotonic {
        self.due
    }

    /// The master renewed the lease at the request of `asked`. If it answered at once, the next
    /// request is not sent any sooner.
    pub fn handle_renewed(&mut self, asked: Monotonic) {
        self.due = asked + self.wait;
    }

    /// The master did not answer the request of `asked`.
    pub fn handle_silent(&mut self, asked: Monotonic) {
        self.due = asked + self.length / 20;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn a_renewal_waits_for_a_third_of_the_lease_and_a_lost_one_is_repeated_sooner() {
        let minute = Duration::from_mins(1);
        let mut lease = Lease::new(at(0), minute, minute);
        assert_eq!(lease.wait(), Duration::from_secs(20));
        assert_eq!(lease.poll_timeout(), at(0) + FIRST_AFTER);
        lease.handle_silent(at(20));
        assert_eq!(lease.poll_timeout(), at(23));
        lease.handle_renewed(at(23));
        assert_eq!(lease.poll_timeout(), at(43));
    }

    #[test]
    fn a_renewal_is_answered_before_its_writer_gives_it_up() {
        let lease = Lease::new(at(0), Duration::from_mins(1), Duration::from_secs(10));
        assert_eq!(lease.wait(), Duration::from_secs(5));
        let short = Lease::new(at(0), Duration::from_millis(30), Duration::from_secs(10));
        assert_eq!(short.poll_timeout(), at(0) + Duration::from_millis(10));
    }
}
