//! `chunkmaster --init`: mints the cluster's id and writes it as the journal's first record. Nothing
//! else ever makes a cluster, so that a lost disk is never taken for an empty one.

use std::path::Path;
use std::sync::mpsc;

use chunkstore_core::master::Record;
use event_loop::encode_record;
use ids::ClusterId;
use journal::{AppendError, Durability, FoldError, Journal, JournalError, OpenError, Options};

use super::MasterFold;

/// Why there is no new cluster.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
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

/// Makes a new cluster in an empty folder, and returns its id once that is on disk. Blocks.
///
/// An earlier call that was cut off before it had written the id is completed.
///
/// # Errors
/// When the folder holds a cluster already, or can't be written.
pub fn init(data_dir: &Path, journal_segment_bytes: u64) -> Result<ClusterId, InitError> {
    let options = Options { segment_bytes: journal_segment_bytes };
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
    let (fold, mut journal) = recovered.fold::<MasterFold>()?;
    if let Some(error) = exists.filter(|_| fold != MasterFold::default()) {
        return Err(error.into());
    }
    let cluster: ClusterId = format!("cluster-{}", net::random_hex(8))
        .parse()
        .expect("hexadecimal digits are allowed in cluster ids");
    journal.append(&encode_record(&Record::ClusterInitialised { cluster: cluster.clone() }))?;
    journal.flush();
    match durability.recv() {
        Ok(Durability::Synced(_)) => Ok(cluster),
        Ok(Durability::Failed(error)) => Err(error.into()),
        Err(mpsc::RecvError) => Err(InitError::Ended),
    }
}
