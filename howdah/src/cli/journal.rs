//! `howdah journal dump|verify`: a master's journal on disk, without its daemon.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use journal::Sequence;
use serde_json::json;

use super::record::decode;
use super::{Format, Global, print_json};
use crate::exit::early;
use crate::say::quiet_if_closed;

/// Arguments of `journal`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the records after the last snapshot, one JSON line each
    Dump {
        /// The journal's folder
        dir: PathBuf,
    },
    /// Check every frame; says file and offset of the first that is corrupt
    Verify {
        /// The journal's folder
        dir: PathBuf,
    },
}

/// Runs `journal`.
pub(crate) fn run(args: &JournalArgs, global: &Global) -> anyhow::Result<()> {
    let (Action::Dump { dir } | Action::Verify { dir }) = &args.action;
    if !dir.is_dir() {
        return Err(early(anyhow!("no such folder: {}", dir.display())));
    }
    match &args.action {
        Action::Dump { dir } => dump(dir),
        Action::Verify { dir } => verify(dir, global.format),
    }
}

fn dump(dir: &std::path::Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let read = journal::dump(dir, |sequence, record| {
        if written.is_ok() {
            written = write_line(&mut out, sequence, record);
        }
    });
    quiet_if_closed(written.and_then(|()| out.flush()))?;
    read.context("the journal can't be read further")?;
    Ok(())
}

fn write_line(out: &mut impl Write, sequence: Sequence, record: &[u8]) -> io::Result<()> {
    let line = match decode(record) {
        Ok(value) => json!({"sequence": sequence.0, "record": value}),
        Err(error) => json!({"sequence": sequence.0, "not_decoded": error.to_string()}),
    };
    writeln!(out, "{line}")
}

fn verify(dir: &std::path::Path, format: Format) -> anyhow::Result<()> {
    let report = journal::verify(dir)?;
    match format {
        Format::Text => crate::say::tell!("{}: {report}", dir.display()),
        Format::Json => print_json(&json!({
            "snapshot": report.snapshot.map(|sequence| sequence.0),
            "segments": report.segments,
            "records": report.records,
            "last": report.last.0,
            "torn": report.torn.map(|torn| json!({"file": torn.file, "offset": torn.offset})),
        }))?,
    }
    Ok(())
}
