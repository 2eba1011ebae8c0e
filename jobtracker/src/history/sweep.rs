//! Removes histories that are older than they are kept for, a whole day at once, and what else nobody needs any more.

use std::time::Duration;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::StorePath;
use ids::UnixMillis;
use jobtracker_core::{day_folder, first_day_kept};

use super::read::{days, find, jobs_with_early_logs};
use super::{HistoryError, early};
use crate::store::Store;

/// Time from one look to the next.
const EVERY: Duration = Duration::from_hours(1);

/// Looks again and again, for ever.
pub(crate) async fn sweep_again_and_again(store: Store, keep: Duration) {
    loop {
        if let Err(error) = sweep(&store.patient(), clock::wall(), keep).await {
            tracing::warn!(%error, "old histories were not removed");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes the days before the first one that is kept.
pub(crate) async fn sweep(
    store: &ChunkStore,
    now: UnixMillis,
    keep: Duration,
) -> Result<(), HistoryError> {
    // A log may have come while its job's history was written.
    for job in jobs_with_early_logs(store).await? {
        if find(store, job).await?.is_some() {
            early::remove(store, job).await?;
        }
    }
    let first_kept = first_day_kept(now, keep);
    for day in days(store).await?.into_iter().filter(|day| *day < first_kept) {
        let folder: StorePath = day_folder(day).parse()?;
        remove(store, &folder, true).await?;
        tracing::info!(%folder, "histories of a day are no longer kept");
        // Those above, if that was the last in them.
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
