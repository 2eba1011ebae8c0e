//! `howdah job logs`: what attempts wrote, once or as they write it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use mapreduce_protocol::{AttemptId, AttemptState, AttemptStatus, JobId};
use serde_json::json;

use super::Format;
use crate::exit::{early, sentence};
use crate::jobs::Jobs;
use crate::say::{quiet_if_closed, say, tell};

/// How often it is looked for more.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes by which a later state of a log is laid on an earlier one, where its middle was dropped since.
const OVERLAP_BYTES: usize = 4096;

/// Arguments of `job logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The job
    id: JobId,
    /// One attempt; all of them if left out
    attempt: Option<AttemptId>,
    /// Failed attempts alone
    #[arg(long)]
    failed: bool,
    /// Go on with what is written, until the job, or the attempt, is over
    #[arg(short, long)]
    follow: bool,
}

/// Runs it.
pub(super) async fn run(jobs: &Jobs, args: &LogsArgs, format: Format) -> anyhow::Result<()> {
    match (args.follow, format) {
        (true, Format::Json | Format::Yaml) => {
            Err(early(anyhow!("--follow prints text, not one document")))
        }
        (true, Format::Table) => follow(jobs, args).await,
        (false, format) => print(jobs, args, format).await,
    }
}

/// The attempts that are meant.
async fn attempts_of(jobs: &Jobs, args: &LogsArgs) -> anyhow::Result<Vec<AttemptStatus>> {
    let LogsArgs { id, attempt, failed, .. } = args;
    let mut attempts = jobs.attempts(*id).await?.attempts;
    if let Some(attempt) = attempt {
        attempts.retain(|status| status.attempt == *attempt);
        if attempts.is_empty() {
            return Err(anyhow!("{id} has no attempt {attempt}: `howdah job logs {id}` shows all"));
        }
    }
    attempts.retain(|status| !failed || status.state == AttemptState::Failed);
    Ok(attempts)
}

async fn print(jobs: &Jobs, args: &LogsArgs, format: Format) -> anyhow::Result<()> {
    let (mut documents, mut n_written, mut n_missing) = (Vec::new(), 0, 0);
    let attempts = attempts_of(jobs, args).await?;
    for status in &attempts {
        let log = log_of(jobs, status).await;
        if let (Err(error), Some(_)) = (&log, args.attempt) {
            return Err(anyhow!("{}: {}", status.attempt, sentence(error)));
        }
        if format.is_document() {
            let (log, error) = match log {
                Ok(log) => (Some(String::from_utf8_lossy(&log).into_owned()), None),
                Err(error) => (None, Some(sentence(&error))),
            };
            let (attempt, host) = (status.attempt, &status.host);
            let document = json!({"attempt": attempt, "host": host, "split": status.split, "log": log, "error": error});
            documents.push(document);
            continue;
        }
        match log {
            Ok(log) if log.is_empty() => {}
            Ok(log) => {
                n_written += 1;
                if args.attempt.is_none() {
                    head(status);
                }
                quiet_if_closed(std::io::stdout().lock().write_all(&log))?;
            }
            Err(error) => {
                n_missing += 1;
                say!("{}: {}", status.attempt, sentence(&error));
            }
        }
    }
    if format.is_document() {
        return format.print(&json!({"logs": documents}));
    }
    if n_written == 0 {
        let failed = if args.failed { " failed" } else { "" };
        let (n, all) = (attempts.len() - n_missing, attempts.len());
        let logs = if n_missing == 0 {
            format!("{all}{failed} attempts")
        } else {
            format!("{n} of {all}{failed} attempts whose logs are still there")
        };
        say!("howdah: none of {logs} has written anything");
    }
    Ok(())
}

fn head(status: &AttemptStatus) {
    let reads = status.split.as_ref().map(|split| format!(", {split}")).unwrap_or_default();
    tell!("==== {} on {}{reads} ====", status.attempt, status.host);
}

/// What was printed of an attempt's log.
#[derive(Default)]
struct Followed {
    printed: Vec<u8>,
    is_over: bool,
}

async fn follow(jobs: &Jobs, args: &LogsArgs) -> anyhow::Result<()> {
    let mut all: BTreeMap<AttemptId, Followed> = BTreeMap::new();
    let mut last = None;
    loop {
        let job_is_over = jobs.status(args.id).await?.state.is_final();
        let attempts = attempts_of(jobs, args).await?;
        for status in &attempts {
            let followed = all.entry(status.attempt).or_default();
            if followed.is_over {
                continue;
            }
            // What it wrote up to its end is there now.
            followed.is_over = status.state != AttemptState::Running;
            let log = match log_of(jobs, status).await {
                Ok(log) => log,
                Err(error) => {
                    if followed.is_over {
                        say!("{}: {}", status.attempt, sentence(&error));
                    }
                    continue;
                }
            };
            let more = news(&followed.printed, &log);
            if more.is_empty() {
                continue;
            }
            if args.attempt.is_none() && last.replace(status.attempt) != Some(status.attempt) {
                head(status);
            }
            let mut out = std::io::stdout().lock();
            if let Err(error) = out.write_all(more).and_then(|()| out.flush()) {
                return quiet_if_closed(Err(error));
            }
            followed.printed = log;
        }
        let one_is_over = args.attempt.is_some() && all.values().all(|it| it.is_over);
        if job_is_over || one_is_over && !all.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

/// What `now` has that `before`, an earlier state of the log, has not. Of a long log the middle is dropped.
fn news<'a>(before: &[u8], now: &'a [u8]) -> &'a [u8] {
    if let Some(more) = now.strip_prefix(before) {
        return more;
    }
    let end = &before[before.len().saturating_sub(OVERLAP_BYTES)..];
    let same = before.iter().zip(now).take_while(|(a, b)| a == b).count();
    let found = now[same..].windows(end.len().max(1)).rposition(|window| window == end);
    found.map_or(&now[same..], |at| &now[same + at + end.len()..])
}

/// What the attempt wrote, from its TaskTracker, which bounds it (`tasktracker.log_bytes_max`); else what is kept of it.
async fn log_of(jobs: &Jobs, status: &AttemptStatus) -> anyhow::Result<Vec<u8>> {
    let why = match jobs.log(status.attempt).await {
        Ok(log) => return Ok(log),
        Err(error) if status.address.is_some() => error.into(),
        Err(_) => anyhow!("its TaskTracker on {} is lost, and its log", status.host),
    };
    // That it is not kept either says less than why it is not there.
    let mut response = jobs.kept_log(status.attempt).await.map_err(|_| why)?;
    let mut log = Vec::new();
    while let Some(piece) = response.chunk().await.context("the log broke off")? {
        log.extend_from_slice(&piece);
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_that_grows_only_what_is_new_is_printed() {
        let long = |c: char| c.to_string().repeat(OVERLAP_BYTES);
        let (a, b, c, d) = (long('a'), long('b'), long('c'), long('d'));
        for (before, now, expected) in [
            (String::new(), "x".to_owned(), "x".to_owned()),
            ("x\n".to_owned(), "x\ny\n".to_owned(), "y\n".to_owned()),
            ("x".to_owned(), "x".to_owned(), String::new()),
            // The middle is gone, and the end of what was printed is still there.
            (format!("{a}{b}{c}"), format!("{a}[…]{c}{d}"), d.clone()),
            // Or is not.
            (format!("{a}{b}"), format!("{a}[…]{c}{d}"), format!("[…]{c}{d}")),
        ] {
            let found = news(before.as_bytes(), now.as_bytes());
            assert!(found == expected.as_bytes(), "{}", String::from_utf8_lossy(found));
        }
    }
}
