//! `howdah fs`: files and folders of the chunk store. Copies in and out are in `copy`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Format, Global, print_json, runtime, shown};
use crate::copy::{self, Target};
use crate::exit::{Interrupted, OrEarly, early};
use crate::say::quiet_if_closed;
use crate::session::Session;
use crate::signals::termination;

/// Entries of one folder that `ls` prints at most.
const ENTRIES_MAX: usize = 10_000_000;

/// Arguments of `fs`.
#[derive(Debug, Args)]
pub(crate) struct FsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy local files and folders into the chunk store
    #[command(override_usage = "howdah fs put [OPTIONS] LOCAL... PATH")]
    Put {
        /// What to copy, folders with all that is in them; and, last, the new file or folder, or an
        /// existing folder that gets it inside
        #[arg(required = true, value_name = "LOCAL... PATH")]
        paths: Vec<PathBuf>,
    },
    /// Copy files and folders out of the chunk store
    #[command(override_usage = "howdah fs get [OPTIONS] PATH... LOCAL")]
    Get {
        /// What to copy, folders with all that is in them; and, last, the new local file or folder, or
        /// an existing folder that gets it inside
        #[arg(required = true, value_name = "PATH... LOCAL")]
        paths: Vec<PathBuf>,
    },
    /// Write files to standard output
    Cat {
        /// The files
        #[arg(required = true, value_parser = shown::store_path)]
        paths: Vec<StorePath>,
    },
    /// List folders
    Ls {
        /// The folders, or files
        #[arg(default_value = "/", value_parser = shown::store_path)]
        paths: Vec<StorePath>,
    },
    /// Make folders
    Mkdir {
        /// The folders
        #[arg(required = true, value_parser = shown::store_path)]
        paths: Vec<StorePath>,
        /// Make missing folders above too; an existing folder is fine
        #[arg(short, long)]
        parents: bool,
    },
    /// Move a file or folder
    Mv {
        /// What to move
        #[arg(value_parser = shown::store_path)]
        from: StorePath,
        /// Its new path; an existing folder gets it inside
        #[arg(value_parser = shown::target)]
        to: Target,
    },
    /// Remove files and folders
    Rm {
        /// What to remove
        #[arg(required = true, value_parser = shown::store_path)]
        paths: Vec<StorePath>,
        /// Remove what is in folders too
        #[arg(short, long)]
        recursive: bool,
    },
    /// Show what stands at a path
    Stat {
        /// The path
        #[arg(value_parser = shown::store_path)]
        path: StorePath,
    },
}

/// Runs `fs`.
pub(crate) fn run(args: FsArgs, global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global.client_config()?)?;
    let format = global.format;
    let done = runtime::on_this_thread(async {
        match args.action {
            // What is wrong with local paths is said before the cluster is asked.
            Action::Put { paths } => Copy::put(&paths)?.run(&session.store().await?).await,
            Action::Get { paths } => Copy::get(&paths)?.run(&session.store().await?).await,
            Action::Cat { paths } => cat(&session.store().await?, &paths).await,
            Action::Ls { paths } => list(&session.store().await?, &paths, format).await,
            Action::Mkdir { paths, parents } => {
                let store = session.store().await?;
                for path in &paths {
                    store
                        .mkdir(path, parents)
                        .await
                        .map_err(in_flags)
                        .with_context(|| doing("make", path))?;
                }
                Ok(())
            }
            Action::Mv { from, to } => rename(&session.store().await?, &from, &to).await,
            Action::Rm { paths, recursive } => {
                let store = session.store().await?;
                for path in &paths {
                    let removed = store.delete(path, recursive).await.map_err(in_flags);
                    removed.with_context(|| doing("remove", path))?;
                }
                Ok(())
            }
            Action::Stat { path } => show(&session.store().await?.stat(&path).await?, format),
        }
    });
    done.map_err(|error| session.explain(error))
}

fn doing(verb: &str, path: &StorePath) -> String {
    format!("cannot {verb} {path}")
}

/// The chunk master speaks to REST, of fields; here they are flags.
fn in_flags(error: StoreError) -> anyhow::Error {
    let said = error.to_string();
    let in_flags =
        said.replace("ask for `recursive`", "add -r").replace("ask for `parents`", "add -p");
    if in_flags == said { error.into() } else { anyhow!(in_flags) }
}

/// A copy with its paths told apart. One list on the command line, since options may stand between.
enum Copy {
    Put { from: Vec<PathBuf>, to: Target },
    Get { from: Vec<StorePath>, to: PathBuf },
}

impl Copy {
    fn put(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (to, from) = last_and_others(paths, "fs put LOCAL... PATH")?;
        for source in from {
            let found = std::fs::metadata(source).map(drop);
            found.map_err(|error| early(anyhow!("cannot read {}: {error}", source.display())))?;
        }
        let to = shown::target(&to.to_string_lossy()).or_early()?;
        Ok(Self::Put { from: from.to_vec(), to })
    }

    fn get(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (to, from) = last_and_others(paths, "fs get PATH... LOCAL")?;
        let from = from.iter().map(|path| store_path(path)).collect::<Result<_, _>>()?;
        Ok(Self::Get { from, to: to.clone() })
    }

    async fn run(self, store: &ChunkStore) -> anyhow::Result<()> {
        match self {
            Self::Put { from, to } => copy::put(store, &from, &to, &mut termination()?).await,
            Self::Get { from, to } => {
                let got = termination()?.or(copy::get(store, &from, &to)).await;
                let remains = "what is not whole is not left behind".to_owned();
                got.map_err(|by| Interrupted { by, remains })?
            }
        }
    }
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

fn store_path(path: &Path) -> anyhow::Result<StorePath> {
    shown::store_path(&path.to_string_lossy()).or_early()
}

async fn cat(store: &ChunkStore, paths: &[StorePath]) -> anyhow::Result<()> {
    for path in paths {
        let mut reader = store.open(path).await.with_context(|| doing("read", path))?;
        while let Some(piece) = reader.next().await? {
            match io::stdout().lock().write_all(&piece) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("cannot write to standard output")?,
            }
        }
    }
    quiet_if_closed(io::stdout().lock().flush())
}

async fn rename(store: &ChunkStore, from: &StorePath, to: &Target) -> anyhow::Result<()> {
    let target = match (copy::kind_at(store, &to.path).await?, from.name()) {
        (Some(FileKind::Folder), Some(name)) => to.path.join(name)?,
        _ => to.path.clone(),
    };
    let moves_file = || async {
        anyhow::Ok(matches!(copy::kind_at(store, from).await?, Some(FileKind::File { .. })))
    };
    if to.is_folder && target == to.path && moves_file().await? {
        to.check_file()?;
    }
    let moved = store.rename(from, &target).await.map_err(|error| {
        let said = error.to_string();
        match (said.strip_suffix(", or ask for `parents`"), target.parent()) {
            (Some(said), Some(folder)) => anyhow!("{said} (`howdah fs mkdir -p {folder}`)"),
            _ => error.into(),
        }
    });
    moved.with_context(|| format!("cannot move {from} to {target}"))
}

async fn list(store: &ChunkStore, paths: &[StorePath], format: Format) -> anyhow::Result<()> {
    let mut listings = Vec::new();
    for path in paths {
        let entries = entries_at(store, path).await.with_context(|| doing("list", path))?;
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

fn show(status: &FileStatus, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return print_json(status);
    }
    crate::say::tell!("path         {}", status.path);
    crate::say::tell!("modified     {}", shown::time(status.modified));
    match &status.kind {
        FileKind::Folder => crate::say::tell!("kind         folder"),
        FileKind::File { length, replication, chunk_bytes, n_chunks, open, cut } => {
            let kind = match (open, cut) {
                (true, _) => "file, being written",
                (false, true) => "file, cut: its writer died before it was closed",
                (false, false) => "file",
            };
            crate::say::tell!("kind         {kind}");
            crate::say::tell!("length       {length}");
            crate::say::tell!("chunks       {n_chunks}");
            crate::say::tell!("chunk_bytes  {chunk_bytes}");
            crate::say::tell!("replication  {replication}");
        }
    }
    Ok(())
}
