//! Records that an attempt leaves out, and the note of the record that it is at (`mapreduce_protocol::skipping`). Only attempts
//! of jobs that may leave records out have one of these.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;

use mapreduce_protocol::{
    FailedRecord, Failure, InputFormat, NOTE_BYTES, NOTE_FILE, Note, Skipping, Split,
};
use memmap2::MmapMut;

use super::failure;
use super::named::Named;
use super::records::RawRecord;
use crate::api::Counters;

/// Counts records that maps leave out (Hadoop: `TaskCounter.MAP_SKIPPED_RECORDS`).
pub(crate) const MAP_SKIPPED_RECORDS: &str = "MAP_SKIPPED_RECORDS";
/// Counts records of keys that reduces leave out.
pub(crate) const REDUCE_SKIPPED_RECORDS: &str = "REDUCE_SKIPPED_RECORDS";
/// Counts such keys.
pub(crate) const REDUCE_SKIPPED_GROUPS: &str = "REDUCE_SKIPPED_GROUPS";

/// Where the note is.
enum Paper {
    /// In a file: who runs the attempt reads it when that is gone.
    Mapped(MmapMut),
    /// In memory: who runs the attempt lives in the same process.
    Memory(Box<[u8; NOTE_BYTES]>),
}

/// See the module.
pub(crate) struct Skips {
    /// Ascending.
    records: Vec<u64>,
    /// The first of them that has not come yet.
    next: usize,
    /// Number of the record that comes next.
    ordinal: u64,
    note: Paper,
}

impl Skips {
    /// Of an attempt whose process may die, in its folder.
    pub(crate) fn in_folder(skipping: &Skipping, folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NOTE_FILE);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let mapped = file.and_then(|mut file| {
            // Written, so that the disk has room for it: a page that finds none later ends the process.
            file.write_all(&[0; NOTE_BYTES])?;
            // SAFETY: the file is new and this attempt's own. Who else may write to it, the author's code, may as well write
            // to all of this process' memory; nothing but bytes is ever read from it here.
            unsafe { MmapMut::map_mut(&file) }
        });
        let note = mapped.map_err(|error| failure::disk(&error, "map", &path))?;
        Ok(Self::new(skipping, Paper::Mapped(note)))
    }

    /// Of an attempt in this process.
    pub(crate) fn in_memory(skipping: &Skipping) -> Self {
        Self::new(skipping, Paper::Memory(Box::new([0; NOTE_BYTES])))
    }

    fn new(skipping: &Skipping, note: Paper) -> Self {
        let mut records = skipping.records.clone();
        records.sort_unstable();
        Self { records, next: 0, ordinal: 0, note }
    }

    /// What it leaves out, ascending.
    pub(crate) fn records(&self) -> &[u64] {
        &self.records
    }

    /// The attempt is at the next record, or key, from now on: in a piece of its split, at an offset there, with these first
    /// bytes. Whether it is to be left out.
    #[inline]
    pub(crate) fn at_next(&mut self, piece: usize, offset: u64, start: &[u8]) -> bool {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        if self.records.get(self.next) == Some(&ordinal) {
            self.next += 1;
            self.at_none();
            return true;
        }
        self.note(ordinal, piece, offset, start);
        false
    }

    /// The attempt is at, or has found, this record.
    #[inline]
    pub(crate) fn note(&mut self, ordinal: u64, piece: usize, offset: u64, start: &[u8]) {
        let piece = u32::try_from(piece).unwrap_or(u32::MAX);
        Note::write(self.paper(), ordinal, piece, offset, start);
        // Nobody in this process reads it: it must be written all the same.
        black_box(self.paper());
    }

    /// The attempt is at no record: what goes wrong now is none's fault.
    pub(crate) fn at_none(&mut self) {
        Note::clear(self.paper());
        black_box(self.paper());
    }

    /// What is noted, of a split or, without one, of keys.
    pub(crate) fn noted(&self, split: Option<&Split>) -> Option<FailedRecord> {
        let bytes: &[u8] = match &self.note {
            Paper::Mapped(bytes) => bytes,
            Paper::Memory(bytes) => &bytes[..],
        };
        let note = Note::read(bytes)?;
        let piece =
            |split: &Split| split.pieces.get(note.piece as usize).map(|it| it.path.to_string());
        Some(note.told(split.and_then(piece).as_deref()))
    }

    fn paper(&mut self) -> &mut [u8; NOTE_BYTES] {
        match &mut self.note {
            Paper::Mapped(bytes) => {
                (&mut bytes[..]).try_into().expect("it was mapped with that length")
            }
            Paper::Memory(bytes) => bytes,
        }
    }
}

/// Keeps a record that is left out beside the output, as its file has it.
pub(crate) fn keep_aside(
    named: &mut Named<'_>,
    record: RawRecord<'_>,
    format: &InputFormat,
) -> Result<(), Failure> {
    let part = named.skipped(MAP_SKIPPED_RECORDS)?;
    let mut bytes = Vec::with_capacity(record.value.len() + 1);
    if let (Some(key), InputFormat::KeyValue { separator }) = (record.key, format) {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(separator.as_bytes());
    }
    bytes.extend_from_slice(record.value);
    if !matches!(format, InputFormat::FixedLength { .. } | InputFormat::WholeFile) {
        bytes.push(b'\n');
    }
    part.lines(&bytes, 1)
}

/// Keeps a line of a key that is left out by a reduce beside the output.
pub(crate) fn keep_line_aside(named: &mut Named<'_>, line: &[u8]) -> Result<(), Failure> {
    named.skipped(REDUCE_SKIPPED_RECORDS)?.lines(line, 1)
}

/// Counts a key that a reduce leaves out.
pub(crate) fn count_group(counters: &mut Counters) {
    counters.add_own(REDUCE_SKIPPED_GROUPS, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_in_the_folder_says_at_which_record_the_attempt_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut skips = Skips::in_folder(&Skipping { records: vec![2, 1] }, folder.path()).unwrap();
        let noted = || Note::read(&std::fs::read(folder.path().join(NOTE_FILE)).unwrap());
        assert_eq!(noted(), None);
        assert!(!skips.at_next(0, 5, b"first"));
        let first = Note { ordinal: 0, piece: 0, offset: 5, start: b"first".to_vec() };
        assert_eq!(noted(), Some(first));
        assert!(skips.at_next(0, 11, b"second") && skips.at_next(1, 0, b"third"));
        assert_eq!(noted(), None, "it is left out, and no fault of its own");
        assert!(!skips.at_next(1, 7, b"4"));
        assert_eq!(noted().map(|note| (note.ordinal, note.piece)), Some((3, 1)));
        skips.at_none();
        assert_eq!(noted(), None);
    }
}
