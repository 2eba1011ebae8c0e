//! A replica while it is written: batches of bytes go to the file on blocking threads, the disk is kept
//! busy behind them, and sealing makes the file durable under its final name. What the bytes are and
//! whether they are right is `upload`'s business.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chunkstore_core::replica::ReplicaKey;
use rustix::fs::{Advice, fadvise};
use tokio::task::JoinHandle;

use super::data_dir::{DataDir, sync_folder};
use super::footer::Footer;

/// Bytes that one write hands to the operating system.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes after which the disk is asked to begin writing, so that the last sync has little left to do.
const FLUSH_BYTES: u64 = 8 << 20;
/// Pieces that one write takes (`IOV_MAX` is 1024).
const PIECES_PER_WRITE: usize = 512;

/// Why a replica can't be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// No room, or only what is reserved.
    #[error(
        "the disk of {} has no room for chunks: free some, or lower chunkserver.reserve",
        folder.display()
    )]
    OutOfSpace {
        /// The data folder.
        folder: PathBuf,
    },
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Io {
        /// The replica's file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A replica being written. Must end in [`Self::seal`] or [`Self::discard`]; what a crash leaves behind
/// is removed at the next start.
#[derive(Debug)]
pub(super) struct OpenChunk {
    dir: Arc<DataDir>,
    replica: ReplicaKey,
    path: PathBuf,
    file: Arc<File>,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    /// Offset of the batch in the file.
    batch_at: u64,
    /// Up to here the disk was asked to write.
    flushed: u64,
    writing: Option<JoinHandle<io::Result<()>>>,
    blocks: Vec<u32>,
}

impl OpenChunk {
    pub(super) async fn create(dir: &Arc<DataDir>, replica: ReplicaKey) -> Result<Self, DiskError> {
        let path = dir.open_path(replica);
        let folder = Arc::clone(dir);
        let created = blocking(move || {
            check_room(&folder, 0)?;
            folder.create_file(replica)
        })
        .await;
        Ok(Self {
            file: Arc::new(created.map_err(|error| disk_error(dir, &path, error))?),
            dir: Arc::clone(dir),
            replica,
            path,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_at: 0,
            flushed: 0,
            writing: None,
            blocks: Vec::new(),
        })
    }

    /// Takes the next bytes. They are not written before [`Self::write_full_batch`] or [`Self::seal`].
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
    }

    /// The bytes since the last block are a block with this checksum.
    pub(super) fn end_block(&mut self, checksum: u32) {
        self.blocks.push(checksum);
    }

    /// Begins to write what has come, if that is worth it; waits for the write before.
    pub(super) async fn write_full_batch(&mut self) -> Result<(), DiskError> {
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= PIECES_PER_WRITE {
            self.begin_write().await?;
        }
        Ok(())
    }

    /// Writes the rest and the footer, syncs, and gives the file its final name. On return the replica
    /// survives a power cut.
    pub(super) async fn seal(&mut self) -> Result<Footer, DiskError> {
        let length = self.batch_at + self.batch_bytes as u64;
        let blocks = std::mem::take(&mut self.blocks);
        let footer = Footer { replica: self.replica, length, blocks };
        self.push(footer.encode().into());
        self.begin_write().await?;
        self.end_write().await?;
        let (file, from) = (Arc::clone(&self.file), self.path.clone());
        let to = self.dir.sealed_path(self.replica);
        let sealed = blocking(move || {
            rustix::fs::fdatasync(&*file)?;
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), sync_folder)
        });
        sealed.await.map_err(|error| disk_error(&self.dir, &self.path, error))?;
        Ok(footer)
    }

    /// Removes the file. It may carry its final name already, if the seal failed at its very end.
    pub(super) async fn discard(mut self) {
        // Whatever the last write says, the file goes.
        let _ = self.end_write().await;
        let paths = [self.path.clone(), self.dir.sealed_path(self.replica)];
        let removed = blocking(move || {
            for path in paths {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::error!(path = %self.path.display(), %error,
                "an unfinished replica can't be removed: the next start will try again");
        }
    }

    async fn begin_write(&mut self) -> Result<(), DiskError> {
        self.end_write().await?;
        let batch = std::mem::take(&mut self.batch);
        let (at, n) = (self.batch_at, std::mem::take(&mut self.batch_bytes) as u64);
        self.batch_at += n;
        let flush = (self.batch_at - self.flushed >= FLUSH_BYTES).then_some(self.flushed);
        if flush.is_some() {
            self.flushed = self.batch_at;
        }
        let (file, dir) = (Arc::clone(&self.file), Arc::clone(&self.dir));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            check_room(&dir, n)?;
            write_at(&file, &batch, at)?;
            flush.map_or(Ok(()), |from| begin_flush(&file, from, at + n - from))
        }));
        Ok(())
    }

    async fn end_write(&mut self) -> Result<(), DiskError> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| disk_error(&self.dir, &self.path, error))
    }
}

fn check_room(dir: &DataDir, n: u64) -> io::Result<()> {
    // Whatever is free after the reserve; a disk that is too small for its reserve has none.
    match dir.space()?.free {
        0 => Err(io::ErrorKind::StorageFull.into()),
        free if free < n => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

fn write_at(file: &File, batch: &[Bytes], mut at: u64) -> io::Result<()> {
    let mut pieces: Vec<_> = batch.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = pieces.as_mut_slice();
    // Empty pieces would look like a full disk.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let most = left.len().min(PIECES_PER_WRITE);
        match rustix::io::pwritev(file, &left[..most], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut left, n);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `DONTNEED` on dirty pages makes Linux begin to write them, and keeps them cached while it does: what
/// `sync_file_range` is for, without a call that only Linux knows.
fn begin_flush(file: &File, from: u64, n: u64) -> io::Result<()> {
    let n = std::num::NonZeroU64::new(n);
    Ok(fadvise(file, from, n, Advice::DontNeed)?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn disk_error(dir: &DataDir, path: &std::path::Path, source: io::Error) -> DiskError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DiskError::OutOfSpace { folder: dir.root().to_owned() }
        }
        _ => DiskError::Io { path: path.to_owned(), source },
    }
}
