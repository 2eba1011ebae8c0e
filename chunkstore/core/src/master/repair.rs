//! Gives chunks with fewer live replicas than their file asks for more of them, those nearest to
//! loss first; then chunks on servers that are to be emptied, and chunks with all replicas on one
//! rack. Surplus replicas are removed (GFS 2003, section 4.3). All of it is soft state, rebuilt by
//! a sweep over the chunks whenever servers come or go. A server that holds the chunk pushes the
//! copy. How many copies run at once per server is bounded here (`streams.rs`); how fast they run
//! is the chunkservers' business. Chunks of which only broken replicas are left are handled in
//! `assembly.rs`.

mod assembly;

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_protocol::{ChunkId, CopyPurpose, RepairCause, ServerCommand};
use ids::Monotonic;

use super::Master;
use super::deadlines::Deadlines;
use super::durable::SealedState;
use super::missing::Missing;
use super::queue::Queue;
use super::replicas::Claim;
use super::servers::{Holder, ServerId};
use super::streams::Streams;

/// Chunks examined in one step of a sweep, and the pause between two steps, in which requests are
/// handled.
const SWEEP_STEP: usize = 2000;
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// Waiting chunks of each class that one call tries.
const TRIES_PER_CALL: usize = 512;
/// Pause before a chunk whose copy failed is looked at again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A copy whose end has not been reported after this time is given up. Normally the source reports
/// it, or dies, much sooner.
const COPY_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Chunks for which it is remembered how long they have been short of replicas.
const AGES_MAX: usize = 20_000;

/// What is known to be short of replicas, and what is being done about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs {
    pub(super) queue: Queue,
    pub(super) running: BTreeMap<ChunkId, Copy>,
    /// Since when chunks have had fewer live replicas than asked for, whatever is being done about
    /// it.
    short_since: BTreeMap<ChunkId, Monotonic>,
    streams: Streams,
    /// Chunks to be examined again, and when.
    again: Deadlines<ChunkId>,
    /// How often assembling a chunk from broken replicas has failed, up to a bound.
    in_vain: BTreeMap<ChunkId, u32>,
    /// Chunks with more replicas than asked for, and when the surplus may be removed.
    surplus: Deadlines<ChunkId>,
    sweep: Sweep,
    /// Missing chunks, as found by the last complete sweep and by later looks.
    missing: Missing,
}

/// Repairs in numbers.
pub(crate) struct RepairCensus {
    /// Chunks that wait for a copy.
    pub(crate) waiting: u64,
    /// Chunks whose last copy failed.
    pub(crate) retrying: u64,
    /// Chunks that are being copied.
    pub(crate) running: u64,
    /// Chunks with fewer live replicas than asked for, but at least one; at most [`AGES_MAX`] are
    /// counted.
    pub(crate) under_replicated: u64,
    /// Chunks without a live replica.
    pub(crate) missing: u64,
}

/// A pass over all chunks, in steps.
#[derive(Clone, Debug, Default)]
struct Sweep {
    /// The next chunk and when its turn comes; `None` while no sweep runs.
    next: Option<(ChunkId, Monotonic)>,
    /// Whether something changed meanwhile, so that another sweep must follow.
    again: bool,
    /// Whether it immediately follows another sweep.
    follows: bool,
    missing: Missing,
}

/// A copy under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) source: ServerId,
    /// The number of the source's command.
    pub(super) command: u64,
    pub(super) target: Holder,
    pub(super) bytes: u64,
}

/// How many replicas of a chunk there are, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Replicas on live servers.
    pub(super) live: usize,
    /// Those of them on servers that are not to be emptied.
    pub(super) staying: usize,
    /// Replicas that its file asks for.
    pub(super) wanted: usize,
    /// Whether all replicas that stay are on one rack although other racks have servers.
    pub(super) one_rack: bool,
    /// Whether there is no good replica, but one may be assembled from the broken ones of several
    /// servers.
    pub(super) mendable: bool,
}

impl Standing {
    /// Why the chunk needs another replica, if it does; `serving` servers could hold one.
    fn cause(&self, serving: usize) -> Option<RepairCause> {
        let live = u8::try_from(self.live).unwrap_or(u8::MAX);
        let has_place = self.staying < serving;
        match *self {
            Self { live: 0, mendable, .. } => mendable.then_some(RepairCause::Broken),
            Self { wanted, .. } if self.live < wanted && has_place => {
                Some(RepairCause::Under { live })
            }
            Self { wanted, .. } if self.staying < wanted && has_place => {
                Some(RepairCause::Draining)
            }
            Self { one_rack: true, .. } => Some(RepairCause::MisReplicated),
            Self { .. } => None,
        }
    }
}

impl Repairs {
    /// When something is due.
    pub(crate) fn due(&self) -> Option<Monotonic> {
        let sweep = self.sweep.next.map(|(_, at)| at);
        [sweep, self.again.next(), self.surplus.next()].into_iter().flatten().min()
    }

    /// Schedules a sweep over all chunks, from `at` on.
    pub(crate) fn sweep_at(&mut self, at: Monotonic) {
        match self.sweep.next {
            None => self.sweep = Sweep { next: Some((ChunkId(0), at)), ..Sweep::default() },
            Some(_) => self.sweep.again = true,
        }
    }

    /// The repairs in numbers.
    pub(crate) fn census(&self) -> RepairCensus {
        let running = self.running.len();
        RepairCensus {
            waiting: self.queue.len() as u64,
            retrying: (self.again.len() - running) as u64,
            running: running as u64,
            under_replicated: self.short_since.len() as u64,
            missing: self.missing.len(),
        }
    }

    /// Since when the chunk that has been short of replicas for longest has been so.
    pub(crate) fn oldest(&self) -> Option<Monotonic> {
        self.short_since.values().min().copied()
    }

    fn note_age(&mut self, chunk: ChunkId, is_short: bool, now: Monotonic) {
        if !is_short {
            self.short_since.remove(&chunk);
        } else if self.short_since.len() < AGES_MAX {
            self.short_since.entry(chunk).or_insert(now);
        }
    }

    /// Whether the chunk waits to be copied.
    pub(crate) fn is_due(&self, chunk: ChunkId) -> bool {
        self.queue.contains(chunk) || self.again.contains(chunk)
    }

    /// Whether some chunks have not been examined since something changed.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep.next.is_some() || self.queue.has_overflowed()
    }

    /// Whether the chunks without a live replica are still being found.
    pub(super) fn is_being_counted(&self) -> bool {
        self.sweep.next.is_some()
    }

    /// Chunks without a live replica.
    pub(super) fn missing(&self) -> &Missing {
        &self.missing
    }

    /// No file has the chunk any more. A copy under way ends like any other.
    pub(crate) fn drop_chunk(&mut self, chunk: ChunkId) {
        self.queue.leave(chunk);
        self.short_since.remove(&chunk);
        self.surplus.remove(chunk);
        self.in_vain.remove(&chunk);
    }

    /// Schedules the removal of surplus replicas of the chunk.
    pub(crate) fn surplus_at(&mut self, chunk: ChunkId, at: Monotonic) {
        self.surplus.set(chunk, at);
    }

    /// Whether such a removal is scheduled.
    pub(crate) fn awaits_surplus(&self, chunk: ChunkId) -> bool {
        self.surplus.contains(chunk)
    }

    fn begin(&mut self, chunk: ChunkId, copy: Copy) {
        self.streams.begin(copy.source, copy.target.server, copy.bytes);
        self.running.insert(chunk, copy);
    }

    fn end(&mut self, chunk: ChunkId) {
        let _gone = self.end_if(chunk, |_| true);
    }

    fn end_if(&mut self, chunk: ChunkId, it_is: impl Fn(&Copy) -> bool) -> Option<Copy> {
        let copy = *self.running.get(&chunk).filter(|copy| it_is(copy))?;
        self.running.remove(&chunk);
        self.again.remove(chunk);
        self.streams.end(copy.source, copy.target.server, copy.bytes);
        Some(copy)
    }

    /// The target itself has reported on the chunk: a copy to it has ended, and the source's
    /// report, which may come later, no longer counts.
    pub(crate) fn told_by_target(&mut self, chunk: ChunkId, server: ServerId) {
        let _ended = self.end_if(chunk, |copy| copy.target.server == server);
    }
}

impl Master {
    /// A server died or registered anew: copies from it and to it have ended, and its replicas no
    /// longer count, or count again.
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
        self.balance.clear(server);
        self.verifies_no_more(server);
        self.replicas.server_changed(server);
        self.drains.clear(server);
        self.orphans.clear(server);
        self.sweep(now);
    }

    /// Schedules a sweep over all chunks.
    pub(super) fn sweep(&mut self, now: Monotonic) {
        // In safe mode, replicas not reported yet would look lost; its end starts a sweep.
        if !self.in_safe_mode() {
            self.repairs.sweep_at(now);
        }
    }

    /// A source reports how a copy ended.
    pub(super) fn copy_ended(
        &mut self,
        source: ServerId,
        (chunk, command): (ChunkId, u64),
        done: bool,
        now: Monotonic,
    ) {
        if self.move_ended(source, (chunk, command), done, now) {
            return;
        }
        let is_it = |copy: &Copy| (copy.source, copy.command) == (source, command);
        // Otherwise the copy was given up before.
        let Some(Copy { target, .. }) = self.repairs.end_if(chunk, is_it) else { return };
        let arrived = done && self.servers.is_current(target.server, target.session);
        match self.sealed(chunk).filter(|_| arrived) {
            Some(sealed) => {
                self.arrived(chunk, target, &sealed);
                self.inspect(chunk, now);
            }
            None => {
                let is_assembly = source == target.server;
                let pause =
                    if is_assembly { self.repairs.pause_in_vain(chunk) } else { RETRY_AFTER };
                self.repairs.again.set(chunk, now + pause);
            }
        }
    }

    /// The server holds the chunk as it was sealed.
    pub(super) fn arrived(&mut self, chunk: ChunkId, by: Holder, sealed: &SealedState) {
        self.replicas.claim(chunk, sealed_claim(by, sealed), Some(sealed), &self.servers);
    }

    /// Does what is due: steps of a sweep, second looks, removals of surplus replicas.
    pub(super) fn repair(&mut self, now: Monotonic) {
        if self.repairs.sweep.next.is_none() && self.repairs.queue.take_overflow() {
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
                self.repairs.sweep.missing.add(chunk);
            }
        }
        let sweep = &mut self.repairs.sweep;
        sweep.next = match step.last() {
            Some(&ChunkId(last)) => Some((ChunkId(last + 1), now + SWEEP_PAUSE)),
            None => {
                self.repairs.missing = std::mem::take(&mut sweep.missing);
                let again = std::mem::take(&mut sweep.again);
                sweep.follows = again;
                again.then(|| (ChunkId(0), now + self.settings.dead_after / 4))
            }
        };
    }

    /// Compares the live replicas of a chunk with what is asked for. Returns how many there are;
    /// `None` if no file has the chunk, or in safe mode.
    pub(super) fn inspect(&mut self, chunk: ChunkId, now: Monotonic) -> Option<usize> {
        if self.in_safe_mode() {
            return None;
        }
        let Some(sealed) = self.sealed(chunk) else {
            self.repairs.queue.leave(chunk);
            self.repairs.short_since.remove(&chunk);
            self.repairs.missing.note(chunk, false);
            return None;
        };
        let standing = self.standing(chunk, &sealed);
        self.note_drains(chunk, &sealed, standing);
        self.weed(chunk, &sealed, now);
        if standing.staying > standing.wanted && !self.repairs.surplus.contains(chunk) {
            self.repairs.surplus.set(chunk, now + self.settings.heartbeat_interval);
        }
        // A copy on its way for balance makes up for a replica lost meanwhile.
        let is_copied = self.repairs.running.contains_key(&chunk) || self.balance.is_copying(chunk);
        // Noted even where no other server could hold another replica.
        self.repairs.note_age(chunk, (1..standing.wanted).contains(&standing.live), now);
        // An assembly that failed is retried at its own time.
        let is_put_off = standing.live == 0 && self.repairs.again.contains(chunk);
        if standing.live > 0 {
            self.repairs.in_vain.remove(&chunk);
        }
        let waits = !is_copied && !is_put_off;
        match standing.cause(self.servers.n_serving()).filter(|_| waits) {
            Some(cause) => self.repairs.queue.wait(chunk, cause),
            None => self.repairs.queue.leave(chunk),
        }
        self.repairs.missing.note(chunk, standing.live == 0);
        // The sweep will count the chunks that it has not reached yet.
        if self.repairs.sweep.next.is_some_and(|(next, _)| chunk < next) {
            self.repairs.sweep.missing.note(chunk, standing.live == 0);
        }
        Some(standing.live)
    }

    /// Where the replicas of a sealed chunk are.
    pub(super) fn standing(&self, chunk: ChunkId, sealed: &SealedState) -> Standing {
        let (mut live, mut staying) = (0, 0);
        let mut first_rack = None;
        let mut one_rack = self.servers.n_racks() > 1;
        for server in self.replicas.holders(chunk, &self.servers) {
            live += 1;
            if self.servers.is_draining(server) {
                continue;
            }
            staying += 1;
            let rack = self.servers.rack(server);
            one_rack &= *first_rack.get_or_insert(rack) == rack;
        }
        let wanted = usize::from(sealed.wanted);
        one_rack &= staying > 1 && wanted > 1;
        let mendable = live == 0 && self.is_mendable(chunk);
        Standing { live, staying, wanted, one_rack, mendable }
    }

    fn note_drains(&mut self, chunk: ChunkId, sealed: &SealedState, standing: Standing) {
        if !self.servers.any_draining() {
            return;
        }
        let holders: Vec<ServerId> = self.replicas.holders(chunk, &self.servers).collect();
        for server in self.servers.draining() {
            let is_left = standing.staying < standing.wanted && holders.contains(&server);
            self.drains.note(server, chunk, sealed.length(), is_left);
        }
    }

    /// Has the server whose heartbeat is being answered send as many copies as its streams allow,
    /// the most urgent first. No other server starts any: the reply carries the commands, while
    /// others would first have to send a heartbeat, and would hold their partners' streams until
    /// then. A server that ends a copy sends one at once.
    pub(super) fn start_copies(&mut self, source: ServerId, now: Monotonic) {
        // While a sweep may still find a chunk nearer to loss, only the most urgent ones start. But
        // where sweeps follow one another, as when a server keeps coming and going, chunks found by
        // the first must not wait.
        let last = match self.repairs.sweep.next {
            Some(_) if !self.repairs.sweep.follows => RepairCause::Under { live: 1 },
            Some(_) | None => RepairCause::MisReplicated,
        };
        let session = self.servers.session(source);
        let by = Holder { server: source, session };
        for chunk in self.repairs.queue.tries(last, TRIES_PER_CALL) {
            if !self.repairs.streams.can_send(source, self.settings.repair_streams) {
                break;
            }
            match self.sealed(chunk) {
                Some(sealed) if self.replicas.all_holders(chunk).contains(&by) => {
                    self.start_copy(chunk, source, &sealed, now);
                }
                Some(sealed) => self.start_assembly(chunk, by, &sealed, now),
                None => self.repairs.queue.leave(chunk),
            }
        }
    }

    fn start_copy(
        &mut self,
        chunk: ChunkId,
        source: ServerId,
        sealed: &SealedState,
        now: Monotonic,
    ) {
        let (streams, limit) = (&self.repairs.streams, self.settings.repair_streams);
        let holders: Vec<ServerId> = self.replicas.holders(chunk, &self.servers).collect();
        let standing = self.standing(chunk, sealed);
        // Another replica on the rack that has all of them would only be removed again.
        let other_rack = standing.staying >= standing.wanted;
        let can_receive =
            |server| streams.can_receive(server, limit) && !self.servers.is_doomed(server, chunk);
        let bytes = sealed.length();
        let target = self.servers.copy_target(&holders, bytes, other_rack, can_receive);
        let Some(target) = target else { return };
        let to = self.servers.address(target.server);
        self.servers.book_copy(target.server, bytes);
        let version = sealed.version;
        let purpose = CopyPurpose::Repair;
        let command =
            self.servers.command(source, ServerCommand::Copy { chunk, version, to, purpose });
        self.repairs.queue.leave(chunk);
        self.repairs.begin(chunk, Copy { source, command, target, bytes });
        self.repairs.again.set(chunk, now + COPY_LIMIT);
    }
}

fn sealed_claim(by: Holder, sealed: &SealedState) -> Claim {
    let (version, length, checksum) = (sealed.version, sealed.length(), sealed.checksum);
    Claim { by, version, length, checksum }
}
