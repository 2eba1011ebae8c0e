//! `howdah dev`: a whole cluster on loopback, in the foreground, in a folder that keeps it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::overrides::Overrides;
use super::runtime;
use crate::signals::termination;
use crate::supervise::{Cluster, ClusterOptions};

/// Arguments of `dev`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct DevArgs {
    /// Folder of the cluster: cluster.yaml, pids, logs and data; made if missing
    #[arg(long)]
    dir: PathBuf,
    /// TaskTrackers, each with a chunkserver on the same host; 3 in a new folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    trackers: Option<u16>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Starts the cluster, prints `ready`, and stops it at SIGINT or SIGTERM.
pub(crate) fn run(args: &DevArgs) -> anyhow::Result<()> {
    let options = ClusterOptions {
        trackers: args.trackers.map(usize::from),
        overrides: args.overrides.parsed()?,
    };
    runtime::on_this_thread(async {
        let mut end = termination()?;
        let Ok(mut cluster) = Cluster::start(&args.dir, &options, &mut end).await? else {
            return Ok(());
        };
        say_where(&cluster);
        let told = tell_ready();
        if told.is_ok() {
            end.await_signal().await;
        }
        cluster.stop().await;
        told
    })
}

fn say_where(cluster: &Cluster) {
    let (file, scheme) = (cluster.config_file(), crate::tls::scheme(&cluster.config));
    crate::say::say!("chunk master  {scheme}://{}/", cluster.config.chunkmaster.address);
    crate::say::say!("JobTracker    {scheme}://{}/", cluster.config.jobtracker.address);
    crate::say::say!(
        "for curl      jobtracker={scheme}://{} chunkmaster={scheme}://{}",
        cluster.config.jobtracker.address,
        cluster.config.chunkmaster.address
    );
    crate::say::say!("for clients   --config {0}, or HOWDAH_CONFIG={0}", file.display());
}

fn tell_ready() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").and_then(|()| out.flush()).context("cannot write to standard output")
}
