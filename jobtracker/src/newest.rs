//! Checks that this JobTracker's journal is the newest of its cluster. A JobTracker started on an
//! older copy would reuse epochs, job ids and publication stamps: a job could succeed with the
//! output of another one. The evidence is in the chunk store: a folder for the last start of each
//! journal, which no other start can make, and files of jobs named by their ids. (A copy taken
//! since the last start, if no job was accepted afterwards, is not detected; it has not reused
//! anything.)

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileStatus, StorePath};
use ids::Epoch;
use jobtracker_core::STAGING_ROOT;
use mapreduce_protocol::JobId;

use crate::history::HistoryError;
use crate::history::read::last_jobs;
use crate::init::JOURNALS;

/// Limit on the entries of a folder that are read. A journal's folder has only its last start, and
/// the staging root one entry per unfinished job: both are below this.
const ENTRIES_MAX: usize = 20_000;
/// Random bytes that identify a start.
const MARK_BYTES: usize = 16;
/// Number of epochs per journal: an epoch divided by this is its journal's number.
const EPOCHS_PER_JOURNAL: u64 = jobtracker_core::EPOCHS_PER_JOURNAL;

/// What this process started with.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// Its epoch.
    epoch: Epoch,
    /// The ordinal of the first job that it may accept.
    next_ordinal: u32,
    /// Name of the single entry in its start's folder. No other process knows it.
    mark: String,
}

impl Beginning {
    pub(crate) fn new(epoch: Epoch, next_ordinal: u32) -> Self {
        Self { epoch, next_ordinal, mark: net::random_hex(MARK_BYTES) }
    }
}

/// Evidence that the journal is older than the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OlderBy {
    /// There was a later start.
    #[error("the chunk store knows a start of epoch {theirs} of it, and this one is epoch {ours}")]
    Start {
        /// Epoch of the last start.
        theirs: Epoch,
        /// Epoch of this start.
        ours: Epoch,
    },
    /// There is a job that is not in the journal.
    #[error("the chunk store knows {job}, which is not in it")]
    Job {
        /// The job.
        job: JobId,
    },
}

/// Looks for traces of a newer journal, and leaves a mark of this start for later ones. `newest`
/// returns the last job that this process has accepted; it is called after the chunk store was
/// read. After a failure this may be called again with the same beginning: the mark left by the
/// earlier call is this start's own.
///
/// # Errors
/// The chunk store could not be read; nothing is decided then.
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

/// Makes the folder of a start, unless there is one of that epoch; it appears with its mark in it,
/// or not at all.
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
