//! Pairs, as keys (sorted by the first part, then by the second) and as values.
//!
//! A first part of fixed width is followed by the second as it is. Any other must end where it ends
//! for comparisons too: its zero bytes are escaped (`00` → `00 ff`) and `00 00` ends it. So that decoding
//! can still borrow, a pair whose first part holds zero bytes has the second part escaped as well, and
//! both parts once more, raw, behind everything that a comparison can reach:
//!
//! ```text
//! first of fixed width     first, second
//! no zero byte in first    first, 00 00, second
//! otherwise                first escaped, 00 00, second escaped, 00 00, first, second, length of first
//! ```

use std::cmp::Ordering;

use super::{Datum, DecodeError, Key};

const END: [u8; 2] = [0, 0];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];
const LENGTH_BYTES: usize = 4;

impl<A: Datum, B: Datum> Datum for (A, B) {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>);
    const WIDTH: Option<usize> = match (A::WIDTH, B::WIDTH) {
        (Some(a), Some(b)) => Some(a + b),
        _ => None,
    };

    fn encode((first, second): Self::Ref<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        A::encode(first, out);
        if A::WIDTH.is_some() {
            B::encode(second, out);
        } else if memchr::memchr(0, &out[start..]).is_none() {
            out.extend_from_slice(&END);
            B::encode(second, out);
        } else {
            let mut raw = out.split_off(start);
            let length = raw.len();
            B::encode(second, &mut raw);
            let (first, second) = raw.split_at(length);
            write_escaped(first, out);
            write_escaped(second, out);
            out.extend_from_slice(&raw);
            // Who takes it refuses records of far fewer bytes than don't fit here.
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
        let (first, second) =
            split::<A>(bytes).ok_or_else(|| DecodeError::new("pair of keys", bytes))?;
        Ok((A::decode(first)?, B::decode(second)?))
    }

    fn write_text((first, second): Self::Ref<'_>, out: &mut Vec<u8>) -> bool {
        let wrote_first = A::write_text(first, out);
        let between = out.len();
        if wrote_first {
            out.push(b'\t');
        }
        let wrote_second = B::write_text(second, out);
        if !wrote_second {
            out.truncate(between);
        }
        wrote_first || wrote_second
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering {
        A::compare(a.0, b.0).then_with(|| B::compare(a.1, b.1))
    }
}

fn write_escaped(part: &[u8], out: &mut Vec<u8>) {
    for (n, piece) in part.split(|byte| *byte == 0).enumerate() {
        if n > 0 {
            out.extend_from_slice(&ESCAPED_ZERO);
        }
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&END);
}

/// Where an escaped part's `00 00` begins, and whether a zero byte was escaped before it.
fn end_of_escaped(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut at = 0;
    let mut escaped = false;
    loop {
        at += memchr::memchr(0, &bytes[at..])?;
        match bytes.get(at + 1)? {
            0 => return Some((at, escaped)),
            0xff => escaped = true,
            _ => return None,
        }
        at += 2;
    }
}

/// The raw parts of an encoded pair.
fn split<A: Datum>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(width) = A::WIDTH {
        return bytes.split_at_checked(width);
    }
    let (first_end, escaped) = end_of_escaped(bytes)?;
    let rest = &bytes[first_end + END.len()..];
    if !escaped {
        return Some((&bytes[..first_end], rest));
    }
    let (second_end, _) = end_of_escaped(rest)?;
    let raw = &rest[second_end + END.len()..];
    let (raw, length) = raw.split_last_chunk::<LENGTH_BYTES>()?;
    raw.split_at_checked(u32::from_be_bytes(*length) as usize)
}
