//! Records of CSV files (RFC 4180) whose quoted fields may hold ends of lines: a file is read from its first byte on.

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use mapreduce_protocol::{Csv, Failure, RECORD_BYTES_MAX, SplitPiece};

use super::failure::bad_job;
use super::following::Opened;
use super::records::{BYTE_ORDER_MARK, RawRecord};

/// Where the parser puts fields, which nobody asks for: enough for one call.
const SCRATCH_BYTES: usize = 4 << 10;
const SCRATCH_FIELDS: usize = 64;

/// See the module.
pub(crate) struct CsvRecords<'a> {
    opened: Opened<'a>,
    piece: &'a SplitPiece,
    parser: Reader,
    delimiter: u8,
    /// Whether the next record is a header.
    header: bool,
    /// What is left of the last block, and where it begins in the file.
    block: Bytes,
    at: u64,
    /// Where the first record begins: behind a byte order mark, or at 0. Its place is 0 in any case.
    first_at: Option<u64>,
    record: Vec<u8>,
    ended: bool,
}

impl<'a> CsvRecords<'a> {
    pub(super) fn new(opened: Opened<'a>, piece: &'a SplitPiece, csv: Csv) -> Self {
        let parser = ReaderBuilder::new().delimiter(csv.delimiter).build();
        let (block, record) = (Bytes::new(), Vec::new());
        let Csv { delimiter, header, .. } = csv;
        let (at, first_at, ended) = (0, None, false);
        Self { opened, piece, parser, delimiter, header, block, at, first_at, record, ended }
    }

    pub(super) fn passed(&self) -> u64 {
        self.opened.raw.as_ref().map_or(self.at, |raw| raw.passed())
    }

    /// The next record as it is written, without the ends of lines around it.
    pub(super) fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        let first_at = match self.first_at {
            Some(at) => at,
            None => self.begin()?,
        };
        loop {
            let begun_at = self.at;
            if !self.gather()? {
                return Ok(None);
            }
            if self.ended && self.block.is_empty() && ends_in_quotes(&self.record, self.delimiter) {
                return Err(bad_job(format!(
                    "input {} ends inside of quotes, in the record that begins at byte {begun_at}: a quote is missing, or the \
                     file was cut short; mend it, or, where no quoted field has an end of a line in it, set 'multiline: false'",
                    self.piece.path
                )));
            }
            if std::mem::take(&mut self.header) {
                continue;
            }
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let first = self.record.iter().take_while(|byte| is_end(byte)).count();
            let last = self.record.iter().rev().take_while(|byte| is_end(byte)).count();
            let value = &self.record[first..self.record.len() - last];
            let offset = Some(begun_at + first as u64).filter(|at| *at != first_at).unwrap_or(0);
            return Ok(Some(RawRecord { offset, key: None, value }));
        }
    }

    /// Passes a byte order mark, whose bytes may lie in several blocks; where the records begin.
    fn begin(&mut self) -> Result<u64, Failure> {
        while self.block.len() < BYTE_ORDER_MARK.len() && !self.ended {
            match self.opened.blocks.next_block()? {
                Some(more) => self.block = [&self.block[..], &more].concat().into(),
                None => self.ended = true,
            }
        }
        if self.block.starts_with(BYTE_ORDER_MARK) {
            self.at += self.block.split_to(BYTE_ORDER_MARK.len()).len() as u64;
        }
        Ok(*self.first_at.insert(self.at))
    }

    /// Takes the bytes up to the end of a record; `false` where there is none.
    fn gather(&mut self) -> Result<bool, Failure> {
        self.record.clear();
        let (mut text, mut ends) = ([0; SCRATCH_BYTES], [0; SCRATCH_FIELDS]);
        loop {
            if self.block.is_empty() && !self.ended {
                match self.opened.blocks.next_block()? {
                    Some(block) => self.block = block,
                    None => self.ended = true,
                }
            }
            let (result, n, ..) = self.parser.read_record(&self.block, &mut text, &mut ends);
            self.record.extend_from_slice(&self.block.split_to(n));
            self.at += n as u64;
            match result {
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
            }
            if self.record.len() > RECORD_BYTES_MAX {
                return Err(bad_job(format!(
                    "input {} has a record of more than {RECORD_BYTES_MAX} bytes before byte {}: is a quote missing?",
                    self.piece.path, self.at
                )));
            }
        }
    }
}

/// Whether the last field of a record is quoted, and its quotes are never closed. (The parser does not say.)
fn ends_in_quotes(record: &[u8], delimiter: u8) -> bool {
    enum Place {
        Begin,
        Plain,
        Quoted,
        /// Behind a quote that closes them, unless another one follows.
        Closed,
    }
    let last = record.iter().fold(Place::Begin, |place, byte| match (place, *byte) {
        (Place::Quoted, b'"') => Place::Closed,
        (Place::Quoted, _) | (Place::Begin | Place::Closed, b'"') => Place::Quoted,
        (_, b'\r' | b'\n') => Place::Begin,
        (_, byte) if byte == delimiter => Place::Begin,
        _ => Place::Plain,
    });
    matches!(last, Place::Quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quotes_around_a_field_must_be_closed() {
        for (record, expected) in [
            ("a,\"b", true),
            ("\"", true),
            ("\"a\"\"", true),
            ("\"a\nb,c\n", true),
            ("\r\n\"a", true),
            ("", false),
            ("a,b\n", false),
            ("\"a\"", false),
            ("\"a\"\"\"\n", false),
            ("a\"b", false),
            ("a,b\"\n", false),
            ("\"a\"x\"", false),
        ] {
            assert_eq!(ends_in_quotes(record.as_bytes(), b','), expected, "{record:?}");
        }
        assert!(ends_in_quotes(b"a;\"b", b';') && !ends_in_quotes(b"a;\"b", b','));
    }
}
