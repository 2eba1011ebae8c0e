//! The buffer of jobs with a combiner: a hash table (`slots.rs`) that folds each value into its key's as
//! it comes.

use mapreduce_protocol::Failure;
use mapreduce_protocol::map_output::BLOCK_BYTES_MAX;

use super::collector::Buffer;
use super::failure;
use super::fold::{CombinerFold, Fold, combine};
use super::partitions::Partitions;
use super::run_writer::{RunWriter, too_long};
use super::slots::{KeyWords, Slots};
use crate::api::{Combiner, Counters, Datum, Partitioner};

/// What a key counts for in the buffer, apart from the arena: its slot in a table that is half full, and
/// its entry in the sort.
const KEY_BYTES: usize = 80;

/// A key's place in the sort.
struct Entry {
    prefix: u64,
    partition: u32,
    slot: u32,
}

/// See the module.
pub(crate) struct CombineTable<'p, C: Combiner, P> {
    slots: Slots,
    fold: CombinerFold<C>,
    partitions: Partitions<'p, P>,
    key_scratch: Vec<u8>,
    value_scratch: Vec<u8>,
    bytes: u64,
    records: u64,
    written: u64,
}

impl<'p, C, P> CombineTable<'p, C, P>
where
    C: Combiner + 'static,
    P: Partitioner<C::Key>,
{
    /// An empty table.
    pub(crate) fn new(combiner: C, partitions: Partitions<'p, P>) -> Self {
        Self {
            slots: Slots::new(),
            fold: CombinerFold::new(combiner),
            partitions,
            key_scratch: Vec::new(),
            value_scratch: Vec::new(),
            bytes: 0,
            records: 0,
            written: 0,
        }
    }

    #[inline]
    fn add_encoded(
        &mut self,
        key: <C::Key as Datum>::Ref<'_>,
        encoded: &[u8],
        value: <C::Value as Datum>::Ref<'_>,
    ) -> Result<(), Failure> {
        self.records += 1;
        self.bytes += (encoded.len() + self.length_of(value)) as u64;
        let words = KeyWords::of(encoded);
        let (slot, found) = self.slots.find(encoded, words);
        if !found {
            self.value_scratch.clear();
            C::Value::encode(value, &mut self.value_scratch);
            check_length(encoded.len() + self.value_scratch.len())?;
            self.slots.insert::<C::Value>(slot, encoded, words, &self.value_scratch);
            return Ok(());
        }
        let left = self.slots.value::<C::Value>(slot);
        let left = C::Value::decode(left).map_err(|error| failure::undecodable(error, "value"))?;
        combine(&mut self.fold.combiner, key, left, value, &mut self.value_scratch)?;
        check_length(encoded.len() + self.value_scratch.len())?;
        self.slots.replace::<C::Value>(slot, &self.value_scratch);
        Ok(())
    }

    /// Length of the value's encoding.
    #[inline]
    fn length_of(&mut self, value: <C::Value as Datum>::Ref<'_>) -> usize {
        if let Some(width) = C::Value::WIDTH {
            return width;
        }
        if let Some(encoded) = C::Value::borrowed(&value) {
            return encoded.len();
        }
        self.value_scratch.clear();
        C::Value::encode(value, &mut self.value_scratch);
        self.value_scratch.len()
    }
}

#[inline]
fn check_length(length: usize) -> Result<(), Failure> {
    // Half of the limit leaves room for the lengths before a record, and for a value to double.
    if length > BLOCK_BYTES_MAX as usize / 2 { Err(too_long(length)) } else { Ok(()) }
}

impl<C, P> Buffer<C::Key, C::Value> for CombineTable<'_, C, P>
where
    C: Combiner + 'static,
    P: Partitioner<C::Key>,
{
    #[inline]
    fn add(
        &mut self,
        key: <C::Key as Datum>::Ref<'_>,
        value: <C::Value as Datum>::Ref<'_>,
    ) -> Result<(), Failure> {
        if let Some(encoded) = C::Key::borrowed(&key) {
            return self.add_encoded(key, encoded, value);
        }
        let mut encoded = std::mem::take(&mut self.key_scratch);
        encoded.clear();
        C::Key::encode(key, &mut encoded);
        let added = self.add_encoded(key, &encoded, value);
        self.key_scratch = encoded;
        added
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.slots.arena_bytes() + self.slots.len() * KEY_BYTES
    }

    fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    fn write_sorted(&mut self, writer: &mut RunWriter) -> Result<(), Failure> {
        let slots = &self.slots;
        let mut sorted = Vec::with_capacity(slots.len());
        for slot in slots.taken() {
            let mut inline = [0; _];
            let encoded = slots.key(slot, &mut inline);
            let key = C::Key::decode(encoded).map_err(|e| failure::undecodable(e, "key"))?;
            let partition = self.partitions.of::<C::Key>(key, encoded)?;
            sorted.push(Entry { prefix: slots.prefix(slot), partition, slot });
        }
        sorted.sort_unstable_by(|a, b| {
            let by_prefix = (a.partition, a.prefix).cmp(&(b.partition, b.prefix));
            by_prefix.then_with(|| slots.compare(a.slot, b.slot))
        });
        self.written += sorted.len() as u64;
        sorted.iter().try_for_each(|Entry { partition, slot, .. }| {
            let mut inline = [0; _];
            let key = slots.key(*slot, &mut inline);
            writer.record(*partition, key, slots.value::<C::Value>(*slot))
        })
    }

    fn clear(&mut self) {
        self.slots.clear();
    }

    fn count(&self, counters: &mut Counters) {
        counters.add_own("MAP_OUTPUT_BYTES", self.bytes);
        counters.add_own("COMBINE_INPUT_RECORDS", self.records);
        counters.add_own("COMBINE_OUTPUT_RECORDS", self.written);
    }

    fn fold(&mut self) -> Option<&mut (dyn Fold + 'static)> {
        Some(&mut self.fold)
    }
}
