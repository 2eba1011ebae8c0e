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
/// Random bytes that mark a start.
const MARK_BYTES: usize = 16;
/// Each journal of a cluster has so many epochs of its own: an epoch divided by this is its journal's number.
const EPOCHS_PER_JOURNAL: u64 = jobtracker_core::EPOCHS_PER_JOURNAL;

/// What this process has begun with.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// Its own.
    epoch: Epoch,
    /// Of the first job that it may accept.
    next_ordinal: u32,
    /// Name of the one entry of its start's folder. No other process knows it.
    mark: String,
}

impl Beginning {
    pub(crate) fn new(epoch: Epoch, next_ordinal: u32) -> Self {
        Self { epoch, next_ordinal, mark: net::random_hex(MARK_BYTES) }
    }
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
/// job that this process has accepted, asked when the chunk store has told all. May be called again when it has failed, with
/// the same beginning: what an earlier call has left there is this start's own.
///
/// # Errors
/// The chunk store can't be asked. Nothing is decided then.
pub(crate) async fn find_newer(
    store: &ChunkStore,
    beginning: &Beginning,
    newest: impl AsyncFnOnce() -> Result<Option<JobId>, HistoryError>,
) -> Result<Option<OlderBy>, HistoryError> {
    let Beginning { epoch, next_ordinal, mark } = beginning;
    let staging: StorePath = STAGING_ROOT.parse()?;
    let staged = entries(store, &staging).await?;
    let staged = staged.iter().filter_map(|entry| entry.path.name()?.parse::<JobId>().ok());
    let last = staged.chain(last_jobs(store).await?).max_by_key(|job| job.ordinal);
    let accepted = newest().await?.map_or(0, |job| job.ordinal);
    if let Some(job) = last.filter(|job| job.ordinal >= *next_ordinal && job.ordinal > accepted) {
        return Ok(Some(OlderBy::Job { job }));
    }
    let journal = (epoch.0 / EPOCHS_PER_JOURNAL).to_string();
    let journal = JOURNALS.parse::<StorePath>()?.join(&journal)?;
    store.mkdir(&journal, true).await?;
    let starts = entries(store, &journal).await?;
    let epoch_of = |start: &FileStatus| start.path.name()?.parse().ok().map(Epoch);
    let theirs = starts.iter().filter_map(epoch_of).max().filter(|last| last >= epoch);
    let own = journal.join(&epoch.to_string())?;
    if theirs.is_none() {
        begin(store, &journal, &own, mark).await?;
    }
    let theirs = theirs.unwrap_or(*epoch);
    let is_marked = |entry: &FileStatus| entry.path.name() == Some(mark.as_str());
    if theirs > *epoch || !entries(store, &own).await?.iter().any(is_marked) {
        return Ok(Some(OlderBy::Start { theirs, ours: *epoch }));
    }
    for start in starts.iter().filter(|start| start.path != own) {
        match store.delete_for_good(&start.path, true).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Makes the folder of a start, if there is none of that epoch: with its mark in it, or not at all.
async fn begin(
    store: &ChunkStore,
    journal: &StorePath,
    own: &StorePath,
    mark: &str,
) -> Result<(), HistoryError> {
    let unmade = journal.join(&format!("starting-{mark}"))?;
    store.mkdir(&unmade.join(mark)?, true).await?;
    match store.rename(&unmade, own).await {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        renamed => Ok(renamed?),
    }
}

async fn entries(store: &ChunkStore, folder: &StorePath) -> Result<Vec<FileStatus>, HistoryError> {
    match store.list_all(folder, ENTRIES_MAX).await {
        Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
        entries => Ok(entries?),
    }
}
