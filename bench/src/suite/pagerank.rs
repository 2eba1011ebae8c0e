//! PageRank for `bench suite`: the links, the workflow, and whether two programs' ranks are the same.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::lines::each;

/// Rounds of the workflow: its cost is that of each round, and to convergence it takes as many as the links want.
pub(super) const ROUNDS: u32 = 5;

/// Links of a page.
const LINKS: u64 = 8;
/// A page's line is about so long.
const LINE_BYTES: u64 = 120;
/// Of two programs that add in different orders, ranks differ by less.
const SAME: f64 = 1e-8;

/// Lines `page<TAB>link link …`, about `size` bytes: of few pages many are linked to, and each seventh links to none.
///
/// # Errors
/// When they can't be written.
pub(super) fn write_links(links: &Path, size: u64) -> anyhow::Result<()> {
    let n_pages = (size / LINE_BYTES).max(2);
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(links)?);
    let mut random = 42_u64;
    for page in 0..n_pages {
        write!(out, "page-{page:08}\t")?;
        let n_links = if page.is_multiple_of(7) { 0 } else { LINKS };
        for nth in 0..n_links {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let any = (random >> 33) % n_pages;
            let page = if nth == 0 { any % (n_pages / 100 + 1) } else { any };
            write!(out, "{}page-{page:08}", if nth > 0 { " " } else { "" })?;
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// The workflow of `mapreduce/examples/pagerank.yaml`, with so many rounds whatever becomes of the ranks.
///
/// # Errors
/// When this program lies where no other can.
pub(super) fn workflow() -> anyhow::Result<String> {
    let program = std::env::current_exe()?.with_file_name("pagerank");
    let program = program.to_str().context("a path that is text")?;
    let pages = "${pages.counter.pagerank.PAGES}";
    Ok(format!(
        "\
name: pagerank
jobs:
  pages:
    input: [/links]
    output: ${{work}}/ranks-0
    program: {{native: {{executable: '{program}', args: [pages]}}}}
    reduces: 2
  walk:
    rounds: {ROUNDS}
    jobs:
      spread:
        input: ['${{work}}/ranks-${{previous}}']
        output: ${{work}}/spread-${{round}}
        program: {{native: {{executable: '{program}', args: [spread, '{pages}']}}}}
        reduces: 2
      add:
        input: ['${{spread.output}}']
        output: ${{work}}/ranks-${{round}}
        program:
          native:
            executable: '{program}'
            args: [add, '{pages}', '${{spread.counter.pagerank.LOST}}']
        reduces: 0
  result:
    input: ['${{add.output}}']
    output: /out
    program: {{builtin: {{name: sort}}}}
"
    ))
}

/// Whether two outputs of lines `page<TAB>links<TAB>rank` say the same, in the same order.
///
/// # Errors
/// When one can't be read, or says something else.
pub(super) fn compare(ours: &Path, theirs: &Path) -> anyhow::Result<()> {
    let (ours, theirs) = (ranks(ours)?, ranks(theirs)?);
    anyhow::ensure!(ours.len() == theirs.len(), "{} ranks, expected {}", ours.len(), theirs.len());
    for ((page, rank), (other_page, other)) in ours.iter().zip(&theirs) {
        let is_same = page == other_page && ((rank - other) / other).abs() < SAME;
        let page = String::from_utf8_lossy(page);
        anyhow::ensure!(is_same, "{page} has rank {rank}, expected {other}");
    }
    Ok(())
}

/// What stands before each line's rank, and the rank.
fn ranks(output: &Path) -> anyhow::Result<Vec<(Vec<u8>, f64)>> {
    let (mut ranks, mut broken) = (Vec::new(), None);
    each(output, |line| match rank(line) {
        Some(rank) => ranks.push(rank),
        None => broken = Some(String::from_utf8_lossy(line).into_owned()),
    })?;
    match broken {
        Some(line) => anyhow::bail!("{line:?} has no rank"),
        None => Ok(ranks),
    }
}

fn rank(line: &[u8]) -> Option<(Vec<u8>, f64)> {
    let tab = memchr::memrchr(b'\t', line)?;
    let rank = str::from_utf8(&line[tab + 1..]).ok()?.parse().ok()?;
    Some((line[..tab].to_vec(), rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_may_differ_in_their_last_digits_and_in_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file can be written");
            path
        };
        let right = file("right", "a\tb\t0.25\nb\t\t0.75\n");
        for (text, is_same) in [
            ("a\tb\t0.2500000000001\nb\t\t0.75\n", true),
            ("a\tb\t0.25001\nb\t\t0.75\n", false),
            ("a\t\t0.25\nb\t\t0.75\n", false),
            ("b\t\t0.75\na\tb\t0.25\n", false),
            ("a\tb\t0.25\n", false),
            ("a\tb\tx\nb\t\t0.75\n", false),
            ("a\tb\tNaN\nb\t\t0.75\n", false),
        ] {
            let compared = compare(&file("other", text), &right);
            assert_eq!(compared.is_ok(), is_same, "{text:?}: {compared:?}");
        }
    }
}
