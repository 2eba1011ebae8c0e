//! The order of keys, and which reduce they go to, where the job says so (Hadoop: `KeyFieldBasedComparator`,
//! `KeyFieldBasedPartitioner`).
//!
//! Sort buffer, spills and merges compare bytes, and go on doing so: a key is stored behind its sort key, an encoding
//! whose bytes have the order that the job asks for. Its parts end where they end for a comparison, too:
//!
//! ```text
//! text       bytes (00 → 00 ff), 00 00
//! number     00 missing | 01 negative, the rest inverted | 02 zero | 03 positive, n, n digits, decimals, 00
//! reversed   the same, all bits inverted
//! ```
//!
//! What is equal by its sort key is ordered by the whole key, so that equal keys stay beside one another.

use std::ops::Range;

use mapreduce_protocol::Streaming;
use mapreduce_protocol::streaming::{KeyFields, KeyPart, Place};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::api::{Bytes, Partitioner};

const MISSING: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;

/// Bytes of the number of digits in front of the point.
const LENGTH_BYTES: usize = 4;

/// See the module.
pub(super) struct Keys {
    sort: Option<KeyFields>,
    partition: Option<KeyFields>,
    separator: Vec<u8>,
}

impl Keys {
    /// As the job says, which was validated.
    pub(super) fn of(about: &Streaming) -> Self {
        let parse = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        let separator = about.key_separator.as_deref().unwrap_or("\t").as_bytes().to_vec();
        Self { sort: parse(&about.sort), partition: parse(&about.partition), separator }
    }

    /// The form in which a key is stored; `scratch` is where it is made.
    #[inline]
    pub(super) fn stored<'a>(&self, key: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(fields) = &self.sort else { return key };
        scratch.clear();
        for part in &fields.parts {
            let at = scratch.len();
            let range = range_of(part, key, &self.separator);
            match part.numeric {
                true => encode_number(range.map(|range| &key[range]), scratch),
                false => encode_text(&key[range.unwrap_or(0..0)], scratch),
            }
            if part.reverse {
                invert(&mut scratch[at..]);
            }
        }
        scratch.extend_from_slice(key);
        scratch
    }

    /// The key of a stored one.
    #[inline]
    pub(super) fn key<'a>(&self, stored: &'a [u8]) -> &'a [u8] {
        let Some(fields) = &self.sort else { return stored };
        let parts = fields.parts.iter();
        parts.fold(stored, |rest, part| behind(part, rest).unwrap_or_default())
    }
}

impl Partitioner<Bytes> for Keys {
    #[inline]
    fn partition(&self, _: &[u8], encoded: &[u8], n_partitions: u32) -> u32 {
        let key = self.key(encoded);
        let hash = match &self.partition {
            None => xxh3_64(key),
            Some(fields) => {
                let mut hash = Xxh3::new();
                for range in fields.parts.iter().filter_map(|it| range_of(it, key, &self.separator))
                {
                    hash.update(&key[range]);
                    hash.update(&[0]);
                }
                hash.digest()
            }
        };
        let remainder = hash % u64::from(n_partitions.max(1));
        u32::try_from(remainder).expect("a remainder is below its 32-bit divisor")
    }
}

/// Where a part of a key lies; `None` if the key has no such field.
fn range_of(part: &KeyPart, key: &[u8], separator: &[u8]) -> Option<Range<usize>> {
    let first = field(key, separator, part.first.field)?;
    let start = (first.start + part.first.byte as usize - 1).min(first.end);
    let Some(Place { field: number, byte }) = part.last else { return Some(start..key.len()) };
    let end = match field(key, separator, number) {
        None => key.len(),
        Some(last) if byte == 0 => last.end,
        Some(last) => (last.start + byte as usize).min(last.end),
    };
    Some(start..end.max(start))
}

/// The field of that number, from 1.
fn field(key: &[u8], separator: &[u8], number: u32) -> Option<Range<usize>> {
    let find = |from: usize| match separator {
        [byte] => memchr::memchr(*byte, &key[from..]).map(|at| from + at),
        _ => memchr::memmem::find(&key[from..], separator).map(|at| from + at),
    };
    let mut start = 0;
    for _ in 1..number {
        start = find(start)? + separator.len();
    }
    Some(start..find(start).unwrap_or(key.len()))
}

fn invert(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    for (n, piece) in text.split(|byte| *byte == 0).enumerate() {
        if n > 0 {
            out.extend_from_slice(&[0, 0xff]);
        }
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&[0, 0]);
}

/// As sort(1) reads numbers: blanks, a minus sign, digits, a point, digits; what follows does not count.
fn encode_number(text: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(text) = text else { return out.push(MISSING) };
    let text = text.trim_ascii_start();
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        text => (false, text),
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits(text));
    let decimals = match rest {
        [b'.', rest @ ..] => &rest[..digits(rest)],
        _ => &[],
    };
    let zeros = whole.iter().take_while(|byte| **byte == b'0').count();
    let whole = &whole[zeros..];
    let zeros = decimals.iter().rev().take_while(|byte| **byte == b'0').count();
    let decimals = &decimals[..decimals.len() - zeros];
    if whole.is_empty() && decimals.is_empty() {
        return out.push(ZERO);
    }
    out.push(if is_negative { NEGATIVE } else { POSITIVE });
    let at = out.len();
    // A record is shorter than what does not fit here.
    let length = u32::try_from(whole.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(whole);
    out.extend_from_slice(decimals);
    out.push(0);
    if is_negative {
        invert(&mut out[at..]);
    }
}

/// What stands behind an encoded part.
fn behind<'a>(part: &KeyPart, stored: &'a [u8]) -> Option<&'a [u8]> {
    let mask = |is_inverted: bool| if is_inverted { 0xff } else { 0 };
    if !part.numeric {
        let end = mask(part.reverse);
        let mut at = 0;
        loop {
            at += memchr::memchr(end, &stored[at..])?;
            if *stored.get(at + 1)? == end {
                return stored.get(at + 2..);
            }
            at += 2;
        }
    }
    let (tag, rest) = stored.split_first()?;
    let tag = tag ^ mask(part.reverse);
    if matches!(tag, MISSING | ZERO) {
        return Some(rest);
    }
    let mask = mask(part.reverse != (tag == NEGATIVE));
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_be_bytes(length.map(|byte| byte ^ mask)) as usize;
    let decimals = rest.get(length..)?;
    decimals.get(memchr::memchr(mask, decimals)? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(sort: &str) -> Keys {
        let (sort, separator) = (Some(sort.parse().unwrap()), b".".to_vec());
        Keys { sort, partition: None, separator }
    }

    #[test]
    fn a_part_begins_and_ends_where_it_says() {
        let key = b"abc.de..fgh";
        for (options, expected) in [
            ("-k1,1", Some(&b"abc"[..])),
            ("-k1,2", Some(b"abc.de")),
            ("-k2", Some(b"de..fgh")),
            ("-k1.2,1.2", Some(b"b")),
            ("-k1.2,2.1", Some(b"bc.d")),
            ("-k1.9,1", Some(b"")),
            ("-k3,3", Some(b"")),
            ("-k4,9", Some(b"fgh")),
            ("-k2,1", Some(b"")),
            ("-k4.1,4.99", Some(b"fgh")),
            ("-k5,5", None),
        ] {
            let part = options.parse::<KeyFields>().unwrap().parts[0];
            assert_eq!(range_of(&part, key, b".").map(|it| &key[it]), expected, "{options}");
        }
    }

    #[test]
    fn stored_keys_have_the_order_asked_for_and_give_the_key_back() {
        // Each in the order that it must have.
        for (options, sorted) in [
            (
                "-k2,2n",
                &[
                    "x",
                    "a.-10",
                    "a.-9.5",
                    "a.-9.25",
                    "a.-0.5",
                    "a.-0",
                    "a.0",
                    "a.x",
                    "b.",
                    "a.0",
                    "a.007",
                    "a.8",
                    "a.10",
                    "a.99999999999999999999999",
                ][..],
            ),
            ("-k2,2nr", &["a.100", "a.20", "b.20", "a.3", "a.0", "a.-1", "a.-20", "a"]),
            ("-k2,2r", &["a.c", "a.bb", "b.b", "a.b", "a.", "a"]),
            ("-k2,2 -k1,1r", &["b.a", "a.a", "aa.b", "a.b"]),
            ("-r", &["b", "aa", "a", ""]),
            ("-n", &["-1", "", "0", "1", "9", "10"]),
        ] {
            let keys = keys(options);
            let mut scratch = Vec::new();
            let stored: Vec<Vec<u8>> = sorted
                .iter()
                .map(|key| keys.stored(key.as_bytes(), &mut scratch).to_vec())
                .collect();
            for (key, stored) in sorted.iter().zip(&stored) {
                assert_eq!(keys.key(stored), key.as_bytes(), "{options}");
            }
            for (n, pair) in stored.windows(2).enumerate() {
                // Equal parts are ordered by the whole key, which some of the rows leave open.
                let same = pair[0].strip_suffix(sorted[n].as_bytes())
                    == pair[1].strip_suffix(sorted[n + 1].as_bytes());
                assert!(same || pair[0] < pair[1], "{options}: {} {}", sorted[n], sorted[n + 1]);
            }
        }
    }

    #[test]
    fn any_bytes_are_given_back() {
        let mut random = 3_u64;
        for options in ["-k1,1", "-k1,1r -k2,2", "-k2n", "-k2nr -k1", "-n", "-r", "-k3.2,3.4r"] {
            let (keys, mut scratch) = (keys(options), Vec::new());
            for length in 0..200 {
                let key: Vec<u8> = (0..length % 20)
                    .map(|_| {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        b"\0\xff\x01.-0123a"[(random >> 33) as usize % 10]
                    })
                    .collect();
                let stored = keys.stored(&key, &mut scratch).to_vec();
                assert_eq!(keys.key(&stored), key, "{options}");
            }
        }
    }

    #[test]
    fn keys_with_equal_parts_go_to_one_reduce() {
        let fields = |partition: Option<&str>, sort: Option<&str>| Keys {
            sort: sort.map(|text| text.parse().unwrap()),
            partition: partition.map(|text| text.parse().unwrap()),
            separator: b".".to_vec(),
        };
        let of = |keys: &Keys, key: &str| {
            let mut scratch = Vec::new();
            let stored = keys.stored(key.as_bytes(), &mut scratch);
            keys.partition(stored, stored, 1000)
        };
        let first = fields(Some("-k1,1"), Some("-k2,2nr"));
        assert_eq!(of(&first, "a.1"), of(&first, "a.2"));
        assert_ne!(of(&first, "a.1"), of(&first, "b.1"));
        let whole = fields(None, Some("-k2,2nr"));
        assert_ne!(of(&whole, "a.1"), of(&whole, "a.2"));
        assert_eq!(of(&whole, "a.1"), of(&fields(None, None), "a.1"), "the order has no say");
    }
}
