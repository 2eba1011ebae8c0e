//! `howdah job`: submit a job, look at it, wait for it, end it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use mapreduce_protocol::{AttemptId, AttemptList, JobId, JobStatus, TaskCounts};

use super::{Format, Global, print_json, runtime};
use crate::exit::{Interrupted, OrEarly};
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
    List,
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
    /// Print what attempts of a job wrote to standard output and error
    Logs {
        /// The job
        id: JobId,
        /// One attempt; all of them if left out
        attempt: Option<AttemptId>,
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
    runtime::on_this_thread(async {
        let jobs = session.jobs();
        match args.action {
            Action::Submit { file, wait } => submit(&session, &file, wait, format).await,
            Action::List => list(&jobs, format).await,
            Action::Status { id } => show(&jobs.status(id).await?, format),
            Action::Wait { id } => {
                // A JobTracker that goes away is waited for; one that is not there is not.
                jobs.status(id).await?;
                wait_for(&jobs, id, &mut termination()?).await
            }
            Action::Kill { id } => {
                jobs.kill(id).await?;
                crate::say::say!("{id} ends");
                Ok(())
            }
            Action::Logs { id, attempt } => logs(&jobs, id, attempt).await,
            Action::Counters { id } => counters(&jobs, id, format).await,
        }
    })
}

async fn submit(session: &Session, file: &Path, wait: bool, format: Format) -> anyhow::Result<()> {
    let job = JobFile::read(file).or_early()?;
    job.check_for_cluster().or_early()?;
    let mut end = termination()?;
    let accepted = submit::submit(session, &job, &mut end).await?;
    match format {
        Format::Text => {
            let mut out = std::io::stdout().lock();
            quiet_if_closed(writeln!(out, "{}", accepted.id).and_then(|()| out.flush()))?;
        }
        Format::Json => print_json(&accepted)?,
    }
    if wait { wait_for(&session.jobs(), accepted.id, &mut end).await } else { Ok(()) }
}

/// Waits for a job's end; it must have succeeded.
async fn wait_for(jobs: &Jobs, id: JobId, end: &mut Termination) -> anyhow::Result<()> {
    let mut progress = JobProgress::new();
    let ended = end.or(submit::await_end(jobs, id, &mut progress)).await;
    let ended = ended.map_err(|by| {
        let again = format!("`howdah job wait {id}` waits for it again");
        Interrupted {
            by,
            remains: format!("{id} goes on: {again}, `howdah job kill {id}` ends it"),
        }
    })??;
    crate::say::say!("{id} {}{}", ended.state.as_str(), duration_of(&ended));
    submit::must_have_succeeded(&ended)
}

fn duration_of(status: &JobStatus) -> String {
    let Some(finished) = status.finished_at else { return String::new() };
    let duration = Duration::from_millis(finished.0.saturating_sub(status.submitted_at.0));
    format!(" after {}", humantime::format_duration(duration))
}

async fn list(jobs: &Jobs, format: Format) -> anyhow::Result<()> {
    let list = jobs.list().await?;
    match format {
        Format::Json => print_json(&list),
        Format::Text => {
            let mut out = std::io::stdout().lock();
            let written = list.jobs.iter().try_for_each(|job| {
                writeln!(
                    out,
                    "{}  {:9}  maps {}/{}  reduces {}/{}  {}",
                    job.id,
                    job.state.as_str(),
                    job.maps.succeeded,
                    job.maps.total,
                    job.reduces.succeeded,
                    job.reduces.total,
                    job.name
                )
            });
            quiet_if_closed(written)
        }
    }
}

fn show(status: &JobStatus, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return print_json(status);
    }
    crate::say::tell!("id       {}", status.id);
    crate::say::tell!("name     {}", status.name);
    crate::say::tell!("state    {}{}", status.state.as_str(), duration_of(status));
    if let Some(failure) = &status.failure {
        crate::say::tell!("failure  {failure}");
    }
    if let Some(waiting) = &status.waiting {
        crate::say::tell!("waits    {waiting}");
    }
    crate::say::tell!("output   {}", status.output);
    crate::say::tell!("maps     {}", counts_line(status.maps));
    crate::say::tell!("reduces  {}", counts_line(status.reduces));
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

async fn logs(jobs: &Jobs, id: JobId, only: Option<AttemptId>) -> anyhow::Result<()> {
    let AttemptList { attempts } = jobs.attempts(id).await?;
    if let Some(attempt) = only
        && !attempts.iter().any(|status| status.attempt == attempt)
    {
        return Err(anyhow!("{id} has no attempt {attempt}: `howdah job logs {id}` shows all"));
    }
    let wanted = attempts.iter().filter(|status| only.is_none_or(|only| only == status.attempt));
    for status in wanted {
        let attempt = status.attempt;
        if only.is_none() {
            crate::say::tell!("==== {attempt} on {} ====", status.host);
        }
        match &status.address {
            None => crate::say::say!(
                "{attempt}: its TaskTracker on {} is lost, and its log",
                status.host
            ),
            Some(tracker) => match print_log(jobs, tracker, attempt).await {
                Err(error) if only.is_none() => crate::say::say!("{attempt}: {error:#}"),
                printed => printed?,
            },
        }
    }
    Ok(())
}

async fn print_log(jobs: &Jobs, tracker: &str, attempt: AttemptId) -> anyhow::Result<()> {
    let mut log = jobs.log(tracker, attempt).await?;
    while let Some(piece) = log.chunk().await.context("the log broke off")? {
        let written = std::io::stdout().lock().write_all(&piece);
        quiet_if_closed(written)?;
    }
    Ok(())
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
