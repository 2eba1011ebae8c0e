//! `fs put` and `fs get`: which path is local, and which the chunk store's. The copying is `crate::copy`'s.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use chunkstore_protocol::StorePath;
use clap::Args;

use super::shown;
use crate::copy;
use crate::exit::{Interrupted, OrEarly, early};
use crate::session::Session;
use crate::signals::termination;

/// Arguments of `fs put`.
#[derive(Debug, Args)]
pub(super) struct PutArgs {
    // One list of paths, since options may stand between.
    /// What to copy, folders with all that is in them; and, last, the new file or folder, or an
    /// existing folder that gets it inside
    #[arg(required = true, value_name = "LOCAL... PATH")]
    paths: Vec<PathBuf>,
}

/// Arguments of `fs get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// What to copy, folders with all that is in them; and, last, the new local file or folder, or
    /// an existing folder that gets it inside
    #[arg(required = true, value_name = "PATH... LOCAL")]
    paths: Vec<PathBuf>,
}

/// What is wrong with local paths is said before the cluster is asked.
pub(super) async fn put(session: &Session, args: &PutArgs) -> anyhow::Result<()> {
    let (to, from) = last_and_others(&args.paths, "fs put LOCAL... PATH")?;
    for source in from {
        let found = std::fs::metadata(source).map(drop);
        found.map_err(|error| early(anyhow!("cannot read {}: {error}", source.display())))?;
    }
    let to = shown::target(&to.to_string_lossy()).or_early()?;
    copy::put(&session.store().await?, from, &to, &mut termination()?).await
}

pub(super) async fn get(session: &Session, args: &GetArgs) -> anyhow::Result<()> {
    let (to, from) = last_and_others(&args.paths, "fs get PATH... LOCAL")?;
    let from = from.iter().map(|path| store_path(path)).collect::<Result<Vec<_>, _>>()?;
    let store = session.store().await?;
    let got = termination()?.or(copy::get(&store, &from, to)).await;
    let remains = "what is not whole is not left behind".to_owned();
    got.map_err(|by| Interrupted { by, remains })?
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
