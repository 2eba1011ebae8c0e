//! Writing sorted runs in the map output's layout: spills, merges of them, and the map output itself.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crc_fast::crc32_iscsi as crc32c;
use mapreduce_protocol::map_output::{
    self, BLOCK_BYTES, BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, BlockHeader, CODEC_NONE, Segment,
    Trailer,
};
use mapreduce_protocol::{Failure, MapOutputCompression};
use xxhash_rust::xxh3::Xxh3;

use super::block_codec::BlockCodec;
use super::failure;
use super::source::RunFile;

/// Bytes of records that one write call may gather: few calls, small memory.
const WRITE_BYTES: usize = 256 << 10;

/// Writes records by ascending partition and, within each, by key.
pub(crate) struct RunWriter {
    run: Arc<RunFile>,
    file: File,
    /// Whole blocks and the one being filled.
    buffer: Vec<u8>,
    /// Where the open block's header stands in `buffer`, if a block is open.
    block: Option<usize>,
    /// Bytes written to the file.
    flushed: u64,
    segments: Vec<Segment>,
    n_partitions: u32,
    digest: Option<Box<Xxh3>>,
    codec: BlockCodec,
    records: u64,
}

/// A finished file.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where it is.
    pub(crate) file: Arc<RunFile>,
    /// Its index.
    pub(crate) segments: Vec<Segment>,
    /// All its records.
    pub(crate) records: u64,
    /// XXH3-128 of (partition, records), 32 hexadecimal digits, where it was asked for.
    pub(crate) digest: String,
}

impl RunWriter {
    /// Creates a file that stays, with a digest; it must not exist.
    pub(crate) fn create_output(
        path: &Path,
        n_partitions: u32,
        compression: MapOutputCompression,
    ) -> Result<Self, Failure> {
        Self::create(RunFile::kept(path), n_partitions, Some(Box::default()), compression)
    }

    /// Creates a file that is removed when it is not needed any more; it must not exist.
    pub(crate) fn create_temporary(
        path: &Path,
        n_partitions: u32,
        compression: MapOutputCompression,
    ) -> Result<Self, Failure> {
        Self::create(RunFile::temporary(path), n_partitions, None, compression)
    }

    fn create(
        run: Arc<RunFile>,
        n_partitions: u32,
        digest: Option<Box<Xxh3>>,
        compression: MapOutputCompression,
    ) -> Result<Self, Failure> {
        let codec = BlockCodec::new(compression)?;
        let path = run.path();
        let file = File::create_new(path).map_err(|error| failure::disk(&error, "create", path))?;
        let mut buffer = Vec::with_capacity(WRITE_BYTES + 2 * BLOCK_BYTES);
        buffer.extend_from_slice(&map_output::header());
        Ok(Self {
            run,
            file,
            buffer,
            block: None,
            flushed: 0,
            segments: Vec::with_capacity(n_partitions as usize),
            n_partitions,
            digest,
            codec,
            records: 0,
        })
    }

    /// Records written.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Appends a record to `partition`, which is not below the last record's.
    pub(crate) fn record(
        &mut self,
        partition: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Failure> {
        if self.segments.len() <= partition as usize {
            self.open_partition(partition)?;
        }
        let block = self.open_block();
        write_varint(key.len(), &mut self.buffer);
        write_varint(value.len(), &mut self.buffer);
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.records += 1;
        if let Some(segment) = self.segments.last_mut() {
            segment.records += 1;
        }
        if self.buffer.len() - block >= BLOCK_HEADER_BYTES + BLOCK_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    /// Writes what is left, index and trailer.
    pub(crate) fn finish(mut self) -> Result<Run, Failure> {
        self.close_block()?;
        while self.segments.len() < self.n_partitions as usize {
            self.start_segment();
        }
        let index_offset = self.position();
        let index = map_output::encode_index(&self.segments);
        let trailer =
            Trailer { index_offset, partitions: self.n_partitions, index_crc32c: crc32c(&index) };
        self.buffer.extend_from_slice(&index);
        self.buffer.extend_from_slice(&trailer.encode());
        self.flush()?;
        Ok(Run {
            file: self.run,
            segments: self.segments,
            records: self.records,
            digest: self.digest.map(|digest| hex(&digest)).unwrap_or_default(),
        })
    }

    fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    fn open_partition(&mut self, partition: u32) -> Result<(), Failure> {
        self.close_block()?;
        while self.segments.len() <= partition as usize {
            self.start_segment();
        }
        if let Some(digest) = &mut self.digest {
            digest.update(&partition.to_le_bytes());
        }
        Ok(())
    }

    fn start_segment(&mut self) {
        let offset = self.position();
        self.segments.push(Segment { offset, ..Segment::default() });
    }

    /// Where the open block begins in the buffer.
    fn open_block(&mut self) -> usize {
        *self.block.get_or_insert_with(|| {
            let at = self.buffer.len();
            self.buffer.resize(at + BLOCK_HEADER_BYTES, 0);
            at
        })
    }

    fn close_block(&mut self) -> Result<(), Failure> {
        let Some(at) = self.block.take() else { return Ok(()) };
        let (header, raw) = self.buffer[at..].split_at_mut(BLOCK_HEADER_BYTES);
        let length = u32::try_from(raw.len()).ok().filter(|length| *length <= BLOCK_BYTES_MAX);
        let Some(length) = length else {
            return Err(too_long(raw.len()));
        };
        if let Some(digest) = &mut self.digest {
            digest.update(raw);
        }
        let (mut codec, mut stored_length) = (CODEC_NONE, length);
        if let Some((by, stored)) = self.codec.compress(raw) {
            raw[..stored.len()].copy_from_slice(stored);
            codec = by;
            stored_length = u32::try_from(stored.len()).expect("it is shorter than before");
        }
        let crc32c = crc32c(&raw[..stored_length as usize]);
        let block = BlockHeader { raw_length: length, stored_length, codec, crc32c };
        header.copy_from_slice(&block.encode());
        self.buffer.truncate(at + BLOCK_HEADER_BYTES + stored_length as usize);
        if let Some(segment) = self.segments.last_mut() {
            segment.length += BLOCK_HEADER_BYTES as u64 + u64::from(stored_length);
            segment.raw_bytes += u64::from(length);
        }
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file
            .write_all(&self.buffer)
            .map_err(|error| failure::disk(&error, "write", self.run.path()))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A pair of key and value has so many bytes at most: half of what a block may have leaves room for the lengths before a
/// record, and for a value to double.
pub(crate) const PAIR_BYTES_MAX: usize = BLOCK_BYTES_MAX as usize / 2;

/// A pair that is longer.
pub(crate) fn too_long(length: usize) -> Failure {
    let message = format!(
        "a key and its value have {length} bytes on their way to a reduce, and may have {PAIR_BYTES_MAX}: emit what is long in \
         several pairs, or where it lies"
    );
    failure::failure(mapreduce_protocol::FailureKind::UserCode, message)
}

/// A digest as the protocol writes it.
pub(crate) fn hex(digest: &Xxh3) -> String {
    format!("{:032x}", digest.digest128())
}

#[inline]
fn write_varint(length: usize, out: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_pair_that_is_too_long_is_the_limit_that_counts() {
        let message = too_long(PAIR_BYTES_MAX + 1).message;
        let limit = "have 536870913 bytes on their way to a reduce, and may have 536870912";
        assert!(message.contains(limit), "{message}");
    }
}
