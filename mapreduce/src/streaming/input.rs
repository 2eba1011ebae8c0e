//! What commands read: the lines of a split, or the sorted records of a partition, in blocks of whole lines.

use bytes::Bytes;
use mapreduce_protocol::streaming::LineEnds;
use mapreduce_protocol::{Failure, Formats, InputFormat, Split, SplitPiece, Streaming};

use super::keys::Keys;
use super::line_ends::Normaliser;
use super::records::{input_separator, is_new, value_of};
use super::skip_feeds::{Fate, Wanted};
use crate::api::Counters;
use crate::task::following::{Opened, open};
use crate::task::lines::Lines;
use crate::task::map::MapTask;
use crate::task::merge::Merge;
use crate::task::progress::Progress;
use crate::task::records::{RawRecord, Records, check_piece, unmarked};
use crate::task::skips::REDUCE_SKIPPED_GROUPS;
use crate::task::sort_buffer::SortBuffer;
use crate::task::storage::Input;

/// Bytes of records that are gathered before they are given on.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Where a command's input comes from.
pub(super) trait Feed {
    /// Whole lines; `None` at the end.
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// The records of a split. Lines have no keys: those would be where they stand in the file (Hadoop: `TextInputFormat`).
pub(super) struct MapFeed<'a> {
    input: &'a dyn Input,
    formats: &'a Formats,
    pieces: std::slice::Iter<'a, SplitPiece>,
    reader: Option<Reader<'a>>,
    ends: LineEnds,
    /// Whether what comes next is a file's first line.
    at_start: bool,
    normaliser: Normaliser,
    records: u64,
    /// Bytes of the split, and of the pieces before this one.
    total: u64,
    before: u64,
    progress: Progress,
}

impl<'a> MapFeed<'a> {
    /// Of the task's split.
    pub(super) fn new(task: &MapTask<'a>, ends: LineEnds) -> Self {
        Self::over(task.input, task.formats, task.split, ends, &task.progress)
    }

    /// Of any split.
    pub(super) fn over(
        input: &'a dyn Input,
        formats: &'a Formats,
        split: &'a Split,
        ends: LineEnds,
        progress: &Progress,
    ) -> Self {
        Self {
            input,
            formats,
            pieces: split.pieces.iter(),
            reader: None,
            ends,
            at_start: false,
            normaliser: Normaliser::new(ends),
            records: 0,
            total: split.length(),
            before: 0,
            progress: progress.clone(),
        }
    }

    /// Records given on.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the split that are passed.
    fn passed(&self) -> u64 {
        self.before + self.reader.as_ref().map_or(0, Reader::passed)
    }

    fn open(&self, piece: &'a SplitPiece) -> Result<Reader<'a>, Failure> {
        check_piece(piece, self.formats)?;
        let codec = self.formats.codec_of(&piece.path);
        Ok(match self.formats.input {
            InputFormat::Text | InputFormat::Lines { .. } => {
                Reader::Lines(Lines::open(self.input, piece, codec)?)
            }
            InputFormat::WholeFile => {
                Reader::File { opened: open(self.input, piece, codec, 0)?, piece, passed: 0 }
            }
            InputFormat::KeyValue { .. }
            | InputFormat::FixedLength { .. }
            | InputFormat::Csv(_)
            | InputFormat::JsonLines => {
                Reader::Records(Records::open(self.input, piece, self.formats)?)
            }
        })
    }

    /// What the piece under way still gives.
    fn next_of_piece(&mut self) -> Result<Option<Bytes>, Failure> {
        match &mut self.reader {
            None => Ok(None),
            Some(Reader::Lines(lines)) => {
                let Some(block) = lines.next_lines()? else { return Ok(None) };
                let offset = u64::from(!std::mem::take(&mut self.at_start));
                let block = block.slice_ref(text_of(offset, &block, self.ends));
                let normal = self.normaliser.normalise(&block);
                self.records += count_lines(normal);
                let is_same = std::ptr::eq(normal.as_ptr(), block.as_ptr());
                Ok(Some(if is_same { block } else { Bytes::copy_from_slice(normal) }))
            }
            Some(Reader::File { opened, passed, .. }) => {
                let block = opened.blocks.next_block()?;
                *passed += block.as_ref().map_or(0, |block| block.len() as u64);
                Ok(block)
            }
            Some(Reader::Records(records)) => {
                let mut block = Vec::new();
                let is_line = !matches!(self.formats.input, InputFormat::FixedLength { .. });
                while block.len() < BLOCK_BYTES
                    && let Some(record) = records.next_record()?
                {
                    self.records += 1;
                    write_input(record, is_line, self.ends, &mut block);
                }
                Ok((!block.is_empty()).then(|| block.into()))
            }
        }
    }
}

/// How a piece is read.
enum Reader<'a> {
    /// Blocks of lines.
    Lines(Lines<'a>),
    /// Blocks of a file, as they are.
    File { opened: Opened<'a>, piece: &'a SplitPiece, passed: u64 },
    /// Records, to be gathered.
    Records(Records<'a>),
}

impl Reader<'_> {
    /// Bytes of the piece that are passed.
    fn passed(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.passed(),
            Self::File { opened, piece, passed } => {
                let raw = opened.raw.as_ref().map(|raw| raw.passed());
                raw.unwrap_or(*passed).min(piece.length)
            }
            Self::Records(records) => records.passed(),
        }
    }
}

/// Text of a place as a command reads it: without the mark that a file may begin with.
pub(super) fn text_of(offset: u64, text: &[u8], ends: LineEnds) -> &[u8] {
    if ends == LineEnds::Lf { text } else { unmarked(offset, text) }
}

/// Appends a record of the input as a command reads it: one of a fixed length as it is, others as `key<TAB>value` on lines.
pub(super) fn write_input(record: RawRecord<'_>, is_line: bool, ends: LineEnds, out: &mut Vec<u8>) {
    let bare = |bytes: &mut Vec<u8>| {
        if ends != LineEnds::Lf && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    };
    if let Some(key) = record.key {
        out.extend_from_slice(text_of(record.offset, key, ends));
        if record.value.is_empty() {
            bare(out);
        }
        out.push(b'\t');
    }
    out.extend_from_slice(record.value);
    if is_line {
        bare(out);
        out.push(b'\n');
    }
}

impl Feed for MapFeed<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            self.progress.at(self.passed(), self.total);
            if let Some(block) = self.next_of_piece()? {
                return Ok(Some(block));
            }
            self.before = self.passed();
            self.reader = None;
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            let reader = self.open(piece)?;
            self.at_start = piece.offset == 0;
            self.records += u64::from(matches!(reader, Reader::File { .. }));
            self.reader = Some(reader);
        }
    }
}

/// How many lines end in a block.
pub(super) fn count_lines(block: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', block).count() as u64
}

/// Appends a record as a combiner or reducer reads it: with a separator, also where there is no value (Hadoop).
#[inline]
fn write_record(key: &[u8], value: Option<&[u8]>, separator: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(separator);
    out.extend_from_slice(value.unwrap_or_default());
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
    skipped_groups: u64,
    wanted: Wanted<'a>,
    keep: Option<Box<KeepLine<'a>>>,
    /// Number of the next key, and what becomes of the one under way.
    ordinal: u64,
    fate: Fate,
    progress: Progress,
}

/// Takes a line of a key that is left out.
pub(super) type KeepLine<'k> = dyn FnMut(&[u8]) -> Result<(), Failure> + 'k;

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
            skipped_groups: 0,
            wanted: Wanted::all_but(&[]),
            keep: None,
            ordinal: 0,
            fate: Fate::Given,
            progress: progress.clone(),
        }
    }

    /// The same, of some keys alone; lines of those that are left out go to `keep`.
    pub(super) fn of(self, wanted: Wanted<'a>, keep: Option<Box<KeepLine<'a>>>) -> Self {
        Self { wanted, keep, ..self }
    }

    /// In how many keys the first `bytes` bytes of what is given lie.
    pub(super) fn keys_in(mut self, bytes: u64) -> Result<u64, Failure> {
        let mut given = 0;
        while given < bytes
            && let Some(block) = self.gather(1)?
        {
            given += block.len() as u64;
        }
        Ok(self.ordinal)
    }

    /// The key of that number, as the command reads it.
    pub(super) fn key_at(mut self, ordinal: u64) -> Result<Option<Vec<u8>>, Failure> {
        while let Some(head) = self.merge.head() {
            if is_new(&mut self.last_key, head.key()) {
                if self.ordinal == ordinal {
                    return Ok(Some(self.keys.key(head.key()).to_vec()));
                }
                self.ordinal += 1;
            }
            self.merge.advance()?;
        }
        Ok(None)
    }

    /// The next lines, some bytes of them at least; `None` at the end.
    fn gather(&mut self, enough: usize) -> Result<Option<Bytes>, Failure> {
        let mut block = Vec::with_capacity(enough + 4096);
        let mut left_out = Vec::new();
        while let Some(head) = self.merge.head() {
            let is_new = is_new(&mut self.last_key, head.key());
            if is_new {
                self.fate = self.wanted.fate(self.ordinal);
                self.ordinal += 1;
                self.groups += u64::from(self.fate == Fate::Given);
                self.skipped_groups += u64::from(self.fate == Fate::Skipped);
            }
            let (key, value) = (self.keys.key(head.key()), value_of(head.value()));
            match self.fate {
                Fate::Given => {
                    write_record(key, value, self.separator, &mut block);
                    self.records += 1;
                }
                Fate::Skipped => {
                    left_out.clear();
                    write_record(key, value, self.separator, &mut left_out);
                    self.keep.iter_mut().try_for_each(|keep| keep(&left_out))?;
                }
                Fate::Passed => {}
                Fate::Over => break,
            }
            self.merge.advance()?;
            if block.len() >= enough {
                break;
            }
        }
        Ok((!block.is_empty()).then(|| block.into()))
    }

    /// Adds what was given on.
    pub(super) fn count(&self, counters: &mut Counters) {
        counters.add_own("REDUCE_INPUT_GROUPS", self.groups);
        counters.add_own("REDUCE_INPUT_RECORDS", self.records);
        if self.skipped_groups > 0 {
            counters.add_own(REDUCE_SKIPPED_GROUPS, self.skipped_groups);
        }
    }
}

impl Feed for MergeFeed<'_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let block = self.gather(BLOCK_BYTES)?;
        let total = self.total.max(1);
        // The merge is the second half of a reduce's way.
        self.progress.at(2 * total - self.merge.remaining().min(total), 2 * total);
        Ok(block)
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
            write_record(self.keys.key(key), value_of(value), self.separator, &mut block);
            self.next += 1;
        }
        Ok((!block.is_empty()).then(|| block.into()))
    }
}
