//! `howdah host show`: what both masters know of one host.

use std::fmt::Write as _;
use std::time::Duration;

use chunkstore_protocol::ServerReport;
use ids::HostName;
use mapreduce_protocol::{HostStatus, TimelineAttempt};
use net::CallError;
use serde::Serialize;

use super::fs::text_of_server;
use super::host::remarks;
use super::watch::{Frame, Watch};
use super::{Format, shown};
use crate::jobs::Jobs;

/// What is shown.
#[derive(Debug, Serialize)]
struct Shown {
    host: HostName,
    /// Of the JobTracker, if it knows a TaskTracker there.
    tasktracker: Option<HostStatus>,
    /// Of the chunk master, if it knows a chunkserver there.
    chunkserver: Option<ServerReport>,
    /// Why that could not be asked, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunkserver_unknown: Option<String>,
    /// What runs there.
    attempts: Vec<TimelineAttempt>,
}

/// Runs it.
pub(super) async fn run(
    jobs: &Jobs,
    host: &HostName,
    watch: Watch,
    format: Format,
) -> anyhow::Result<()> {
    let look = async || {
        let shown = ask(jobs, host).await?;
        let text = format.text_of(&shown)?.unwrap_or_else(|| text_of(&shown));
        Ok(Frame { text, is_last: false })
    };
    watch.show(look).await
}

async fn ask(jobs: &Jobs, host: &HostName) -> Result<Shown, CallError> {
    let is_unknown = |error: &CallError| error.problem().is_some_and(|it| it.status == 404);
    let tracker = match jobs.host(host).await {
        Err(error) if !is_unknown(&error) => return Err(error),
        tracker => tracker,
    };
    let (server, why_not) = match jobs.store_report().await {
        Ok(report) => (report.servers.into_iter().find(|server| server.host == *host), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let tasktracker = match (tracker, &server) {
        (Err(error), None) => return Err(error),
        (tracker, _) => tracker.ok(),
    };
    let is_busy = tasktracker.as_ref().is_some_and(|status| status.running > 0);
    let attempts = if is_busy { jobs.running_on(host).await? } else { Vec::new() };
    let (host, chunkserver, chunkserver_unknown) = (host.clone(), server, why_not);
    Ok(Shown { host, tasktracker, chunkserver, chunkserver_unknown, attempts })
}

fn text_of(shown: &Shown) -> String {
    let mut text = match &shown.tasktracker {
        Some(status) => text_of_tracker(status),
        None => format!("host       {}\nthe JobTracker knows no TaskTracker there\n", shown.host),
    };
    text.push('\n');
    match (&shown.chunkserver, &shown.chunkserver_unknown) {
        (Some(server), _) => text.push_str(&text_of_server(server)),
        (None, Some(why)) => {
            let _ = writeln!(text, "of its chunkserver nothing is known: {why}");
        }
        (None, None) => text.push_str("the chunk master knows no chunkserver there\n"),
    }
    if !shown.attempts.is_empty() {
        let head = ["ATTEMPT", "BEGAN", "RUNS FOR", "DONE", "READS"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(shown.attempts.iter().map(row)).collect();
        let _ = write!(text, "\n{}", shown::table(&rows, [false, false, true, true, true]));
    }
    text
}

fn text_of_tracker(status: &HostStatus) -> String {
    let unknown = || "-".to_owned();
    let seen = status.last_heartbeat_ms.map(Duration::from_millis);
    let lines = [
        format!("host       {}", status.host),
        format!("state      {}", status.state.as_str()),
        format!("rack       {}", status.rack.as_ref().map_or_else(unknown, ToString::to_string)),
        format!("address    {}", status.address.clone().unwrap_or_else(unknown)),
        format!(
            "heard of   {}",
            seen.map_or_else(unknown, |it| format!("{} ago", shown::duration(it)))
        ),
        format!("slots      {}, of which {} are taken", status.slots, status.running),
        format!("outputs    {} that unfinished jobs may want", status.map_outputs),
    ];
    lines.join("\n") + "\n" + &remarks(status)
}

fn row(attempt: &TimelineAttempt) -> [String; 5] {
    let unknown = || "-".to_owned();
    let since = attempt.began_at.map(|began| clock::wall().0.saturating_sub(began.0));
    [
        attempt.attempt.to_string(),
        attempt.began_at.map_or_else(unknown, shown::time),
        since.map_or_else(unknown, |it| shown::duration(Duration::from_millis(it))),
        attempt.progress.map_or_else(unknown, |done| format!("{:.0} %", done * 100.0)),
        attempt.bytes.map_or_else(unknown, |bytes| shown::size(bytes, true)),
    ]
}
