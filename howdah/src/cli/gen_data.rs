//! `howdah gen`: generated data in local files.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::size::parse_size;
use crate::exit::OrEarly;
use crate::generate::{Tera, ZipfText};
use crate::local_file::LocalFile;

/// Arguments of `gen`.
#[derive(Debug, Args)]
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
    /// The file to write
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
        Kind::Text => write(&args.path, ZipfText::new(args.size, args.seed)),
        Kind::Tera => write(&args.path, Tera::new(args.size, args.seed).or_early()?),
    }
}

fn write(path: &Path, blocks: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
    let mut file = LocalFile::replace(path).or_early()?;
    for block in blocks {
        file.write_all(&block).with_context(|| format!("cannot write {}", path.display()))?;
    }
    file.persist().with_context(|| format!("cannot write {}", path.display()))
}
