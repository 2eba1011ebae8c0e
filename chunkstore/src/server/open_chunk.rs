//! A replica while it is written: batches of bytes go to the file on blocking threads, the disk is kept
//! busy behind them, and sealing makes the file durable under its final name. What the bytes are and
//! whether they are right is `upload`'s business; the file, and how it goes on elsewhere where its disk takes
//! no more of it, `other_disk`'s.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use tokio::task::JoinHandle;

use super::data_dir::DataDir;
use super::disk_health::is_full;
use super::disks::Disks;
use super::footer::Footer;
use super::metrics;
use super::other_disk::{Known, PIECES_PER_WRITE, Place, Unwritten, Write};

/// Bytes that one write hands to the operating system.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes after which the disk is asked to begin writing, so that the last sync has little left to do.
const FLUSH_BYTES: u64 = 8 << 20;

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

    /// Whether only room lacks.
    pub(super) fn is_of_room(&self) -> bool {
        matches!(self, Self::OutOfSpace { .. })
    }
}

/// A replica being written; on another disk of the server where the one that was chosen takes no more of it. Must end in
/// [`Self::seal`] or [`Self::discard`]; what a crash leaves behind is removed at the next start.
#[derive(Debug)]
pub(super) struct OpenChunk {
    disks: Arc<Disks>,
    place: Arc<Place>,
    replica: ReplicaKey,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    /// Offset of the batch in the file.
    batch_at: u64,
    /// Up to here the disk was asked to write.
    flushed: u64,
    writing: Option<JoinHandle<Result<Arc<Place>, Unwritten>>>,
    blocks: Vec<u32>,
    /// Up to here the bytes are whole, verified blocks.
    verified: u64,
    /// What came behind them, written or not.
    behind: Vec<Bytes>,
}

impl OpenChunk {
    /// Begins a replica, on the disk that has most room for it.
    pub(super) async fn create(disks: &Arc<Disks>, replica: ReplicaKey) -> Result<Self, DiskError> {
        let on = Arc::clone(disks);
        let created = tokio::task::spawn_blocking(move || Place::create(&on, replica)).await;
        // Only a panic gets here, or the end of the daemon.
        let place = created.unwrap_or(Err(DiskError::NoneWorks))?;
        Ok(Self {
            disks: Arc::clone(disks),
            place: Arc::new(place),
            replica,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_at: 0,
            flushed: 0,
            writing: None,
            blocks: Vec::new(),
            verified: 0,
            behind: Vec::new(),
        })
    }

    /// Takes the next bytes. They are not written before [`Self::write_full_batch`] or [`Self::seal`].
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.batch_bytes += bytes.len();
        self.behind.push(bytes.clone());
        self.batch.push(bytes);
    }

    /// The bytes since the last block are a block with this checksum.
    pub(super) fn end_block(&mut self, checksum: u32) {
        self.blocks.push(checksum);
        self.behind.clear();
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
        self.behind.clear();
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
        let footer = Footer { replica: self.replica, length, blocks: self.blocks.clone() };
        self.push(footer.encode().into());
        self.begin_write().await?;
        self.end_write().await?;
        let (replica, end) = (self.replica, self.batch_at);
        let mut watch = clock::Stopwatch::start();
        loop {
            let place = Arc::clone(&self.place);
            match self.blocking(move || place.seal(replica, end)).await {
                Ok(()) => break,
                Err(error) => {
                    let nothing = Write { pieces: Vec::new(), at: end, flush_from: None };
                    self.begin_move(nothing, error);
                    self.end_write().await?;
                    watch = clock::Stopwatch::start();
                }
            }
        }
        metrics::observe_seal(watch.elapsed());
        Ok(footer)
    }

    /// Removes the file. It may carry its final name already, if the seal failed at its very end.
    pub(super) async fn discard(mut self) {
        // Whatever the last write says, the file goes: that of the disk that it went to.
        if let Some(writing) = self.writing.take()
            && let Ok(Ok(place)) = writing.await
        {
            self.place = place;
        }
        self.place.dir().forget(self.replica);
        if let Err(error) = remove_if_there(self.place.paths(self.replica)).await {
            let [path, _] = self.place.paths(self.replica);
            tracing::error!(path = %path.display(), %error,
                "an unfinished replica can't be removed: the next start will try again");
        }
    }

    async fn begin_write(&mut self) -> Result<(), DiskError> {
        self.end_write().await?;
        let pieces = std::mem::take(&mut self.batch);
        let (at, n) = (self.batch_at, std::mem::take(&mut self.batch_bytes) as u64);
        self.batch_at += n;
        let flush_from = (self.batch_at - self.flushed >= FLUSH_BYTES).then_some(self.flushed);
        if flush_from.is_some() {
            self.flushed = self.batch_at;
        }
        let (place, write) = (Arc::clone(&self.place), Write { pieces, at, flush_from });
        self.writing = Some(tokio::task::spawn_blocking(move || match place.write(&write) {
            Ok(()) => Ok(place),
            Err(error) => Err(Unwritten { error, write: Some(write) }),
        }));
        Ok(())
    }

    /// What could not be written where the replica is goes to another disk, with all that is there of it.
    fn begin_move(&mut self, write: Write, error: DiskError) {
        let (disks, place) = (Arc::clone(&self.disks), Arc::clone(&self.place));
        let (replica, verified) = (self.replica, self.verified);
        let (blocks, behind, ahead) =
            (self.blocks.clone(), self.behind.clone(), self.batch.clone());
        let known = Known { blocks, verified, behind, ahead };
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let moved = place.move_on(&disks, replica, &known, &write, error);
            moved.map(Arc::new).map_err(|error| Unwritten { error, write: None })
        }));
    }

    async fn end_write(&mut self) -> Result<(), DiskError> {
        // Whoever drops this in between has not lost the write: an upload may be ended at any await.
        while let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            match written {
                Ok(Ok(place)) => self.place = place,
                Ok(Err(Unwritten { error, write: Some(write) })) => self.begin_move(write, error),
                Ok(Err(Unwritten { error, write: None })) => return Err(error),
                Err(error) => return Err(self.panicked(error)),
            }
        }
        Ok(())
    }

    async fn blocking(
        &self,
        work: impl FnOnce() -> Result<(), DiskError> + Send + 'static,
    ) -> Result<(), DiskError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(self.panicked(error)))
    }

    /// A panic, or the end of the daemon.
    fn panicked(&self, error: tokio::task::JoinError) -> DiskError {
        let [path, _] = self.place.paths(self.replica);
        DiskError::Io { path, source: io::Error::other(error) }
    }
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
