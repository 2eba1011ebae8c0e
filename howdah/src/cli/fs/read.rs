//! `fs cat`: bytes of files on standard output.

use std::io::{self, Write};

use anyhow::Context;
use chunkstore_protocol::StorePath;
use clap::Args;

use super::{doing, shown};
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Arguments of `fs cat`.
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    /// The files
    #[arg(required = true, value_parser = shown::store_path)]
    paths: Vec<StorePath>,
}

pub(super) async fn cat(session: &Session, args: &CatArgs) -> anyhow::Result<()> {
    let store = session.store().await?;
    for path in &args.paths {
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
