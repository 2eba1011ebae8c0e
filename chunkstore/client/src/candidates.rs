//! Which replicas a reader may try next: the chunks that it has located, its position in the
//! network, and what has gone wrong since its last byte. No I/O. Only `read` calls this.

use std::collections::BTreeMap;

use chunkstore_core::writer::{Failures, ServerFailure};
use chunkstore_protocol::{ChunkLocation, ServerAddress};
use clock::Stopwatch;
use ids::Monotonic;
use net::Backoff;

use crate::order::Standpoint;
use crate::replica_stream::Wanted;

/// What a reader knows of its file's replicas.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Located chunks by their offset in the file.
    chunks: BTreeMap<u64, ChunkLocation>,
    standpoint: Standpoint,
    trouble: Option<Trouble>,
}

/// What has gone wrong since the last byte that arrived.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) since: Stopwatch,
    pub(crate) backoff: Backoff,
    /// How many times all replicas have failed.
    pub(crate) n_rounds: u32,
    pub(crate) failures: Failures,
    /// Replicas of the current chunk that were not tried in this round.
    untried: Vec<ServerAddress>,
}

impl Candidates {
    pub(crate) fn new(standpoint: Standpoint) -> Self {
        Self { chunks: BTreeMap::new(), standpoint, trouble: None }
    }

    /// The located chunk that holds this byte of the file.
    pub(crate) fn chunk_at(&self, offset: u64) -> Option<&ChunkLocation> {
        let (_, location) = self.chunks.range(..=offset).next_back()?;
        (offset - location.offset < location.length).then_some(location)
    }

    /// Takes current locations of chunks.
    pub(crate) fn remember(&mut self, chunks: Vec<ChunkLocation>) {
        self.chunks.extend(chunks.into_iter().map(|location| (location.offset, location)));
    }

    /// Forgets the chunks that end before `offset`: readers only move forward.
    pub(crate) fn forget_before(&mut self, offset: u64) {
        self.chunks.retain(|_, location| location.offset + location.length > offset);
    }

    /// What to ask a replica of the chunk at `offset` for, to read up to `end` or the chunk's end;
    /// `None` if the chunk is not located.
    pub(crate) fn wanted(&self, offset: u64, end: u64) -> Option<Wanted> {
        let location = self.chunk_at(offset)?.clone();
        let offset = offset - location.offset;
        let length = (end - location.offset).min(location.length) - offset;
        Some(Wanted { location, offset, length })
    }

    /// Servers of the chunk at `offset` that have not failed in this round, the best first.
    pub(crate) fn servers(&self, now: Monotonic, offset: u64) -> Vec<ServerAddress> {
        match (&self.trouble, self.chunk_at(offset)) {
            (Some(trouble), _) => trouble.untried.clone(),
            (None, Some(location)) => self.standpoint.sort(now, &location.servers),
            (None, None) => Vec::new(),
        }
    }

    /// Bytes have arrived.
    pub(crate) fn handle_arrived(&mut self) {
        self.trouble = None;
    }

    /// A server delivered nothing while another one did.
    pub(crate) fn handle_slow(&mut self, now: Monotonic, server: &ServerAddress) {
        self.standpoint.suspect(now, server.host.clone());
    }

    /// A server failed at `offset`.
    pub(crate) fn handle_failed(
        &mut self,
        now: Monotonic,
        offset: u64,
        server: &ServerAddress,
        reason: String,
    ) {
        self.standpoint.suspect(now, server.host.clone());
        let untried = self.servers(now, offset);
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(untried));
        trouble.untried.retain(|other| other.host != server.host);
        trouble.failures.note(ServerFailure { host: server.host.clone(), reason });
    }

    /// What has gone wrong; empty if nothing has.
    pub(crate) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_with(|| Trouble::new(Vec::new()))
    }

    /// All servers of the chunk at `offset` may be tried again.
    pub(crate) fn begin_round(&mut self, now: Monotonic, offset: u64) {
        self.standpoint.trust();
        let servers = match self.chunk_at(offset) {
            Some(location) => self.standpoint.sort(now, &location.servers),
            None => Vec::new(),
        };
        self.trouble().untried = servers;
    }
}

impl Trouble {
    fn new(untried: Vec<ServerAddress>) -> Self {
        let backoff = Backoff::default();
        let failures = Failures::default();
        Self { since: Stopwatch::start(), backoff, n_rounds: 0, untried, failures }
    }
}
