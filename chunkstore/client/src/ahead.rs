//! Where the chunks are that a reader comes to next: the master is asked while the last chunk that is known
//! is still read. Only `read` calls this.

use chunkstore_protocol::{Located, StorePath};
use tokio::task::JoinHandle;

use crate::{ChunkStore, StoreError};

/// A question on its way, given up when dropped.
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

    /// The first byte that it is about.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The answer, once; `None` if there is none: then it is time to ask again, and to be patient. A
    /// dropped call loses nothing.
    pub(crate) async fn answer(&mut self) -> Option<Located> {
        (&mut self.answer).await.ok()?.ok()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.answer.abort();
    }
}
