//! Appending records to a log to which others may append at the same time. The master knows which
//! of its chunks is open, and so does the writer until that chunk ends. A batch whose fate is
//! unknown is sent again unchanged, and readers get its records once.

use bytes::Bytes;
use chunkstore_core::log::Route;
use chunkstore_protocol::{
    BATCH_BYTES_MAX, CreateLog, FileStatus, OpenedLog, ProblemKind, RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES, ServerAddress, StorePath, WriterId,
};
use clock::Stopwatch;
use net::{Backoff, CallError, Problem};

use crate::records::push_frame;
use crate::transfer::append_records;
use crate::{ChunkStore, StoreError};

/// Options of a new log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Create missing parent folders.
    pub parents: bool,
    /// Replicas asked for; the master's default if `None`.
    pub replication: Option<u8>,
    /// Length limit of the chunks, bytes (see `chunkstore_protocol::is_chunk_limit`); the master's default if
    /// `None`. A record and its header must fit.
    pub chunk_bytes: Option<u64>,
}

/// Appends records to a log, in order. Any number of writers may do so at once; a program that
/// appends from several tasks has a writer in each.
#[derive(Debug)]
pub struct LogWriter {
    store: ChunkStore,
    route: Route,
    writer: WriterId,
    /// Number of the last record.
    sequence: u64,
}

impl ChunkStore {
    /// Creates an empty log.
    ///
    /// # Errors
    /// When something exists at `path`, a parent folder is missing (without `parents`), or the
    /// master can't be asked.
    pub async fn create_log(
        &self,
        path: &StorePath,
        options: LogOptions,
    ) -> Result<FileStatus, StoreError> {
        let LogOptions { parents, replication, chunk_bytes } = options;
        let request =
            |stamp| CreateLog { stamp, path: path.clone(), parents, replication, chunk_bytes };
        self.change("/v1/logs/create", path, request).await
    }

    /// A writer of the log at `path`. The master is first asked at the first append.
    #[must_use]
    pub fn log_writer(&self, path: &StorePath) -> LogWriter {
        let halves = [net::random_u64(), net::random_u64()].map(u128::from);
        LogWriter {
            store: self.clone(),
            route: Route::new(path.clone(), self.settings().host.clone()),
            writer: WriterId(halves[0] << 64 | halves[1]),
            sequence: 0,
        }
    }

    /// Appends one record to a log. For many records, use a [`LogWriter`].
    ///
    /// # Errors
    /// Like [`LogWriter::append`].
    pub async fn append_record(&self, path: &StorePath, record: &[u8]) -> Result<(), StoreError> {
        self.log_writer(path).append(&[record]).await
    }
}

impl LogWriter {
    /// The log.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        self.route.path()
    }

    /// Appends records, each whole and in this order, perhaps interleaved with those of other
    /// writers. On return, all of them are synced on every server of their chunk. On an error, the
    /// first ones may be in the log, each once, and no later append adds the others.
    ///
    /// # Errors
    /// [`StoreError::RecordTooLong`] before anything is sent; when `path` is not a log; or when no
    /// chunk takes them for as long as retries go on.
    pub async fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<(), StoreError> {
        let Some(longest) = records.iter().map(|record| record.as_ref().len()).max() else {
            return Ok(());
        };
        let mut batch_bytes_max = self.batch_bytes_max().await?;
        let limit = (batch_bytes_max - RECORD_HEADER_BYTES).min(RECORD_BYTES_MAX);
        if longest > limit {
            let path = self.path().clone();
            return Err(StoreError::RecordTooLong { path, bytes: longest, limit });
        }
        let mut frames = Vec::new();
        for record in records {
            let record = record.as_ref();
            let bytes = frames.len() + RECORD_HEADER_BYTES + record.len();
            if !frames.is_empty() && bytes > batch_bytes_max {
                self.send(std::mem::take(&mut frames).into()).await?;
                batch_bytes_max = self.batch_bytes_max().await?;
            }
            self.sequence += 1;
            push_frame(&mut frames, self.writer, self.sequence, record);
        }
        self.send(frames.into()).await
    }

    /// The maximum length of a batch of this log.
    async fn batch_bytes_max(&mut self) -> Result<usize, StoreError> {
        let chunk_bytes = self.opened().await?.chunk_bytes;
        Ok(usize::try_from(chunk_bytes).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX))
    }

    async fn send(&mut self, frames: Bytes) -> Result<(), StoreError> {
        let (waiting, mut backoff) = (Stopwatch::start(), Backoff::default());
        let retry_for = self.store.settings().retry_for;
        loop {
            let opened = self.opened().await?;
            let Some((primary, followers)) = opened.allocation.pipeline.split_first() else {
                let reason = "its chunk has no servers".to_owned();
                return Err(StoreError::NotAppended { path: self.path().clone(), reason });
            };
            let error = match self.send_to(&opened, primary, followers, &frames).await {
                Ok(()) => {
                    self.route.handle_appended();
                    return Ok(());
                }
                Err(error) => error,
            };
            tracing::debug!(path = %self.path(), chunk = %opened.allocation.chunk, %error,
                "a batch of a log was not taken");
            let not_appended =
                StoreError::NotAppended { path: self.path().clone(), reason: error.to_string() };
            if !is_retried(&error) {
                return Err(not_appended);
            }
            backoff.pause().await;
            self.route.handle_failed(error.problem().is_none());
            // Even the last try tells the master of the failure, so that the next writer gets
            // another chunk.
            match self.opened().await {
                Err(StoreError::NoServers { .. }) if waiting.elapsed() < retry_for => {}
                answer => drop(answer?),
            }
            if waiting.elapsed() >= retry_for {
                return Err(not_appended);
            }
        }
    }

    async fn send_to(
        &self,
        opened: &OpenedLog,
        primary: &ServerAddress,
        followers: &[ServerAddress],
        frames: &Bytes,
    ) -> Result<(), CallError> {
        let allocation = &opened.allocation;
        let client = self.store.client().with_token(allocation.token.clone());
        let replica = allocation.replica();
        append_records(&client, primary, followers, replica, frames.clone()).await.map(drop)
    }

    /// The open chunk according to the master's last answer; asks it if there is none, or if that
    /// one failed.
    async fn opened(&mut self) -> Result<OpenedLog, StoreError> {
        if let Some(opened) = self.route.opened() {
            return Ok(opened.clone());
        }
        let request = self.route.ask();
        // A master that could not be reached has not said anything about servers.
        let (mut refused, mut backoff) = (None, Backoff::default());
        let opened: OpenedLog = loop {
            match self.store.ask("/v1/logs/open", &request.path, &request).await {
                // Servers register again after the master has restarted or has become reachable
                // again.
                Err(StoreError::NoServers { problem, .. })
                    if refused.get_or_insert_with(Stopwatch::start).elapsed()
                        < self.store.no_servers_patience(&problem) =>
                {
                    backoff.pause().await;
                }
                answer => break answer?,
            }
        };
        self.route.handle_opened(opened.clone());
        Ok(opened)
    }
}

/// Whether another chunk, or the same one a moment later, may take the batch. An expired token is
/// renewed with the master's next answer.
fn is_retried(error: &CallError) -> bool {
    let is_ended =
        |problem: &Problem| ProblemKind::of(&problem.kind) == Some(ProblemKind::LogEnded);
    match error.problem() {
        Some(problem) => is_ended(problem) || matches!(problem.status, 401 | 403 | 500..),
        None => error.is_transient(),
    }
}
