//! `howdah attempt`: the attempts of a job's tasks, and how people end them.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use ids::UnixMillis;
use mapreduce_protocol::{AttemptId, AttemptStatus, JobId};

use super::{Format, Global, runtime, shown};
use crate::jobs::{EndsAs, Jobs};
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Arguments of `attempt`.
#[derive(Debug, Args)]
pub(crate) struct AttemptArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the attempts of a job that are known
    List {
        /// The job
        id: JobId,
    },
    /// End an attempt; its task runs again, on another host if there is one, and no try is used up
    Kill {
        /// The attempt
        attempt: AttemptId,
    },
    /// End an attempt as failed; its task runs again, unless its tries are used up
    Fail {
        /// The attempt
        attempt: AttemptId,
    },
}

/// Runs `attempt`.
pub(crate) fn run(args: &AttemptArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        match args.action {
            Action::List { id } => list(&jobs, id, format).await,
            Action::Kill { attempt } => end(&jobs, attempt, EndsAs::Killed, format).await,
            Action::Fail { attempt } => end(&jobs, attempt, EndsAs::Failed, format).await,
        }
    });
    done.map_err(|error| session.explain(error))
}

async fn end(
    jobs: &Jobs,
    attempt: AttemptId,
    counts: EndsAs,
    format: Format,
) -> anyhow::Result<()> {
    let status = jobs.end_attempt(attempt, counts).await?;
    crate::say::say!("{attempt} on {} is {}", status.host, status.state.as_str());
    format.print(&status)
}

async fn list(jobs: &Jobs, id: JobId, format: Format) -> anyhow::Result<()> {
    let list = jobs.attempts(id).await?;
    if format.is_document() {
        return format.print(&list);
    }
    show_attempts(&list.attempts)
}

/// Prints attempts as a table.
pub(super) fn show_attempts(attempts: &[AttemptStatus]) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    if !attempts.is_empty() {
        rows.push(["ATTEMPT", "STATE", "HOST", "BEGAN", "TOOK", "WHY"].map(str::to_owned));
    }
    rows.extend(attempts.iter().map(row));
    let text = shown::table(&rows, [false, false, false, false, true, false]);
    quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Its first line and its last one: a command of many lines stands before what it came to.
fn in_one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} … {last}"))
}

fn row(status: &AttemptStatus) -> [String; 6] {
    let why = status.failure.as_ref().map(|failure| {
        crate::say::plain(&format!("{}: {}", failure.kind.as_str(), in_one_line(&failure.message)))
    });
    // Of one that failed, its last words stand behind why.
    let said = status.status.as_ref().map(|said| format!("status: {}", crate::say::plain(said)));
    let why = [why, said].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let unknown = || "-".to_owned();
    let ended_at = status.ended_at.unwrap_or_else(clock::wall);
    let took = |began: UnixMillis| Duration::from_millis(ended_at.0.saturating_sub(began.0));
    [
        status.attempt.to_string(),
        status.state.as_str().to_owned(),
        status.host.to_string(),
        status.began_at.map_or_else(unknown, shown::time),
        status.began_at.map_or_else(unknown, |began| shown::duration(took(began))),
        why,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_of_many_lines_came_to_is_in_the_line() {
        for (message, expected) in [
            ("exit status 3", "exit status 3"),
            (
                "the mapper `sh -c '\n x\n'` ended\n\nno such file\n",
                "the mapper `sh -c ' … no such file",
            ),
            ("", ""),
        ] {
            assert_eq!(in_one_line(message), expected);
        }
    }
}
