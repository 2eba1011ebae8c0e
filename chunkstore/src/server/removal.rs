//! Removes replicas as the core decides: outside the event loop, and for each disk separately, so that
//! a disk that hangs does not delay the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use chunkstore_core::replica::{CommandNumber, Input, ReplicaKey};

use super::Server;
use super::data_dir::DataDir;
use super::trash::Why;

/// What is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doomed {
    pub(super) command: CommandNumber,
    pub(super) replica: ReplicaKey,
    /// It goes to the trash.
    pub(super) orphan: bool,
}

/// Begins to remove them. The core hears of each that is gone.
pub(super) fn begin(server: &Arc<Server>, doomed: Vec<Doomed>) {
    let mut by_disk = BTreeMap::<_, (Arc<DataDir>, Vec<Doomed>)>::new();
    for it in doomed {
        let (cut, log) = (server.unfinished.take(it.replica), server.logs.take(it.replica));
        match server.disks.find(it.replica) {
            Some(dir) if cut.is_none() && log.is_none() => {
                let of_disk = by_disk.entry(dir.root().to_owned());
                of_disk.or_insert_with(|| (Arc::clone(dir), Vec::new())).1.push(it);
            }
            dir => {
                let (server, dir) = (Arc::clone(server), dir.cloned());
                tokio::spawn(async move {
                    // Before the core hears of it: the same replica may be sent here anew then.
                    if let Some(cut) = cut {
                        cut.discard().await;
                    }
                    if let Some(log) = log {
                        log.discard().await;
                    }
                    remove(&server, dir.as_ref(), it).await;
                });
            }
        }
    }
    for (dir, doomed) in by_disk.into_values() {
        let server = Arc::clone(server);
        tokio::spawn(async move {
            // One after the other, so that thousands of removals do not crowd out reads.
            for it in doomed {
                remove(&server, Some(&dir), it).await;
            }
        });
    }
}

async fn remove(server: &Server, dir: Option<&Arc<DataDir>>, doomed: Doomed) {
    let Doomed { command, replica, orphan } = doomed;
    let why = if orphan { Why::Orphan } else { Why::Removed };
    if let Some(dir) = dir {
        // Best effort: what a disk that hangs held is lost.
        let _ = dir.begin(move |dir| dir.set_aside(replica, why)).end().await;
    }
    server.footers.forget(replica);
    // A loop that is gone needs no word.
    let _ = server.replicas.tell(Input::Deleted { command, replica }).await;
}
