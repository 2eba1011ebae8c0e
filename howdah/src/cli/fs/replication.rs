//! `fs setrep`: how many replicas files have.

use std::time::Duration;

use anyhow::Context;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, Liveness, REPLICATION_MAX, StorePath};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::expand::{below, expand_statuses};
use super::pattern::Pattern;
use super::place::only_own;
use super::{Format, doing};
use crate::failures::Failures;
use crate::progress::ByteProgress;
use crate::session::Session;

/// What messages call it.
const VERB: &str = "set the replicas of";
/// Requests at once.
const AT_ONCE: usize = 16;
/// Time between two looks at where the replicas are.
const PAUSE: Duration = Duration::from_millis(500);

/// Arguments of `fs setrep`.
#[derive(Debug, Args)]
pub(super) struct SetrepArgs {
    /// Replicas that each file is to have
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=REPLICATION_MAX.into()))]
    replication: u8,
    /// The files; of folders, all files below; patterns are expanded
    #[arg(required = true, value_parser = only_own::<Pattern>(
        "how often it keeps its objects is that store's own business"
    ))]
    paths: Vec<Pattern>,
    /// Wait until every chunk has so many replicas that can be read
    #[arg(short, long)]
    wait: bool,
    /// As folders are taken anyway
    #[arg(short = 'R', long)]
    recursive: bool,
}

pub(super) async fn setrep(
    session: &Session,
    args: &SetrepArgs,
    format: Format,
) -> anyhow::Result<()> {
    let store = session.store().await?;
    let (mut files, mut failures) = (Vec::new(), Failures::default());
    for found in expand_statuses(&store, &args.paths, VERB, &mut failures).await? {
        match found.kind {
            FileKind::Folder => {
                let below = below(&store, &found.path).await;
                let below = below.with_context(|| doing(VERB, &found.path));
                files.extend(failures.take(below)?.into_iter().flatten().filter_map(file_of));
            }
            FileKind::File { .. } => files.extend(file_of(found)),
        }
    }
    if args.wait {
        refuse_in_vain(&store, args.replication).await?;
    }
    let ask = async |(path, length): (StorePath, u64)| {
        let asked = store.set_replication(&path, args.replication).await;
        asked.with_context(|| doing(VERB, &path)).map(|()| (path, length))
    };
    let mut asked = stream::iter(files).map(ask).buffered(AT_ONCE);
    let mut changed = Vec::new();
    while let Some(asked) = asked.next().await {
        changed.extend(failures.take(asked)?);
    }
    warn_of_too_few(&store, args.replication).await;
    let n_files = changed.len();
    if args.wait {
        wait(&store, changed, args.replication).await?;
    }
    format.print(&json!({"replication": args.replication, "files": n_files}))?;
    failures.end()
}

/// More replicas than there are servers can't be made yet; what can't be asked is not said.
async fn warn_of_too_few(store: &ChunkStore, replication: u8) {
    let Ok(report) = store.report().await else { return };
    let live = report
        .servers
        .iter()
        .filter(|it| matches!(it.liveness, Liveness::Live | Liveness::Reporting))
        .count();
    if report.next.is_none() && live < usize::from(replication) {
        crate::say::say!(
            "warning: {live} chunkservers are live, and so many replicas are made of each chunk; the other {} when there are \
             more servers",
            usize::from(replication) - live
        );
    }
}

/// With fewer servers than replicas, dead ones included, there is nothing to wait for.
async fn refuse_in_vain(store: &ChunkStore, replication: u8) -> anyhow::Result<()> {
    let servers = store.report().await?.servers;
    let n_servers = servers.iter().filter(|server| server.drain.is_none()).count();
    match n_servers < usize::from(replication) {
        true => Err(anyhow::anyhow!(
            "{replication} replicas need as many chunkservers, and the cluster has {n_servers}: add some, or leave \
             --wait off"
        )),
        false => Ok(()),
    }
}

fn file_of(found: FileStatus) -> Option<(StorePath, u64)> {
    match found.kind {
        FileKind::Folder => None,
        FileKind::File { length, .. } => Some((found.path, length)),
    }
}

/// Returns when all chunks of the files have so many live replicas. A file that is gone is waited for no more.
async fn wait(
    store: &ChunkStore,
    mut files: Vec<(StorePath, u64)>,
    replication: u8,
) -> anyhow::Result<()> {
    let progress = ByteProgress::new("setrep", files.iter().map(|(_, length)| length).sum());
    while !files.is_empty() {
        let looks = stream::iter(files).map(|(path, length)| async move {
            let reached = has_replicas(store, &path, replication).await;
            reached.map(|reached| (path, length, reached))
        });
        let looked: Vec<_> = looks.buffer_unordered(AT_ONCE).try_collect().await?;
        let (reached, missing): (Vec<_>, Vec<_>) =
            looked.into_iter().partition(|(_, _, reached)| *reached);
        progress.add(reached.iter().map(|(_, length, _)| length).sum());
        files = missing.into_iter().map(|(path, length, _)| (path, length)).collect();
        if !files.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    progress.finish();
    Ok(())
}

async fn has_replicas(
    store: &ChunkStore,
    path: &StorePath,
    replication: u8,
) -> Result<bool, StoreError> {
    let mut offset = 0;
    loop {
        let located = match store.locate(path, offset, None).await {
            Err(StoreError::NotFound { .. }) => return Ok(true),
            located => located?,
        };
        if located.chunks.iter().any(|chunk| chunk.servers.len() < usize::from(replication)) {
            return Ok(false);
        }
        match located.chunks.last() {
            Some(last) if last.offset + last.length < located.length => {
                offset = last.offset + last.length;
            }
            _ => return Ok(true),
        }
    }
}
