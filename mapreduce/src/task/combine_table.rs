//! The buffer of jobs with a combiner: a hash table (`slots.rs`) that folds each value into its key's as
//! it comes.

use mapreduce_protocol::Failure;

use super::collector::Buffer;
use super::failure;
use super::fold::{CombinerFold, Fold, combine};
use super::partitions::Partitions;
use super::run_writer::{PAIR_BYTES_MAX, RunWriter, too_long};
use super::slots::{KEY_INLINE, KeyWords, Slots, VALUE_INLINE, hash, inline_of};
use super::sort_buffer::narrow;
use crate::api::{Combiner, Counters, Datum, Partitioner};

/// A key's place in the sort.
struct Entry {
    prefix: u64,
    partition: u32,
    slot: u32,
}

/// Pairs that are under way at once: enough to hide a cache miss.
const PENDING: usize = 16;

/// A short key with a value of fixed width, whose slot is on its way into the cache.
#[derive(Clone, Copy)]
struct Pending {
    hash: u64,
    words: KeyWords,
    value: [u8; VALUE_INLINE],
    key_length: u32,
}

const NOTHING: Pending =
    Pending { hash: 0, words: KeyWords::EMPTY, value: [0; VALUE_INLINE], key_length: 0 };

/// See the module.
///
/// Most of what counting a word would cost is waiting for its slot to come from memory. So short pairs
/// first go to a ring while their slots are fetched, and are folded a few pairs later, in order.
pub(crate) struct CombineTable<'p, C: Combiner, P> {
    slots: Slots,
    ring: [Pending; PENDING],
    /// Pairs that ever went into the ring, and those that were folded since.
    entered: usize,
    left: usize,
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
    /// An empty table of at most `budget` bytes.
    pub(crate) fn new(combiner: C, partitions: Partitions<'p, P>, budget: usize) -> Self {
        Self {
            slots: Slots::new(budget),
            ring: [NOTHING; PENDING],
            entered: 0,
            left: 0,
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
        let hash = hash(encoded, words);
        let is_short = encoded.len() <= KEY_INLINE;
        if is_short && C::Value::WIDTH.is_some_and(|width| width <= VALUE_INLINE) {
            self.value_scratch.clear();
            C::Value::encode(value, &mut self.value_scratch);
            let value = inline_of::<C::Value>(&self.value_scratch).unwrap_or_default();
            self.slots.prefetch(hash);
            return self.enter(Pending { hash, words, value, key_length: narrow(encoded.len()) });
        }
        self.fold_pending()?;
        let (slot, found) = self.slots.find(hash, words, encoded);
        if !found {
            self.value_scratch.clear();
            C::Value::encode(value, &mut self.value_scratch);
            check_length(encoded.len() + self.value_scratch.len())?;
            self.slots.insert::<C::Value>(slot, encoded, words, &self.value_scratch);
            return Ok(());
        }
        self.fold_into(slot, key, encoded.len(), value)
    }

    /// Folds the oldest pair of a full ring, and puts this one in its place.
    #[inline]
    fn enter(&mut self, pending: Pending) -> Result<(), Failure> {
        let place = self.entered % PENDING;
        let oldest = self.ring[place];
        let is_full = self.entered - self.left == PENDING;
        self.ring[place] = pending;
        self.entered += 1;
        if !is_full {
            return Ok(());
        }
        self.left += 1;
        self.fold_one(oldest)
    }

    #[inline]
    fn fold_one(&mut self, pending: Pending) -> Result<(), Failure> {
        let Pending { hash, words, value, key_length } = pending;
        let key = words.bytes();
        let key = &key[..key_length as usize];
        let value = &value[..C::Value::WIDTH.unwrap_or(0)];
        let (slot, found) = self.slots.find_short(hash, words, key_length);
        if !found {
            self.slots.insert::<C::Value>(slot, key, words, value);
            return Ok(());
        }
        let key = C::Key::decode(key).map_err(|error| failure::undecodable(error, "key"))?;
        let value =
            C::Value::decode(value).map_err(|error| failure::undecodable(error, "value"))?;
        self.fold_into(slot, key, key_length as usize, value)
    }

    /// Empties the ring.
    fn fold_pending(&mut self) -> Result<(), Failure> {
        while self.left < self.entered {
            let oldest = self.ring[self.left % PENDING];
            self.left += 1;
            self.fold_one(oldest)?;
        }
        Ok(())
    }

    #[inline]
    fn fold_into(
        &mut self,
        slot: u32,
        key: <C::Key as Datum>::Ref<'_>,
        key_length: usize,
        value: <C::Value as Datum>::Ref<'_>,
    ) -> Result<(), Failure> {
        let left = self.slots.value::<C::Value>(slot);
        let left = C::Value::decode(left).map_err(|error| failure::undecodable(error, "value"))?;
        combine(&mut self.fold.combiner, key, left, value, &mut self.value_scratch)?;
        check_length(key_length + self.value_scratch.len())?;
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
    if length > PAIR_BYTES_MAX { Err(too_long(length)) } else { Ok(()) }
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
    fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    fn is_empty(&self) -> bool {
        self.slots.len() == 0 && self.entered == self.left
    }

    fn write_sorted(&mut self, writer: &mut RunWriter) -> Result<(), Failure> {
        self.fold_pending()?;
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
