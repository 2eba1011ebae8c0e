//! Input made up on the spot: Zipf text and sort records, the same bytes for the same seed, of an
//! exact size. Nothing here knows files or the chunk store: a generator is an iterator of blocks.
//! `howdah gen` and `howdah demo` call it.

mod alias;
mod random;
mod tera;
mod text;
mod words;

pub(crate) use tera::Tera;
pub(crate) use text::ZipfText;

/// Bytes of a block, about.
const BLOCK_BYTES: usize = 256 << 10;
