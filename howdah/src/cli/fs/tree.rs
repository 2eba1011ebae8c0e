//! `fs mkdir`, `fs mv` and `fs rm`: what changes the tree.

use anyhow::{Context, anyhow};
use chunkstore_client::ChunkStore;
use chunkstore_protocol::{FileKind, StorePath};
use clap::Args;

use super::{doing, in_flags, shown};
use crate::copy::{self, Target};
use crate::session::Session;

/// Arguments of `fs mkdir`.
#[derive(Debug, Args)]
pub(super) struct MkdirArgs {
    /// The folders
    #[arg(required = true, value_parser = shown::store_path)]
    paths: Vec<StorePath>,
    /// Make missing folders above too; an existing folder is fine
    #[arg(short, long)]
    parents: bool,
}

/// Arguments of `fs mv`.
#[derive(Debug, Args)]
pub(super) struct MvArgs {
    /// What to move
    #[arg(value_parser = shown::store_path)]
    from: StorePath,
    /// Its new path; an existing folder gets it inside
    #[arg(value_parser = shown::target)]
    to: Target,
}

/// Arguments of `fs rm`.
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// What to remove
    #[arg(required = true, value_parser = shown::store_path)]
    paths: Vec<StorePath>,
    /// Remove what is in folders too
    #[arg(short, long)]
    recursive: bool,
}

pub(super) async fn mkdir(session: &Session, args: &MkdirArgs) -> anyhow::Result<()> {
    let store = session.store().await?;
    for path in &args.paths {
        let made = store.mkdir(path, args.parents).await.map_err(in_flags);
        made.with_context(|| doing("make", path))?;
    }
    Ok(())
}

pub(super) async fn mv(session: &Session, args: &MvArgs) -> anyhow::Result<()> {
    let MvArgs { from, to } = args;
    let store = session.store().await?;
    let target = match (copy::kind_at(&store, &to.path).await?, from.name()) {
        (Some(FileKind::Folder), Some(name)) => to.path.join(name)?,
        _ => to.path.clone(),
    };
    if to.is_folder && target == to.path && is_file(&store, from).await? {
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

async fn is_file(store: &ChunkStore, path: &StorePath) -> anyhow::Result<bool> {
    Ok(matches!(copy::kind_at(store, path).await?, Some(FileKind::File { .. })))
}

pub(super) async fn rm(session: &Session, args: &RmArgs) -> anyhow::Result<()> {
    let store = session.store().await?;
    for path in &args.paths {
        let removed = store.delete(path, args.recursive).await.map_err(in_flags);
        removed.with_context(|| doing("remove", path))?;
    }
    Ok(())
}
