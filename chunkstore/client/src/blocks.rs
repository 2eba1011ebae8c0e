//! The two ends of a block stream (`chunkstore_protocol::block`): [`BlockEncoder`] cuts a chunk's
//! bytes into checksummed blocks, [`BlockDecoder`] parses the stream and verifies it. No I/O. The
//! client uses both; the chunkserver decodes what it receives.

use bytes::{BufMut as _, Bytes, BytesMut};
use chunkstore_core::writer::Sent;
use chunkstore_protocol::block::{BLOCK_BYTES, BlockHeader, HEADER_BYTES};

use crate::checksum::{ChunkChecksum, Crc32c, crc32c};

/// Cuts a chunk's bytes into blocks. Pushed bytes that make whole blocks are shared, not copied.
#[derive(Debug, Default)]
pub struct BlockEncoder {
    /// Room for a header, followed by the bytes of a block that is not full yet.
    partial: BytesMut,
    checksum: ChunkChecksum,
    length: u64,
}

impl BlockEncoder {
    /// Takes the next bytes of the chunk, and appends the frames that they complete to `frames`.
    pub fn push(&mut self, mut bytes: Bytes, frames: &mut Vec<Bytes>) {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let filled = self.partial.len().saturating_sub(HEADER_BYTES);
            if filled == 0 && bytes.len() >= BLOCK_BYTES {
                let block = bytes.split_to(BLOCK_BYTES);
                let header = self.header(&block);
                frames.push(Bytes::copy_from_slice(&header));
                frames.push(block);
                continue;
            }
            if self.partial.is_empty() {
                self.partial.put_bytes(0, HEADER_BYTES);
            }
            let taken = bytes.split_to(bytes.len().min(BLOCK_BYTES - filled));
            self.partial.extend_from_slice(&taken);
            if self.partial.len() == HEADER_BYTES + BLOCK_BYTES {
                self.end_block(frames);
            }
        }
    }

    /// Appends the last block and the end mark, returns what was sent, and starts anew.
    pub fn finish(&mut self, frames: &mut Vec<Bytes>) -> Sent {
        if !self.partial.is_empty() {
            self.end_block(frames);
        }
        let checksum = self.checksum.value();
        frames.push(Bytes::copy_from_slice(&BlockHeader { length: 0, checksum }.encode()));
        let sent = Sent { length: self.length, checksum };
        *self = Self::default();
        sent
    }

    /// Removes the first `n_frames` from `frames`, which are all frames of the chunk so far, with
    /// the end mark if `ended`. The rest is a chunk of its own. If it has ended, returns its length
    /// and checksum; it has no frames if it has no bytes.
    pub fn forget(
        &mut self,
        frames: &mut Vec<Bytes>,
        n_frames: usize,
        ended: bool,
    ) -> Option<Sent> {
        frames.drain(..n_frames);
        let (mut checksum, mut length) = (ChunkChecksum::default(), 0);
        for (_, block) in blocks(frames) {
            checksum.push(block.checksum, block.length.into());
            length += u64::from(block.length);
        }
        if !ended {
            self.checksum = checksum;
            self.length = length + self.partial.len().saturating_sub(HEADER_BYTES) as u64;
            return None;
        }
        frames.pop(); // That end mark spoke of what is gone, too.
        let checksum = checksum.value();
        if length > 0 {
            frames.push(Bytes::copy_from_slice(&BlockHeader { length: 0, checksum }.encode()));
        }
        Some(Sent { length, checksum })
    }

    fn end_block(&mut self, frames: &mut Vec<Bytes>) {
        let mut block = self.partial.split();
        let header = self.header(&block[HEADER_BYTES..]);
        block[..HEADER_BYTES].copy_from_slice(&header);
        frames.push(block.freeze());
    }

    fn header(&mut self, block: &[u8]) -> [u8; HEADER_BYTES] {
        let checksum = crc32c(block);
        self.checksum.push(checksum, block.len() as u64);
        let length = u32::try_from(block.len()).expect("a block's length fits");
        BlockHeader { length, checksum }.encode()
    }
}

/// How many frames of a [`BlockEncoder`] the first `length` bytes take, with their length and
/// checksum; `None` if no block ends there.
#[must_use]
pub fn first_bytes(frames: &[Bytes], length: u64) -> Option<(usize, Sent)> {
    let (mut checksum, mut so_far, mut n_frames) = (ChunkChecksum::default(), 0, 0);
    for (n, block) in blocks(frames) {
        if so_far >= length {
            break;
        }
        checksum.push(block.checksum, block.length.into());
        so_far += u64::from(block.length);
        n_frames += n;
    }
    (so_far == length).then(|| (n_frames, Sent { length, checksum: checksum.value() }))
}

/// The headers of the blocks in a [`BlockEncoder`]'s frames, and how many frames each block takes.
fn blocks(frames: &[Bytes]) -> impl Iterator<Item = (usize, BlockHeader)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = frames.get(at)?;
        let header = BlockHeader::decode(*frame.first_chunk::<HEADER_BYTES>()?)?;
        let n = if frame.len() == HEADER_BYTES { 2 } else { 1 };
        at += n;
        (header.length > 0).then_some((n, header))
    })
}

/// What a [`BlockDecoder`] finds in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the current block, NOT verified before its [`Item::BlockEnd`].
    Bytes(Bytes),
    /// The current block is complete and matches its checksum.
    BlockEnd {
        /// That checksum.
        checksum: u32,
    },
    /// The stream is complete.
    End {
        /// CRC32C of its bytes.
        checksum: u32,
    },
}

/// Why a block stream can't be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A block header claims more than a block may hold.
    #[error("a block header at byte {offset} is malformed")]
    BadHeader {
        /// Bytes of blocks before it.
        offset: u64,
    },
    /// A block does not match its checksum.
    #[error("the block at byte {offset} does not match its checksum")]
    Checksum {
        /// Bytes of blocks before it.
        offset: u64,
    },
    /// The end mark does not match the blocks before it.
    #[error("the end mark does not match the {length} bytes before it")]
    EndMark {
        /// Those bytes.
        length: u64,
    },
    /// A block follows one that was not full.
    #[error("a block follows a short one at byte {offset}")]
    AfterShortBlock {
        /// Bytes of blocks before it.
        offset: u64,
    },
    /// Bytes follow the end mark.
    #[error("bytes follow the end mark")]
    AfterEnd,
    /// More bytes than allowed.
    #[error("more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The stream ended before its end mark.
    #[error("cut short after {length} bytes")]
    CutShort {
        /// Bytes of blocks that had arrived.
        length: u64,
    },
}

#[derive(Debug)]
enum State {
    Header { filled: usize },
    Block { left: usize, expected: u32 },
    Ended,
}

/// Parses a block stream: [`Self::feed`] a frame, then call [`Self::next_item`] until there are no
/// more.
#[derive(Debug)]
pub struct BlockDecoder {
    frame: Bytes,
    header: [u8; HEADER_BYTES],
    state: State,
    /// The checksum of the current block.
    crc: Crc32c,
    checksum: ChunkChecksum,
    length: u64,
    limit: u64,
    last_block_bytes: usize,
}

impl BlockDecoder {
    /// For a stream of at most `limit` bytes, not counting headers.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            frame: Bytes::new(),
            header: [0; HEADER_BYTES],
            state: State::Header { filled: 0 },
            crc: Crc32c::default(),
            checksum: ChunkChecksum::default(),
            length: 0,
            limit,
            last_block_bytes: BLOCK_BYTES,
        }
    }

    /// Takes the next frame, which may begin and end anywhere in the stream. All items of the
    /// previous frame must have been taken.
    pub fn feed(&mut self, frame: Bytes) {
        debug_assert!(self.frame.is_empty(), "items of the last frame are left");
        self.frame = frame;
    }

    /// The next item of the frames so far; `None`: feed another frame.
    ///
    /// # Errors
    /// When the stream can't be trusted; then nothing more may be read from it.
    pub fn next_item(&mut self) -> Result<Option<Item>, BlockError> {
        if matches!(&self.state, State::Block { left: 0, .. }) {
            return self.end_block().map(Some);
        }
        if self.frame.is_empty() {
            return Ok(None);
        }
        match &mut self.state {
            State::Block { left, .. } => {
                let bytes = self.frame.split_to(self.frame.len().min(*left));
                self.crc.update(&bytes);
                *left -= bytes.len();
                self.length += bytes.len() as u64;
                Ok(Some(Item::Bytes(bytes)))
            }
            State::Header { filled } => {
                let taken = self.frame.split_to(self.frame.len().min(HEADER_BYTES - *filled));
                self.header[*filled..*filled + taken.len()].copy_from_slice(&taken);
                *filled += taken.len();
                if *filled < HEADER_BYTES {
                    return Ok(None);
                }
                match self.begin_block()? {
                    Some(end) => Ok(Some(end)),
                    None => self.next_item(),
                }
            }
            State::Ended => Err(BlockError::AfterEnd),
        }
    }

    /// Checks the stream's end, once the transport says that it is over.
    ///
    /// # Errors
    /// When its end mark has not come.
    pub fn finish(&self) -> Result<(), BlockError> {
        match self.state {
            State::Ended => Ok(()),
            State::Header { .. } | State::Block { .. } => {
                Err(BlockError::CutShort { length: self.length })
            }
        }
    }

    /// Bytes of blocks so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn begin_block(&mut self) -> Result<Option<Item>, BlockError> {
        let offset = self.length;
        let header = BlockHeader::decode(self.header).ok_or(BlockError::BadHeader { offset })?;
        if header.length == 0 {
            self.state = State::Ended;
            let checksum = self.checksum.value();
            return if header.checksum == checksum {
                Ok(Some(Item::End { checksum }))
            } else {
                Err(BlockError::EndMark { length: offset })
            };
        }
        let left = header.length as usize;
        if self.last_block_bytes != BLOCK_BYTES {
            return Err(BlockError::AfterShortBlock { offset });
        }
        if offset + left as u64 > self.limit {
            return Err(BlockError::TooLong { limit: self.limit });
        }
        self.last_block_bytes = left;
        self.state = State::Block { left, expected: header.checksum };
        self.crc.reset();
        Ok(None)
    }

    fn end_block(&mut self) -> Result<Item, BlockError> {
        let State::Block { expected, .. } = &self.state else {
            return Err(BlockError::AfterEnd);
        };
        let checksum = *expected;
        if self.crc.value() != checksum {
            let offset = self.length - self.last_block_bytes as u64;
            return Err(BlockError::Checksum { offset });
        }
        self.checksum.push(checksum, self.last_block_bytes as u64);
        self.state = State::Header { filled: 0 };
        Ok(Item::BlockEnd { checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 31 % 251) as u8).collect()
    }

    fn encode_frames(data: &[u8]) -> (Vec<Bytes>, Sent) {
        let (mut encoder, mut frames) = (BlockEncoder::default(), Vec::new());
        encoder.push(Bytes::copy_from_slice(data), &mut frames);
        let sent = encoder.finish(&mut frames);
        (frames, sent)
    }

    fn encode(data: &[u8], piece: usize) -> (Vec<u8>, Sent) {
        let mut encoder = BlockEncoder::default();
        let mut frames = Vec::new();
        for part in data.chunks(piece) {
            encoder.push(Bytes::copy_from_slice(part), &mut frames);
        }
        let sent = encoder.finish(&mut frames);
        (frames.concat(), sent)
    }

    fn decode(stream: &[u8], frame: usize, limit: u64) -> Result<(Vec<u8>, u32), BlockError> {
        let mut decoder = BlockDecoder::new(limit);
        let (mut out, mut end) = (Vec::new(), 0);
        for part in stream.chunks(frame) {
            decoder.feed(Bytes::copy_from_slice(part));
            while let Some(item) = decoder.next_item()? {
                match item {
                    Item::Bytes(bytes) => out.extend_from_slice(&bytes),
                    Item::BlockEnd { .. } => {}
                    Item::End { checksum } => end = checksum,
                }
            }
        }
        decoder.finish()?;
        assert_eq!(decoder.length(), out.len() as u64);
        Ok((out, end))
    }

    #[test]
    fn a_chunk_round_trips_however_it_is_cut() {
        for n in [0, 1, 7, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5] {
            let data = bytes(n);
            let (reference, sent) = encode(&data, usize::MAX);
            assert_eq!(sent.length, n as u64);
            for piece in [1000, BLOCK_BYTES, 100_000] {
                assert_eq!(encode(&data, piece), (reference.clone(), sent), "{n} by {piece}");
            }
            for frame in [3, 1009, BLOCK_BYTES + HEADER_BYTES, usize::MAX] {
                let decoded = decode(&reference, frame, n as u64);
                assert_eq!(decoded, Ok((data.clone(), sent.checksum)), "{n} by {frame}");
            }
        }
    }

    #[test]
    fn no_changed_byte_and_no_missing_tail_goes_unnoticed() {
        let data = bytes(2 * BLOCK_BYTES + 100);
        let (stream, _) = encode(&data, usize::MAX);
        for at in (0..stream.len()).step_by(997).chain(stream.len() - 120..stream.len()) {
            let mut changed = stream.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed, 5000, 1 << 30).is_err(), "changed at {at}");
            assert!(decode(&stream[..at], 5000, 1 << 30).is_err(), "cut at {at}");
        }
        let longer = [stream.clone(), vec![0]].concat();
        assert_eq!(decode(&longer, 5000, 1 << 30), Err(BlockError::AfterEnd));
        let limit = data.len() as u64 - 1;
        assert_eq!(decode(&stream, 5000, limit), Err(BlockError::TooLong { limit }));
    }

    #[test]
    fn what_is_behind_a_sealed_beginning_is_a_chunk_of_its_own() {
        let block = BLOCK_BYTES as u64;
        for n in [1, 3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
            for piece in [1000, BLOCK_BYTES, usize::MAX] {
                for (cut, ended) in (0..=4).flat_map(|cut| [(cut, false), (cut, true)]) {
                    let cut = (cut * block).min(n as u64);
                    let data = bytes(n);
                    let (mut encoder, mut frames) = (BlockEncoder::default(), Vec::new());
                    for part in data.chunks(piece) {
                        encoder.push(Bytes::copy_from_slice(part), &mut frames);
                    }
                    if ended {
                        encoder.finish(&mut frames);
                    }
                    let Some((n_frames, first)) = first_bytes(&frames, cut) else {
                        assert!(!ended && cut > n as u64 / block * block, "{n} {piece} {cut}");
                        continue;
                    };
                    let (before, behind) = data.split_at(usize::try_from(cut).unwrap());
                    assert_eq!(first, Sent { length: cut, checksum: crc32c(before) });
                    let sent = encoder.forget(&mut frames, n_frames, ended);
                    if behind.is_empty() && ended {
                        assert!(frames.is_empty());
                        continue;
                    }
                    let sent = sent.unwrap_or_else(|| encoder.finish(&mut frames));
                    let expected = Sent { length: behind.len() as u64, checksum: crc32c(behind) };
                    assert_eq!(sent, expected, "{n} by {piece}, cut at {cut}");
                    let decoded = decode(&frames.concat(), 5000, 1 << 30);
                    assert_eq!(decoded, Ok((behind.to_vec(), sent.checksum)));
                }
            }
        }
        let (frames, _) = encode_frames(&bytes(2 * BLOCK_BYTES));
        assert_eq!(first_bytes(&frames, 5), None, "within a block");
        assert_eq!(first_bytes(&frames, 3 * block), None, "behind the end");
    }

    #[test]
    fn a_short_block_is_the_last() {
        let mut frames = Vec::new();
        let mut encoder = BlockEncoder::default();
        encoder.push(Bytes::from_static(b"short"), &mut frames);
        encoder.end_block(&mut frames);
        encoder.push(Bytes::from_static(b"another"), &mut frames);
        encoder.finish(&mut frames);
        let refused = decode(&frames.concat(), 100, 1000);
        assert_eq!(refused, Err(BlockError::AfterShortBlock { offset: 5 }));
    }
}
