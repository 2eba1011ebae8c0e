//! The bytes of a file from a place on: those of a piece and what follows it, as far as that is asked for, or what a
//! compressed file holds.

use std::rc::Rc;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, SplitPiece};

use super::codec::{Decoded, Raw};
use super::storage::{Blocks, Input};

/// Bytes past the piece that are asked for together with it: most last records end there, and need no
/// request of their own.
const TAIL_BYTES: u64 = 4 << 10;

/// Bytes asked for when the last record runs past that; doubled each time it is not enough.
const OVERRUN_BYTES: u64 = 64 << 10;

/// Limit of that doubling.
const OVERRUN_BYTES_MAX: u64 = 8 << 20;

/// See the module.
pub(crate) struct Opened<'a> {
    pub(crate) blocks: Box<dyn Blocks + 'a>,
    /// How far a compressed file is read. Places are in what it holds, then.
    pub(crate) raw: Option<Rc<Raw>>,
}

/// Begins at `start`, which is in the piece or just before it, or, of a file with a `codec`, at its first byte.
pub(crate) fn open<'a>(
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    codec: Option<Codec>,
    start: u64,
) -> Result<Opened<'a>, Failure> {
    if let Some(codec) = codec {
        let decoded = Decoded::open(input, piece, codec)?;
        let raw = Some(decoded.raw());
        return Ok(Opened { blocks: Box::new(decoded), raw });
    }
    let end = (piece.offset + piece.length + TAIL_BYTES).min(piece.file_length);
    let blocks = input.read(piece, start, end - start)?;
    let following = Following { input, piece, blocks, blocks_end: end, overrun: OVERRUN_BYTES };
    Ok(Opened { blocks: Box::new(following), raw: None })
}

impl Opened<'_> {
    /// Nothing at all.
    pub(super) fn nothing() -> Self {
        Self { blocks: Box::new(Nothing), raw: None }
    }
}

struct Nothing;

impl Blocks for Nothing {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(None)
    }
}

struct Following<'a> {
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    blocks: Box<dyn Blocks>,
    /// Where `blocks` end in the file.
    blocks_end: u64,
    overrun: u64,
}

impl Blocks for Following<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(block) = self.blocks.next_block()? {
                return Ok(Some(block));
            }
            let left = self.piece.file_length.saturating_sub(self.blocks_end);
            if left == 0 {
                return Ok(None);
            }
            let length = self.overrun.min(left);
            self.blocks = self.input.read(self.piece, self.blocks_end, length)?;
            self.blocks_end += length;
            self.overrun = (self.overrun * 2).min(OVERRUN_BYTES_MAX);
        }
    }
}
