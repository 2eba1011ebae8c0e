//! `howdah journal dump|verify|repair`: a master's journal on disk, without its daemon.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use journal::{Report, Sequence};
use serde_json::json;

use super::record::decode;
use super::{Format, Global};
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
        /// Its second folder (`journal_mirror`), to check that both hold the same
        other: Option<PathBuf>,
    },
    /// Make a damaged folder good from the journal's other one, while its daemon is stopped; what was in
    /// it is moved aside into `damaged-<seconds since 1970>` there
    Repair {
        /// The folder to make good
        dir: PathBuf,
        /// The journal's other folder, which is whole
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

/// Runs `journal`.
pub(crate) fn run(args: &JournalArgs, global: &Global) -> anyhow::Result<()> {
    match &args.action {
        Action::Dump { dir } => must_be_there(dir).and_then(|()| dump(dir)),
        Action::Verify { dir, other: None } => {
            must_be_there(dir).and_then(|()| verify(dir, global.format))
        }
        Action::Verify { dir, other: Some(other) } => {
            must_be_there(dir)?;
            must_be_there(other)?;
            verify_both(dir, other, global.format)
        }
        Action::Repair { dir, from } => {
            must_be_there(from).and_then(|()| repair(dir, from, global.format))
        }
    }
}

fn must_be_there(dir: &Path) -> anyhow::Result<()> {
    if dir.is_dir() { Ok(()) } else { Err(early(anyhow!("no such folder: {}", dir.display()))) }
}

fn dump(dir: &Path) -> anyhow::Result<()> {
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

fn verify(dir: &Path, format: Format) -> anyhow::Result<()> {
    let report = journal::verify(dir)?;
    match format {
        Format::Table => crate::say::tell!("{}: {report}", dir.display()),
        Format::Json | Format::Yaml => format.print(&as_json(&report))?,
    }
    Ok(())
}

fn as_json(report: &Report) -> serde_json::Value {
    let torn = report.torn.as_ref();
    json!({
        "snapshot": report.snapshot.map(|sequence| sequence.0),
        "segments": report.segments,
        "records": report.records,
        "last": report.last.0,
        "torn": torn.map(|torn| json!({"file": torn.file, "offset": torn.offset})),
    })
}

fn verify_both(dir: &Path, other: &Path, format: Format) -> anyhow::Result<()> {
    let [one, two] = journal::verify_both(dir, other)?;
    if format.is_document() {
        return format.print(&json!([as_json(&one), as_json(&two)]));
    }
    for (dir, report) in [(dir, &one), (other, &two)] {
        crate::say::tell!("{}: {report}", dir.display());
    }
    match one.last.0.abs_diff(two.last.0) {
        0 => crate::say::tell!("both hold the same records"),
        lacks => {
            let short = if one.last < two.last { dir } else { other };
            crate::say::tell!(
                "{} lacks the last {lacks} records: the next start takes them from the other one",
                short.display()
            );
        }
    }
    Ok(())
}

fn repair(dir: &Path, from: &Path, format: Format) -> anyhow::Result<()> {
    let seconds = clock::wall().0 / 1000;
    let repaired = journal::repair(dir, from, &seconds.to_string())?;
    let last = repaired.last.0;
    if format.is_document() {
        return format.print(&json!({"last": last, "aside": repaired.aside}));
    }
    crate::say::tell!(
        "{} holds the same as {}, up to record {last}",
        dir.display(),
        from.display()
    );
    if let Some(aside) = repaired.aside {
        crate::say::tell!("what was in it is in {}", aside.display());
    }
    Ok(())
}
