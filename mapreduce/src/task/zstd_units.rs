//! A part of a zstd file: the frames that begin in it, and what follows them as far as that is asked for (RFC 8878). `pzstd`,
//! the seekable format, and files that were put one behind another have many frames; a file that `zstd` wrote has one.
//!
//! A frame begins with four bytes, which may come up inside of one, too. So they only count if block after block follows
//! them to the frame's end, and then another frame, or the file's end. From the first one on, one frame follows the other.

use std::io::{self, BufRead, Cursor, ErrorKind, Read};
use std::rc::Rc;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, FailureKind, SplitPiece};
use memchr::memmem::Finder;
use zstd::stream::read::Decoder;

use super::codec::{Raw, RawReader, broken_file};
use super::failure::failure;
use super::following::following;
use super::places::place;
use super::storage::{Blocks, Input};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first of sixteen, but for its lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;
/// Longest block.
const BLOCK_BYTES_MAX: u64 = 128 << 10;
/// Bytes that come out at once.
const GIVEN_BYTES: usize = 256 << 10;

/// What a frame is read from: its first bytes, which were looked at, and the rest.
type FrameSource<'a> = io::Chain<Cursor<[u8; 4]>, RawReader<'a>>;

enum State<'a> {
    /// Before a frame, or at the end.
    Between(RawReader<'a>),
    /// In one.
    In(Decoder<'static, FrameSource<'a>>),
    /// At the end.
    Done,
}

/// See the module.
pub(super) struct ZstdUnits<'a> {
    piece: &'a SplitPiece,
    state: State<'a>,
    /// Where the frame under way begins.
    frame: u64,
    /// Bytes that have come out of it.
    came_of_frame: u64,
    /// Bytes that have come out.
    came: u64,
    raw: Rc<Raw>,
}

impl<'a> ZstdUnits<'a> {
    /// Stands before the first frame that begins in the piece. If none does, nothing comes out, but of the file's beginning, to
    /// which its first line belongs.
    pub(super) fn open(input: &'a dyn Input, piece: &'a SplitPiece) -> Result<Self, Failure> {
        let first = if piece.offset == 0 { Some(0) } else { first_in(input, piece)? };
        let raw = Rc::new(Raw::default());
        let state = match first {
            None => State::Done,
            Some(first) => {
                raw.pass(first - piece.offset);
                State::Between(RawReader::new(following(input, piece, first)?, &raw))
            }
        };
        let (frame, came_of_frame) = (first.unwrap_or(piece.offset), 0);
        Ok(Self { piece, state, frame, came_of_frame, came: 0, raw })
    }

    /// How far the piece is read.
    pub(super) fn raw(&self) -> Rc<Raw> {
        Rc::clone(&self.raw)
    }

    /// Goes to the next frame; whether there is one.
    fn begin(&mut self, mut reader: RawReader<'a>) -> io::Result<bool> {
        loop {
            let at = self.piece.offset + self.raw.passed();
            if reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut magic = [0; 4];
            reader.read_exact(&mut magic)?;
            if is_skippable(magic) {
                let mut length = [0; 4];
                reader.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                if io::copy(&mut reader.by_ref().take(length), &mut io::sink())? < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            if magic != MAGIC {
                return Err(io::Error::new(ErrorKind::InvalidData, NO_FRAME));
            }
            if at >= self.piece.offset + self.piece.length {
                self.raw.end_at(self.came);
            }
            (self.frame, self.came_of_frame) = (at, 0);
            let source = Cursor::new(magic).chain(reader);
            self.state = State::In(Decoder::with_buffer(source)?.single_frame());
            return Ok(true);
        }
    }

    fn step(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(None),
                State::Between(reader) => {
                    if !self.begin(reader)? {
                        return Ok(None);
                    }
                }
                State::In(mut decoder) => {
                    let mut block = vec![0; GIVEN_BYTES];
                    let mut n = 0;
                    while n < block.len() {
                        match decoder.read(&mut block[n..]) {
                            Ok(0) => break,
                            Ok(more) => n += more,
                            Err(error) if error.kind() == ErrorKind::Interrupted => {}
                            Err(error) => return Err(error),
                        }
                    }
                    self.state = if n < block.len() {
                        State::Between(decoder.finish().into_inner().1)
                    } else {
                        State::In(decoder)
                    };
                    if n > 0 {
                        block.truncate(n);
                        self.raw.stands_at(place(self.frame, self.came_of_frame));
                        self.came_of_frame += n as u64;
                        self.came += n as u64;
                        return Ok(Some(block.into()));
                    }
                }
            }
        }
    }
}

impl Blocks for ZstdUnits<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let stepped = self.step();
        if let Ok(None) = stepped {
            self.raw.pass(self.piece.length);
        }
        stepped.map_err(|error| {
            let at = self.piece.offset + self.raw.passed();
            self.raw.take_failure().unwrap_or_else(|| {
                let what = match error.kind() {
                    ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                    _ => error.to_string(),
                };
                broken_file(Codec::Zstd, self.piece, &what, at, self.came)
            })
        })
    }
}

const NO_FRAME: &str = "no frame begins where one should";

fn is_skippable(magic: [u8; 4]) -> bool {
    u32::from_le_bytes(magic) & !0xf == SKIPPABLE
}

/// Where the first frame begins that begins in the piece.
fn first_in(input: &dyn Input, piece: &SplitPiece) -> Result<Option<u64>, Failure> {
    let end = piece.offset + piece.length;
    let (finder, mut carried, mut at) = (Finder::new(&MAGIC), Vec::new(), piece.offset);
    let length = (end + MAGIC.len() as u64 - 1).min(piece.file_length) - at;
    let mut blocks = input.read(piece, at, length)?;
    while let Some(block) = blocks.next_block()? {
        carried.extend_from_slice(&block);
        if let Some(found) = finder.find(&carried) {
            let found = at + found as u64;
            return match Walk::from(input, piece, found)?.is_frame()? {
                true => Ok(Some(found)),
                // Inside of a frame, or a broken one: only who has walked from the first one on can tell.
                false => first_by_walking(input, piece),
            };
        }
        let passed = carried.len().saturating_sub(MAGIC.len() - 1);
        carried.drain(..passed);
        at += passed as u64;
    }
    Ok(None)
}

/// The same, from the file's first frame on.
fn first_by_walking(input: &dyn Input, piece: &SplitPiece) -> Result<Option<u64>, Failure> {
    let mut walk = Walk::from(input, piece, 0)?;
    loop {
        let at = walk.at();
        let is_sound = match walk.next_item()? {
            Item::End => return Ok(None),
            Item::Frame if at >= piece.offset => {
                return Ok(Some(at).filter(|at| *at < piece.offset + piece.length));
            }
            Item::Frame => walk.pass_frame()?,
            Item::Skippable => true,
            Item::Other => false,
        };
        if !is_sound {
            return Err(broken_file(Codec::Zstd, piece, NO_FRAME, at, 0));
        }
    }
}

/// What comes next in a file.
enum Item {
    /// A frame, whose magic number is passed.
    Frame,
    /// What decoders skip, which is passed.
    Skippable,
    /// Nothing.
    End,
    /// What should not be there.
    Other,
}

/// Goes through a file by the headers of frames and of their blocks, and decodes nothing.
struct Walk<'a> {
    reader: RawReader<'a>,
    start: u64,
    raw: Rc<Raw>,
}

impl<'a> Walk<'a> {
    fn from(input: &'a dyn Input, piece: &'a SplitPiece, start: u64) -> Result<Self, Failure> {
        let raw = Rc::new(Raw::default());
        let reader = RawReader::new(following(input, piece, start)?, &raw);
        Ok(Self { reader, start, raw })
    }

    fn at(&self) -> u64 {
        self.start + self.raw.passed()
    }

    /// Whether a whole frame comes next, and behind it what may follow one.
    fn is_frame(&mut self) -> Result<bool, Failure> {
        let is_whole = matches!(self.next_item()?, Item::Frame) && self.pass_frame()?;
        Ok(is_whole && !matches!(self.next_item()?, Item::Other))
    }

    fn next_item(&mut self) -> Result<Item, Failure> {
        let magic = self.take(4)?;
        let Some(magic) = magic.first_chunk().copied() else {
            return Ok(if magic.is_empty() { Item::End } else { Item::Other });
        };
        if magic == MAGIC {
            return Ok(Item::Frame);
        }
        let length = self.take(4)?;
        let Some(length) = length.first_chunk().filter(|_| is_skippable(magic)) else {
            return Ok(Item::Other);
        };
        let is_whole = self.skip(u64::from(u32::from_le_bytes(*length)))?;
        Ok(if is_whole { Item::Skippable } else { Item::Other })
    }

    /// Passes a frame behind its magic number; whether it is a whole one.
    fn pass_frame(&mut self) -> Result<bool, Failure> {
        let descriptor = self.take(1)?;
        let Some((length, has_checksum)) = descriptor.first().copied().and_then(header_rest) else {
            return Ok(false);
        };
        if !self.skip(length)? {
            return Ok(false);
        }
        loop {
            let [a, b, c] = self.take(3)?[..] else { return Ok(false) };
            let block = u32::from_le_bytes([a, b, c, 0]);
            let (is_last, kind, size) = (block & 1 == 1, block >> 1 & 3, u64::from(block >> 3));
            let is_block = kind != 3 && size <= BLOCK_BYTES_MAX;
            if !is_block || !self.skip(if kind == 1 { 1 } else { size })? {
                return Ok(false);
            }
            if is_last {
                return self.skip(if has_checksum { 4 } else { 0 });
            }
        }
    }

    /// The next `n` bytes; fewer where the file ends.
    fn take(&mut self, n: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let taken = self.reader.by_ref().take(n).read_to_end(&mut bytes);
        taken.map_err(|error| self.unreadable(&error))?;
        Ok(bytes)
    }

    /// Passes `n` bytes; whether there are as many.
    fn skip(&mut self, n: u64) -> Result<bool, Failure> {
        let mut left = n;
        while left > 0 {
            let there = self.reader.fill_buf().map(<[u8]>::len);
            let there = there.map_err(|error| self.unreadable(&error))?;
            if there == 0 {
                return Ok(false);
            }
            let passed = left.min(there as u64);
            self.reader.consume(usize::try_from(passed).unwrap_or(there));
            left -= passed;
        }
        Ok(true)
    }

    /// A reader of raw bytes fails for the input alone.
    fn unreadable(&self, error: &io::Error) -> Failure {
        let unknown = || failure(FailureKind::InputUnavailable, error.to_string());
        self.raw.take_failure().unwrap_or_else(unknown)
    }
}

/// Length of a frame's header behind its descriptor, and whether a checksum follows its blocks; `None` if it is none.
fn header_rest(descriptor: u8) -> Option<(u64, bool)> {
    let is_reserved = descriptor >> 3 & 1 == 1;
    if is_reserved {
        return None;
    }
    let is_single_segment = descriptor >> 5 & 1 == 1;
    let window = if is_single_segment { 0 } else { 1 };
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = match descriptor >> 6 {
        0 => u64::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    Some((window + dictionary + content, descriptor >> 2 & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::storage::testing::MemoryInput;

    /// What comes out of a piece: what is its own, and what follows.
    fn read(data: &[u8], offset: u64, length: u64) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let input = MemoryInput { data: data.to_vec(), block: 1000 };
        let file_length = data.len() as u64;
        let piece = SplitPiece { path: "/f.zst".into(), offset, length, file_length, e_tag: None };
        let mut units = ZstdUnits::open(&input, &piece)?;
        let raw = units.raw();
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        while let Some(block) = units.next_block()? {
            if raw.end().is_none() { &mut own } else { &mut rest }.extend_from_slice(&block);
        }
        assert_eq!(raw.passed(), length);
        Ok((own, rest))
    }

    fn frame(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).unwrap()
    }

    fn skippable(data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&(SKIPPABLE + 3).to_le_bytes()[..], &length, data].concat()
    }

    /// Bytes that hardly compress, so that they stand in a frame as they are.
    fn noise(n: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    fn check(file: &[u8], expected: &[u8], cuts: impl IntoIterator<Item = u64>) {
        let n = file.len() as u64;
        for cut in cuts {
            let (first, rest) = read(file, 0, cut).unwrap();
            let (second, _) = read(file, cut, n - cut).unwrap();
            assert!([&first[..], &second].concat() == expected, "cut at {cut}");
            assert!(
                rest == second,
                "what follows the first piece is the second one's: cut at {cut}"
            );
        }
    }

    #[test]
    fn pieces_have_all_frames_once_wherever_the_cuts_are() {
        let parts =
            [b"a\nb".to_vec(), Vec::new(), noise(3000, 1), b"c\n".repeat(500), noise(500, 2)];
        let plain: Vec<u8> = parts.iter().flat_map(|it| frame(it)).collect();
        check(&plain, &parts.concat(), 1..plain.len() as u64);
        // As pzstd writes it: each frame behind its length.
        let with_length = |part: &Vec<u8>| {
            let frame = frame(part);
            [skippable(&(frame.len() as u32).to_le_bytes()), frame].concat()
        };
        let pzstd: Vec<u8> = parts.iter().flat_map(with_length).collect();
        check(&pzstd, &parts.concat(), 1..pzstd.len() as u64);
        // As the seekable format has it: a table of all frames behind them.
        let seekable = [plain, skippable(&noise(60, 4))].concat();
        check(&seekable, &parts.concat(), 1..seekable.len() as u64);
    }

    #[test]
    fn what_begins_as_a_frame_inside_of_one_is_none() {
        // Bytes that do not compress stand there as they are: magic numbers, and whole frames.
        let inside =
            [noise(2000, 5), MAGIC.to_vec(), noise(2000, 6), frame(&noise(800, 8)), noise(900, 7)]
                .concat();
        let hidden = skippable(&frame(b"in what is skipped"));
        let file = [frame(&inside), frame(b"a\n"), hidden, frame(&inside)].concat();
        let n = MAGIC.len();
        assert!(file.windows(n).filter(|it| *it == MAGIC).count() >= 8, "they are there");
        let cuts = (1..file.len() as u64).step_by(97);
        check(&file, &[&inside[..], b"a\n", &inside].concat(), cuts);
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_an_error_where_it_is_read() {
        let file = [frame(&noise(300_000, 1)), frame(&noise(300_000, 2))].concat();
        let n = file.len() as u64;
        let second = (n / 2 - 100..n).find(|at| file[*at as usize..].starts_with(&MAGIC)).unwrap();
        let mut broken = file.clone();
        // The header of the frame's second block.
        broken[second as usize + 10 + (128 << 10)] ^= 0xff;
        broken[second as usize + 11 + (128 << 10)] ^= 0xff;
        let torn = &file[..file.len() - 30];
        let with_more = [&file[..], b"more"].concat();
        for (bad, name) in [(&broken[..], "broken"), (torn, "torn"), (&with_more, "with more")] {
            let n = bad.len() as u64;
            let failure = read(bad, second, n - second).unwrap_err();
            assert!(failure.message.contains("no whole zstd file"), "{name}: {}", failure.message);
        }
        assert!(read(b"no zstd at all", 0, 14).is_err());
    }
}
