//! `howdah job explain`, in words.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use mapreduce_protocol::{
    Explanation, HostObstacle, InputPlace, PathLink, Place, ReduceInput, TaskExplanation,
};

use super::{Format, shown};
use crate::say::quiet_if_closed;

/// Prints an explanation, and why the job has ended badly, if it has.
pub(super) fn print(
    explanation: &Explanation,
    failure: Option<&str>,
    format: Format,
) -> anyhow::Result<()> {
    if format.is_document() {
        return format.print(explanation);
    }
    let mut text = format!("{} is {}\n", explanation.job, explanation.state.as_str());
    if let Some(failure) = failure {
        let _ = writeln!(text, "  {failure}");
    }
    for obstacle in &explanation.obstacles {
        let _ = writeln!(text, "  {obstacle}");
    }
    if let Some(unsplit) = &explanation.unsplit {
        let _ = writeln!(text, "  {unsplit}");
    }
    explanation.tasks.iter().for_each(|task| text.push_str(&of_task(task)));
    if !explanation.path.is_empty() {
        text.push_str("what made it as long as it is, one after the other:\n");
    }
    explanation.path.iter().for_each(|link| text.push_str(&of_link(link)));
    quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

fn of_task(task: &TaskExplanation) -> String {
    let waits = if task.waits { " waits for a slot" } else { "" };
    let mut text = format!("{}{waits}\n", task.task);
    for obstacle in &task.obstacles {
        let _ = writeln!(text, "  {obstacle}");
    }
    if task.waits && !task.homes.is_empty() {
        let homes: Vec<_> = task.homes.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  its bytes are on {}", homes.join(", "));
    }
    if let Some(input) = &task.input {
        let _ = writeln!(text, "  {}", of_input(input));
    }
    if let Some(limit) = task.limit.filter(|_| task.waits) {
        let farther = task.farther_in_ms.map(Duration::from_millis).map(shown::duration);
        let farther = farther.map(|after| format!(", farther after {after}")).unwrap_or_default();
        let _ = writeln!(text, "  it may run {}{farther}", of_place(limit));
    }
    task.hosts.iter().for_each(|hosts| text.push_str(&of_hosts(hosts)));
    for attempt in &task.attempts {
        let place = attempt.place.map(|place| format!(", {}", of_place(place)));
        let failure = attempt.failure.as_ref().map(|failure| format!(": {}", failure.message));
        let (id, state, host) = (attempt.attempt, attempt.state.as_str(), &attempt.host);
        let (place, failure) = (place.unwrap_or_default(), failure.unwrap_or_default());
        let _ = writeln!(text, "  {id} {state} on {host}{place}{failure}");
    }
    text
}

fn of_input(input: &ReduceInput) -> String {
    let ReduceInput { place, share, bytes, is_home } = input;
    let place = match place {
        InputPlace::Host(host) => format!("host {host}"),
        InputPlace::Rack(rack) => format!("rack {rack}"),
    };
    let (percent, bytes) = (100.0 * share, shown::size(*bytes, true));
    let enough = if *is_home { "" } else { ": too little to be placed by" };
    format!("{place} holds {percent:.0} % of its input, {bytes}{enough}")
}

fn of_hosts(obstacle: &HostObstacle) -> String {
    let HostObstacle { why, n_hosts, hosts } = obstacle;
    let named: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let more = if hosts.len() < *n_hosts as usize { ", …" } else { "" };
    let noun = if *n_hosts == 1 { "host" } else { "hosts" };
    format!("  {n_hosts} {noun}: {why} ({}{more})\n", named.join(", "))
}

fn of_link(link: &PathLink) -> String {
    let PathLink { attempt, host, began_at, ended_at, after, .. } = link;
    let began = shown::time(*began_at);
    let took = ended_at.map(|ended| Duration::from_millis(ended.0.saturating_sub(began_at.0)));
    let took =
        took.map_or_else(|| "runs".to_owned(), |took| format!("took {}", shown::duration(took)));
    format!("  {began}  {attempt} on {host} {took}, {after}\n")
}

fn of_place(place: Place) -> &'static str {
    match place {
        Place::NodeLocal => "on a host of its bytes",
        Place::RackLocal => "on the rack of its bytes",
        Place::OffRack => "anywhere",
    }
}
