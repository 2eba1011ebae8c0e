//! Uploads that broke off: how long each is kept for its writer to seal, and who waits to hear how
//! one ended. Only `replica::Replicas` calls this.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;

use super::{ReplicaKey, ReplyTo};

/// How long an upload that broke off is kept if the caller does not say: twice a writer's lease.
pub const KEEP_CUT_FOR: Duration = Duration::from_mins(2);
/// Requests that may wait for one upload; beyond that the oldest is dropped unanswered. A writer
/// asks one at a time.
const WAITING_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Cuts {
    keep_for: Duration,
    due: BTreeSet<(Monotonic, ReplicaKey)>,
    waiting: BTreeMap<ReplicaKey, Vec<ReplyTo>>,
}

impl Default for Cuts {
    fn default() -> Self {
        Self { keep_for: KEEP_CUT_FOR, due: BTreeSet::new(), waiting: BTreeMap::new() }
    }
}

impl Cuts {
    pub(super) fn keep_for(&mut self, time: Duration) {
        self.keep_for = time;
    }

    /// The replica's upload broke off at `now`.
    pub(super) fn keep(&mut self, now: Monotonic, replica: ReplicaKey) {
        self.due.insert((now + self.keep_for, replica));
    }

    /// When the next one has been kept for long enough.
    pub(super) fn due(&self) -> Option<Monotonic> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first one that has been kept for long enough. It may have been sealed or removed
    /// meanwhile.
    pub(super) fn pop_passed(&mut self, now: Monotonic) -> Option<ReplicaKey> {
        if self.due()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, replica)| replica)
    }

    /// A caller waits for the end of an upload.
    pub(super) fn wait(&mut self, replica: ReplicaKey, to: ReplyTo) {
        let waiting = self.waiting.entry(replica).or_default();
        if waiting.len() == WAITING_MAX {
            waiting.remove(0);
        }
        waiting.push(to);
    }

    /// Takes the callers that wait for the upload.
    pub(super) fn waiting(&mut self, replica: ReplicaKey) -> Vec<ReplyTo> {
        self.waiting.remove(&replica).unwrap_or_default()
    }
}
