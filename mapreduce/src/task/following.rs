//! The bytes of a file from a place on: those of a piece and what follows it, as far as that is asked for, or what a
//! compressed file holds.

use std::rc::Rc;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, SplitPiece};

use super::bzip2_units::Bzip2Units;
use super::codec::{Decoded, Raw};
use super::failure::bad_job;
use super::places::check_length;
use super::storage::{Blocks, Input};
use super::zstd_units::ZstdUnits;

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
    /// How far a compressed file is read. Places are in what it holds, then, or those of its blocks or frames.
    pub(crate) raw: Option<Rc<Raw>>,
    /// Where the first byte stands in the file, or in what that holds; of a part of a compressed file nobody knows, and it is
    /// where the part begins.
    pub(crate) start: u64,
}

/// Whether `piece` is all of its file.
pub(crate) fn is_whole(piece: &SplitPiece) -> bool {
    piece.offset == 0 && piece.length == piece.file_length
}

/// Begins at `start`, which is in the piece or just before it; of a file with a `codec`, which must be whole, at its first byte.
pub(crate) fn open<'a>(
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    codec: Option<Codec>,
    start: u64,
) -> Result<Opened<'a>, Failure> {
    let Some(codec) = codec else {
        return Ok(Opened { blocks: following(input, piece, start)?, raw: None, start });
    };
    if !is_whole(piece) {
        return Err(not_whole(piece));
    }
    let decoded = Decoded::open(input, piece, codec)?;
    let raw = Some(decoded.raw());
    Ok(Opened { blocks: Box::new(decoded), raw, start: 0 })
}

/// The same for lines. Of a codec that begins anew now and then, the first block or frame that begins in the piece is the
/// beginning, and the file need not be whole; one that is, is read in the same way, so that places are the same.
pub(crate) fn open_lines<'a>(
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    codec: Option<Codec>,
) -> Result<Opened<'a>, Failure> {
    let start = piece.offset;
    match codec {
        Some(codec @ Codec::Bzip2) => {
            check_length(piece, codec)?;
            let units = Bzip2Units::open(input, piece)?;
            let raw = Some(units.raw());
            Ok(Opened { blocks: Box::new(units), raw, start })
        }
        Some(codec @ Codec::Zstd) => {
            check_length(piece, codec)?;
            let units = ZstdUnits::open(input, piece)?;
            let raw = Some(units.raw());
            Ok(Opened { blocks: Box::new(units), raw, start })
        }
        Some(Codec::Gzip | Codec::Lz4 | Codec::Snappy) | None => {
            open(input, piece, codec, start.saturating_sub(1))
        }
    }
}

/// A piece's bytes are not to be read without all before them.
pub(crate) fn not_whole(piece: &SplitPiece) -> Failure {
    bad_job(format!(
        "the split {piece} is a part of a file that can only be read as a whole: submit the job again"
    ))
}

/// The bytes of the file from `start` on, those of the piece at once and the others as they are asked for.
pub(super) fn following<'a>(
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    start: u64,
) -> Result<Box<dyn Blocks + 'a>, Failure> {
    let end = (piece.offset + piece.length + TAIL_BYTES).min(piece.file_length).max(start);
    let blocks = input.read(piece, start, end - start)?;
    Ok(Box::new(Following { input, piece, blocks, blocks_end: end, overrun: OVERRUN_BYTES }))
}

impl Opened<'_> {
    /// Nothing at all.
    pub(super) fn nothing() -> Self {
        Self { blocks: Box::new(Nothing), raw: None, start: 0 }
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
