//! The batches that a primary has under way: they are written, sent and acknowledged together.

use std::collections::BTreeSet;

use chunkstore_protocol::BATCH_BYTES_MAX;
use ids::HostName;

use super::{Admission, Batch, OutOfOrder, Tail};

/// Bytes of a group after which no more batches are added.
pub const GROUP_BYTES: u64 = 4 << 20;
/// Bytes of a group at most.
pub const GROUP_BYTES_MAX: u64 = GROUP_BYTES + BATCH_BYTES_MAX as u64;

/// One group. A chunk has at most one at a time, so all of its servers have the same bytes. `T`
/// identifies the caller that waits for a batch.
#[derive(Debug)]
pub struct Group<T> {
    at: u64,
    bytes: u64,
    is_full: bool,
    differs: bool,
    taken: Vec<(T, u64)>,
    left: Vec<T>,
    /// Servers of the chunk, including the primary, that have not confirmed the group yet.
    missing: BTreeSet<HostName>,
}

/// What became of a batch that was offered to a group.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<T> {
    /// Accepted: its bytes are written next.
    Write,
    /// Nothing to write: its bytes are there already, or it does not fit and the chunk ends after
    /// this group.
    Nothing,
    /// It is refused.
    Refused(T, OutOfOrder),
}

/// How far a group has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Some server has not confirmed it yet.
    UnderWay,
    /// Every server has synced it.
    Everywhere,
    /// A server has other bytes: the chunk is to be ended.
    Differs,
}

/// The callers that waited for a group that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers<T> {
    /// Callers whose batches are on every server, and where each batch begins in the chunk.
    pub appended: Vec<(T, u64)>,
    /// Callers whose batches are in doubt; they will find that the chunk has ended.
    pub unknown: Vec<T>,
}

impl<T> Group<T> {
    /// An empty group behind everything taken so far, for these servers, including the primary.
    pub fn new(tail: &Tail, servers: impl IntoIterator<Item = HostName>) -> Self {
        Self {
            at: tail.length(),
            bytes: 0,
            is_full: false,
            differs: false,
            taken: Vec::new(),
            left: Vec::new(),
            missing: servers.into_iter().collect(),
        }
    }

    /// A client sends a batch.
    pub fn offer(&mut self, tail: &mut Tail, batch: Batch, who: T) -> Offered<T> {
        match tail.admit(batch) {
            Ok(Admission::Write { offset }) => {
                self.bytes += batch.bytes;
                self.taken.push((who, offset));
                Offered::Write
            }
            Ok(Admission::Again { offset }) => {
                self.taken.push((who, offset));
                Offered::Nothing
            }
            Ok(Admission::Full | Admission::Ended) => {
                self.is_full = true;
                self.left.push(who);
                Offered::Nothing
            }
            Err(error) => Offered::Refused(who, error),
        }
    }

    /// Whether another batch may be offered.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        !self.is_full && self.bytes < GROUP_BYTES
    }

    /// Where its bytes begin in the chunk.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the group. An empty one counts as everywhere at once: it holds only batches that
    /// were sent again and acknowledged before.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where they end in the chunk.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at + self.bytes
    }

    /// Whether the chunk is to end after this group because a batch did not fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// How far the group has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.bytes == 0 || self.missing.is_empty() {
            _ if self.differs => Progress::Differs,
            true => Progress::Everywhere,
            false => Progress::UnderWay,
        }
    }

    /// A server of the chunk reports that it has written and synced `length` bytes of it.
    pub fn synced(&mut self, host: &HostName, length: u64) -> Progress {
        match length == self.end() {
            true => drop(self.missing.remove(host)),
            false => self.differs = true,
        }
        self.progress()
    }

    /// Ends the group: its batches are acknowledged if they are on every server, and in doubt
    /// otherwise.
    pub fn end_with(self, tail: &mut Tail) -> Answers<T> {
        let (progress, end) = (self.progress(), self.end());
        let Self { taken: appended, left: mut unknown, .. } = self;
        match progress {
            Progress::Everywhere => {
                tail.acknowledge(end);
                Answers { appended, unknown }
            }
            Progress::UnderWay | Progress::Differs => {
                unknown.extend(appended.into_iter().map(|(who, _)| who));
                Answers { appended: Vec::new(), unknown }
            }
        }
    }
}
