//! One file's writer: which chunk it fills, what it tells the chunk master, and what it does when a
//! pipeline fails. Not here: bytes, sockets, stamps; `chunkstore-client` calls this and carries out
//! what [`Next`] says.
//!
//! A pipeline that fails, or seals on too few servers, is given up whole: the chunk is abandoned, another
//! is allocated on other servers, and the writer sends the chunk's bytes again. So no replica of a file
//! is ever in doubt (GFS mends the pipeline in place; write-once chunks make the fresh start simpler).

mod failures;
mod lease;

use std::collections::BTreeSet;
use std::time::Duration;

use chunkstore_protocol::{
    Abandon, Allocate, Allocation, ChunkId, Close, Created, FileId, SealedChunk,
};
use ids::{HostName, Monotonic, RequestStamp};

pub use failures::{Failures, ServerFailure, show};
pub use lease::Lease;

/// Tries that one chunk gets, however short the time for retries is: servers may fail one after the
/// other before the master has missed them.
pub const CHUNK_TRIES_MIN: u32 = 3;
/// Tries that one chunk gets, however long the time for retries is.
pub const CHUNK_TRIES_MAX: u32 = 64;
/// A cluster without servers to write to, or with none that has room, is asked again for so long, if the
/// time for retries is not shorter: a server that is started again registers within it.
const NO_SERVERS_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The length and checksum of the chunk that was sent, as the writer counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the chunk.
    pub length: u64,
    /// CRC32C of its bytes.
    pub checksum: u32,
}

/// What the writer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The chunk is sealed on enough servers; its bytes may be forgotten.
    Sealed,
    /// Not before this time send [`Writer::allocate`], then the chunk's bytes again.
    Allocate {
        /// When.
        not_before: Monotonic,
    },
    /// The file cannot be written. Send [`Writer::abandon`].
    GiveUp(GaveUp),
}

/// Why a writer gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} could not be written to {wanted} of the chunkservers in {n_tries} tries ({}): check \
     that enough chunkservers are alive and have room",
    chunk.map_or("the next chunk".to_owned(), |chunk| format!("chunk {chunk}")),
    show(.failures, "no chunkserver could be allocated")
)]
pub struct GaveUp {
    /// The chunk of the last try, if one was allocated.
    pub chunk: Option<ChunkId>,
    /// Servers that must have it.
    pub wanted: usize,
    /// Tries made.
    pub n_tries: u32,
    /// The last failures.
    pub failures: Vec<ServerFailure>,
}

/// How long a master without servers is asked again, where other failures are retried for `retry_for`.
#[must_use]
pub fn no_servers_patience(retry_for: Duration, starting: bool) -> Duration {
    if starting { retry_for } else { retry_for.min(NO_SERVERS_PATIENCE) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// An allocated chunk, not sealed yet.
    Open(Allocation),
    /// The last allocated chunk failed; the next allocation names it.
    Failed { abandoned: ChunkId },
    /// The last allocated chunk is sealed.
    Between,
}

/// The state machine of one file's writer.
#[derive(Clone, Debug)]
pub struct Writer {
    file: FileId,
    host: Option<HostName>,
    chunk_bytes: u64,
    wanted: usize,
    retry_for: Duration,
    /// Sealed, but the master has not been told.
    sealed: Option<SealedChunk>,
    state: State,
    excluded: BTreeSet<HostName>,
    failures: Failures,
    n_tries: u32,
    failing_since: Option<Monotonic>,
    /// Since when the master has had no servers each time that it was asked.
    no_servers_since: Option<Monotonic>,
}

impl Writer {
    /// A writer on `host` of a file just created, which retries a chunk for `retry_for`.
    #[must_use]
    pub fn new(created: &Created, host: Option<HostName>, retry_for: Duration) -> Self {
        Self {
            file: created.file,
            host,
            chunk_bytes: created.chunk_bytes,
            wanted: usize::from(created.replication).clamp(1, 2),
            retry_for,
            sealed: None,
            state: State::Open(created.allocation.clone()),
            excluded: BTreeSet::new(),
            failures: Failures::default(),
            n_tries: 0,
            failing_since: None,
            no_servers_since: None,
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Length limit of a chunk, bytes.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// The chunk to write, if one is allocated.
    #[must_use]
    pub fn allocation(&self) -> Option<&Allocation> {
        match &self.state {
            State::Open(allocation) => Some(allocation),
            State::Failed { .. } | State::Between => None,
        }
    }

    /// The request for the next chunk: after [`Next::Allocate`], or when a chunk is sealed and there are
    /// more bytes. The same until [`Self::handle_allocated`].
    #[must_use]
    pub fn allocate(&self, stamp: RequestStamp) -> Allocate {
        Allocate {
            stamp,
            file: self.file,
            sealed: self.sealed.clone(),
            abandoned: self.abandoned(),
            exclude: self.excluded.iter().cloned().collect(),
            writer_host: self.host.clone(),
        }
    }

    /// The request that ends the file. Every chunk with bytes must be sealed; one without is given back.
    #[must_use]
    pub fn close(&self, stamp: RequestStamp) -> Close {
        let (sealed, abandoned) = (self.sealed.clone(), self.abandoned());
        Close { stamp, file: self.file, sealed, abandoned }
    }

    /// The request that removes the open file.
    #[must_use]
    pub fn abandon(&self, stamp: RequestStamp) -> Abandon {
        Abandon { stamp, file: self.file }
    }

    /// The master answered [`Self::allocate`].
    pub fn handle_allocated(&mut self, allocation: Allocation) {
        self.sealed = None;
        self.no_servers_since = None;
        self.state = State::Open(allocation);
    }

    /// The master has no server to allocate just now; `starting`: it expects some to register yet.
    pub fn handle_no_servers(&mut self, now: Monotonic, starting: bool) -> Next {
        let since = *self.no_servers_since.get_or_insert(now);
        let patience = no_servers_patience(self.retry_for, starting);
        match now.since(since) < patience {
            true => self.try_again(now),
            false => self.give_up(),
        }
    }

    /// The allocated chunk's pipeline ended: it sealed the chunk on some servers, or its head failed.
    pub fn handle_uploaded(
        &mut self,
        now: Monotonic,
        sent: Sent,
        outcome: Result<SealedChunk, ServerFailure>,
    ) -> Next {
        let State::Open(allocation) = &self.state else {
            return Next::Sealed; // No chunk is open, so nothing can have failed.
        };
        let chunk = allocation.chunk;
        let failed = match outcome {
            Ok(sealed) => match check(allocation, sent, &sealed) {
                Ok(missing) if sealed.servers.len() >= self.wanted => {
                    self.handle_sealed(sealed, missing);
                    return Next::Sealed;
                }
                Ok(missing) => missing,
                Err(failure) => vec![failure],
            },
            Err(failure) => vec![failure],
        };
        self.state = State::Failed { abandoned: chunk };
        self.note(failed);
        self.try_again(now)
    }

    fn handle_sealed(&mut self, sealed: SealedChunk, missing: Vec<ServerFailure>) {
        self.sealed = Some(sealed);
        self.state = State::Between;
        self.failures = Failures::default();
        self.note(missing);
        self.n_tries = 0;
        self.failing_since = None;
    }

    fn try_again(&mut self, now: Monotonic) -> Next {
        self.n_tries += 1;
        let since = *self.failing_since.get_or_insert(now);
        let time_is_over = now.since(since) >= self.retry_for && self.n_tries >= CHUNK_TRIES_MIN;
        if time_is_over || self.n_tries >= CHUNK_TRIES_MAX {
            return self.give_up();
        }
        // At once the first time: other servers are there, most likely.
        let doublings = self.n_tries - 1;
        let pause = match doublings {
            0 => Duration::ZERO,
            n => PAUSE_FIRST.saturating_mul(1 << n.min(8)).min(PAUSE_MAX),
        };
        Next::Allocate { not_before: now + pause }
    }

    fn give_up(&self) -> Next {
        Next::GiveUp(GaveUp {
            chunk: self.abandoned(),
            wanted: self.wanted,
            n_tries: self.n_tries,
            failures: self.failures.all().to_vec(),
        })
    }

    fn note(&mut self, failures: Vec<ServerFailure>) {
        for failure in failures {
            self.excluded.insert(failure.host.clone());
            self.failures.note(failure);
        }
    }

    fn abandoned(&self) -> Option<ChunkId> {
        match &self.state {
            State::Open(allocation) => Some(allocation.chunk),
            State::Failed { abandoned } => Some(*abandoned),
            State::Between => None,
        }
    }
}

/// The servers of the pipeline that did not seal; or what is wrong with the answer as a whole.
fn check(
    allocation: &Allocation,
    sent: Sent,
    sealed: &SealedChunk,
) -> Result<Vec<ServerFailure>, ServerFailure> {
    let same = sealed.chunk == allocation.chunk
        && sealed.version == allocation.version
        && sealed.length == sent.length
        && sealed.checksum == sent.checksum;
    let hosts = || allocation.pipeline.iter().map(|server| &server.host);
    match hosts().next() {
        Some(head) if !same => Err(ServerFailure {
            host: head.clone(),
            reason: format!("sealed something else than it was sent: {sealed:?}"),
        }),
        _ => {
            let missing = hosts().filter(|host| !sealed.servers.contains(host));
            Ok(missing
                .map(|host| ServerFailure {
                    host: host.clone(),
                    reason: "dropped out of the pipeline".to_owned(),
                })
                .collect())
        }
    }
}

#[cfg(test)]
mod tests;
