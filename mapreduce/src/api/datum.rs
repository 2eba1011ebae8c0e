//! The contract of keys and values: how they become bytes between map and reduce, and text at the end.
//! The types themselves are in `bytes.rs`, `numbers.rs`, `tuples.rs` and `wrappers.rs`, or derived.

use std::cmp::Ordering;

use super::Visitor;

/// A type of keys or values (Hadoop: `Writable`). The type is a name; what mappers and reducers hold
/// is its [`Datum::Ref`], which borrows from the buffers of the sort and is never copied to the heap.
///
/// There are [`crate::Bytes`] and [`crate::Text`], numbers, `bool`, `char`, `()`, [`Option`], [`crate::Desc`] and
/// tuples of these; for structs and enums, `#[derive(Datum)]`, or, for keys, `#[derive(Key)]`.
///
/// A derived type is `Copy`, its fields are of such types, and what it borrows has one lifetime:
///
/// ```
/// use mapreduce::{Datum, Job, Key};
///
/// #[derive(Clone, Copy, Key)]
/// struct Visit<'a> {
///     host: &'a str,
///     #[key(desc)] // of one host's visits, the last one first
///     second: u64,
/// }
///
/// #[derive(Clone, Copy, Datum)]
/// struct Answer {
///     outcome: Outcome,
///     bytes: u64,
/// }
///
/// #[derive(Clone, Copy, Key)] // sorted, and encoded, in this order
/// enum Outcome {
///     Served,
///     Refused,
/// }
///
/// let job = Job::map::<Visit<'_>, Answer>(|line, out| {
///     let text = str::from_utf8(line.value)?;
///     let (host, bytes) = text.split_once(' ').ok_or("a line without a blank")?;
///     let outcome = if host.is_empty() { Outcome::Refused } else { Outcome::Served };
///     out.emit(Visit { host, second: line.offset }, Answer { outcome, bytes: bytes.parse()? });
///     Ok(())
/// });
/// let _: Job = job.into();
/// ```
///
/// What has no encoding does not compile:
///
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, mapreduce::Key)] // `usize` is no type of keys or values
/// struct Place(usize);
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, mapreduce::Datum)]
/// struct Price(u64);
///
/// #[derive(Clone, Copy, mapreduce::Key)] // `Price` is no type of keys
/// struct Offer(Price);
/// ```
///
/// ```compile_fail,E0277
/// #[derive(mapreduce::Key)] // it is not `Copy`
/// struct Place(u64);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type of keys or values",
    note = "for text take `Text` (in a derived struct `&'a str`), for bytes `Bytes` (`&'a [u8]`)",
    note = "for a struct or enum of your own, `#[derive(Clone, Copy, mapreduce::Datum)]`"
)]
pub trait Datum: 'static {
    /// What the author's code sees: `&[u8]` for [`crate::Bytes`], `u64` for `u64`.
    type Ref<'a>: Copy;

    /// Length of every encoding, if they all have the same, in bytes. Values of at most 8 bytes are
    /// combined in place.
    const WIDTH: Option<usize> = None;

    /// Whether sums of it are rounded, and so depend on what is added first: floating-point numbers, and what holds some.
    /// Such values are combined by maps alone.
    const ROUNDS: bool = false;

    /// Fields that it takes in a line of text, beside others: none for `()`, all of its own for a tuple or struct.
    const COLUMNS: usize = 1;

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

    /// Tells what it is made of, for outputs that have fields. Where a type does not say, its text is one field.
    fn visit(value: Self::Ref<'_>, to: &mut dyn Visitor) {
        let mut text = Vec::new();
        match Self::write_text(value, &mut text) {
            true => to.bytes(&text),
            false => to.nothing(),
        }
    }
}

/// A type of keys (Hadoop: `WritableComparable`): comparing encodings as bytes compares keys, so that
/// sorting and merging never decode.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type of keys",
    note = "for a struct or enum of your own, `#[derive(Clone, Copy, mapreduce::Key)]`"
)]
pub trait Key: Datum {
    /// Whether [`Key::decode_turned`] can: [`crate::Desc`] then takes no more room than the key itself.
    const READS_TURNED: bool = false;

    /// The order of keys. The runtime never asks: it compares encodings.
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering;

    /// Reads an encoding of which all bits are turned; for types whose values borrow nothing from it.
    ///
    /// # Errors
    /// When the bytes are not that.
    fn decode_turned(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
        Err(DecodeError::new("key of turned bits", bytes))
    }
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
