//! What commands read where records are left out, or where the one is looked for at which they fail: the same bytes as of
//! `input.rs`, one record after the other.

use std::ops::Range;

use bytes::Bytes;
use mapreduce_protocol::streaming::LineEnds;
use mapreduce_protocol::{Failure, Formats, InputFormat, Split};

use super::input::{BLOCK_BYTES, Feed, count_lines, text_of, write_input};
use super::line_ends::Normaliser;
use crate::task::map::MapTask;
use crate::task::progress::Progress;
use crate::task::records::{RawRecord, Records};
use crate::task::storage::Input;

/// Which records, or keys, by their numbers, are given on.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'k> {
    pub(super) only: Range<u64>,
    /// Ascending.
    pub(super) skipped: &'k [u64],
}

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not asked for; one that is may follow.
    Passed,
    Given,
    Skipped,
    /// None that is asked for follows.
    Over,
}

impl<'k> Wanted<'k> {
    /// All but some.
    pub(super) fn all_but(skipped: &'k [u64]) -> Self {
        Self { only: 0..u64::MAX, skipped }
    }

    pub(super) fn fate(&self, ordinal: u64) -> Fate {
        if ordinal >= self.only.end {
            Fate::Over
        } else if ordinal < self.only.start {
            Fate::Passed
        } else if self.skipped.binary_search(&ordinal).is_ok() {
            Fate::Skipped
        } else {
            Fate::Given
        }
    }
}

/// A split, and how it is read.
#[derive(Clone, Copy)]
pub(super) struct SplitSource<'a> {
    split: &'a Split,
    input: &'a dyn Input,
    formats: &'a Formats,
    ends: LineEnds,
}

impl<'a> SplitSource<'a> {
    pub(super) fn of(task: &MapTask<'a>, ends: LineEnds) -> Self {
        Self { split: task.split, input: task.input, formats: task.formats, ends }
    }

    /// How records of it are written in a file.
    pub(super) fn format(&self) -> &'a InputFormat {
        &self.formats.input
    }
}

/// Takes a record that is left out.
pub(super) type KeepRecord<'k> = dyn FnMut(RawRecord<'_>) -> Result<(), Failure> + 'k;

/// The records of a split.
pub(super) struct RecordFeed<'a, 'k> {
    source: SplitSource<'a>,
    wanted: Wanted<'k>,
    keep: Option<Box<KeepRecord<'k>>>,
    /// The piece under way.
    piece: usize,
    reader: Option<Records<'a>>,
    normaliser: Normaliser,
    /// Number of the next record.
    ordinal: u64,
    given: u64,
    /// Bytes of the pieces before this one.
    before: u64,
    progress: Progress,
}

/// Where a record lies: piece, offset, and first bytes.
pub(super) type RecordSpot = (usize, u64, Vec<u8>);

impl<'a, 'k> RecordFeed<'a, 'k> {
    pub(super) fn new(source: SplitSource<'a>, wanted: Wanted<'k>, progress: &Progress) -> Self {
        Self {
            source,
            wanted,
            keep: None,
            piece: 0,
            reader: None,
            normaliser: Normaliser::new(source.ends),
            ordinal: 0,
            given: 0,
            before: 0,
            progress: progress.clone(),
        }
    }

    /// The same; what is left out goes to `keep`.
    pub(super) fn keeping(self, keep: Box<KeepRecord<'k>>) -> Self {
        Self { keep: Some(keep), ..self }
    }

    /// Records given on, as `input.rs` counts them.
    pub(super) fn records(&self) -> u64 {
        self.given
    }

    /// In how many records the first `bytes` bytes of what is given lie.
    pub(super) fn records_in(mut self, bytes: u64) -> Result<u64, Failure> {
        let mut given = 0;
        while given < bytes
            && let Some(block) = self.gather(1)?
        {
            given += block.len() as u64;
        }
        Ok(self.ordinal)
    }

    /// Where the record of that number lies.
    pub(super) fn spot(mut self, ordinal: u64) -> Result<Option<RecordSpot>, Failure> {
        let (mut found, mut bytes) = (None, Vec::new());
        while found.is_none() {
            bytes.clear();
            let went_on = self.step(&mut bytes, |number, piece, record| {
                if number == ordinal {
                    let start = record.key.unwrap_or(record.value);
                    found = Some((piece, record.offset, start[..start.len().min(1024)].to_vec()));
                }
            })?;
            if !went_on {
                break;
            }
        }
        Ok(found)
    }

    /// The next records, some bytes of them at least; `None` at the end.
    fn gather(&mut self, enough: usize) -> Result<Option<Bytes>, Failure> {
        let mut block = Vec::new();
        while block.len() < enough && self.step(&mut block, |_, _, _| ())? {}
        if !matches!(self.source.formats.input, InputFormat::Text | InputFormat::Lines { .. }) {
            return Ok((!block.is_empty()).then(|| block.into()));
        }
        let normal = self.normaliser.normalise(&block);
        self.given += count_lines(normal);
        let is_same = std::ptr::eq(normal.as_ptr(), block.as_ptr());
        let block = if is_same { block } else { normal.to_vec() };
        Ok((!block.is_empty()).then(|| block.into()))
    }

    /// Goes to the next record: tells `at` of it, with its number and piece, and appends it to `block` if it is given on.
    /// `false` where there is none, or none that is asked for.
    fn step(
        &mut self,
        block: &mut Vec<u8>,
        mut at: impl FnMut(u64, usize, RawRecord<'_>),
    ) -> Result<bool, Failure> {
        let SplitSource { split, input, formats, ends } = self.source;
        loop {
            let Some(piece) = split.pieces.get(self.piece) else { return Ok(false) };
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(Records::open(input, piece, formats)?),
            };
            let Some(record) = reader.next_record()? else {
                self.before += piece.length;
                self.piece += 1;
                self.reader = None;
                continue;
            };
            let ordinal = self.ordinal;
            match self.wanted.fate(ordinal) {
                Fate::Over => return Ok(false),
                Fate::Passed => {}
                Fate::Skipped => self.keep.iter_mut().try_for_each(|keep| keep(record))?,
                Fate::Given => match &formats.input {
                    // As lines lie in the file; what ends them is seen to for all of them at once.
                    InputFormat::Text | InputFormat::Lines { .. } => {
                        block.extend_from_slice(text_of(record.offset, record.value, ends));
                        block.push(b'\n');
                    }
                    InputFormat::WholeFile => {
                        self.given += 1;
                        block.extend_from_slice(record.value);
                    }
                    other => {
                        self.given += 1;
                        let is_line = !matches!(other, InputFormat::FixedLength { .. });
                        write_input(record, is_line, ends, block);
                    }
                },
            }
            at(ordinal, self.piece, record);
            self.ordinal += 1;
            return Ok(true);
        }
    }
}

impl Feed for RecordFeed<'_, '_> {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let passed = self.reader.as_ref().map_or(0, Records::passed);
        self.progress.at(self.before + passed, self.source.split.length());
        self.gather(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{Csv, SplitPiece};
    use proptest::prelude::*;

    use super::*;
    use crate::task::records::BYTE_ORDER_MARK;
    use crate::task::storage::testing::MemoryInput;

    const FORMATS: [fn() -> InputFormat; 5] = [
        || InputFormat::Text,
        || InputFormat::KeyValue { separator: ",".to_owned() },
        || InputFormat::FixedLength { bytes: 4 },
        || InputFormat::Csv(Csv { multiline: false, ..Csv::default() }),
        || InputFormat::WholeFile,
    ];

    /// What a feed gives.
    fn all(feed: &mut dyn Feed) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(block) = feed.next_block().unwrap() {
            bytes.extend_from_slice(&block);
        }
        bytes
    }

    fn split_of(data: &[u8], cuts: &[u64]) -> Split {
        let piece = |cut: &[u64]| SplitPiece {
            path: "/f".into(),
            offset: cut[0],
            length: cut[1] - cut[0],
            file_length: data.len() as u64,
            e_tag: None,
        };
        Split { pieces: cuts.windows(2).map(piece).collect() }
    }

    #[test]
    fn an_empty_file_read_whole_is_a_record_that_can_be_left_out() {
        let formats = Formats { input: InputFormat::WholeFile, ..Formats::default() };
        let (input, split) = (MemoryInput { data: Vec::new(), block: 1 }, split_of(b"", &[0, 0]));
        let source =
            SplitSource { split: &split, input: &input, formats: &formats, ends: LineEnds::Lf };
        let of = |wanted| RecordFeed::new(source, wanted, &Progress::untold());
        let mut taken = of(Wanted::all_but(&[]));
        assert_eq!((all(&mut taken), taken.records()), (Vec::new(), 1));
        let mut kept = 0;
        let mut left_out = of(Wanted::all_but(&[0])).keeping(Box::new(|record| {
            assert_eq!(record.value, b"");
            kept += 1;
            Ok(())
        }));
        assert_eq!((all(&mut left_out), left_out.records()), (Vec::new(), 0));
        drop(left_out);
        assert_eq!(kept, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn record_by_record_the_bytes_are_those_of_blocks(
            text in prop::collection::vec(prop_oneof![
                5 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b',')
            ], 0..80),
            is_marked in any::<bool>(),
            format in 0..FORMATS.len(),
            ends in prop_oneof![Just(LineEnds::Lf), Just(LineEnds::Crlf), Just(LineEnds::Any)],
            block in 1..20_usize,
            skip in 0..20_u64,
        ) {
            let mark = if is_marked { BYTE_ORDER_MARK } else { b"" };
            let mut text = [mark, &text].concat();
            text.truncate(text.len() / 4 * 4);
            let formats = Formats { input: FORMATS[format](), ..Formats::default() };
            let input = MemoryInput { data: text.clone(), block };
            let split = split_of(&text, &[0, text.len() as u64]);
            let source = SplitSource { split: &split, input: &input, formats: &formats, ends };
            let progress = Progress::untold();
            let mut plain = crate::streaming::input::MapFeed::over(
                &input, &formats, &split, ends, &progress,
            );
            let expected = all(&mut plain);
            let of = |wanted| RecordFeed::new(source, wanted, &progress);
            let mut feed = of(Wanted::all_but(&[]));
            prop_assert_eq!(&all(&mut feed), &expected);
            prop_assert_eq!(feed.records(), plain.records());
            // What comes before a record, the record, and what comes after it are all.
            let only = |only| all(&mut of(Wanted { only, skipped: &[] }));
            let (before, it, after) = (only(0..skip), only(skip..skip + 1), only(skip + 1..u64::MAX));
            prop_assert_eq!(&[&before[..], &it, &after].concat(), &expected);
            let kept = std::cell::RefCell::new(Vec::new());
            let keep = Box::new(|record: RawRecord<'_>| {
                kept.borrow_mut().push(record.value.to_vec());
                Ok(())
            });
            let mut rest = of(Wanted::all_but(std::slice::from_ref(&skip))).keeping(keep);
            prop_assert_eq!(&all(&mut rest), &[&before[..], &after].concat());
            // A whole file may be a record of no bytes.
            let is_one = of(Wanted::all_but(&[])).spot(skip).unwrap().is_some();
            prop_assert_eq!(kept.borrow().len(), usize::from(is_one));
            prop_assert!(is_one || it.is_empty());
            // Each byte lies in a record.
            if !it.is_empty() {
                for bytes in [before.len() + 1, before.len() + it.len()] {
                    let n = of(Wanted::all_but(&[])).records_in(bytes as u64).unwrap();
                    prop_assert_eq!(n, skip + 1);
                }
                let (_, offset, start) = of(Wanted::all_but(&[])).spot(skip).unwrap().unwrap();
                let at = offset as usize;
                let without = mark.len() * usize::from(at == 0 && !start.starts_with(mark));
                prop_assert_eq!(&text[at + without..][..start.len()], &start[..]);
            }
        }
    }
}
