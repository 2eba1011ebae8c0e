//! Counts of what the readers of one client have done, for its caller's metrics and logs.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the readers of a [`crate::ChunkStore`] have done since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Requests to chunkservers for bytes of chunks.
    pub requests: u64,
    /// Replicas on the client's own host for which a chunkserver has handed over its file.
    pub descriptors: u64,
    /// Second replicas that were asked because the first one was silent.
    pub hedges: u64,
    /// How many times the second replica delivered first.
    pub hedges_won: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    descriptors: AtomicU64,
    hedges: AtomicU64,
    hedges_won: AtomicU64,
}

impl Counts {
    pub(crate) fn snapshot(&self) -> ReadCounts {
        ReadCounts {
            requests: self.requests.load(Ordering::Relaxed),
            descriptors: self.descriptors.load(Ordering::Relaxed),
            hedges: self.hedges.load(Ordering::Relaxed),
            hedges_won: self.hedges_won.load(Ordering::Relaxed),
        }
    }

    /// A chunkserver was asked for bytes.
    pub(crate) fn observe_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A chunkserver has handed over a file.
    pub(crate) fn observe_descriptor(&self) {
        self.descriptors.fetch_add(1, Ordering::Relaxed);
    }

    /// `n` second replicas were asked, and perhaps one delivered first.
    pub(crate) fn observe_hedges(&self, n: u64, won: bool) {
        self.hedges.fetch_add(n, Ordering::Relaxed);
        self.hedges_won.fetch_add(u64::from(won), Ordering::Relaxed);
    }
}
