//! The baseline of grep: lines that hold a fixed string, one thread, the whole input mapped into memory and searched by SIMD.
//!
//! usage: `st_grep STRING IN_FILE`

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() == 3, "usage: st_grep STRING IN_FILE");
    let input = std::fs::File::open(&args[2]).context("the input")?;
    // SAFETY: the input is a file of the benchmark's own, which nobody changes while this runs.
    let text = unsafe { memmap2::Mmap::map(&input) }.context("the input")?;
    let finder = memchr::memmem::Finder::new(args[1].as_encoded_bytes());
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut at = 0;
    while let Some(found) = finder.find(&text[at..]) {
        let found = at + found;
        let start = memchr::memrchr(b'\n', &text[..found]).map_or(0, |newline| newline + 1);
        let end = memchr::memchr(b'\n', &text[found..]).map_or(text.len(), |after| found + after);
        output.write_all(&text[start..end])?;
        output.write_all(b"\n")?;
        at = end;
    }
    output.flush().context("the output")
}
