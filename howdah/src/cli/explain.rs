//! `howdah job explain`, in words.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptId, Explanation, HostObstacle, InputPlace, PathLink, Place, ReduceInput, TaskExplanation,
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
        text.push_str("what made the job as long as it is, one after the other:\n");
    }
    let mut before = None;
    for link in &explanation.path {
        text.push_str(&of_link(link, before.replace(link.attempt)));
    }
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
        let _ = writeln!(text, "  the task's input is on {}", homes.join(", "));
    }
    if let Some(input) = &task.input {
        let _ = writeln!(text, "  {}", of_input(input));
    }
    if let Some(limit) = task.limit.filter(|_| task.waits) {
        let farther = task.farther_in_ms.map(Duration::from_millis).map(shown::duration);
        let farther = farther.map(|after| format!(", and farther away in {after}"));
        let farther = farther.unwrap_or_default();
        let _ = writeln!(text, "  the task may run {} now{farther}", of_place(limit));
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
    let enough = match is_home {
        true => "so the task waits a while for a slot there",
        false => "too little for the task to wait for a slot there",
    };
    format!("{place} holds {percent:.0} % of the task's input, {bytes}: {enough}")
}

fn of_hosts(obstacle: &HostObstacle) -> String {
    let HostObstacle { why, n_hosts, hosts } = obstacle;
    let named: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let more = match (*n_hosts as usize).saturating_sub(hosts.len()) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("  on {}{more}: {why}\n", named.join(", "))
}

fn of_link(link: &PathLink, before: Option<AttemptId>) -> String {
    let PathLink { attempt, host, began_at, ended_at, after, .. } = link;
    let began = shown::time(*began_at);
    let took = ended_at.map(|ended| Duration::from_millis(ended.0.saturating_sub(began_at.0)));
    let took =
        took.map_or_else(|| "runs".to_owned(), |took| format!("took {}", shown::duration(took)));
    format!("  {began}  {attempt} on {host} {took}, {}\n", after.words(before))
}

fn of_place(place: Place) -> &'static str {
    match place {
        Place::NodeLocal => "on a host of its input",
        Place::RackLocal => "in a rack of its input",
        Place::OffRack => "anywhere",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_link_of_the_path_names_the_one_that_it_came_after() {
        let link = |number: u32, kind: &str, after: &str| {
            json!({
                "attempt": format!("attempt_20261122_0001_{kind}_{number:06}_0"), "host": "a", "state": "SUCCEEDED",
                "began_at": 1000 * number, "ended_at": 1000 * number + 500, "after": after,
            })
        };
        let explanation: Explanation = serde_json::from_value(json!({
            "job": "job_20261122_0001", "state": "SUCCEEDED", "obstacles": [], "tasks": [],
            "path": [
                link(1, "m", "submission"), link(2, "m", "slot"), link(3, "r", "maps"), link(3, "r", "other_try"),
            ],
        }))
        .unwrap();
        let mut before = None;
        let links = explanation.path.iter();
        let said: Vec<_> = links.map(|link| of_link(link, before.replace(link.attempt))).collect();
        for (said, words) in said.iter().zip([
            "from the job's submission on\n",
            "in the slot that attempt_20261122_0001_m_000001_0 had held\n",
            "once attempt_20261122_0001_m_000002_0, the last of the maps, had ended\n",
            "once attempt_20261122_0001_r_000003_0, another try of the task, had ended\n",
        ]) {
            assert!(said.ends_with(words), "{said}");
        }
    }

    #[test]
    fn hosts_stand_before_what_is_in_the_way_there() {
        let obstacle = json!({"why": "no_free_slot", "n_hosts": 5, "hosts": ["a", "b"]});
        let obstacle: HostObstacle = serde_json::from_value(obstacle).unwrap();
        assert_eq!(of_hosts(&obstacle), "  on a, b and 3 more: all slots are taken\n");
    }
}
