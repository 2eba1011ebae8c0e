//! `fs put` and `fs get`: which path is local, and which the chunk store's. The copying is `crate::copy`'s.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use chunkstore_client::CreateOptions;
use chunkstore_client::stores::StoreUrl;
use chunkstore_protocol::{REPLICATION_MAX, StorePath};
use clap::Args;
use serde_json::json;

use super::expand::expand_files;
use super::place::{Place, Places, only_own};
use super::{Format, log, read, shown, urls};
use crate::cli::size::parse_size;
use crate::copy::{self, CopyOptions, FILES_AT_ONCE, Sources};
use crate::exit::{Interrupted, OrEarly, early};
use crate::failures::Failures;
use crate::session::Session;
use crate::signals::termination;

/// Files that one command copies at once at most.
const THREADS_MAX: usize = 64;

/// Arguments of `fs put`.
#[derive(Debug, Args)]
pub(super) struct PutArgs {
    // One list of paths, since options may stand between.
    /// What to copy, folders with all that is in them, - for standard input; and, last, the new file or
    /// folder, or an existing folder that gets it inside
    #[arg(required = true, value_name = "LOCAL... PATH")]
    paths: Vec<PathBuf>,
    /// Replace files that are there, each in one step; folders get what is missing
    #[arg(short, long)]
    pub(super) force: bool,
    /// Files copied at once
    #[arg(short, long, value_name = "N", default_value_t = FILES_AT_ONCE, value_parser = parse_threads)]
    threads: usize,
    /// Replicas of each file; the chunk master's default if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=REPLICATION_MAX.into()))]
    replication: Option<u8>,
    /// Length of the files' chunks, like 64MiB; the chunk master's default if absent
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    chunk_size: Option<u64>,
}

/// Arguments of `fs get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// What to copy, folders with all that is in them, patterns are expanded; and, last, the new local file or
    /// folder, or an existing folder that gets it inside, or - for standard output. Of a single path: to here
    #[arg(required = true, value_name = "PATH... LOCAL")]
    paths: Vec<PathBuf>,
    /// Replace files that are there, each in one step; folders get what is missing
    #[arg(short, long)]
    force: bool,
    /// Files copied at once
    #[arg(short, long, value_name = "N", default_value_t = FILES_AT_ONCE, value_parser = parse_threads)]
    threads: usize,
}

/// Arguments of `fs append`.
#[derive(Debug, Args)]
pub(super) struct AppendArgs {
    /// The files to append, one after the other, or - for standard input; and, last, the file that gets longer,
    /// which is made if it is missing, with the folders above it
    #[arg(required = true, value_name = "LOCAL... PATH")]
    paths: Vec<PathBuf>,
    /// Append each line as a record to a log, at once and whole, whoever else appends
    #[arg(long)]
    lines: bool,
    /// Append each whole file as one record to a log
    #[arg(long, conflicts_with = "lines")]
    record: bool,
}

fn parse_threads(text: &str) -> Result<usize, String> {
    let wanted = text.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n));
    wanted.ok_or_else(|| format!("between 1 and {THREADS_MAX}"))
}

/// What is wrong with local paths is said before the cluster is asked.
pub(super) async fn put(session: &Session, args: &PutArgs, format: Format) -> anyhow::Result<()> {
    let (to, named) = last_and_others(&args.paths, "fs put LOCAL... PATH")?;
    let is_stream = is_stream(named)?;
    let mut failures = Failures::default();
    let there = those_that_are_there(named, &mut failures)?;
    let from = Sources { paths: &there, n_named: named.len() };
    let create = CreateOptions {
        replication: args.replication,
        chunk_bytes: args.chunk_size,
        ..CreateOptions::default()
    };
    let options = CopyOptions { replace: args.force, at_once: args.threads, create };
    let to = text_of(to)?;
    if ids::names_another_store(to) {
        if args.replication.is_some() || args.chunk_size.is_some() {
            return Err(early(anyhow!(
                "--replication and --chunk-size are about files of the chunk store: leave them out for {to}"
            )));
        }
        let copied = match is_stream {
            true => urls::put_stream(session, to, &options).await?,
            false => urls::put(session, from, to, &options).await?,
        };
        format.print(&copied)?;
        return failures.end();
    }
    let to = shown::target(StoreUrl::without_own_scheme(to)).or_early()?;
    let store = session.store().await?;
    let mut end = termination()?;
    let copied = match is_stream {
        true => copy::put_stream(&store, io::stdin(), &to, &options, &mut end).await?,
        false => copy::put(&store, from, &to, &options, &mut end).await?,
    };
    format.print(&copied)?;
    failures.end()
}

pub(super) async fn get(session: &Session, args: &GetArgs, format: Format) -> anyhow::Result<()> {
    let here = PathBuf::from(".");
    let (to, from) = match args.paths.as_slice() {
        [only] => (&here, std::slice::from_ref(only)),
        several => last_and_others(several, "fs get PATH... LOCAL")?,
    };
    let from = from.iter().map(|path| text_of(path)).collect::<Result<Vec<_>, _>>()?;
    let create = CreateOptions::default();
    let options = CopyOptions { replace: args.force, at_once: args.threads, create };
    let patterns = match Place::all(&from)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) if is_dash(to) => return urls::cat(session, &urls).await,
        Places::Urls(urls) => return urls::get(session, &urls, to, &options, format).await,
    };
    let store = session.store().await?;
    let mut failures = Failures::default();
    let paths = expand_files(&store, &patterns, &mut failures).await?;
    if is_dash(to) {
        read::write_files(&store, &paths, &mut failures).await?;
        return failures.end();
    }
    let from = Sources { paths: &paths, n_named: patterns.len() };
    let getting = copy::get(&store, from, to, &options, &mut failures);
    let got = termination()?.or(getting).await;
    let remains = "what is not whole is not left behind".to_owned();
    let copied = got.map_err(|by| Interrupted { by, remains })??;
    format.print(&copied)?;
    failures.end()
}

pub(super) async fn append(
    session: &Session,
    args: &AppendArgs,
    format: Format,
) -> anyhow::Result<()> {
    let (to, from) = last_and_others(&args.paths, "fs append LOCAL... PATH")?;
    let is_stream = is_stream(from)?;
    // One that is missing would be a hole in the file.
    from.iter().try_for_each(|source| look_at(source).map_err(early))?;
    let to = only_own::<StorePath>(
        "an object never gets longer: append to a file of the chunk store, and `howdah fs cp` that",
    )(text_of(to)?);
    let to = to.map_err(|why| early(anyhow!(why)))?;
    let store = session.store().await?;
    let mut end = termination()?;
    if args.lines || args.record {
        let records = log::append(&store, from, &to, args.lines, &mut end).await?;
        return format.print(&json!({"records": records}));
    }
    let copied = match is_stream {
        true => copy::append_stream(&store, io::stdin(), &to, &mut end).await?,
        false => copy::append(&store, from, &to, &mut end).await?,
    };
    format.print(&copied)
}

/// Tells whether it is standard input.
fn is_stream(from: &[PathBuf]) -> anyhow::Result<bool> {
    let is_stream = from.iter().any(|source| is_dash(source));
    if is_stream && from.len() > 1 {
        return Err(early(anyhow!("- is standard input, which can only be copied alone")));
    }
    Ok(is_stream)
}

/// Of local files and folders those that there are. If there are none, nobody needs to be asked.
fn those_that_are_there(
    named: &[PathBuf],
    failures: &mut Failures,
) -> anyhow::Result<Vec<PathBuf>> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for source in named {
        match look_at(source) {
            Ok(()) => there.push(source.clone()),
            Err(error) => missing.push(error),
        }
    }
    let last = if there.is_empty() { missing.pop() } else { None };
    for error in missing {
        failures.take::<()>(Err(error))?;
    }
    last.map_or(Ok(there), |error| Err(early(error)))
}

fn look_at(source: &Path) -> anyhow::Result<()> {
    if is_dash(source) {
        return Ok(());
    }
    let found = std::fs::metadata(source).map(drop);
    found.map_err(|error| anyhow!("cannot read {}: {error}", source.display()))
}

pub(super) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

fn last_and_others<'a>(
    paths: &'a [PathBuf],
    usage: &str,
) -> anyhow::Result<(&'a PathBuf, &'a [PathBuf])> {
    match paths.split_last() {
        Some((last, others)) if !others.is_empty() => Ok((last, others)),
        _ => Err(early(anyhow!("a copy needs two paths at least: howdah {usage}"))),
    }
}

/// A path of the chunk store is text.
fn text_of(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str();
    text.ok_or_else(|| {
        early(anyhow!("{} is not UTF-8, as paths of the chunk store are", path.display()))
    })
}
