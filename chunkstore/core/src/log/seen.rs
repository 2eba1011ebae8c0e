//! Which records a reader has had. A record whose append got no answer is sent again, to the chunk that the log goes on
//! with, and may be in both.

use std::collections::BTreeMap;

use chunkstore_protocol::WriterId;

/// Writers that a reader remembers: those of which it read last. A record that was sent again after records of as many
/// other writers is taken for a new one.
pub const SEEN_WRITERS_MAX: usize = 1 << 17;

/// The highest number of each writer's records. That is enough: a writer appends its records in order, each only when
/// the one before is acknowledged or given up.
#[derive(Clone, Debug)]
pub struct Seen {
    writers_max: usize,
    highest: BTreeMap<WriterId, Last>,
    /// The writers by their last record, oldest first.
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
    /// Remembers so many writers.
    #[must_use]
    pub fn with_writers(writers_max: usize) -> Self {
        let (highest, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self { writers_max, highest, by_use, n_records: 0 }
    }

    /// Takes note of a record; whether it is the first time.
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
