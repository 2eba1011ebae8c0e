//! The buffer of jobs without a combiner: encoded pairs in one arena, and an entry for each to sort.

use std::marker::PhantomData;

use mapreduce_protocol::Failure;

use super::collector::Buffer;
use super::cursor::key_prefix;
use super::fold::Fold;
use super::huge;
use super::key_sort::{self, Entry};
use super::partitions::Partitions;
use super::run_writer::{PAIR_BYTES_MAX, RunWriter, too_long};
use crate::api::{Counters, Datum, Key, Partitioner};

/// See the module.
pub(crate) struct SortBuffer<'p, K, V, P> {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    partitions: Partitions<'p, P>,
    budget: usize,
    bytes: u64,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<'p, K: Key, V: Datum, P: Partitioner<K>> SortBuffer<'p, K, V, P> {
    /// Room for `budget` bytes, whether of pairs or of their entries: reserved at once, so that neither ever moves; the
    /// system gives pages only as they are touched.
    pub(crate) fn new(partitions: Partitions<'p, P>, budget: usize) -> Self {
        let (arena, entries) = (huge::reserve(budget), huge::reserve(budget / size_of::<Entry>()));
        Self { arena, entries, partitions, budget, bytes: 0, pair: PhantomData }
    }
}

impl<K, V, P> SortBuffer<'_, K, V, P> {
    /// Brings the pairs into the order of partition and key.
    pub(crate) fn sort(&mut self) {
        key_sort::sort(&mut self.entries, &self.arena);
    }

    /// Encoded key and value of the pair at place `n`.
    pub(crate) fn record(&self, n: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(n)?;
        Some((entry.key(&self.arena), entry.value(&self.arena)))
    }
}

impl<K: Key, V: Datum, P: Partitioner<K>> Buffer<K, V> for SortBuffer<'_, K, V, P> {
    #[inline]
    fn add(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<(), Failure> {
        let offset = self.arena.len();
        K::encode(key, &mut self.arena);
        let key_end = self.arena.len();
        V::encode(value, &mut self.arena);
        let length = self.arena.len() - offset;
        if length > PAIR_BYTES_MAX {
            self.arena.truncate(offset);
            return Err(too_long(length));
        }
        let encoded = &self.arena[offset..key_end];
        let partition = self.partitions.of::<K>(key, encoded)?;
        self.bytes += length as u64;
        self.entries.push(Entry {
            prefix: key_prefix(encoded),
            partition,
            offset: narrow(offset),
            key_length: narrow(key_end - offset),
            value_length: narrow(length - (key_end - offset)),
        });
        Ok(())
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.arena.len() + self.entries.len() * size_of::<Entry>() >= self.budget
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn write_sorted(&mut self, writer: &mut RunWriter) -> Result<(), Failure> {
        self.sort();
        let arena = &self.arena;
        self.entries.iter().try_for_each(|entry| {
            writer.record(entry.partition, entry.key(arena), entry.value(arena))
        })
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }

    fn count(&self, counters: &mut Counters) {
        counters.add_own("MAP_OUTPUT_BYTES", self.bytes);
    }

    fn fold(&mut self) -> Option<&mut (dyn Fold + 'static)> {
        None
    }
}

/// A place or length in a buffer, whose limit keeps it within 32 bits.
pub(crate) fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("the buffer's limit keeps places within 32 bits")
}
