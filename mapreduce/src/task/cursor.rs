//! Reading one sorted run, record by record: from memory (a fetched segment) or from a file of the map
//! output's layout. Blocks of files are verified as they are read, those in memory when they arrived.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mapreduce_protocol::Failure;
use mapreduce_protocol::map_output;
use mapreduce_protocol::map_output::{
    BLOCK_HEADER_BYTES, BlockHeader, LayoutError, Segment, Trailer,
};

use super::failure;
use super::run_writer::crc32c;

/// Where a run's blocks come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Blocks back to back, verified.
    Memory(Bytes),
    /// A range of a file.
    File {
        /// The file, open.
        file: Arc<File>,
        /// Its path, for messages.
        path: Arc<Path>,
        /// First byte not yet read.
        at: u64,
        /// Where the run ends.
        end: u64,
    },
}

impl Source {
    /// The blocks of `segment` of the file at `path`.
    pub(crate) fn open(path: &Path, segment: &Segment) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| failure::disk(&error, "open", path))?;
        let (at, end) = (segment.offset, segment.offset + segment.length);
        Ok(Self::File { file: Arc::new(file), path: path.into(), at, end })
    }

    /// The same file's range at `offset`; of memory, a slice.
    pub(crate) fn range(&self, offset: u64, length: u64) -> Self {
        match self {
            Self::Memory(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Self::Memory(bytes.slice(place(offset)..place(offset.saturating_add(length))))
            }
            Self::File { file, path, .. } => Self::File {
                file: Arc::clone(file),
                path: Arc::clone(path),
                at: offset,
                end: offset + length,
            },
        }
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { at, end, .. } => end - at,
        }
    }

    /// The raw bytes of the next block.
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Memory(bytes) => Ok(split_block(bytes)),
            Self::File { file, path, at, end } => {
                if at == end {
                    return Ok(None);
                }
                let block = read_block(file, path, *at, *end)?;
                *at += (BLOCK_HEADER_BYTES + block.len()) as u64;
                Ok(Some(block))
            }
        }
    }
}

/// Takes the first block off `bytes`, which were verified as whole blocks.
fn split_block(bytes: &mut Bytes) -> Option<Bytes> {
    let header = bytes.first_chunk::<BLOCK_HEADER_BYTES>()?;
    let length = BlockHeader::decode(header).ok()?.stored_length as usize;
    let mut block = bytes.split_to(BLOCK_HEADER_BYTES + length);
    Some(block.split_off(BLOCK_HEADER_BYTES))
}

fn read_block(file: &File, path: &Path, at: u64, end: u64) -> Result<Bytes, Failure> {
    let read = |bytes: &mut [u8], at| {
        file.read_exact_at(bytes, at).map_err(|error| failure::disk(&error, "read", path))
    };
    let mut header = [0; BLOCK_HEADER_BYTES];
    if end - at < BLOCK_HEADER_BYTES as u64 {
        return Err(failure::broken_run("it ends inside a block's header", path));
    }
    read(&mut header, at)?;
    let header = BlockHeader::decode(&header)
        .map_err(|error| failure::broken_run(&error.to_string(), path))?;
    let body = at + BLOCK_HEADER_BYTES as u64;
    if u64::from(header.stored_length) > end - body {
        return Err(failure::broken_run("a block is longer than its segment", path));
    }
    let mut block = vec![0; header.stored_length as usize];
    read(&mut block, body)?;
    if crc32c(&block) != header.crc32c {
        return Err(failure::broken_run("a block's checksum does not match", path));
    }
    Ok(block.into())
}

/// Reads the index of a map output file.
pub(crate) fn read_index(path: &Path) -> Result<Vec<Segment>, Failure> {
    let disk = |error: std::io::Error| failure::disk(&error, "read", path);
    let broken = |error: LayoutError| failure::broken_run(&error.to_string(), path);
    let file = File::open(path).map_err(disk)?;
    let file_length = file.metadata().map_err(disk)?.len();
    let mut trailer = [0; map_output::TRAILER_BYTES];
    let trailer_offset = map_output::trailer_offset(file_length).map_err(broken)?;
    file.read_exact_at(&mut trailer, trailer_offset).map_err(disk)?;
    let trailer = Trailer::decode(&trailer, file_length).map_err(broken)?;
    let mut index = vec![0; usize::try_from(trailer.index_length()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut index, trailer.index_offset).map_err(disk)?;
    map_output::decode_index(&index, crc32c(&index), &trailer).map_err(broken)
}

/// A place in a run: one record, or the end.
pub(crate) struct Cursor {
    source: Source,
    block: Bytes,
    /// Where the next record begins in `block`.
    next: usize,
    key: Range<usize>,
    value: Range<usize>,
    /// The key's first eight bytes as a big-endian number, zeros behind a shorter one.
    prefix: u64,
    done: bool,
}

impl Cursor {
    /// Stands on the first record of the run.
    pub(crate) fn new(source: Source) -> Result<Self, Failure> {
        let mut cursor = Self {
            source,
            block: Bytes::new(),
            next: 0,
            key: 0..0,
            value: 0..0,
            prefix: 0,
            done: false,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Steps to the next record, or to the end.
    pub(crate) fn advance(&mut self) -> Result<(), Failure> {
        while self.next == self.block.len() {
            match self.source.next_block()? {
                Some(block) => (self.block, self.next) = (block, 0),
                None => {
                    self.done = true;
                    return Ok(());
                }
            }
        }
        self.parse().ok_or_else(|| match &self.source {
            Source::Memory(_) => {
                failure::broken_run("a record is malformed", Path::new("a fetched segment"))
            }
            Source::File { path, .. } => failure::broken_run("a record is malformed", path),
        })
    }

    fn parse(&mut self) -> Option<()> {
        let mut at = self.next;
        let key_length = read_varint(&self.block, &mut at)?;
        let value_length = read_varint(&self.block, &mut at)?;
        let key_end = at.checked_add(key_length)?;
        let value_end = key_end.checked_add(value_length)?;
        self.prefix = key_prefix(self.block.get(at..key_end)?);
        self.block.get(key_end..value_end)?;
        (self.key, self.value, self.next) = (at..key_end, key_end..value_end, value_end);
        Some(())
    }

    /// Whether all records are passed.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The record's key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.block[self.key.clone()]
    }

    /// The record's value.
    pub(crate) fn value(&self) -> &[u8] {
        &self.block[self.value.clone()]
    }

    /// Bytes that were read of the run's end, for progress.
    pub(crate) fn remaining(&self) -> u64 {
        self.source.remaining()
    }

    /// Whether this record comes before the other by key alone; `None` if the keys are equal. An ended run
    /// comes after all.
    #[inline]
    pub(crate) fn precedes(&self, other: &Self) -> Option<bool> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = (self.done, self.prefix)
            .cmp(&(other.done, other.prefix))
            .then_with(|| if self.done { Equal } else { self.key().cmp(other.key()) });
        match order {
            Less => Some(true),
            Greater => Some(false),
            Equal => None,
        }
    }
}

#[inline]
fn read_varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number as usize);
        }
    }
    None
}

/// The first eight bytes as a big-endian number: comparing prefixes decides most comparisons of keys.
#[inline]
pub(crate) fn key_prefix(key: &[u8]) -> u64 {
    if let Some(eight) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    // Two reads that may overlap instead of a loop over the bytes.
    match key.len() {
        0 => 0,
        n @ 4.. => {
            let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) else {
                return 0;
            };
            let high = u64::from(u32::from_be_bytes(*first)) << 32;
            let low = u64::from(u32::from_be_bytes(*last)) << (64 - 8 * n);
            high | low
        }
        n => {
            let (first, middle, last) = (key[0], key[n / 2], key[n - 1]);
            u64::from(first) << 56
                | u64::from(middle) << (56 - 8 * (n / 2))
                | u64::from(last) << (64 - 8 * n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_first_eight_bytes_with_zeros_behind() {
        for n in 0..12_u8 {
            let key: Vec<u8> = (1..=n).map(|i| i * 17).collect();
            let mut eight = [0; 8];
            for (to, from) in eight.iter_mut().zip(&key) {
                *to = *from;
            }
            assert_eq!(key_prefix(&key), u64::from_be_bytes(eight), "{n} bytes");
        }
    }
}
