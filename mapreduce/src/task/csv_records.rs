//! Records of CSV files (RFC 4180) whose quoted fields may hold ends of lines: a file is read from its first byte on.

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use mapreduce_protocol::{Csv, Failure, RECORD_BYTES_MAX, SplitPiece};

use super::failure::bad_job;
use super::following::Opened;
use super::records::RawRecord;

/// Where the parser puts fields, which nobody asks for: enough for one call.
const SCRATCH_BYTES: usize = 4 << 10;
const SCRATCH_FIELDS: usize = 64;

/// See the module.
pub(crate) struct CsvRecords<'a> {
    opened: Opened<'a>,
    piece: &'a SplitPiece,
    parser: Reader,
    /// Whether the next record is a header.
    header: bool,
    /// What is left of the last block, and where it begins in the file.
    block: Bytes,
    at: u64,
    record: Vec<u8>,
    ended: bool,
}

impl<'a> CsvRecords<'a> {
    pub(super) fn new(opened: Opened<'a>, piece: &'a SplitPiece, csv: Csv) -> Self {
        let parser = ReaderBuilder::new().delimiter(csv.delimiter).build();
        let (block, record) = (Bytes::new(), Vec::new());
        Self { opened, piece, parser, header: csv.header, block, at: 0, record, ended: false }
    }

    pub(super) fn passed(&self) -> u64 {
        self.opened.raw.as_ref().map_or(self.at, |raw| raw.passed())
    }

    /// The next record as it is written, without the ends of lines around it.
    pub(super) fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, Failure> {
        loop {
            let begun_at = self.at;
            if !self.gather()? {
                return Ok(None);
            }
            if std::mem::take(&mut self.header) {
                continue;
            }
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let first = self.record.iter().take_while(|byte| is_end(byte)).count();
            let last = self.record.iter().rev().take_while(|byte| is_end(byte)).count();
            let value = &self.record[first..self.record.len() - last];
            return Ok(Some(RawRecord { offset: begun_at + first as u64, key: None, value }));
        }
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
