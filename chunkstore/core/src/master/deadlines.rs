//! Deadlines by which somebody must be heard from: leases of files and lives of servers. Soft:
//! after a restart everybody gets a new deadline. Knows nothing of what happens when one passes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;

/// Deadlines, by key and in order.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines<K> {
    by_key: BTreeMap<K, Monotonic>,
    in_order: BTreeSet<(Monotonic, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), in_order: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, key: K, at: Monotonic) {
        self.remove(key);
        self.by_key.insert(key, at);
        self.in_order.insert((at, key));
    }

    /// Forgets a deadline.
    pub(crate) fn remove(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.in_order.remove(&(at, key));
        }
    }

    /// Moves all deadlines.
    pub(crate) fn postpone(&mut self, by: Duration) {
        for at in self.by_key.values_mut() {
            *at = *at + by;
        }
        self.in_order = self.by_key.iter().map(|(key, at)| (*at, *key)).collect();
    }

    /// Number of deadlines.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The key's deadline.
    pub(crate) fn get(&self, key: K) -> Option<Monotonic> {
        self.by_key.get(&key).copied()
    }

    /// Whether the key has a deadline.
    pub(crate) fn contains(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Takes the first key whose deadline is `now` or before.
    pub(crate) fn pop_passed(&mut self, now: Monotonic) -> Option<K> {
        let &(at, key) = self.in_order.first()?;
        if at > now {
            return None;
        }
        self.remove(key);
        Some(key)
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.in_order.first().map(|(at, _)| *at)
    }
}
