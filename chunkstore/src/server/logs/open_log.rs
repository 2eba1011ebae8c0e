//! The file of a log's open chunk: batches are written behind one another and synced, and at the end it becomes a
//! sealed replica like any other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chunkstore_client::checksum::crc32c;
use chunkstore_client::records::sound_bytes;
use chunkstore_core::log::Tail;
use chunkstore_core::replica::{Ended, ReplicaKey, Sealed};
use chunkstore_protocol::block::BLOCK_BYTES;
use tokio::sync::{Mutex, MutexGuard, Notify, mpsc};

use super::FoundLog;
use super::primary::Offer;
use crate::server::data_dir::{Booking, DataDir};
use crate::server::disk_calls::Call;
use crate::server::disk_health::is_media_error;
use crate::server::footer::Footer;
use crate::server::open_chunk::DiskError;
use crate::server::other_disk::{check_room, remove_if_there};
use crate::server::syncs::{sync_file, sync_folder};
use crate::server::{Server, metrics};

/// A log's replica that is not sealed.
#[derive(Debug)]
pub(in crate::server) struct OpenLog {
    replica: ReplicaKey,
    dir: Arc<Booking>,
    path: PathBuf,
    file: Arc<File>,
    /// Held while bytes are written, so that who ends it knows how many there are.
    tail: Mutex<Tail>,
    /// Where this is the primary: what every server has.
    acknowledged: AtomicU64,
    ended: OnceLock<Ended>,
    /// Its file is to go, or is gone.
    is_gone: AtomicBool,
    ends: Notify,
    /// A write that gave no answer: it may come to the file yet.
    late: Mutex<Option<Call<io::Result<()>>>>,
    offers: Option<mpsc::Sender<Offer>>,
}

impl OpenLog {
    /// Makes the file, empty and durable, on the disk with most room. `offers`: of a primary.
    pub(super) async fn create(
        server: &Server,
        replica: ReplicaKey,
        chunk_bytes: u64,
        offers: Option<mpsc::Sender<Offer>>,
    ) -> Result<Self, DiskError> {
        let (dir, file) = server.disks.create_log(replica).await?;
        Ok(Self {
            replica,
            path: dir.log_path(replica),
            dir: Arc::new(dir),
            file: Arc::new(file),
            tail: Mutex::new(Tail::new(chunk_bytes)),
            acknowledged: AtomicU64::new(0),
            ended: OnceLock::new(),
            is_gone: AtomicBool::new(false),
            ends: Notify::new(),
            late: Mutex::default(),
            offers,
        })
    }

    /// One that the last process left: it takes no more. None if it can only be read.
    pub(super) fn found(dir: &Arc<DataDir>, log: FoundLog) -> Option<Self> {
        let mut tail = Tail::new(0);
        tail.end(0);
        Some(Self {
            replica: log.replica,
            path: dir.log_path(log.replica),
            dir: Arc::new(dir.book()),
            file: Arc::new(log.file?),
            tail: Mutex::new(tail),
            acknowledged: AtomicU64::new(0),
            ended: OnceLock::from(log.ended),
            is_gone: AtomicBool::new(false),
            ends: Notify::new(),
            late: Mutex::default(),
            offers: None,
        })
    }

    pub(super) fn replica(&self) -> ReplicaKey {
        self.replica
    }

    /// The way to the task that groups batches, of a primary.
    pub(super) fn offers(&self) -> Option<&mpsc::Sender<Offer>> {
        self.offers.as_ref()
    }

    pub(super) async fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().await
    }

    /// Bytes that every server has, of a primary.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub(super) fn acknowledge(&self, up_to: u64) {
        self.acknowledged.fetch_max(up_to, Ordering::Release);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Returns when it takes no more.
    pub(super) async fn wait_for_end(&self) {
        loop {
            let ends = self.ends.notified();
            if self.is_ended() {
                return;
            }
            ends.await;
        }
    }

    /// Writes and syncs bytes at their place. The caller holds the tail, and ends it on failure.
    pub(super) async fn write(&self, at: u64, frames: Bytes) -> Result<(), DiskError> {
        if let Some(reason) = self.dir.failed() {
            tracing::debug!(reason, "a log's disk has failed");
            return Err(DiskError::Failed { folder: self.dir.root().to_owned() });
        }
        let (file, watch) = (Arc::clone(&self.file), clock::Stopwatch::start());
        let mut writing = self.dir.begin(move |dir| {
            let written = check_room(dir, frames.len() as u64)
                .and_then(|()| file.write_all_at(&frames, at))
                .and_then(|()| sync_file(&file));
            written.inspect_err(|error| {
                dir.blame(error);
            })
        });
        match writing.answer().await {
            Ok(written) => written.map_err(|error| self.disk_error(error))?,
            Err(cause) => {
                *self.late.lock().await = Some(writing);
                return Err(DiskError::no_answer(&self.dir, cause));
            }
        }
        metrics::observe_log_sync(watch.elapsed());
        Ok(())
    }

    /// Takes no more from the return on.
    pub(super) async fn end(&self) -> Ended {
        let mut tail = self.tail.lock().await;
        let length = tail.length();
        self.end_at(&mut tail, length)
    }

    /// The same, for who holds the tail and knows that only so much of what it took is written.
    pub(super) fn end_at(&self, tail: &mut Tail, written: u64) -> Ended {
        let ended = *self.ended.get_or_init(|| {
            tail.end(written);
            Ended { length: tail.length(), damaged: false, found: false }
        });
        self.ends.notify_waiters();
        ended
    }

    /// Acknowledged bytes from `offset` on, `max` at most.
    ///
    /// # Errors
    /// What the system says; the file may be shorter than it was.
    pub(super) async fn read(&self, offset: u64, max: u64) -> io::Result<Vec<u8>> {
        let n = self.acknowledged().saturating_sub(offset).min(max);
        let file = Arc::clone(&self.file);
        let mut reading = self.dir.begin(move |_| {
            let mut bytes = vec![0; usize::try_from(n).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        });
        reading.answer().await.unwrap_or_else(|cause| Err(cause.into()))
    }

    /// Makes it a sealed replica of its first `length` bytes. If these are not sound it stays as it is, and what is sound
    /// of it is returned in place.
    pub(in crate::server) async fn seal(
        &self,
        length: u64,
    ) -> Result<Result<Sealed, Ended>, DiskError> {
        let late = self.late.lock().await.take();
        if let Some(mut late) = late {
            // What it writes must not come after the footer, and whether it does is all the same.
            let ended = late.end().await;
            ended.map_err(|cause| DiskError::no_answer(&self.dir, cause))?.ok();
        }
        let (file, replica) = (Arc::clone(&self.file), self.replica);
        let (from, to) = (self.path.clone(), self.dir.sealed_path(self.replica));
        let is_damaged = self.ended.get().is_some_and(|it| it.damaged);
        let seal = move |dir: &DataDir| {
            let bytes = match read_whole(&file) {
                Ok(bytes) => bytes,
                // What can't be read is lost, and the disk may be good for everything else.
                Err(error) if is_media_error(&error) => return Ok(Err(UNREADABLE)),
                Err(error) => return Err(error),
            };
            let n = usize::try_from(length).unwrap_or(usize::MAX);
            let wanted = &bytes[..n.min(bytes.len())];
            let sound = sound_bytes(wanted) as u64;
            if sound != length {
                return Ok(Err(Ended { length: sound, damaged: true, found: false }));
            }
            if is_damaged {
                let kept = dir.trash().keep(replica, &bytes)?;
                tracing::error!(path = %from.display(), kept = %kept.display(), length,
                    "a log's records behind that length are damaged here: the file is kept as it was, in the trash");
            }
            let blocks = wanted.chunks(BLOCK_BYTES).map(crc32c).collect();
            let footer = Footer { replica, length, blocks };
            let end = footer.encode();
            file.write_all_at(&end, length)?;
            file.set_len(length + end.len() as u64)?;
            sync_file(&file)?;
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), sync_folder)?;
            Ok(Ok(footer.sealed()))
        };
        let mut sealing = self.dir.begin(move |dir| {
            seal(dir).inspect_err(|error| {
                dir.blame(error);
            })
        });
        let sealed = match sealing.end().await {
            Ok(sealed) => sealed.map_err(|error| self.disk_error(error))?,
            Err(cause) => return Err(DiskError::no_answer(&self.dir, cause)),
        };
        match sealed.is_err() || self.dir.hold(self.replica) {
            true => Ok(sealed),
            false => Err(DiskError::Failed { folder: self.dir.root().to_owned() }),
        }
    }

    /// Removes the file.
    pub(in crate::server) async fn discard(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        let _ended = self.end().await;
        self.dir.forget(self.replica);
        let paths = [self.path.clone(), self.dir.sealed_path(self.replica)];
        let removed = self.dir.begin(move |_| remove_if_there(&paths)).end().await;
        if let Err(error) = removed.unwrap_or_else(|cause| Err(cause.into())) {
            tracing::error!(path = %self.path.display(), %error,
                "a log's replica can't be removed: see to its disk; the next start reports it, and the chunk master \
                 has it removed");
        }
    }

    /// Whether its file is to go: then nobody needs to settle what it comes to.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    fn disk_error(&self, error: io::Error) -> DiskError {
        DiskError::new(&self.dir, &self.path, error)
    }
}

/// Of a file that the disk does not give.
const UNREADABLE: Ended = Ended { length: 0, damaged: true, found: true };

/// What a file that the last process left holds.
pub(in crate::server) fn scan(path: &Path) -> io::Result<Ended> {
    let read = File::open(path).and_then(|file| read_whole(&file));
    match read {
        Ok(bytes) => {
            let sound = sound_bytes(&bytes);
            Ok(Ended { length: sound as u64, damaged: sound < bytes.len(), found: true })
        }
        Err(error) if is_media_error(&error) => {
            tracing::error!(path = %path.display(), %error, "a log's records can't be read here");
            Ok(UNREADABLE)
        }
        Err(error) => Err(error),
    }
}

fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
