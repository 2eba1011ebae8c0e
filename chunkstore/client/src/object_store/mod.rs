//! A folder of the chunk store behind the interface of the crate `object_store`, for programs
//! written against that. The crate defines what each call means; this is how it is done with files:
//!
//! - An object is a closed file. A put writes a complete file under a temporary name beside its
//!   target (`names.rs`), which the master renames over the target in one step: readers see the old
//!   object or the new one.
//! - An e-tag is the file's id with its length: another file has another id, and an append makes
//!   another length.
//! - A multipart upload keeps its parts as files beside the target; when it is completed, the
//!   master makes one file of their chunks, without reading them (`upload.rs`).

mod abandoned;
mod get;
mod list;
mod meta;
mod names;
mod put;
mod upload;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::{Replace, StorePath};
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result,
};

use crate::{ChunkStore, StoreError};
use names::Names;

/// Requests or removals that one call runs concurrently.
const AT_ONCE: usize = 8;

/// The files below one folder, as objects.
///
/// A name belongs to a file or to a folder: where there is an object `a`, there can't be an object
/// `a/b`. Folders are created where objects need them, stay when their last object is removed, and
/// are not listed while they are empty. Objects' attributes and older versions are not kept: asking
/// for them is an error. Clones share the store.
#[derive(Clone, Debug)]
pub struct ChunkObjectStore {
    store: ChunkStore,
    names: Names,
    abandoned_after: Duration,
}

impl ChunkObjectStore {
    /// The files below `root`, which need not exist yet.
    #[must_use]
    pub fn new(store: ChunkStore, root: StorePath) -> Self {
        Self { store, names: Names::new(root), abandoned_after: abandoned::ABANDONED_AFTER }
    }

    /// Sets the time after its last part at which a multipart upload counts as abandoned; seven
    /// days by default. When an upload is completed, what abandoned ones have left in the same
    /// folder is removed.
    #[must_use]
    pub fn abandoning_uploads_after(self, time: Duration) -> Self {
        Self { abandoned_after: time, ..self }
    }

    async fn copy_object(&self, from: &Path, to: &Path, replace: Replace) -> Result<()> {
        let (source, target) = (self.names.object(from)?, self.names.object(to)?);
        match self.store.copy(&source, &target, replace, true).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.of_two(from, to, error).await),
        }
    }

    async fn rename_object(&self, from: &Path, to: &Path, replace: Replace) -> Result<()> {
        let (source, target) = (self.names.object(from)?, self.names.object(to)?);
        // A folder is not an object, and must not be moved.
        self.find(from).await?;
        if from == to && replace.is_never() {
            return Err(meta::taken(to));
        }
        let renamed = match self.store.rename_over(&source, &target, replace).await {
            Err(StoreError::NotFound { .. }) => {
                let above = target.parent().unwrap_or_else(StorePath::root);
                self.store.mkdir(&above, true).await.map_err(|error| meta::failed(to, error))?;
                self.store.rename_over(&source, &target, replace).await
            }
            renamed => renamed,
        };
        match renamed {
            Ok(()) => Ok(()),
            Err(error) => Err(self.of_two(from, to, error).await),
        }
    }

    /// Converts a failure of an operation on two names to an error about the right one.
    async fn of_two(&self, from: &Path, to: &Path, error: StoreError) -> object_store::Error {
        match (self.find(from).await, error) {
            (Err(missing @ object_store::Error::NotFound { .. }), _) => missing,
            (_, error) => meta::failed(to, error),
        }
    }

    async fn delete_object(&self, location: &Path) -> Result<()> {
        // An empty folder is not an object, and must not be removed.
        self.find(location).await?;
        let path = self.names.object(location)?;
        self.store.delete(&path, false).await.map_err(|error| meta::failed(location, error))
    }
}

impl fmt::Display for ChunkObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "howdah://{}{}", self.store.settings().master, self.names.root())
    }
}

#[async_trait::async_trait]
impl ObjectStore for ChunkObjectStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        meta::refuse_attributes(&options.attributes)?;
        self.put_object(location, payload, options.mode).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        meta::refuse_attributes(&options.attributes)?;
        Ok(Box::new(upload::Upload::new(self.clone(), location.clone())?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.get_object(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.get_object_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.delete_object(&location).await.map(|()| location)
            }
        };
        locations.map(delete).buffered(AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_objects(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.list_level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let replace = match options.mode {
            CopyMode::Overwrite => Replace::Always,
            CopyMode::Create => Replace::Never,
        };
        self.copy_object(from, to, replace).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let replace = match options.target_mode {
            RenameTargetMode::Overwrite => Replace::Always,
            RenameTargetMode::Create => Replace::Never,
        };
        self.rename_object(from, to, replace).await
    }
}

#[async_trait::async_trait]
impl MultipartStore for ChunkObjectStore {
    async fn create_multipart(&self, location: &Path) -> Result<MultipartId> {
        self.names.object(location).map(|_| Names::new_upload())
    }

    /// Refuses attributes, as all other ways to put do.
    async fn create_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<MultipartId> {
        meta::refuse_attributes(&options.attributes)?;
        self.create_multipart(location).await
    }

    /// The index only matters to the caller: the order of the parts is stated when the upload is
    /// completed.
    async fn put_part(
        &self,
        location: &Path,
        id: &MultipartId,
        _index: usize,
        payload: PutPayload,
    ) -> Result<PartId> {
        self.put_one_part(location, id, payload).await
    }

    async fn complete_multipart(
        &self,
        location: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.complete_upload(location, id, &parts).await
    }

    async fn abort_multipart(&self, location: &Path, id: &MultipartId) -> Result<()> {
        self.remove_parts(location, id).await
    }
}
