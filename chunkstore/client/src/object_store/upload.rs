//! Multipart uploads. Each part is a file beside the target; completing the upload makes one file
//! of their chunks. An upload that nobody completes or aborts leaves its parts for some time, as
//! `.upload-…` files that listings of folders show (`abandoned.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkstore_protocol::{CONCAT_PARTS_MAX, Replace, StorePath};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutMode, PutPayload, PutResult, Result, UploadPart};

use super::names::Names;
use super::{AT_ONCE, ChunkObjectStore, meta};
use crate::StoreError;

/// Entries requested in one page.
pub(super) const PAGE_ENTRIES: u32 = 1000;

impl ChunkObjectStore {
    pub(super) async fn put_one_part(
        &self,
        location: &Path,
        upload: &str,
        payload: PutPayload,
    ) -> Result<PartId> {
        let part = Names::new_part();
        let path = Names::part(&self.names.object(location)?, upload, &part)?;
        self.write(&path, payload).await.map_err(|error| meta::failed(location, error))?;
        Ok(PartId { content_id: part })
    }

    /// Makes the object appear, in one step. Other parts of the upload are removed.
    pub(super) async fn complete_upload(
        &self,
        location: &Path,
        upload: &str,
        parts: &[PartId],
    ) -> Result<PutResult> {
        let path = self.names.object(location)?;
        let files = parts.iter().map(|part| Names::part(&path, upload, &part.content_id));
        let files = files.collect::<Result<Vec<_>>>()?;
        let done = match files.is_empty() {
            true => self.put_object(location, PutPayload::default(), PutMode::Overwrite).await?,
            false => {
                let files = self.few((location, &path), upload, files).await?;
                let whole = self.store.concat(&files, &path, Replace::Always, true).await;
                meta::put_result(&whole.map_err(|error| incomplete(location, error))?)
            }
        };
        // The object is there, whatever happens here.
        let _ = self.remove_parts(location, upload).await;
        self.sweep_abandoned(&path).await;
        Ok(done)
    }

    /// Joins files until there are few enough for one concat.
    async fn few(
        &self,
        (location, path): (&Path, &StorePath),
        upload: &str,
        mut files: Vec<StorePath>,
    ) -> Result<Vec<StorePath>> {
        while files.len() > CONCAT_PARTS_MAX {
            let mut fewer = Vec::new();
            for some in files.chunks(CONCAT_PARTS_MAX) {
                let one = Names::part(path, upload, &Names::new_part())?;
                let made = self.store.concat(some, &one, Replace::Never, true).await;
                made.map_err(|error| incomplete(location, error))?;
                fewer.push(one);
            }
            files = fewer;
        }
        Ok(files)
    }

    /// Removes all parts of an upload; it is no error if there are none.
    pub(super) async fn remove_parts(&self, location: &Path, upload: &str) -> Result<()> {
        let path = self.names.object(location)?;
        let prefix = Names::parts(&path, upload)?;
        let folder = path.parent().unwrap_or_else(StorePath::root);
        loop {
            let page = match self.store.list(&folder, Some(prefix.clone()), PAGE_ENTRIES).await {
                Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => return Ok(()),
                page => page.map_err(|error| meta::failed(location, error))?,
            };
            let entries = page.entries.into_iter().map(|entry| entry.path);
            let is_part = |file: &StorePath| {
                file.name().is_some_and(|name| name.starts_with(prefix.as_str()))
            };
            let parts: Vec<_> = entries.take_while(is_part).collect();
            if parts.is_empty() {
                return Ok(());
            }
            let removals = parts.into_iter().map(|part| self.remove_part(location, part));
            let removals: Vec<_> = removals.collect();
            stream::iter(removals).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
    }

    async fn remove_part(&self, location: &Path, part: StorePath) -> Result<()> {
        match self.store.delete_for_good(&part, false).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(meta::failed(location, error)),
        }
    }
}

/// A missing part is not a missing object.
fn incomplete(location: &Path, error: StoreError) -> Error {
    match error {
        StoreError::NotFound { .. } => meta::generic(error),
        error => meta::failed(location, error),
    }
}

/// An upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    store: ChunkObjectStore,
    location: Path,
    id: String,
    /// Each part, once it is written.
    parts: Arc<Mutex<Vec<Option<PartId>>>>,
}

impl Upload {
    pub(super) fn new(store: ChunkObjectStore, location: Path) -> Result<Self> {
        store.names.object(&location)?;
        Ok(Self { store, location, id: Names::new_upload(), parts: Arc::default() })
    }

    fn written(&self) -> Result<Vec<PartId>> {
        let parts = lock(&self.parts).clone();
        let whole: Option<Vec<_>> = parts.into_iter().collect();
        whole.ok_or_else(|| {
            meta::generic(format!(
                "the upload of {} has parts that are not written: wait for each of them first",
                self.location
            ))
        })
    }
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (store, location, id) = (self.store.clone(), self.location.clone(), self.id.clone());
        let parts = Arc::clone(&self.parts);
        let at = lock(&parts).len();
        lock(&parts).push(None);
        Box::pin(async move {
            let part = store.put_one_part(&location, &id, payload).await?;
            if let Some(place) = lock(&parts).get_mut(at) {
                *place = Some(part);
            }
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = self.written()?;
        self.store.complete_upload(&self.location, &self.id, &parts).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.remove_parts(&self.location, &self.id).await
    }
}

/// The lock is never held across an await.
fn lock(parts: &Mutex<Vec<Option<PartId>>>) -> MutexGuard<'_, Vec<Option<PartId>>> {
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}
