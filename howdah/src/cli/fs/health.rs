//! `fs forget`: for those who look after the cluster's chunkservers.

use anyhow::Context;
use clap::Args;
use ids::HostName;

use crate::session::Session;

/// Arguments of `fs forget`.
#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// Its host
    host: HostName,
}

pub(super) async fn forget(session: &Session, args: &ForgetArgs) -> anyhow::Result<()> {
    let host = &args.host;
    let forgotten = session.store().await?.forget(host).await;
    forgotten.with_context(|| format!("cannot forget {host}"))
}
