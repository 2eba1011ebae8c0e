//! Copies whole files out of the chunk store into local ones. A blocking thread writes to the disk,
//! a few pieces behind the network.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use chunkstore_protocol::StorePath;
use tokio::sync::mpsc;

use crate::{ChunkStore, StoreError};

/// Verified blocks that may be waiting for the disk.
const BLOCKS_AHEAD: usize = 64;

impl ChunkStore {
    /// Copies a file to a local one, replacing its contents, and returns its length. `progress` is
    /// called with the bytes so far. A failure leaves a part of the file behind.
    ///
    /// # Errors
    /// When the local file can't be written; otherwise like [`ChunkStore::open`] and
    /// [`crate::FileReader::next`].
    pub async fn get_local(
        &self,
        path: &StorePath,
        local: &Path,
        progress: impl Fn(u64),
    ) -> Result<u64, StoreError> {
        let mut reader = self.open(path).await?;
        write_all(local, async || reader.next().await, progress).await
    }

    /// Like [`Self::get_local`], for a log: writes its records, each followed by a line feed.
    ///
    /// # Errors
    /// Like [`Self::get_local`].
    pub async fn get_local_records(
        &self,
        path: &StorePath,
        local: &Path,
        progress: impl Fn(u64),
    ) -> Result<u64, StoreError> {
        let mut reader = self.read_log(path).await?;
        let line = async || {
            let record = reader.next().await?;
            Ok(record.map(|record| [&record.bytes[..], b"\n"].concat().into()))
        };
        write_all(local, line, progress).await
    }
}

/// Writes the pieces to a new file; returns its length.
async fn write_all(
    local: &Path,
    mut next: impl AsyncFnMut() -> Result<Option<Bytes>, StoreError>,
    progress: impl Fn(u64),
) -> Result<u64, StoreError> {
    let (sender, pieces) = mpsc::channel(BLOCKS_AHEAD);
    let target = local.to_owned();
    let writing = tokio::task::spawn_blocking(move || write_pieces(&target, pieces));
    let mut n_bytes = 0;
    let read = loop {
        match next().await {
            Ok(Some(piece)) => {
                n_bytes += piece.len() as u64;
                if sender.send(piece).await.is_err() {
                    break Ok(()); // The writing side has failed and says why.
                }
                progress(n_bytes);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let written = writing.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let unwritable = |source| StoreError::Local { path: local.to_owned(), source };
    read.and(written.map_err(unwritable)).map(|()| n_bytes)
}

fn write_pieces(path: &Path, mut pieces: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
    }
    file.flush()
}
