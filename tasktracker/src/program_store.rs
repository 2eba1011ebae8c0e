//! Fetches programs from the chunk store, each with a capability for that file alone.

use std::path::Path;

use chunkstore_client::{ChunkStore, StoreError, StoreSettings};
use chunkstore_protocol::{PathError, StorePath};
use mapreduce_protocol::check_program_file;
use tokio::io::AsyncWriteExt as _;

use crate::description::Describer;
use crate::programs::{FetchError, ProgramStore};

/// The chunk store as the place where programs are.
#[derive(Debug)]
pub(crate) struct StoreOfPrograms {
    pub(crate) client: net::Client,
    pub(crate) settings: StoreSettings,
    pub(crate) describer: Describer,
}

impl ProgramStore for StoreOfPrograms {
    async fn fetch(&self, path: &str, target: &Path) -> Result<(), FetchError> {
        let path_error = |error: PathError| FetchError::Store(Box::new(error));
        let store_error = |error: StoreError| FetchError::Store(Box::new(error));
        let source: StorePath = path.parse().map_err(path_error)?;
        let token = self.describer.token_to_read(path, clock::wall());
        let store = ChunkStore::new(self.client.with_token(token), self.settings.clone());
        let mut reader = store.open(&source).await.map_err(store_error)?;
        check_program_file(reader.len())
            .map_err(|too_long| FetchError::Store(Box::new(too_long)))?;
        let mut file = tokio::fs::File::create(target).await?;
        while let Some(piece) = reader.next().await.map_err(store_error)? {
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok(())
    }
}
