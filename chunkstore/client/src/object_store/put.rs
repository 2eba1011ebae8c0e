//! Writing objects in a single call.

use chunkstore_protocol::{FileStatus, Replace, StorePath};
use object_store::path::Path;
use object_store::{Error, PutMode, PutPayload, PutResult, Result, UpdateVersion};

use super::names::Names;
use super::{ChunkObjectStore, meta};
use crate::{CreateOptions, FileWriter, StoreError};

impl ChunkObjectStore {
    /// Makes an object appear completely or not at all.
    pub(super) async fn put_object(
        &self,
        location: &Path,
        payload: PutPayload,
        mode: PutMode,
    ) -> Result<PutResult> {
        let path = self.names.object(location)?;
        let replace = self.may_replace(location, mode).await?;
        let beside = Names::beside(&path)?;
        let written = async {
            let writer = self.begin(&beside, payload).await?;
            writer.close_into(&path, replace).await
        };
        let written = written.await.map_err(|error| meta::failed(location, error))?;
        Ok(meta::put_result(&written))
    }

    /// What the object may replace. If that is already violated, nothing is written.
    async fn may_replace(&self, location: &Path, mode: PutMode) -> Result<Replace> {
        let expected = match mode {
            PutMode::Overwrite => return Ok(Replace::Always),
            PutMode::Create => None,
            PutMode::Update(version) => Some(version),
        };
        let found = match self.find(location).await {
            Ok(found) => Some(found),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        match (expected, found) {
            (None, None) => Ok(Replace::Never),
            (None, Some(_)) => Err(meta::taken(location)),
            (Some(UpdateVersion { e_tag: None, .. }), _) => {
                Err(meta::generic(format!("an update of {location} must say of which e-tag")))
            }
            (Some(UpdateVersion { e_tag: Some(expected), .. }), found) => {
                let is_there = found.and_then(|found| found.e_tag).as_ref() == Some(&expected);
                match meta::tagged(&expected).filter(|_| is_there) {
                    Some((file, length)) => Ok(Replace::OnlyOf { file, length }),
                    None => {
                        let what = format!("what stands at {location} has not the tag {expected}");
                        Err(meta::changed(location, what))
                    }
                }
            }
        }
    }

    /// Writes a file from a payload, creating parent folders.
    pub(super) async fn write(
        &self,
        path: &StorePath,
        payload: PutPayload,
    ) -> Result<FileStatus, StoreError> {
        self.begin(path, payload).await?.close().await
    }

    /// The same, which is still to be closed.
    async fn begin(&self, path: &StorePath, payload: PutPayload) -> Result<FileWriter, StoreError> {
        let options = CreateOptions { parents: true, ..CreateOptions::default() };
        let mut writer = self.store.create(path, options).await?;
        for bytes in payload {
            if let Err(error) = writer.write(bytes).await {
                // The caller must get the write's error; the lease ends by itself.
                let _ = writer.abandon().await;
                return Err(error);
            }
        }
        Ok(writer)
    }
}
