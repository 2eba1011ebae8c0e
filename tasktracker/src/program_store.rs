//! Fetches programs from the chunk store, each with a capability for that file alone.

use std::path::Path;

use chunkstore_client::{ChunkStore, StoreError, StoreSettings};
use chunkstore_protocol::{PathError, StorePath};
use tokio::io::AsyncWriteExt as _;

use crate::description::Describer;
use crate::programs::ProgramStore;

/// The chunk store as the place where programs are.
#[derive(Debug)]
pub(crate) struct StoreOfPrograms {
    pub(crate) client: net::Client,
    pub(crate) settings: StoreSettings,
    pub(crate) describer: Describer,
}

/// Why a program can't be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The job names no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local disk says no.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}

impl ProgramStore for StoreOfPrograms {
    type Error = FetchError;

    async fn fetch(&self, path: &str, target: &Path) -> Result<(), FetchError> {
        let source: StorePath = path.parse()?;
        let token = self.describer.token_to_read(path, clock::wall());
        let store = ChunkStore::new(self.client.with_token(token), self.settings.clone());
        let mut reader = store.open(&source).await?;
        let mut file = tokio::fs::File::create(target).await?;
        while let Some(piece) = reader.next().await? {
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok(())
    }
}
