//! `howdah host`: the hosts of TaskTrackers. (Those of chunkservers are `howdah fs report`'s.)

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use mapreduce_protocol::HostStatus;

use super::{Format, Global, print_json, runtime, shown};
use crate::jobs::Jobs;
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Arguments of `host`.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the hosts, those that were lost within a day too
    List,
}

/// Runs `host`.
pub(crate) fn run(args: &HostArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        match args.action {
            Action::List => list(&jobs, format).await,
        }
    });
    done.map_err(|error| session.explain(error))
}

async fn list(jobs: &Jobs, format: Format) -> anyhow::Result<()> {
    let list = jobs.hosts().await?;
    if format == Format::Json {
        return print_json(&list);
    }
    let mut rows = Vec::new();
    if !list.hosts.is_empty() {
        let head = ["HOST", "RACK", "ADDRESS", "STATE", "SLOTS", "RUNNING", "OUTPUTS", "SEEN"];
        rows.push(head.map(str::to_owned));
    }
    rows.extend(list.hosts.iter().map(row));
    let right = [false, false, false, false, true, true, true, true];
    quiet_if_closed(std::io::stdout().lock().write_all(shown::table(&rows, right).as_bytes()))
}

fn row(status: &HostStatus) -> [String; 8] {
    let seen = Duration::from_millis(status.last_heartbeat_ms);
    [
        status.host.to_string(),
        status.rack.to_string(),
        status.address.clone(),
        status.state.as_str().to_owned(),
        status.slots.to_string(),
        status.running.to_string(),
        status.map_outputs.to_string(),
        format!("{} ago", shown::duration(seen)),
    ]
}
