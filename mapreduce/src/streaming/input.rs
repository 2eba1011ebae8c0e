//! What commands read: the lines of a split, or the sorted records of a partition, in blocks of whole lines.

use bytes::Bytes;
use mapreduce_protocol::streaming::LineEnds;
use mapreduce_protocol::{Failure, SplitPiece, Streaming};

use super::keys::Keys;
use super::line_ends::Normaliser;
use super::records::{input_separator, is_new};
use crate::api::Counters;
use crate::task::lines::Lines;
use crate::task::map::MapTask;
use crate::task::merge::Merge;
use crate::task::progress::Progress;
use crate::task::sort_buffer::SortBuffer;
use crate::task::storage::Input;

/// Bytes of records that are gathered before they are given on.
const BLOCK_BYTES: usize = 256 << 10;

/// Where a command's input comes from.
pub(super) trait Feed {
    /// Whole lines; `None` at the end.
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// The lines of a split, without their keys: that is where they stand in the file (Hadoop: `TextInputFormat`).
pub(super) struct MapFeed<'a> {
    input: &'a dyn Input,
    pieces: std::slice::Iter<'a, SplitPiece>,
    lines: Option<Lines<'a>>,
    normaliser: Normaliser,
    records: u64,
    /// Bytes of the split, and of those given on.
    total: u64,
    given: u64,
    progress: Progress,
}

impl<'a> MapFeed<'a> {
    /// Of the task's split.
    pub(super) fn new(task: &MapTask<'a>, ends: LineEnds) -> Self {
        Self {
            input: task.input,
            pieces: task.split.pieces.iter(),
            lines: None,
            normaliser: Normaliser::new(ends),
            records: 0,
            total: task.split.length(),
            given: 0,
            progress: task.progress.clone(),
        }
    }

    /// Lines given on.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    fn next_lines(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(lines) = &mut self.lines
                && let Some(block) = lines.next_lines()?
            {
                return Ok(Some(block));
            }
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            self.lines = Some(Lines::open(self.input, piece)?);
        }
    }
}

impl Feed for MapFeed<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(block) = self.next_lines()? else { return Ok(None) };
        self.progress.at(self.given, self.total);
        self.given += block.len() as u64;
        let normal = self.normaliser.normalise(&block);
        self.records += count_lines(normal);
        let is_same = std::ptr::eq(normal.as_ptr(), block.as_ptr());
        Ok(Some(if is_same { block } else { Bytes::copy_from_slice(normal) }))
    }
}

/// How many lines end in a block.
pub(super) fn count_lines(block: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', block).count() as u64
}

/// Appends a record as a combiner or reducer reads it.
#[inline]
pub(super) fn write_record(key: &[u8], value: &[u8], separator: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(separator);
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The records of a partition: `key<separator>value` for every value, equal keys beside one another.
pub(super) struct MergeFeed<'a> {
    merge: Merge,
    keys: &'a Keys,
    separator: &'a [u8],
    total: u64,
    last_key: Option<Vec<u8>>,
    records: u64,
    groups: u64,
    progress: Progress,
}

impl<'a> MergeFeed<'a> {
    /// Of all that is merged.
    pub(super) fn new(
        merge: Merge,
        about: &'a Streaming,
        keys: &'a Keys,
        progress: &Progress,
    ) -> Self {
        let total = merge.remaining();
        Self {
            merge,
            keys,
            separator: input_separator(about),
            total,
            last_key: None,
            records: 0,
            groups: 0,
            progress: progress.clone(),
        }
    }

    /// Adds what was given on.
    pub(super) fn count(&self, counters: &mut Counters) {
        counters.add_own("REDUCE_INPUT_GROUPS", self.groups);
        counters.add_own("REDUCE_INPUT_RECORDS", self.records);
    }
}

impl Feed for MergeFeed<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + 4096);
        while let Some(head) = self.merge.head() {
            write_record(self.keys.key(head.key()), head.value(), self.separator, &mut block);
            self.records += 1;
            self.groups += u64::from(is_new(&mut self.last_key, head.key()));
            self.merge.advance()?;
            if block.len() >= BLOCK_BYTES {
                break;
            }
        }
        let total = self.total.max(1);
        // The merge is the second half of a reduce's way.
        self.progress.at(2 * total - self.merge.remaining().min(total), 2 * total);
        Ok((!block.is_empty()).then(|| block.into()))
    }
}

/// The records of a sorted buffer, as a combiner reads them.
pub(super) struct SortedFeed<'a, K, V> {
    buffer: &'a SortBuffer<'a, K, V, Keys>,
    keys: &'a Keys,
    next: usize,
    separator: &'a [u8],
}

impl<'a, K, V> SortedFeed<'a, K, V> {
    /// Of all that it holds.
    pub(super) fn new(
        buffer: &'a SortBuffer<'a, K, V, Keys>,
        keys: &'a Keys,
        separator: &'a [u8],
    ) -> Self {
        Self { buffer, keys, next: 0, separator }
    }
}

impl<K, V> Feed for SortedFeed<'_, K, V> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + 4096);
        while let Some((key, value)) = self.buffer.record(self.next)
            && block.len() < BLOCK_BYTES
        {
            write_record(self.keys.key(key), value, self.separator, &mut block);
            self.next += 1;
        }
        Ok((!block.is_empty()).then(|| block.into()))
    }
}
