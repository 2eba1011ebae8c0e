//! Uploads that broke off: until when each is kept for its writer to seal, and who waits to hear what one
//! came to. Only `replica::Replicas` calls this.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;

use super::{ReplicaKey, ReplyTo};

/// How long an upload that broke off is kept, where the caller does not say: twice a writer's lease.
pub const KEEP_CUT_FOR: Duration = Duration::from_mins(2);
/// Questions about one upload that wait at once; the oldest goes unanswered. Its writer asks one at a time.
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

    /// A replica is cut at `now`.
    pub(super) fn keep(&mut self, now: Monotonic, replica: ReplicaKey) {
        self.due.insert((now + self.keep_for, replica));
    }

    /// When the next has been kept for long enough.
    pub(super) fn due(&self) -> Option<Monotonic> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first that has been kept for long enough. It may be sealed or gone.
    pub(super) fn pop_passed(&mut self, now: Monotonic) -> Option<ReplicaKey> {
        if self.due()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, replica)| replica)
    }

    /// Someone waits for the end of an upload.
    pub(super) fn wait(&mut self, replica: ReplicaKey, to: ReplyTo) {
        let waiting = self.waiting.entry(replica).or_default();
        if waiting.len() == WAITING_MAX {
            waiting.remove(0);
        }
        waiting.push(to);
    }

    /// Those who waited for it.
    pub(super) fn waiting(&mut self, replica: ReplicaKey) -> Vec<ReplyTo> {
        self.waiting.remove(&replica).unwrap_or_default()
    }
}
