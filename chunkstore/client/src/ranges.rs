//! Many ranges of one file at once: one question to the master, one read for ranges that are near one
//! another, several reads at a time. What a read does when a server fails is `read`'s.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{Located, StorePath};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{ChunkStore, FileReader, StoreError};

/// Ranges closer together than this are read in one go: reading two blocks more takes less time
/// than another request.
const GAP_BYTES: u64 = 2 * BLOCK_BYTES as u64;
/// Maximum length of one read, so that a range is sent by several servers; whole blocks.
const READ_BYTES: u64 = 16 << 20;
/// Concurrent reads of one call.
const READS_AT_ONCE: usize = 8;
/// How much of a file one location request covers; if ranges are farther apart, each read locates
/// its own chunks.
const LOCATE_SPAN: u64 = 16 << 30;

impl ChunkStore {
    /// The bytes of each of the `ranges` of a closed file, in the given order; they may overlap. A
    /// range is cut off at the end of the file, so that one behind it is empty.
    ///
    /// Takes one call to the master. Ranges less than 128 KiB apart are read in one go, long ones
    /// in several (16 MiB each, never across chunks), eight at a time; everything is held in
    /// memory.
    ///
    /// # Errors
    /// Like [`ChunkStore::open`] and [`FileReader::next`]; then none of the ranges is returned.
    pub async fn read_ranges(
        &self,
        path: &StorePath,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let located = self.locate_all(path, ranges).await?;
        let reads = plan(ranges, &located);
        let reading = reads.iter().map(|read| {
            let (store, path, located) = (self.clone(), path.clone(), located_for(read, &located));
            read_whole(store, path, located, read.clone())
        });
        let reading: Vec<_> = reading.collect();
        let pieces: Vec<Bytes> =
            stream::iter(reading).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(ranges.iter().map(|range| cut_out(range, &reads, &pieces)).collect())
    }

    async fn locate_all(
        &self,
        path: &StorePath,
        ranges: &[Range<u64>],
    ) -> Result<Located, StoreError> {
        let wanted = || ranges.iter().filter(|range| !range.is_empty());
        let first = wanted().map(|range| range.start).min().unwrap_or(0);
        let end = wanted().map(|range| range.end).max().unwrap_or(0);
        self.locate_to_open(path, first, (end - first).min(LOCATE_SPAN)).await
    }
}

/// The reads to be done: in order, without overlaps, none of them empty or across chunks.
fn plan(ranges: &[Range<u64>], located: &Located) -> Vec<Range<u64>> {
    let within = ranges.iter().map(|range| range.start..range.end.min(located.length));
    let mut wanted: Vec<_> = within.filter(|range| !range.is_empty()).collect();
    wanted.sort_unstable_by_key(|range| range.start);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match runs.last_mut() {
            Some(run) if range.start <= run.end + GAP_BYTES => run.end = run.end.max(range.end),
            _ => runs.push(range),
        }
    }
    runs.into_iter().flat_map(|run| cut(run, located)).collect()
}

/// Cuts at the ends of chunks and, within a chunk, at multiples of [`READ_BYTES`].
fn cut(run: Range<u64>, located: &Located) -> Vec<Range<u64>> {
    let mut reads = Vec::new();
    let mut start = run.start;
    while start < run.end {
        let known = located.chunks.partition_point(|chunk| chunk.offset <= start);
        let chunk = known.checked_sub(1).map(|at| &located.chunks[at]);
        let chunk = chunk.filter(|chunk| start < chunk.offset + chunk.length);
        let (first, chunk_end) =
            chunk.map_or((0, u64::MAX), |chunk| (chunk.offset, chunk.offset + chunk.length));
        let next = first + ((start - first) / READ_BYTES + 1) * READ_BYTES;
        let end = next.min(chunk_end).min(run.end);
        reads.push(start..end);
        start = end;
    }
    reads
}

/// The part of `located` that a read needs.
fn located_for(read: &Range<u64>, located: &Located) -> Located {
    let chunks = located.chunks.iter();
    let chunks =
        chunks.filter(|chunk| chunk.offset < read.end && read.start < chunk.offset + chunk.length);
    let Located { file, length, .. } = *located;
    Located { file, length, chunks: chunks.cloned().collect(), open_log: None }
}

async fn read_whole(
    store: ChunkStore,
    path: StorePath,
    located: Located,
    read: Range<u64>,
) -> Result<Bytes, StoreError> {
    let length = read.end - read.start;
    let mut reader = FileReader::located(store, path, located, read);
    let first = reader.next().await?.unwrap_or_default();
    if first.len() as u64 == length {
        return Ok(first);
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
    bytes.extend_from_slice(&first);
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// The bytes of a range: shared with the read that holds it, or joined from several.
fn cut_out(range: &Range<u64>, reads: &[Range<u64>], pieces: &[Bytes]) -> Bytes {
    let first = reads.partition_point(|read| read.end <= range.start);
    let overlaps = reads[first..].iter().zip(&pieces[first..]);
    let mut parts = overlaps.take_while(|(read, _)| read.start < range.end).map(|(read, piece)| {
        let within = |at: u64| usize::try_from(at - read.start).unwrap_or(usize::MAX);
        piece.slice(within(range.start.max(read.start))..within(range.end.min(read.end)))
    });
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        None => first,
        Some(second) => {
            let mut whole = BytesMut::from(&first[..]);
            whole.extend_from_slice(&second);
            parts.for_each(|part| whole.extend_from_slice(&part));
            whole.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, ChunkLocation, FileId, Version};

    use super::*;

    const CHUNK: u64 = 40 << 20;

    /// A file of three chunks, the last one of 100 bytes.
    fn located() -> Located {
        let lengths = [CHUNK, CHUNK, 100];
        let chunk = |(nth, length): (u64, u64)| ChunkLocation {
            chunk: ChunkId(nth),
            version: Version(1),
            offset: nth * CHUNK,
            length,
            checksum: 0,
            servers: Vec::new(),
            token: String::new(),
        };
        Located {
            file: FileId(1),
            length: 2 * CHUNK + 100,
            chunks: (0..).zip(lengths).map(chunk).collect(),
            open_log: None,
        }
    }

    fn planned(ranges: &[(u64, u64)], located: &Located) -> Vec<(u64, u64)> {
        let ranges: Vec<_> = ranges.iter().map(|(start, end)| *start..*end).collect();
        plan(&ranges, located).into_iter().map(|read| (read.start, read.end)).collect()
    }

    #[test]
    fn near_ranges_are_read_together_and_long_ones_in_parts_that_end_with_their_chunk() {
        let plan = |ranges: &[(u64, u64)]| planned(ranges, &located());
        assert_eq!(plan(&[(5, 9), (9, 12), (0, 7)]), [(0, 12)]);
        assert_eq!(plan(&[(0, 1), (1 + GAP_BYTES, 10 + GAP_BYTES)]), [(0, 10 + GAP_BYTES)]);
        assert_eq!(plan(&[(0, 1), (2 + GAP_BYTES, 3 + GAP_BYTES)]).len(), 2);
        let (r, c) = (READ_BYTES, CHUNK);
        assert_eq!(plan(&[(5, c + 5)]), [(5, r), (r, 2 * r), (2 * r, c), (c, c + 5)]);
        assert_eq!(plan(&[(2 * c + 50, u64::MAX)]), [(2 * c + 50, 2 * c + 100)]);
        assert!(plan(&[(7, 7), (3 * c, 4 * c), (u64::MAX, u64::MAX)]).is_empty());
        let unknown = Located { chunks: Vec::new(), ..located() };
        assert_eq!(planned(&[(3, r + 3)], &unknown), [(3, r), (r, r + 3)]);
    }

    #[test]
    fn a_range_is_put_together_of_the_reads_that_hold_it() {
        let (reads, pieces) = ([10..13, 13..15, 20..22], ["abc", "de", "xy"]);
        let pieces = pieces.map(|text| Bytes::from_static(text.as_bytes()));
        let cut_out = |range: Range<u64>| cut_out(&range, &reads, &pieces);
        for (range, expected) in [
            (10..13, "abc"),
            (11..12, "b"),
            (11..15, "bcde"),
            (21..99, "y"),
            (15..20, ""),
            (99..120, ""),
        ] {
            assert_eq!(cut_out(range.clone()), expected, "{range:?}");
        }
    }
}
