//! `howdah host`: the hosts of TaskTrackers. (Those of chunkservers are `howdah fs report`'s.)

use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use ids::HostName;
use mapreduce_protocol::{HostState, HostStatus};

use super::{Format, Global, print_json, runtime, shown};
use crate::jobs::Jobs;
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Pause between two looks at how far a drain has come.
const DRAIN_LOOK: Duration = Duration::from_secs(1);

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
    /// Give a host no new attempts, so that it can be stopped without any work being lost
    Drain {
        /// The host
        host: HostName,
        /// End what runs there now; it runs again elsewhere
        #[arg(long)]
        now: bool,
        /// Wait until it can be stopped
        #[arg(long)]
        wait: bool,
    },
    /// Give a host that was set aside attempts again: what speaks against it counts no more
    Forgive {
        /// The host
        host: HostName,
    },
    /// Give it attempts again; or forget that a host that is gone was drained
    Undrain {
        /// The host
        host: HostName,
    },
}

/// Runs `host`.
pub(crate) fn run(args: &HostArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        match &args.action {
            Action::List => list(&jobs, format).await,
            Action::Drain { host, now, wait } => {
                let status = jobs.drain(host, *now).await?;
                crate::say::say!("{host} gets no new attempts");
                let status = if *wait { await_drained(&jobs, host).await? } else { status };
                if format == Format::Json { print_json(&status) } else { Ok(()) }
            }
            Action::Forgive { host } => {
                let status = jobs.forgive(host).await?;
                crate::say::say!("nothing speaks against {host}");
                if format == Format::Json { print_json(&status) } else { Ok(()) }
            }
            Action::Undrain { host } => {
                let hosts = jobs.undrain(host).await?;
                match hosts.hosts.first() {
                    Some(_) => crate::say::say!("{host} gets attempts"),
                    None => crate::say::say!("{host} is forgotten"),
                }
                if format == Format::Json { print_json(&hosts) } else { Ok(()) }
            }
        }
    });
    done.map_err(|error| session.explain(error))
}

/// Says how far it is whenever that changes.
async fn await_drained(jobs: &Jobs, host: &HostName) -> anyhow::Result<HostStatus> {
    let mut said = None;
    loop {
        let status = jobs.host(host).await?;
        match status.state {
            HostState::Drained => {
                crate::say::say!("{host} is drained: it can be stopped");
                return Ok(status);
            }
            HostState::Draining => {}
            HostState::Live | HostState::Ill | HostState::SetAside | HostState::Lost => {
                bail!("the drain of {host} was taken back")
            }
        }
        let left = (status.running, status.map_outputs);
        if said.replace(left) != Some(left) {
            let (running, outputs) = left;
            crate::say::say!("{host}: {running} attempts run, {outputs} map outputs are wanted");
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
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
    let mut text = shown::table(&rows, right);
    list.hosts.iter().for_each(|status| text.push_str(&remarks(status)));
    quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// A line for each thing that is wrong with a host, speaks against it, or should be known of it.
fn remarks(status: &HostStatus) -> String {
    let host = &status.host;
    let ailments = status.ailments.iter().map(|ailment| format!("{host} is ill: {ailment}\n"));
    let aside = status.set_aside_ms.map(Duration::from_millis).map(|left| {
        let left = shown::duration(left);
        format!("{host} is set aside for {left}; `howdah host forgive {host}` ends that\n")
    });
    let without = status.disks_without.iter();
    let without = without.map(|ailment| format!("{host} does without a disk: {ailment}\n"));
    let exposed = status.not_isolated.iter();
    let exposed =
        exposed.map(|why| format!("{host} trusts its tasks with the cluster's secret: {why}\n"));
    let unreached = status.unreached.iter().map(|why| {
        let remedy = daemon::reach_remedy(
            "tasktracker",
            host,
            status.address.as_deref().unwrap_or_default(),
        );
        format!("{host} is not reached by the JobTracker {why}; {remedy}\n")
    });
    let strikes = status.strikes.iter().map(|strike| format!("against {host}: {strike}\n"));
    ailments.chain(aside).chain(unreached).chain(strikes).chain(without).chain(exposed).collect()
}

fn row(status: &HostStatus) -> [String; 8] {
    let unknown = || "-".to_owned();
    let seen = status.last_heartbeat_ms.map(Duration::from_millis);
    [
        status.host.to_string(),
        status.rack.as_ref().map_or_else(unknown, ToString::to_string),
        status.address.clone().unwrap_or_else(unknown),
        status.state.as_str().to_owned(),
        status.slots.to_string(),
        status.running.to_string(),
        status.map_outputs.to_string(),
        seen.map_or_else(unknown, |seen| format!("{} ago", shown::duration(seen))),
    ]
}
