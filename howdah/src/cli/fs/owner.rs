//! `fs chown`: whose files and folders are.

use anyhow::Context;
use chunkstore_protocol::{FileKind, StorePath};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::expand::{below, expand_statuses};
use super::pattern::Pattern;
use super::place::only_own;
use super::{Format, doing};
use crate::failures::Failures;
use crate::progress::ItemProgress;
use crate::session::Session;

/// What messages call it.
const VERB: &str = "give away";
/// Requests at once.
const AT_ONCE: usize = 16;

/// Arguments of `fs chown`.
#[derive(Debug, Args)]
pub(super) struct ChownArgs {
    /// Whose they are to be
    #[arg(value_name = "USER")]
    owner: String,
    /// The files and folders; patterns are expanded
    #[arg(required = true, value_parser = only_own::<Pattern>(
        "whose its objects are is that store's own business"
    ))]
    paths: Vec<Pattern>,
    /// What is in folders too
    #[arg(short = 'R', long)]
    recursive: bool,
}

pub(super) async fn chown(
    session: &Session,
    args: &ChownArgs,
    format: Format,
) -> anyhow::Result<()> {
    let store = &session.store().await?;
    let (mut paths, mut failures) = (Vec::new(), Failures::default());
    for found in expand_statuses(store, &args.paths, VERB, &mut failures).await? {
        if args.recursive && matches!(found.kind, FileKind::Folder) {
            let below = below(store, &found.path).await;
            let below = failures.take(below.with_context(|| doing(VERB, &found.path)))?;
            paths.extend(below.into_iter().flatten().map(|entry| entry.path));
        }
        paths.push(found.path);
    }
    let ask = async |path: &StorePath| {
        store.set_owner(path, &args.owner).await.with_context(|| doing(VERB, path))
    };
    let mut asked = stream::iter(&paths).map(ask).buffered(AT_ONCE);
    let (progress, mut n_asked, mut n_entries) =
        (ItemProgress::new("chown", paths.len() as u64, "entries"), 0, 0);
    while let Some(asked) = asked.next().await {
        n_asked += 1;
        progress.set(n_asked);
        n_entries += u64::from(failures.take(asked)?.is_some());
    }
    progress.finish();
    format.print(&json!({"owner": args.owner, "entries": n_entries}))?;
    failures.end()
}
