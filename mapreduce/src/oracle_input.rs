//! What the sequential oracle reads: a file decompressed and cut into records as a whole, by nothing of the task runtime's.

use std::io::{self, Read as _};

use mapreduce_protocol::{Codec, Csv, Failure, FailureKind, Formats, InputFormat};

use crate::oracle_places::OraclePlaces;

/// One file of the input.
pub(crate) struct OracleInput {
    /// Its path.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) data: Vec<u8>,
    /// What its records are.
    pub(crate) format: InputFormat,
    /// Where they stand, if not where they are in `data`.
    places: Option<OraclePlaces>,
}

/// U+FEFF, which may stand in front of a text.
pub(crate) const MARK: &[u8] = "\u{feff}".as_bytes();

/// One record: its place, its key, the rest.
pub(crate) type OracleRecord<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

impl OracleInput {
    /// Of a file with the bytes `raw`.
    pub(crate) fn of(path: &str, raw: Vec<u8>, formats: &Formats) -> Result<Self, Failure> {
        let (data, places) = match formats.codec_of(path) {
            None => (raw, None),
            Some(codec) => {
                let unreadable =
                    |error| broken(format!("can't read input {path}: {codec}: {error}"));
                let data = decompressed(codec, &raw).map_err(unreadable)?;
                let places = match formats.splits(path) {
                    true => OraclePlaces::of(codec, &raw).map_err(unreadable)?,
                    false => None,
                };
                (data, places)
            }
        };
        Ok(Self { path: path.to_owned(), data, format: formats.input.clone(), places })
    }

    /// All records.
    pub(crate) fn records(&self) -> Result<Vec<OracleRecord<'_>>, Failure> {
        let mut records = self.records_of_data()?;
        if let Some(places) = &self.places {
            records.iter_mut().for_each(|(at, ..)| *at = places.place(*at));
        }
        Ok(records)
    }

    fn records_of_data(&self) -> Result<Vec<OracleRecord<'_>>, Failure> {
        let data = &self.data;
        match &self.format {
            InputFormat::Text | InputFormat::Lines { .. } => {
                Ok(lines(data).map(|(at, line)| (at, None, line)).collect())
            }
            InputFormat::KeyValue { separator } => {
                Ok(lines(data).map(|(at, line)| with_key(at, line, separator.as_bytes())).collect())
            }
            InputFormat::WholeFile => Ok(vec![(0, None, data)]),
            InputFormat::FixedLength { bytes } => {
                let length = *bytes as usize;
                if !data.len().is_multiple_of(length) {
                    return Err(broken(format!("input {} ends inside of a record", self.path)));
                }
                let chunks = (0..).step_by(length).zip(data.chunks(length));
                Ok(chunks.map(|(at, record)| (at, None, record)).collect())
            }
            InputFormat::Csv(csv) => {
                let mark = if data.starts_with(MARK) { MARK.len() } else { 0 };
                let text = &data[mark..];
                let mut records = csv_records(text, *csv);
                // The first one is at 0, whatever stands before it.
                for (at, ..) in records.iter_mut().filter(|(at, ..)| *at > 0) {
                    *at += mark as u64;
                }
                // A header may be what is never closed.
                let all = csv_records(text, Csv { header: false, ..*csv });
                let last = all.last().map_or(&[][..], |(_, _, record)| record);
                match csv.multiline && is_open(last, csv.delimiter) {
                    true => Err(broken(format!("input {} ends inside of quotes", self.path))),
                    false => Ok(records),
                }
            }
            InputFormat::JsonLines => lines(data)
                .map(|(at, line)| match line.strip_prefix(MARK) {
                    Some(rest) if at == 0 => (at, rest),
                    _ => (at, line),
                })
                .filter(|(_, line)| line.iter().any(|byte| !b" \t\r".contains(byte)))
                .map(|(at, line)| match serde_json::from_slice::<serde::de::IgnoredAny>(line) {
                    Ok(_) => Ok((at, None, line)),
                    Err(error) => Err(broken(format!("input {}: {error}", self.path))),
                })
                .collect(),
        }
    }
}

fn broken(message: String) -> Failure {
    Failure { kind: FailureKind::InputUnavailable, message }
}

fn lines(data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    data.split_inclusive(|byte| *byte == b'\n').scan(0, |at, line| {
        let begun = *at;
        *at += line.len() as u64;
        Some((begun, line.strip_suffix(b"\n").unwrap_or(line)))
    })
}

fn with_key<'l>(at: u64, line: &'l [u8], separator: &[u8]) -> OracleRecord<'l> {
    match line.windows(separator.len()).position(|it| it == separator) {
        Some(n) => (at, Some(&line[..n]), &line[n + separator.len()..]),
        None => (at, Some(line), &[]),
    }
}

/// Whether a record ends within a quoted field.
fn is_open(record: &[u8], delimiter: u8) -> bool {
    let mut rest = record;
    loop {
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let mut at = 0;
            loop {
                let Some(quote) = quoted[at..].iter().position(|byte| *byte == b'"') else {
                    return true;
                };
                at += quote + 1;
                if quoted.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
            rest = &quoted[at..];
        }
        match rest.iter().position(|byte| *byte == delimiter) {
            Some(at) => rest = &rest[at + 1..],
            None => return false,
        }
    }
}

/// A line ends a record where an even number of quotes is before it.
fn csv_records(data: &[u8], csv: Csv) -> Vec<OracleRecord<'_>> {
    let mut records = Vec::new();
    let (mut begun, mut is_header) = (0, csv.header);
    let mut quotes = 0;
    for (at, byte) in data.iter().chain(b"\n").enumerate() {
        quotes += usize::from(*byte == b'"' && csv.multiline);
        if *byte == b'\n' && (quotes % 2 == 0 || at == data.len()) {
            let record = &data[begun..at];
            let record = record.strip_suffix(b"\r").unwrap_or(record);
            // Of records of one line each, it is the first line, even an empty one.
            if is_header && (!record.is_empty() || !csv.multiline) {
                is_header = false;
            } else if !record.is_empty() {
                records.push((begun as u64, None, record));
            }
            begun = at + 1;
        }
    }
    records
}

fn decompressed(codec: Codec, raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    match codec {
        Codec::Gzip => drop(flate2::read::MultiGzDecoder::new(raw).read_to_end(&mut data)?),
        Codec::Bzip2 => drop(bzip2::read::MultiBzDecoder::new(raw).read_to_end(&mut data)?),
        Codec::Zstd => zstd::stream::copy_decode(raw, &mut data)?,
        Codec::Lz4 if raw.starts_with(&[0x04, 0x22, 0x4d, 0x18]) => {
            let mut rest = raw;
            while !rest.is_empty() {
                lz4_flex::frame::FrameDecoder::new(&mut rest).read_to_end(&mut data)?;
            }
        }
        Codec::Lz4 => hadoop_blocks(raw, &mut data, |run, room| {
            lz4_flex::block::decompress(run, room).map_err(io::Error::other)
        })?,
        Codec::Snappy if raw.starts_with(b"\xff\x06") => {
            snap::read::FrameDecoder::new(raw).read_to_end(&mut data)?;
        }
        Codec::Snappy => hadoop_blocks(raw, &mut data, |run, _| {
            snap::raw::Decoder::new().decompress_vec(run).map_err(io::Error::from)
        })?,
    }
    Ok(data)
}

fn hadoop_blocks(
    raw: &[u8],
    data: &mut Vec<u8>,
    decode: impl Fn(&[u8], usize) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    let mut rest = raw;
    let number = |rest: &mut &[u8]| {
        let mut bytes = [0; 4];
        rest.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes) as usize)
    };
    while !rest.is_empty() {
        let end = data.len() + number(&mut rest)?;
        while data.len() < end {
            let length = number(&mut rest)?;
            let mut run = vec![0; length.min(rest.len())];
            rest.read_exact(&mut run)?;
            data.extend(decode(&run, end - data.len())?);
        }
    }
    Ok(())
}
