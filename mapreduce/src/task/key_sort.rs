//! Sorts the entries of the sort buffer by partition and key. A key may lie anywhere in memory, and a look at it
//! costs more than the comparison of two numbers: so entries are sorted by eight bytes of their keys, which stand in
//! the entry, and only those that agree in them are given the next eight (a radix sort whose digits have 64 bits).
//! What keys have in common is no digit: of `customer-0000000017` and its like, the first eight bytes say nothing.

use super::cursor::key_prefix;

/// Bytes of a key that an entry has.
const PREFIX_BYTES: usize = size_of::<u64>();

/// Fewer entries with the same prefix are compared by the rest of their keys at once.
const FEW: usize = 24;

/// How often entries are given their next bytes; what still agrees then is compared.
const LOOKS_MAX: u32 = 16;

/// One pair in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Eight bytes of the key as a big-endian number, zeros behind a shorter one: at first those that it begins with.
    pub(super) prefix: u64,
    pub(super) partition: u32,
    /// Where the key stands in the arena, and right behind it the value.
    pub(super) offset: u32,
    pub(super) key_length: u32,
    pub(super) value_length: u32,
}

impl Entry {
    #[inline]
    pub(super) fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        &arena[self.offset as usize..][..self.key_length as usize]
    }

    #[inline]
    pub(super) fn value<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = self.offset as usize + self.key_length as usize;
        &arena[start..][..self.value_length as usize]
    }

    /// Partition and prefix as one number, which a comparison needs no branch for.
    #[inline]
    fn place(&self) -> u128 {
        u128::from(self.partition) << 64 | u128::from(self.prefix)
    }
}

/// Brings entries with their first prefixes into the order of partition, key and coming. Other prefixes may stand there
/// afterwards.
pub(super) fn sort(entries: &mut [Entry], arena: &[u8]) {
    sort_from(entries, arena, 0, LOOKS_MAX);
}

/// Sorts entries whose keys have at least `at` bytes, and agree in them.
fn sort_from(entries: &mut [Entry], arena: &[u8], at: usize, looks: u32) {
    let start = at + common(entries, arena, at);
    if start > 0 {
        for entry in &mut *entries {
            entry.prefix = key_prefix(&entry.key(arena)[start..]);
        }
    }
    entries.sort_unstable_by_key(Entry::place);
    for same in entries.chunk_by_mut(|a, b| a.place() == b.place()) {
        if same.len() > 1 {
            sort_same(same, arena, start + PREFIX_BYTES, looks);
        }
    }
}

/// Sorts entries of one partition whose keys agree up to `end`, zeros put behind those that are shorter.
fn sort_same(same: &mut [Entry], arena: &[u8], end: usize, looks: u32) {
    let goes_on = |entry: &Entry| entry.key_length as usize > end;
    let mut ended = 0;
    if !same.iter().all(goes_on) {
        // Of keys that end here the shorter one comes first, and equal ones come in the order of their coming, which is
        // that of offsets; what goes on is behind them. A pair of nothing takes no room: the next one has its offset, too.
        let length = |entry: &Entry| (entry.key_length as usize).min(end + 1);
        same.sort_unstable_by_key(|entry| (length(entry), entry.offset, entry.value_length));
        ended = same.partition_point(|entry| !goes_on(entry));
    }
    let rest = &mut same[ended..];
    if rest.len() < FEW || looks == 0 {
        rest.sort_unstable_by(|a, b| {
            let by_rest = a.key(arena)[end..].cmp(&b.key(arena)[end..]);
            by_rest.then_with(|| a.offset.cmp(&b.offset))
        });
    } else {
        sort_from(rest, arena, end, looks - 1);
    }
}

/// How many bytes behind `at` are the same in all keys.
fn common(entries: &[Entry], arena: &[u8], at: usize) -> usize {
    let Some((first, others)) = entries.split_first() else { return 0 };
    let mut common = &first.key(arena)[at..];
    for other in others {
        let other = &other.key(arena)[at..];
        if !other.starts_with(common) {
            let same = common.iter().zip(other).take_while(|(a, b)| a == b);
            common = &common[..same.count()];
        }
        if common.is_empty() {
            break;
        }
    }
    common.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts keys with their partitions; which of them, by number, comes at which place.
    fn sorted(pairs: &[(u32, Vec<u8>)]) -> Vec<usize> {
        let (mut arena, mut entries) = (Vec::new(), Vec::new());
        for (partition, key) in pairs {
            let (offset, key_length) = (arena.len() as u32, key.len() as u32);
            let prefix = key_prefix(key);
            // A value of a byte: no two offsets are the same.
            entries.push(Entry {
                prefix,
                partition: *partition,
                offset,
                key_length,
                value_length: 1,
            });
            arena.extend_from_slice(key);
            arena.push(0xee);
        }
        let offsets: Vec<u32> = entries.iter().map(|entry| entry.offset).collect();
        sort(&mut entries, &arena);
        for entry in &entries {
            assert_eq!(entry.value(&arena), [0xee]);
        }
        entries.iter().map(|entry| offsets.binary_search(&entry.offset).unwrap()).collect()
    }

    /// The same by a stable sort of whole keys.
    fn expected(pairs: &[(u32, Vec<u8>)]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|a, b| pairs[*a].cmp(&pairs[*b]));
        order
    }

    /// Keys that agree in much: few bytes, zeros among them, behind one of few beginnings.
    fn keys() -> impl Strategy<Value = Vec<(u32, Vec<u8>)>> {
        let starts = ["", "customer-", "customer-0000000000000000000000", "\0\0\0\0\0\0\0\0\0"];
        let start = (0..starts.len()).prop_map(move |n| starts[n].as_bytes().to_vec());
        let end =
            prop::collection::vec(prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(255)], 0..30);
        let key = (start, end).prop_map(|(start, end)| [start, end].concat());
        prop::collection::vec((0..3_u32, key), 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn keys_come_in_the_order_of_their_bytes_and_equal_ones_in_that_of_their_coming(pairs in keys()) {
            prop_assert_eq!(sorted(&pairs), expected(&pairs));
        }

        #[test]
        fn it_makes_no_difference_what_all_keys_begin_with(pairs in keys(), start in "[a-c]{0,20}") {
            let longer: Vec<_> =
                pairs.iter().map(|(n, key)| (*n, [start.as_bytes(), key].concat())).collect();
            prop_assert_eq!(sorted(&longer), expected(&longer));
        }
    }

    #[test]
    fn values_of_the_empty_key_keep_their_places_though_some_take_no_room() {
        let (mut arena, mut entries, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..2000_u32 {
            // Other keys among them: what is in order already is not moved.
            let random = n.wrapping_mul(0x9e37_79b9) >> 16;
            let key = if random % 5 < 3 { vec![] } else { vec![random as u8 | 1] };
            let value = if random % 3 == 0 { vec![] } else { n.to_be_bytes().to_vec() };
            entries.push(Entry {
                prefix: key_prefix(&key),
                partition: 0,
                offset: arena.len() as u32,
                key_length: key.len() as u32,
                value_length: value.len() as u32,
            });
            arena.extend_from_slice(&key);
            arena.extend_from_slice(&value);
            pairs.push((key, value));
        }
        sort(&mut entries, &arena);
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let pair = |entry: &Entry| (entry.key(&arena).to_vec(), entry.value(&arena).to_vec());
        assert_eq!(entries.iter().map(pair).collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn keys_that_agree_for_ever_are_sorted_too() {
        // Each is the start of all longer ones, so that each look sorts one out.
        let pairs: Vec<_> = (0..600).rev().map(|n| (0, vec![b'x'; 8 * n])).collect();
        assert_eq!(sorted(&pairs), expected(&pairs));
        let pairs: Vec<_> = (0..1000).map(|n| (n % 2, vec![b'x'; 5000])).collect();
        assert_eq!(sorted(&pairs), expected(&pairs));
    }
}
