//! `fs chown`: whose files and folders are.

use anyhow::Context;
use chunkstore_protocol::FileKind;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::doing;
use super::expand::{below, expand_statuses};
use super::pattern::Pattern;
use super::place::only_own;
use crate::session::Session;

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

pub(super) async fn chown(session: &Session, args: &ChownArgs) -> anyhow::Result<()> {
    let store = &session.store().await?;
    let mut paths = Vec::new();
    for found in expand_statuses(store, &args.paths).await? {
        if args.recursive && matches!(found.kind, FileKind::Folder) {
            paths.extend(below(store, &found.path).await?.into_iter().map(|entry| entry.path));
        }
        paths.push(found.path);
    }
    let asked = stream::iter(&paths).map(Ok).try_for_each_concurrent(AT_ONCE, |path| async move {
        let asked = store.set_owner(path, &args.owner).await;
        asked.with_context(|| doing("give away", path))
    });
    asked.await
}
