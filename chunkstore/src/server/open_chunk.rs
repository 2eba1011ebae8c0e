//! A replica while it is written: batches of bytes go to the file on blocking threads, the disk is kept
//! busy behind them, and sealing makes the file durable under its final name. What the bytes are and
//! whether they are right is `upload`'s business.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use rustix::fs::{Advice, fadvise};
use tokio::task::JoinHandle;

use super::data_dir::{Booking, DataDir, sync_folder};
use super::disk_health::is_full;
use super::disks::Disks;
use super::footer::Footer;
use super::metrics;

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
        "the disk of {folders} has no room for chunks: free some (remove files, where df -i shows that it takes no more \
         of them), or lower chunkserver.reserve"
    )]
    OutOfSpace {
        /// The data folders that have none.
        folders: String,
    },
    /// Every disk has failed.
    #[error("all disks of this server have failed: replace them, and start it again")]
    NoneWorks,
    /// Its disk failed before the replica could be told of.
    #[error("the disk of {} has failed: allocate another chunk", folder.display())]
    Failed {
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

impl DiskError {
    /// Of a write in `dir`.
    pub(super) fn new(dir: &DataDir, path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::OutOfSpace { folders: dir.root().display().to_string() };
        }
        Self::Io { path: path.to_owned(), source }
    }
}

/// A replica being written. Must end in [`Self::seal`] or [`Self::discard`]; what a crash leaves behind
/// is removed at the next start.
#[derive(Debug)]
pub(super) struct OpenChunk {
    dir: Arc<Booking>,
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
    /// Up to here the bytes are whole, verified blocks.
    verified: u64,
}

impl OpenChunk {
    /// Begins a replica, on the disk that has most room for it.
    pub(super) async fn create(disks: &Arc<Disks>, replica: ReplicaKey) -> Result<Self, DiskError> {
        let disks = Arc::clone(disks);
        let created = tokio::task::spawn_blocking(move || disks.create_file(replica)).await;
        // Only a panic gets here, or the end of the daemon.
        let (dir, file) = created.unwrap_or(Err(DiskError::NoneWorks))?;
        Ok(Self {
            file: Arc::new(file),
            path: dir.open_path(replica),
            dir: Arc::new(dir),
            replica,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_at: 0,
            flushed: 0,
            writing: None,
            blocks: Vec::new(),
            verified: 0,
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
        self.verified = self.batch_at + self.batch_bytes as u64;
    }

    /// Takes no more, and writes what has come. Returns how many bytes of it are verified.
    pub(super) async fn cut(&mut self) -> Result<u64, DiskError> {
        self.begin_write().await?;
        self.end_write().await?;
        Ok(self.verified)
    }

    /// Forgets what lies behind the first `length` bytes of a cut one; a block ends there.
    pub(super) fn truncate(&mut self, length: u64) {
        let n_blocks = length.div_ceil(BLOCK_BYTES as u64);
        self.blocks.truncate(usize::try_from(n_blocks).unwrap_or(usize::MAX));
        (self.batch_at, self.verified) = (length, length);
        self.flushed = self.flushed.min(length);
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
        let (file, from, end) = (Arc::clone(&self.file), self.path.clone(), self.batch_at);
        let to = self.dir.sealed_path(self.replica);
        let sealed = blocking(move || {
            // Of a cut one, more may lie behind the footer.
            file.set_len(end)?;
            rustix::fs::fdatasync(&*file)?;
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), sync_folder)
        });
        let watch = clock::Stopwatch::start();
        sealed.await.map_err(|error| self.disk_error(error))?;
        metrics::observe_seal(watch.elapsed());
        match self.dir.hold(self.replica) {
            true => Ok(footer),
            false => Err(DiskError::Failed { folder: self.dir.root().to_owned() }),
        }
    }

    /// Removes the file. It may carry its final name already, if the seal failed at its very end.
    pub(super) async fn discard(mut self) {
        // Whatever the last write says, the file goes.
        let _ = self.end_write().await;
        self.dir.forget(self.replica);
        let paths = [self.path.clone(), self.dir.sealed_path(self.replica)];
        if let Err(error) = remove_if_there(paths).await {
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
        if self.dir.failed().is_some() {
            return Err(DiskError::Failed { folder: self.dir.root().to_owned() });
        }
        self.writing = Some(tokio::task::spawn_blocking(move || {
            check_room(&dir, n)?;
            write_at(&file, &batch, at)?;
            flush.map_or(Ok(()), |from| begin_flush(&file, from, at + n - from))
        }));
        Ok(())
    }

    async fn end_write(&mut self) -> Result<(), DiskError> {
        // Whoever drops this in between has not lost the write: an upload may be ended at any await.
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.writing = None;
        written.map_err(|error| self.disk_error(error))
    }

    fn disk_error(&self, error: io::Error) -> DiskError {
        self.dir.blame(&error);
        DiskError::new(&self.dir, &self.path, error)
    }
}

/// An error if so many more bytes do not fit.
pub(super) fn check_room(dir: &DataDir, n: u64) -> io::Result<()> {
    match dir.make_room(n)? {
        true => Ok(()),
        false => Err(io::ErrorKind::StorageFull.into()),
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

/// Removes the files, those that there are.
pub(super) async fn remove_if_there(paths: [PathBuf; 2]) -> io::Result<()> {
    let remove = |path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    blocking(move || paths.into_iter().try_for_each(remove)).await
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}
