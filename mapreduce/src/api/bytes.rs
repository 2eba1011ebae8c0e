//! Keys and values of bytes: raw ones of any or one length, and text.

use std::cmp::Ordering;

use super::{Datum, DecodeError, Key, Visitor};

/// Any bytes (Hadoop: `BytesWritable`, but ordered without a length in front).
#[derive(Clone, Copy, Debug)]
pub enum Bytes {}

/// UTF-8 (Hadoop: `Text`). For words of files that may hold other bytes, take [`Bytes`].
#[derive(Clone, Copy, Debug)]
pub enum Text {}

impl Datum for Bytes {
    type Ref<'a> = &'a [u8];

    #[inline]
    fn encode(value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }

    #[inline]
    fn borrowed<'v>(value: &'v &[u8]) -> Option<&'v [u8]> {
        Some(value)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&[u8], DecodeError> {
        Ok(bytes)
    }

    fn write_text(value: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(value);
        true
    }

    fn visit(value: &[u8], to: &mut dyn Visitor) {
        to.bytes(value);
    }
}

impl Key for Bytes {
    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }
}

impl Datum for Text {
    type Ref<'a> = &'a str;

    #[inline]
    fn encode(value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(value.as_bytes());
    }

    #[inline]
    fn borrowed<'v>(value: &'v &str) -> Option<&'v [u8]> {
        Some(value.as_bytes())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
        str::from_utf8(bytes).map_err(|_| DecodeError::new("UTF-8 text", bytes))
    }

    fn write_text(value: &str, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(value.as_bytes());
        true
    }

    fn visit(value: &str, to: &mut dyn Visitor) {
        to.bytes(value.as_bytes());
    }
}

impl Key for Text {
    fn compare(a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }
}

/// Bytes of one length: digests, the keys of sorting benchmarks.
impl<const N: usize> Datum for [u8; N] {
    type Ref<'a> = Self;
    const WIDTH: Option<usize> = Some(N);

    #[inline]
    fn encode(value: Self, out: &mut Vec<u8>) {
        out.extend_from_slice(&value);
    }

    #[inline]
    fn borrowed(value: &Self) -> Option<&[u8]> {
        Some(value)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bytes.try_into().map_err(|_| DecodeError::new("array of bytes", bytes))
    }

    fn write_text(value: Self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&value);
        true
    }

    fn visit(value: Self, to: &mut dyn Visitor) {
        to.bytes(&value);
    }
}

impl<const N: usize> Key for [u8; N] {
    const READS_TURNED: bool = true;

    fn compare(a: Self, b: Self) -> Ordering {
        a.cmp(&b)
    }

    fn decode_turned(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(bytes).map(|turned| turned.map(|byte| !byte))
    }
}
