//! A map whose keys are ids given out in sequence. It costs little more than its values, however
//! many there are, and what is removed leaves next to nothing behind. It knows nothing of its
//! values.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use chunkstore_protocol::{ChunkId, FileId};
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ids of one page: the values are contiguous, and one bit for each id says whether it is present.
const PAGE_IDS: u64 = 256;
const WORD_BITS: u64 = 64;
const PAGE_WORDS: usize = (PAGE_IDS / WORD_BITS) as usize;
/// Pages of one block, which are contiguous: the map of blocks stays so small that searching it
/// does not miss the cache.
const BLOCK_PAGES: u64 = 64;

/// An id that is given out in sequence.
pub(crate) trait Sequential: Copy {
    /// Its position in the sequence.
    fn position(self) -> u64;
    /// The id at a position.
    fn at(position: u64) -> Self;
}

impl Sequential for FileId {
    fn position(self) -> u64 {
        self.0
    }

    fn at(position: u64) -> Self {
        Self(position)
    }
}

impl Sequential for ChunkId {
    fn position(self) -> u64 {
        self.0
    }

    fn at(position: u64) -> Self {
        Self(position)
    }
}

/// Values by id. Serialised as the sequence of its pairs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Paged<K, V> {
    /// No block is empty.
    blocks: BTreeMap<u64, Block<V>>,
    n_values: usize,
    keys: PhantomData<K>,
}

#[derive(Clone, PartialEq, Eq)]
struct Block<V> {
    pages: Box<[Page<V>]>,
    n_values: usize,
}

impl<V> Block<V> {
    fn empty() -> Self {
        Self { pages: (0..BLOCK_PAGES).map(|_| Page::EMPTY).collect(), n_values: 0 }
    }
}

/// The place of an id: its block, its page in the block, and its offset in the page.
fn place(position: u64) -> (u64, usize, u64) {
    let page = position / PAGE_IDS;
    (page / BLOCK_PAGES, index(page % BLOCK_PAGES), position % PAGE_IDS)
}

#[derive(Clone, PartialEq, Eq)]
struct Page<V> {
    present: [u64; PAGE_WORDS],
    values: Vec<V>,
}

impl<V> Page<V> {
    const EMPTY: Self = Self { present: [0; PAGE_WORDS], values: Vec::new() };

    /// The index of the value of the id at `offset`; an error with the index where it would be, if
    /// there is none.
    fn rank(&self, offset: u64) -> Result<usize, usize> {
        let (word, bit) = (index(offset / WORD_BITS), offset % WORD_BITS);
        let before: u32 = self.present[..word].iter().map(|bits| bits.count_ones()).sum();
        let below = self.present[word] & ((1 << bit) - 1);
        let rank = (before + below.count_ones()) as usize;
        if self.present[word] >> bit & 1 == 1 { Ok(rank) } else { Err(rank) }
    }

    fn flip(&mut self, offset: u64) {
        self.present[index(offset / WORD_BITS)] ^= 1 << (offset % WORD_BITS);
    }

    fn offsets(&self) -> impl Iterator<Item = u64> {
        (0..PAGE_WORDS as u64).map(|word| word * WORD_BITS).zip(self.present).flat_map(
            |(first, mut bits)| {
                std::iter::from_fn(move || {
                    let next = (bits != 0).then(|| first + u64::from(bits.trailing_zeros()));
                    bits &= bits.saturating_sub(1);
                    next
                })
            },
        )
    }
}

fn index(small: u64) -> usize {
    usize::try_from(small).expect("a position within a page")
}

impl<K, V> Default for Paged<K, V> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), n_values: 0, keys: PhantomData }
    }
}

impl<K: Sequential, V> Paged<K, V> {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.n_values
    }

    /// The value of an id.
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let (block, page, offset) = place(key.position());
        let page = &self.blocks.get(&block)?.pages[page];
        page.values.get(page.rank(offset).ok()?)
    }

    /// Like [`Self::get`], for changes.
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (block, page, offset) = place(key.position());
        let page = &mut self.blocks.get_mut(&block)?.pages[page];
        let rank = page.rank(offset).ok()?;
        page.values.get_mut(rank)
    }

    /// Sets the value of an id; returns the old one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (block, page, offset) = place(key.position());
        let block = self.blocks.entry(block).or_insert_with(Block::empty);
        let page = &mut block.pages[page];
        match page.rank(offset) {
            Ok(rank) => Some(std::mem::replace(&mut page.values[rank], value)),
            Err(rank) => {
                page.values.insert(rank, value);
                page.flip(offset);
                block.n_values += 1;
                self.n_values += 1;
                None
            }
        }
    }

    /// The value of an id, created if there is none.
    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if self.get(key).is_none() {
            self.insert(key, V::default());
        }
        self.get_mut(key).expect("it was there or has just been made")
    }

    /// Removes the value of an id.
    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let (number, page, offset) = place(key.position());
        let block = self.blocks.get_mut(&number)?;
        let page = &mut block.pages[page];
        let value = page.values.remove(page.rank(offset).ok()?);
        page.flip(offset);
        if page.values.len() * 4 < page.values.capacity() {
            page.values.shrink_to(page.values.len() * 2);
        }
        block.n_values -= 1;
        self.n_values -= 1;
        if block.n_values == 0 {
            self.blocks.remove(&number);
        }
        Some(value)
    }

    /// All pairs, by ascending ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.iter_from(K::at(0))
    }

    /// The pairs from an id on, by ascending ids.
    pub(crate) fn iter_from(&self, first: K) -> impl Iterator<Item = (K, &V)> {
        let first = first.position();
        let (first_block, first_page, _) = place(first);
        let blocks = self.blocks.range(first_block..);
        let pairs = blocks.flat_map(move |(&block, Block { pages, .. })| {
            let skipped = if block == first_block { first_page } else { 0 };
            let numbered = (block * BLOCK_PAGES..).zip(pages).skip(skipped);
            let filled = numbered.filter(|(_, page)| !page.values.is_empty());
            filled.flat_map(|(number, page)| {
                let ids = page.offsets().map(move |offset| number * PAGE_IDS + offset);
                ids.zip(&page.values)
            })
        });
        pairs.skip_while(move |(id, _)| *id < first).map(|(id, value)| (K::at(id), value))
    }
}

impl<K: Sequential + fmt::Debug, V: fmt::Debug> fmt::Debug for Paged<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Sequential + Serialize, V: Serialize> Serialize for Paged<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.n_values))?;
        for pair in self.iter() {
            pairs.serialize_element(&pair)?;
        }
        pairs.end()
    }
}

impl<'de, K: Sequential + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Paged<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Sequential + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Pairs<K, V> {
            type Value = Paged<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pairs of an id and its value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut paged = Paged::default();
                while let Some((key, value)) = pairs.next_element()? {
                    paged.insert(key, value);
                }
                Ok(paged)
            }
        }

        deserializer.deserialize_seq(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ids cluster around the edges of words, pages and blocks.
        #[test]
        fn it_is_the_map_that_it_stands_for(
            steps in prop::collection::vec((any::<bool>(), 0_u64..700, any::<u8>()), 0..400)
        ) {
            let mut paged: Paged<FileId, u8> = Paged::default();
            let mut model = BTreeMap::new();
            for (put, id, value) in steps {
                let id = if id % 4 == 3 { 16_200 + id } else { id * 3 / 2 };
                match put {
                    true => prop_assert_eq!(paged.insert(FileId(id), value), model.insert(id, value)),
                    false => prop_assert_eq!(paged.remove(FileId(id)), model.remove(&id)),
                }
                prop_assert_eq!(paged.get(FileId(id)), model.get(&id));
                prop_assert_eq!(paged.len(), model.len());
            }
            let pairs: Vec<_> = paged.iter().map(|(id, value)| (id.0, *value)).collect();
            prop_assert_eq!(pairs, model.iter().map(|(id, value)| (*id, *value)).collect::<Vec<_>>());
            for first in [0, 5, 63, 64, 255, 256, 257, 900, 2000, 16_300, 16_384, 16_400, 20_000] {
                let rest = paged.iter_from(FileId(first)).map(|(id, _)| id.0);
                prop_assert!(rest.eq(model.range(first..).map(|(id, _)| *id)));
            }
        }
    }

    #[test]
    fn what_is_removed_leaves_no_page() {
        let mut paged: Paged<ChunkId, u8> = Paged::default();
        for id in 0..10_000 {
            paged.insert(ChunkId(id), 1);
        }
        for id in (0..10_000).filter(|id| id % 1000 != 7) {
            paged.remove(ChunkId(id));
        }
        assert_eq!((paged.len(), paged.blocks.len()), (10, 1));
        let pages = || paged.blocks.values().flat_map(|block| &block.pages);
        assert_eq!(pages().filter(|page| page.values.capacity() > 0).count(), 10);
        assert!(pages().all(|page| page.values.capacity() <= 4));
        for id in 0..10_000 {
            paged.remove(ChunkId(id));
        }
        assert!(paged.blocks.is_empty());
    }
}
