//! `howdah host`: the hosts of TaskTrackers. (Those of chunkservers are `howdah fs report`'s; `host show`, of both, has a file
//! of its own.)

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use ids::HostName;
use mapreduce_protocol::{DrainWait, HostList, HostState, HostStatus};

use super::watch::{Frame, Watch};
use super::{Format, Global, host_show, runtime, shown};
use crate::jobs::Jobs;
use crate::session::Session;

/// Pause between two looks at how far a drain has come.
const DRAIN_LOOK: Duration = Duration::from_secs(1);

/// So many looks must find that a drain would never end: what was just changed may not be told yet.
const STUCK_LOOKS: u32 = 3;

/// Arguments of `host`.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the hosts, those that were lost within a day too
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show all that is known of a host: its TaskTracker, its chunkserver, and the attempts that run there
    Show {
        /// The host
        host: HostName,
        #[command(flatten)]
        watch: Watch,
    },
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
            Action::List { watch } => list(&jobs, *watch, format).await,
            Action::Show { host, watch } => host_show::run(&jobs, host, *watch, format).await,
            Action::Drain { host, now, wait } => {
                let status = jobs.drain(host, *now).await?;
                crate::say::say!("{host} gets no new attempts");
                let status = if *wait { await_drained(&jobs, host).await? } else { status };
                format.print(&status)
            }
            Action::Forgive { host } => {
                let status = jobs.forgive(host).await?;
                crate::say::say!("nothing speaks against {host}");
                format.print(&status)
            }
            Action::Undrain { host } => {
                let hosts = jobs.undrain(host).await?;
                match hosts.hosts.first() {
                    Some(_) => crate::say::say!("{host} gets attempts"),
                    None => crate::say::say!("{host} is forgotten"),
                }
                format.print(&hosts)
            }
        }
    });
    done.map_err(|error| session.explain(error))
}

/// Says how far it is, and what it waits for, whenever that changes. Ends where it would wait for ever.
async fn await_drained(jobs: &Jobs, host: &HostName) -> anyhow::Result<HostStatus> {
    let mut said = None;
    let mut stuck_for = 0;
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
        stuck_for = if is_stuck(&status) { stuck_for + 1 } else { 0 };
        if stuck_for == STUCK_LOOKS {
            bail!(
                "{host} gets no new attempts, and its drain would never end:\n{}\nThen wait again: `howdah host drain {host} --wait`",
                told(&status.drain_waits)
            );
        }
        let HostStatus { running, map_outputs, drain_waits, .. } = status;
        let left = (running, map_outputs, told(&drain_waits));
        if said.as_ref() != Some(&left) {
            crate::say::say!(
                "{host}: {running} attempts run, {map_outputs} map outputs are wanted"
            );
            drain_waits.iter().for_each(|wait| crate::say::say!("  {wait}"));
            said = Some(left);
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Whether nothing that goes on by itself holds up the drain.
fn is_stuck(status: &HostStatus) -> bool {
    let waits = &status.drain_waits;
    status.running == 0 && !waits.is_empty() && waits.iter().all(|wait| wait.for_ever)
}

fn told(waits: &[DrainWait]) -> String {
    waits.iter().map(|wait| format!("  {wait}")).collect::<Vec<_>>().join("\n")
}

async fn list(jobs: &Jobs, watch: Watch, format: Format) -> anyhow::Result<()> {
    let look = async || {
        let list = jobs.hosts().await?;
        let text = format.text_of(&list)?.unwrap_or_else(|| table(&list));
        Ok(Frame { text, is_last: false })
    };
    watch.show(look).await
}

fn table(list: &HostList) -> String {
    let mut rows = Vec::new();
    if !list.hosts.is_empty() {
        let head = ["HOST", "RACK", "ADDRESS", "STATE", "SLOTS", "RUNNING", "OUTPUTS", "SEEN"];
        rows.push(head.map(str::to_owned));
    }
    rows.extend(list.hosts.iter().map(row));
    let right = [false, false, false, false, true, true, true, true];
    let mut text = shown::table(&rows, right);
    list.hosts.iter().for_each(|status| text.push_str(&remarks(status)));
    text
}

/// A line for each thing that is wrong with a host, speaks against it, or should be known of it.
pub(super) fn remarks(status: &HostStatus) -> String {
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
