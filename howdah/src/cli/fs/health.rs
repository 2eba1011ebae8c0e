//! `fs report`, `fs fsck`, `fs drain`, `fs orphans` and `fs forget`: for those who look after the cluster's chunkservers and
//! files. What the tables look like is in `health_tables`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, Losses};
use chunkstore_protocol::{
    ChunkFault, ClusterReport, DrainReport, FileHealth, FsckCount, FsckPage, Liveness,
    ServerReport, StorePath,
};
use clap::Args;
use ids::HostName;
use serde_json::json;

use super::health_tables::{bytes, show_faults, text_of_report};
use super::place::only_own;
use super::{Format, doing};
use crate::cli::watch::{Frame, Watch};
use crate::progress::ItemProgress;
use crate::say::{say, tell};
use crate::session::Session;

/// Pause between two looks at how far a drain has come.
const DRAIN_LOOK: Duration = Duration::from_secs(1);
/// Looks without a copy or a step after which a drain is told not to go on.
const STUCK_AFTER: u32 = 10;

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

/// Arguments of `fs undrain`.
#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    /// Its host
    host: HostName,
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
    /// Also if it is the last one that may have some chunks of files: they are lost
    #[arg(long)]
    lose_chunks: bool,
}

pub(super) async fn report(session: &Session, watch: Watch, format: Format) -> anyhow::Result<()> {
    let store = session.store().await?;
    let look = async || {
        let report = store.report().await?;
        let text = format.text_of(&report)?.unwrap_or_else(|| text_of_report(&report));
        Ok(Frame { text, is_last: false })
    };
    watch.show(look).await
}

pub(super) async fn fsck(session: &Session, args: &FsckArgs, format: Format) -> anyhow::Result<()> {
    let store = session.store().await?;
    let path = &args.path;
    let mut found = Found::default();
    let mut after = None;
    let total = match ItemProgress::is_seen() {
        // What can't be counted is checked all the same.
        true => store.count(path).await.map_or(0, |counted| counted.files),
        false => 0,
    };
    let progress = ItemProgress::new("fsck", total, "files");
    loop {
        let page = store.fsck(path, after).await.with_context(|| doing("check", path))?;
        after = page.next.clone();
        if !format.is_document() {
            progress.beside(|| show_faults(&page.files))?;
        }
        found.take(page, format);
        progress.set(found.checked.files);
        if after.is_none() {
            break;
        }
    }
    progress.finish();
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
        if !format.is_document() {
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
        if format.is_document() {
            let counts: BTreeMap<_, _> = counts.into_iter().collect();
            format.print(&json!({"checked": checked, "chunks": counts, "files": files}))?;
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

pub(super) async fn drain(
    session: &Session,
    args: &DrainArgs,
    format: Format,
) -> anyhow::Result<()> {
    let DrainArgs { host, stop, wait } = args;
    let store = session.store().await?;
    store.drain(host, *stop).await.with_context(|| format!("cannot drain {host}"))?;
    if *wait {
        await_drain(&store, host).await?;
    }
    print_server(&store, host, format).await
}

/// A document of how a server is now. People are told in other words.
async fn print_server(store: &ChunkStore, host: &HostName, format: Format) -> anyhow::Result<()> {
    if !format.is_document() {
        return Ok(());
    }
    let servers = store.report().await?.servers;
    let server = servers.iter().find(|server| server.host == *host);
    format.print(server.ok_or_else(|| no_server(host))?)
}

fn no_server(host: &HostName) -> anyhow::Error {
    anyhow!("no chunkserver {host} belongs to this cluster: `howdah fs report` lists those that do")
}

/// What `drain --stop` does.
pub(super) async fn undrain(
    session: &Session,
    args: &UndrainArgs,
    format: Format,
) -> anyhow::Result<()> {
    let UndrainArgs { host } = args;
    let store = session.store().await?;
    store.drain(host, true).await.with_context(|| format!("cannot undrain {host}"))?;
    print_server(&store, host, format).await
}

/// Says how far it is whenever that changes.
async fn await_drain(store: &ChunkStore, host: &HostName) -> anyhow::Result<()> {
    let (mut said, mut stuck) = (None, Stuck::default());
    // How many there were is told by the first look that has counted them.
    let mut progress: Option<(ItemProgress, u64)> = None;
    loop {
        let report = store.report().await?;
        if let Some(why) = stuck.look(&report, host) {
            beside(progress.as_ref(), || say!("{host}: {why}"));
        }
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
            if let Some((progress, _)) = &progress {
                progress.finish();
            }
            say!(
                "{host} is empty but for what others hold too: stop it, then howdah fs forget {host}"
            );
            return Ok(());
        }
        if said.replace(left) != Some(left) && left.counted {
            let DrainReport { chunks_left, bytes_left, .. } = left;
            let (progress, total) = progress.get_or_insert_with(|| {
                (ItemProgress::new("drain", chunks_left, "chunks"), chunks_left)
            });
            progress.set(total.saturating_sub(chunks_left));
            if !ItemProgress::is_seen() {
                say!("{host}: {chunks_left} chunks left, {}", bytes(bytes_left));
            }
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

fn beside(progress: Option<&(ItemProgress, u64)>, write: impl FnOnce()) {
    match progress {
        Some((progress, _)) => progress.beside(write),
        None => write(),
    }
}

/// Whether a drain goes on at all.
#[derive(Default)]
struct Stuck {
    left: DrainReport,
    /// Looks since something went on.
    n_looks: u32,
}

impl Stuck {
    /// Why nothing goes on, once.
    fn look(&mut self, report: &ClusterReport, host: &HostName) -> Option<&'static str> {
        let server = report.servers.iter().find(|server| server.host == *host);
        let left = server.and_then(|server| server.drain).unwrap_or_default();
        let goes_on = left != self.left || report.repairs.n_running > 0 || left.chunks_left == 0;
        self.left = left;
        self.n_looks = if goes_on { 0 } else { self.n_looks + 1 };
        let takes = |it: &ServerReport| {
            it.host != *host && it.drain.is_none() && it.liveness == Liveness::Live
        };
        (self.n_looks == STUCK_AFTER).then(|| match report.servers.iter().any(takes) {
            false => "no other chunkserver is live that could take them: start one, or add one",
            true => {
                "no other chunkserver can take them, each has its replica already or no room: add one, free space, \
                 or ask for fewer replicas (howdah fs setrep)"
            }
        })
    }
}

pub(super) async fn orphans(
    session: &Session,
    args: &OrphansArgs,
    format: Format,
) -> anyhow::Result<()> {
    let OrphansArgs { host, delete } = args;
    let store = session.store().await?;
    if *delete {
        let deleted = store.delete_orphans(host).await;
        let deleted = deleted.with_context(|| format!("cannot delete orphans of {host}"))?;
        say!("{deleted} orphans of {host} are deleted");
        return format.print(&json!({"host": host, "deleted": deleted}));
    }
    let servers = store.report().await?.servers;
    let server = servers.iter().find(|server| server.host == *host);
    let orphans = server.ok_or_else(|| no_server(host))?.orphans;
    match format.is_document() {
        true => format.print(&json!({"host": host, "orphans": orphans})),
        false => {
            tell!("{orphans}");
            Ok(())
        }
    }
}

pub(super) async fn forget(
    session: &Session,
    args: &ForgetArgs,
    format: Format,
) -> anyhow::Result<()> {
    let host = &args.host;
    let ForgetArgs { lose_records, lose_chunks, .. } = *args;
    let losses = Losses { lose_records, lose_chunks };
    let forgotten = session.store().await?.forget(host, losses).await;
    forgotten.with_context(|| format!("cannot forget {host}"))?;
    format.print(&json!({"host": host, "is_forgotten": true}))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn server(host: &str, drain: &Value, state: &str) -> Value {
        json!({
            "host": host, "rack": null, "address": null, "liveness": {"state": state}, "drain": drain, "capacity_bytes": 9,
            "free_bytes": 9, "replicas": 1, "orphans": 0, "commands_pending": 0, "disks": [],
        })
    }

    fn report(chunks_left: u64, others: &[Value]) -> ClusterReport {
        let left = json!({"chunks_left": chunks_left, "bytes_left": 5, "counted": true});
        let servers = std::iter::once(server("a", &left, "live")).chain(others.iter().cloned());
        let totals = json!({
            "files": 1, "folders": 1, "chunks": 1, "servers_live": 1, "servers_dead": 0, "capacity_bytes": 9,
            "free_bytes": 9,
        });
        let repairs = serde_json::to_value(chunkstore_protocol::RepairReport::default()).unwrap();
        serde_json::from_value(json!({
            "epoch": 1, "safe_mode": null, "totals": totals, "repairs": repairs, "balance": {}, "next": null,
            "servers": servers.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    /// What is said in so many looks, and when.
    fn said(reports: &[ClusterReport]) -> Vec<(usize, &'static str)> {
        let (host, mut stuck) = ("a".parse().unwrap(), Stuck::default());
        let looks = reports.iter().enumerate();
        looks.filter_map(|(at, report)| Some((at, stuck.look(report, &host)?))).collect()
    }

    #[test]
    fn a_drain_that_does_not_go_on_says_once_why() {
        let n = STUCK_AFTER as usize + 5;
        let alone = vec![report(3, &[server("b", &Value::Null, "awaited")]); n];
        let told = said(&alone);
        assert!(told.len() == 1 && told[0].1.contains("no other chunkserver is live"), "{told:?}");
        let full = vec![report(3, &[server("b", &Value::Null, "live")]); n];
        assert!(said(&full)[0].1.contains("no other chunkserver can take them"));
        let sinks: Vec<_> = (0..n as u64).map(|left| report(left + 1, &[])).collect();
        assert_eq!(said(&sinks), []);
        let mut copied = full.clone();
        copied.iter_mut().for_each(|report| report.repairs.n_running = 1);
        assert_eq!(said(&copied), []);
        assert_eq!(said(&vec![report(0, &[]); n]), [], "it is empty");
    }
}
