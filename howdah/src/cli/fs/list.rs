//! `fs ls` and `fs stat`: what there is.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Context;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use clap::Args;
use serde_json::json;

use super::{Format, doing, print_json, shown};
use crate::say::{quiet_if_closed, tell};
use crate::session::Session;

/// Entries of one folder that `ls` prints at most.
const ENTRIES_MAX: usize = 10_000_000;

/// Arguments of `fs ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// The folders, or files
    #[arg(default_value = "/", value_parser = shown::store_path)]
    paths: Vec<StorePath>,
}

/// Arguments of `fs stat`.
#[derive(Debug, Args)]
pub(super) struct StatArgs {
    /// The path
    #[arg(value_parser = shown::store_path)]
    path: StorePath,
}

pub(super) async fn ls(session: &Session, args: &LsArgs, format: Format) -> anyhow::Result<()> {
    let store = session.store().await?;
    let mut listings = Vec::new();
    for path in &args.paths {
        let entries = entries_at(&store, path).await.with_context(|| doing("list", path))?;
        listings.push((path, entries));
    }
    if format == Format::Json {
        let entries: Vec<_> = listings.into_iter().flat_map(|(_, entries)| entries).collect();
        return print_json(&json!({"entries": entries}));
    }
    let several = listings.len() > 1;
    let mut text = String::new();
    for (path, entries) in listings {
        if several {
            let _ = writeln!(text, "{path}:");
        }
        for entry in entries {
            let _ = writeln!(text, "{}", line_of(&entry));
        }
    }
    quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))
}

async fn entries_at(store: &ChunkStore, path: &StorePath) -> Result<Vec<FileStatus>, StoreError> {
    let found = store.stat(path).await?;
    match found.kind {
        FileKind::Folder => store.list_all(path, ENTRIES_MAX).await,
        FileKind::File { .. } => Ok(vec![found]),
    }
}

/// One line: kind, replicas, bytes, time of change, path.
fn line_of(entry: &FileStatus) -> String {
    let (kind, replication, length) = match &entry.kind {
        FileKind::Folder => ("d", "-".to_owned(), "-".to_owned()),
        FileKind::File { length, replication, open, .. } => {
            (if *open { "w" } else { "-" }, replication.to_string(), length.to_string())
        }
    };
    let modified = shown::time(entry.modified);
    format!("{kind} {replication:>2} {length:>14}  {modified}  {}", entry.path)
}

pub(super) async fn stat(session: &Session, args: &StatArgs, format: Format) -> anyhow::Result<()> {
    let found = session.store().await?.stat(&args.path).await?;
    if format == Format::Json {
        return print_json(&found);
    }
    tell!("path         {}", found.path);
    tell!("owner        {}", found.owner);
    tell!("created      {}", shown::time(found.created));
    tell!("modified     {}", shown::time(found.modified));
    match &found.kind {
        FileKind::Folder => tell!("kind         folder"),
        FileKind::File { file, length, replication, chunk_bytes, n_chunks, open, cut } => {
            let kind = match (open, cut) {
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
    Ok(())
}
