//! The records of sort benchmarks: made up, sorted, validated. The layout is that of `gensort -a`: 100 bytes, of which
//! the first 10 are a random printable key, and the last two the end of a line.

use super::range;
use crate::api::RangePartitioner;
use crate::{Bytes, Job, Output, Reducer, Text, UserError, Values};

/// Bytes of a record.
pub const TERA_RECORD_BYTES: usize = 100;

const KEY_BYTES: usize = 10;
const HEX: &[u8; 16] = b"0123456789ABCDEF";
const ORDINAL: std::ops::Range<usize> = 12..44;
const FILLER: std::ops::Range<usize> = 46..98;

/// Writes record number `ordinal` of those of `seed`: its bytes depend on these two alone.
///
/// # Panics
/// When `record` has not [`TERA_RECORD_BYTES`].
pub fn tera_record(ordinal: u64, seed: u64, record: &mut [u8]) {
    record.fill(b' ');
    let high = mix(ordinal ^ mix(seed));
    let low = mix(high ^ 0xD1B5_4A32_D192_ED03);
    let mut digits = (u128::from(high) << 64) | u128::from(low);
    for byte in &mut record[..KEY_BYTES] {
        *byte = b' ' + (digits % 95) as u8;
        digits /= 95;
    }
    for (from_right, byte) in record[ORDINAL].iter_mut().rev().enumerate() {
        let shifted = ordinal.checked_shr(4 * from_right as u32).unwrap_or(0);
        *byte = HEX[(shifted & 15) as usize];
    }
    let filler = mix(low);
    for (index, four) in record[FILLER].chunks_mut(4).enumerate() {
        four.fill(HEX[((filler >> (4 * index)) & 15) as usize]);
    }
    record[98..].copy_from_slice(b"\r\n");
}

/// SplitMix64's finaliser (Steele, Lea and Flood 2014): scatters the bits of `z`.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Of lines `FIRST COUNT`, those records.
pub(super) fn generate(seed: u64) -> Job {
    Job::map::<Bytes, ()>(move |line, out| {
        let mut record = [0; TERA_RECORD_BYTES];
        for ordinal in range::of(line)? {
            tera_record(ordinal, seed, &mut record);
            // The output ends each line itself.
            out.emit(&record[..TERA_RECORD_BYTES - 1], ());
        }
        Ok(())
    })
    .into()
}

type TeraKey = [u8; KEY_BYTES];

fn key_of(record: crate::Record<'_>) -> Result<(TeraKey, &[u8]), UserError> {
    record.value.split_first_chunk().map(|(key, rest)| (*key, rest)).ok_or_else(|| {
        format!(
            "the line at offset {} of {} has {} bytes: a record begins with a key of {KEY_BYTES}",
            record.offset,
            record.path,
            record.value.len()
        )
        .into()
    })
}

/// Puts keys and what is behind them together again.
#[derive(Default)]
struct Whole {
    line: Vec<u8>,
}

impl Reducer for Whole {
    type InKey = TeraKey;
    type InValue = Bytes;
    type OutKey = Bytes;
    type OutValue = ();

    fn reduce(
        &mut self,
        key: TeraKey,
        rests: &mut Values<'_, TeraKey, Bytes>,
        out: &mut Output<'_, Bytes, ()>,
    ) -> Result<(), UserError> {
        while let Some(rest) = rests.next() {
            self.line.clear();
            self.line.extend_from_slice(&key);
            self.line.extend_from_slice(rest);
            out.emit(&self.line, ());
        }
        Ok(())
    }
}

/// Lines by their first bytes. With ranges, a part has one of them.
pub(super) fn sort(ranges: Option<RangePartitioner>) -> Job {
    let job = Job::map::<TeraKey, Bytes>(|line, out| {
        let (key, rest) = key_of(line)?;
        out.emit(key, rest);
        Ok(())
    })
    .reducer(Whole::default);
    match ranges {
        Some(ranges) => job.partitioner(ranges).into(),
        None => job.into(),
    }
}

/// A run of lines of one file.
#[derive(Clone, Default)]
struct Run {
    path: String,
    offset: u64,
    first: TeraKey,
    last: TeraKey,
    records: u64,
    checksum: u64,
    misplaced: u64,
    /// Where the first misplaced one begins.
    misplaced_at: u64,
}

/// A file, and where in it a run begins.
type Place = (Text, u64);

/// First and last key, records, checksum, misplaced ones, where the first of them begins.
type Summary = (TeraKey, TeraKey, u64, u64, u64, u64);

#[derive(Default)]
struct Runs {
    run: Option<Run>,
}

impl Runs {
    fn send(&mut self, out: &mut Output<'_, Place, Summary>) {
        if let Some(run) = self.run.take() {
            let Run { first, last, records, checksum, misplaced, misplaced_at, .. } = run;
            let summary = (first, last, records, checksum, misplaced, misplaced_at);
            out.emit((&run.path, run.offset), summary);
        }
    }
}

impl crate::Mapper for Runs {
    type Key = Place;
    type Value = Summary;

    fn map(
        &mut self,
        record: crate::Record<'_>,
        out: &mut Output<'_, Place, Summary>,
    ) -> Result<(), UserError> {
        let (key, _) = key_of(record)?;
        if self.run.as_ref().is_some_and(|run| run.path != record.path) {
            self.send(out);
        }
        let run = self.run.get_or_insert_with(|| Run {
            path: record.path.to_owned(),
            offset: record.offset,
            first: key,
            last: key,
            ..Run::default()
        });
        if key < run.last {
            if run.misplaced == 0 {
                run.misplaced_at = record.offset;
            }
            run.misplaced += 1;
        }
        run.last = key;
        run.records += 1;
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, record.value);
        run.checksum = run.checksum.wrapping_add(crc);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Place, Summary>) -> Result<(), UserError> {
        self.send(out);
        Ok(())
    }
}

/// Sees the runs of each file, and the files by name.
#[derive(Default)]
struct Verdict {
    last: Option<TeraKey>,
    records: u64,
    checksum: u64,
    misplaced: u64,
}

impl Reducer for Verdict {
    type InKey = Place;
    type InValue = Summary;
    type OutKey = Text;
    type OutValue = Text;

    fn reduce(
        &mut self,
        (path, _): (&str, u64),
        runs: &mut Values<'_, Place, Summary>,
        out: &mut Output<'_, Text, Text>,
    ) -> Result<(), UserError> {
        let (mut misplaced, mut misplaced_at) = (0, None);
        while let Some(((_, offset), (first, last, records, checksum, inside, at))) =
            runs.next_pair()
        {
            if self.last.is_some_and(|before| first < before) {
                misplaced += 1;
                misplaced_at = misplaced_at.or(Some(offset));
            }
            if inside > 0 {
                misplaced += inside;
                misplaced_at = misplaced_at.or(Some(at));
            }
            self.last = Some(last);
            self.records += records;
            self.checksum = self.checksum.wrapping_add(checksum);
        }
        if let Some(at) = misplaced_at {
            let file = path.rsplit('/').next().unwrap_or(path);
            out.emit("misplaced", &format!("{file}\t{misplaced}\tfrom byte {at}"));
            out.count("tera", "MISPLACED", misplaced);
        }
        self.misplaced += misplaced;
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Text, Text>) -> Result<(), UserError> {
        out.emit("sorted", if self.misplaced == 0 { "yes" } else { "no" });
        out.emit("records", &self.records.to_string());
        out.emit("checksum", &format!("{:x}", self.checksum));
        Ok(())
    }
}

/// A record is misplaced that has a smaller key than the one before it, in its file or in the last one before. The
/// checksum is the sum of the lines' CRC-32 (as of zlib), without their LF.
pub(super) fn validate() -> Job {
    Job::new(Runs::default).group_by::<1>().reducer(Verdict::default).into()
}
