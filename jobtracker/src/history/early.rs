//! Logs of attempts that fail while their job goes on are copied into the chunk store at once, as
//! their hosts may be gone when the job ends. Best effort: nothing waits for it, and nothing is
//! retried.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{PathError, StorePath};
use clock::Stopwatch;
use mapreduce_protocol::{AttemptId, HISTORY_ROOT, JobId};
use tokio::sync::mpsc;

use super::logs::{LOGS_MAX, LogFetcher};
use super::{HistoryError, log_name};
use crate::store::Store;

/// Limit on the logs waiting to be copied; others are only looked for at the end of their jobs.
pub(crate) const QUEUE: usize = 1000;
/// Folder of these logs by job, below [`HISTORY_ROOT`].
const FOLDER: &str = "failed";
/// Limit on the jobs whose logs are counted.
const JOBS_MAX: usize = 10_000;
/// How long a TaskTracker that did not answer is skipped: logs behind it in the queue would have to
/// wait too.
const SILENT_FOR: Duration = Duration::from_mins(5);

/// Copies the logs one after the other. Ends with the loop.
pub(crate) async fn keep_all(mut asked: mpsc::Receiver<(AttemptId, String)>, store: Store) {
    let mut kept: BTreeMap<JobId, u32> = BTreeMap::new();
    let mut silent: BTreeMap<String, Stopwatch> = BTreeMap::new();
    while let Some((attempt, address)) = asked.recv().await {
        silent.retain(|_, since| since.elapsed() < SILENT_FOR);
        if silent.contains_key(&address) {
            continue;
        }
        if kept.get(&attempt.task.job) == Some(&LOGS_MAX) {
            continue;
        }
        let mut fetcher = LogFetcher::new(store.client());
        let Ok(log) = fetcher.fetch(Some(&address), attempt).await else {
            if fetcher.is_silent(&address) {
                silent.insert(address, Stopwatch::start());
            }
            continue;
        };
        if let Err(error) = keep(&store, attempt, log).await {
            tracing::debug!(%attempt, %error, "a failed attempt's log is not kept yet");
            continue;
        }
        *kept.entry(attempt.task.job).or_default() += 1;
        if kept.len() > JOBS_MAX {
            kept.pop_first();
        }
    }
}

async fn keep(store: &Store, attempt: AttemptId, log: Vec<u8>) -> Result<(), HistoryError> {
    let path = folder(attempt.task.job)?.join(&log_name(attempt))?;
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    store.prompt().write_all(&path, log, options).await?;
    Ok(())
}

/// The folder for logs of a job that has not ended, or whose history is not yet written.
pub(super) fn folder(job: JobId) -> Result<StorePath, PathError> {
    root()?.join(&job.to_string())
}

pub(super) fn root() -> Result<StorePath, PathError> {
    format!("{HISTORY_ROOT}/{FOLDER}").parse()
}

/// Removes the logs saved early, once the job's history is written.
pub(super) async fn remove(store: &ChunkStore, job: JobId) -> Result<(), HistoryError> {
    match store.delete_for_good(&folder(job)?, true).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
