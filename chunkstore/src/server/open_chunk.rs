//! A replica while it is written: batches of bytes go to the file on the disk's threads, the disk is kept
//! busy behind them, and sealing makes the file durable under its final name. What the bytes are and
//! whether they are right is `upload`'s business; the file, and how it goes on elsewhere where its disk takes
//! no more of it, or gives no answer, `other_disk`'s.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use tokio::task::JoinHandle;

use super::data_dir::DataDir;
use super::disk_calls::{Call, NoAnswer};
use super::disk_health::is_full;
use super::disks::Disks;
use super::footer::Footer;
use super::metrics;
use super::other_disk::{Known, PIECES_PER_WRITE, Place, Write, remove_if_there};

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
    /// Its disk gave no answer in time.
    #[error("{}: {cause}: allocate another chunk", folder.display())]
    NoAnswer {
        /// The data folder.
        folder: PathBuf,
        /// Whether it is given up.
        cause: NoAnswer,
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

    /// Of a call to the disk of `dir`.
    pub(super) fn no_answer(dir: &DataDir, cause: NoAnswer) -> Self {
        Self::NoAnswer { folder: dir.root().to_owned(), cause }
    }

    /// Whether a call may be at work yet: what follows from it must wait until it is not.
    pub(super) fn is_of_time(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
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
    work: Option<Work>,
    /// Where it could not be written, until it has gone on elsewhere.
    late: Vec<Late>,
    blocks: Vec<u32>,
    /// Up to here the bytes are whole, verified blocks.
    verified: u64,
    /// What came behind them, written or not.
    behind: Vec<Bytes>,
}

/// What is under way.
#[derive(Debug)]
enum Work {
    /// On the disk where the replica is; with what is to be written, for another disk.
    Call(Call<Result<(), DiskError>>, Arc<Write>),
    /// To another disk.
    Move(JoinHandle<Result<Place, DiskError>>),
}

/// A file that could not be written, and the call that gave no answer, if it was that.
#[derive(Debug)]
struct Late {
    place: Arc<Place>,
    call: Option<Call<Result<(), DiskError>>>,
}

impl Late {
    /// Removes the file, once the call has ended: what it does must not come after that.
    async fn end(self, replica: ReplicaKey) {
        if let Some(mut call) = self.call {
            let _ = call.end().await;
        }
        self.place.remove(replica).await;
    }
}

impl OpenChunk {
    /// Begins a replica, on the disk that has most room for it.
    pub(super) async fn create(disks: &Arc<Disks>, replica: ReplicaKey) -> Result<Self, DiskError> {
        let place = Place::create(disks, replica).await?;
        Ok(Self {
            disks: Arc::clone(disks),
            place: Arc::new(place),
            replica,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_at: 0,
            flushed: 0,
            work: None,
            late: Vec::new(),
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
        self.end_work().await?;
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
        self.end_work().await?;
        let (replica, end) = (self.replica, self.batch_at);
        // It may go on on another disk, and is sealed there then.
        loop {
            let (watch, sealed_at) = (clock::Stopwatch::start(), Arc::clone(&self.place));
            let nothing = Arc::new(Write { pieces: Vec::new(), at: end, flush_from: None });
            let place = Arc::clone(&self.place);
            let sealing = self.place.dir().begin(move |_| place.seal(replica, end));
            self.work = Some(Work::Call(sealing, nothing));
            self.end_work().await?;
            if Arc::ptr_eq(&sealed_at, &self.place) {
                metrics::observe_seal(watch.elapsed());
                break;
            }
        }
        Ok(footer)
    }

    /// Removes the file. It may carry its final name already, if the seal failed at its very end. Waits for calls that gave no
    /// answer, until they have ended or their disk is given up.
    pub(super) async fn discard(mut self) {
        // Whatever the last call says, the file goes: that of the disk that it went to.
        match self.work.take() {
            Some(Work::Call(mut call, _)) => drop(call.end().await),
            Some(Work::Move(moving)) => {
                if let Ok(Ok(place)) = moving.await {
                    self.go_on_in(place);
                }
            }
            None => {}
        }
        // All are about this file: it could not go on elsewhere.
        for late in std::mem::take(&mut self.late) {
            late.end(self.replica).await;
        }
        let (dir, paths) = (self.place.dir(), self.place.paths(self.replica));
        dir.forget(self.replica);
        let removed = dir.begin(move |_| remove_if_there(&paths)).end().await;
        if let Err(error) = removed.unwrap_or_else(|cause| Err(cause.into())) {
            let [path, _] = self.place.paths(self.replica);
            tracing::error!(path = %path.display(), %error,
                "an unfinished replica can't be removed: the next start will try again");
        }
    }

    async fn begin_write(&mut self) -> Result<(), DiskError> {
        self.end_work().await?;
        let pieces = std::mem::take(&mut self.batch);
        let (at, n) = (self.batch_at, std::mem::take(&mut self.batch_bytes) as u64);
        self.batch_at += n;
        let flush_from = (self.batch_at - self.flushed >= FLUSH_BYTES).then_some(self.flushed);
        if flush_from.is_some() {
            self.flushed = self.batch_at;
        }
        let (place, write) = (Arc::clone(&self.place), Arc::new(Write { pieces, at, flush_from }));
        let written = Arc::clone(&write);
        let writing = self.place.dir().begin(move |_| place.write(&written));
        self.work = Some(Work::Call(writing, write));
        Ok(())
    }

    /// What could not be written where the replica is goes to another disk, with all that is there of it.
    fn begin_move(&mut self, write: Arc<Write>, error: DiskError) {
        let (disks, place) = (Arc::clone(&self.disks), Arc::clone(&self.place));
        let (replica, verified) = (self.replica, self.verified);
        let (blocks, behind, ahead) =
            (self.blocks.clone(), self.behind.clone(), self.batch.clone());
        let known = Arc::new(Known { blocks, verified, behind, ahead });
        self.work = Some(Work::Move(tokio::spawn(async move {
            place.move_on(&disks, replica, &known, &write, error).await
        })));
    }

    /// Waits for what is under way. Whoever drops this in between has not lost it: an upload may be ended at any await.
    async fn end_work(&mut self) -> Result<(), DiskError> {
        while let Some(work) = &mut self.work {
            match work {
                Work::Call(call, _) => {
                    let done = call.within(self.disks.patience()).await;
                    let Some(Work::Call(call, write)) = self.work.take() else { break };
                    match done {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => self.move_from(None, write, error),
                        Err(cause) => {
                            let error = DiskError::no_answer(self.place.dir(), cause);
                            self.move_from(Some(call), write, error);
                        }
                    }
                }
                Work::Move(moving) => {
                    let moved = moving.await;
                    self.work = None;
                    match moved {
                        Ok(Ok(place)) => self.go_on_in(place),
                        Ok(Err(error)) => return Err(error),
                        Err(error) => return Err(self.panicked(error)),
                    }
                }
            }
        }
        Ok(())
    }

    /// All is on another disk.
    fn go_on_in(&mut self, place: Place) {
        self.place = Arc::new(place);
        // Not waited for: the disk where it was may hang.
        let late = self.late.drain(..).map(|late| late.end(self.replica));
        late.for_each(|ending| drop(tokio::spawn(ending)));
    }

    fn move_from(
        &mut self,
        call: Option<Call<Result<(), DiskError>>>,
        write: Arc<Write>,
        error: DiskError,
    ) {
        self.late.push(Late { place: Arc::clone(&self.place), call });
        self.begin_move(write, error);
    }

    /// A panic, or the end of the daemon.
    fn panicked(&self, error: tokio::task::JoinError) -> DiskError {
        let [path, _] = self.place.paths(self.replica);
        DiskError::Io { path, source: io::Error::other(error) }
    }
}
