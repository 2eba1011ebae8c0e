//! Batches that a primary has under way: written, sent and acknowledged as one.

use std::collections::BTreeSet;

use chunkstore_protocol::BATCH_BYTES_MAX;
use ids::HostName;

use super::{Admission, Batch, OutOfOrder, Tail};

/// Bytes of a group after which no more batches are added.
pub const GROUP_BYTES: u64 = 4 << 20;
/// Bytes of a group at most.
pub const GROUP_BYTES_MAX: u64 = GROUP_BYTES + BATCH_BYTES_MAX as u64;

/// One group, of which a chunk has at most one at a time: so all of its servers have the same bytes. `T` is who waits for
/// a batch.
#[derive(Debug)]
pub struct Group<T> {
    at: u64,
    bytes: u64,
    is_full: bool,
    differs: bool,
    taken: Vec<(T, u64)>,
    left: Vec<T>,
    /// Servers of the chunk, the primary among them, that have not said that they have it.
    missing: BTreeSet<HostName>,
}

/// What became of a batch that was offered to a group.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<T> {
    /// Its bytes come next.
    Write,
    /// Its bytes are there already; or it does not fit, and the chunk is to be ended behind this group.
    Nothing,
    /// It is refused.
    Refused(T, OutOfOrder),
}

/// How far a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Some server has not said that it has it.
    UnderWay,
    /// Every server has synced it.
    Everywhere,
    /// A server has other bytes: the chunk is to be ended.
    Differs,
}

/// Those who wait for a group that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers<T> {
    /// Whose batches are on every server, and where each begins in the chunk.
    pub appended: Vec<(T, u64)>,
    /// Who does not know, and finds the batch's chunk ended.
    pub unknown: Vec<T>,
}

impl<T> Group<T> {
    /// An empty one behind all that was taken, for these servers, the primary among them.
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

    /// How many there are. With none, it is everywhere as soon as it is made: what came again was acknowledged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where they end in the chunk.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at + self.bytes
    }

    /// Whether the chunk is to be ended behind it: a batch did not fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.bytes == 0 || self.missing.is_empty() {
            _ if self.differs => Progress::Differs,
            true => Progress::Everywhere,
            false => Progress::UnderWay,
        }
    }

    /// A server of the chunk says that it has so many bytes of it, written and synced.
    pub fn synced(&mut self, host: &HostName, length: u64) -> Progress {
        match length == self.end() {
            true => drop(self.missing.remove(host)),
            false => self.differs = true,
        }
        self.progress()
    }

    /// It has ended: acknowledged if it is everywhere, in doubt otherwise.
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
