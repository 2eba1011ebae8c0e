//! Removes histories after their retention time, a whole day at once, and logs that are no longer
//! needed.

use std::time::Duration;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::StorePath;
use ids::UnixMillis;
use jobtracker_core::{Input, Query, Refusal, day_folder, first_day_kept};
use mapreduce_protocol::JobId;

use super::read::{days, find, jobs_with_early_logs};
use super::{HistoryError, early};
use crate::event_loop::{AskError, CoreHandle};
use crate::store::Store;

/// Time between two sweeps.
const EVERY: Duration = Duration::from_hours(1);

/// Sweeps regularly, for ever.
pub(crate) async fn sweep_again_and_again(core: CoreHandle, store: Store, keep: Duration) {
    loop {
        let is_known = |job| is_known(&core, job);
        if let Err(error) = sweep(&store.patient(), clock::wall(), keep, is_known).await {
            tracing::warn!(%error, "old histories were not removed");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether the core still knows the job: it runs, or its history is still to be written.
async fn is_known(core: &CoreHandle, job: JobId) -> Result<bool, HistoryError> {
    let query = Query::Status { job, wait: None };
    match core.ask(|reply_to| Input::Query { query, reply_to }).await {
        Ok(_) => Ok(true),
        Err(AskError::Refused(Refusal::NoSuchJob { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes the days before the first one that is kept, and early logs whose history exists or never
/// will.
pub(crate) async fn sweep<F>(
    store: &ChunkStore,
    now: UnixMillis,
    keep: Duration,
    is_known: impl Fn(JobId) -> F,
) -> Result<(), HistoryError>
where
    F: Future<Output = Result<bool, HistoryError>>,
{
    let first_kept = first_day_kept(now, keep);
    for job in jobs_with_early_logs(store).await? {
        // A log may have arrived while its job's history was being written; or the JobTracker lost
        // its journal.
        let is_of_no_use =
            find(store, job).await?.is_some() || (job.date < first_kept && !is_known(job).await?);
        if is_of_no_use {
            early::remove(store, job).await?;
        }
    }
    for day in days(store).await?.into_iter().filter(|day| *day < first_kept) {
        let folder: StorePath = day_folder(day).parse()?;
        remove(store, &folder, true).await?;
        tracing::info!(%folder, "histories of a day are no longer kept");
        // The month and the year too, if that was their last folder.
        let mut above = folder.parent();
        for _ in ["month", "year"] {
            let Some(folder) = above else { break };
            match remove(store, &folder, false).await {
                Ok(()) => above = folder.parent(),
                Err(HistoryError::Store(error))
                    if matches!(*error, StoreError::FolderNotEmpty { .. }) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn remove(
    store: &ChunkStore,
    folder: &StorePath,
    recursive: bool,
) -> Result<(), HistoryError> {
    match store.delete_for_good(folder, recursive).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
