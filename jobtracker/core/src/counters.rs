//! Counters of a job: sums over its winning attempts, with each winner's share kept in a compact form,
//! so that it can be taken back when its output is lost.

use std::collections::BTreeMap;

use mapreduce_protocol::{COUNTER_NAME_BYTES_MAX, COUNTERS_MAX};
use serde::{Deserialize, Serialize};

/// Limit on the counter names of one job; further ones are dropped.
const NAMES_MAX: usize = 512;

/// One attempt's counters: index of the name in its job's table, value.
pub(crate) type Share = Box<[(u16, u64)]>;

/// The part of an attempt's counters that is kept: no task may make a record too long for the
/// journal.
pub(crate) fn bounded(counters: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let short = |(name, _): &(String, u64)| name.len() <= COUNTER_NAME_BYTES_MAX;
    counters.into_iter().filter(short).take(COUNTERS_MAX).collect()
}

/// The sums of a job's counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CounterTable {
    indexes: BTreeMap<String, u16>,
    sums: Vec<u64>,
}

impl CounterTable {
    /// Adds one winner's counters.
    pub(crate) fn add(&mut self, counters: &BTreeMap<String, u64>) -> Share {
        let mut share = Vec::with_capacity(counters.len());
        for (name, value) in counters {
            if let Some(index) = self.index_of(name) {
                let sum = &mut self.sums[usize::from(index)];
                *sum = sum.saturating_add(*value);
                share.push((index, *value));
            }
        }
        share.into_boxed_slice()
    }

    /// Subtracts a winner's counters.
    pub(crate) fn subtract(&mut self, share: &Share) {
        for (index, value) in share {
            let sum = &mut self.sums[usize::from(*index)];
            *sum = sum.saturating_sub(*value);
        }
    }

    /// The sums by name.
    pub(crate) fn totals(&self) -> BTreeMap<String, u64> {
        let sum = |index: &u16| self.sums[usize::from(*index)];
        self.indexes.iter().map(|(name, index)| (name.clone(), sum(index))).collect()
    }

    /// Index of a name, if it was counted.
    pub(crate) fn index(&self, name: &str) -> Option<u16> {
        self.indexes.get(name).copied()
    }

    /// The names by index.
    pub(crate) fn names(&self) -> BTreeMap<u16, &str> {
        self.indexes.iter().map(|(name, index)| (*index, name.as_str())).collect()
    }

    fn index_of(&mut self, name: &str) -> Option<u16> {
        if let Some(index) = self.indexes.get(name) {
            return Some(*index);
        }
        if self.sums.len() == NAMES_MAX || name.len() > COUNTER_NAME_BYTES_MAX {
            return None;
        }
        let index = u16::try_from(self.sums.len()).ok()?;
        self.indexes.insert(name.to_owned(), index);
        self.sums.push(0);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lost_winner_counted_is_taken_back() {
        let counters = |words, lines| {
            BTreeMap::from([("map.words".to_owned(), words), ("map.lines".to_owned(), lines)])
        };
        let mut table = CounterTable::default();
        let lost = table.add(&counters(10, 2));
        table.add(&counters(5, 1));
        table.subtract(&lost);
        assert_eq!(table.totals(), counters(5, 1));
    }

    #[test]
    fn names_are_bounded() {
        let mut table = CounterTable::default();
        let many = (0..NAMES_MAX + 9).map(|n| (format!("user.{n}"), 1)).collect();
        assert_eq!(table.add(&many).len(), NAMES_MAX);
        assert_eq!(table.totals().len(), NAMES_MAX);
        assert!(
            table.add(&BTreeMap::from([("x".repeat(COUNTER_NAME_BYTES_MAX + 1), 1)])).is_empty()
        );
    }
}
