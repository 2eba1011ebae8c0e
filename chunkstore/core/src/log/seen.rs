//! Which records a reader has had. A record whose append got no answer is sent again, to the chunk
//! in which the log continues, and may then be in both.

use std::collections::BTreeMap;

use chunkstore_protocol::WriterId;

/// Writers that a reader remembers, the most recently read ones. A record that was sent again only
/// after records of this many other writers counts as a new one.
pub const SEEN_WRITERS_MAX: usize = 1 << 17;

/// The highest record number of each writer. That is enough: a writer appends its records in order,
/// each only when the one before is acknowledged or given up.
#[derive(Clone, Debug)]
pub struct Seen {
    writers_max: usize,
    highest: BTreeMap<WriterId, Last>,
    /// The writers by when their last record was read, oldest first.
    by_use: BTreeMap<u64, WriterId>,
    n_records: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    used: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_writers(SEEN_WRITERS_MAX)
    }
}

impl Seen {
    /// Remembers up to `writers_max` writers.
    #[must_use]
    pub fn with_writers(writers_max: usize) -> Self {
        let (highest, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self { writers_max, highest, by_use, n_records: 0 }
    }

    /// Notes a record; returns whether it is new.
    pub fn is_new(&mut self, writer: WriterId, sequence: u64) -> bool {
        self.n_records += 1;
        let used = self.n_records;
        let before = self.highest.get(&writer).copied();
        if let Some(Last { used, .. }) = before {
            self.by_use.remove(&used);
        }
        let highest = before.map_or(0, |last| last.sequence);
        self.highest.insert(writer, Last { sequence: highest.max(sequence), used });
        self.by_use.insert(used, writer);
        if self.highest.len() > self.writers_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.highest.remove(&oldest);
        }
        sequence > highest
    }
}
