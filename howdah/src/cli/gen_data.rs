//! `howdah gen`: generated data in local files, which appear whole or not at all, after Ctrl-C too.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};

use super::runtime;
use super::size::parse_size;
use crate::exit::{Interrupted, OrEarly, early};
use crate::generate::{Tera, ZipfText};
use crate::local_file::{LocalFile, is_special};
use crate::say::quiet_if_closed;
use crate::signals::termination;

/// Arguments of `gen`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct GenArgs {
    /// What to make
    #[arg(value_enum)]
    kind: Kind,
    /// Exact size, like 256MiB or 1000000 (tera: whole 100-byte records)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    size: u64,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// The file to write, or `-` for standard output; a pipe or device is written to
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Words with the frequencies of Zipf's law, about ten a line
    Text,
    /// 100-byte records of sort benchmarks, one a line, with 10-byte random keys
    Tera,
}

/// Writes the file whole, or leaves none.
pub(crate) fn run(args: &GenArgs) -> anyhow::Result<()> {
    match args.kind {
        Kind::Text => write(args, ZipfText::new(args.size, args.seed)),
        Kind::Tera => write(args, Tera::new(args.size, args.seed).or_early()?),
    }
}

fn write(
    args: &GenArgs,
    blocks: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> anyhow::Result<()> {
    let path = args.path.as_path();
    if path == Path::new("-") {
        let mut out = std::io::stdout().lock();
        let mut blocks = blocks;
        return quiet_if_closed(blocks.try_for_each(|block| out.write_all(&block)));
    }
    if is_special(path) {
        // Nothing is left behind, and nobody knows how long it blocks: a signal just ends it.
        return write_until(path, blocks, &AtomicBool::new(false)).map(drop);
    }
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(early(anyhow!(
            "{} exists: remove it, choose another name, or let `--force` replace it",
            path.display()
        )));
    }
    runtime::on_this_thread(async {
        let mut end = termination()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (owned, asked) = (path.to_owned(), stop.clone());
        let mut writing = tokio::task::spawn_blocking(move || write_until(&owned, blocks, &asked));
        let written = match end.or(&mut writing).await {
            Ok(written) => written,
            Err(_) => {
                stop.store(true, Ordering::Relaxed);
                writing.await
            }
        };
        match written.context("cannot wait for the writing thread")?? {
            Written::Whole => Ok(()),
            Written::Stopped => {
                let by = end.await_signal().await;
                Err(Interrupted { by, remains: "no file is left behind".to_owned() }.into())
            }
        }
    })
}

enum Written {
    Whole,
    Stopped,
}

/// Writes the blocks until `stop` is set; then nothing is left.
fn write_until(
    path: &Path,
    blocks: impl Iterator<Item = Vec<u8>>,
    stop: &AtomicBool,
) -> anyhow::Result<Written> {
    let mut file = LocalFile::replace(path).or_early()?;
    for block in blocks {
        if stop.load(Ordering::Relaxed) {
            return Ok(Written::Stopped);
        }
        file.write_all(&block).with_context(|| format!("cannot write {}", path.display()))?;
    }
    file.persist().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Written::Whole)
}
