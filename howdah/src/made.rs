//! What a put has made in the chunk store so far, and taking it back when it fails or is interrupted.
//! `copy` fills it in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::StorePath;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

/// Files removed at once.
const REMOVALS_AT_ONCE: usize = 16;
/// Time to take back what an interrupted put has made.
pub(crate) const UNDO_PATIENCE: Duration = Duration::from_secs(3);

/// What one put has made in the chunk store: that, and nothing that others have put beside it, is taken
/// back when it fails.
pub(crate) struct Made {
    target: StorePath,
    /// Folders above that were missing, innermost first.
    above: Vec<StorePath>,
    /// Its folders, each before what is in it, and its closed files. What is open is given up by whoever
    /// writes it: only so it is surely this put's.
    folders: Mutex<Vec<StorePath>>,
    files: Mutex<Vec<StorePath>>,
    /// Whether the writers are to give up.
    stop: watch::Sender<bool>,
}

impl Made {
    /// Nothing yet.
    pub(crate) fn new(target: StorePath, above: Vec<StorePath>) -> Self {
        let (folders, files) = (Mutex::default(), Mutex::default());
        Self { target, above, folders, files, stop: watch::Sender::new(false) }
    }

    pub(crate) fn add_folder(&self, path: &StorePath) {
        list(&self.folders).push(path.clone());
    }

    pub(crate) fn add_file(&self, path: &StorePath) {
        list(&self.files).push(path.clone());
    }

    /// Makes all writers give up.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) async fn stopped(&self) {
        // It can't fail: the sender lives as long as `self`.
        let mut stop = self.stop.subscribe();
        let _stopped = stop.wait_for(|stop| *stop).await;
    }

    /// Removes it; folders only where nobody has put anything else since.
    pub(crate) async fn undo(&self, store: &ChunkStore) -> Result<(), StoreError> {
        let removed = stream::iter(listed(&self.files))
            .map(|file| async move { remove(store, &file).await })
            .buffer_unordered(REMOVALS_AT_ONCE);
        removed.try_collect::<()>().await?;
        for folder in listed(&self.folders).iter().rev() {
            remove(store, folder).await?;
        }
        for folder in &self.above {
            if store.delete(folder, false).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes it, and says what is left of it and of what was put before.
    pub(crate) async fn remains(&self, store: &ChunkStore, stays: &[String]) -> String {
        let target = &self.target;
        let undone = tokio::time::timeout(UNDO_PATIENCE, self.undo(store)).await;
        let mut remains = match undone {
            Ok(Ok(())) => format!("nothing is left at {target}"),
            _ => format!("part of it may be left: `howdah fs rm -r {target}` removes it"),
        };
        if !stays.is_empty() {
            remains.push_str("; what was put before stays: ");
            remains.push_str(&stays.join(", "));
        }
        remains
    }
}

fn list(paths: &Mutex<Vec<StorePath>>) -> MutexGuard<'_, Vec<StorePath>> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listed(paths: &Mutex<Vec<StorePath>>) -> Vec<StorePath> {
    list(paths).clone()
}

/// What somebody else has removed, or put something into, is not this put's to remove.
async fn remove(store: &ChunkStore, path: &StorePath) -> Result<(), StoreError> {
    match store.delete(path, false).await {
        Err(StoreError::NotFound { .. } | StoreError::FolderNotEmpty { .. }) => Ok(()),
        removed => removed,
    }
}
