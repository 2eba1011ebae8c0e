//! `howdah job`: submit a job, look at it, wait for it, end it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptStatus, JobId, JobStatus, Priority, TaskCounts, TaskId,
};
use serde_json::json;

use super::{Format, Global, print_json, runtime, shown};
use crate::exit::{Interrupted, OrEarly, sentence};
use crate::job_file::JobFile;
use crate::jobs::Jobs;
use crate::progress::JobProgress;
use crate::say::quiet_if_closed;
use crate::session::Session;
use crate::signals::{Termination, termination};
use crate::submit;

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
        /// The job, YAML or JSON
        file: PathBuf,
        /// Wait for its end; exit code 1 unless it succeeds
        #[arg(long)]
        wait: bool,
    },
    /// List the jobs, newest first
    List {
        /// Also those that the JobTracker has forgotten since they ended, from the chunk store
        #[arg(long)]
        all: bool,
    },
    /// Show a job's state
    Status {
        /// The job
        id: JobId,
    },
    /// Wait for a job's end; exit code 1 unless it succeeds
    Wait {
        /// The job
        id: JobId,
    },
    /// End a job
    Kill {
        /// The job
        id: JobId,
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
    Logs {
        /// The job
        id: JobId,
        /// One attempt; all of them if left out
        attempt: Option<AttemptId>,
    },
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

/// Runs `job`.
pub(crate) fn run(args: JobArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        match args.action {
            Action::Submit { file, wait } => submit(&session, &file, wait, format).await,
            Action::List { all } => list(&jobs, all, format).await,
            Action::Status { id } => show(&jobs.status(id).await?, format),
            Action::Wait { id } => {
                // A JobTracker that goes away is waited for; one that is not there is not.
                jobs.status(id).await?;
                wait_for(&jobs, id, &mut termination()?, format).await
            }
            Action::Kill { id } => done(&jobs.kill(id).await?, "ends", format),
            Action::Pause { id, now } => done(&jobs.pause(id, now).await?, "is paused", format),
            Action::Resume { id } => {
                let status = jobs.resume(id).await?;
                let what = if status.paused { "stays paused with its pool" } else { "goes on" };
                done(&status, what, format)
            }
            Action::Explain { id, task } => {
                super::explain::print(&jobs.explain(id, task).await?, format)
            }
            Action::Priority { id, priority } => {
                let status = jobs.set_priority(id, priority).await?;
                done(&status, &format!("has priority {priority}"), format)
            }
            Action::Logs { id, attempt } => logs(&jobs, id, attempt, format).await,
            Action::History { id } => history(&jobs, id, format).await,
            Action::Counters { id } => counters(&jobs, id, format).await,
        }
    });
    done.map_err(|error| session.explain(error))
}

/// Says what a job does now.
fn done(status: &JobStatus, what: &str, format: Format) -> anyhow::Result<()> {
    crate::say::say!("{} {what}", status.id);
    if format == Format::Json { print_json(status) } else { Ok(()) }
}

async fn submit(session: &Session, file: &Path, wait: bool, format: Format) -> anyhow::Result<()> {
    let job = JobFile::read(file).or_early()?;
    job.check_for_cluster().or_early()?;
    submit_job(session, &job, wait, format).await
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
    match format {
        Format::Text => {
            let mut out = std::io::stdout().lock();
            quiet_if_closed(writeln!(out, "{}", accepted.id).and_then(|()| out.flush()))?;
        }
        Format::Json => print_json(&accepted)?,
    }
    // Its answer is printed already.
    let quiet = Format::Text;
    if wait { wait_for(&session.jobs(), accepted.id, &mut end, quiet).await } else { Ok(()) }
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
    crate::say::say!("{id} {}{}", ended.state.as_str(), after(&ended));
    if format == Format::Json {
        print_json(&ended)?;
    }
    submit::must_have_succeeded(&ended)
}

/// From the submit to the end, or to now.
fn elapsed(status: &JobStatus) -> Duration {
    let until = status.finished_at.unwrap_or_else(clock::wall);
    Duration::from_millis(until.0.saturating_sub(status.submitted_at.0))
}

fn after(status: &JobStatus) -> String {
    match status.finished_at {
        Some(_) => format!(" after {}", shown::duration(elapsed(status))),
        None => String::new(),
    }
}

async fn list(jobs: &Jobs, all: bool, format: Format) -> anyhow::Result<()> {
    let mut list = jobs.list().await?;
    if all {
        let known: BTreeSet<_> = list.jobs.iter().map(|job| job.id).collect();
        let kept = jobs.history_list().await?.jobs;
        list.jobs.extend(kept.into_iter().filter(|job| !known.contains(&job.id)));
        list.jobs.sort_by_key(|job| std::cmp::Reverse(job.id.ordinal));
    }
    if format == Format::Json {
        return print_json(&list);
    }
    let done = |counts: TaskCounts| format!("{}/{}", counts.succeeded, counts.total);
    let line = |columns: [&str; 7]| {
        let [id, state, submitted, elapsed, maps, reduces, name] = columns;
        format!(
            "{id:17}  {state:9}  {submitted:20}  {elapsed:>18}  {maps:>9}  {reduces:>9}  {name}\n"
        )
    };
    let mut text = String::new();
    for job in &list.jobs {
        if text.is_empty() {
            let head = ["JOB", "STATE", "SUBMITTED", "ELAPSED", "MAPS", "REDUCES", "NAME"];
            text = line(head);
        }
        text.push_str(&line([
            &job.id.to_string(),
            if job.paused { "PAUSED" } else { job.state.as_str() },
            &shown::time(job.submitted_at),
            &shown::duration(elapsed(job)),
            &done(job.maps),
            &done(job.reduces),
            &job.name,
        ]));
    }
    quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

fn show(status: &JobStatus, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return print_json(status);
    }
    crate::say::tell!("id         {}", status.id);
    crate::say::tell!("name       {}", status.name);
    let paused = if status.paused { ", paused" } else { "" };
    crate::say::tell!("state      {}{paused}", status.state.as_str());
    crate::say::tell!("priority   {}", status.priority);
    crate::say::tell!("pool       {}", status.pool);
    crate::say::tell!("submitted  {}", shown::time(status.submitted_at));
    crate::say::tell!("elapsed    {}", shown::duration(elapsed(status)));
    if let Some(waiting) = &status.waiting {
        crate::say::tell!("waits      {waiting}");
    }
    if let Some(failure) = &status.failure {
        crate::say::tell!("failure    {failure}");
    }
    crate::say::tell!("output     {}", status.output);
    crate::say::tell!("maps       {}", counts_line(status.maps));
    crate::say::tell!("reduces    {}", counts_line(status.reduces));
    Ok(())
}

fn counts_line(counts: TaskCounts) -> String {
    let TaskCounts { total, waiting, running, succeeded, .. } = counts;
    let TaskCounts { attempts, failed_attempts, killed_attempts, .. } = counts;
    format!(
        "{succeeded} of {total} succeeded, {running} running, {waiting} waiting; {attempts} attempts, \
         {failed_attempts} failed, {killed_attempts} killed; {} node-local, {} rack-local, {} off-rack",
        counts.node_local, counts.rack_local, counts.off_rack
    )
}

async fn logs(
    jobs: &Jobs,
    id: JobId,
    only: Option<AttemptId>,
    format: Format,
) -> anyhow::Result<()> {
    let AttemptList { mut attempts } = jobs.attempts(id).await?;
    if let Some(attempt) = only {
        attempts.retain(|status| status.attempt == attempt);
        if attempts.is_empty() {
            return Err(anyhow!("{id} has no attempt {attempt}: `howdah job logs {id}` shows all"));
        }
    }
    let mut documents = Vec::new();
    for status in &attempts {
        let log = log_of(jobs, status).await;
        if let (Err(error), Some(_)) = (&log, only) {
            return Err(anyhow!("{}: {}", status.attempt, sentence(error)));
        }
        if format == Format::Json {
            let (log, error) = match log {
                Ok(log) => (Some(String::from_utf8_lossy(&log).into_owned()), None),
                Err(error) => (None, Some(sentence(&error))),
            };
            let (attempt, host) = (status.attempt, &status.host);
            let document = json!({"attempt": attempt, "host": host, "split": status.split, "log": log, "error": error});
            documents.push(document);
            continue;
        }
        if only.is_none() {
            let reads = status.split.as_ref().map(|split| format!(", {split}")).unwrap_or_default();
            crate::say::tell!("==== {} on {}{reads} ====", status.attempt, status.host);
        }
        match log {
            Ok(log) => quiet_if_closed(std::io::stdout().lock().write_all(&log))?,
            Err(error) => crate::say::say!("{}: {}", status.attempt, sentence(&error)),
        }
    }
    if format == Format::Json { print_json(&json!({"logs": documents})) } else { Ok(()) }
}

/// What the attempt wrote, from its TaskTracker, which bounds it (`tasktracker.log_bytes_max`); else what is kept of it.
async fn log_of(jobs: &Jobs, status: &AttemptStatus) -> anyhow::Result<Vec<u8>> {
    let there = match &status.address {
        Some(tracker) => jobs.log(tracker, status.attempt).await.map_err(anyhow::Error::from),
        None => Err(anyhow!("its TaskTracker on {} is lost, and its log", status.host)),
    };
    let mut response = match there {
        Ok(response) => response,
        // That it is not kept either says less than why it is not there.
        Err(why) => jobs.kept_log(status.attempt).await.map_err(|_| why)?,
    };
    let mut log = Vec::new();
    while let Some(piece) = response.chunk().await.context("the log broke off")? {
        log.extend_from_slice(&piece);
    }
    Ok(log)
}

async fn history(jobs: &Jobs, id: JobId, format: Format) -> anyhow::Result<()> {
    let (job, attempts) = (jobs.history(id).await?, jobs.history_attempts(id).await?);
    if format == Format::Json {
        return print_json(&json!({"job": job, "attempts": attempts}));
    }
    show(&job.status, format)?;
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
        Format::Json => print_json(&counters),
        Format::Text => {
            let mut out = std::io::stdout().lock();
            let mut lines = counters.counters.iter();
            quiet_if_closed(lines.try_for_each(|(name, value)| writeln!(out, "{name}\t{value}")))
        }
    }
}
