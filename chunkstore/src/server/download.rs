//! A chunk's `GET`: reads whole blocks in large batches on the disk's threads, one batch ahead of the
//! network, and verifies each block against the footer before it is sent. A replica that does not match
//! is set aside and reported lost; a reader that takes nothing for too long is given up.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chunkstore_client::batch::fill_batch;
use chunkstore_client::checksum::{ChunkChecksum, crc32c};
use chunkstore_core::replica::{ReplicaKey, Sealed};
use chunkstore_protocol::block::{BLOCK_BYTES, BlockHeader, END_BYTES, HEADER_BYTES};
use futures_util::stream;
use rustix::fs::{Advice, fadvise};
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError, mpsc};

use super::Server;
use super::data_dir::{DataDir, OpenError, read_footer};
use super::disk_calls::{Call, NoAnswer};
use super::disk_health::is_media_error;
use super::footer::Footer;
use super::lost::give_up;
use super::metrics;

/// Blocks that one read takes: 1 MiB.
pub(super) const BLOCKS_PER_READ: usize = 16;
/// Footers kept in memory: at most 4 KiB each.
const FOOTERS_MAX: usize = 2048;

/// Why a replica can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    /// It is not here.
    #[error("chunk {} version {} is not held here: locate it again", .0.chunk, .0.version.0)]
    Unknown(ReplicaKey),
    /// The range begins behind the chunk's end.
    #[error("chunk {} has {length} bytes: there are none from {offset} on", replica.chunk)]
    BehindEnd {
        /// What was asked for.
        replica: ReplicaKey,
        /// First byte asked for.
        offset: u64,
        /// The chunk's length.
        length: u64,
    },
    /// It is corrupt, or its disk fails.
    #[error("chunk {} is broken here ({cause}): read it from another server", replica.chunk)]
    Broken {
        /// What was asked for.
        replica: ReplicaKey,
        /// How.
        cause: Breakage,
    },
    /// This process can't read it just now; the replica may be sound.
    #[error("chunk {} can't be read here just now ({cause}): read it from another server", replica.chunk)]
    Failed {
        /// What was asked for.
        replica: ReplicaKey,
        /// Why.
        cause: Breakage,
    },
    /// Its reader takes nothing.
    #[error("the reader of chunk {} took no bytes for {limit:?}: read on from where it stands", replica.chunk)]
    Idle {
        /// What was asked for.
        replica: ReplicaKey,
        /// How long a reader may take nothing.
        limit: Duration,
    },
    /// As many reads as allowed are under way.
    #[error("{reads_max} reads are under way: try another server, or again in a moment")]
    TooMany {
        /// The limit.
        reads_max: usize,
    },
}

impl DownloadError {
    /// That a replica is broken is an answer to a re-check.
    fn broken(self) -> Result<bool, Self> {
        match self {
            Self::Broken { .. } => Ok(false),
            other => Err(other),
        }
    }
}

/// What came in the way of reading a replica.
#[derive(Debug, thiserror::Error)]
pub(super) enum Breakage {
    /// Its file or footer.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading it.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Its disk gave no answer in time.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// A block's bytes.
    #[error("the block at byte {offset} does not match its checksum")]
    Block {
        /// The block's offset.
        offset: u64,
    },
}

impl Breakage {
    pub(super) fn is_of_the_replica(&self) -> bool {
        match self {
            // It was read when it came: its format was this release's.
            Self::Open(OpenError::Footer(_)) => true,
            Self::Open(error) => error.is_broken(),
            Self::Read(error) => is_media_error(error),
            Self::NoAnswer(_) => false,
            Self::Block { .. } => true,
        }
    }
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A client, to whom copies give way.
    Client,
    /// A copy to another server.
    Copy,
}

/// A read, answered.
pub(super) struct Download {
    /// Offset of the first byte sent.
    pub(super) first: u64,
    /// Bytes of the body.
    pub(super) body_bytes: u64,
    /// Bytes of the whole chunk.
    pub(super) length: u64,
    /// CRC32C of its bytes.
    pub(super) checksum: u32,
    pub(super) body: Body,
}

/// Footers of the replicas read last, so that a read in pieces reads its footer once. A name may come to
/// stand for another file, so that each is kept with its file's identity.
#[derive(Debug, Default)]
pub(super) struct Footers {
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    footers: BTreeMap<ReplicaKey, (Identity, Arc<Footer>)>,
    oldest_first: VecDeque<ReplicaKey>,
}

/// Inode and change time: no two files of one name share both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, i64, i64);

impl Footers {
    /// Of a replica that is gone.
    pub(super) fn forget(&self, replica: ReplicaKey) {
        self.lock().footers.remove(&replica);
    }

    fn find(&self, replica: ReplicaKey, identity: Identity) -> Option<Arc<Footer>> {
        let cached = self.lock();
        let (known, footer) = cached.footers.get(&replica)?;
        (*known == identity).then(|| Arc::clone(footer))
    }

    fn keep(&self, identity: Identity, footer: &Arc<Footer>) {
        let mut cached = self.lock();
        let entry = (identity, Arc::clone(footer));
        if cached.footers.insert(footer.replica, entry).is_none() {
            cached.oldest_first.push_back(footer.replica);
        }
        while cached.oldest_first.len() > FOOTERS_MAX {
            if let Some(oldest) = cached.oldest_first.pop_front() {
                cached.footers.remove(&oldest);
            }
        }
    }

    /// Never held across an await or a read.
    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a read of `wanted` bytes (to the end if `None`) from `offset` on, widened to whole blocks. The
/// first batch is verified before the answer begins.
pub(super) async fn send(
    server: &Arc<Server>,
    reader: Reader,
    replica: ReplicaKey,
    offset: u64,
    wanted: Option<u64>,
) -> Result<Download, DownloadError> {
    let permit = permit(server)?;
    let Opened { dir, file, footer } = match open(server, replica).await {
        Ok(opened) => opened,
        Err(error) => return Err(give_up(server, replica, None, error).await),
    };
    let permits = (permit, permit_of_disk(&dir)?);
    if offset > footer.length {
        return Err(DownloadError::BehindEnd { replica, offset, length: footer.length });
    }
    let end = offset.saturating_add(wanted.unwrap_or(u64::MAX)).min(footer.length);
    let block = BLOCK_BYTES as u64;
    let range = (offset / block)..if end > offset { end.div_ceil(block) } else { offset / block };
    let n_bytes = (range.end * block).min(footer.length) - (range.start * block).min(footer.length);
    let body_bytes = n_bytes + (range.end - range.start) * HEADER_BYTES as u64 + END_BYTES as u64;
    let Sealed { length, checksum } = footer.sealed();
    let opened = Opened { dir, file, footer };
    let mut reading = Reading::new(Arc::clone(server), reader, opened, range.clone(), permits);
    let first = match reading.next_batch().await {
        Ok(batch) => batch,
        Err(cause) => return Err(give_up(server, replica, Some(&reading.file), cause).await),
    };
    let (frames, sent) = mpsc::channel(1);
    tokio::spawn(reading.send_all(first, frames));
    let body = stream::unfold(sent, async |mut sent: mpsc::Receiver<_>| {
        sent.recv().await.map(|frame| (frame, sent))
    });
    let (first, body) = (range.start * block, Body::from_stream(body));
    Ok(Download { first, body_bytes, length, checksum, body })
}

/// The open file of a replica, for a reader on this host: it explains itself, and verifies the bytes by
/// the footer.
pub(super) async fn open_for_host(
    server: &Arc<Server>,
    replica: ReplicaKey,
) -> Result<File, DownloadError> {
    match open(server, replica).await {
        Ok(opened) => Ok(opened.file),
        Err(error) => Err(give_up(server, replica, None, error).await),
    }
}

/// Reads a replica whole, since one of its readers found it corrupt; whether it is sound. If not it is set
/// aside, as when it is found so by a read.
pub(super) async fn recheck(
    server: &Arc<Server>,
    replica: ReplicaKey,
) -> Result<bool, DownloadError> {
    let _permit = permit(server)?;
    let Opened { dir, file, footer } = match open(server, replica).await {
        Ok(opened) => opened,
        Err(error) => return give_up(server, replica, None, error).await.broken(),
    };
    let _permit_of_disk = permit_of_disk(&dir)?;
    let file = Arc::new(file);
    let reading = Arc::clone(&file);
    let mut reading = dir.begin(move |_| {
        let blocks = 0..footer.blocks.len();
        blocks.step_by(BLOCKS_PER_READ).try_for_each(|first| {
            let n = BLOCKS_PER_READ.min(footer.blocks.len() - first);
            read_batch(&reading, &footer, first, n).map(drop)
        })
    });
    match reading.answer().await.unwrap_or_else(|cause| Err(cause.into())) {
        Ok(()) => Ok(true),
        Err(cause) => give_up(server, replica, Some(&file), cause).await.broken(),
    }
}

fn permit(server: &Server) -> Result<OwnedSemaphorePermit, DownloadError> {
    Arc::clone(&server.reads).try_acquire_owned().map_err(|error| match error {
        TryAcquireError::NoPermits | TryAcquireError::Closed => {
            DownloadError::TooMany { reads_max: super::READS_MAX }
        }
    })
}

fn permit_of_disk(dir: &DataDir) -> Result<OwnedSemaphorePermit, DownloadError> {
    dir.calls().reader().map_err(|reads_max| DownloadError::TooMany { reads_max })
}

/// A replica, open to be read.
struct Opened {
    dir: Arc<DataDir>,
    file: File,
    footer: Arc<Footer>,
}

async fn open(server: &Arc<Server>, replica: ReplicaKey) -> Result<Opened, Breakage> {
    for dir in server.disks.candidates(replica) {
        let footers = Arc::clone(&server.footers);
        let mut opening = dir.begin(move |dir| open_blocking(dir, &footers, replica));
        match opening.answer().await? {
            Err(OpenError::Missing) => {}
            opened => {
                let (file, footer) = opened?;
                return Ok(Opened { dir, file, footer });
            }
        }
    }
    Err(OpenError::Missing.into())
}

fn open_blocking(
    dir: &DataDir,
    footers: &Footers,
    replica: ReplicaKey,
) -> Result<(File, Arc<Footer>), OpenError> {
    let file = dir.open_to_read(replica)?;
    let metadata = file.metadata().map_err(OpenError::Io)?;
    let identity = Identity(metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
    let footer = match footers.find(replica, identity) {
        Some(footer) => footer,
        None => {
            let footer = Arc::new(read_footer(&file, replica)?);
            footers.keep(identity, &footer);
            footer
        }
    };
    fadvise(&file, 0, None, Advice::Sequential).map_err(|error| OpenError::Io(error.into()))?;
    Ok((file, footer))
}

/// A read under way: one batch is always being read.
struct Reading {
    server: Arc<Server>,
    reader: Reader,
    dir: Arc<DataDir>,
    file: Arc<File>,
    footer: Arc<Footer>,
    /// Blocks still to be read.
    blocks: std::ops::Range<u64>,
    checksum: ChunkChecksum,
    ahead: Option<Call<Result<Batch, Breakage>>>,
    /// What came behind the last batch.
    failed: Option<Breakage>,
    ended: bool,
    /// Of the server, and of the disk.
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Reading {
    fn new(
        server: Arc<Server>,
        reader: Reader,
        Opened { dir, file, footer }: Opened,
        blocks: std::ops::Range<u64>,
        permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> Self {
        let mut reading = Self {
            server,
            reader,
            dir,
            file: Arc::new(file),
            footer,
            blocks,
            checksum: ChunkChecksum::default(),
            ahead: None,
            failed: None,
            ended: false,
            _permits: permits,
        };
        reading.read_ahead();
        reading
    }

    /// Sends the body, from its first frame on, to whoever writes it to the network. A reader that takes
    /// nothing for too long loses its permit and what is held for it at once; it hears why if it ever
    /// takes up reading again.
    async fn send_all(
        mut self,
        first: Option<Bytes>,
        frames: mpsc::Sender<Result<Bytes, DownloadError>>,
    ) {
        let mut next = first;
        while let Some(frame) = next {
            let limit = self.server.idle_timeout;
            let Ok(place) = tokio::time::timeout(limit, frames.reserve()).await else {
                let replica = self.footer.replica;
                tracing::warn!(chunk = %replica.chunk, ?limit, "a reader takes nothing: given up");
                drop(self);
                let _gone = frames.send(Err(DownloadError::Idle { replica, limit })).await;
                return;
            };
            // A reader that is gone wants no more.
            let Ok(place) = place else { return };
            metrics::observe_sent(frame.len() as u64);
            if self.reader == Reader::Client {
                self.server.clients.observe();
            }
            place.send(Ok(frame));
            next = match self.next_batch().await {
                Ok(batch) => batch,
                Err(cause) => {
                    let (replica, file) = (self.footer.replica, Some(&self.file));
                    let error = give_up(&self.server, replica, file, cause).await;
                    let _gone = frames.send(Err(error)).await;
                    return;
                }
            };
        }
    }

    /// The next frame of the body: a batch of blocks with their headers, the last one with the end mark.
    async fn next_batch(&mut self) -> Result<Option<Bytes>, Breakage> {
        if self.ended {
            return Ok(None);
        }
        if let Some(cause) = self.failed.take() {
            return Err(cause);
        }
        let Some(mut ahead) = self.ahead.take() else {
            self.ended = true;
            let mark = BlockHeader { length: 0, checksum: self.checksum.value() };
            return Ok(Some(Bytes::copy_from_slice(&mark.encode())));
        };
        let (batch, failed) = ahead.answer().await??;
        self.failed = failed;
        self.read_ahead();
        Ok(Some(batch))
    }

    fn read_ahead(&mut self) {
        let first = self.blocks.start;
        let n = (self.blocks.end - first).min(BLOCKS_PER_READ as u64);
        if n == 0 {
            return;
        }
        self.blocks.start += n;
        let from = usize::try_from(first).unwrap_or(usize::MAX);
        let sent = self.footer.checked_blocks(from).take(n as usize);
        sent.for_each(|(block, length)| self.checksum.push(block, length));
        let (file, footer) = (Arc::clone(&self.file), Arc::clone(&self.footer));
        self.ahead = Some(self.dir.begin(move |_| read_sound(&file, &footer, from, n as usize)));
    }
}

/// Blocks that are sound, and what is wrong with the one behind them, if one was to follow.
type Batch = (Bytes, Option<Breakage>);

/// Reads `n` blocks from block `first` on, up to the first that is bad; fails only if that is the first of them. Who reads
/// goes on behind the sound ones at another server.
fn read_sound(file: &File, footer: &Footer, first: usize, n: usize) -> Result<Batch, Breakage> {
    match read_batch(file, footer, first, n) {
        Ok(batch) => Ok((batch, None)),
        Err(cause @ Breakage::Block { offset }) => {
            let n_sound = usize::try_from(offset).unwrap_or(usize::MAX) / BLOCK_BYTES - first;
            if n_sound == 0 {
                return Err(cause);
            }
            Ok((read_batch(file, footer, first, n_sound)?, Some(cause)))
        }
        Err(cause) => Err(cause),
    }
}

/// Reads `n` blocks from block `first` on, right into the form that they are sent in: with its header before
/// each. So no byte is copied between the page cache and the socket, and each is verified while it is hot in the
/// processor's cache.
pub(super) fn read_batch(
    file: &File,
    footer: &Footer,
    first: usize,
    n: usize,
) -> Result<Bytes, Breakage> {
    let offset = (first * BLOCK_BYTES) as u64;
    let n_bytes =
        usize::try_from(footer.length - offset).unwrap_or(usize::MAX).min(n * BLOCK_BYTES);
    let checksums = footer.blocks.iter().skip(first);
    fill_batch(n_bytes + n * HEADER_BYTES, |batch| {
        let blocks = batch.chunks_mut(HEADER_BYTES + BLOCK_BYTES).zip(checksums);
        for (at, (block, checksum)) in blocks.enumerate() {
            let offset = offset + (at * BLOCK_BYTES) as u64;
            let (header, bytes) = block.split_at_mut(HEADER_BYTES);
            file.read_exact_at(bytes, offset)?;
            if crc32c(bytes) != *checksum {
                return Err(Breakage::Block { offset });
            }
            let length = u32::try_from(bytes.len()).expect("a block's length fits");
            header.copy_from_slice(&BlockHeader { length, checksum: *checksum }.encode());
        }
        Ok(())
    })
}
