//! `howdah job`: submit a job, look at it, wait for it, end it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use mapreduce_protocol::{
    AttemptState, AttemptStatus, JobAccepted, JobCounters, JobId, JobState, JobStatus, Priority,
    SKIPPED_OUTPUT, TaskCounts, TaskId,
};
use serde_json::json;

use super::fs::PutAside;
use super::inputs::{self, Recursion};
use super::job_list::{self, ListArgs};
use super::job_logs::{self, LogsArgs};
use super::watch::{Frame, Watch};
use super::{Format, Global, runtime, shown};
use crate::exit::{Interrupted, OrEarly, sentence};
use crate::job_changes::JobChanges;
use crate::job_file::JobFile;
use crate::jobs::Jobs;
use crate::progress::JobProgress;
use crate::say::{plain, quiet_if_closed};
use crate::session::Session;
use crate::signals::{Termination, termination};
use crate::submit;

/// Counters of the runtime's that are told at a job's end; `job counters` has all.
const SUMMED_UP: [&str; 5] = [
    "task.MAP_INPUT_RECORDS",
    "task.MAP_OUTPUT_RECORDS",
    "task.REDUCE_INPUT_RECORDS",
    "task.REDUCE_OUTPUT_RECORDS",
    "task.REPORTER_LINES_REFUSED",
];

/// Running attempts whose words `job status` tells, at most; of a job that has had more attempts than that many, all of which it
/// would be told, none.
const SAYING_MAX: usize = 10;
const LISTED_MAX: u32 = 2000;

/// Counters of what was left out.
const SKIPPED: [&str; 2] = ["task.MAP_SKIPPED_RECORDS", "task.REDUCE_SKIPPED_RECORDS"];

/// Counters of the job's own that are told there.
const SUMMED_UP_MAX: usize = 20;

/// Arguments of `job`.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Submit a job; its id goes to standard output, all else to standard error
    Submit {
        #[command(flatten)]
        args: SubmitArgs,
    },
    /// List the jobs, newest first
    List(ListArgs),
    /// Show a job's state
    Status {
        /// The job
        id: JobId,
        #[command(flatten)]
        watch: Watch,
    },
    /// Wait for the end of jobs; exit code 1 unless all succeed
    Wait {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<JobId>,
    },
    /// End jobs
    Kill {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<JobId>,
    },
    /// Launch nothing new of a job until it is resumed; what runs goes on to its end
    Pause {
        /// The job
        id: JobId,
        /// End what runs now; it runs again when the job is resumed
        #[arg(long)]
        now: bool,
    },
    /// Let a paused job go on
    Resume {
        /// The job
        id: JobId,
    },
    /// Say why a job's next tasks wait, and which attempts made it as long as it was
    Explain {
        /// The job
        id: JobId,
        /// One task; the next ones if left out
        task: Option<TaskId>,
    },
    /// Give a job more of the slots beside other jobs, or less
    Priority {
        /// The job
        id: JobId,
        /// very-low, low, normal, high, very-high
        priority: Priority,
    },
    /// Print what attempts of a job wrote to standard output and error
    Logs(LogsArgs),
    /// Show what is kept of a job that is over: what it ran with, and each of its attempts
    History {
        /// The job
        id: JobId,
    },
    /// Print a job's counters
    Counters {
        /// The job
        id: JobId,
    },
}

/// Arguments of `job submit`.
#[derive(Debug, Args)]
struct SubmitArgs {
    /// The job, YAML or JSON; - reads it from standard input
    file: PathBuf,
    /// Wait for its end; exit code 1 unless it succeeds
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    changes: JobChanges,
    /// Read all that is in subfolders of the input, too
    #[arg(long)]
    recursive: bool,
    /// If the output exists, move it into the trash once the job is accepted; it is put back if the job is refused
    #[arg(long)]
    overwrite: bool,
}

/// Runs `job`.
pub(crate) fn run(args: JobArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        match args.action {
            Action::Submit { args } => submit(&session, &args, format).await,
            Action::List(args) => job_list::run(&jobs, &args, format).await,
            Action::Status { id, watch } => show(&jobs, id, watch, format).await,
            Action::Wait { ids } => {
                let end = &mut termination()?;
                // A JobTracker that goes away is waited for; one that is not there is not, nor is a job.
                for id in &ids {
                    jobs.status(*id).await?;
                }
                let mut all = Ok(());
                for id in ids {
                    all = and_next(all, wait_for(&jobs, id, end, format).await)?;
                }
                all
            }
            Action::Kill { ids } => {
                let mut all = Ok(());
                for id in ids {
                    let ended = jobs.kill(id).await.map_err(anyhow::Error::from);
                    let ended = ended.and_then(|status| done(&status, "ends", format));
                    all = and_next(all, ended)?;
                }
                all
            }
            Action::Pause { id, now } => done(&jobs.pause(id, now).await?, "is paused", format),
            Action::Resume { id } => {
                let status = jobs.resume(id).await?;
                let what = if status.paused { "stays paused with its pool" } else { "goes on" };
                done(&status, what, format)
            }
            Action::Explain { id, task } => {
                let explanation = jobs.explain(id, task).await?;
                // Why it has ended so is a matter of its state.
                let failure = match explanation.state {
                    JobState::Failed | JobState::Killed => jobs.status(id).await?.failure,
                    JobState::Prep | JobState::Running | JobState::Succeeded => None,
                };
                super::explain::print(&explanation, failure.as_deref(), format)
            }
            Action::Priority { id, priority } => {
                let status = jobs.set_priority(id, priority).await?;
                done(&status, &format!("has priority {priority}"), format)
            }
            Action::Logs(args) => job_logs::run(&jobs, &args, format).await,
            Action::History { id } => history(&jobs, id, format).await,
            Action::Counters { id } => counters(&jobs, id, format).await,
        }
    });
    done.map_err(|error| session.explain(error))
}

/// Says what a job does now.
fn done(status: &JobStatus, what: &str, format: Format) -> anyhow::Result<()> {
    crate::say::say!("{} {what}", status.id);
    format.print(status)
}

/// One thing of several was done: what failed before is said, and what is told of all is the last that failed. An
/// interrupted command ends at once.
fn and_next(
    before: anyhow::Result<()>,
    next: anyhow::Result<()>,
) -> anyhow::Result<anyhow::Result<()>> {
    match (before, next) {
        (_, Err(next)) if next.is::<Interrupted>() => Err(next),
        (before, Ok(())) => Ok(before),
        (Ok(()), next) => Ok(next),
        (Err(before), next) => {
            crate::say::say!("howdah: {}", sentence(&before));
            Ok(next)
        }
    }
}

async fn submit(session: &Session, args: &SubmitArgs, format: Format) -> anyhow::Result<()> {
    let mut job = JobFile::read_changed(&args.file, &args.changes).or_early()?;
    job.check_for_cluster().or_early()?;
    let recursion = Recursion { wanted: args.recursive, by: "--recursive" };
    inputs::of_store(session, &mut job, recursion).await?;
    if !args.overwrite {
        return submit_job(session, &job, args.wait, format).await;
    }
    let aside = PutAside::of(session, &job).await?;
    let mut end = termination()?;
    let accepted = submit::submit(session, &job, &mut end).await;
    aside.resolve(session, &accepted).await?;
    accept(session, &accepted?, args.wait, format, &mut end).await
}

/// Submits a checked job, and perhaps waits for its end.
pub(super) async fn submit_job(
    session: &Session,
    job: &JobFile,
    wait: bool,
    format: Format,
) -> anyhow::Result<()> {
    let mut end = termination()?;
    let accepted = submit::submit(session, job, &mut end).await?;
    accept(session, &accepted, wait, format, &mut end).await
}

/// Tells the job's id, and perhaps waits for its end.
async fn accept(
    session: &Session,
    accepted: &JobAccepted,
    wait: bool,
    format: Format,
    end: &mut Termination,
) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            let mut out = std::io::stdout().lock();
            quiet_if_closed(writeln!(out, "{}", accepted.id).and_then(|()| out.flush()))?;
        }
        // One document: what has become of it, if that is waited for.
        Format::Json | Format::Yaml if !wait => format.print(accepted)?,
        Format::Json | Format::Yaml => crate::say::say!("{} is submitted", accepted.id),
    }
    if wait { wait_for(&session.jobs(), accepted.id, end, format).await } else { Ok(()) }
}

/// Waits for a job's end; it must have succeeded.
async fn wait_for(
    jobs: &Jobs,
    id: JobId,
    end: &mut Termination,
    format: Format,
) -> anyhow::Result<()> {
    let mut progress = JobProgress::new();
    let ended = end.or(submit::await_end(jobs, id, &mut progress)).await;
    let ended = ended.map_err(|by| {
        let again = format!("`howdah job wait {id}` waits for it again");
        Interrupted {
            by,
            remains: format!("{id} goes on: {again}, `howdah job kill {id}` ends it"),
        }
    })??;
    // What can't be asked is not said.
    let counters = jobs.counters(id).await.unwrap_or_default();
    let skipped = skipped(&ended, &counters).map_or_else(String::new, |said| format!(", {said}"));
    crate::say::say!("{id} {}{}{skipped}", ended.state.as_str(), after(&ended));
    if ended.state == JobState::Succeeded {
        sum_up(&ended, &counters);
    }
    if format.is_document() {
        format.print(&ended)?;
    }
    submit::must_have_succeeded(&ended)
}

/// What is said of records that a job has left out; nothing if there are none.
fn skipped(status: &JobStatus, counters: &JobCounters) -> Option<String> {
    let is_kept = status.state == JobState::Succeeded;
    skipped_records(counters, is_kept.then_some(&*status.output))
}

/// How many records were left out, and in which output they are kept, if there is one; nothing where none was.
pub(super) fn skipped_records(counters: &JobCounters, output: Option<&str>) -> Option<String> {
    let n: u64 = SKIPPED.iter().filter_map(|name| counters.counters.get(*name)).sum();
    let records = if n == 1 { "record" } else { "records" };
    match (n, output) {
        (0, _) => None,
        (_, Some(output)) => {
            let output = plain(output.trim_end_matches('/'));
            Some(format!("{n} {records} skipped, kept in {output}/{SKIPPED_OUTPUT}-*"))
        }
        (_, None) => Some(format!("{n} {records} skipped")),
    }
}

/// Says where the output is, and what was counted.
fn sum_up(ended: &JobStatus, counters: &JobCounters) {
    crate::say::say!("output   {}", ended.output);
    say_counters(counters);
}

/// Says the main counters of the runtime, and those of the program.
pub(super) fn say_counters(counters: &JobCounters) {
    let (own, others): (Vec<_>, Vec<_>) =
        counters.counters.iter().partition(|(name, _)| name.starts_with("task."));
    let main = own.into_iter().filter(|(name, _)| SUMMED_UP.contains(&name.as_str()));
    for (name, value) in main.chain(others.into_iter().take(SUMMED_UP_MAX)) {
        crate::say::say!("counter  {} {value}", plain(name));
    }
}

/// From the submit to the end, or to now.
pub(super) fn elapsed(status: &JobStatus) -> Duration {
    let until = status.finished_at.unwrap_or_else(clock::wall);
    Duration::from_millis(until.0.saturating_sub(status.submitted_at.0))
}

fn after(status: &JobStatus) -> String {
    match status.finished_at {
        Some(_) => format!(" after {}", shown::duration(elapsed(status))),
        None => String::new(),
    }
}

async fn show(jobs: &Jobs, id: JobId, watch: Watch, format: Format) -> anyhow::Result<()> {
    let look = async || {
        let status = jobs.status(id).await?;
        let text = match format.text_of(&status)? {
            Some(text) => text,
            None => {
                let counters = jobs.counters(id).await.unwrap_or_default();
                let (TaskCounts { running, attempts, .. }, reduces) = (status.maps, status.reduces);
                let listed = match running + reduces.running > 0
                    && attempts + reduces.attempts <= LISTED_MAX
                {
                    true => jobs.attempts(id).await.map_or(Vec::new(), |list| list.attempts),
                    false => Vec::new(),
                };
                lines_of(&status, &counters) + &said(&listed)
            }
        };
        Ok(Frame { text, is_last: has_ended(status.state) })
    };
    watch.show(look).await
}

fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Prep | JobState::Running => false,
        JobState::Succeeded | JobState::Failed | JobState::Killed => true,
    }
}

fn lines_of(status: &JobStatus, counters: &JobCounters) -> String {
    let paused = if status.paused { ", paused" } else { "" };
    let mut lines = vec![
        format!("id         {}", status.id),
        format!("name       {}", status.name),
        format!("state      {}{paused}", status.state.as_str()),
    ];
    if !status.owner.is_empty() {
        lines.push(format!("user       {}", plain(&status.owner)));
    }
    lines.push(format!("priority   {}", status.priority));
    lines.push(format!("pool       {}", status.pool));
    lines.push(format!("submitted  {}", shown::time(status.submitted_at)));
    lines.push(format!("elapsed    {}", shown::duration(elapsed(status))));
    lines.extend(status.waiting.iter().map(|waiting| format!("waits      {waiting}")));
    lines.extend(status.failure.iter().map(|failure| format!("failure    {failure}")));
    lines.push(format!("output     {}", status.output));
    let skipped = skipped(status, counters);
    lines.extend(skipped.iter().map(|skipped| format!("skipped    {skipped}")));
    let has_ended = has_ended(status.state);
    lines.push(format!("maps       {}", counts_line(status.maps, has_ended)));
    lines.push(format!("reduces    {}", counts_line(status.reduces, has_ended)));
    lines.join("\n") + "\n"
}

/// What running attempts say of themselves.
fn said(attempts: &[AttemptStatus]) -> String {
    let running = attempts.iter().filter(|it| it.state == AttemptState::Running);
    let says = |it: &AttemptStatus| {
        let text = plain(it.status.as_deref()?);
        Some(format!("says       {} on {}: {text}\n", it.attempt, it.host))
    };
    running.filter_map(says).take(SAYING_MAX).collect()
}

fn counts_line(counts: TaskCounts, has_ended: bool) -> String {
    let TaskCounts { total, waiting, running, succeeded, .. } = counts;
    let TaskCounts { attempts, failed_attempts, killed_attempts, lost_outputs, .. } = counts;
    // They have succeeded, and their tasks have not: without them the numbers would not add up.
    let lost = match lost_outputs {
        0 => String::new(),
        n => format!(", {n} whose output was lost"),
    };
    // Of a job that has ended nothing waits any more.
    let waits = if has_ended { "not run" } else { "waiting" };
    format!(
        "{succeeded} of {total} succeeded, {running} running, {waiting} {waits}; {attempts} attempts, \
         {failed_attempts} failed, {killed_attempts} killed{lost}; {} node-local, {} rack-local, {} off-rack",
        counts.node_local, counts.rack_local, counts.off_rack
    )
}

async fn history(jobs: &Jobs, id: JobId, format: Format) -> anyhow::Result<()> {
    let (job, attempts) = (jobs.history(id).await?, jobs.history_attempts(id).await?);
    if format.is_document() {
        return format.print(&json!({"job": job, "attempts": attempts}));
    }
    // Its counters follow.
    let counters = JobCounters { counters: job.counters.clone() };
    crate::say::tell!("{}", lines_of(&job.status, &counters).trim_end());
    let settings = &job.settings;
    crate::say::tell!(
        "ran with   {} reduces, {} tries of each task, backups {}, sharing {}, splits up to {} bytes",
        settings.reduces,
        settings.max_attempts,
        if settings.speculative { "on" } else { "off" },
        settings.sharing,
        settings.split_bytes
    );
    for (name, value) in &job.counters {
        crate::say::tell!("counter    {name} {value}");
    }
    let attempts: Vec<_> = attempts.into_iter().map(|attempt| attempt.status).collect();
    crate::say::tell!("");
    super::attempt::show_attempts(&attempts)
}

async fn counters(jobs: &Jobs, id: JobId, format: Format) -> anyhow::Result<()> {
    let counters = jobs.counters(id).await?;
    match format {
        Format::Json | Format::Yaml => format.print(&counters),
        Format::Table if counters.counters.is_empty() => {
            crate::say::say!("{id} has no counters: they come from tasks that succeed");
            Ok(())
        }
        Format::Table => {
            let mut out = std::io::stdout().lock();
            let mut lines = counters.counters.iter();
            quiet_if_closed(lines.try_for_each(|(name, value)| writeln!(out, "{name}\t{value}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_running_attempts_say_is_told() {
        let attempt = |n: u32, state: &str, status: Option<&str>| {
            let attempt = json!({
                "attempt": format!("attempt_20261122_0001_m_{n:06}_0"), "host": "host-1", "state": state, "status": status,
            });
            serde_json::from_value::<AttemptStatus>(attempt).unwrap()
        };
        let attempts = [
            attempt(0, "SUCCEEDED", Some("done")),
            attempt(1, "RUNNING", Some("half way")),
            attempt(2, "RUNNING", None),
            attempt(3, "RUNNING", Some("a\u{1b}b")),
        ];
        let expected = "says       attempt_20261122_0001_m_000001_0 on host-1: half way\n\
                        says       attempt_20261122_0001_m_000003_0 on host-1: a";
        assert!(said(&attempts).starts_with(expected), "{}", said(&attempts));
        assert_eq!(said(&vec![attempts[1].clone(); 99]).lines().count(), SAYING_MAX);
    }

    #[test]
    fn what_a_job_left_out_is_said_with_where_it_is_kept() {
        let counts = serde_json::to_value(TaskCounts::default()).unwrap();
        let status = |state: &str| {
            let status = json!({
                "id": "job_20261122_0001", "name": "n", "state": state, "output": "/out", "input_bytes": 0,
                "submitted_at": 0, "maps": counts, "reduces": counts,
            });
            serde_json::from_value::<JobStatus>(status).unwrap()
        };
        let counters = |maps: u64, reduces: u64| {
            let of = |n: usize, value| (SKIPPED[n].to_owned(), value);
            JobCounters { counters: [of(0, maps), of(1, reduces)].into() }
        };
        let said = |state, maps, reduces| skipped(&status(state), &counters(maps, reduces));
        assert_eq!(
            said("SUCCEEDED", 3, 1).as_deref(),
            Some("4 records skipped, kept in /out/_skipped-*")
        );
        assert_eq!(said("FAILED", 1, 0).as_deref(), Some("1 record skipped"));
        assert_eq!(said("SUCCEEDED", 0, 0), None);
        assert_eq!(skipped(&status("SUCCEEDED"), &JobCounters::default()), None);
    }
}
