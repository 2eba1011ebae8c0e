//! Reading one file: finds its chunks, asks the nearest replica of each, verifies every block, and goes
//! on at the same byte with another replica when one fails. One server's answer is `replica_stream`'s.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use chunkstore_core::writer::{Failures, ServerFailure};
use chunkstore_protocol::{ChunkLocation, ServerAddress, StorePath};
use clock::Stopwatch;
use net::Backoff;

use crate::order::Standpoint;
use crate::replica_stream::ReplicaStream;
use crate::{ChunkStore, StoreError};

/// Bytes of a file whose chunks are located by one call.
const LOCATE_BYTES: u64 = 256 << 20;

/// An open file. Files never change, so a reader sees one file however long it takes; the bytes returned
/// are verified, each by its block's checksum.
#[derive(Debug)]
pub struct FileReader {
    store: ChunkStore,
    path: StorePath,
    length: u64,
    /// Located chunks by their offset in the file.
    chunks: BTreeMap<u64, ChunkLocation>,
    standpoint: Standpoint,
    /// Verified bytes that the caller has not taken.
    ready: VecDeque<Bytes>,
    /// Offset behind the last byte in `ready`.
    fetched: u64,
    /// Where the range being read ends.
    end: u64,
    stream: Option<(ServerAddress, ReplicaStream)>,
    trouble: Option<Trouble>,
}

/// What has gone wrong since the last byte that arrived.
#[derive(Debug)]
struct Trouble {
    since: Stopwatch,
    backoff: Backoff,
    /// Times that all replicas have failed.
    n_rounds: u32,
    /// Replicas of the current chunk that were not tried in this round.
    untried: Vec<ServerAddress>,
    failures: Failures,
}

impl FileReader {
    pub(crate) async fn open(
        store: ChunkStore,
        path: StorePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Self, StoreError> {
        let settings = store.settings();
        let standpoint = Standpoint {
            host: settings.host.clone(),
            rack: settings.rack.clone(),
            rotation: store.next_rotation(),
            suspects: BTreeSet::new(),
        };
        let first = length.unwrap_or(LOCATE_BYTES).min(LOCATE_BYTES);
        let located = store.locate(&path, offset, Some(first)).await?;
        let mut reader = Self {
            store,
            path,
            length: located.length,
            chunks: BTreeMap::new(),
            standpoint,
            ready: VecDeque::new(),
            fetched: 0,
            end: 0,
            stream: None,
            trouble: None,
        };
        reader.remember(located.chunks);
        reader.seek(offset, length.unwrap_or(u64::MAX));
        Ok(reader)
    }

    /// Length of the whole file, bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// From now on reads `length` bytes (or fewer, at the end of the file) from `offset` on. Going on where
    /// the last range ended costs nothing.
    pub fn seek(&mut self, offset: u64, length: u64) {
        let offset = offset.min(self.length);
        let end = offset.saturating_add(length).min(self.length);
        if (offset, end) != (self.position(), self.end) {
            self.ready.clear();
            self.stream = None;
            self.trouble = None;
            self.fetched = offset;
            self.end = end;
        }
    }

    /// Offset of the next byte that [`Self::next`] returns.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.fetched - self.ready.iter().map(|piece| piece.len() as u64).sum::<u64>()
    }

    /// The next bytes of the range, at most a block; `None` at its end. A dropped call loses nothing.
    ///
    /// # Errors
    /// When no replica of a chunk could be read for as long as retries go on, or the master can't be asked.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.ready.is_empty() && self.fetched < self.end {
            self.fetch().await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        let Some((server, stream)) = &mut self.stream else {
            return self.open_replica().await;
        };
        let server = server.clone();
        let step = stream.next(&mut self.ready).await;
        // The caller had taken everything before.
        let arrived: usize = self.ready.iter().map(Bytes::len).sum();
        self.fetched += arrived as u64;
        if arrived > 0 {
            self.trouble = None;
        }
        match step {
            Ok(true) => {}
            Ok(false) => self.stream = None,
            Err(error) => {
                self.stream = None;
                self.failed(&server, error.to_string());
            }
        }
        Ok(())
    }

    /// Opens the best replica of the chunk at `fetched` that has not failed in this round.
    async fn open_replica(&mut self) -> Result<(), StoreError> {
        let location = self.location().await?;
        let offset = self.fetched - location.offset;
        let length = (self.end - self.fetched).min(location.length - offset);
        let candidates = match &self.trouble {
            Some(trouble) => trouble.untried.clone(),
            None => self.standpoint.sort(&location.servers),
        };
        let Some(server) = candidates.first() else {
            return self.next_round(&location).await;
        };
        let opened =
            ReplicaStream::open(self.store.client(), &server.address, &location, offset, length);
        match opened.await {
            Ok(stream) => self.stream = Some((server.clone(), stream)),
            Err(error) => self.failed(server, error.to_string()),
        }
        Ok(())
    }

    fn failed(&mut self, server: &ServerAddress, reason: String) {
        tracing::warn!(path = %self.path, offset = self.fetched, host = %server.host, reason,
            "a replica can't be read: trying another");
        self.standpoint.suspects.insert(server.host.clone());
        let untried = match self.chunk_at(self.fetched) {
            Some(location) => self.standpoint.sort(&location.servers),
            None => Vec::new(),
        };
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(untried));
        trouble.untried.retain(|other| other.host != server.host);
        trouble.failures.note(ServerFailure { host: server.host.clone(), reason });
    }

    /// All replicas have failed: after a pause asks the master where they are now.
    async fn next_round(&mut self, location: &ChunkLocation) -> Result<(), StoreError> {
        let retry_for = self.store.settings().retry_for;
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(Vec::new()));
        // The master is asked once more in any case: replicas move and tokens expire.
        if trouble.n_rounds > 0 && trouble.since.elapsed() >= retry_for {
            return Err(StoreError::Unreadable {
                path: self.path.clone(),
                offset: self.fetched,
                chunk: location.chunk,
                failures: trouble.failures.all().to_vec(),
            });
        }
        trouble.n_rounds += 1;
        trouble.backoff.pause().await;
        let located = self.store.locate(&self.path, self.fetched, Some(1)).await?;
        let same = located.length == self.length
            && located.chunks.iter().any(|now| {
                (now.chunk, now.offset, now.length)
                    == (location.chunk, location.offset, location.length)
            });
        if !same {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        self.remember(located.chunks);
        self.standpoint.suspects.clear();
        let servers = match self.chunk_at(self.fetched) {
            Some(location) => self.standpoint.sort(&location.servers),
            None => Vec::new(),
        };
        if let Some(trouble) = &mut self.trouble {
            trouble.untried = servers;
        }
        Ok(())
    }

    /// The chunk at `fetched`, located if it is not known yet.
    async fn location(&mut self) -> Result<ChunkLocation, StoreError> {
        if let Some(known) = self.chunk_at(self.fetched) {
            return Ok(known.clone());
        }
        let wanted = (self.end - self.fetched).min(LOCATE_BYTES);
        let located = self.store.locate(&self.path, self.fetched, Some(wanted)).await?;
        if located.length != self.length {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        self.chunks.clear();
        self.remember(located.chunks);
        let replaced = || StoreError::Replaced { path: self.path.clone() };
        self.chunk_at(self.fetched).cloned().ok_or_else(replaced)
    }

    fn chunk_at(&self, offset: u64) -> Option<&ChunkLocation> {
        let (_, location) = self.chunks.range(..=offset).next_back()?;
        (offset - location.offset < location.length).then_some(location)
    }

    fn remember(&mut self, chunks: Vec<ChunkLocation>) {
        self.chunks.extend(chunks.into_iter().map(|location| (location.offset, location)));
    }
}

impl Trouble {
    fn new(untried: Vec<ServerAddress>) -> Self {
        let backoff = Backoff::default();
        let failures = Failures::default();
        Self { since: Stopwatch::start(), backoff, n_rounds: 0, untried, failures }
    }
}
