//! `jobtracker --init`: asks the chunk master which cluster this is, and writes the answer as the
//! journal's first record. An empty folder is never taken for an empty cluster otherwise.

use std::path::Path;
use std::sync::mpsc;

use chunkstore_protocol::ClusterInfo;
use clock::Stopwatch;
use daemon::Shutdown;
use event_loop::encode_record;
use ids::ClusterId;
use jobtracker_core::Record;
use journal::{AppendError, Durability, FoldError, Journal, JournalError, OpenError, Options};
use net::{Backoff, CallError};

use crate::store::Store;
use crate::{JobFold, JobtrackerSettings};

/// Why the folder holds no journal now.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The chunk master does not say which cluster it is.
    #[error("the chunk master does not say which cluster this is: {0}")]
    Cluster(#[from] CallError),
    /// Whoever started it wants it to end before the chunk master has answered.
    #[error(
        "stopped while waiting for the chunk master at {chunkmaster}; nothing was written: start it, then this again"
    )]
    Stopped {
        /// `host:port` of the chunk master.
        chunkmaster: String,
    },
    /// The journal can't be made or opened; mostly, because there is one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in the folder can't be read.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The first record is not taken.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The first record can't be synced.
    #[error(transparent)]
    Sync(#[from] JournalError),
    /// The journal's thread is gone without a word.
    #[error("the journal ended before its first record was synced; see the log")]
    Ended,
}

/// Makes an empty data folder a member of the chunk store's cluster, whose id is returned once it is on
/// disk. Waits for the chunk master as long as other calls are retried, and says so, or until `shutdown`.
///
/// An earlier call that was cut off before it had written the id is completed.
///
/// # Errors
/// When the folder holds a journal already or can't be written, or the chunk master does not answer.
pub async fn init(
    settings: &JobtrackerSettings,
    shutdown: &Shutdown,
) -> Result<ClusterId, InitError> {
    let cluster = tokio::select! {
        answer = ask_patiently(settings) => answer?,
        () = shutdown.wait() => {
            return Err(InitError::Stopped { chunkmaster: settings.chunkmaster.clone() });
        }
    };
    let (data_dir, options, id) = (settings.data_dir.clone(), settings.journal(), cluster.clone());
    let written = tokio::task::spawn_blocking(move || write(&data_dir, options, id)).await;
    written.map_err(|_panicked| InitError::Ended)??;
    Ok(cluster)
}

async fn ask_patiently(settings: &JobtrackerSettings) -> Result<ClusterId, CallError> {
    let store = Store::new(settings);
    let waiting = Stopwatch::start();
    let mut backoff = Backoff::default();
    let mut said = false;
    loop {
        match ask_cluster(&store).await {
            Err(error) if error.is_transient() && waiting.elapsed() < settings.retry_for => {
                if !std::mem::replace(&mut said, true) {
                    let patience = settings.retry_for.as_secs();
                    tracing::warn!(
                        "waiting up to {patience} s for the chunk master, which says which cluster this is: {error}"
                    );
                }
                backoff.pause().await;
            }
            answer => return answer,
        }
    }
}

/// The cluster of the chunk master, asked once.
pub(crate) async fn ask_cluster(store: &Store) -> Result<ClusterId, CallError> {
    let info: ClusterInfo = store.client().get(store.master(), "/v1/cluster").await?;
    Ok(info.cluster)
}

fn write(data_dir: &Path, options: Options, cluster: ClusterId) -> Result<(), InitError> {
    let exists = match Journal::create(data_dir, options) {
        Ok(()) => None,
        Err(error @ OpenError::Exists { .. }) => Some(error),
        Err(error) => return Err(error.into()),
    };
    let (sender, durability) = mpsc::channel();
    let tell = move |word| {
        // Nobody waits for what comes after the first record.
        let _done = sender.send(word);
    };
    let recovered = Journal::open(data_dir, options, Box::new(tell))?;
    let (fold, mut journal) = recovered.fold::<JobFold>()?;
    if let Some(error) = exists.filter(|_| fold != JobFold::default()) {
        return Err(error.into());
    }
    journal.append(&encode_record(&Record::Initialised { cluster }))?;
    journal.flush();
    match durability.recv() {
        Ok(Durability::Synced(_)) => Ok(()),
        Ok(Durability::Failed(error)) => Err(error.into()),
        Err(mpsc::RecvError) => Err(InitError::Ended),
    }
}
