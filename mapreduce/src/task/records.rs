//! Records of a piece, in whatever format: lines, cut or looked at, in `lines.rs`; the others over the file's blocks.

use bytes::Bytes;
use mapreduce_protocol::{Codec, Csv, Failure, Formats, InputFormat, RECORD_BYTES_MAX, SplitPiece};
use memchr::memmem::Finder;

use super::csv_records::CsvRecords;
use super::failure::bad_job;
use super::following::{Opened, is_whole, not_whole, open};
use super::lines::Lines;
use super::storage::Input;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    /// The place of its first byte: in the file, or in what that holds; of lines of bzip2 and zstd files see `places`.
    pub(crate) offset: u64,
    /// Its key, in formats that have them.
    pub(crate) key: Option<&'a [u8]>,
    /// The rest.
    pub(crate) value: &'a [u8],
}

/// What some editors put in front of UTF-8 text, and what is none of it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A record without that mark, if it is its file's first one.
#[inline]
pub(crate) fn unmarked(offset: u64, record: &[u8]) -> &[u8] {
    if offset > 0 { record } else { record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record) }
}

/// The records that a piece owns.
pub(crate) enum Records<'a> {
    /// Lines as they are.
    Text(Lines<'a>),
    /// Lines with a key.
    KeyValue(Lines<'a>, Box<Finder<'static>>),
    /// Lines that hold JSON.
    Json(Lines<'a>),
    /// Lines that hold CSV, and whether the first is a header.
    CsvLines(Lines<'a>, bool),
    /// CSV with records of several lines.
    Csv(Box<CsvRecords<'a>>),
    /// Records of one length.
    FixedLength(FixedLength<'a>),
    /// One record.
    WholeFile(WholeFile<'a>),
}

impl<'a> Records<'a> {
    /// Stands on the first record that the piece owns.
    pub(crate) fn open(
        input: &'a dyn Input,
        piece: &'a SplitPiece,
        formats: &Formats,
    ) -> Result<Self, Failure> {
        check_piece(piece, formats)?;
        let codec = formats.codec_of(&piece.path);
        let lines = || Lines::open(input, piece, codec);
        Ok(match &formats.input {
            InputFormat::Text | InputFormat::Lines { .. } => Self::Text(lines()?),
            InputFormat::KeyValue { separator } => {
                Self::KeyValue(lines()?, Box::new(Finder::new(separator).into_owned()))
            }
            InputFormat::JsonLines => Self::Json(lines()?),
            InputFormat::Csv(Csv { multiline: false, header, .. }) => {
                Self::CsvLines(lines()?, *header && piece.offset == 0)
            }
            InputFormat::Csv(csv) => {
                let opened = open(input, piece, codec, 0)?;
                Self::Csv(Box::new(CsvRecords::new(opened, piece, *csv)))
            }
            InputFormat::FixedLength { bytes } => {
                Self::FixedLength(FixedLength::open(input, piece, codec, *bytes as usize)?)
            }
            InputFormat::WholeFile => {
                let opened = Some(open(input, piece, codec, 0)?);
                Self::WholeFile(WholeFile { piece, opened, whole: Vec::new() })
            }
        })
    }

    /// The next record; `None` when the piece owns no more.
    #[inline]
    pub(crate) fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        if let Self::Text(lines) = self {
            let line = lines.next_line()?;
            return Ok(line.map(|(offset, value)| RawRecord { offset, key: None, value }));
        }
        self.next_other()
    }

    fn next_other(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        match self {
            Self::Text(lines) => {
                let line = lines.next_line()?;
                Ok(line.map(|(offset, value)| RawRecord { offset, key: None, value }))
            }
            Self::KeyValue(lines, separator) => {
                let line = lines.next_line()?;
                Ok(line.map(|(offset, line)| {
                    let (key, value) = cut(line, separator);
                    RawRecord { offset, key: Some(key), value }
                }))
            }
            Self::Json(lines) => next_json(lines),
            Self::CsvLines(lines, header) => next_csv_line(lines, header),
            Self::Csv(records) => records.next_record(),
            Self::FixedLength(records) => records.next_record(),
            Self::WholeFile(file) => file.next_record(),
        }
    }

    /// Of lines as they are, passes those before the next one of interest ([`Lines::pass_over`]).
    pub(crate) fn pass_over(&mut self, find: impl FnOnce(&[u8]) -> usize) -> u64 {
        match self {
            Self::Text(lines) => lines.pass_over(find),
            Self::KeyValue(..)
            | Self::Json(_)
            | Self::CsvLines(..)
            | Self::Csv(_)
            | Self::FixedLength(_)
            | Self::WholeFile(_) => 0,
        }
    }

    /// Bytes of the piece that are passed, compressed ones where it is compressed.
    pub(crate) fn passed(&self) -> u64 {
        match self {
            Self::Text(lines)
            | Self::KeyValue(lines, _)
            | Self::Json(lines)
            | Self::CsvLines(lines, _) => lines.passed(),
            Self::Csv(records) => records.passed(),
            Self::FixedLength(records) => records.passed(),
            Self::WholeFile(file) => file.passed(),
        }
    }
}

/// Refuses a part of a file that can only be read as a whole: its records would be another map's, too.
pub(crate) fn check_piece(piece: &SplitPiece, formats: &Formats) -> Result<(), Failure> {
    if is_whole(piece) || formats.splits(&piece.path) { Ok(()) } else { Err(not_whole(piece)) }
}

/// Key and value of a line.
fn cut<'l>(line: &'l [u8], separator: &Finder<'_>) -> (&'l [u8], &'l [u8]) {
    match separator.find(line) {
        Some(at) => (&line[..at], &line[at + separator.needle().len()..]),
        None => (line, &line[line.len()..]),
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

fn next_json<'l>(lines: &'l mut Lines<'_>) -> Result<Option<RawRecord<'l>>, Failure> {
    let (path, places) = (lines.path(), lines.places());
    let line = lines.next_line_that(|offset, line| !is_blank(unmarked(offset, line)))?;
    let Some((offset, line)) = line else { return Ok(None) };
    let value = unmarked(offset, line);
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(value) {
        let place = places.told(offset);
        return Err(bad_job(format!(
            "input {path} has no JSON value in the line {place}: {error}; mend it, or read the file as 'text'"
        )));
    }
    Ok(Some(RawRecord { offset, key: None, value }))
}

fn next_csv_line<'l>(
    lines: &'l mut Lines<'_>,
    header: &mut bool,
) -> Result<Option<RawRecord<'l>>, Failure> {
    // The header is the first line even if that is empty: the next one may be another piece's.
    let is_record = |offset, line: &[u8]| {
        !std::mem::take(header) && !matches!(unmarked(offset, line), [] | b"\r")
    };
    let line = lines.next_line_that(is_record)?;
    Ok(line.map(|(offset, line)| {
        let line = unmarked(offset, line);
        let value = line.strip_suffix(b"\r").unwrap_or(line);
        RawRecord { offset, key: None, value }
    }))
}

/// Records of one length: those whose first byte is in the piece.
pub(crate) struct FixedLength<'a> {
    piece: &'a SplitPiece,
    opened: Opened<'a>,
    length: usize,
    /// Where the next record begins.
    at: u64,
    /// Records that begin there or later are another piece's.
    end: u64,
    /// What is left of the last block.
    block: Bytes,
    record: Vec<u8>,
}

impl<'a> FixedLength<'a> {
    fn open(
        input: &'a dyn Input,
        piece: &'a SplitPiece,
        codec: Option<Codec>,
        length: usize,
    ) -> Result<Self, Failure> {
        let start = piece.offset.next_multiple_of(length as u64);
        let end = if codec.is_some() { u64::MAX } else { piece.offset + piece.length };
        let opened = match start < end {
            true => open(input, piece, codec, start)?,
            // The one record that it has bytes of is another piece's.
            false => Opened::nothing(),
        };
        Ok(Self { piece, opened, length, at: start, end, block: Bytes::new(), record: Vec::new() })
    }

    fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        let offset = self.at;
        if offset >= self.end {
            return Ok(None);
        }
        self.record.clear();
        while self.record.len() < self.length {
            if self.block.is_empty() {
                match self.opened.blocks.next_block()? {
                    Some(block) => self.block = block,
                    None if self.record.is_empty() => return Ok(None),
                    None => return Err(self.partial()),
                }
            }
            let n = self.block.len().min(self.length - self.record.len());
            self.record.extend_from_slice(&self.block.split_to(n));
        }
        self.at += self.length as u64;
        Ok(Some(RawRecord { offset, key: None, value: &self.record }))
    }

    fn partial(&self) -> Failure {
        let Self { piece, length, record, .. } = self;
        bad_job(format!(
            "input {} ends with {} bytes of a record, which has {length}: is 'fixed-length' right?",
            piece.path,
            record.len()
        ))
    }

    fn passed(&self) -> u64 {
        let passed = self.at.saturating_sub(self.piece.offset).min(self.piece.length);
        self.opened.raw.as_ref().map_or(passed, |raw| raw.passed())
    }
}

/// A whole file as its record.
pub(crate) struct WholeFile<'a> {
    piece: &'a SplitPiece,
    /// Until it is read.
    opened: Option<Opened<'a>>,
    whole: Vec<u8>,
}

impl WholeFile<'_> {
    fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        let Some(mut opened) = self.opened.take() else { return Ok(None) };
        while let Some(block) = opened.blocks.next_block()? {
            if self.whole.len() + block.len() > RECORD_BYTES_MAX {
                return Err(bad_job(format!(
                    "input {} has more than {RECORD_BYTES_MAX} bytes, which a record may have at most: 'whole-file' is for \
                     smaller files",
                    self.piece.path
                )));
            }
            self.whole.extend_from_slice(&block);
        }
        Ok(Some(RawRecord { offset: 0, key: None, value: &self.whole }))
    }

    fn passed(&self) -> u64 {
        if self.opened.is_some() { 0 } else { self.piece.length }
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{FailureKind, InputCompression};
    use proptest::prelude::*;

    use super::*;
    use crate::task::storage::testing::MemoryInput;

    type Owned = (u64, Option<Vec<u8>>, Vec<u8>);

    /// The records of a file that is cut at `cuts`.
    fn records(
        data: &[u8],
        block: usize,
        cuts: &[u64],
        input: &InputFormat,
    ) -> Result<Vec<Owned>, Failure> {
        let memory = MemoryInput { data: data.to_vec(), block };
        let formats = Formats { input: input.clone(), ..Formats::default() };
        let mut found = Vec::new();
        for cut in cuts.windows(2) {
            let (offset, length, file_length) = (cut[0], cut[1] - cut[0], data.len() as u64);
            let piece = SplitPiece { path: "/f".into(), offset, length, file_length, e_tag: None };
            let mut records = Records::open(&memory, &piece, &formats)?;
            while let Some(RawRecord { offset, key, value }) = records.next_record()? {
                found.push((offset, key.map(<[u8]>::to_vec), value.to_vec()));
            }
            assert_eq!(records.passed(), length, "{input:?}");
        }
        Ok(found)
    }

    /// Files, and what cuts them into records.
    fn files() -> impl Strategy<Value = (Vec<u8>, InputFormat)> {
        let byte = prop_oneof![
            5 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b'\r'), 2 => Just(b','), 1 => Just(b';')
        ];
        let text = prop::collection::vec(byte, 0..60);
        let json =
            prop::collection::vec(prop_oneof!["[1-9]{1,3}", r#"\{"a": ?[0-9]\}"#, " ?"], 0..9);
        let lines = json.prop_map(|lines| lines.join("\n").into_bytes());
        let csv = Csv { delimiter: b',', multiline: false, header: false };
        let formats = prop_oneof![
            Just(InputFormat::Text),
            Just(InputFormat::KeyValue { separator: ",".to_owned() }),
            Just(InputFormat::KeyValue { separator: ",;".to_owned() }),
            Just(InputFormat::Csv(csv)),
            Just(InputFormat::Csv(Csv { header: true, ..csv })),
        ];
        prop_oneof![
            (text.clone(), formats),
            (lines, Just(InputFormat::JsonLines)),
            (text, 1..9_u32).prop_map(|(mut text, bytes)| {
                text.truncate(text.len() / bytes as usize * bytes as usize);
                (text, InputFormat::FixedLength { bytes })
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn whatever_the_cuts_each_record_has_one_owner(
            (data, format) in files(),
            block in 1..20_usize,
            cuts in prop::collection::vec(0..60_u64, 0..5),
            is_marked in any::<bool>(),
        ) {
            let is_text = !matches!(format, InputFormat::FixedLength { .. });
            let mark = if is_marked && is_text { BYTE_ORDER_MARK } else { b"" };
            let data = [mark, &data].concat();
            let length = data.len() as u64;
            let mut all: Vec<u64> = cuts.into_iter().filter(|cut| *cut < length).collect();
            all.extend([0, length]);
            all.sort_unstable();
            let whole = records(&data, 1000, &[0, length], &format).unwrap();
            prop_assert_eq!(records(&data, block, &all, &format).unwrap(), whole);
        }
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_record_that_has_a_form() {
        let csv = |multiline, header| InputFormat::Csv(Csv { delimiter: b',', multiline, header });
        for (format, text) in [
            (InputFormat::JsonLines, "{\"a\": 1}\n2\n"),
            (InputFormat::JsonLines, "\n1\n \n2"),
            (csv(false, false), "\"a\",b\r\nc\n"),
            (csv(false, false), "\r\na\nb\n"),
            (csv(false, true), "a\nb\nc"),
            (csv(true, false), "\"a\nb\",c\nd\n"),
            (csv(true, false), "\r\n\na\nb\n"),
            (csv(true, true), "\"a\nb\",c\nd\n"),
            (csv(true, false), ""),
        ] {
            let marked = [BYTE_ORDER_MARK, text.as_bytes()].concat();
            let mut expected =
                records(text.as_bytes(), 1000, &[0, text.len() as u64], &format).unwrap();
            for (at, ..) in expected.iter_mut().filter(|(at, ..)| *at > 0) {
                *at += BYTE_ORDER_MARK.len() as u64;
            }
            for block in 1..10 {
                let found = records(&marked, block, &[0, marked.len() as u64], &format).unwrap();
                assert_eq!(found, expected, "{format:?} {text:?} in blocks of {block}");
            }
        }
        // Plain lines are what stands in the file.
        let text = [BYTE_ORDER_MARK, b"a\n"].concat();
        let found = records(&text, 9, &[0, 5], &InputFormat::Text).unwrap();
        assert_eq!(found, [(0, None, text[..4].to_vec())]);
    }

    /// The file `data` in several blocks or frames; frames perhaps behind something that is skipped, as `pzstd` writes it.
    fn in_units(codec: Codec, data: &[u8], unit: usize, skipped: &[u8]) -> Vec<u8> {
        let compress = |part: &[u8]| match codec {
            Codec::Bzip2 => {
                let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                std::io::Write::write_all(&mut out, part).unwrap();
                out.finish().unwrap()
            }
            _ => [skipped, &zstd::encode_all(part, 1).unwrap()].concat(),
        };
        let parts: Vec<&[u8]> =
            if data.is_empty() { vec![data] } else { data.chunks(unit).collect() };
        parts.into_iter().flat_map(compress).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn whatever_the_cuts_of_a_compressed_file_each_record_has_one_owner_and_place(
            text in prop::collection::vec(
                prop_oneof![4 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b',')], 0..60
            ),
            codec in prop_oneof![Just(Codec::Bzip2), Just(Codec::Zstd)],
            (unit, skips) in (1..20_usize, any::<bool>()),
            block in 1..400_usize,
            cuts in prop::collection::vec(0.0..1.0_f64, 0..6),
        ) {
            let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, b'n', b'o'];
            let file = in_units(codec, &text, unit, if skips { &skipped } else { &[] });
            let length = file.len() as u64;
            let mut all: Vec<u64> = cuts.iter().map(|at| (at * length as f64) as u64).collect();
            all.extend([0, length]);
            all.sort_unstable();
            all.dedup();
            let formats =
                Formats { input_compression: InputCompression::Auto, ..Formats::default() };
            let memory = MemoryInput { data: file.clone(), block };
            let path: std::sync::Arc<str> = format!("/f.{}", codec.extension()).into();
            let piece = |offset, length| SplitPiece {
                path: path.clone(),
                offset,
                length,
                file_length: file.len() as u64,
                e_tag: None,
            };
            let records_of = |piece: &SplitPiece| {
                let mut records = Records::open(&memory, piece, &formats).unwrap();
                let mut found = Vec::new();
                while let Some(record) = records.next_record().unwrap() {
                    found.push((record.offset, record.value.to_vec()));
                }
                found
            };
            let whole = records_of(&piece(0, length));
            let (mut found, mut blocks) = (Vec::new(), Vec::new());
            for cut in all.windows(2) {
                let piece = piece(cut[0], cut[1] - cut[0]);
                found.extend(records_of(&piece));
                let mut lines = Lines::open(&memory, &piece, Some(codec)).unwrap();
                while let Some(block) = lines.next_lines().unwrap() {
                    blocks.extend_from_slice(&block);
                }
            }
            let mut expected: Vec<Vec<u8>> =
                text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            prop_assert_eq!(&found, &whole, "places, too");
            let (places, found): (Vec<u64>, Vec<Vec<u8>>) = found.into_iter().unzip();
            prop_assert_eq!(&found, &expected);
            prop_assert!(places.is_sorted_by(|a, b| a < b) && places.first().is_none_or(|it| *it == 0));
            let ended: Vec<u8> = expected.iter().flat_map(|it| [it, &b"\n"[..]].concat()).collect();
            prop_assert_eq!(blocks, ended);
        }
    }

    #[test]
    fn each_format_has_its_records() {
        let separator = |text: &str| InputFormat::KeyValue { separator: text.to_owned() };
        let csv = Csv { delimiter: b';', multiline: true, header: true };
        for (data, format, expected) in [
            ("a\tb\tc\nd", separator("\t"), &[(0, Some("a"), "b\tc"), (6, Some("d"), "")][..]),
            ("a--b\n--c\n", separator("--"), &[(0, Some("a"), "b"), (5, Some(""), "c")]),
            (
                "aabbcc",
                InputFormat::FixedLength { bytes: 2 },
                &[(0, None, "aa"), (2, None, "bb"), (4, None, "cc")],
            ),
            ("a\n\nb", InputFormat::WholeFile, &[(0, None, "a\n\nb")]),
            ("{}\n \r\n[1]\r\n", InputFormat::JsonLines, &[(0, None, "{}"), (6, None, "[1]\r")]),
            (
                "x;y\r\n\r\n1;\"a\nb\"\n\"\"\"\";2",
                InputFormat::Csv(csv),
                &[(7, None, "1;\"a\nb\""), (15, None, "\"\"\"\";2")],
            ),
            (
                "x,y\r\n\r\n1,2\r\n3",
                InputFormat::Csv(Csv { multiline: false, header: true, ..Csv::default() }),
                &[(7, None, "1,2"), (12, None, "3")],
            ),
        ] {
            for block in 1..=data.len() {
                let cuts = [0, data.len() as u64];
                let found = records(data.as_bytes(), block, &cuts, &format).unwrap();
                let expected = expected.iter().map(|(offset, key, value)| {
                    (*offset, key.map(|key| key.as_bytes().to_vec()), value.as_bytes().to_vec())
                });
                assert_eq!(found, expected.collect::<Vec<_>>(), "{data:?} in blocks of {block}");
            }
        }
    }

    #[test]
    fn a_part_of_a_file_that_can_not_be_split_is_refused() {
        let memory = MemoryInput { data: b"a\nb\n".to_vec(), block: 100 };
        let auto = Formats { input_compression: InputCompression::Auto, ..Formats::default() };
        let files = Formats { input: InputFormat::WholeFile, ..Formats::default() };
        for (path, formats) in [("/f.gz", auto), ("/f", files)] {
            for (offset, length) in [(0, 2), (2, 2)] {
                let piece =
                    SplitPiece { path: path.into(), offset, length, file_length: 4, e_tag: None };
                let refused = Records::open(&memory, &piece, &formats).err().unwrap();
                assert_eq!(refused.kind, FailureKind::BadJob);
                assert!(refused.message.contains(path), "{}", refused.message);
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_place() {
        for (data, format, needle) in [
            ("{}\n{\n", InputFormat::JsonLines, "/f has no JSON value in the line at byte 3"),
            ("{} {}\n", InputFormat::JsonLines, "at byte 0"),
            ("aabbc", InputFormat::FixedLength { bytes: 2 }, "/f ends with 1 bytes of a record"),
        ] {
            for block in [1, 100] {
                let cuts = [0, data.len() as u64];
                let failure = records(data.as_bytes(), block, &cuts, &format).unwrap_err();
                assert!(failure.message.contains(needle), "{}", failure.message);
            }
        }
    }
}
