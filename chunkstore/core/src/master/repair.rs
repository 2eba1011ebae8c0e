//! Chunks with fewer live replicas than their file asks for get more, those nearest to loss first; with
//! more than that, the surplus goes (GFS 2003, section 4.3). All soft: found anew by a sweep over the
//! chunks whenever servers come or go. A copy is pushed by a server that holds the chunk; how many run at
//! once per server is bounded here, how fast they run is the chunkservers' business.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunkstore_protocol::{ChunkId, ServerCommand};
use ids::Monotonic;

use super::Master;
use super::deadlines::Deadlines;
use super::durable::SealedState;
use super::replicas::Claim;
use super::servers::{Holder, ServerId};

/// Copies that one server sends or receives at once.
const STREAMS_PER_SERVER: u32 = 2;
/// Chunks looked at in one step of a sweep, and the pause between two: requests go between them.
const SWEEP_STEP: usize = 2000;
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// Chunks that wait with the same number of live replicas; others are found by another sweep.
const WAITING_MAX: usize = 10_000;
/// Waiting chunks that are tried in one call.
const TRIES_PER_CALL: usize = 64;
/// A server that was heard of within so many heartbeats' time is surely there.
const FRESH_HEARTBEATS: u32 = 2;
/// Pause before a chunk whose copy failed is looked at again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A copy whose end nobody told of by then is given up: its source tells of it, or dies, much sooner.
const COPY_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What is known to be short of replicas, and what is done about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs {
    /// By live replicas.
    waiting: BTreeMap<usize, BTreeSet<ChunkId>>,
    running: BTreeMap<ChunkId, Copy>,
    streams: BTreeMap<ServerId, u32>,
    /// Chunks to be looked at again, and when.
    again: Deadlines<ChunkId>,
    /// Chunks with more replicas than asked for, and when those may go.
    surplus: Deadlines<ChunkId>,
    sweep: Sweep,
    /// More chunks are short of replicas than can wait: another sweep finds them.
    overflowed: bool,
    /// Chunks without a live replica, as the last whole sweep found them.
    missing: u64,
}

/// Repairs in numbers.
pub(crate) struct RepairCensus {
    /// Chunks that wait for a copy, those included whose last copy failed.
    pub(crate) waiting: u64,
    /// Chunks that are being copied.
    pub(crate) running: u64,
    /// Chunks without a live replica.
    pub(crate) missing: u64,
    /// 1 while all chunks are being looked at.
    pub(crate) sweeping: u64,
}

/// A look at all chunks, in steps.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    /// The next chunk and when it is its turn; `None` while no sweep runs.
    next: Option<(ChunkId, Monotonic)>,
    /// Something changed meanwhile: another one follows.
    again: bool,
    missing: u64,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    source: ServerId,
    /// The number of the source's command.
    command: u64,
    target: Holder,
}

impl Repairs {
    /// When something is due.
    pub(crate) fn due(&self) -> Option<Monotonic> {
        let sweep = self.sweep.next.map(|(_, at)| at);
        [sweep, self.again.next(), self.surplus.next()].into_iter().flatten().min()
    }

    /// Looks at all chunks, from `at` on.
    pub(crate) fn sweep_at(&mut self, at: Monotonic) {
        match self.sweep.next {
            None => self.sweep = Sweep { next: Some((ChunkId(0), at)), ..Sweep::default() },
            Some(_) => self.sweep.again = true,
        }
    }

    /// In numbers.
    pub(crate) fn census(&self) -> RepairCensus {
        let running = self.running.len();
        let waiting: usize = self.waiting.values().map(BTreeSet::len).sum();
        RepairCensus {
            waiting: (waiting + self.again.len() - running) as u64,
            running: running as u64,
            missing: self.missing,
            sweeping: u64::from(self.sweep.next.is_some() || self.overflowed),
        }
    }

    fn is_free(&self, server: ServerId) -> bool {
        self.streams.get(&server).is_none_or(|streams| *streams < STREAMS_PER_SERVER)
    }

    fn begin(&mut self, chunk: ChunkId, copy: Copy) {
        for server in [copy.source, copy.target.server] {
            *self.streams.entry(server).or_default() += 1;
        }
        self.running.insert(chunk, copy);
    }

    fn end(&mut self, chunk: ChunkId) {
        let _gone = self.end_if(chunk, |_| true);
    }

    fn end_if(&mut self, chunk: ChunkId, it_is: impl Fn(&Copy) -> bool) -> Option<Copy> {
        let copy = *self.running.get(&chunk).filter(|copy| it_is(copy))?;
        self.running.remove(&chunk);
        self.again.remove(chunk);
        for server in [copy.source, copy.target.server] {
            if let Some(streams) = self.streams.get_mut(&server) {
                *streams -= 1;
            }
        }
        self.streams.retain(|_, streams| *streams > 0);
        Some(copy)
    }

    /// The server tells of a chunk itself: if it was being copied there, that has ended, and the source's
    /// word, which may come later, counts no more.
    pub(crate) fn told_by_target(&mut self, chunk: ChunkId, server: ServerId) {
        let _ended = self.end_if(chunk, |copy| copy.target.server == server);
    }

    fn wait(&mut self, chunk: ChunkId, live: usize) {
        self.leave(chunk);
        let waiting = self.waiting.entry(live).or_default();
        if waiting.len() < WAITING_MAX {
            waiting.insert(chunk);
        } else {
            self.overflowed = true;
        }
    }

    fn leave(&mut self, chunk: ChunkId) {
        for waiting in self.waiting.values_mut() {
            waiting.remove(&chunk);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }
}

impl Master {
    /// A server died or registered anew: what it copied, or was sent, has ended, and its replicas count
    /// no more, or may.
    pub(super) fn server_changed(&mut self, server: ServerId, now: Monotonic) {
        let ended: Vec<ChunkId> = self
            .repairs
            .running
            .iter()
            .filter(|(_, copy)| copy.source == server || copy.target.server == server)
            .map(|(chunk, _)| *chunk)
            .collect();
        for chunk in ended {
            self.repairs.end(chunk);
        }
        self.sweep(now);
    }

    /// Looks at all chunks, soon.
    pub(super) fn sweep(&mut self, now: Monotonic) {
        // What is not told yet would look lost; the end of safe mode sweeps.
        if !self.in_safe_mode() {
            self.repairs.sweep_at(now);
        }
    }

    /// A source tells how a copy ended.
    pub(super) fn copy_ended(
        &mut self,
        source: ServerId,
        (chunk, command): (ChunkId, u64),
        done: bool,
        now: Monotonic,
    ) {
        let is_it = |copy: &Copy| (copy.source, copy.command) == (source, command);
        // Others were given up before.
        let Some(Copy { target, .. }) = self.repairs.end_if(chunk, is_it) else { return };
        let arrived = done && self.servers.is_current(target.server, target.session);
        match self.sealed(chunk).filter(|_| arrived) {
            Some(sealed) => {
                self.replicas.claim(chunk, sealed_claim(target, &sealed), Some(&sealed));
                self.inspect(chunk, now);
            }
            None => self.repairs.again.set(chunk, now + RETRY_AFTER),
        }
    }

    /// Does what is due: steps of a sweep, second looks, removals.
    pub(super) fn repair(&mut self, now: Monotonic) {
        let waiting: usize = self.repairs.waiting.values().map(BTreeSet::len).sum();
        if self.repairs.sweep.next.is_none() && self.repairs.overflowed && waiting < WAITING_MAX / 2
        {
            self.repairs.overflowed = false;
            self.repairs.sweep_at(now);
        }
        if let Some((first, at)) = self.repairs.sweep.next
            && at <= now
        {
            self.sweep_step(first, now);
        }
        for _ in 0..SWEEP_STEP {
            let Some(chunk) = self.repairs.again.pop_passed(now) else { break };
            self.repairs.end(chunk);
            self.inspect(chunk, now);
        }
        for _ in 0..SWEEP_STEP {
            let Some(chunk) = self.repairs.surplus.pop_passed(now) else { break };
            self.remove_surplus(chunk, now);
        }
    }

    fn sweep_step(&mut self, first: ChunkId, now: Monotonic) {
        let step: Vec<ChunkId> = self.durable.chunks_from(first).take(SWEEP_STEP).collect();
        for &chunk in &step {
            if self.inspect(chunk, now) == Some(0) {
                self.repairs.sweep.missing += 1;
            }
        }
        let sweep = &mut self.repairs.sweep;
        sweep.next = match step.last() {
            Some(&ChunkId(last)) => Some((ChunkId(last + 1), now + SWEEP_PAUSE)),
            None => {
                self.repairs.missing = sweep.missing;
                sweep.missing = 0;
                let again = std::mem::take(&mut sweep.again);
                again.then(|| (ChunkId(0), now + self.settings.dead_after / 4))
            }
        };
    }

    /// Compares the live replicas of a chunk with what is asked for. Returns how many there are; `None`
    /// if no file has the chunk.
    pub(super) fn inspect(&mut self, chunk: ChunkId, now: Monotonic) -> Option<usize> {
        if self.in_safe_mode() {
            return None;
        }
        let Some(sealed) = self.sealed(chunk) else {
            self.repairs.leave(chunk);
            return None;
        };
        let live = self.replicas.holders(chunk, &self.servers).count();
        let wanted = usize::from(sealed.wanted);
        if live > wanted && !self.repairs.surplus.contains(chunk) {
            self.repairs.surplus.set(chunk, now + self.settings.heartbeat_interval);
        }
        let short = (1..wanted).contains(&live) && live < self.servers.n_live();
        if short && !self.repairs.running.contains_key(&chunk) {
            self.repairs.wait(chunk, live);
        } else {
            self.repairs.leave(chunk);
        }
        Some(live)
    }

    /// Removes the replicas beyond those asked for, from the fullest servers first, and rather where
    /// another is on the same rack. Only servers that spoke just now are counted on: one that is dead
    /// and not known to be must not be all that is left.
    fn remove_surplus(&mut self, chunk: ChunkId, now: Monotonic) {
        let Some(sealed) = self.sealed(chunk) else { return };
        let since = self.settings.heartbeat_interval * FRESH_HEARTBEATS;
        let is_fresh = |by: &Holder| {
            self.servers.is_current(by.server, by.session)
                && self.servers.is_fresh(by.server, since, now)
        };
        let mut holders: Vec<Holder> =
            self.replicas.all_holders(chunk).iter().copied().filter(is_fresh).collect();
        if holders.len() < self.replicas.holders(chunk, &self.servers).count() {
            self.repairs.surplus.set(chunk, now + since);
        }
        while holders.len() > usize::from(sealed.wanted) {
            let Some(victim) = self.servers.least_needed(chunk, &holders) else { return };
            holders.retain(|by| by.server != victim);
            let version = sealed.version;
            self.replicas.lost(chunk, victim, version, Some(&sealed));
            self.servers.command(victim, ServerCommand::Delete { chunk, version, orphan: false });
        }
    }

    /// Begins as many copies as servers are free for, those nearest to loss first.
    pub(super) fn start_copies(&mut self, now: Monotonic) {
        // While a sweep may still find one that is nearer to loss, only those nearest to it start.
        let most = if self.repairs.sweep.next.is_some() { 1 } else { usize::MAX };
        let tries: Vec<ChunkId> = self
            .repairs
            .waiting
            .range(..=most)
            .flat_map(|(_, chunks)| chunks.iter().copied())
            .take(TRIES_PER_CALL)
            .collect();
        for chunk in tries {
            match self.sealed(chunk) {
                Some(sealed) => self.start_copy(chunk, &sealed, now),
                None => self.repairs.leave(chunk),
            }
        }
    }

    fn start_copy(&mut self, chunk: ChunkId, sealed: &SealedState, now: Monotonic) {
        let repairs = &self.repairs;
        let holders: Vec<ServerId> = self.replicas.holders(chunk, &self.servers).collect();
        let current = self.replicas.all_holders(chunk).iter().filter(|by| {
            self.servers.is_current(by.server, by.session) && repairs.is_free(by.server)
        });
        let source = current.min_by_key(|by| repairs.streams.get(&by.server).copied());
        let Some(source) = source.map(|by| by.server) else { return };
        let is_free = |server| repairs.is_free(server);
        let target = self.servers.copy_target(&holders, sealed.length(), is_free);
        let Some(target) = target else { return };
        let to = self.servers.address(target.server);
        self.servers.book_copy(target.server, sealed.length());
        let version = sealed.version;
        let command = self.servers.command(source, ServerCommand::Copy { chunk, version, to });
        self.repairs.leave(chunk);
        self.repairs.begin(chunk, Copy { source, command, target });
        self.repairs.again.set(chunk, now + COPY_LIMIT);
    }
}

fn sealed_claim(by: Holder, sealed: &SealedState) -> Claim {
    let (version, length, checksum) = (sealed.version, sealed.length(), sealed.checksum);
    Claim { by, version, length, checksum }
}
