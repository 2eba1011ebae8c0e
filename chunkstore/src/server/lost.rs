//! What becomes of a replica that can't be served: it is set aside, in the trash of its disk, and reported as lost. Reads, copies
//! and the scrubber call this.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use chunkstore_core::replica::{Input, ReplicaKey};

use super::data_dir::OpenError;
use super::download::{Breakage, DownloadError};
use super::trash::Why;
use super::{Server, metrics};

/// If the replica is broken, sets it aside and tells the master, through the core. Not if another file has come in place of
/// the one that was read: that one was given up before.
pub(super) async fn give_up(
    server: &Arc<Server>,
    replica: ReplicaKey,
    file: Option<&Arc<File>>,
    cause: Breakage,
) -> DownloadError {
    if matches!(cause, Breakage::Open(OpenError::Missing)) {
        report_lost(server, replica, None).await;
        return DownloadError::Unknown(replica);
    }
    if !cause.is_of_the_replica() {
        tracing::error!(chunk = %replica.chunk, %cause, "a replica can't be read just now");
        return DownloadError::Failed { replica, cause };
    }
    if server.disks.find(replica).is_some() {
        tracing::error!(chunk = %replica.chunk, %cause, "a replica is broken");
    }
    report_lost(server, replica, file.cloned()).await;
    DownloadError::Broken { replica, cause }
}

/// Sets a replica aside that can't be served, if it is held, and reports it as lost. Goes on to its end whatever becomes of
/// who asked: a replica that is set aside and not reported would be counted on for ever.
async fn report_lost(server: &Arc<Server>, replica: ReplicaKey, file: Option<Arc<File>>) {
    let server = Arc::clone(server);
    let reporting = tokio::spawn(async move {
        let is_other = match server.disks.find(replica) {
            Some(dir) => {
                let footers = Arc::clone(&server.footers);
                let mut setting = dir.begin(move |dir| {
                    let is_other = file.is_some_and(|file| dir.has_other(replica, &file));
                    if !is_other {
                        footers.forget(replica);
                        dir.set_aside(replica, Why::Broken);
                        metrics::observe_broken();
                    }
                    is_other
                });
                setting.answer().await.unwrap_or(false)
            }
            None => false,
        };
        // Whether or not the file could be renamed, it is lost. A daemon that is stopping reports everything that it holds
        // at its next start.
        if !is_other {
            let _ = server.replicas.tell(Input::Lost { replica }).await;
        }
    });
    // It ends by a panic at most.
    let _ = reporting.await;
}

/// A file that is left as it is: what it is can't be told.
pub(super) fn not_served(path: &Path, error: &dyn fmt::Display) {
    tracing::error!(path = %path.display(), %error, "a file of this chunkserver is not served");
}
