//! The writer of one file: which chunk it fills, what it tells the chunk master, and what it does
//! when a pipeline fails. Not here: bytes, sockets, stamps; `chunkstore-client` calls this and
//! carries out what [`Next`] says.
//!
//! When a pipeline fails, or seals on too few servers, its servers are asked what they have; each
//! that answers adds nothing from then on ([`Next::Recover`]). The bytes that all of them have are
//! sealed ([`Next::Seal`]), and the writer goes on after them in another chunk on other servers. No
//! replica is padded or truncated later, and none is ever in doubt (GFS and HDFS mend the pipeline
//! in place). If there are no such bytes, or too few servers have them, the chunk is abandoned and
//! its bytes are sent again.

mod failures;
mod lease;

use std::collections::BTreeSet;
use std::time::Duration;

use chunkstore_protocol::{
    Abandon, Allocate, Allocation, ChunkId, Close, Created, FileId, SealedChunk, ServerAddress,
};
use ids::{HostName, Monotonic, RequestStamp};

pub use failures::{Failures, ServerFailure, show};
pub use lease::Lease;

/// Minimum number of tries for a chunk, however short the retry time is: servers may fail one after
/// the other before the master has noticed.
pub const CHUNK_TRIES_MIN: u32 = 3;
/// Maximum number of tries for a chunk, however long the retry time is.
pub const CHUNK_TRIES_MAX: u32 = 64;
/// How long (if the retry time is not shorter) the master is asked again while no server is alive
/// or has room: a server that restarts, or was cut off from the master, registers within it.
const NO_SERVERS_PATIENCE: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The length and checksum of the chunk that was sent, as the writer computed them.
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
    /// The chunk is sealed on enough servers, and its bytes may be forgotten. After [`Next::Seal`],
    /// that means the bytes up to the sealed length; those behind go to the next chunk.
    Sealed,
    /// The pipeline has failed. Freeze the chunk on all servers of [`Writer::broken`], each with a
    /// short timeout, and report to [`Writer::handle_frozen`].
    Recover,
    /// Seal the chunk at this length on these servers, and report to [`Writer::handle_recovered`].
    Seal {
        /// Bytes that all of them have.
        length: u64,
        /// The servers.
        on: Vec<ServerAddress>,
    },
    /// Send [`Writer::allocate`], not before this time, then the chunk's bytes again.
    Allocate {
        /// The earliest time.
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
    /// Number of servers that must have it.
    pub wanted: usize,
    /// Tries made.
    pub n_tries: u32,
    /// The last failures.
    pub failures: Vec<ServerFailure>,
}

/// How long a master without servers is asked again, if other failures are retried for `retry_for`.
#[must_use]
pub fn no_servers_patience(retry_for: Duration, starting: bool) -> Duration {
    if starting { retry_for } else { retry_for.min(NO_SERVERS_PATIENCE) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// An allocated chunk, not sealed yet.
    Open(Allocation),
    /// Its pipeline failed, for the reasons in `blamed`; its servers are being asked what they
    /// have.
    Broken { allocation: Allocation, blamed: Vec<ServerFailure> },
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
    /// Sealed, but not yet reported to the master.
    sealed: Option<SealedChunk>,
    state: State,
    excluded: BTreeSet<HostName>,
    failures: Failures,
    n_tries: u32,
    failing_since: Option<Monotonic>,
    /// Since when the master has had no servers, each time it was asked.
    no_servers_since: Option<Monotonic>,
}

impl Writer {
    /// The writer, on `host`, of a file just created; a failing chunk is retried for `retry_for`.
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
            State::Broken { .. } | State::Failed { .. } | State::Between => None,
        }
    }

    /// Whether the master has been told of all sealed chunks; if not, the next [`Self::allocate`]
    /// or [`Self::close`] tells it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.sealed.is_none()
    }

    /// The chunk whose pipeline has failed, while its servers are being asked what they have.
    #[must_use]
    pub fn broken(&self) -> Option<&Allocation> {
        match &self.state {
            State::Broken { allocation, .. } => Some(allocation),
            State::Open(_) | State::Failed { .. } | State::Between => None,
        }
    }

    /// The request for the next chunk: after [`Next::Allocate`], or when a chunk is sealed and more
    /// bytes follow. It stays the same until [`Self::handle_allocated`].
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

    /// The request that ends the file. Every chunk with bytes must be sealed; an empty one is given
    /// back.
    #[must_use]
    pub fn close(&self, stamp: RequestStamp) -> Close {
        let (sealed, abandoned) = (self.sealed.clone(), self.abandoned());
        Close { stamp, file: self.file, sealed, abandoned, into: None }
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

    /// The master has no server to allocate right now. `starting`: it still expects some to
    /// register.
    pub fn handle_no_servers(&mut self, now: Monotonic, starting: bool) -> Next {
        let since = *self.no_servers_since.get_or_insert(now);
        let patience = no_servers_patience(self.retry_for, starting);
        match now.since(since) < patience {
            true => self.try_again(now),
            false => self.give_up(),
        }
    }

    /// The upload of the allocated chunk ended: its pipeline sealed it on some servers, or its head
    /// failed.
    pub fn handle_uploaded(
        &mut self,
        sent: Sent,
        outcome: Result<SealedChunk, ServerFailure>,
    ) -> Next {
        let State::Open(allocation) = &self.state else {
            return Next::Sealed; // No chunk is open, so nothing can have failed.
        };
        let blamed = match outcome {
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
        self.state = State::Broken { allocation: allocation.clone(), blamed };
        Next::Recover
    }

    /// Takes the answers of a failed pipeline's servers to a freeze of the chunk: how many bytes
    /// each has, or why it did not say.
    pub fn handle_frozen(
        &mut self,
        now: Monotonic,
        answers: &[(HostName, Result<u64, String>)],
    ) -> Next {
        let State::Broken { allocation, blamed } = &mut self.state else {
            return Next::Sealed; // Nothing has failed.
        };
        let blamed = std::mem::take(blamed);
        let has = |host: &HostName| {
            let answer = answers.iter().find(|(answered, _)| answered == host);
            answer.and_then(|(_, answer)| answer.as_ref().ok()).copied().filter(|n| *n > 0)
        };
        let survivors = allocation.pipeline.iter().filter(|server| has(&server.host).is_some());
        let on: Vec<_> = survivors.cloned().collect();
        let common = on.iter().filter_map(|server| has(&server.host)).min();
        self.blame(blamed, answers);
        match common {
            Some(length) if on.len() >= self.wanted => Next::Seal { length, on },
            Some(_) | None => self.fail(now),
        }
    }

    /// Takes the outcome of [`Next::Seal`] on each server. `prefix` is the length and checksum that
    /// the writer computed for the bytes to be sealed; `None` if none of its blocks ends there.
    pub fn handle_recovered(
        &mut self,
        now: Monotonic,
        prefix: Option<Sent>,
        answers: Vec<(HostName, Result<SealedChunk, String>)>,
    ) -> Next {
        let State::Broken { allocation, .. } = &self.state else {
            return Next::Sealed;
        };
        let (mut sealed_on, mut missing) = (Vec::new(), Vec::new());
        for (host, answer) in answers {
            match answer {
                Ok(sealed) if is_same(allocation, prefix, &sealed) => sealed_on.push(host),
                Ok(sealed) => {
                    missing.push(ServerFailure { host, reason: sealed_something_else(&sealed) });
                }
                Err(reason) => missing.push(ServerFailure { host, reason }),
            }
        }
        match prefix {
            Some(Sent { length, checksum }) if sealed_on.len() >= self.wanted => {
                let (chunk, version) = (allocation.chunk, allocation.version);
                let sealed = SealedChunk { chunk, version, length, checksum, servers: sealed_on };
                self.handle_sealed(sealed, missing);
                Next::Sealed
            }
            Some(_) | None => {
                self.note(missing);
                self.fail(now)
            }
        }
    }

    /// Blames the servers that did not answer; if all did, those that were suspected first.
    fn blame(&mut self, blamed: Vec<ServerFailure>, answers: &[(HostName, Result<u64, String>)]) {
        let silent = answers.iter().filter_map(|(host, answer)| {
            let reason = answer.as_ref().err()?.clone();
            Some(ServerFailure { host: host.clone(), reason })
        });
        let silent: Vec<_> = silent.collect();
        if silent.is_empty() {
            return self.note(blamed);
        }
        blamed.into_iter().for_each(|failure| self.failures.note(failure));
        for failure in silent {
            self.excluded.insert(failure.host.clone());
            // Its earlier failure tells more than its present silence.
            if !self.failures.all().iter().any(|known| known.host == failure.host) {
                self.failures.note(failure);
            }
        }
    }

    /// Nothing of the chunk can be used.
    fn fail(&mut self, now: Monotonic) -> Next {
        if let State::Broken { allocation, .. } = &self.state {
            self.state = State::Failed { abandoned: allocation.chunk };
        }
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
        // The first retry comes at once: other servers are most likely available.
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
            State::Open(allocation) | State::Broken { allocation, .. } => Some(allocation.chunk),
            State::Failed { abandoned } => Some(*abandoned),
            State::Between => None,
        }
    }
}

/// The servers of the pipeline that did not seal, or what is wrong with the answer as a whole.
fn check(
    allocation: &Allocation,
    sent: Sent,
    sealed: &SealedChunk,
) -> Result<Vec<ServerFailure>, ServerFailure> {
    let same = is_same(allocation, Some(sent), sealed);
    let hosts = || allocation.pipeline.iter().map(|server| &server.host);
    match hosts().next() {
        Some(head) if !same => {
            Err(ServerFailure { host: head.clone(), reason: sealed_something_else(sealed) })
        }
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

fn is_same(allocation: &Allocation, sent: Option<Sent>, sealed: &SealedChunk) -> bool {
    sealed.chunk == allocation.chunk
        && sealed.version == allocation.version
        && Some(Sent { length: sealed.length, checksum: sealed.checksum }) == sent
}

fn sealed_something_else(sealed: &SealedChunk) -> String {
    format!("sealed something else than it was sent: {sealed:?}")
}

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
