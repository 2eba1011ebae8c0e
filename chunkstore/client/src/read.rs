//! Reading one file: locates its chunks, asks the nearest replica of each, verifies every block,
//! and continues at the same byte with another replica when one fails or is silent. One server's
//! answer is handled in `replica_stream`; `hedge` decides when a second one is asked.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::{ChunkLocation, FileId, Located, ServerAddress, StorePath};
use clock::Stopwatch;

use crate::ahead::Ahead;
use crate::buffer::Buffer;
use crate::candidates::Candidates;
use crate::hedge::{Pace, Pulled, pull};
use crate::order::Standpoint;
use crate::replica_stream::{ReplicaError, ReplicaStream};
use crate::{ChunkStore, StoreError};

/// Bytes of a file whose chunks are located by one call.
pub(crate) const LOCATE_BYTES: u64 = 256 << 20;

/// An open file. Files never change, so a reader sees the same file however long it takes. The
/// bytes returned are verified by their blocks' checksums.
#[derive(Debug)]
pub struct FileReader {
    store: ChunkStore,
    path: StorePath,
    file: FileId,
    length: u64,
    /// Whether it is a log, whose chunks must be located as such.
    is_log: bool,
    candidates: Candidates,
    pace: Pace,
    /// Verified bytes that the caller has not taken; they may extend beyond `end`.
    buffer: Buffer,
    /// Where the range being read ends.
    end: u64,
    /// The stream that continues where the buffer ends.
    stream: Option<ReplicaStream>,
    /// The next window of locations.
    ahead: Option<Ahead>,
}

impl FileReader {
    pub(crate) async fn open(
        store: ChunkStore,
        path: StorePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Self, StoreError> {
        let first = length.unwrap_or(LOCATE_BYTES).min(LOCATE_BYTES);
        let located = store.locate_to_open(&path, offset, first).await?;
        let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        Ok(Self::located(store, path, located, offset..end))
    }

    /// A reader of the file that `located` describes, for as much of this range as it has.
    pub(crate) fn located(
        store: ChunkStore,
        path: StorePath,
        located: Located,
        range: Range<u64>,
    ) -> Self {
        let settings = store.settings();
        let (host, rack) = (settings.host.clone(), settings.rack.clone());
        let standpoint = Standpoint::new(host, rack, store.next_rotation());
        let mut reader = Self {
            store,
            path,
            file: located.file,
            length: located.length,
            is_log: false,
            candidates: Candidates::new(standpoint),
            pace: Pace::default(),
            buffer: Buffer::default(),
            end: 0,
            stream: None,
            ahead: None,
        };
        reader.candidates.remember(located.chunks);
        reader.seek(range.start, range.end.saturating_sub(range.start));
        reader
    }

    /// The same reader, for a log.
    pub(crate) fn of_log(self) -> Self {
        Self { is_log: true, ..self }
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

    /// The file that was opened, whatever is at its path now.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// From now on reads `length` bytes (or fewer, at the end of the file) from `offset` on.
    /// Continuing where the last range ended, or within bytes that have already arrived behind it,
    /// costs nothing.
    pub fn seek(&mut self, offset: u64, length: u64) {
        let offset = offset.min(self.length);
        self.end = offset.saturating_add(length).min(self.length);
        if !self.buffer.skip_to(offset) {
            self.buffer.restart(offset);
            self.stream = None;
            self.candidates.handle_arrived();
        }
    }

    /// Offset of the next byte that [`Self::next`] returns.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.buffer.start()
    }

    /// The next bytes of the range, at most a block; `None` at its end. Cancellation safe.
    ///
    /// # Errors
    /// When no replica of a chunk could be read for as long as retries go on, or the master can't be asked.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let taken = self.buffer.take(self.end);
            if taken.is_some() || self.buffer.start() >= self.end {
                return Ok(taken);
            }
            self.fetch().await?;
        }
    }

    /// Makes one step towards more bytes in the buffer, which is empty.
    async fn fetch(&mut self) -> Result<(), StoreError> {
        if let Some(done) = self.stream.take_if(|stream| stream.is_done()) {
            done.finish().await;
        }
        if self.stream.is_none() {
            self.stream = self.open_replica().await?;
        }
        let (waiting, patience) = (Stopwatch::start(), self.patience());
        let Self { store, candidates, buffer, end, stream, .. } = self;
        let Some(stream) = stream else { return Ok(()) };
        let server = stream.server().clone();
        let spares = || spares(store, candidates, buffer.end()..*end, &server);
        let pulled = pull(stream, patience, spares).await;
        self.take_in(pulled, &server, waiting.elapsed());
        Ok(())
    }

    /// How long a replica may be silent before a second one is asked.
    fn patience(&self) -> Duration {
        match self.store.settings().reads.hedge_after {
            Duration::ZERO => Duration::MAX,
            hedge_after => self.pace.patience(hedge_after),
        }
    }

    fn take_in(&mut self, pulled: Pulled, server: &ServerAddress, wait: Duration) {
        let Pulled { winner, step, failed, n_hedges } = pulled;
        if n_hedges > 0 {
            let winner = winner.as_ref().map(|winner| winner.server().host.as_str());
            tracing::debug!(path = %self.path, offset = self.buffer.end(), host = %server.host,
                ?wait, n_hedges, winner, "a replica was silent: others were asked too");
            self.store.counts().observe_hedges(n_hedges, winner.is_some());
        }
        for (server, error) in failed {
            self.failed(&server, &error);
        }
        if let Some(winner) = winner {
            self.candidates.handle_slow(clock::monotonic(), server);
            self.stream = Some(winner);
        }
        match step {
            Ok(pieces) => {
                self.pace.observe(wait);
                self.candidates.handle_arrived();
                pieces.into_iter().for_each(|piece| self.buffer.push(piece));
            }
            Err(error) => {
                self.stream = None;
                self.failed(server, &error);
            }
        }
    }

    fn failed(&mut self, server: &ServerAddress, error: &ReplicaError) {
        let (offset, reason) = (self.buffer.end(), error.to_string());
        tracing::warn!(path = %self.path, offset, host = %server.host, reason,
            "a replica can't be read: trying another");
        self.store.locations().forget(&self.path);
        self.candidates.handle_failed(clock::monotonic(), offset, server, reason);
    }

    /// A stream from the best replica that has not failed in this round, starting at the buffer's
    /// end; `None` after a round in which all have failed.
    async fn open_replica(&mut self) -> Result<Option<ReplicaStream>, StoreError> {
        self.locate().await?;
        self.look_ahead();
        let offset = self.buffer.end();
        let server = self.candidates.servers(clock::monotonic(), offset).into_iter().next();
        match (server, self.candidates.wanted(offset, self.end)) {
            (Some(server), Some(wanted)) => {
                Ok(Some(ReplicaStream::new(&self.store, server, wanted)))
            }
            _ => self.next_round().await.map(|()| None),
        }
    }

    /// All replicas have failed: after a pause, asks the master for their current locations.
    async fn next_round(&mut self) -> Result<(), StoreError> {
        let offset = self.buffer.end();
        let Some(location) = self.candidates.chunk_at(offset).cloned() else {
            return Err(self.replaced());
        };
        let retry_for = self.store.settings().retry_for;
        let trouble = self.candidates.trouble();
        // The master is asked at least once more: replicas move, and tokens expire.
        if trouble.n_rounds > 0 && trouble.since.elapsed() >= retry_for {
            return Err(StoreError::Unreadable {
                path: self.path.clone(),
                offset,
                chunk: location.chunk,
                failures: trouble.failures.all().to_vec(),
            });
        }
        trouble.n_rounds += 1;
        trouble.backoff.pause().await;
        let located = match self.is_log {
            true => self.store.locate_log(&self.path, offset..offset + 1).await?,
            false => self.store.locate(&self.path, offset, Some(1)).await?,
        };
        let is_same = |now: &ChunkLocation| {
            (now.chunk, now.offset, now.length)
                == (location.chunk, location.offset, location.length)
        };
        if !self.is_of(&located) || !located.chunks.iter().any(is_same) {
            return Err(self.replaced());
        }
        self.candidates.remember(located.chunks);
        self.candidates.begin_round(clock::monotonic(), offset);
        Ok(())
    }

    /// Locates the chunk at the buffer's end, unless it is known.
    async fn locate(&mut self) -> Result<(), StoreError> {
        let offset = self.buffer.end();
        if self.candidates.chunk_at(offset).is_some() {
            return Ok(());
        }
        let told = match &mut self.ahead {
            Some(ahead) if ahead.offset() == offset => ahead.answer().await,
            _ => None,
        };
        self.ahead = None;
        let located = match told {
            Some(located) => located,
            None => {
                let wanted = (self.end - offset).min(LOCATE_BYTES);
                self.store.locate(&self.path, offset, Some(wanted)).await?
            }
        };
        if !self.is_of(&located) {
            return Err(self.replaced());
        }
        self.candidates.forget_before(offset);
        self.candidates.remember(located.chunks);
        Ok(())
    }

    /// Locates the chunks behind the last known one of the range while that is being read.
    fn look_ahead(&mut self) {
        let chunk = self.candidates.chunk_at(self.buffer.end());
        let Some(next) = chunk.map(|chunk| chunk.offset + chunk.length) else { return };
        let is_asked = self.ahead.as_ref().is_some_and(|ahead| ahead.offset() == next);
        if next < self.end && !is_asked && self.candidates.chunk_at(next).is_none() {
            let (store, path) = (self.store.clone(), self.path.clone());
            let wanted = (self.end - next).min(LOCATE_BYTES);
            self.ahead = Some(Ahead::ask(store, path, next, wanted));
        }
    }

    /// Whether `located` describes the file that was opened; somebody may have appended to it.
    fn is_of(&self, located: &Located) -> bool {
        located.file == self.file && located.length >= self.length
    }

    fn replaced(&self) -> StoreError {
        self.store.locations().forget(&self.path);
        StoreError::Replaced { path: self.path.clone() }
    }
}

/// Streams from the other replicas of the chunk where the range begins, the best first.
fn spares(
    store: &ChunkStore,
    candidates: &Candidates,
    range: Range<u64>,
    first: &ServerAddress,
) -> Vec<ReplicaStream> {
    let Some(wanted) = candidates.wanted(range.start, range.end) else { return Vec::new() };
    let others = candidates.servers(clock::monotonic(), range.start).into_iter();
    let others = others.filter(|server| server.host != first.host);
    others.map(|server| ReplicaStream::new(store, server, wanted.clone())).collect()
}
