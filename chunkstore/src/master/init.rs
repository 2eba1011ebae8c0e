//! `chunkmaster --init`: mints the cluster's id and writes it as the journal's first record.
//! Nothing else ever creates a cluster.

use chunkstore_core::master::Record;
use event_loop::{Folders, InitError};
use ids::ClusterId;
use journal::Options;

use super::MasterFold;

/// Creates a cluster in an empty folder, or in two, and returns its id once that is on disk.
/// Blocks.
///
/// If an earlier call was interrupted before it wrote the id, this completes it.
///
/// # Errors
/// When a folder holds a cluster already, or can't be written to.
pub fn init(
    folders: impl Into<Folders>,
    journal_segment_bytes: u64,
) -> Result<ClusterId, InitError> {
    let options = Options::with_segments(journal_segment_bytes);
    let cluster: ClusterId = format!("cluster-{}", net::random_hex(8))
        .parse()
        .expect("hexadecimal digits are allowed in cluster ids");
    let record = Record::ClusterInitialised { cluster: cluster.clone() };
    event_loop::init::<MasterFold>(folders, options, &record)?;
    Ok(cluster)
}
