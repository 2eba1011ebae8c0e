//! What is made in the chunk store by one command: in folders, several files at once, taken back when it fails or
//! is interrupted.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, StorePath};
use futures_util::{StreamExt, stream};

use super::{CopyOptions, Tree, kind_at};
use crate::exit::Interrupted;
use crate::made::{Made, UNDO_PATIENCE};
use crate::progress::ByteProgress;
use crate::signals::{Caught, Termination};

/// One command's work.
pub(super) struct Making<'a> {
    pub(super) store: &'a ChunkStore,
    pub(super) options: &'a CopyOptions,
    pub(super) made: Made,
    pub(super) progress: ByteProgress,
}

impl Making<'_> {
    /// Does the work, and takes back what it made where it failed or was interrupted.
    pub(super) async fn run(
        &self,
        verb: &str,
        work: impl Future<Output = Result<(), StoreError>>,
        end: &mut Termination,
    ) -> anyhow::Result<()> {
        let copied = self.until(work, end).await;
        self.progress.finish();
        match copied {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // Best effort: the failure itself is reported.
                self.made.undo(self.store).await.ok();
                Err(error).with_context(|| format!("cannot {verb} {}", self.made.shown()))
            }
            Err(by) => {
                let remains = self.made.remains(self.store).await;
                Err(Interrupted { by, remains }.into())
            }
        }
    }

    async fn until(
        &self,
        work: impl Future<Output = Result<(), StoreError>>,
        end: &mut Termination,
    ) -> Result<Result<(), StoreError>, Caught> {
        let mut work = std::pin::pin!(work);
        match end.or(&mut work).await {
            Ok(done) => Ok(done),
            Err(caught) => {
                self.made.stop();
                // Requests under way have a moment for their answers, which say what was made.
                let _late = tokio::time::timeout(UNDO_PATIENCE, work).await;
                Err(caught)
            }
        }
    }

    /// Makes the folders, and then the files, each by `file`; which is told whether to make missing folders.
    pub(super) async fn tree<From>(
        &self,
        tree: &Tree<From, StorePath>,
        file: impl AsyncFn(&From, &StorePath, bool) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if let Some(above) = tree.folders.first().and_then(StorePath::parent) {
            self.store.mkdir(&above, true).await?;
        }
        for folder in &tree.folders {
            if self.made.is_stopped() {
                return Ok(());
            }
            self.folder(folder).await?;
        }
        // Without parents, a request that arrives after the folder was taken back makes nothing.
        let parents = tree.folders.is_empty();
        let failed = Mutex::new(None);
        let made =
            stream::iter(&tree.files).for_each_concurrent(self.options.at_once, |(from, path)| {
                let (failed, file) = (&failed, &file);
                async move {
                    if self.made.is_stopped() {
                        return;
                    }
                    if let Err(error) = file(from, path, parents).await {
                        self.made.stop();
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        made.await;
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    async fn folder(&self, folder: &StorePath) -> Result<(), StoreError> {
        // Without parents, so that a folder that exists is refused.
        match self.store.mkdir(folder, false).await {
            Err(StoreError::AlreadyExists { .. })
                if self.options.replace
                    && matches!(kind_at(self.store, folder).await?, Some(FileKind::Folder)) =>
            {
                Ok(())
            }
            made => {
                made?;
                self.made.add_folder(folder);
                Ok(())
            }
        }
    }
}

/// The folders above `path` that are missing, innermost first.
pub(super) async fn missing_above(
    store: &ChunkStore,
    path: &StorePath,
) -> Result<Vec<StorePath>, StoreError> {
    let mut above = Vec::new();
    let mut next = path.parent();
    while let Some(folder) = next {
        match kind_at(store, &folder).await {
            Ok(None) => {}
            // What the caller may not look at is not the caller's to take back.
            Ok(Some(_)) | Err(StoreError::Forbidden { .. }) => break,
            Err(error) => return Err(error),
        }
        next = folder.parent();
        above.push(folder);
    }
    Ok(above)
}
