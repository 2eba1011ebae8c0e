//! Keys and values of several fields: what tuples and derived types are encoded with. Keys are sorted by the
//! first field, then by the second, and so on; comparing encodings as bytes does it.
//!
//! A field of fixed width stands as it is. Any other must end where it ends for comparisons too: its zero bytes
//! are escaped (`00` → `00 ff`) and `00 00` ends it; only the last one needs no end. What was escaped can't be
//! borrowed by who decodes it. So each such field stands once more, raw, behind everything that a comparison can
//! reach; then the last field is escaped and ended too, to keep what is behind it apart.
//!
//! ```text
//! u32, text                     4 bytes, text
//! text, text                    first, 00 00, second
//! the same, first with zeros    first escaped, 00 00, second escaped, 00 00, first [, second, if it has zeros]
//! ```

use super::{Datum, Key};

const END: [u8; 2] = [0, 0];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];

/// A key of several fields, a tuple or a derived struct: what [`crate::JobOf::group_by`] can group by fewer of.
pub trait Fields: Key {
    /// How many there are.
    const FIELDS: usize;

    /// Length of each field's encoding, where it is fixed, in bytes.
    const WIDTHS: &'static [Option<usize>];

    /// The order of keys by their first `n` fields. The runtime never asks: it compares encodings.
    fn compare_leading(a: Self::Ref<'_>, b: Self::Ref<'_>, n: usize) -> std::cmp::Ordering;
}

/// The width of all fields together, if each has one.
#[must_use]
pub const fn width(fields: &[Option<usize>]) -> Option<usize> {
    let (mut sum, mut at) = (0, 0);
    while at < fields.len() {
        match fields[at] {
            Some(width) => sum += width,
            None => return None,
        }
        at += 1;
    }
    Some(sum)
}

/// Appends fields, one after the other.
pub struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    /// What stands behind all fields, once one was escaped.
    raw: Option<Vec<u8>>,
}

impl<'o> Encoder<'o> {
    /// Appends to `out`.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, raw: None }
    }

    /// Appends a field that is not the last one.
    #[inline]
    pub fn field<F: Datum>(&mut self, value: F::Ref<'_>) {
        let start = self.out.len();
        F::encode(value, self.out);
        if F::WIDTH.is_none() {
            self.end(start);
        }
    }

    /// Appends the last field.
    #[inline]
    pub fn last<F: Datum>(mut self, value: F::Ref<'_>) {
        let start = self.out.len();
        F::encode(value, self.out);
        if self.raw.is_none() {
            return;
        }
        if F::WIDTH.is_none() {
            self.end(start);
        }
        self.out.extend_from_slice(&self.raw.unwrap_or_default());
    }

    #[inline]
    fn end(&mut self, start: usize) {
        if memchr::memchr(0, &self.out[start..]).is_some() {
            self.escape(start);
        }
        self.out.extend_from_slice(&END);
    }

    #[cold]
    fn escape(&mut self, start: usize) {
        let field = self.out.split_off(start);
        for (n, piece) in field.split(|byte| *byte == 0).enumerate() {
            if n > 0 {
                self.out.extend_from_slice(&ESCAPED_ZERO);
            }
            self.out.extend_from_slice(piece);
        }
        self.raw.get_or_insert_default().extend_from_slice(&field);
    }
}

/// The encodings of `N` fields of these widths, as the [`Encoder`] appended them; `None` if it didn't.
#[inline]
#[must_use]
pub fn split<const N: usize>(bytes: &[u8], widths: [Option<usize>; N]) -> Option<[&[u8]; N]> {
    let mut fields = [&bytes[..0]; N];
    // Lengths of the fields that stand raw behind all others, while it is not known where that is.
    let mut raw_lengths = [None; N];
    let mut is_raw = false;
    let mut rest = bytes;
    for (n, width) in widths.into_iter().enumerate() {
        (fields[n], rest) = match width {
            Some(width) => rest.split_at_checked(width)?,
            None if n + 1 == N && !is_raw => (rest, &rest[rest.len()..]),
            None => {
                let (end, escaped) = end_of(rest)?;
                if escaped > 0 {
                    is_raw = true;
                    raw_lengths[n] = Some(end - escaped);
                }
                (&rest[..end], &rest[end + END.len()..])
            }
        };
    }
    if is_raw {
        for (field, length) in fields.iter_mut().zip(raw_lengths) {
            if let Some(length) = length {
                (*field, rest) = rest.split_at_checked(length)?;
            }
        }
    }
    rest.is_empty().then_some(fields)
}

/// How many bytes of a key's encoding its first fields take, which have these widths and are not all: what keys
/// begin with that agree in them, and no others. `None` if it is no such encoding.
#[inline]
#[must_use]
pub fn leading(encoded: &[u8], widths: &[Option<usize>]) -> Option<usize> {
    let mut at = 0;
    for width in widths {
        at += match width {
            Some(width) => *width,
            None => end_of(encoded.get(at..)?)?.0 + END.len(),
        };
    }
    (at <= encoded.len()).then_some(at)
}

/// Where a field's `00 00` begins, and how many zero bytes are escaped before it.
#[inline]
fn end_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut escaped) = (0, 0);
    loop {
        at += memchr::memchr(0, &bytes[at..])?;
        match bytes.get(at + 1)? {
            0 => return Some((at, escaped)),
            0xff => escaped += 1,
            _ => return None,
        }
        at += 2;
    }
}

/// Writes fields as text, with tabs between them. What takes no room in a line (`()`) has none; what is absent is empty, so
/// that the others stay in their places.
pub struct TextWriter<'o> {
    out: &'o mut Vec<u8>,
    columns: usize,
    wrote: bool,
}

impl<'o> TextWriter<'o> {
    /// Appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, columns: 0, wrote: false }
    }

    /// Appends a field.
    pub fn field<F: Datum>(&mut self, value: F::Ref<'_>) {
        if F::COLUMNS == 0 {
            return;
        }
        if self.columns > 0 {
            self.out.push(b'\t');
        }
        self.columns += F::COLUMNS;
        let start = self.out.len();
        if F::write_text(value, self.out) {
            self.wrote = true;
        } else {
            self.out.truncate(start);
            self.out.resize(start + F::COLUMNS - 1, b'\t');
        }
    }

    /// Whether there is something to write: text, or several fields.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote || self.columns > 1
    }
}
