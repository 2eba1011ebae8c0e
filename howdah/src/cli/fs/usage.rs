//! `fs du` and `fs count`: how much there is below a path; and `fs df`: how much room there is.

use std::io::{self, Write};

use anyhow::Context;
use chunkstore_client::ChunkStore;
use chunkstore_protocol::{Counted, FileKind, StorePath};
use clap::{ArgAction, Args};
use serde::Serialize;
use serde_json::json;

use super::expand::{ENTRIES_MAX, expand_files, expand_statuses, of_files};
use super::place::{Place, Places, only_own};
use super::{Format, doing, shown, urls};
use crate::failures::Failures;
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Arguments of `fs du`.
#[derive(Debug, Args)]
pub(super) struct DuArgs {
    /// The folders, or files; patterns are expanded
    #[arg(default_value = "/")]
    paths: Vec<Place>,
    /// One sum for each path, not one for each thing in it
    #[arg(short, long)]
    summarize: bool,
    /// Sizes for people, like 1.50 MiB
    #[arg(short, long)]
    human_readable: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Arguments of `fs count`.
#[derive(Debug, Args)]
pub(super) struct CountArgs {
    /// The folders, or files; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
    /// Sizes for people, like 1.50 MiB
    #[arg(short, long)]
    human_readable: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Arguments of `fs df`.
#[derive(Debug, Args)]
pub(super) struct DfArgs {
    /// As in other shells: all paths of the chunk store share its room
    #[arg(hide = true, value_parser = only_own::<StorePath>("its room is that store's own business"))]
    paths: Vec<StorePath>,
    /// Sizes for people, like 1.50 MiB
    #[arg(short, long)]
    human_readable: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What there is at a path and below it.
#[derive(Debug, Serialize)]
struct Usage {
    path: StorePath,
    #[serde(flatten)]
    counted: Counted,
}

async fn usage(store: &ChunkStore, path: StorePath) -> anyhow::Result<Usage> {
    let counted = store.count(&path).await.with_context(|| doing("count", &path))?;
    Ok(Usage { path, counted })
}

pub(super) async fn du(session: &Session, args: &DuArgs, format: Format) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::du(session, &urls, args.human_readable, format).await,
    };
    let store = session.store().await?;
    let (mut used, mut failures) = (Vec::new(), Failures::default());
    for found in expand_statuses(&store, &of_files(&patterns), "count", &mut failures).await? {
        let of = if args.summarize || found.kind != FileKind::Folder {
            vec![found]
        } else {
            let listed = store.list_all(&found.path, ENTRIES_MAX).await;
            let listed = listed.with_context(|| doing("list", &found.path));
            failures.take(listed)?.unwrap_or_default()
        };
        for found in of {
            used.extend(failures.take(usage(&store, found.path).await)?);
        }
    }
    if format.is_document() {
        format.print(&json!({"usage": used}))?;
        return failures.end();
    }
    let size = |bytes| shown::size(bytes, args.human_readable);
    let rows = used.iter().map(|used| {
        [size(used.counted.bytes), size(used.counted.replica_bytes), shown::path(&used.path)]
    });
    told(&shown::table(&rows.collect::<Vec<_>>(), [true, true, false]))?;
    failures.end()
}

pub(super) async fn count(
    session: &Session,
    args: &CountArgs,
    format: Format,
) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => {
            return urls::count(session, &urls, args.human_readable, format).await;
        }
    };
    let store = session.store().await?;
    let (mut counted, mut failures) = (Vec::new(), Failures::default());
    for path in expand_files(&store, &patterns, &mut failures).await? {
        counted.extend(failures.take(usage(&store, path).await)?);
    }
    if format.is_document() {
        format.print(&json!({"usage": counted}))?;
        return failures.end();
    }
    let rows = counted.iter().map(|Usage { path, counted }| {
        let bytes = shown::size(counted.bytes, args.human_readable);
        [counted.folders.to_string(), counted.files.to_string(), bytes, shown::path(path)]
    });
    told(&shown::table(&rows.collect::<Vec<_>>(), [true, true, true, false]))?;
    failures.end()
}

fn told(text: &str) -> anyhow::Result<()> {
    quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))
}

/// The disks of the live chunkservers together, as the chunk master knows them by their heartbeats.
pub(super) async fn df(session: &Session, args: &DfArgs, format: Format) -> anyhow::Result<()> {
    let totals = session.store().await?.report().await?.totals;
    if format.is_document() {
        return format.print(&totals);
    }
    let used = totals.capacity_bytes.saturating_sub(totals.free_bytes);
    let share = (u128::from(used) * 100).checked_div(u128::from(totals.capacity_bytes));
    let size = |bytes| shown::size(bytes, args.human_readable);
    let head = ["SIZE", "USED", "FREE", "USE%", "SERVERS"].map(str::to_owned);
    let row = [
        size(totals.capacity_bytes),
        size(used),
        size(totals.free_bytes),
        share.map_or_else(|| "-".to_owned(), |share| format!("{share}%")),
        totals.servers_live.to_string(),
    ];
    told(&shown::table(&[head, row], [true; 5]))
}
