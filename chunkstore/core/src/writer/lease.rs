//! When a writer's lease must be renewed: at a third of its length, so that two renewals may be lost.
//! `chunkstore-client` asks, in the background of each open file.

use std::time::Duration;

use ids::Monotonic;

/// The renewal times of one lease. Whether the lease still holds is the master's word alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    due: Monotonic,
}

impl Lease {
    /// A lease granted at `now` for `length`.
    #[must_use]
    pub fn new(now: Monotonic, length: Duration) -> Self {
        Self { length, due: now + length / 3 }
    }

    /// When to renew.
    #[must_use]
    pub fn poll_timeout(&self) -> Monotonic {
        self.due
    }

    /// The master renewed it, asked at `asked`.
    pub fn handle_renewed(&mut self, asked: Monotonic) {
        self.due = asked + self.length / 3;
    }

    /// The master could not be asked at `asked`.
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
    fn a_lease_is_renewed_at_a_third_and_sooner_after_a_lost_renewal() {
        let mut lease = Lease::new(at(0), Duration::from_mins(1));
        assert_eq!(lease.poll_timeout(), at(20));
        lease.handle_silent(at(20));
        assert_eq!(lease.poll_timeout(), at(23));
        lease.handle_renewed(at(23));
        assert_eq!(lease.poll_timeout(), at(43));
    }
}
