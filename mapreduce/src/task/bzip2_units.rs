//! A part of a bzip2 file: the blocks that begin in it, and what follows them as far as that is asked for.
//!
//! A block begins at any bit, with a mark of 48 bits. The same bits may come up inside of one; so a mark only counts if what
//! it begins is a whole block, whose checksum is right, up to another mark. Each block becomes a file of its own, which the
//! library decodes. From the first one on, one follows the other to the file's end, as in a serial read.

use std::io::Read as _;
use std::rc::Rc;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, SplitPiece};

use super::bits::{Bits, END_MARK, MARK_BITS, Mark};
use super::codec::{Raw, broken_file};
use super::following::following;
use super::places::place;
use super::storage::{Blocks, Input};

/// Longest compressed block, bits: 900,000 symbols of 20 bits, and its tables.
const BLOCK_BITS_MAX: u64 = 900_000 * 20 + (1 << 18);
/// How the file begins that a block becomes.
const STREAM_START: &[u8] = b"BZh9";
/// Bits of a checksum.
const CHECKSUM_BITS: u64 = 32;
/// Bits that are searched for a first mark before what is passed is thrown away.
const SEARCHED_BITS: u64 = 8 << 20;
/// Bytes given on at once.
const GIVEN_BYTES: usize = 256 << 10;

/// See the module.
pub(super) struct Bzip2Units<'a> {
    chain: Chain<'a>,
    /// Blocks that begin at this byte or later are another piece's.
    end: u64,
    /// Bytes that have come out.
    came: u64,
    /// What is left of the block under way, and where it stands.
    block: Bytes,
    place: u64,
    raw: Rc<Raw>,
}

impl<'a> Bzip2Units<'a> {
    /// Stands before the first block that begins in the piece. If none does, nothing comes out, but of the file's beginning, to
    /// which its first line belongs.
    pub(super) fn open(input: &'a dyn Input, piece: &'a SplitPiece) -> Result<Self, Failure> {
        let end = piece.offset + piece.length;
        let chain = match piece.offset {
            0 => Chain::of_file(input, piece)?,
            _ => Chain::of_piece(input, piece, end)?,
        };
        let raw = Rc::new(Raw::default());
        if chain.next.is_none() {
            raw.pass(piece.length);
        }
        Ok(Self { chain, end, came: 0, block: Bytes::new(), place: 0, raw })
    }

    /// How far the piece is read.
    pub(super) fn raw(&self) -> Rc<Raw> {
        Rc::clone(&self.raw)
    }
}

impl Blocks for Bzip2Units<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = self.chain.piece;
        while self.block.is_empty() {
            let Some((at, block)) = self.chain.step(self.came)? else {
                self.raw.pass(piece.length);
                return Ok(None);
            };
            if at / 8 >= self.end {
                self.raw.end_at(self.came);
                self.raw.pass(piece.length);
            } else {
                self.raw.pass(at / 8 - piece.offset);
            }
            self.block = block.into();
            self.place = place(byte_of(at), 0);
        }
        let n = self.block.len().min(GIVEN_BYTES);
        self.came += n as u64;
        self.raw.stands_at(self.place);
        self.place += n as u64;
        Ok(Some(self.block.split_to(n)))
    }
}

/// The byte in which a block begins. The file's first one begins with the file, so that places of a file of one block are those
/// in what it holds.
fn byte_of(at: u64) -> u64 {
    let byte = at / 8;
    if byte == STREAM_START.len() as u64 { 0 } else { byte }
}

/// Blocks one after the other.
struct Chain<'a> {
    piece: &'a SplitPiece,
    bits: Bits<'a>,
    /// Where the next mark stands; `None` at the end.
    next: Option<u64>,
}

impl<'a> Chain<'a> {
    /// Of all blocks of the file that `piece` is the beginning of.
    fn of_file(input: &'a dyn Input, piece: &'a SplitPiece) -> Result<Self, Failure> {
        let bits = Bits::new(following(input, piece, 0)?, 0);
        let mut chain = Self { piece, bits, next: None };
        chain.next = chain.stream(0)?;
        Ok(chain)
    }

    /// From the first block on that begins in `piece`; of none if none does.
    fn of_piece(input: &'a dyn Input, piece: &'a SplitPiece, end: u64) -> Result<Self, Failure> {
        let bits = Bits::new(following(input, piece, piece.offset)?, piece.offset);
        let mut chain = Self { piece, bits, next: None };
        let (mut from, end_bit) = (piece.offset * 8, end * 8);
        while from < end_bit {
            let until = (from + SEARCHED_BITS).min(end_bit);
            let Some((at, mark)) = chain.bits.find(from, until)? else {
                from = until;
                chain.bits.forget(from);
                continue;
            };
            if mark == Mark::Block {
                let is_block = chain.decode(at)?.is_some();
                // A mark inside of a block, or a broken block: only who has read all before it can tell.
                chain.next = match is_block {
                    true => Some(at),
                    false => first_in(input, piece, end)?,
                };
                break;
            }
            from = at + 1;
        }
        Ok(chain)
    }

    /// The next block, and where it begins; `None` at the file's end. `came` bytes have come out so far.
    fn step(&mut self, came: u64) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        while let Some(at) = self.next {
            self.bits.forget(at);
            match self.bits.mark_at(at)? {
                Some(Mark::Block) => {
                    let Some((end, bytes)) = self.decode(at)? else {
                        return Err(self.broken("a block is damaged, or cut off", at, came));
                    };
                    self.next = Some(end);
                    return Ok(Some((at, bytes)));
                }
                Some(Mark::End) => {
                    self.next = self.stream((at + MARK_BITS + CHECKSUM_BITS).div_ceil(8))?;
                }
                None => return Err(self.broken("no block begins where one should", at, came)),
            }
        }
        Ok(None)
    }

    /// Where the first mark of the stream stands that begins at a byte of the file; `None` where that is its end.
    fn stream(&mut self, at: u64) -> Result<Option<u64>, Failure> {
        match self.bits.bytes(at, STREAM_START.len())? {
            [] => Ok(None),
            [b'B', b'Z', b'h', b'1'..=b'9'] => Ok(Some((at + STREAM_START.len() as u64) * 8)),
            _ => Err(self.broken("no stream begins where one should", at * 8, 0)),
        }
    }

    /// What the block holds that begins at `at`, and where the next mark stands; `None` if none begins there that is whole.
    fn decode(&mut self, at: u64) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        let mut from = at + MARK_BITS + CHECKSUM_BITS;
        // A mark inside of the block is no end of it.
        while let Some((end, _)) = self.bits.find(from, at + BLOCK_BITS_MAX)? {
            let file = self.as_file(at, end);
            let mut bytes = Vec::new();
            if bzip2::bufread::BzDecoder::new(&file[..]).read_to_end(&mut bytes).is_ok() {
                return Ok(Some((end, bytes)));
            }
            from = end + 1;
        }
        Ok(None)
    }

    /// The block that lies there as a file of its own.
    fn as_file(&self, at: u64, end: u64) -> Vec<u8> {
        let mut file = Vec::with_capacity(((end - at) / 8 + 32) as usize);
        file.extend_from_slice(STREAM_START);
        let rest = self.bits.copy(at, end, &mut file);
        // Of one block, the stream's checksum is the block's.
        let checksum = self.bits.number(at + MARK_BITS, CHECKSUM_BITS);
        let last = if rest == 0 { 0 } else { self.bits.number(end - rest, rest) };
        let tail = u128::from(last) << (MARK_BITS + CHECKSUM_BITS)
            | u128::from(END_MARK) << CHECKSUM_BITS
            | u128::from(checksum);
        let n_bits = rest + MARK_BITS + CHECKSUM_BITS;
        let tail = tail << (128 - n_bits);
        file.extend_from_slice(&tail.to_be_bytes()[..n_bits.div_ceil(8) as usize]);
        file
    }

    fn broken(&self, what: &str, at: u64, came: u64) -> Failure {
        broken_file(Codec::Bzip2, self.piece, what, at / 8, came)
    }
}

/// Where the first block of the piece begins, if one does, counted from the file's first one.
fn first_in(input: &dyn Input, piece: &SplitPiece, end: u64) -> Result<Option<u64>, Failure> {
    let whole = SplitPiece { offset: 0, length: piece.file_length, ..piece.clone() };
    let mut chain = Chain::of_file(input, &whole)?;
    while let Some((at, _)) = chain.step(0)? {
        if at / 8 >= piece.offset {
            return Ok(Some(at).filter(|at| at / 8 < end));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::task::storage::testing::MemoryInput;

    fn piece(offset: u64, length: u64, file_length: u64) -> SplitPiece {
        SplitPiece { path: "/f.bz2".into(), offset, length, file_length, e_tag: None }
    }

    /// What comes out of a piece: what is its own, and what follows.
    fn read(data: &[u8], offset: u64, length: u64) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let input = MemoryInput { data: data.to_vec(), block: 1000 };
        let piece = piece(offset, length, data.len() as u64);
        let mut units = Bzip2Units::open(&input, &piece)?;
        let raw = units.raw();
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        while let Some(block) = units.next_block()? {
            if raw.end().is_none() { &mut own } else { &mut rest }.extend_from_slice(&block);
        }
        assert_eq!(raw.passed(), length);
        Ok((own, rest))
    }

    fn compressed(data: &[u8], level: u32) -> Vec<u8> {
        let level = bzip2::Compression::new(level);
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Bytes that hardly compress.
    fn noise(n: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn pieces_have_all_blocks_once_wherever_the_cuts_are() {
        let (a, b) = (noise(350_000, 1), b"abc\n".repeat(100_000));
        let (c, d) = (Vec::new(), vec![b'x'; 3_000_000]);
        let data: Vec<u8> = [&a, &b, &c, &d].into_iter().flat_map(|it| compressed(it, 1)).collect();
        let expected = [a, b, c, d].concat();
        let n = data.len() as u64;
        for cuts in
            [vec![], vec![1], vec![3, 4, 5], vec![14], (1..40).map(|it| it * n / 40).collect()]
        {
            let all: Vec<u64> = [0].into_iter().chain(cuts).chain([n]).collect();
            let mut whole = Vec::new();
            for cut in all.windows(2) {
                let (own, rest) = read(&data, cut[0], cut[1] - cut[0]).unwrap();
                whole.extend_from_slice(&own);
                let follows = own.is_empty() && cut[0] > 0 || expected[whole.len()..] == rest;
                assert!(follows, "cut at {cut:?}");
            }
            assert!(whole == expected, "cuts at {all:?}");
        }
    }

    /// A file of one block that holds the mark of a block, and what it holds. Which bytes come up in a block is written down as
    /// 16 bits for each 16 of them: so these spell the mark.
    fn with_false_mark() -> (Vec<u8>, Vec<u8>) {
        let spelled = [(4_u8, 0x3141_u16), (5, 0x5926), (6, 0x5359)];
        let is_used = |map: u16, n: &u8| map >> (15 - n) & 1 == 1;
        let of = |(group, map): (u8, u16)| {
            (0..16).filter(move |n| is_used(map, n)).map(move |n| group * 16 + n)
        };
        let used: Vec<u8> = spelled.into_iter().flat_map(of).collect();
        let noise = noise(60_000, 3);
        let data: Vec<u8> = noise.iter().map(|it| used[*it as usize % used.len()]).collect();
        (compressed(&data, 9), data)
    }

    #[test]
    fn a_mark_inside_of_a_block_begins_and_ends_none() {
        let (file, data) = with_false_mark();
        let mut bits = Bits::new(
            MemoryInput { data: file.clone(), block: 100 }
                .read(&piece(0, 0, 0), 0, file.len() as u64)
                .unwrap(),
            0,
        );
        let marks = |bits: &mut Bits<'_>| {
            let mut found = Vec::new();
            let mut from = 0;
            while let Some((at, mark)) = bits.find(from, u64::MAX / 16).unwrap() {
                found.push((at, mark));
                from = at + 1;
            }
            found
        };
        let found = marks(&mut bits);
        let kinds: Vec<_> = found.iter().map(|(_, mark)| *mark).collect();
        assert_eq!(kinds, [Mark::Block, Mark::Block, Mark::End], "it is there");
        let twice = [&file[..], &file].concat();
        let n = twice.len() as u64;
        for cut in [1, 5, found[1].0 / 8, found[1].0 / 8 + 1, n / 2, n / 2 + 10] {
            let (first, _) = read(&twice, 0, cut).unwrap();
            let (second, _) = read(&twice, cut, n - cut).unwrap();
            assert!([first, second].concat() == [&data[..], &data].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn a_block_that_is_broken_where_a_piece_begins_is_not_left_out() {
        let file = compressed(&noise(250_000, 5), 1);
        let input = MemoryInput { data: file.clone(), block: 1000 };
        let whole = piece(0, file.len() as u64, file.len() as u64);
        let mut chain = Chain::of_file(&input, &whole).unwrap();
        let second = chain.step(0).and_then(|_| chain.step(0)).unwrap().unwrap().0 / 8;
        let mut broken = file.clone();
        broken[second as usize + 1000] ^= 4;
        let n = broken.len() as u64;
        let failure = read(&broken, second, n - second).unwrap_err();
        assert!(failure.message.contains("/f.bz2"), "{}", failure.message);
        assert!(failure.message.contains("a block is damaged"), "{}", failure.message);
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_an_error_where_it_is_read() {
        let text = noise(400_000, 7);
        let file = compressed(&text, 1);
        let n = file.len() as u64;
        let mut flipped = file.clone();
        flipped[file.len() / 2] ^= 1;
        let torn = file[..file.len() - 30].to_vec();
        let with_more = [&file[..], b"more"].concat();
        for (bad, name) in [(flipped, "flipped"), (torn, "torn"), (with_more, "with more")] {
            let n = bad.len() as u64;
            let halves = [read(&bad, 0, n / 2), read(&bad, n / 2, n - n / 2)];
            assert!(halves.iter().any(Result::is_err), "{name}");
        }
        let (own, rest) = read(&file, 0, n / 2).unwrap();
        assert!(!own.is_empty() && !rest.is_empty());
        assert!(read(b"no bzip2 at all", 0, 15).is_err());
        assert_eq!(read(&compressed(b"", 9), 0, 14).unwrap().0, b"");
    }
}
