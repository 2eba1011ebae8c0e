//! Whether this JobTracker's journal is the newest of its cluster. One that starts over an older copy would give out
//! epochs, job ids and the stamps of their publications a second time: a job could succeed with the output of another.
//! The chunk store is the witness: it has a folder for the last start of each journal, which no other start can make,
//! and what jobs leave there has their ids. (A copy that was taken since the last start, where no job was accepted
//! after that, is not told apart; it has given out nothing a second time.)

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileStatus, StorePath};
use ids::Epoch;
use jobtracker_core::STAGING_ROOT;
use mapreduce_protocol::JobId;

use crate::history::HistoryError;
use crate::history::read::last_jobs;
use crate::init::JOURNALS;

/// Entries of a folder that are looked at. A journal's has its last start alone, and that of staging folders one for each
/// unfinished job: fewer than this.
const ENTRIES_MAX: usize = 20_000;
/// Each journal of a cluster has so many epochs of its own: an epoch divided by this is its journal's number.
const EPOCHS_PER_JOURNAL: u64 = jobtracker_core::EPOCHS_PER_JOURNAL;

/// What this process has begun with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Its own.
    pub(crate) epoch: Epoch,
    /// Of the first job that it may accept.
    pub(crate) next_ordinal: u32,
}

/// How it is known that the journal is older than the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OlderBy {
    /// There was a later start.
    #[error("the chunk store knows a start of epoch {theirs} of it, and this one is epoch {ours}")]
    Start {
        /// The last one.
        theirs: Epoch,
        /// This one.
        ours: Epoch,
    },
    /// There is a job that it never accepted.
    #[error("the chunk store knows {job}, which is not in it")]
    Job {
        /// The job.
        job: JobId,
    },
}

/// Looks for what only a newer journal knows, and leaves word of this start for those to come. `newest` is the last
/// job that this process has accepted, asked when the chunk store has told all.
///
/// # Errors
/// The chunk store can't be asked. Nothing is decided then.
pub(crate) async fn find_newer(
    store: &ChunkStore,
    beginning: Beginning,
    newest: impl AsyncFnOnce() -> Result<Option<JobId>, HistoryError>,
) -> Result<Option<OlderBy>, HistoryError> {
    let Beginning { epoch, next_ordinal } = beginning;
    let staging: StorePath = STAGING_ROOT.parse()?;
    let staged = entries(store, &staging).await?;
    let staged = staged.iter().filter_map(|entry| entry.path.name()?.parse::<JobId>().ok());
    let last = staged.chain(last_jobs(store).await?).max_by_key(|job| job.ordinal);
    let accepted = newest().await?.map_or(0, |job| job.ordinal);
    if let Some(job) = last.filter(|job| job.ordinal >= next_ordinal && job.ordinal > accepted) {
        return Ok(Some(OlderBy::Job { job }));
    }
    let journal = (epoch.0 / EPOCHS_PER_JOURNAL).to_string();
    let journal = JOURNALS.parse::<StorePath>()?.join(&journal)?;
    store.mkdir(&journal, true).await?;
    let starts = entries(store, &journal).await?;
    let epoch_of = |start: &FileStatus| start.path.name()?.parse().ok().map(Epoch);
    if let Some(theirs) = starts.iter().filter_map(epoch_of).max().filter(|last| *last >= epoch) {
        return Ok(Some(OlderBy::Start { theirs, ours: epoch }));
    }
    match store.mkdir(&journal.join(&epoch.to_string())?, false).await {
        Err(StoreError::AlreadyExists { .. }) => {
            return Ok(Some(OlderBy::Start { theirs: epoch, ours: epoch }));
        }
        made => made?,
    }
    for start in starts {
        match store.delete_for_good(&start.path, true).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

async fn entries(store: &ChunkStore, folder: &StorePath) -> Result<Vec<FileStatus>, HistoryError> {
    match store.list_all(folder, ENTRIES_MAX).await {
        Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
        entries => Ok(entries?),
    }
}
