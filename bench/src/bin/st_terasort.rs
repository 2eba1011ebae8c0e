//! The baseline of tera-sort: 100-byte records by their first 10 bytes, one thread, all in memory. Pairs of a key's first eight
//! bytes and the record's number are spread by their first 16 bits, and each bucket, which fits the cache, is sorted.
//!
//! usage: `st_terasort IN_FILE OUT_FILE`

use std::cmp::Ordering;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

const RECORD: usize = 100;
const KEY: usize = 10;

/// A key's first eight bytes, and whose they are.
type Entry = (u64, u32);

fn spread(entries: &[Entry], compare: impl Fn(&Entry, &Entry) -> Ordering) -> Vec<Entry> {
    let bucket = |entry: &Entry| (entry.0 >> 48) as usize;
    let mut starts = vec![0_usize; (1 << 16) + 1];
    for entry in entries {
        starts[bucket(entry) + 1] += 1;
    }
    for bucket in 0..1 << 16 {
        starts[bucket + 1] += starts[bucket];
    }
    let mut next = starts.clone();
    let mut sorted = vec![(0, 0); entries.len()];
    for entry in entries {
        sorted[next[bucket(entry)]] = *entry;
        next[bucket(entry)] += 1;
    }
    for ends in starts.windows(2) {
        sorted[ends[0]..ends[1]].sort_unstable_by(&compare);
    }
    sorted
}

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() == 3, "usage: st_terasort IN_FILE OUT_FILE");
    let records = std::fs::read(&args[1]).context("the input")?;
    anyhow::ensure!(records.len() % RECORD == 0, "not a whole number of records");
    let key = |nth: u32| &records[nth as usize * RECORD..][..KEY];
    let prefix = |record: &[u8]| {
        record.first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_be_bytes(*bytes))
    };
    let entries: Vec<Entry> = records.chunks_exact(RECORD).map(prefix).zip(0..).collect();
    // Equal keys keep the order of the input.
    let sorted = spread(&entries, |left, right| {
        let by_rest = || key(left.1).cmp(key(right.1)).then(left.1.cmp(&right.1));
        left.0.cmp(&right.0).then_with(by_rest)
    });
    let output = std::fs::File::create(&args[2]).context("the output")?;
    let mut output = BufWriter::with_capacity(1 << 20, output);
    for (_, nth) in sorted {
        output.write_all(&records[nth as usize * RECORD..][..RECORD])?;
    }
    output.flush().context("the output")
}
