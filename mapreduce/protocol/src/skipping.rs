//! Skipping (`skip_records` of a job; Hadoop: `SkipBadRecords`): which records attempts leave out, where an attempt notes at
//! which record it is, and how that reaches the JobTracker when the attempt fails.
//!
//! An attempt keeps a note, a small file in its folder that is mapped into its memory: it survives whatever ends the
//! process, and costs no system call. The TaskTracker reads it when the process is gone.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// Records and keys that a job may leave out, at most: each of them costs [`FAILURES_TO_SKIP`] attempts.
pub const SKIP_RECORDS_MAX: u32 = 1000;

/// Attempts that fail at the same record before it is left out: one may have failed for another reason. (Hadoop:
/// `mapreduce.task.skip.start.attempts`.)
pub const FAILURES_TO_SKIP: usize = 2;

/// The output beside the parts that has the records that were left out: `_skipped-m-00003`. Files of such names are no
/// input of a later job.
pub const SKIPPED_OUTPUT: &str = "_skipped";

/// Name of the note in the attempt's folder.
pub const NOTE_FILE: &str = "record-note";

/// Length of a note, bytes.
pub const NOTE_BYTES: usize = 256;

/// Bytes of a record that a note has, at most.
const NOTE_START_BYTES_MAX: usize = 128;

/// Characters of a path in what is said of a record, at most.
const PATH_CHARS_MAX: usize = 1024;

/// What an attempt of a job that may leave records out is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipping {
    /// Numbers of the records, or of a reduce's keys, that it leaves out, from 0, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<u64>,
}

/// The record at which an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedRecord {
    /// Its number among the records of the split, or of the key among those of the partition, from 0.
    pub ordinal: u64,
    /// Where it lies; absent for a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<RecordPlace>,
    /// Its first bytes, or the key's, those that can't be printed escaped.
    pub start: String,
}

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordPlace {
    /// The file.
    pub path: String,
    /// Its first byte, in the file or in what a compressed one holds.
    pub offset: u64,
}

impl FailedRecord {
    /// The same, no longer than a TaskTracker would make it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let start_max = 4 * NOTE_START_BYTES_MAX;
        if self.start.len() > start_max {
            self.start = self.start.chars().take(start_max).collect();
        }
        if let Some(place) = &mut self.place
            && place.path.len() > PATH_CHARS_MAX
        {
            place.path = place.path.chars().take(PATH_CHARS_MAX).collect();
        }
        self
    }
}

/// As people read it: `record 17 (offset 220 of /in/a, which begins "x y")`, or `key 3 (which begins "x")`.
impl fmt::Display for FailedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ordinal, place, start } = self;
        match place {
            Some(RecordPlace { path, offset }) => {
                write!(f, "record {ordinal} (offset {offset} of {path}, which begins \"{start}\")")
            }
            None => write!(f, "key {ordinal} (which begins \"{start}\")"),
        }
    }
}

/// Which records a task leaves out, of those at which its attempts failed, in order: those at which [`FAILURES_TO_SKIP`] of
/// them did.
pub fn records_to_skip<'a>(failed: impl IntoIterator<Item = &'a FailedRecord>) -> Vec<u64> {
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for record in failed {
        *times.entry(record.ordinal).or_default() += 1;
    }
    let enough = times.into_iter().filter(|(_, times)| *times >= FAILURES_TO_SKIP);
    enough.map(|(ordinal, _)| ordinal).collect()
}

impl FailureKind {
    /// Whether the record under way may be why: what an author's code does, or wants too much of.
    #[must_use]
    pub fn may_be_the_records(&self) -> bool {
        match self {
            Self::UserCode
            | Self::Crashed { .. }
            | Self::OutOfMemory { .. }
            | Self::TooManyProcesses { .. }
            | Self::OverDiskQuota { .. }
            | Self::TimedOut => true,
            Self::MapOutputChanged { .. }
            | Self::InputUnavailable
            | Self::OutputUnavailable
            | Self::OutOfSpace
            | Self::HostUnfit
            | Self::ProgramUnavailable
            | Self::BadJob
            | Self::FailedOnRequest
            | Self::Killed
            | Self::TrackerLost => false,
        }
    }
}

/// Where in a note is what.
const ORDINAL: usize = 0;
const OFFSET: usize = 8;
const PIECE: usize = 16;
const START_LENGTH: usize = 20;
const START: usize = 24;

/// At which record an attempt is, as bytes that another process reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Number of the record, or key, from 0.
    pub ordinal: u64,
    /// Of a record: which piece of the split has it, from 0.
    pub piece: u32,
    /// Of a record: where it begins.
    pub offset: u64,
    /// The first bytes of the record or key.
    pub start: Vec<u8>,
}

impl Note {
    /// The attempt is at a record from now on, that begins with `start`.
    #[inline]
    pub fn write(
        bytes: &mut [u8; NOTE_BYTES],
        ordinal: u64,
        piece: u32,
        offset: u64,
        start: &[u8],
    ) {
        let n = start.len().min(NOTE_START_BYTES_MAX);
        bytes[OFFSET..OFFSET + 8].copy_from_slice(&offset.to_le_bytes());
        bytes[PIECE..PIECE + 4].copy_from_slice(&piece.to_le_bytes());
        bytes[START_LENGTH..START_LENGTH + 4].copy_from_slice(&(n as u32).to_le_bytes());
        bytes[START..START + n].copy_from_slice(&start[..n]);
        // Zero is no record.
        bytes[ORDINAL..ORDINAL + 8].copy_from_slice(&ordinal.wrapping_add(1).to_le_bytes());
    }

    /// The attempt is at no record from now on: what fails is no record's fault.
    #[inline]
    pub fn clear(bytes: &mut [u8; NOTE_BYTES]) {
        bytes[ORDINAL..ORDINAL + 8].fill(0);
    }

    /// What was noted last; `None` if the attempt was at no record, or if these are no note. They may be anybody's.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; NOTE_BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..].first_chunk().map(|it| u64::from_le_bytes(*it));
        let small = |at: usize| bytes[at..].first_chunk().map(|it| u32::from_le_bytes(*it));
        let ordinal = number(ORDINAL)?.checked_sub(1)?;
        let n =
            usize::try_from(small(START_LENGTH)?).ok().filter(|n| *n <= NOTE_START_BYTES_MAX)?;
        let start = bytes[START..START + n].to_vec();
        Some(Self { ordinal, piece: small(PIECE)?, offset: number(OFFSET)?, start })
    }

    /// What is told of it; `path` is that of its piece, absent for a key.
    #[must_use]
    pub fn told(&self, path: Option<&str>) -> FailedRecord {
        let path = path.map(str::to_owned);
        let place = path.map(|path| RecordPlace { path, offset: self.offset });
        let start = self.start.escape_ascii().to_string();
        FailedRecord { ordinal: self.ordinal, place, start }.bounded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(ordinal: u64, start: &[u8]) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        Note::write(&mut bytes, ordinal, 2, 77, start);
        bytes
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let long = vec![b'x'; 1000];
        for (ordinal, start) in [(0, &b""[..]), (7, b"a\tb"), (u64::MAX - 1, &long[..])] {
            let read = Note::read(&noted(ordinal, start)).unwrap();
            let start = start[..start.len().min(NOTE_START_BYTES_MAX)].to_vec();
            assert_eq!(read, Note { ordinal, piece: 2, offset: 77, start });
        }
        let mut cleared = noted(7, b"a");
        Note::clear(&mut cleared);
        assert_eq!(Note::read(&cleared), None);
    }

    #[test]
    fn what_is_no_note_is_none() {
        let mut too_long = noted(1, b"a");
        too_long[START_LENGTH] = 200;
        for bytes in [&[][..], &[1; 10], &[0; NOTE_BYTES], &[1; NOTE_BYTES + 1], &too_long] {
            assert_eq!(Note::read(bytes), None, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_record_is_told_in_words_of_bounded_length() {
        let note = Note::read(&noted(3, b"a\tb\xff\"")).unwrap();
        let record = note.told(Some("/in/a"));
        let words = r#"record 3 (offset 77 of /in/a, which begins "a\tb\xff\"")"#;
        assert_eq!(record.to_string(), words);
        assert_eq!(note.told(None).to_string(), r#"key 3 (which begins "a\tb\xff\"")"#);
        let wire = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<FailedRecord>(&wire).unwrap(), record);
        let (start, path) = ("é".repeat(9000), "ü".repeat(9000));
        let place = Some(RecordPlace { path, offset: 1 });
        let bounded = FailedRecord { ordinal: 1, place, start }.bounded();
        assert!(bounded.to_string().chars().count() < 2000);
    }

    #[test]
    fn a_record_that_fails_twice_is_left_out() {
        let failed = |ordinals: &[u64]| {
            let record = |ordinal: &u64| FailedRecord {
                ordinal: *ordinal,
                place: None,
                start: String::new(),
            };
            records_to_skip(&ordinals.iter().map(record).collect::<Vec<_>>())
        };
        for (ordinals, expected) in [
            (&[][..], &[][..]),
            (&[3], &[]),
            (&[3, 4, 5], &[]),
            (&[3, 3], &[3]),
            (&[9, 3, 9, 3, 3, 1], &[3, 9]),
        ] {
            assert_eq!(failed(ordinals), expected, "{ordinals:?}");
        }
    }
}
