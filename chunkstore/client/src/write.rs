//! Writing one file: cuts it into chunks, streams each through its pipeline while the caller
//! writes, and keeps a chunk's blocks until it is sealed, so that they can be sent to other servers
//! after a failure. What happens after a failure is decided by `chunkstore_core::writer`; the bytes
//! on their way are handled in `upload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chunkstore_core::writer::{GaveUp, Lease, Next, Sent, Writer};
use chunkstore_protocol::{
    Allocation, Close, CloseInto, Created, Done, FileId, FileStatus, Renew, Replace, StorePath,
};
use ids::{HostName, Monotonic};
use net::CallError;
use tokio::task::JoinHandle;

use crate::blocks::{BlockEncoder, first_bytes};
use crate::error::is_starting;
use crate::upload::{Outcome, Upload};
use crate::{ChunkStore, StoreError, recovery};

/// A file being written. It is readable from the moment [`FileWriter::close`] returns, and not before.
///
/// Memory: the blocks of the current chunk, at most the file's `chunk_bytes`, shared with the
/// caller's bytes where those were whole blocks. Dropping a writer stops the renewals of its lease.
/// When the lease ends, a new file's fate is as chosen at its creation ([`crate::IfWriterDies`]); a
/// file that was appended to is what it was before.
#[derive(Debug)]
pub struct FileWriter {
    store: ChunkStore,
    path: StorePath,
    core: Writer,
    encoder: BlockEncoder,
    /// The encoded frames of the current chunk, kept in case they must be sent again.
    frames: Vec<Bytes>,
    chunk_length: u64,
    upload: Option<Upload>,
    renewals: Renewals,
    length: u64,
}

impl FileWriter {
    /// The writer of a file created at `asked`.
    pub(crate) fn new(
        store: ChunkStore,
        path: StorePath,
        created: &Created,
        asked: Monotonic,
    ) -> Self {
        let settings = store.settings();
        let core = Writer::new(created, settings.host.clone(), settings.retry_for);
        let length = std::time::Duration::from_millis(created.lease_ms);
        let lease = Lease::new(asked, length, store.client().request_timeout());
        Self {
            renewals: Renewals::start(store.clone(), path.clone(), core.file(), lease),
            store,
            path,
            core,
            encoder: BlockEncoder::default(),
            frames: Vec::new(),
            chunk_length: 0,
            upload: None,
            length: 0,
        }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// The hosts that the bytes of the current chunk pass through, in order; none between two
    /// chunks.
    pub fn pipeline(&self) -> impl Iterator<Item = &HostName> {
        let servers = self.core.allocation().map_or(&[][..], |chunk| &chunk.pipeline);
        servers.iter().map(|server| &server.host)
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing is written so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends bytes. On return they are on their way, but not durable: only a successful
    /// [`Self::flush`] or [`Self::close`] guarantees that. After an error the file can't be
    /// finished: abandon it.
    ///
    /// Not cancellation safe: the bytes of a dropped call may be written in part.
    ///
    /// # Errors
    /// When a chunk can't be written to enough servers, the lease is lost, or the master can't be asked.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        if self.renewals.is_lost() {
            return Err(StoreError::LeaseLost { path: self.path.clone() });
        }
        while !bytes.is_empty() {
            let room = self.core.chunk_bytes().saturating_sub(self.chunk_length);
            if room == 0 {
                self.seal_chunk().await?;
                continue;
            }
            let n = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            self.chunk_length += n as u64;
            self.length += n as u64;
            self.encoder.push(bytes.split_to(n), &mut self.frames);
            self.deliver(None).await?;
        }
        Ok(())
    }

    /// Makes what was written so far as durable as [`Self::close`] would, and visible to readers of
    /// unfinished files ([`ChunkStore::open_unfinished`]). This ends the current chunk, however
    /// short it is: a flush after each line would make each line a chunk, and each chunk burdens
    /// the master for as long as the file exists. Without new bytes, nothing happens.
    ///
    /// Not cancellation safe, like [`Self::write`].
    ///
    /// # Errors
    /// Like [`Self::write`].
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        if self.renewals.is_lost() {
            return Err(StoreError::LeaseLost { path: self.path.clone() });
        }
        if self.chunk_length > 0 {
            self.seal_chunk().await?;
        }
        // The master learns of a sealed chunk by the request for the next one.
        while !self.core.is_told() {
            self.allocate(clock::monotonic()).await?;
        }
        Ok(())
    }

    /// Ends the file: seals its last chunk and tells the master. From then on it is readable,
    /// complete and durable on at least `min(2, replicas asked for)` disks.
    ///
    /// # Errors
    /// Like [`Self::write`]. If a chunk could not be written, the open file is abandoned. If the
    /// file, or a folder above it, was moved or removed meanwhile, the file is closed and the error
    /// says where it is now ([`StoreError::Moved`]).
    pub async fn close(self) -> Result<FileStatus, StoreError> {
        self.close_to(None).await
    }

    /// Like [`Self::close`], and gives the file the name `path` in the same step, replacing a file
    /// there if `replace` says so. A file that is written under another name and closed like this
    /// never stays behind complete under that name, whoever dies.
    ///
    /// # Errors
    /// Like [`Self::close`]. If the file can't get that name, it is abandoned.
    pub async fn close_into(
        self,
        path: &StorePath,
        replace: Replace,
    ) -> Result<FileStatus, StoreError> {
        self.close_to(Some(CloseInto { path: path.clone(), replace })).await
    }

    async fn close_to(mut self, into: Option<CloseInto>) -> Result<FileStatus, StoreError> {
        if self.chunk_length > 0
            && let Err(error) = self.seal_chunk().await
        {
            // The caller must get the chunk's error; the lease ends by itself.
            let _ = self.abandon().await;
            return Err(error);
        }
        let target = into.as_ref().map_or(&self.path, |into| &into.path).clone();
        let request = |stamp| Close { into: into.clone(), ..self.core.close(stamp) };
        let closed = self.store.change("/v1/files/close", &target, request).await;
        let closed: FileStatus = match closed {
            Err(error) if into.is_some() && error.problem().is_some_and(|it| it.status < 500) => {
                // It is open still.
                let _ = self.abandon().await;
                return Err(error);
            }
            closed => closed?,
        };
        match closed.path == target {
            true => Ok(closed),
            false => Err(StoreError::Moved { path: target, now: closed.path }),
        }
    }

    /// Abandons the file: it disappears, or is what it was before the append.
    ///
    /// # Errors
    /// When the master can't be asked; then the file disappears when its lease ends.
    pub async fn abandon(self) -> Result<(), StoreError> {
        let Self { store, path, core, upload, .. } = self;
        drop(upload);
        let request = |stamp| core.abandon(stamp);
        store.change::<_, Done>("/v1/files/abandon", &path, request).await.map(drop)
    }

    async fn seal_chunk(&mut self) -> Result<(), StoreError> {
        let sent = self.encoder.finish(&mut self.frames);
        self.deliver(Some(sent)).await?;
        self.frames.clear();
        self.chunk_length = 0;
        Ok(())
    }

    /// Sends the frames that were not sent yet; after failures, sends them again and elsewhere.
    /// With `end` (the end mark is among them), continues until the chunk is sealed.
    async fn deliver(&mut self, mut end: Option<Sent>) -> Result<(), StoreError> {
        while !self.frames.is_empty() {
            let Some(outcome) = self.send_frames(end.is_some()).await? else {
                return Ok(());
            };
            self.upload = None;
            // An answer before the end mark can only be a failure, as nothing was sent completely
            // yet.
            let sent = end.unwrap_or(Sent { length: 0, checksum: 0 });
            match self.core.handle_uploaded(sent, outcome) {
                Next::Sealed => return Ok(()),
                Next::Recover => self.recover(&mut end).await?,
                next => self.follow(next).await?,
            }
        }
        Ok(())
    }

    /// Has the bytes that all servers of a failed pipeline have sealed, and forgets those: the rest
    /// goes to the next chunk. If there are none, everything does.
    async fn recover(&mut self, end: &mut Option<Sent>) -> Result<(), StoreError> {
        let Some(broken) = self.core.broken().cloned() else {
            return Ok(());
        };
        let client = self.store.client();
        let answers = recovery::freeze(client, &broken).await;
        let next = self.core.handle_frozen(clock::monotonic(), &answers);
        let Next::Seal { length, on } = next else {
            return self.follow(next).await;
        };
        let answers = recovery::seal(client, &broken, length, &on).await;
        let first = first_bytes(&self.frames, length);
        let prefix = first.map(|(_, prefix)| prefix);
        match (self.core.handle_recovered(clock::monotonic(), prefix, answers), first) {
            (Next::Sealed, Some((n_frames, prefix))) => {
                tracing::info!(path = %self.path, chunk = %broken.chunk, length,
                    "a pipeline failed: its survivors have sealed what they had");
                let rest = self.encoder.forget(&mut self.frames, n_frames, end.is_some());
                *end = rest;
                self.chunk_length -= prefix.length;
                Ok(())
            }
            (next, _) => self.follow(next).await,
        }
    }

    async fn follow(&mut self, next: Next) -> Result<(), StoreError> {
        match next {
            // These can't occur here.
            Next::Sealed | Next::Recover | Next::Seal { .. } => Ok(()),
            Next::Allocate { not_before } => self.allocate(not_before).await,
            Next::GiveUp(gave_up) => Err(self.gave_up(gave_up)),
        }
    }

    async fn send_frames(&mut self, is_end: bool) -> Result<Option<Outcome>, StoreError> {
        if self.upload.is_none() {
            self.upload = Some(self.start_upload().await?);
        }
        let Some(upload) = &mut self.upload else {
            return Ok(None);
        };
        match upload.push(&self.frames).await {
            Some(outcome) => Ok(Some(outcome)),
            None if is_end => Ok(Some(upload.finish().await)),
            None => Ok(None),
        }
    }

    async fn start_upload(&mut self) -> Result<Upload, StoreError> {
        loop {
            let Some(allocation) = self.core.allocation() else {
                self.allocate(clock::monotonic()).await?;
                continue;
            };
            return match allocation.pipeline.first() {
                Some(head) => Ok(Upload::start(self.store.client(), allocation, head)),
                None => Err(self.no_pipeline()),
            };
        }
    }

    fn no_pipeline(&self) -> StoreError {
        let address = self.store.settings().master.clone();
        let cause = "an allocation without servers".to_owned();
        let source = CallError::Decode { address, cause };
        StoreError::Call { path: self.path.clone(), source }
    }

    async fn allocate(&mut self, not_before: Monotonic) -> Result<(), StoreError> {
        wait_until(not_before).await;
        let core = &self.core;
        let answer: Result<Allocation, _> =
            self.store.change("/v1/files/allocate", &self.path, |stamp| core.allocate(stamp)).await;
        match answer {
            Ok(allocation) => {
                self.core.handle_allocated(allocation);
                Ok(())
            }
            Err(error @ StoreError::NoServers { .. }) => self.no_servers(error).await,
            Err(error) => Err(error),
        }
    }

    /// The next turn of [`Self::start_upload`] or [`Self::deliver`] asks again.
    async fn no_servers(&mut self, error: StoreError) -> Result<(), StoreError> {
        let starting =
            matches!(&error, StoreError::NoServers { problem, .. } if is_starting(problem));
        match self.core.handle_no_servers(clock::monotonic(), starting) {
            Next::Sealed | Next::Recover | Next::Seal { .. } => Ok(()),
            Next::Allocate { not_before } => {
                wait_until(not_before).await;
                Ok(())
            }
            Next::GiveUp(gave_up) if gave_up.failures.is_empty() || error.is_out_of_room() => {
                Err(error)
            }
            Next::GiveUp(gave_up) => Err(self.gave_up(gave_up)),
        }
    }

    fn gave_up(&self, gave_up: GaveUp) -> StoreError {
        StoreError::TooFewReplicas { path: self.path.clone(), gave_up }
    }
}

async fn wait_until(when: Monotonic) {
    let pause = when.since(clock::monotonic());
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// Keeps a lease in the background until dropped. Nearly all the time, a renewal is waiting at the
/// master for its answer, so that the master notices when this process is gone.
#[derive(Debug)]
struct Renewals {
    lost: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Renewals {
    fn start(store: ChunkStore, path: StorePath, file: FileId, lease: Lease) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(renew(store, path, file, lease, Arc::clone(&lost)));
        Self { lost, task }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn renew(
    store: ChunkStore,
    path: StorePath,
    file: FileId,
    mut lease: Lease,
    lost: Arc<AtomicBool>,
) {
    let wait_ms = u64::try_from(lease.wait().as_millis()).unwrap_or(u64::MAX);
    let request = Renew { client: store.client_id().clone(), files: vec![file], wait_ms };
    loop {
        wait_until(lease.poll_timeout()).await;
        let asked = clock::monotonic();
        match store.ask::<_, Done>("/v1/files/renew", &path, &request).await {
            Ok(_) => lease.handle_renewed(asked),
            Err(StoreError::LeaseLost { .. }) => {
                lost.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                tracing::warn!(%path, %error, "the lease of an open file was not renewed");
                lease.handle_silent(clock::monotonic());
            }
        }
    }
}
