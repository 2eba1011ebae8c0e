//! Reading objects: their metadata and their bytes.

use std::ops::Range;

use bytes::Bytes;
use chunkstore_protocol::{FileKind, FileStatus};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result};

use super::{ChunkObjectStore, meta};
use crate::{FileReader, StoreError};

/// How often an object is reopened when others keep replacing it in that moment.
const OPENS_MAX: u32 = 20;

impl ChunkObjectStore {
    /// The metadata of an object.
    pub(super) async fn find(&self, location: &Path) -> Result<ObjectMeta> {
        if location.as_ref().is_empty() {
            return Err(meta::missing(location, "the empty name is that of all objects together"));
        }
        let path = self.names.object(location)?;
        let status = self.store.stat(&path).await;
        let status = status.map_err(|error| meta::not_found(location, error))?;
        if !self.is_whole(&status).await.map_err(|error| meta::failed(location, error))? {
            return Err(meta::missing(location, format!("{path} is still being written")));
        }
        meta::object(location.clone(), &status)
            .ok_or_else(|| meta::missing(location, format!("{path} is a folder")))
    }

    /// Whether it is a file that was closed at least once. During an append, it is what it was
    /// before.
    pub(super) async fn is_whole(&self, status: &FileStatus) -> Result<bool, StoreError> {
        if !matches!(status.kind, FileKind::File { open: true, .. }) {
            return Ok(true);
        }
        match self.store.locate(&status.path, 0, Some(0)).await {
            Ok(_) => Ok(true),
            Err(StoreError::StillOpen { .. } | StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get_object(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        if let Some(version) = &options.version {
            let source = format!("version {version} of {location}: only the last one is kept");
            return Err(object_store::Error::NotSupported { source: source.into() });
        }
        for _ in 0..OPENS_MAX {
            let found = self.find(location).await?;
            options.check_preconditions(&found)?;
            let range = match &options.range {
                Some(range) => range.as_range(found.size).map_err(meta::generic)?,
                None => 0..found.size,
            };
            if options.head || range.is_empty() {
                return Ok(result(found, range, stream::empty().boxed()));
            }
            let path = self.names.object(location)?;
            let reader = self.store.open_range(&path, range.start, range.end - range.start).await;
            let reader = reader.map_err(|error| meta::failed(location, error))?;
            if meta::is_of(&found, reader.file()) {
                let getting = Getting { location: location.clone(), reader };
                return Ok(result(found, range, getting.stream()));
            }
        }
        let error = format!("{location} is replaced faster than it can be opened: try again");
        Err(meta::generic(error))
    }

    pub(super) async fn get_object_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let found = self.find(location).await?;
        let wanted: std::result::Result<Vec<_>, _> = ranges
            .iter()
            .map(|range| GetRange::Bounded(range.clone()).as_range(found.size))
            .collect();
        let wanted = wanted.map_err(meta::generic)?;
        let path = self.names.object(location)?;
        let read = self.store.read_ranges(&path, &wanted).await;
        let read = read.map_err(|error| meta::failed(location, error))?;
        let is_all =
            |(wanted, got): (&Range<u64>, &Bytes)| wanted.end - wanted.start == got.len() as u64;
        match wanted.iter().zip(&read).all(is_all) {
            true => Ok(read),
            false => Err(replaced(location)),
        }
    }
}

/// An object that is being read.
struct Getting {
    location: Path,
    reader: FileReader,
}

impl Getting {
    fn stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, |mut getting| async move {
            let next = getting.next().await?;
            Ok(next.map(|bytes| (bytes, getting)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.reader.next().await {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::NotFound { .. }) => Err(replaced(&self.location)),
            Err(error) => Err(meta::failed(&self.location, error)),
        }
    }
}

fn replaced(location: &Path) -> object_store::Error {
    meta::generic(format!("{location} was replaced while it was read: read it again"))
}

fn result(
    meta: ObjectMeta,
    range: Range<u64>,
    bytes: BoxStream<'static, Result<Bytes>>,
) -> GetResult {
    let payload = GetResultPayload::Stream(bytes);
    let (attributes, extensions) = Default::default();
    GetResult { payload, meta, range, attributes, extensions }
}
