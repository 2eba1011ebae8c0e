//! The bytes of a bzip2 file as bits, and the marks among them: where blocks and streams may begin and end.

use bytes::Bytes;
use mapreduce_protocol::Failure;

use super::storage::Blocks;

/// Bits of a mark.
pub(super) const MARK_BITS: u64 = 48;
const BLOCK_MARK: u64 = 0x3141_5926_5359;
pub(super) const END_MARK: u64 = 0x1772_4538_5090;
/// Bytes in which a mark lies, wherever in the first of them it begins.
const MARK_BYTES: usize = 7;
/// Bytes that are passed before they are thrown away.
const PASSED_BYTES: u64 = 1 << 20;

/// What a mark stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A block.
    Block,
    /// The end of a stream.
    End,
}

impl Mark {
    fn of(bits: u64) -> Option<Self> {
        match bits {
            BLOCK_MARK => Some(Self::Block),
            END_MARK => Some(Self::End),
            _ => None,
        }
    }
}

/// For each value of the byte so many behind the one in which a mark begins: at which of its bits one may begin. (The lower
/// half is of blocks.) Of bytes by chance, one of 256 passes two of these.
const fn may_begin(behind: u32) -> [u16; 256] {
    let mut table = [0; 256];
    let mut shift = 0;
    while shift < 8 {
        let at = MARK_BITS as u32 - 8 * (behind + 1) + shift;
        table[(BLOCK_MARK >> at) as usize & 0xff] |= 1 << shift;
        table[(END_MARK >> at) as usize & 0xff] |= 1 << (8 + shift);
        shift += 1;
    }
    table
}

const SECOND: [u16; 256] = may_begin(1);
const THIRD: [u16; 256] = may_begin(2);

/// See the module. Places are bits of the whole file.
pub(super) struct Bits<'a> {
    blocks: Box<dyn Blocks + 'a>,
    bytes: Vec<u8>,
    /// Where `bytes` begin in the file.
    base: u64,
    ended: bool,
}

impl<'a> Bits<'a> {
    /// Of blocks that begin at that byte of the file.
    pub(super) fn new(blocks: Box<dyn Blocks + 'a>, base: u64) -> Self {
        Self { blocks, bytes: Vec::new(), base, ended: false }
    }

    /// Some bytes; fewer where the file ends.
    pub(super) fn bytes(&mut self, at: u64, n: usize) -> Result<&[u8], Failure> {
        self.have(at + n as u64)?;
        let start = self.index(at).min(self.bytes.len());
        Ok(&self.bytes[start..self.bytes.len().min(start + n)])
    }

    /// What is before is not asked for any more.
    pub(super) fn forget(&mut self, before: u64) {
        let n = (before / 8).saturating_sub(self.base);
        if n >= PASSED_BYTES {
            self.bytes.drain(..self.bytes.len().min(n as usize));
            self.base += n;
        }
    }

    /// The mark at that place, if there is one.
    pub(super) fn mark_at(&mut self, at: u64) -> Result<Option<Mark>, Failure> {
        if !self.have(at / 8 + MARK_BYTES as u64)? {
            return Ok(None);
        }
        Ok(Mark::of(self.number(at, MARK_BITS)))
    }

    /// The first mark that begins at `from` or later, and before `limit`. Behind a stream's last one there is a checksum, so
    /// none ends with the file.
    pub(super) fn find(&mut self, from: u64, limit: u64) -> Result<Option<(u64, Mark)>, Failure> {
        let mut byte = from / 8;
        while byte * 8 < limit && self.have(byte + MARK_BYTES as u64)? {
            let end = (self.base + self.bytes.len() as u64 + 1 - MARK_BYTES as u64)
                .min(limit.div_ceil(8));
            let window = &self.bytes[self.index(byte)..self.index(end) + MARK_BYTES - 1];
            let places = window.windows(MARK_BYTES).enumerate();
            for (n, window) in places {
                let may = SECOND[window[1] as usize] & THIRD[window[2] as usize];
                if may == 0 {
                    continue;
                }
                let first = (byte + n as u64) * 8;
                for at in (first..first + 8).filter(|at| (from..limit).contains(at)) {
                    if let Some(mark) = Mark::of(self.number(at, MARK_BITS)) {
                        return Ok(Some((at, mark)));
                    }
                }
            }
            byte = end;
        }
        Ok(None)
    }

    /// At most 57 bits, which are there, as a number.
    pub(super) fn number(&self, at: u64, n_bits: u64) -> u64 {
        let start = self.index(at / 8);
        let mut word = [0; 8];
        let n = (self.bytes.len() - start).min(8);
        word[..n].copy_from_slice(&self.bytes[start..start + n]);
        (u64::from_be_bytes(word) << (at % 8)) >> (64 - n_bits)
    }

    /// Appends whole bytes of bits that are there: as many as there are up to `end`. How many bits are left, fewer than 8.
    pub(super) fn copy(&self, at: u64, end: u64, to: &mut Vec<u8>) -> u64 {
        let (start, shift) = (self.index(at / 8), at % 8);
        let n = ((end - at) / 8) as usize;
        if shift == 0 {
            to.extend_from_slice(&self.bytes[start..start + n]);
        } else {
            let pairs = self.bytes[start..=start + n].windows(2);
            to.extend(pairs.map(|pair| pair[0] << shift | pair[1] >> (8 - shift)));
        }
        (end - at) % 8
    }

    fn index(&self, byte: u64) -> usize {
        usize::try_from(byte - self.base).expect("no more than a few blocks are held")
    }

    /// Reads on until the bytes before `end` are there; whether they are.
    fn have(&mut self, end: u64) -> Result<bool, Failure> {
        while self.base + (self.bytes.len() as u64) < end && !self.ended {
            match self.blocks.next_block()? {
                Some(block) => self.take(&block),
                None => self.ended = true,
            }
        }
        Ok(self.base + self.bytes.len() as u64 >= end)
    }

    fn take(&mut self, block: &Bytes) {
        self.bytes.extend_from_slice(block);
    }
}
