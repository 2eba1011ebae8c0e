//! The baseline of PageRank: one thread, all links in memory as numbers, and what `pagerank` of the examples writes.
//!
//! usage: `st_pagerank IN_FILE OUT_FILE ROUNDS`
//!
//! Input: lines `page<TAB>link link …`, one for each page, sorted. Output: the same with `<TAB>rank` behind.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

/// The chance that somebody follows a link.
const DAMPING: f64 = 0.85;

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() == 4, "usage: st_pagerank IN_FILE OUT_FILE ROUNDS");
    let rounds: u32 = args[3].to_str().context("a number of rounds")?.parse()?;
    let text = std::fs::read_to_string(&args[1]).context("the input")?;
    let lines: Vec<(&str, &str)> =
        text.lines().map(|line| line.split_once('\t').unwrap_or((line, ""))).collect();
    let mut numbers: hashbrown::HashMap<&str, u32, ahash::RandomState> =
        hashbrown::HashMap::with_capacity_and_hasher(lines.len(), ahash::RandomState::default());
    for (nth, (page, _)) in (0..).zip(&lines) {
        numbers.insert(page, nth);
    }
    let (mut links, mut ends) = (Vec::new(), Vec::with_capacity(lines.len()));
    for (page, line) in &lines {
        for link in line.split(' ').filter(|link| !link.is_empty()) {
            let number = numbers.get(link);
            links.push(
                *number.with_context(|| format!("{page} links to {link}, which is no page"))?,
            );
        }
        ends.push(links.len());
    }
    let n_pages = lines.len() as f64;
    let mut ranks = vec![1.0 / n_pages; lines.len()];
    for _ in 0..rounds {
        let (mut got, mut lost, mut start) = (vec![0.0; lines.len()], 0.0, 0);
        for (rank, end) in ranks.iter().zip(&ends) {
            let links = &links[start..*end];
            start = *end;
            if links.is_empty() {
                lost += rank;
            }
            for link in links {
                got[*link as usize] += rank / links.len() as f64;
            }
        }
        let everywhere = (1.0 - DAMPING) / n_pages + DAMPING * lost / n_pages;
        ranks = got.into_iter().map(|got| everywhere + DAMPING * got).collect();
    }
    let output = std::fs::File::create(&args[2]).context("the output")?;
    let mut output = BufWriter::with_capacity(1 << 20, output);
    for ((page, links), rank) in lines.iter().zip(ranks) {
        writeln!(output, "{page}\t{links}\t{rank}")?;
    }
    output.flush().context("the output")
}
