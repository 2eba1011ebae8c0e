//! Records of text files: lines, ended by LF alone. (Hadoop's `LineRecordReader` takes a CR before it away,
//! too; then a sort could not give back what it was given, such as the records of `gen tera`.)
//!
//! A piece owns the lines whose first byte lies in it. So its reader looks at the byte before the piece,
//! skips what another piece's last line leaves, and reads past the end to finish its own last line.
//! Lines are found in place in the blocks that arrive; only one that straddles blocks is copied.

use bytes::Bytes;
use mapreduce_protocol::{Failure, SplitPiece};

use super::storage::{Blocks, Input};

/// Bytes past the piece that are asked for together with it: most last lines end there, and need no
/// request of their own.
const TAIL_BYTES: u64 = 4 << 10;

/// Bytes asked for when the last line runs past that; doubled each time it is not enough.
const OVERRUN_BYTES: u64 = 64 << 10;

/// Limit of that doubling.
const OVERRUN_BYTES_MAX: u64 = 8 << 20;

/// The lines that a piece owns.
pub(crate) struct Lines<'a> {
    input: &'a dyn Input,
    piece: &'a SplitPiece,
    blocks: Box<dyn Blocks>,
    /// Where `blocks` end in the file.
    blocks_end: u64,
    overrun: u64,
    block: Bytes,
    /// First byte of `block` not yet passed.
    at: usize,
    /// Where `block` begins in the file.
    block_offset: u64,
    /// The line under way, if it began in an earlier block.
    carried: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Stands on the first line that the piece owns.
    pub(crate) fn open(input: &'a dyn Input, piece: &'a SplitPiece) -> Result<Self, Failure> {
        let start = piece.offset.saturating_sub(1);
        let end = (piece.offset + piece.length + TAIL_BYTES).min(piece.file_length);
        let mut lines = Self {
            input,
            piece,
            blocks: input.read(piece, start, end - start)?,
            blocks_end: end,
            overrun: OVERRUN_BYTES,
            block: Bytes::new(),
            at: 0,
            block_offset: start,
            carried: Vec::new(),
        };
        if piece.offset > 0 {
            lines.skip_partial()?;
        }
        Ok(lines)
    }

    /// Where the next unread byte stands in the file.
    pub(crate) fn position(&self) -> u64 {
        self.block_offset + self.at as u64
    }

    /// The next line without its end, and where it begins; `None` when the piece owns no more.
    #[inline]
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, Failure> {
        let start = self.position();
        if start >= self.piece.offset + self.piece.length {
            return Ok(None);
        }
        let Some(n) = memchr::memchr(b'\n', &self.block[self.at..]) else {
            return self.straddling(start);
        };
        let line = self.at..self.at + n;
        self.at = line.end + 1;
        Ok(Some((start, &self.block[line])))
    }

    /// Whole lines with their ends, as many as lie together; `None` when the piece owns no more. A last line without an
    /// end gets one.
    pub(crate) fn next_lines(&mut self) -> Result<Option<Bytes>, Failure> {
        let start = self.position();
        let end = self.piece.offset + self.piece.length;
        if start >= end {
            return Ok(None);
        }
        let rest = &self.block[self.at..];
        // The last line that the piece owns ends at its last byte or behind it.
        let last = usize::try_from(end - start - 1).unwrap_or(usize::MAX);
        let behind = rest.get(last..).and_then(|rest| memchr::memchr(b'\n', rest));
        let cut = behind.map(|n| last + n).or_else(|| memchr::memrchr(b'\n', rest));
        if let Some(n) = cut {
            let lines = self.block.slice(self.at..=self.at + n);
            self.at += n + 1;
            return Ok(Some(lines));
        }
        let line = self.straddling(start)?;
        Ok(line.map(|(_, line)| [line, b"\n"].concat().into()))
    }

    /// A line whose end is not in this block.
    #[cold]
    fn straddling(&mut self, start: u64) -> Result<Option<(u64, &[u8])>, Failure> {
        self.carried.clear();
        loop {
            self.carried.extend_from_slice(&self.block[self.at..]);
            self.at = self.block.len();
            if !self.next_block()? {
                // The file's last line has no end.
                return Ok((!self.carried.is_empty()).then_some((start, &self.carried)));
            }
            if let Some(n) = memchr::memchr(b'\n', &self.block) {
                self.carried.extend_from_slice(&self.block[..n]);
                self.at = n + 1;
                return Ok(Some((start, &self.carried)));
            }
        }
    }

    /// Passes the end of the line that begins before the piece, if it ends in the piece.
    fn skip_partial(&mut self) -> Result<(), Failure> {
        let end = self.piece.offset + self.piece.length;
        while self.position() < end {
            if let Some(n) = memchr::memchr(b'\n', &self.block[self.at..]) {
                self.at += n + 1;
                return Ok(());
            }
            self.at = self.block.len();
            if !self.next_block()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes to the next block, past the piece's end if need be; `false` at the end of the file.
    fn next_block(&mut self) -> Result<bool, Failure> {
        loop {
            if let Some(block) = self.blocks.next_block()? {
                self.block_offset += self.block.len() as u64;
                (self.block, self.at) = (block, 0);
                return Ok(true);
            }
            let left = self.piece.file_length.saturating_sub(self.blocks_end);
            if left == 0 {
                return Ok(false);
            }
            let length = self.overrun.min(left);
            self.blocks = self.input.read(self.piece, self.blocks_end, length)?;
            self.blocks_end += length;
            self.overrun = (self.overrun * 2).min(OVERRUN_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::storage::testing::MemoryInput;

    fn lines_of(data: &[u8], block: usize, offset: u64, length: u64) -> Vec<(u64, Vec<u8>)> {
        let input = MemoryInput { data: data.to_vec(), block };
        let file_length = data.len() as u64;
        let piece = SplitPiece { path: "/f".into(), offset, length, file_length, e_tag: None };
        let mut lines = Lines::open(&input, &piece).unwrap();
        let mut found = Vec::new();
        while let Some((offset, line)) = lines.next_line().unwrap() {
            found.push((offset, line.to_vec()));
        }
        found
    }

    /// The same, block by block.
    fn blocks_of(data: &[u8], block: usize, offset: u64, length: u64) -> Vec<u8> {
        let input = MemoryInput { data: data.to_vec(), block };
        let file_length = data.len() as u64;
        let piece = SplitPiece { path: "/f".into(), offset, length, file_length, e_tag: None };
        let mut lines = Lines::open(&input, &piece).unwrap();
        let mut found = Vec::new();
        while let Some(block) = lines.next_lines().unwrap() {
            assert!(block.ends_with(b"\n"));
            found.extend_from_slice(&block);
        }
        found
    }

    #[test]
    fn whatever_the_cuts_each_line_has_one_owner() {
        let texts: [&[u8]; 8] = [
            b"one\ntwo\nthree",
            b"one\r\ntwo\r\n\r\n\nlast\r\n",
            b"\n\n\n",
            b"no end",
            b"a\rb\r\nends in cr\r",
            b"0123456789012345678901234567890123456789\nshort\n",
            b"\r\n",
            b"x\n",
        ];
        for text in texts {
            let whole = lines_of(text, 1000, 0, text.len() as u64);
            for block in 1..8 {
                for first in 0..=text.len() as u64 {
                    for second in first..=text.len() as u64 {
                        let cuts = [0, first, second, text.len() as u64];
                        let found: Vec<_> = cuts
                            .windows(2)
                            .flat_map(|cut| lines_of(text, block, cut[0], cut[1] - cut[0]))
                            .collect();
                        assert_eq!(found, whole, "{text:?} in blocks of {block}, cut at {cuts:?}");
                        for cut in cuts.windows(2) {
                            let (offset, length) = (cut[0], cut[1] - cut[0]);
                            let lines = lines_of(text, block, offset, length);
                            let joined: Vec<u8> = lines
                                .into_iter()
                                .flat_map(|(_, it)| [&it[..], b"\n"].concat())
                                .collect();
                            assert_eq!(
                                blocks_of(text, block, offset, length),
                                joined,
                                "{text:?} {cut:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn lines_end_with_lf_and_keep_all_other_bytes() {
        let found = lines_of(b"a\rb\r\n\nc\r", 100, 0, 8);
        let expected: [(u64, &[u8]); 3] = [(0, b"a\rb\r"), (5, b""), (6, b"c\r")];
        assert_eq!(found, expected.map(|(offset, line)| (offset, line.to_vec())));
    }

    #[test]
    fn a_line_longer_than_every_overrun_is_whole() {
        let mut data = vec![b'x'; 1_000_000];
        data.extend_from_slice(b"\ny\n");
        let found = lines_of(&data, 4096, 0, 10);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.len(), 1_000_000);
        assert!(lines_of(&data, 4096, 10, 500_000).is_empty());
    }
}
