//! Where records of bzip2 and zstd files stand for the sequential oracle: by the blocks or frames of the whole file, found in
//! the plainest way, by nothing of the task runtime's.

use std::io::{self, Read as _};

use mapreduce_protocol::Codec;

const BLOCK_MARK: u64 = 0x3141_5926_5359;
const END_MARK: u64 = 0x1772_4538_5090;
const MARK_BITS: usize = 48;
/// A place is so many times the byte of its block or frame, and what of that is before it.
const PLACES_PER_BYTE: u64 = 4 << 20;

/// The blocks or frames of a file in order: at which byte each begins, and how many bytes are in all before it.
#[derive(Debug)]
pub(crate) struct OraclePlaces(Vec<(u64, u64)>);

impl OraclePlaces {
    /// Of a file with the bytes `raw`; nothing for codecs without them.
    pub(crate) fn of(codec: Codec, raw: &[u8]) -> io::Result<Option<Self>> {
        let units = match codec {
            Codec::Bzip2 => bzip2_blocks(raw)?,
            Codec::Zstd => zstd_frames(raw)?,
            Codec::Gzip | Codec::Lz4 | Codec::Snappy => return Ok(None),
        };
        let begun = |before: &mut u64, (at, holds): (usize, usize)| {
            let unit = (at as u64, *before);
            *before += holds as u64;
            Some(unit)
        };
        Ok(Some(Self(units.into_iter().scan(0, begun).collect())))
    }

    /// Of the byte `at` of what the file holds.
    pub(crate) fn place(&self, at: u64) -> u64 {
        let begun = self.0.partition_point(|(_, before)| *before <= at);
        match self.0[..begun].last() {
            Some((unit, before)) if at > 0 => unit * PLACES_PER_BYTE + at - before,
            _ => 0,
        }
    }
}

/// Where each frame begins, and how many bytes it holds.
fn zstd_frames(raw: &[u8]) -> io::Result<Vec<(usize, usize)>> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        let length = zstd::zstd_safe::find_frame_compressed_size(&raw[at..])
            .map_err(|code| io::Error::other(zstd::zstd_safe::get_error_name(code)))?;
        frames.push((at, zstd::decode_all(&raw[at..at + length])?.len()));
        at += length;
    }
    Ok(frames)
}

/// The same of blocks; the first one counts as the file's beginning.
fn bzip2_blocks(raw: &[u8]) -> io::Result<Vec<(usize, usize)>> {
    let marks = marks(raw);
    let (mut blocks, mut n) = (Vec::new(), 0);
    while let Some((at, is_block)) = marks.get(n).copied() {
        n += 1;
        if !is_block {
            continue;
        }
        // Marks may come up within a block by chance: it goes on to the first one up to which it is whole.
        let mut ends = (n..).zip(&marks[n..]);
        let whole = ends.find_map(|(n, (end, _))| held(raw, at, *end).map(|holds| (n, holds)));
        let (end, holds) = whole.ok_or_else(|| io::Error::other("a block is damaged"))?;
        blocks.push((if blocks.is_empty() { 0 } else { at / 8 }, holds));
        n = end;
    }
    Ok(blocks)
}

/// Bits at which a mark stands, and whether it is a block's.
fn marks(raw: &[u8]) -> Vec<(usize, bool)> {
    let (mut found, mut window) = (Vec::new(), 0_u64);
    for (n, byte) in raw.iter().enumerate() {
        for bit in 0..8 {
            window = (window << 1 | u64::from(byte >> (7 - bit) & 1)) & ((1 << MARK_BITS) - 1);
            if window == BLOCK_MARK || window == END_MARK {
                found.push((n * 8 + bit + 1 - MARK_BITS, window == BLOCK_MARK));
            }
        }
    }
    found
}

/// How many bytes the block holds that has these bits; nothing if it is no whole one.
fn held(raw: &[u8], from: usize, to: usize) -> Option<usize> {
    let bit = |at: usize| raw[at / 8] >> (7 - at % 8) & 1;
    let checksum = from + MARK_BITS..from + MARK_BITS + 32;
    if to < checksum.end {
        return None;
    }
    let end = (0..MARK_BITS).map(|n| (END_MARK >> (MARK_BITS - 1 - n) & 1) as u8);
    let mut bits: Vec<u8> = (from..to).map(bit).chain(end).chain(checksum.map(bit)).collect();
    bits.resize(bits.len().next_multiple_of(8), 0);
    let mut stream = b"BZh9".to_vec();
    stream.extend(bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)));
    let mut bytes = Vec::new();
    bzip2::read::BzDecoder::new(&stream[..]).read_to_end(&mut bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_units_that_hold_them() {
        let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let (first, empty) = (frame(b"a\nb\n"), frame(b""));
        let raw = [&first[..], &empty, &frame(b"c\nd\n")].concat();
        let places = OraclePlaces::of(Codec::Zstd, &raw).unwrap().unwrap();
        let third = ((first.len() + empty.len()) as u64) << 22;
        assert_eq!([0, 2, 4, 6].map(|at| places.place(at)), [0, 2, third, third + 2]);
        assert!(OraclePlaces::of(Codec::Zstd, &raw[..raw.len() - 1]).is_err());
        assert!(OraclePlaces::of(Codec::Gzip, &raw).unwrap().is_none());
    }
}
