//! Locates the chunks that a reader comes to next: the master is asked while the last known chunk
//! is still being read. Only `read` calls this.

use chunkstore_protocol::{Located, StorePath};
use tokio::task::JoinHandle;

use crate::{ChunkStore, StoreError};

/// A request under way, given up when dropped.
#[derive(Debug)]
pub(crate) struct Ahead {
    offset: u64,
    answer: JoinHandle<Result<Located, StoreError>>,
}

impl Ahead {
    /// Asks where `length` bytes from `offset` on are.
    pub(crate) fn ask(store: ChunkStore, path: StorePath, offset: u64, length: u64) -> Self {
        let asking = async move { store.locate(&path, offset, Some(length)).await };
        Self { offset, answer: tokio::spawn(asking) }
    }

    /// The offset of the first byte that it asks for.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The answer, once; `None` if the request failed: then ask again, with retries. Cancellation
    /// safe.
    pub(crate) async fn answer(&mut self) -> Option<Located> {
        (&mut self.answer).await.ok()?.ok()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.answer.abort();
    }
}
