//! Chunks that wait for another replica, the most urgent first. The reasons are determined in
//! `repair.rs`.

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_protocol::{ChunkId, RepairCause, RepairsWaiting};

/// Chunks that may wait for the same reason; a later sweep finds the others.
const WAITING_MAX: usize = 10_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<RepairCause, BTreeSet<ChunkId>>,
    /// Where the next tries of each class begin, so that chunks that can't be copied now do not
    /// block the others.
    turns: BTreeMap<RepairCause, ChunkId>,
    /// Whether more chunks wait than are remembered; another sweep finds them.
    overflowed: bool,
}

impl Queue {
    /// The chunk waits for this reason, and no other.
    pub(crate) fn wait(&mut self, chunk: ChunkId, cause: RepairCause) {
        self.leave(chunk);
        let waiting = self.waiting.entry(cause).or_default();
        if waiting.len() < WAITING_MAX {
            waiting.insert(chunk);
        } else {
            self.overflowed = true;
        }
    }

    /// The chunk no longer waits.
    pub(crate) fn leave(&mut self, chunk: ChunkId) {
        for waiting in self.waiting.values_mut() {
            waiting.remove(&chunk);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }

    pub(crate) fn contains(&self, chunk: ChunkId) -> bool {
        self.waiting.values().any(|waiting| waiting.contains(&chunk))
    }

    /// Whether any chunk waits for a reason at least as urgent as this.
    pub(crate) fn is_waiting_to(&self, last: RepairCause) -> bool {
        self.waiting.range(..=last).any(|(_, waiting)| !waiting.is_empty())
    }

    /// The next chunks to try of each class up to `last`, the most urgent class first; at most
    /// `per_class` of each.
    pub(crate) fn tries(&mut self, last: RepairCause, per_class: usize) -> Vec<ChunkId> {
        let mut tries = Vec::new();
        for (cause, waiting) in self.waiting.range(..=last) {
            let turn = self.turns.get(cause).copied().unwrap_or(ChunkId(0));
            let in_turn = waiting.range(turn..).chain(waiting.range(..turn));
            tries.extend(in_turn.take(per_class));
            if waiting.len() > per_class
                && let Some(ChunkId(last)) = tries.last().copied()
            {
                self.turns.insert(*cause, ChunkId(last + 1));
            }
        }
        tries
    }

    /// Number of chunks that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// The number of waiting chunks for each reason.
    pub(crate) fn census(&self) -> Vec<RepairsWaiting> {
        let classes = self.waiting.iter();
        classes.map(|(&why, chunks)| RepairsWaiting { why, chunks: chunks.len() as u64 }).collect()
    }

    /// Whether chunks wait that are not remembered.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Whether it is time to sweep for those, as most of the others are done.
    pub(crate) fn take_overflow(&mut self) -> bool {
        let due = self.overflowed && self.len() < WAITING_MAX / 2;
        self.overflowed &= !due;
        due
    }
}
