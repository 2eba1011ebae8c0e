//! The buffer of jobs with a combiner: a hash table that folds each value into its key's as it comes.
//!
//! Keys of at most eight bytes stand whole in their slot, longer ones in the arena. So do values whose
//! type has a fixed width of at most eight bytes: counting a short word touches one slot and nothing else.

use hashbrown::HashTable;
use mapreduce_protocol::Failure;
use mapreduce_protocol::map_output::BLOCK_BYTES_MAX;
use xxhash_rust::xxh3::xxh3_64;

use super::collector::Buffer;
use super::cursor::key_prefix;
use super::failure;
use super::fold::{CombinerFold, Fold, combine};
use super::partitions::Partitions;
use super::run_writer::{RunWriter, too_long};
use super::sort_buffer::narrow;
use crate::api::{Combiner, Counters, Datum, Partitioner};

/// Bytes of a key or value that fit a slot.
const INLINE: usize = 8;

/// Bytes of the capacity in front of a value in the arena.
const CAPACITY_BYTES: usize = 4;

/// What a slot counts for in the buffer: itself, its share of free slots and control bytes, and its
/// entry in the sort.
const SLOT_BYTES: usize = 72;

/// One key and what its values were folded to.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// First eight bytes of the key, big-endian, zeros behind a shorter one.
    prefix: u64,
    /// The value, or where it is.
    value: [u8; INLINE],
    /// Where a key of more than eight bytes stands.
    key_at: u32,
    key_length: u32,
}

/// A value's place in the arena, as kept in a slot.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    length: u32,
}

/// See the module.
pub(crate) struct CombineTable<'p, C: Combiner, P> {
    slots: HashTable<Slot>,
    arena: Vec<u8>,
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
            slots: HashTable::new(),
            arena: Vec::new(),
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
        let prefix = key_prefix(encoded);
        let hash = hash(encoded, prefix);
        let arena = &self.arena;
        let found = self.slots.find_mut(hash, |slot| slot.holds(prefix, encoded, arena));
        let Some(slot) = found else {
            return self.insert(hash, prefix, encoded, value);
        };
        let left = slot.value::<C::Value>(&self.arena);
        let left = C::Value::decode(left).map_err(|error| failure::undecodable(error, "value"))?;
        combine(&mut self.fold.combiner, key, left, value, &mut self.value_scratch)?;
        slot.replace::<C::Value>(&self.value_scratch, &mut self.arena)
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

    fn insert(
        &mut self,
        hash: u64,
        prefix: u64,
        key: &[u8],
        value: <C::Value as Datum>::Ref<'_>,
    ) -> Result<(), Failure> {
        self.value_scratch.clear();
        C::Value::encode(value, &mut self.value_scratch);
        check_length(key.len() + self.value_scratch.len())?;
        let key_at = self.arena.len();
        if key.len() > INLINE {
            self.arena.extend_from_slice(key);
        }
        let (key_at, key_length) = (narrow(key_at), narrow(key.len()));
        let mut slot = Slot { prefix, value: [0; INLINE], key_at, key_length };
        slot.place::<C::Value>(&self.value_scratch, 0, &mut self.arena);
        let arena = &self.arena;
        self.slots.insert_unique(hash, slot, |slot| slot.hash(arena));
        Ok(())
    }
}

impl Slot {
    /// The key; `inline` is where one of at most eight bytes is unpacked to.
    #[inline]
    fn key<'a>(&self, inline: &'a mut [u8; INLINE], arena: &'a [u8]) -> &'a [u8] {
        let length = self.key_length as usize;
        if length <= INLINE {
            *inline = self.prefix.to_be_bytes();
            &inline[..length]
        } else {
            &arena[self.key_at as usize..][..length]
        }
    }

    #[inline]
    fn holds(&self, prefix: u64, key: &[u8], arena: &[u8]) -> bool {
        let same_start = self.prefix == prefix && self.key_length as usize == key.len();
        let is_long = key.len() > INLINE;
        same_start && (!is_long || &arena[self.key_at as usize..][..key.len()] == key)
    }

    #[cold]
    fn hash(&self, arena: &[u8]) -> u64 {
        hash(self.key(&mut [0; INLINE], arena), self.prefix)
    }

    #[inline]
    fn value<'a, V: Datum>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match V::WIDTH {
            Some(width) if width <= INLINE => &self.value[..width],
            _ => {
                let Place { at, length } = Place::unpack(self.value);
                &arena[at as usize..][..length as usize]
            }
        }
    }

    /// Puts another value in place of the old one.
    #[inline]
    fn replace<V: Datum>(&mut self, value: &[u8], arena: &mut Vec<u8>) -> Result<(), Failure> {
        if let Some(slot) = inline_of::<V>(value) {
            self.value = slot;
            return Ok(());
        }
        check_length(self.key_length as usize + value.len())?;
        let Place { at, .. } = Place::unpack(self.value);
        let (capacity, room) = arena[at as usize - CAPACITY_BYTES..].split_at_mut(CAPACITY_BYTES);
        let capacity = capacity.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if value.len() <= capacity {
            room[..value.len()].copy_from_slice(value);
            self.value = Place { at, length: narrow(value.len()) }.pack();
        } else {
            // As much again: a value that grows with each fold moves only now and then.
            self.place::<V>(value, value.len(), arena);
        }
        Ok(())
    }

    /// Stores a value in the slot or at the end of the arena, with `spare` bytes to grow.
    fn place<V: Datum>(&mut self, value: &[u8], spare: usize, arena: &mut Vec<u8>) {
        if let Some(slot) = inline_of::<V>(value) {
            self.value = slot;
            return;
        }
        arena.extend_from_slice(&narrow(value.len() + spare).to_le_bytes());
        let place = Place { at: narrow(arena.len()), length: narrow(value.len()) };
        arena.extend_from_slice(value);
        arena.resize(arena.len() + spare, 0);
        self.value = place.pack();
    }
}

/// A value as it stands in a slot, if its type's values do.
#[inline]
fn inline_of<V: Datum>(value: &[u8]) -> Option<[u8; INLINE]> {
    let width = V::WIDTH.filter(|width| *width <= INLINE)?;
    if let Some(whole) = value.first_chunk::<INLINE>() {
        return Some(*whole);
    }
    let mut slot = [0; INLINE];
    slot[..width].copy_from_slice(&value[..width]);
    Some(slot)
}

impl Place {
    fn pack(self) -> [u8; INLINE] {
        (u64::from(self.at) << 32 | u64::from(self.length)).to_le_bytes()
    }

    fn unpack(packed: [u8; INLINE]) -> Self {
        let packed = u64::from_le_bytes(packed);
        Self { at: (packed >> 32) as u32, length: (packed & u64::from(u32::MAX)) as u32 }
    }
}

fn check_length(length: usize) -> Result<(), Failure> {
    // Half of the limit leaves room for the lengths before a record, and for a value to double.
    if length > BLOCK_BYTES_MAX as usize / 2 { Err(too_long(length)) } else { Ok(()) }
}

/// Places keys in the table; nothing else depends on it. A multiplication folded upon itself is enough
/// for the short keys that most are, and costs a fraction of a hash of bytes.
#[inline]
fn hash(key: &[u8], prefix: u64) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd1b5_4a32_d192_ed03;
    let length = key.len() as u64;
    if key.len() > 2 * INLINE {
        return xxh3_64(key);
    }
    let last = key.last_chunk::<INLINE>().map_or(0, |last| u64::from_le_bytes(*last));
    let product = u128::from(prefix ^ A) * u128::from(last ^ B.wrapping_mul(length + 1));
    (product as u64) ^ (product >> 64) as u64
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
        self.arena.len() + self.slots.len() * SLOT_BYTES
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn write_sorted(&mut self, writer: &mut RunWriter) -> Result<(), Failure> {
        let arena = &self.arena;
        let mut sorted = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let mut inline = [0; INLINE];
            let encoded = slot.key(&mut inline, arena);
            let key = C::Key::decode(encoded).map_err(|e| failure::undecodable(e, "key"))?;
            sorted.push((self.partitions.of::<C::Key>(key, encoded)?, *slot));
        }
        sorted.sort_unstable_by(|(partition, a), (other, b)| {
            let by_prefix = (partition, a.prefix).cmp(&(other, b.prefix));
            by_prefix
                .then_with(|| a.key(&mut [0; INLINE], arena).cmp(b.key(&mut [0; INLINE], arena)))
        });
        self.written += sorted.len() as u64;
        for (partition, slot) in &sorted {
            let mut inline = [0; INLINE];
            let key = slot.key(&mut inline, arena);
            writer.record(*partition, key, slot.value::<C::Value>(arena))?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.arena.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_trailing_zeros_only_stay_apart() {
        let hash_of = |key: &[u8]| hash(key, key_prefix(key));
        assert_ne!(hash_of(b"a"), hash_of(b"a\0"));
        let slot = Slot { prefix: key_prefix(b"a"), value: [0; 8], key_at: 0, key_length: 1 };
        assert!(slot.holds(key_prefix(b"a"), b"a", &[]));
        assert!(!slot.holds(key_prefix(b"a\0"), b"a\0", &[]));
    }

    #[test]
    fn a_value_that_grows_moves_and_one_that_shrinks_stays() {
        let mut arena = Vec::new();
        let mut slot = Slot { prefix: 0, value: [0; 8], key_at: 0, key_length: 0 };
        slot.place::<crate::Bytes>(b"0123", 0, &mut arena);
        for (value, moves) in [(&b"ab"[..], false), (b"abcd", false), (b"abcdefgh", true)] {
            let before = arena.len();
            slot.replace::<crate::Bytes>(value, &mut arena).unwrap();
            assert_eq!(slot.value::<crate::Bytes>(&arena), value);
            assert_eq!(arena.len() > before, moves);
        }
        let before = arena.len();
        slot.replace::<crate::Bytes>(b"sixteen bytes ok", &mut arena).unwrap();
        assert_eq!(arena.len(), before, "the spare room takes it");
    }
}
