//! Numbered delivery: what one daemon must tell another exactly once, over heartbeats that may be
//! lost, doubled or reordered. The sender keeps each item in an [`Outbox`] and repeats it until its
//! number is acknowledged; the receiver's [`Inbox`] passes each number on once, in order.
//!
//! Both ends start from number 1 at each registration.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An item with its number, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Numbered<T> {
    /// Position in the sender's sequence.
    pub number: u64,
    /// What is delivered.
    pub item: T,
}

/// The sender's side: items not yet acknowledged, oldest first.
#[derive(Clone, Debug)]
pub struct Outbox<T> {
    pending: VecDeque<Numbered<T>>,
    last: u64,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { pending: VecDeque::new(), last: 0 }
    }
}

impl<T> Outbox<T> {
    /// Queues `item` and returns its number.
    pub fn push(&mut self, item: T) -> u64 {
        self.last += 1;
        self.pending.push_back(Numbered { number: self.last, item });
        self.last
    }

    /// Forgets everything up to and including `number`: the receiver has it.
    pub fn acknowledge(&mut self, number: u64) {
        while self.pending.front().is_some_and(|first| first.number <= number) {
            self.pending.pop_front();
        }
    }

    /// At most `limit` unacknowledged items, oldest first: what the next message carries.
    pub fn pending(&self, limit: usize) -> impl Iterator<Item = &Numbered<T>> {
        self.pending.iter().take(limit)
    }

    /// Number of items not yet acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether everything is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// The receiver's side: the highest number passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inbox {
    received: u64,
}

impl Inbox {
    /// The items of `batch` that are new, in order. Stops at a gap: what follows it comes again.
    pub fn accept<T>(&mut self, batch: Vec<Numbered<T>>) -> Vec<T> {
        let mut fresh = Vec::new();
        for numbered in batch {
            if numbered.number == self.received + 1 {
                self.received = numbered.number;
                fresh.push(numbered.item);
            }
        }
        fresh
    }

    /// What to acknowledge: everything up to this number has been passed on.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_arrives_once_and_in_order_whatever_is_lost_or_doubled() {
        let mut outbox = Outbox::default();
        let mut inbox = Inbox::default();
        for item in ["a", "b", "c"] {
            outbox.push(item);
        }
        let first: Vec<_> = outbox.pending(2).cloned().collect();
        let late: Vec<_> = outbox.pending(9).skip(2).cloned().collect();
        assert!(inbox.accept(late).is_empty(), "a gap is not skipped");
        assert_eq!(inbox.accept(first.clone()), ["a", "b"]);
        assert!(inbox.accept(first).is_empty(), "a doubled message is taken once");
        outbox.acknowledge(inbox.received());
        assert_eq!(inbox.accept(outbox.pending(9).cloned().collect()), ["c"]);
        outbox.acknowledge(3);
        assert!(outbox.is_empty());
        assert_eq!(outbox.push("d"), 4);
    }
}
