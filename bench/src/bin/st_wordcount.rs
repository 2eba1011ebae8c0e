//! The baseline of word count: one thread, no framework, the whole input mapped into memory and counted
//! in one hash table. What a good engineer writes in ten minutes for one machine.
//!
//! usage: `st_wordcount IN_FILE OUT_FILE`
//!
//! Words are runs of bytes other than 9–13 and 32. Output: `word<TAB>count<LF>`, sorted by word.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use hashbrown::hash_map::EntryRef;

/// The keys are owned, so that they lie close together: borrowing them from the mapped file spreads them
/// over all its pages and costs a TLB miss a word.
type Counts = hashbrown::HashMap<Box<[u8]>, u64, ahash::RandomState>;

fn is_space(byte: u8) -> bool {
    byte == b' ' || (9..=13).contains(&byte)
}

fn count(text: &[u8]) -> Counts {
    let mut counts = Counts::with_capacity_and_hasher(1 << 16, ahash::RandomState::default());
    let mut at = 0;
    while at < text.len() {
        if is_space(text[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < text.len() && !is_space(text[at]) {
            at += 1;
        }
        match counts.entry_ref(&text[start..at]) {
            EntryRef::Occupied(mut entry) => *entry.get_mut() += 1,
            EntryRef::Vacant(entry) => {
                entry.insert_with_key(Box::from(&text[start..at]), 1);
            }
        }
    }
    counts
}

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() == 3, "usage: st_wordcount IN_FILE OUT_FILE");
    let input = std::fs::File::open(&args[1]).context("the input")?;
    // SAFETY: the input is a file of the benchmark's own, which nobody changes while this runs.
    let text = unsafe { memmap2::Mmap::map(&input) }.context("the input")?;
    let mut counts: Vec<_> = count(&text).into_iter().collect();
    counts.sort_unstable();
    let output = std::fs::File::create(&args[2]).context("the output")?;
    let mut output = BufWriter::with_capacity(1 << 20, output);
    for (word, n) in counts {
        output.write_all(&word)?;
        writeln!(output, "\t{n}")?;
    }
    output.flush().context("the output")
}
