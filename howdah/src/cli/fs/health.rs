//! `fs report`, `fs fsck`, `fs drain`, `fs orphans` and `fs forget`: for those who look after the cluster's chunkservers and
//! files. What the tables look like is in `health_tables`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_client::ChunkStore;
use chunkstore_protocol::{
    ChunkFault, DrainReport, FileHealth, FsckCount, FsckPage, Liveness, StorePath,
};
use clap::Args;
use ids::HostName;
use serde_json::json;

use super::health_tables::{bytes, show_faults, show_report};
use super::place::only_own;
use super::{Format, doing, print_json};
use crate::say::{say, tell};
use crate::session::Session;

/// Pause between two looks at how far a drain has come.
const DRAIN_LOOK: Duration = Duration::from_secs(1);

/// Arguments of `fs fsck`.
#[derive(Debug, Args)]
pub(super) struct FsckArgs {
    /// A folder, with all below it, or a file
    #[arg(default_value = "/", value_parser = only_own::<StorePath>(
        "its objects are checked by that store alone; `howdah fs ls` shows whether they are there"
    ))]
    path: StorePath,
}

/// Arguments of `fs drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Its host
    host: HostName,
    /// Stop it: the chunkserver gets new chunks again
    #[arg(long, conflicts_with = "wait")]
    stop: bool,
    /// Wait until it can be switched off
    #[arg(long)]
    wait: bool,
}

/// Arguments of `fs orphans`.
#[derive(Debug, Args)]
pub(super) struct OrphansArgs {
    /// Its host
    host: HostName,
    /// Delete them: the chunkserver keeps them in its trash for a while
    #[arg(long)]
    delete: bool,
}

/// Arguments of `fs forget`.
#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// Its host
    host: HostName,
    /// Also if it is the last one that may have the newest records of a log: they are lost
    #[arg(long)]
    lose_records: bool,
}

pub(super) async fn report(session: &Session, format: Format) -> anyhow::Result<()> {
    let report = session.store().await?.report().await?;
    match format {
        Format::Json => print_json(&report),
        Format::Text => show_report(&report),
    }
}

pub(super) async fn fsck(session: &Session, args: &FsckArgs, format: Format) -> anyhow::Result<()> {
    let store = session.store().await?;
    let path = &args.path;
    let mut found = Found::default();
    let mut after = None;
    loop {
        let page = store.fsck(path, after).await.with_context(|| doing("check", path))?;
        after = page.next.clone();
        if format == Format::Text {
            show_faults(&page.files)?;
        }
        found.take(page, format);
        if after.is_none() {
            break;
        }
    }
    found.finish(path, format)
}

/// What a check found.
#[derive(Default)]
struct Found {
    checked: FsckCount,
    chunks: BTreeMap<ChunkFault, u64>,
    /// For a document alone: text is printed as it comes.
    files: Vec<FileHealth>,
}

impl Found {
    fn take(&mut self, page: FsckPage, format: Format) {
        self.checked += page.checked;
        for chunk in page.files.iter().flat_map(|file| &file.chunks) {
            *self.chunks.entry(chunk.fault).or_default() += 1;
        }
        if format == Format::Text {
            return;
        }
        for file in page.files {
            match self.files.last_mut().filter(|last| last.path == file.path) {
                Some(last) => last.chunks.extend(file.chunks),
                None => self.files.push(file),
            }
        }
    }

    fn finish(self, path: &StorePath, format: Format) -> anyhow::Result<()> {
        let Self { checked, chunks, files } = self;
        let count = |fault| chunks.get(&fault).copied().unwrap_or(0);
        let gone = count(ChunkFault::Missing) + count(ChunkFault::Corrupt);
        let counts = [
            ("missing", count(ChunkFault::Missing)),
            ("corrupt", count(ChunkFault::Corrupt)),
            ("under", count(ChunkFault::Under)),
            ("over", count(ChunkFault::Over)),
            ("mis_replicated", count(ChunkFault::MisReplicated)),
        ];
        if format == Format::Json {
            let counts: BTreeMap<_, _> = counts.into_iter().collect();
            print_json(&json!({"checked": checked, "chunks": counts, "files": files}))?;
        } else {
            let FsckCount { files, open_files, chunks, bytes: length } = checked;
            let said: Vec<String> =
                counts.iter().map(|(what, n)| format!("{n} {}", what.replace('_', "-"))).collect();
            tell!(
                "{path}: {files} files ({open_files} being written), {chunks} chunks, {}; of these chunks {}",
                bytes(length),
                said.join(", ")
            );
        }
        match gone {
            0 => Ok(()),
            n => Err(anyhow!(
                "{n} chunk(s) below {path} can't be read from any live chunkserver: start those that hold them \
                 (howdah fs report says which are dead), or write the files again"
            )),
        }
    }
}

pub(super) async fn drain(session: &Session, args: &DrainArgs) -> anyhow::Result<()> {
    let DrainArgs { host, stop, wait } = args;
    let store = session.store().await?;
    store.drain(host, *stop).await.with_context(|| format!("cannot drain {host}"))?;
    if *wait { await_drain(&store, host).await } else { Ok(()) }
}

/// Says how far it is whenever that changes.
async fn await_drain(store: &ChunkStore, host: &HostName) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        let report = store.report().await?;
        let server = report.servers.into_iter().find(|server| server.host == *host);
        let server = server.ok_or_else(|| anyhow!("{host} was forgotten meanwhile"))?;
        let left = server.drain.ok_or_else(|| anyhow!("the drain of {host} was stopped"))?;
        if let Liveness::Dead { seconds } = server.liveness {
            return Err(anyhow!(
                "{host} is dead for {seconds} s: what it held is made again from others; wait until howdah fs \
                 fsck finds nothing missing, then howdah fs forget {host}"
            ));
        }
        if left.is_done() {
            say!(
                "{host} is empty but for what others hold too: stop it, then howdah fs forget {host}"
            );
            return Ok(());
        }
        if said.replace(left) != Some(left) && left.counted {
            let DrainReport { chunks_left, bytes_left, .. } = left;
            say!("{host}: {chunks_left} chunks left, {}", bytes(bytes_left));
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

pub(super) async fn orphans(session: &Session, args: &OrphansArgs) -> anyhow::Result<()> {
    let OrphansArgs { host, delete } = args;
    let store = session.store().await?;
    if *delete {
        let deleted = store.delete_orphans(host).await;
        let deleted = deleted.with_context(|| format!("cannot delete orphans of {host}"))?;
        say!("{deleted} orphans of {host} are deleted");
        return Ok(());
    }
    let servers = store.report().await?.servers;
    let server = servers.iter().find(|server| server.host == *host);
    let server = server.ok_or_else(|| anyhow!("no chunkserver {host} belongs to this cluster"))?;
    tell!("{}", server.orphans);
    Ok(())
}

pub(super) async fn forget(session: &Session, args: &ForgetArgs) -> anyhow::Result<()> {
    let host = &args.host;
    let forgotten = session.store().await?.forget(host, args.lose_records).await;
    forgotten.with_context(|| format!("cannot forget {host}"))
}
