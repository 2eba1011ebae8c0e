//! Listings: folder by folder, a page at a time.

use std::collections::VecDeque;

use chunkstore_protocol::{FileKind, FileStatus, Listing, StorePath};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};

use super::names::Names;
use super::{AT_ONCE, ChunkObjectStore, meta};
use crate::StoreError;

/// Entries requested in one page.
const PAGE_ENTRIES: u32 = 1000;

impl ChunkObjectStore {
    /// All objects below a prefix, in no particular order.
    pub(super) fn list_objects(
        &self,
        prefix: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.names.folder(prefix) {
            Ok(folder) => self.walk(folder),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    /// The objects in one folder, and its folders that hold objects.
    pub(super) async fn list_level(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut walk = Walk::new(self.clone(), self.names.folder(prefix)?);
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        while let Some((folder, after)) = walk.ahead.pop() {
            let (found, below) = walk.page(&folder, after).await?;
            objects.extend(found);
            folders.extend(below);
        }
        let is_used = |folder: StorePath| async move {
            let first = self.walk(folder.clone()).try_next().await?;
            Ok::<_, object_store::Error>(first.map(|_| folder))
        };
        let used: Vec<_> =
            stream::iter(folders).map(is_used).buffered(AT_ONCE).try_collect().await?;
        let common_prefixes = used.iter().flatten().map(|folder| self.names.location(folder));
        let common_prefixes = common_prefixes.collect::<Result<_>>()?;
        Ok(ListResult { objects, common_prefixes, extensions: Default::default() })
    }

    fn walk(&self, folder: StorePath) -> BoxStream<'static, Result<ObjectMeta>> {
        let walk = Walk::new(self.clone(), folder);
        stream::try_unfold(walk, |mut walk| async move {
            let next = walk.next().await?;
            Ok(next.map(|object| (object, walk)))
        })
        .boxed()
    }
}

/// A walk through a folder and everything below it.
struct Walk {
    store: ChunkObjectStore,
    /// What is still to be listed, each from some name on; the last one is next.
    ahead: Vec<(StorePath, Option<String>)>,
    found: VecDeque<ObjectMeta>,
}

impl Walk {
    fn new(store: ChunkObjectStore, folder: StorePath) -> Self {
        Self { store, ahead: vec![(folder, None)], found: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        while self.found.is_empty() {
            let Some((folder, after)) = self.ahead.pop() else { return Ok(None) };
            let (found, below) = self.page(&folder, after).await?;
            self.found.extend(found);
            self.ahead.extend(below.into_iter().map(|folder| (folder, None)));
        }
        Ok(self.found.pop_front())
    }

    /// One page of a folder: its objects and its folders. If another page follows, it is queued.
    async fn page(
        &mut self,
        folder: &StorePath,
        after: Option<String>,
    ) -> Result<(Vec<ObjectMeta>, Vec<StorePath>)> {
        let Listing { entries, next } = self.entries(folder, after).await?;
        if next.is_some() {
            self.ahead.push((folder.clone(), next));
        }
        let (mut found, mut below) = (Vec::new(), Vec::new());
        // The folder asked for may be a file, which is not below itself.
        for entry in entries.into_iter().filter(|entry| entry.path != *folder) {
            match entry.kind {
                _ if !Names::is_shown(&entry) => {}
                FileKind::Folder => below.push(entry.path),
                FileKind::File { .. } => found.extend(self.object(&entry).await?),
            }
        }
        Ok((found, below))
    }

    /// A folder that does not exist, or no longer does, has no entries.
    async fn entries(&self, folder: &StorePath, after: Option<String>) -> Result<Listing> {
        match self.store.store.list(folder, after, PAGE_ENTRIES).await {
            Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => {
                Ok(Listing { entries: Vec::new(), next: None })
            }
            Err(error) => Err(meta::failed(&self.store.names.location(folder)?, error)),
            Ok(listing) => Ok(listing),
        }
    }

    async fn object(&self, entry: &FileStatus) -> Result<Option<ObjectMeta>> {
        let location = self.store.names.location(&entry.path)?;
        match self.store.is_whole(entry).await {
            Ok(true) => Ok(meta::object(location, entry)),
            Ok(false) => Ok(None),
            Err(error) => Err(meta::failed(&location, error)),
        }
    }
}
