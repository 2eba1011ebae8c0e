//! Records of text files: lines, ended by LF alone. (Hadoop's `LineRecordReader` takes a CR before it away,
//! too; then a sort could not give back what it was given, such as the records of `gen tera`.)
//!
//! A piece owns the lines whose first byte lies in it. So its reader looks at the byte before the piece,
//! skips what another piece's last line leaves, and reads past the end to finish its own last line.
//! Lines are found in place in the blocks that arrive; only one that straddles blocks is copied.

use std::ops::Range;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, RECORD_BYTES_MAX, SplitPiece};

use super::failure::bad_job;
use super::following::{Opened, open_lines};
use super::places::Places;
use super::storage::Input;

/// Where a line is held: in the block, or else gathered.
type Place = Option<Range<usize>>;

/// The lines that a piece owns.
pub(crate) struct Lines<'a> {
    piece: &'a SplitPiece,
    opened: Opened<'a>,
    places: Places,
    /// Lines that begin there or later are another piece's.
    end: u64,
    line_bytes_max: usize,
    block: Bytes,
    /// First byte of `block` not yet passed.
    at: usize,
    /// Where `block` begins in the file, or in what that holds from the piece's first block or frame on.
    block_offset: u64,
    /// What is added to that for the places that records have, where these are others (`places`).
    shift: u64,
    /// The line under way, if it began in an earlier block.
    carried: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Stands on the first line that the piece owns. Of a compressed file's part those are the lines that begin in its blocks or
    /// frames behind their first byte, and the one that begins right behind them: whether a line begins at the first byte,
    /// only who has read what is before it knows.
    pub(crate) fn open(
        input: &'a dyn Input,
        piece: &'a SplitPiece,
        codec: Option<Codec>,
    ) -> Result<Self, Failure> {
        let is_plain = codec.is_none();
        let opened = open_lines(input, piece, codec)?;
        let start = opened.start;
        let mut lines = Self {
            piece,
            opened,
            places: Places::of(codec),
            end: if is_plain { piece.offset + piece.length } else { u64::MAX },
            line_bytes_max: RECORD_BYTES_MAX,
            block: Bytes::new(),
            at: 0,
            block_offset: start,
            shift: 0,
            carried: Vec::new(),
        };
        if piece.offset > 0 {
            lines.skip_partial()?;
        }
        Ok(lines)
    }

    /// The file.
    pub(crate) fn path(&self) -> &'a str {
        &self.piece.path
    }

    /// Which places its lines have.
    pub(crate) fn places(&self) -> Places {
        self.places
    }

    /// Bytes of the piece that are passed, compressed ones where it is compressed.
    pub(crate) fn passed(&self) -> u64 {
        match &self.opened.raw {
            Some(raw) => raw.passed().min(self.piece.length),
            None => self.position().saturating_sub(self.piece.offset).min(self.piece.length),
        }
    }

    /// Where the next unread byte stands.
    fn position(&self) -> u64 {
        self.block_offset + self.at as u64
    }

    /// The place of a byte of the block. That of the file's first one is 0, whatever its compressed file begins with.
    #[inline]
    fn place_of(&self, position: u64) -> u64 {
        if position == 0 { 0 } else { position.wrapping_add(self.shift) }
    }

    /// The next line without its end, and its place; `None` when the piece owns no more.
    #[inline]
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, Failure> {
        let found = self.find()?;
        Ok(found.map(|(start, line)| (start, self.line(line))))
    }

    /// The next line that is wanted, by its place and what it holds.
    pub(crate) fn next_line_that(
        &mut self,
        mut is_wanted: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<Option<(u64, &[u8])>, Failure> {
        while let Some((start, line)) = self.find()? {
            if is_wanted(start, self.line(line.clone())) {
                return Ok(Some((start, self.line(line))));
            }
        }
        Ok(None)
    }

    /// Passes the next line; its place, and where it is held.
    #[inline]
    fn find(&mut self) -> Result<Option<(u64, Place)>, Failure> {
        let start = self.position();
        if start >= self.end {
            return Ok(None);
        }
        let Some(n) = memchr::memchr(b'\n', &self.block[self.at..]) else {
            return Ok(self.straddling(start)?.map(|place| (place, None)));
        };
        let line = self.at..self.at + n;
        self.at = line.end + 1;
        Ok(Some((self.place_of(start), Some(line))))
    }

    #[inline]
    fn line(&self, found: Place) -> &[u8] {
        found.map_or(&self.carried, |line| &self.block[line])
    }

    /// Whole lines with their ends, as many as lie together; `None` when the piece owns no more. A last line without an
    /// end gets one.
    pub(crate) fn next_lines(&mut self) -> Result<Option<Bytes>, Failure> {
        let start = self.position();
        if start >= self.end {
            return Ok(None);
        }
        if let Some(lines) = self.together() {
            self.at = lines.end;
            return Ok(Some(self.block.slice(lines)));
        }
        let line = self.straddling(start)?;
        Ok(line.map(|_| [&self.carried[..], b"\n"].concat().into()))
    }

    /// Where the lines are held that the piece owns, lie whole in the block, and are not passed.
    fn together(&self) -> Option<Range<usize>> {
        let rest = &self.block[self.at..];
        // The last line that the piece owns ends at its last byte or behind it.
        let left = self.end.checked_sub(self.position() + 1)?;
        let last = usize::try_from(left).unwrap_or(usize::MAX);
        let behind = rest.get(last..).and_then(|rest| memchr::memchr(b'\n', rest));
        let cut = behind.map(|n| last + n).or_else(|| memchr::memrchr(b'\n', rest));
        cut.map(|n| self.at..self.at + n + 1)
    }

    /// Passes those of the lines that lie together which stand before the one of interest: `find` is given them, and
    /// says where any of its bytes is. Returns how many it passed.
    pub(crate) fn pass_over(&mut self, find: impl FnOnce(&[u8]) -> usize) -> u64 {
        let Some(lines) = self.together() else { return 0 };
        let lines = &self.block[lines];
        let before = &lines[..find(lines).min(lines.len())];
        let passed = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let n = memchr::memchr_iter(b'\n', &before[..passed]).count() as u64;
        self.at += passed;
        n
    }

    /// Gathers a line whose end is not in this block; its place, or nothing where there is none.
    #[cold]
    fn straddling(&mut self, start: u64) -> Result<Option<u64>, Failure> {
        self.carried.clear();
        let mut place = self.place_of(start);
        loop {
            self.carry(self.block.len(), place)?;
            if !self.next_block()? {
                // The file's last line has no end.
                return Ok((!self.carried.is_empty()).then_some(place));
            }
            if self.carried.is_empty() {
                // It begins with this block.
                place = self.place_of(start);
            }
            if let Some(n) = memchr::memchr(b'\n', &self.block) {
                self.carry(n, place)?;
                self.at = n + 1;
                return Ok(Some(place));
            }
        }
    }

    /// Takes the block's bytes up to `end` for the line at `place`. One that is too long is not gathered to its end.
    fn carry(&mut self, end: usize, place: u64) -> Result<(), Failure> {
        let more = &self.block[self.at..end];
        if self.carried.len() + more.len() > self.line_bytes_max {
            let message = format!(
                "input {} has a line of more than {} bytes {}: is it text?",
                self.piece.path,
                self.line_bytes_max,
                self.places.told(place)
            );
            return Err(bad_job(message));
        }
        self.carried.extend_from_slice(more);
        self.at = end;
        Ok(())
    }

    /// Passes the end of the line that begins before the piece, if it ends in the piece.
    fn skip_partial(&mut self) -> Result<(), Failure> {
        while self.position() < self.end {
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

    /// Goes to the next block; `false` at the end of the file.
    fn next_block(&mut self) -> Result<bool, Failure> {
        let Some(block) = self.opened.blocks.next_block()? else { return Ok(false) };
        self.block_offset += self.block.len() as u64;
        (self.block, self.at) = (block, 0);
        if let Some(raw) = &self.opened.raw {
            if let Some(place) = raw.place() {
                self.shift = place.wrapping_sub(self.block_offset);
            }
            if let Some(own) = raw.end() {
                // The line that begins right behind them is theirs, too.
                self.end = self.opened.start + own + 1;
            }
        }
        Ok(true)
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
        let mut lines = Lines::open(&input, &piece, None).unwrap();
        let mut found = Vec::new();
        while let Some((offset, line)) = lines.next_line().unwrap() {
            found.push((offset, line.to_vec()));
        }
        found
    }

    /// The same, if only lines with `needle` are of interest: those, and how many others there are.
    fn found_of(
        data: &[u8],
        block: usize,
        (offset, length): (u64, u64),
        needle: u8,
    ) -> (Vec<Vec<u8>>, u64) {
        let input = MemoryInput { data: data.to_vec(), block };
        let file_length = data.len() as u64;
        let piece = SplitPiece { path: "/f".into(), offset, length, file_length, e_tag: None };
        let mut lines = Lines::open(&input, &piece, None).unwrap();
        let (mut found, mut others) = (Vec::new(), 0);
        loop {
            others += lines.pass_over(|lines| memchr::memchr(needle, lines).unwrap_or(usize::MAX));
            let Some((_, line)) = lines.next_line().unwrap() else { return (found, others) };
            // Lines that straddle blocks are looked at by themselves.
            match line.contains(&needle) {
                true => found.push(line.to_vec()),
                false => others += 1,
            }
        }
    }

    /// The same, block by block.
    fn blocks_of(data: &[u8], block: usize, offset: u64, length: u64) -> Vec<u8> {
        let input = MemoryInput { data: data.to_vec(), block };
        let file_length = data.len() as u64;
        let piece = SplitPiece { path: "/f".into(), offset, length, file_length, e_tag: None };
        let mut lines = Lines::open(&input, &piece, None).unwrap();
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
                            let ends = joined.split_inclusive(|byte| *byte == b'\n');
                            let lines = ends.map(|line| &line[..line.len() - 1]);
                            let (of_interest, others): (Vec<&[u8]>, Vec<_>) =
                                lines.partition(|line| line.contains(&b'e'));
                            let (found, n) = found_of(text, block, (offset, length), b'e');
                            assert_eq!(found, of_interest, "{text:?} {cut:?}");
                            assert_eq!(n, others.len() as u64, "{text:?} {cut:?}");
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
    fn a_line_is_not_gathered_for_ever() {
        let input = MemoryInput { data: vec![b'x'; 100], block: 7 };
        let piece =
            SplitPiece { path: "/f".into(), offset: 0, length: 9, file_length: 100, e_tag: None };
        for (limit, is_fine) in [(99, false), (100, true)] {
            let mut lines = Lines::open(&input, &piece, None).unwrap();
            lines.line_bytes_max = limit;
            match lines.next_line() {
                Ok(line) => assert!(is_fine && line.unwrap().1.len() == 100),
                Err(failure) => {
                    let expected = "input /f has a line of more than 99 bytes at byte 0";
                    assert!(!is_fine && failure.message.contains(expected), "{failure:?}");
                }
            }
        }
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
