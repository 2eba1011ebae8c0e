//! The hash table of `combine_table.rs`: encoded keys → encoded values.
//!
//! A slot is half a cache line and there is nothing beside it: finding a key of at most sixteen bytes costs
//! one miss at worst, where a table with control bytes costs two. That is most of what counting a word
//! costs. Longer keys stand in an arena; so do values, but for types of a fixed width of at most eight bytes.

use std::cmp::Ordering;

use xxhash_rust::xxh3::xxh3_64;

use super::cursor::key_prefix;
use super::huge;
use super::sort_buffer::narrow;
use crate::api::Datum;

/// Bytes of a key that stand in its slot.
pub(crate) const KEY_INLINE: usize = 16;

/// Bytes of a value that fit a slot.
pub(crate) const VALUE_INLINE: usize = 8;

/// Bytes of the capacity in front of a value in the arena.
const CAPACITY_BYTES: usize = 4;

/// Slots of an empty table, a power of two.
const SLOTS_MIN: usize = 1 << 10;

/// What each key takes where keys are sorted.
const SORTED_BYTES: usize = 16;

/// `key_length` of a slot that is free.
const FREE: u32 = u32::MAX;

/// A key as two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyWords {
    /// Its first eight bytes, big-endian, zeros behind a shorter key.
    first: u64,
    /// The next eight.
    second: u64,
}

impl KeyWords {
    /// Of the empty key.
    pub(crate) const EMPTY: Self = Self { first: 0, second: 0 };

    /// Of an encoded key.
    #[inline]
    pub(crate) fn of(key: &[u8]) -> Self {
        let second = if key.len() > 8 { key_prefix(&key[8..]) } else { 0 };
        Self { first: key_prefix(key), second }
    }

    /// The key's first sixteen bytes.
    #[inline]
    pub(crate) fn bytes(self) -> [u8; KEY_INLINE] {
        let mut bytes = [0; KEY_INLINE];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..].copy_from_slice(&self.second.to_be_bytes());
        bytes
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Slot {
    words: KeyWords,
    /// The value, or where it is.
    value: [u8; VALUE_INLINE],
    /// Where a key of more than sixteen bytes stands.
    key_at: u32,
    key_length: u32,
}

const FREE_SLOT: Slot =
    Slot { words: KeyWords::EMPTY, value: [0; VALUE_INLINE], key_at: 0, key_length: FREE };

/// A value's place in the arena, as kept in a slot.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    length: u32,
}

/// Open addressing with linear probing; keys are never removed one by one. A table that is half full grows to twice its length,
/// as long as there is memory for both; one that can't may become three quarters full.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    taken: usize,
    arena: Vec<u8>,
    budget: usize,
}

impl Slots {
    /// An empty table, for which there are `budget` bytes. (Room for long keys and values is reserved at once, so that they never
    /// move; the system gives pages only as they are touched.)
    pub(crate) fn new(budget: usize) -> Self {
        let (slots, arena) = (vec![FREE_SLOT; SLOTS_MIN], huge::reserve(budget));
        Self { slots, taken: 0, arena, budget }
    }

    /// Keys.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Whether it holds as much as it may. Depends on what was put into it alone.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let slots = match self.slots.len() {
            // A table that never grew counts for as much of it as its keys need.
            SLOTS_MIN => self.taken * 2,
            grown => grown,
        };
        let is_crowded = self.taken * 4 >= self.slots.len() * 3;
        is_crowded || self.beside_slots() + slots * size_of::<Slot>() >= self.budget
    }

    /// Bytes of long keys and values, and of what sorts the keys.
    #[inline]
    fn beside_slots(&self) -> usize {
        self.arena.len() + self.taken * SORTED_BYTES
    }

    /// Whether it may grow: the old slots and twice as many new ones are there at once.
    fn may_grow(&self) -> bool {
        let is_last_resort = self.taken * 8 >= self.slots.len() * 7;
        let both = 3 * self.slots.len() * size_of::<Slot>();
        is_last_resort || self.beside_slots() + both <= self.budget
    }

    /// Forgets all keys, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(FREE_SLOT);
        self.taken = 0;
        self.arena.clear();
    }

    /// Begins to bring the slots into the cache in which a key with this hash is looked for.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let slot: *const Slot = &raw const self.slots[hash as usize & (self.slots.len() - 1)];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that the program sees and faults at no address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(slot.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    /// The slot of a key that stands whole in its words, or the one where it is to be inserted.
    #[inline]
    pub(crate) fn find_short(&self, hash: u64, words: KeyWords, length: u32) -> (u32, bool) {
        self.probe(hash, |slot| slot.words == words && slot.key_length == length)
    }

    /// The slot of a key of any length, or the one where it is to be inserted.
    pub(crate) fn find(&self, hash: u64, words: KeyWords, key: &[u8]) -> (u32, bool) {
        if key.len() <= KEY_INLINE {
            return self.find_short(hash, words, narrow(key.len()));
        }
        self.probe(hash, |slot| {
            let same_start = slot.words == words && slot.key_length as usize == key.len();
            same_start && self.long_key(slot) == key
        })
    }

    #[inline]
    fn probe(&self, hash: u64, is_it: impl Fn(&Slot) -> bool) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.slots[at & mask];
            if is_it(slot) {
                return (at as u32, true);
            }
            if slot.key_length == FREE {
                return (at as u32, false);
            }
            at = (at + 1) & mask;
        }
    }

    /// Puts a new key into the free slot that [`Slots::find`] named.
    pub(crate) fn insert<V: Datum>(
        &mut self,
        slot: u32,
        key: &[u8],
        words: KeyWords,
        value: &[u8],
    ) {
        let key_at = narrow(self.arena.len());
        if key.len() > KEY_INLINE {
            self.arena.extend_from_slice(key);
        }
        let value = inline_of::<V>(value).unwrap_or_else(|| self.place(value, 0));
        let key_length = narrow(key.len());
        self.slots[slot as usize] = Slot { words, value, key_at, key_length };
        self.taken += 1;
        if self.taken * 2 > self.slots.len() && self.may_grow() {
            self.grow();
        }
    }

    /// The value of a key.
    #[inline]
    pub(crate) fn value<V: Datum>(&self, slot: u32) -> &[u8] {
        let slot = &self.slots[slot as usize];
        match V::WIDTH {
            Some(width) if width <= VALUE_INLINE => &slot.value[..width],
            _ => {
                let Place { at, length } = Place::unpack(slot.value);
                &self.arena[at as usize..][..length as usize]
            }
        }
    }

    /// Puts another value in place of a key's old one.
    #[inline]
    pub(crate) fn replace<V: Datum>(&mut self, slot: u32, value: &[u8]) {
        self.slots[slot as usize].value = match inline_of::<V>(value) {
            Some(inline) => inline,
            None => self.replace_in_arena(Place::unpack(self.slots[slot as usize].value), value),
        };
    }

    fn replace_in_arena(&mut self, old: Place, value: &[u8]) -> [u8; VALUE_INLINE] {
        let (capacity, room) =
            self.arena[old.at as usize - CAPACITY_BYTES..].split_at_mut(CAPACITY_BYTES);
        let capacity = capacity.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if value.len() <= capacity {
            room[..value.len()].copy_from_slice(value);
            return Place { at: old.at, length: narrow(value.len()) }.pack();
        }
        // As much again: a value that grows with each fold moves only now and then.
        self.place(value, value.len())
    }

    /// Stores a value at the end of the arena, with `spare` bytes to grow.
    fn place(&mut self, value: &[u8], spare: usize) -> [u8; VALUE_INLINE] {
        self.arena.extend_from_slice(&narrow(value.len() + spare).to_le_bytes());
        let place = Place { at: narrow(self.arena.len()), length: narrow(value.len()) };
        self.arena.extend_from_slice(value);
        self.arena.resize(self.arena.len() + spare, 0);
        place.pack()
    }

    /// All keys' slots, in no order that means anything.
    pub(crate) fn taken(&self) -> impl Iterator<Item = u32> {
        let taken = |(at, slot): (u32, &Slot)| (slot.key_length != FREE).then_some(at);
        (0..).zip(&self.slots).filter_map(taken)
    }

    /// A key; `inline` is where one of at most sixteen bytes is unpacked to.
    #[inline]
    pub(crate) fn key<'a>(&'a self, slot: u32, inline: &'a mut [u8; KEY_INLINE]) -> &'a [u8] {
        self.key_of(&self.slots[slot as usize], inline)
    }

    /// A key's first eight bytes.
    pub(crate) fn prefix(&self, slot: u32) -> u64 {
        self.slots[slot as usize].words.first
    }

    /// The order of two keys with the same first eight bytes.
    pub(crate) fn compare(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.slots[a as usize], &self.slots[b as usize]);
        let by_words = a.words.second.cmp(&b.words.second);
        by_words.then_with(|| {
            let (mut a_inline, mut b_inline) = ([0; KEY_INLINE], [0; KEY_INLINE]);
            self.key_of(a, &mut a_inline).cmp(self.key_of(b, &mut b_inline))
        })
    }

    fn key_of<'a>(&'a self, slot: &Slot, inline: &'a mut [u8; KEY_INLINE]) -> &'a [u8] {
        let length = slot.key_length as usize;
        if length > KEY_INLINE {
            return self.long_key(slot);
        }
        *inline = slot.words.bytes();
        &inline[..length]
    }

    fn long_key(&self, slot: &Slot) -> &[u8] {
        &self.arena[slot.key_at as usize..][..slot.key_length as usize]
    }

    #[cold]
    fn grow(&mut self) {
        let twice = vec![FREE_SLOT; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, twice);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.key_length != FREE) {
            let mut inline = [0; KEY_INLINE];
            let mut at = hash(self.key_of(&slot, &mut inline), slot.words) as usize & mask;
            while self.slots[at].key_length != FREE {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }
}

/// A value as it stands in a slot, if its type's values do.
#[inline]
pub(crate) fn inline_of<V: Datum>(value: &[u8]) -> Option<[u8; VALUE_INLINE]> {
    let width = V::WIDTH.filter(|width| *width <= VALUE_INLINE)?;
    if let Some(whole) = value.first_chunk::<VALUE_INLINE>() {
        return Some(*whole);
    }
    let mut slot = [0; VALUE_INLINE];
    slot[..width].copy_from_slice(&value[..width]);
    Some(slot)
}

impl Place {
    fn pack(self) -> [u8; VALUE_INLINE] {
        (u64::from(self.at) << 32 | u64::from(self.length)).to_le_bytes()
    }

    fn unpack(packed: [u8; VALUE_INLINE]) -> Self {
        let packed = u64::from_le_bytes(packed);
        Self { at: (packed >> 32) as u32, length: (packed & u64::from(u32::MAX)) as u32 }
    }
}

/// Places keys in the table; nothing else depends on it. A multiplication folded upon itself is enough
/// for the short keys that most are, and costs a fraction of a hash of bytes.
#[inline]
pub(crate) fn hash(key: &[u8], words: KeyWords) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd1b5_4a32_d192_ed03;
    if key.len() > KEY_INLINE {
        return xxh3_64(key);
    }
    let second = words.second ^ B.wrapping_mul(key.len() as u64 + 1);
    let product = u128::from(words.first ^ A) * u128::from(second);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;

    fn find(slots: &Slots, key: &[u8]) -> (u32, bool) {
        let words = KeyWords::of(key);
        slots.find(hash(key, words), words, key)
    }

    fn put(slots: &mut Slots, key: &[u8], value: &[u8]) {
        let (slot, found) = find(slots, key);
        assert!(!found);
        slots.insert::<Bytes>(slot, key, KeyWords::of(key), value);
    }

    #[test]
    fn keys_of_all_lengths_are_found_again_and_no_others() {
        let mut slots = Slots::new(10 << 20);
        let keys: Vec<Vec<u8>> = (0..5000_u32)
            .map(|n| {
                let length = n as usize % 40;
                (0..length).map(|at| (n >> (at % 4 * 8)) as u8 ^ (at / 4) as u8).collect()
            })
            .collect();
        let mut distinct = std::collections::BTreeSet::new();
        for key in &keys {
            if distinct.insert(key.clone()) {
                put(&mut slots, key, &[key.as_slice(), b"!"].concat());
            }
        }
        assert_eq!(slots.len(), distinct.len());
        for key in &distinct {
            let (slot, found) = find(&slots, key);
            assert!(found);
            assert_eq!(slots.key(slot, &mut [0; KEY_INLINE]), key);
            assert_eq!(slots.value::<Bytes>(slot), [key.as_slice(), b"!"].concat());
            let longer = [key.as_slice(), b"\0"].concat();
            assert_eq!(find(&slots, &longer).1, distinct.contains(&longer));
        }
        assert_eq!(slots.taken().count(), distinct.len());
        slots.clear();
        assert_eq!((slots.len(), slots.taken().count()), (0, 0));
    }

    #[test]
    fn a_value_that_grows_moves_and_one_that_shrinks_stays() {
        let mut slots = Slots::new(1 << 20);
        put(&mut slots, b"key", b"0123");
        let slot = find(&slots, b"key").0;
        for (value, moves) in [
            (&b"ab"[..], false),
            (b"abcd", false),
            (b"abcdefgh", true),
            (b"the spare room ok", true),
            (b"twice the last length is free here", false),
        ] {
            let before = slots.arena.len();
            slots.replace::<Bytes>(slot, value);
            assert_eq!(slots.value::<Bytes>(slot), value);
            assert_eq!(slots.arena.len() > before, moves, "{value:?}");
        }
    }

    /// Puts numbers into a table until it is full; how many, and the memory that was taken at most.
    fn filled(slots: &mut Slots, value: &[u8]) -> (u64, usize) {
        let (mut n, mut most) = (0_u64, 0);
        while !slots.is_full() {
            let before = slots.slots.len();
            put(slots, &n.to_be_bytes(), value);
            n += 1;
            let grown = if slots.slots.len() > before { before } else { 0 };
            let taken = (grown + slots.slots.len()) * size_of::<Slot>() + slots.beside_slots();
            most = most.max(taken);
        }
        (n, most)
    }

    #[test]
    fn a_full_table_has_kept_within_its_memory_while_it_grew() {
        for budget in [1 << 17, 1 << 20, 3_000_000, 1 << 22, 5_000_000] {
            for value in [&b""[..], b"a value of some length"] {
                let mut slots = Slots::new(budget);
                let (n, most) = filled(&mut slots, value);
                // The last pair may go beyond.
                let pair = 8 + CAPACITY_BYTES + value.len() + SORTED_BYTES;
                assert!(most <= budget + pair, "{most} of {budget}");
                assert!(most >= budget / 2, "{most} of {budget}: it makes use of it");
                slots.clear();
                let again = filled(&mut slots, value);
                assert!(again.0 <= n && again.0 * 3 >= n && again.1 <= budget + pair, "{again:?}");
                slots.clear();
                assert_eq!(filled(&mut slots, value), again, "and the same each time");
            }
        }
        // Less than an empty table takes: what its keys need counts.
        let (n, _) = filled(&mut Slots::new(800), b"");
        assert_eq!(n, 800 / (64 + 16 + 4) + 1);
    }
}
