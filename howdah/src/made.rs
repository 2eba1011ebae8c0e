//! What a copy has made in the chunk store so far, and taking it back when it fails or is interrupted.
//! `copy` fills it in, and the verbs of `fs` that copy within the chunk store.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::StorePath;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

/// Files removed at once.
const REMOVALS_AT_ONCE: usize = 16;
/// Time to take back what an interrupted copy has made.
pub(crate) const UNDO_PATIENCE: Duration = Duration::from_secs(3);
/// Targets that a message names.
const SHOWN_MAX: usize = 3;

/// What one copy has made in the chunk store: that, and nothing that others have put beside it, is taken
/// back when it fails.
pub(crate) struct Made {
    targets: Vec<StorePath>,
    /// Folders above that were missing, innermost first.
    above: Vec<StorePath>,
    /// Its folders, each before what is in it, and its closed files. What is open is given up by whoever
    /// writes it: only so it is surely this copy's.
    folders: Mutex<Vec<StorePath>>,
    files: Mutex<BTreeSet<StorePath>>,
    /// Files that took others' place: what was there can't be brought back.
    replaced: Mutex<Vec<StorePath>>,
    /// Whether the writers are to give up.
    stop: watch::Sender<bool>,
}

impl Made {
    /// Nothing yet.
    pub(crate) fn new(targets: Vec<StorePath>, above: Vec<StorePath>) -> Self {
        let stop = watch::Sender::new(false);
        let (folders, files, replaced) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { targets, above, folders, files, replaced, stop }
    }

    pub(crate) fn add_folder(&self, path: &StorePath) {
        lock(&self.folders).push(path.clone());
    }

    pub(crate) fn add_file(&self, path: &StorePath) {
        lock(&self.files).insert(path.clone());
    }

    /// The file `written` has taken the place of what stood at `path`, if anything did: it stays.
    pub(crate) fn has_replaced(&self, path: &StorePath) {
        lock(&self.replaced).push(path.clone());
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

    /// Where it goes, as a message says it.
    pub(crate) fn shown(&self) -> String {
        shown(&self.targets)
    }

    /// Removes it; folders only where nobody has put anything else since.
    pub(crate) async fn undo(&self, store: &ChunkStore) -> Result<(), StoreError> {
        let files = lock(&self.files).clone();
        let removed = stream::iter(files)
            .map(|file| async move { remove(store, &file).await })
            .buffer_unordered(REMOVALS_AT_ONCE);
        removed.try_collect::<()>().await?;
        let folders = lock(&self.folders).clone();
        for folder in folders.iter().rev() {
            remove(store, folder).await?;
        }
        for folder in &self.above {
            if store.delete_for_good(folder, false).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes it, and says what is left.
    pub(crate) async fn remains(&self, store: &ChunkStore) -> String {
        let undone = tokio::time::timeout(UNDO_PATIENCE, self.undo(store)).await;
        let at = self.shown();
        let replaced = lock(&self.replaced).clone();
        match undone {
            Ok(Ok(())) if replaced.is_empty() => format!("nothing is left at {at}"),
            Ok(Ok(())) => format!("what was whole stays: {}", shown(&replaced)),
            _ => format!("part of it may be left: `howdah fs rm -r` removes it at {at}"),
        }
    }
}

fn shown(paths: &[StorePath]) -> String {
    let mut shown =
        paths.iter().take(SHOWN_MAX).map(StorePath::as_str).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN_MAX {
        shown.push_str(&format!(" and {} more", paths.len() - SHOWN_MAX));
    }
    shown
}

fn lock<T>(paths: &Mutex<T>) -> MutexGuard<'_, T> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody else has removed, or put something into, is not this copy's to remove.
async fn remove(store: &ChunkStore, path: &StorePath) -> Result<(), StoreError> {
    match store.delete_for_good(path, false).await {
        Err(StoreError::NotFound { .. } | StoreError::FolderNotEmpty { .. }) => Ok(()),
        removed => removed,
    }
}
