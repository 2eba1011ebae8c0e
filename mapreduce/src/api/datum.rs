//! The contract of keys and values: how they become bytes between map and reduce, and text at the end.
//! The types themselves are in `bytes.rs`, `numbers.rs` and `pairs.rs`.

use std::cmp::Ordering;

/// A type of keys or values (Hadoop: `Writable`). The type is a name; what mappers and reducers hold
/// is its [`Datum::Ref`], which borrows from the buffers of the sort and is never copied to the heap.
pub trait Datum: 'static {
    /// What the author's code sees: `&[u8]` for [`crate::Bytes`], `u64` for `u64`.
    type Ref<'a>: Copy;

    /// Length of every encoding, if they all have the same, in bytes. Values of at most 8 bytes are
    /// combined in place.
    const WIDTH: Option<usize> = None;

    /// Appends the encoding.
    fn encode(value: Self::Ref<'_>, out: &mut Vec<u8>);

    /// The encoding, where the value itself is stored that way: saves a copy for each record.
    #[inline]
    #[must_use]
    fn borrowed<'v>(value: &'v Self::Ref<'_>) -> Option<&'v [u8]> {
        let _ = value;
        None
    }

    /// Reads what [`Datum::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are not an encoding of this type.
    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError>;

    /// Appends the form in which it stands in a job's output; `false` if there is nothing to write, and
    /// so no tab beside it.
    fn write_text(value: Self::Ref<'_>, out: &mut Vec<u8>) -> bool;
}

/// A type of keys (Hadoop: `WritableComparable`): comparing encodings as bytes compares keys, so that
/// sorting and merging never decode.
pub trait Key: Datum {
    /// The order of keys. The runtime never asks: it compares encodings.
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering;
}

/// Bytes that are not an encoding of the type wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are not an encoded {wanted}")]
pub struct DecodeError {
    wanted: &'static str,
    length: usize,
}

impl DecodeError {
    /// `bytes` are not an encoding of `wanted`.
    #[must_use]
    pub fn new(wanted: &'static str, bytes: &[u8]) -> Self {
        Self { wanted, length: bytes.len() }
    }
}
