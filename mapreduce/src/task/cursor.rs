//! Reading one sorted run, record by record.

use std::ops::Range;

use bytes::Bytes;
use mapreduce_protocol::Failure;

use super::source::Source;

/// A place in a run: one record, or the end.
pub(crate) struct Cursor {
    source: Source,
    block: Bytes,
    /// Where the next record begins in `block`.
    next: usize,
    key: Range<usize>,
    value: Range<usize>,
    /// The key's first eight bytes as a big-endian number, zeros behind a shorter one.
    prefix: u64,
    done: bool,
}

impl Cursor {
    /// Stands on the first record of the run.
    pub(crate) fn new(source: Source) -> Result<Self, Failure> {
        let mut cursor = Self {
            source,
            block: Bytes::new(),
            next: 0,
            key: 0..0,
            value: 0..0,
            prefix: 0,
            done: false,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Steps to the next record, or to the end.
    pub(crate) fn advance(&mut self) -> Result<(), Failure> {
        while self.next == self.block.len() {
            match self.source.next_block()? {
                Some(block) => (self.block, self.next) = (block, 0),
                None => {
                    self.done = true;
                    return Ok(());
                }
            }
        }
        self.parse().ok_or_else(|| self.source.malformed())
    }

    fn parse(&mut self) -> Option<()> {
        let mut at = self.next;
        let key_length = read_varint(&self.block, &mut at)?;
        let value_length = read_varint(&self.block, &mut at)?;
        let key_end = at.checked_add(key_length)?;
        let value_end = key_end.checked_add(value_length)?;
        self.prefix = key_prefix(self.block.get(at..key_end)?);
        self.block.get(key_end..value_end)?;
        (self.key, self.value, self.next) = (at..key_end, key_end..value_end, value_end);
        Some(())
    }

    /// Whether all records are passed.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The record's key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.block[self.key.clone()]
    }

    /// The record's value.
    pub(crate) fn value(&self) -> &[u8] {
        &self.block[self.value.clone()]
    }

    /// Bytes that were read of the run's end, for progress.
    pub(crate) fn remaining(&self) -> u64 {
        self.source.remaining()
    }

    /// Whether this record comes before the other by key alone; `None` if the keys are equal. An ended run
    /// comes after all.
    #[inline]
    pub(crate) fn precedes(&self, other: &Self) -> Option<bool> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = (self.done, self.prefix)
            .cmp(&(other.done, other.prefix))
            .then_with(|| if self.done { Equal } else { self.key().cmp(other.key()) });
        match order {
            Less => Some(true),
            Greater => Some(false),
            Equal => None,
        }
    }
}

#[inline]
fn read_varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number as usize);
        }
    }
    None
}

/// The first eight bytes as a big-endian number: comparing prefixes decides most comparisons of keys.
#[inline]
pub(crate) fn key_prefix(key: &[u8]) -> u64 {
    if let Some(eight) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    // Two reads that may overlap instead of a loop over the bytes.
    match key.len() {
        0 => 0,
        n @ 4.. => {
            let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) else {
                return 0;
            };
            let high = u64::from(u32::from_be_bytes(*first)) << 32;
            let low = u64::from(u32::from_be_bytes(*last)) << (64 - 8 * n);
            high | low
        }
        n => {
            let (first, middle, last) = (key[0], key[n / 2], key[n - 1]);
            u64::from(first) << 56
                | u64::from(middle) << (56 - 8 * (n / 2))
                | u64::from(last) << (64 - 8 * n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_first_eight_bytes_with_zeros_behind() {
        for n in 0..12_u8 {
            let key: Vec<u8> = (1..=n).map(|i| i * 17).collect();
            let mut eight = [0; 8];
            for (to, from) in eight.iter_mut().zip(&key) {
                *to = *from;
            }
            assert_eq!(key_prefix(&key), u64::from_be_bytes(eight), "{n} bytes");
        }
    }
}
