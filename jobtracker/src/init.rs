//! `jobtracker --init`: asks the chunk master which cluster this is, and writes the answer as the
//! journal's first record. Without it, an empty folder is never taken for an empty cluster.

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{ClusterInfo, StorePath};
use daemon::Shutdown;
use ids::ClusterId;
use jobtracker_core::Record;
use journal::{OpenError, Sequence};
use net::CallError;

use crate::store::Store;
use crate::{JobFold, JobtrackerSettings};

/// The chunk store folder that has one folder for each journal of the cluster's JobTrackers.
pub(crate) const JOURNALS: &str = "/.howdah/jobtracker-journals";
/// Limit on the journals of one cluster: each numbers jobs from a base that its predecessor cannot
/// have reached.
const JOURNALS_MAX: usize = 4000;

/// Why no journal was initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The chunk master does not say which cluster it is.
    #[error("the chunk master does not say which cluster this is: {0}")]
    Cluster(#[from] CallError),
    /// The chunk store does not record that the cluster has one more journal.
    #[error("the chunk store does not number the JobTracker's journal: {0}")]
    Number(Box<StoreError>),
    /// Shut down before the chunk master answered.
    #[error(
        "stopped while waiting for the chunk master at {chunkmaster}; nothing was written: start it, then this again"
    )]
    Stopped {
        /// `host:port` of the chunk master.
        chunkmaster: String,
    },
    /// The journal cannot be created or opened, mostly because there is one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(event_loop::InitError),
    /// The writing thread ended without an error.
    #[error("the journal's writer ended before the first record was synced; see the log")]
    Ended,
}

impl From<event_loop::InitError> for InitError {
    fn from(error: event_loop::InitError) -> Self {
        match error {
            event_loop::InitError::Open(error) => Self::Open(error),
            error => Self::Journal(error),
        }
    }
}

/// Makes an empty data folder a member of the chunk store's cluster, and returns that cluster's id
/// once it is on disk. Waits for the chunk master for as long as other calls are retried, and says
/// so, or until `shutdown`.
///
/// Completes an earlier call that was cut off before it had written the id.
///
/// # Errors
/// When a folder already holds a journal or cannot be written, or the chunk master does not answer.
pub async fn init(
    settings: &JobtrackerSettings,
    shutdown: &Shutdown,
) -> Result<ClusterId, InitError> {
    let (folders, options) = (settings.folders(), settings.journal());
    // Checked before the cluster is asked, as that uses up a journal number.
    for dir in folders.iter() {
        if journal::verify(dir).is_ok_and(|report| report.last > Sequence(0)) {
            return Err(OpenError::Exists { dir: dir.to_owned() }.into());
        }
    }
    let (cluster, former_journals) = tokio::select! {
        answer = join(settings) => answer?,
        () = shutdown.wait() => {
            return Err(InitError::Stopped { chunkmaster: settings.chunkmaster.clone() });
        }
    };
    let first = Record::Initialised { cluster: cluster.clone(), former_journals };
    let write = move || event_loop::init::<JobFold>(folders, options, &first);
    tokio::task::spawn_blocking(write).await.map_err(|_panicked| InitError::Ended)??;
    Ok(cluster)
}

/// The chunk store's cluster, and the number of its earlier journals.
async fn join(settings: &JobtrackerSettings) -> Result<(ClusterId, u32), InitError> {
    let store = Store::new(settings);
    let cluster = ask_patiently(settings, &store).await?;
    let number = number_journal(&store.patient()).await;
    let former_journals = number.map_err(|error| InitError::Number(Box::new(error)))?;
    Ok((cluster, former_journals))
}

/// Numbers the new journal, from 0, by making a folder that only one caller can make. (A number
/// whose journal was never written stays unused, which is harmless.)
async fn number_journal(store: &ChunkStore) -> Result<u32, StoreError> {
    let all: StorePath = JOURNALS.parse().expect("a constant path");
    store.mkdir(&all, true).await?;
    let mut number = store.list_all(&all, JOURNALS_MAX).await?.len();
    loop {
        let own = all.join(&number.to_string()).expect("a number is a name");
        match store.mkdir(&own, false).await {
            Ok(()) => return Ok(u32::try_from(number).unwrap_or(u32::MAX)),
            Err(StoreError::AlreadyExists { .. }) => number += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn ask_patiently(
    settings: &JobtrackerSettings,
    store: &Store,
) -> Result<ClusterId, CallError> {
    let mut said = false;
    let say = |error: &CallError| {
        if !std::mem::replace(&mut said, true) {
            let patience = settings.retry_for.as_secs();
            tracing::warn!(
                "waiting up to {patience} s for the chunk master, which says which cluster this is: {error}"
            );
        }
        true
    };
    net::retrying_while(say, settings.retry_for, || ask_cluster(store)).await
}

/// The cluster of the chunk master, asked once.
pub(crate) async fn ask_cluster(store: &Store) -> Result<ClusterId, CallError> {
    let info: ClusterInfo = store.client().get(store.master(), "/v1/cluster").await?;
    Ok(info.cluster)
}
