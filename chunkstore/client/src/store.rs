//! The chunk store as its clients hold it: connection settings, and how the master is called. The
//! calls about names are in `names`; files are written by `write` and read by `read`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkstore_core::writer::no_servers_patience;
use chunkstore_protocol::{
    Append, Create, Created, FileStatus, IfWriterDies, Locate, Located, ProblemKind, StorePath,
};
use ids::{ClientId, RequestStamp};
use net::{Backoff, CallError, Client, Problem};

use crate::counts::{Counts, ReadCounts};
use crate::error::is_starting;
use crate::locations::Locations;
use crate::sockets::Sockets;
use crate::stamps::Stamps;
use crate::{FileReader, FileWriter, StoreError, StoreSettings};

/// How long a master in safe mode is waited for at most, unless the retry time is longer.
const SAFE_MODE_PATIENCE: Duration = Duration::from_secs(30);

/// Options of a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Create missing parent folders.
    pub parents: bool,
    /// Replicas asked for; the master's default if `None`.
    pub replication: Option<u8>,
    /// Length limit of the chunks, bytes (see `chunkstore_protocol::is_chunk_limit`); the master's default if
    /// `None`.
    pub chunk_bytes: Option<u64>,
    /// What becomes of the file if its writer dies before closing it.
    pub if_writer_dies: IfWriterDies,
}

/// A client of the chunk store. Clones share one client id and its connections.
///
/// Every call is retried for `retry_for` while the master is unreachable; stamps make that safe.
#[derive(Clone, Debug)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    settings: StoreSettings,
    stamps: Stamps,
    readers: AtomicUsize,
    counts: Counts,
    sockets: Sockets,
    locations: Locations,
}

impl ChunkStore {
    /// A client whose calls carry the token of `client`.
    #[must_use]
    pub fn new(client: Client, settings: StoreSettings) -> Self {
        let readers = AtomicUsize::new(usize::from(net::random_u64() as u8));
        let locations = Locations::new(settings.reads.locations_for);
        let (stamps, counts, sockets) = (Stamps::new(), Counts::default(), Sockets::default());
        let inner = Inner { client, settings, stamps, readers, counts, sockets, locations };
        Self { inner: Arc::new(inner) }
    }

    /// What all of its readers have done so far.
    #[must_use]
    pub fn read_counts(&self) -> ReadCounts {
        self.inner.counts.snapshot()
    }

    /// The settings that it was created with.
    #[must_use]
    pub fn settings(&self) -> &StoreSettings {
        &self.inner.settings
    }

    /// Locates the chunks of a closed file that cover `length` bytes (or everything, if `None`)
    /// from `offset` on.
    ///
    /// # Errors
    /// When there is no such file, it is still open, or the master can't be asked.
    pub async fn locate(
        &self,
        path: &StorePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Located, StoreError> {
        let request = Locate { path: path.clone(), offset, length, open: false, log: false };
        self.ask("/v1/files/locate", path, &request).await
    }

    /// Like [`Self::locate`], for a file that may still be written: its chunks sealed so far. The
    /// file may grow or disappear; of a closed file, all chunks are returned.
    ///
    /// # Errors
    /// When there is no such file, or the master can't be asked.
    pub async fn locate_so_far(
        &self,
        path: &StorePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Located, StoreError> {
        let request = Locate { path: path.clone(), offset, length, open: true, log: false };
        self.ask("/v1/files/locate", path, &request).await
    }

    /// Creates a file and opens it for writing.
    ///
    /// # Errors
    /// When something exists at `path`, a parent folder is missing (without `parents`), no
    /// chunkserver is alive or has room (after some seconds; in a cluster that is starting, for as
    /// long as retries go on), or the master can't be asked.
    pub async fn create(
        &self,
        path: &StorePath,
        options: CreateOptions,
    ) -> Result<FileWriter, StoreError> {
        let request = |stamp| Create {
            stamp,
            path: path.clone(),
            parents: options.parents,
            replication: options.replication,
            chunk_bytes: options.chunk_bytes,
            writer_host: self.inner.settings.host.clone(),
            if_writer_dies: options.if_writer_dies,
        };
        self.open_for_writing("/v1/files/create", path, request).await
    }

    /// Opens a closed file to append to it. It stays readable as it was; the new bytes appear when
    /// the writer is closed. If the writer dies or abandons it, the file is what it was before.
    ///
    /// # Errors
    /// [`StoreError::StillOpen`] if it has another writer; otherwise like [`Self::create`].
    pub async fn append(&self, path: &StorePath) -> Result<FileWriter, StoreError> {
        let writer_host = &self.inner.settings.host;
        let request =
            |stamp| Append { stamp, path: path.clone(), writer_host: writer_host.clone() };
        self.open_for_writing("/v1/files/append", path, request).await
    }

    async fn open_for_writing<Q: serde::Serialize + Sync>(
        &self,
        route: &str,
        path: &StorePath,
        request: impl Fn(RequestStamp) -> Q,
    ) -> Result<FileWriter, StoreError> {
        let asked = clock::monotonic();
        // A master that could not be reached has not said anything about servers.
        let mut refused = None;
        let mut backoff = Backoff::default();
        let created: Created = loop {
            match self.change(route, path, &request).await {
                // Servers register again after the master has restarted or has become reachable
                // again.
                Err(StoreError::NoServers { problem, .. })
                    if refused.get_or_insert_with(clock::Stopwatch::start).elapsed()
                        < self.no_servers_patience(&problem) =>
                {
                    backoff.pause().await;
                }
                answer => break answer?,
            }
        };
        Ok(FileWriter::new(self.clone(), path.clone(), &created, asked))
    }

    /// How long a master without servers is asked again.
    pub(crate) fn no_servers_patience(&self, problem: &Problem) -> Duration {
        no_servers_patience(self.inner.settings.retry_for, is_starting(problem))
    }

    /// Opens a closed file for reading, from its beginning.
    ///
    /// # Errors
    /// When there is no such file, it is still open, or the master can't be asked.
    pub async fn open(&self, path: &StorePath) -> Result<FileReader, StoreError> {
        FileReader::open(self.clone(), path.clone(), 0, None).await
    }

    /// Opens a closed file to read `length` bytes from `offset` on; saves a call compared with
    /// [`Self::open`] and a seek.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub async fn open_range(
        &self,
        path: &StorePath,
        offset: u64,
        length: u64,
    ) -> Result<FileReader, StoreError> {
        FileReader::open(self.clone(), path.clone(), offset, Some(length)).await
    }

    /// The bytes of a small file.
    ///
    /// # Errors
    /// [`StoreError::TooMuch`] if it has more than `bytes_max`; otherwise like [`Self::open`].
    pub async fn read_all(&self, path: &StorePath, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.open(path).await?;
        if reader.len() > bytes_max {
            let path = path.clone();
            return Err(StoreError::TooMuch { path, what: "bytes", limit: bytes_max });
        }
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Creates a file with these bytes. On failure the open file is abandoned, if the master can be
    /// asked.
    ///
    /// # Errors
    /// Like [`Self::create`], [`FileWriter::write`] and [`FileWriter::close`].
    pub async fn write_all(
        &self,
        path: &StorePath,
        bytes: impl Into<bytes::Bytes>,
        options: CreateOptions,
    ) -> Result<FileStatus, StoreError> {
        let mut writer = self.create(path, options).await?;
        match writer.write(bytes.into()).await {
            Ok(()) => writer.close().await,
            Err(error) => {
                // The caller must get the write's error; the lease ends by itself.
                let _ = writer.abandon().await;
                Err(error)
            }
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.inner.sockets
    }

    pub(crate) fn locations(&self) -> &Locations {
        &self.inner.locations
    }

    pub(crate) fn client_id(&self) -> &ClientId {
        self.inner.stamps.client()
    }

    /// A number that differs between readers.
    pub(crate) fn next_rotation(&self) -> usize {
        self.inner.readers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request that changes nothing, with retries while the master is unreachable.
    pub(crate) async fn ask<Q, A>(
        &self,
        route: &str,
        path: &StorePath,
        request: &Q,
    ) -> Result<A, StoreError>
    where
        Q: serde::Serialize + Sync,
        A: serde::de::DeserializeOwned,
    {
        self.call(route, request).await.map_err(|error| StoreError::from_call(path, error))
    }

    /// Sends a mutation with its own stamp, with retries while the master is unreachable.
    pub(crate) async fn change<Q, A>(
        &self,
        route: &str,
        path: &StorePath,
        request: impl Fn(RequestStamp) -> Q,
    ) -> Result<A, StoreError>
    where
        Q: serde::Serialize + Sync,
        A: serde::de::DeserializeOwned,
    {
        let slot = self.inner.stamps.take().await;
        let _then = self.inner.locations.forget_all_at_last();
        self.ask(route, path, &request(slot.stamp())).await
    }

    async fn call<Q, A>(&self, route: &str, request: &Q) -> Result<A, CallError>
    where
        Q: serde::Serialize + Sync,
        A: serde::de::DeserializeOwned,
    {
        let StoreSettings { master, retry_for, .. } = &self.inner.settings;
        let started = clock::Stopwatch::start();
        let mut backoff = Backoff::default();
        let mut patience = *retry_for;
        loop {
            match self.inner.client.post(master, route, request).await {
                Err(error) if is_retried(&error) && started.elapsed() < patience => {
                    patience = patience.max(started.elapsed() + safe_mode_left(&error));
                    tracing::debug!(%error, route, "asking the chunk master again");
                    backoff.pause().await;
                }
                answer => return answer,
            }
        }
    }
}

/// Whether to retry a call. A master without servers has answered: only another request, with its
/// own stamp, may ask again. A master that is starting has not looked at the request. One whose
/// journal is an older copy waits for its operator.
fn is_retried(error: &CallError) -> bool {
    let kind = error.problem_kind().and_then(ProblemKind::of);
    let is_final = matches!(kind, Some(ProblemKind::NoServers | ProblemKind::JournalOutdated));
    error.is_transient() && !is_final
}

/// How long a master that has just started says it will change nothing: after that it certainly
/// takes changes, so it is waited for, whatever the retry time is.
fn safe_mode_left(error: &CallError) -> Duration {
    let starting = error.problem().filter(|problem| is_starting(problem));
    let seconds = starting.and_then(|problem| problem.retry_after).map_or(0, |seconds| seconds + 1);
    Duration::from_secs(u64::from(seconds)).min(SAFE_MODE_PATIENCE)
}
