//! `fs ls`, `fs stat` and `fs test`: what there is.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use clap::{ArgAction, Args};
use serde::Serialize;
use serde_json::json;

use super::expand::{ENTRIES_MAX, all_below, below, entries_of, expand_statuses, of_files};
use super::place::{Place, Places};
use super::{Format, doing, shown, urls};
use crate::exit::OrEarly as _;
use crate::failures::Failures;
use crate::say::{quiet_if_closed, tell};
use crate::session::Session;

/// Arguments of `fs ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// The folders, or files; patterns are expanded
    #[arg(default_value = "/")]
    paths: Vec<Place>,
    /// What is in folders of folders too
    #[arg(short = 'R', long)]
    pub(super) recursive: bool,
    /// In / the system's own folder, /.howdah, too; with -R also what is in it
    #[arg(short, long)]
    pub(super) all: bool,
    /// Sizes for people, like 1.50 MiB
    #[arg(short, long)]
    pub(super) human_readable: bool,
    /// The folders themselves, not what is in them
    #[arg(short, long)]
    pub(super) directory: bool,
    /// Newest first
    #[arg(short = 't', overrides_with = "by_size")]
    pub(super) by_time: bool,
    /// Largest first
    #[arg(short = 'S')]
    pub(super) by_size: bool,
    /// The other way round
    #[arg(short, long)]
    pub(super) reverse: bool,
    /// As lists are anyway
    #[arg(short = 'l', hide = true)]
    long: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Arguments of `fs stat`.
#[derive(Debug, Args)]
pub(super) struct StatArgs {
    /// The paths; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
}

/// Arguments of `fs test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// The path
    path: Place,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Wanted {
    /// Is there anything?
    #[arg(short)]
    pub(super) exists: bool,
    /// Is it a file?
    #[arg(short)]
    pub(super) file: bool,
    /// Is it a folder?
    #[arg(short)]
    pub(super) directory: bool,
    /// Is it a file with bytes, or a folder with entries?
    #[arg(short = 's')]
    pub(super) filled: bool,
    /// Is it a file without a byte?
    #[arg(short = 'z')]
    pub(super) zero: bool,
}

pub(super) async fn ls(session: &Session, args: &LsArgs, format: Format) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::ls(session, &urls, args, format).await,
    };
    let store = session.store().await?;
    let (mut entries, mut failures) = (Vec::new(), Failures::default());
    let patterns = if args.directory { patterns } else { of_files(&patterns) };
    for found in expand_statuses(&store, &patterns, "list", &mut failures).await? {
        let listing = doing("list", &found.path);
        let listed = entries_at(&store, found, args).await.context(listing);
        entries.extend(failures.take(listed)?.into_iter().flatten());
    }
    sort(&mut entries, args);
    if format.is_document() {
        format.print(&json!({"entries": entries}))?;
        return failures.end();
    }
    let rows: Vec<_> = entries.iter().map(|entry| row_of(entry, args.human_readable)).collect();
    let text = shown::table(&rows, [false, true, false, true, false, false]);
    quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))?;
    failures.end()
}

async fn entries_at(
    store: &ChunkStore,
    found: FileStatus,
    args: &LsArgs,
) -> Result<Vec<FileStatus>, StoreError> {
    match found.kind {
        FileKind::Folder if args.directory => Ok(vec![found]),
        FileKind::Folder if args.recursive && args.all => all_below(store, &found.path).await,
        FileKind::Folder if args.recursive => below(store, &found.path).await,
        FileKind::Folder if args.all => store.list_all(&found.path, ENTRIES_MAX).await,
        FileKind::Folder => entries_of(store, &found.path).await,
        FileKind::File { .. } => Ok(vec![found]),
    }
}

/// Without a wish: as they were found, by name.
fn sort(entries: &mut [FileStatus], args: &LsArgs) {
    if args.by_time {
        entries.sort_by_key(|entry| Reverse(entry.modified));
    } else if args.by_size {
        entries.sort_by_key(|entry| Reverse(length_of(entry)));
    }
    if args.reverse {
        entries.reverse();
    }
}

fn length_of(entry: &FileStatus) -> u64 {
    match entry.kind {
        FileKind::Folder => 0,
        FileKind::File { length, .. } => length,
    }
}

/// One line: kind, replicas, owner, bytes, time of change, path.
fn row_of(entry: &FileStatus, human: bool) -> [String; 6] {
    let (kind, replication, length) = match &entry.kind {
        FileKind::Folder => ("d", "-".to_owned(), "-".to_owned()),
        FileKind::File { length, replication, open, log, .. } => {
            let kind = match (log, open) {
                (true, _) => "l",
                (false, true) => "w",
                (false, false) => "-",
            };
            (kind, replication.to_string(), shown::size(*length, human))
        }
    };
    let modified = shown::time(entry.modified);
    let owner = crate::say::plain(&entry.owner);
    [kind.to_owned(), replication, owner, length, modified, shown::path(&entry.path)]
}

pub(super) async fn stat(session: &Session, args: &StatArgs, format: Format) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::stat(session, &urls, format).await,
    };
    let store = session.store().await?;
    let mut failures = Failures::default();
    let found = expand_statuses(&store, &patterns, "look at", &mut failures).await?;
    if format.is_document() {
        print_statuses(&found, patterns.len(), format)?;
        return failures.end();
    }
    for (index, found) in found.iter().enumerate() {
        if index > 0 {
            tell!();
        }
        tell_of(found);
    }
    failures.end()
}

/// Of one path its status is the document; of several, they are `entries` of it, as of `ls`.
pub(super) fn print_statuses<T: Serialize>(
    found: &[T],
    n_asked: usize,
    format: Format,
) -> anyhow::Result<()> {
    match (found, n_asked) {
        ([only], 1) => format.print(only),
        ([], 1) => Ok(()),
        _ => format.print(&json!({"entries": found})),
    }
}

fn tell_of(found: &FileStatus) {
    tell!("path         {}", shown::path(&found.path));
    tell!("owner        {}", crate::say::plain(&found.owner));
    tell!("created      {}", shown::time(found.created));
    tell!("modified     {}", shown::time(found.modified));
    match &found.kind {
        FileKind::Folder => tell!("kind         folder"),
        FileKind::File { file, length, replication, chunk_bytes, n_chunks, open, cut, log } => {
            let kind = match (open, cut) {
                _ if *log => "log: its length is that of its sealed chunks",
                (true, _) => "file, being written",
                (false, true) => "file, cut: its writer died before it was closed",
                (false, false) => "file",
            };
            tell!("kind         {kind}");
            tell!("file         {}", file.0);
            tell!("length       {length}");
            tell!("chunks       {n_chunks}");
            tell!("chunk_bytes  {chunk_bytes}");
            tell!("replication  {replication}");
        }
    }
}

/// What is in a log's open chunk the chunk master does not know.
async fn has_a_record(store: &ChunkStore, log: &StorePath) -> Result<bool, StoreError> {
    Ok(store.read_log(log).await?.next().await?.is_some())
}

/// Says nothing: the exit code is the answer, 0 or 1.
pub(super) async fn test(session: &Session, args: &TestArgs) -> anyhow::Result<ExitCode> {
    let wanted = &args.wanted;
    let path = match &args.path {
        Place::Own(pattern) => pattern.by_the_letter().or_early()?,
        Place::Url(url) => return urls::test(session, url, wanted).await,
    };
    let store = session.store().await?;
    let found = match store.stat(&path).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => {
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    let is_so = match found.kind {
        FileKind::Folder if wanted.filled => !store.list(&path, None, 1).await?.entries.is_empty(),
        FileKind::Folder => wanted.exists || wanted.directory,
        FileKind::File { length, log, .. } => {
            let must_look = log && length == 0 && (wanted.zero || wanted.filled);
            let is_filled = length > 0 || must_look && has_a_record(&store, &path).await?;
            let by_length = if is_filled { wanted.filled } else { wanted.zero };
            wanted.exists || wanted.file || by_length
        }
    };
    Ok(if is_so { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
