//! Compressed inputs as the bytes that they hold: a file from its first byte to its last, block by block. It is never
//! held as a whole, however much comes out of it. Parts of files, of the codecs that have such: `bzip2_units`, `zstd_units`.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Cursor, ErrorKind, Read};
use std::rc::Rc;

use bytes::Bytes;
use mapreduce_protocol::{Codec, Failure, FailureKind, SplitPiece};

use super::failure::failure;
use super::hadoop_blocks::HadoopBlocks;
use super::storage::{Blocks, Input};

/// Bytes that come out at once: what a processor's second cache holds.
const BLOCK_BYTES: usize = 256 << 10;

/// Bytes that tell formats apart that share a codec's name.
const MAGIC_BYTES: usize = 4;

const LZ4_MAGIC: u32 = 0x184D_2204;
const LZ4_LEGACY_MAGIC: u32 = 0x184C_2102;
/// The first of sixteen.
const LZ4_SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

/// How the chunk begins that every stream in Snappy's framing format begins with.
const SNAPPY_STREAM: [u8; MAGIC_BYTES] = [0xff, 6, 0, 0];

/// What a compressed file holds.
pub(crate) struct Decoded {
    decoder: Box<dyn Read>,
    raw: Rc<Raw>,
    codec: Codec,
    path: String,
    file_length: u64,
    /// Bytes that have come out.
    came: u64,
}

/// How far the compressed bytes are read, and why not farther.
#[derive(Default)]
pub(crate) struct Raw {
    passed: Cell<u64>,
    place: Cell<Option<u64>>,
    end: Cell<Option<u64>>,
    failure: RefCell<Option<Failure>>,
}

impl Raw {
    /// Compressed bytes that the decoder has taken.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.get()
    }

    /// So many compressed bytes are passed.
    pub(super) fn pass(&self, passed: u64) {
        self.passed.set(passed);
    }

    /// Where the first byte of the block stands that came last, in files that have places of their own (`places`).
    pub(crate) fn place(&self) -> Option<u64> {
        self.place.get()
    }

    /// The block that comes next stands there.
    pub(super) fn stands_at(&self, place: u64) {
        self.place.set(Some(place));
    }

    /// Of a part of a file: how many bytes its own blocks or frames hold, once the first one of another part has come up.
    pub(crate) fn end(&self) -> Option<u64> {
        self.end.get()
    }

    /// What comes after so many bytes is another part's.
    pub(super) fn end_at(&self, came: u64) {
        self.end.set(self.end.get().or(Some(came)));
    }

    /// Why the input could not be read, if that is why no more comes.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.borrow_mut().take()
    }
}

impl Decoded {
    /// All of the file that `piece` is.
    pub(crate) fn open(
        input: &dyn Input,
        piece: &SplitPiece,
        codec: Codec,
    ) -> Result<Self, Failure> {
        let blocks = input.read(piece, 0, piece.file_length)?;
        let raw = Rc::new(Raw::default());
        let reader = RawReader::new(blocks, &raw);
        let (path, file_length) = (piece.path.to_string(), piece.file_length);
        let nothing = Box::new(io::empty());
        let mut decoded = Self { decoder: nothing, raw, codec, path, file_length, came: 0 };
        decoded.decoder = decoder(codec, reader).map_err(|error| decoded.broken(&error))?;
        Ok(decoded)
    }

    /// How far the file is read.
    pub(crate) fn raw(&self) -> Rc<Raw> {
        Rc::clone(&self.raw)
    }

    /// Why no more comes out: the input's failure, or what the decoder says.
    fn broken(&self, error: &io::Error) -> Failure {
        if let Some(failure) = self.raw.take_failure() {
            return failure;
        }
        let Self { codec, path, file_length, came, .. } = self;
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => error.to_string(),
        };
        no_whole_file(*codec, path, &what, (self.raw.passed(), *file_length), *came)
    }
}

/// A part of a file is not what it should be, at a byte of the file; so many bytes of the part have come out before.
pub(super) fn broken_file(
    codec: Codec,
    piece: &SplitPiece,
    what: &str,
    at: u64,
    came: u64,
) -> Failure {
    no_whole_file(codec, &piece.path, what, (at, piece.file_length), came)
}

fn no_whole_file(
    codec: Codec,
    path: &str,
    what: &str,
    (at, file_length): (u64, u64),
    came: u64,
) -> Failure {
    let message = format!(
        "can't read input {path}: it is no whole {codec} file: {what}, at byte {at} of {file_length}, behind the first \
         {came} bytes that it holds. If it is not compressed at all, set 'input_compression: none'"
    );
    failure(FailureKind::InputUnavailable, message)
}

impl Blocks for Decoded {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut n = 0;
        while n < block.len() {
            match self.decoder.read(&mut block[n..]) {
                Ok(0) => break,
                Ok(more) => n += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.came += n as u64;
                    return Err(self.broken(&error));
                }
            }
        }
        self.came += n as u64;
        block.truncate(n);
        Ok((n > 0).then(|| block.into()))
    }
}

/// The compressed bytes.
pub(super) struct RawReader<'a> {
    blocks: Box<dyn Blocks + 'a>,
    /// What is left of the last block.
    block: Bytes,
    raw: Rc<Raw>,
}

impl<'a> RawReader<'a> {
    /// Of these blocks; what is read of them is added to `raw`.
    pub(super) fn new(blocks: Box<dyn Blocks + 'a>, raw: &Rc<Raw>) -> Self {
        Self { blocks, block: Bytes::new(), raw: Rc::clone(raw) }
    }
}

impl BufRead for RawReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.block.is_empty() {
            match self.blocks.next_block() {
                Ok(Some(block)) => self.block = block,
                Ok(None) => break,
                Err(failure) => {
                    let error = io::Error::other(failure.message.clone());
                    *self.raw.failure.borrow_mut() = Some(failure);
                    return Err(error);
                }
            }
        }
        Ok(&self.block)
    }

    fn consume(&mut self, n: usize) {
        self.raw.passed.set(self.raw.passed.get() + n as u64);
        self.block = self.block.split_off(n);
    }
}

impl Read for RawReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

/// What a compressed file holds, of its bytes from the first one on. The end of `raw` inside of it is an error of the kind
/// `UnexpectedEof`.
///
/// # Errors
/// When its beginning can't be read, or is another format's.
pub fn decoder<R: BufRead + 'static>(codec: Codec, mut raw: R) -> io::Result<Box<dyn Read>> {
    Ok(match codec {
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        Codec::Zstd => Box::new(zstd::Decoder::with_buffer(raw)?),
        Codec::Lz4 => {
            let magic = head(&mut raw)?;
            match u32::from_le_bytes(magic) {
                LZ4_LEGACY_MAGIC => {
                    let reason = "it is in LZ4's legacy format (`lz4 -l`): compress it anew";
                    return Err(io::Error::new(ErrorKind::InvalidData, reason));
                }
                known if known == LZ4_MAGIC || is_skippable(known) => {
                    Box::new(Lz4Frames::new(magic, raw))
                }
                _ => Box::new(HadoopBlocks::new(Cursor::new(magic).chain(raw), codec)),
            }
        }
        Codec::Snappy => {
            let magic = head(&mut raw)?;
            let raw = Cursor::new(magic).chain(raw);
            match magic {
                SNAPPY_STREAM => Box::new(snap::read::FrameDecoder::new(raw)),
                _ => Box::new(HadoopBlocks::new(raw, codec)),
            }
        }
    })
}

fn head(raw: &mut impl Read) -> io::Result<[u8; MAGIC_BYTES]> {
    let mut head = [0; MAGIC_BYTES];
    raw.read_exact(&mut head)?;
    Ok(head)
}

fn is_skippable(magic: u32) -> bool {
    magic & !0xf == LZ4_SKIPPABLE_MAGIC
}

/// LZ4 frames one after the other. The library's decoder stops at the end of each, and takes a file that ends between two
/// blocks of a frame for a whole one.
struct Lz4Frames<R: BufRead> {
    decoder: lz4_flex::frame::FrameDecoder<Watched<R>>,
    /// Whether a frame is under way.
    inside: bool,
}

impl<R: BufRead> Lz4Frames<R> {
    /// Of a file that begins with `magic`, and goes on with `raw`.
    fn new(magic: [u8; MAGIC_BYTES], raw: R) -> Self {
        let watched = Watched { magic: Cursor::new(magic), raw, ended: false };
        Self { decoder: lz4_flex::frame::FrameDecoder::new(watched), inside: false }
    }

    /// Stands on the next frame; passes those that hold nothing to be read.
    fn begin(&mut self) -> io::Result<bool> {
        let watched = self.decoder.get_mut();
        while let Some(magic) = watched.next_magic()? {
            if magic == LZ4_MAGIC {
                return Ok(true);
            }
            if !is_skippable(magic) {
                return Err(io::Error::new(ErrorKind::InvalidData, "no LZ4 frame begins there"));
            }
            watched.skip()?;
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.inside || self.begin()? {
            self.inside = true;
            let n = self.decoder.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            if self.decoder.get_ref().ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.inside = false;
        }
        Ok(0)
    }
}

/// Knows the magic number that was looked at, and whether more was wanted than there is.
struct Watched<R> {
    magic: Cursor<[u8; MAGIC_BYTES]>,
    raw: R,
    ended: bool,
}

impl<R: BufRead> Watched<R> {
    fn next_magic(&mut self) -> io::Result<Option<u32>> {
        if self.magic.position() > 0 {
            if self.raw.fill_buf()?.is_empty() {
                return Ok(None);
            }
            self.magic = Cursor::new(head(&mut self.raw)?);
        }
        Ok(Some(u32::from_le_bytes(*self.magic.get_ref())))
    }

    /// Passes a frame whose magic number was just looked at.
    fn skip(&mut self) -> io::Result<()> {
        self.magic.set_position(MAGIC_BYTES as u64);
        let length = u64::from(u32::from_le_bytes(head(&mut self.raw)?));
        let passed = io::copy(&mut self.raw.by_ref().take(length), &mut io::sink())?;
        if passed < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match self.magic.read(buffer)? {
            0 => self.raw.read(buffer)?,
            n => n,
        };
        self.ended |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::task::storage::testing::MemoryInput;

    fn compressed(codec: Codec, text: &[u8]) -> Vec<u8> {
        match codec {
            Codec::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                out.write_all(text).unwrap();
                out.finish().unwrap()
            }
            Codec::Bzip2 => {
                let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                out.write_all(text).unwrap();
                out.finish().unwrap()
            }
            Codec::Zstd => zstd::encode_all(text, 1).unwrap(),
            Codec::Lz4 => {
                let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
                out.write_all(text).unwrap();
                out.finish().unwrap()
            }
            Codec::Snappy => {
                let mut out = snap::write::FrameEncoder::new(Vec::new());
                out.write_all(text).unwrap();
                out.into_inner().unwrap()
            }
        }
    }

    /// As Hadoop writes it: blocks of at most `block` bytes, each of one or two runs.
    fn hadoop(codec: Codec, text: &[u8], block: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for block in text.chunks(block) {
            out.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            for run in block.chunks(block.len().div_ceil(2)) {
                let run = match codec {
                    Codec::Snappy => snap::raw::Encoder::new().compress_vec(run).unwrap(),
                    _ => lz4_flex::block::compress(run),
                };
                out.extend_from_slice(&u32::try_from(run.len()).unwrap().to_be_bytes());
                out.extend_from_slice(&run);
            }
        }
        out
    }

    fn text(n: usize) -> Vec<u8> {
        (0..n).map(|n| b"abcdefgh \n"[(n * n / 7 + n) % 10]).collect()
    }

    fn decoded(data: Vec<u8>, block: usize, codec: Codec) -> Result<Vec<u8>, Failure> {
        let file_length = data.len() as u64;
        let piece = SplitPiece {
            path: "/f".into(),
            offset: 0,
            length: file_length,
            file_length,
            e_tag: None,
        };
        let mut decoded = Decoded::open(&MemoryInput { data, block }, &piece, codec)?;
        let raw = decoded.raw();
        let mut all = Vec::new();
        while let Some(block) = decoded.next_block()? {
            all.extend_from_slice(&block);
        }
        assert_eq!(raw.passed(), file_length);
        Ok(all)
    }

    #[test]
    fn members_one_after_the_other_are_one_file_whatever_the_blocks() {
        for codec in Codec::ALL {
            // Its encoder writes nothing for nothing, and an empty file is not read.
            for n in [0, 1, 5000, 300_000].into_iter().skip(usize::from(codec == Codec::Snappy)) {
                let whole = text(n);
                let (first, second) = whole.split_at(n / 3);
                let members = [compressed(codec, first), compressed(codec, second)];
                for block in [1, 7, 4096, 1 << 20].into_iter().filter(|block| n <= 5000 * block) {
                    let found = decoded(members.concat(), block, codec).unwrap();
                    assert!(found == whole, "{codec} of {n} bytes in blocks of {block}");
                }
            }
        }
    }

    #[test]
    fn hadoops_blocks_are_told_from_frames() {
        for codec in [Codec::Lz4, Codec::Snappy] {
            let whole = text(10_000);
            for block in [1, 3000, 20_000] {
                let data = hadoop(codec, &whole, block);
                for read in [1, 7, 1 << 20] {
                    assert_eq!(decoded(data.clone(), read, codec).unwrap(), whole, "{codec}");
                }
            }
        }
    }

    #[test]
    fn frames_that_hold_nothing_to_be_read_are_passed() {
        let skippable = [&0x184D_2A53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let frame = compressed(Codec::Lz4, b"text");
        let data = [skippable.clone(), frame.clone(), skippable.clone(), frame, skippable.clone()];
        assert_eq!(decoded(data.concat(), 5, Codec::Lz4).unwrap(), b"texttext");
        let torn = skippable[..9].to_vec();
        assert!(decoded(torn, 5, Codec::Lz4).unwrap_err().message.contains("ends too early"));
    }

    #[test]
    fn a_file_that_ends_too_early_is_refused_wherever_it_is_cut() {
        let whole = text(200_000);
        for (codec, data) in [
            (Codec::Gzip, compressed(Codec::Gzip, &whole)),
            (Codec::Bzip2, compressed(Codec::Bzip2, &whole)),
            (Codec::Zstd, compressed(Codec::Zstd, &whole)),
            (Codec::Lz4, compressed(Codec::Lz4, &whole)),
            (Codec::Lz4, hadoop(Codec::Lz4, &whole, 1 << 20)),
            (Codec::Snappy, hadoop(Codec::Snappy, &whole, 1 << 20)),
        ] {
            let last = data.len() - 20;
            for cut in (1..data.len()).filter(|cut| *cut < 40 || *cut > last || cut % 4999 == 0) {
                let failure = decoded(data[..cut].to_vec(), 1 << 20, codec).expect_err("it is cut");
                assert_eq!(failure.kind, FailureKind::InputUnavailable);
                let said = &failure.message;
                let expected = [format!("/f: it is no whole {codec} file"), format!("of {cut},")];
                assert!(expected.iter().all(|it| said.contains(it)), "at {cut}: {said}");
            }
        }
        // Its streams have no end of their own: it can only be told where a chunk is torn.
        let data = compressed(Codec::Snappy, &whole);
        decoded(data[..data.len() - 1].to_vec(), 1 << 20, Codec::Snappy).unwrap_err();
    }

    #[test]
    fn a_bit_that_has_turned_is_found_by_checksums() {
        let whole = text(50_000);
        for codec in [Codec::Gzip, Codec::Bzip2, Codec::Snappy] {
            let mut data = compressed(codec, &whole);
            let middle = data.len() / 2;
            data[middle] ^= 4;
            let failure = decoded(data, 1 << 20, codec).unwrap_err();
            assert!(failure.message.contains("at byte"), "{}", failure.message);
        }
    }

    #[test]
    fn text_under_a_compressed_files_name_is_refused_with_a_way_out() {
        for codec in Codec::ALL {
            let failure = decoded(text(5000), 1 << 20, codec).unwrap_err();
            assert!(failure.message.contains("'input_compression: none'"), "{}", failure.message);
        }
    }

    #[test]
    fn what_the_input_fails_with_is_not_taken_for_a_broken_file() {
        struct Failing;
        impl Input for Failing {
            fn read(&self, _: &SplitPiece, _: u64, _: u64) -> Result<Box<dyn Blocks>, Failure> {
                Ok(Box::new(Self))
            }
        }
        impl Blocks for Failing {
            fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
                Err(failure(FailureKind::InputUnavailable, "no replica answers".to_owned()))
            }
        }
        for codec in Codec::ALL {
            let piece =
                SplitPiece { path: "/f".into(), offset: 0, length: 9, file_length: 9, e_tag: None };
            let read = Decoded::open(&Failing, &piece, codec).and_then(|mut it| it.next_block());
            assert_eq!(read.unwrap_err().message, "no replica answers", "{codec}");
        }
    }
}
