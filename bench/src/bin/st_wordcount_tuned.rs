//! Word count tuned by hand: blocks of 64 bytes become bit masks of white space, words of up to 16 bytes are kept as one
//! number in an open table. With a thread for each core it marks what the machine could do at most.
//!
//! usage: `st_wordcount_tuned IN_FILE OUT_FILE [THREADS]`

use std::collections::HashMap;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    key: u128,
    /// 0: free.
    count: u64,
    len: u64,
}

struct Counts {
    slots: Vec<Slot>,
    used: usize,
    long: HashMap<Vec<u8>, u64, ahash::RandomState>,
}

fn hash(key: u128) -> usize {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let mixed = u128::from(low ^ 0x9E37_79B9_7F4A_7C15) * u128::from(high ^ 0xD1B5_4A32_D192_ED03);
    (mixed as u64 ^ (mixed >> 64) as u64) as usize
}

impl Counts {
    fn new() -> Self {
        Self { slots: vec![Slot::default(); 1 << 16], used: 0, long: HashMap::default() }
    }

    #[inline]
    fn add(&mut self, key: u128, len: u64, n: u64) {
        let mask = self.slots.len() - 1;
        let mut at = hash(key) & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.key == key && slot.len == len {
                slot.count += n;
                return;
            }
            if slot.count == 0 {
                *slot = Slot { key, count: n, len };
                self.used += 1;
                if self.used * 2 > self.slots.len() {
                    self.grow();
                }
                return;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![Slot::default(); old.len() * 2];
        self.used = 0;
        for slot in old.into_iter().filter(|slot| slot.count > 0) {
            self.add(slot.key, slot.len, slot.count);
        }
    }

    fn word(&mut self, text: &[u8], start: usize, end: usize) {
        let len = end - start;
        match text.get(start..start + 16).and_then(<[u8]>::first_chunk::<16>) {
            _ if len == 0 => {}
            Some(bytes) if len <= 16 => {
                let key = u128::from_le_bytes(*bytes) & (u128::MAX >> (128 - 8 * len));
                self.add(key, len as u64, 1);
            }
            None if len <= 16 => {
                let mut bytes = [0; 16];
                bytes[..len].copy_from_slice(&text[start..end]);
                self.add(u128::from_le_bytes(bytes), len as u64, 1);
            }
            _ => match self.long.get_mut(&text[start..end]) {
                Some(n) => *n += 1,
                None => {
                    self.long.insert(text[start..end].to_vec(), 1);
                }
            },
        }
    }
}

/// A bit for each byte, set where it is white space.
#[inline]
fn spaces(block: &[u8; 64]) -> u64 {
    let mut mask = 0;
    for (nth, byte) in block.iter().enumerate() {
        mask |= u64::from(*byte == b' ' || byte.wrapping_sub(9) < 5) << nth;
    }
    mask
}

/// Counts `text[from..to]`, which ends at words' bounds.
fn count(text: &[u8], from: usize, to: usize) -> Counts {
    let mut counts = Counts::new();
    let (mut start, mut at) = (from, from);
    while at < to {
        let mut last = [b' '; 64];
        let block = match text[at..to].first_chunk::<64>() {
            Some(block) => block,
            None => {
                last[..to - at].copy_from_slice(&text[at..to]);
                &last
            }
        };
        let mut mask = spaces(block);
        while mask != 0 {
            let end = at + mask.trailing_zeros() as usize;
            if start < to {
                counts.word(text, start, end.min(to));
            }
            start = end + 1;
            mask &= mask - 1;
        }
        at += 64;
    }
    if start < to {
        counts.word(text, start, to);
    }
    counts
}

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() >= 3, "usage: st_wordcount_tuned IN_FILE OUT_FILE [THREADS]");
    let threads = match args.get(3) {
        Some(n) => n.to_str().context("a number of threads")?.parse::<usize>()?.max(1),
        None => std::thread::available_parallelism()?.get(),
    };
    let input = std::fs::File::open(&args[1]).context("the input")?;
    // SAFETY: the input is a file of the benchmark's own, which nobody changes while this runs.
    let text = unsafe { memmap2::Mmap::map(&input) }.context("the input")?;
    let cut = |nth: usize| {
        let cut = text.len() / threads * nth;
        text[cut..].iter().position(|byte| *byte <= b' ').map_or(text.len(), |word| cut + word)
    };
    let cuts: Vec<_> = [0].into_iter().chain((1..threads).map(cut)).chain([text.len()]).collect();
    let parts: Vec<Counts> = std::thread::scope(|scope| {
        let count = |ends: &[usize]| {
            let (text, from, to) = (&text, ends[0], ends[1]);
            scope.spawn(move || count(text, from, to))
        };
        let counting: Vec<_> = cuts.windows(2).map(count).collect();
        counting.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    anyhow::ensure!(parts.len() == threads, "a thread panicked");
    let mut all: HashMap<Vec<u8>, u64, ahash::RandomState> = HashMap::default();
    for part in parts {
        for slot in part.slots.iter().filter(|slot| slot.count > 0) {
            let word = slot.key.to_le_bytes()[..slot.len as usize].to_vec();
            *all.entry(word).or_default() += slot.count;
        }
        for (word, n) in part.long {
            *all.entry(word).or_default() += n;
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable();
    let output = std::fs::File::create(&args[2]).context("the output")?;
    let mut output = BufWriter::with_capacity(1 << 20, output);
    for (word, n) in all {
        output.write_all(&word)?;
        writeln!(output, "\t{n}")?;
    }
    output.flush().context("the output")
}
