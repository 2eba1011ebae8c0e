//! Chunks with fewer live replicas than their file asks for get more, those nearest to loss first; then those
//! on servers that are to be emptied, and those whose replicas are all on one rack; with more replicas than
//! that, the surplus goes (GFS 2003, section 4.3). All soft: found anew by a sweep over the chunks whenever
//! servers come or go. A copy is pushed by a server that holds the chunk; how many run at once per server is
//! bounded here (`streams.rs`), how fast they run is the chunkservers' business. What becomes of chunks that only broken
//! replicas are left of is `assembly.rs`'.

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

/// Chunks looked at in one step of a sweep, and the pause between two: requests go between them.
const SWEEP_STEP: usize = 2000;
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// Waiting chunks of each class that are tried in one call.
const TRIES_PER_CALL: usize = 512;
/// Pause before a chunk whose copy failed is looked at again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A copy whose end nobody told of by then is given up: its source tells of it, or dies, much sooner.
const COPY_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Chunks of which it is remembered since when they are short of replicas.
const AGES_MAX: usize = 20_000;

/// What is known to be short of replicas, and what is done about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs {
    pub(super) queue: Queue,
    pub(super) running: BTreeMap<ChunkId, Copy>,
    /// Since when chunks have had fewer live replicas than asked for, whatever is done about it.
    short_since: BTreeMap<ChunkId, Monotonic>,
    streams: Streams,
    /// Chunks to be looked at again, and when.
    again: Deadlines<ChunkId>,
    /// Chunks that could not be put together of broken replicas: how often, up to a bound.
    in_vain: BTreeMap<ChunkId, u32>,
    /// Chunks with more replicas than asked for, and when those may go.
    surplus: Deadlines<ChunkId>,
    sweep: Sweep,
    /// As the last whole sweep, and looks since, found them.
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
    /// Chunks with fewer live replicas than asked for, but one; at most [`AGES_MAX`].
    pub(crate) under_replicated: u64,
    /// Chunks without a live replica.
    pub(crate) missing: u64,
}

/// A look at all chunks, in steps.
#[derive(Clone, Debug, Default)]
struct Sweep {
    /// The next chunk and when it is its turn; `None` while no sweep runs.
    next: Option<(ChunkId, Monotonic)>,
    /// Something changed meanwhile: another one follows.
    again: bool,
    /// Another one came right before.
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
    /// That live servers hold.
    pub(super) live: usize,
    /// Of these, on servers that are not to be emptied.
    pub(super) staying: usize,
    /// That its file asks for.
    pub(super) wanted: usize,
    /// Whether all that stay are on one rack, though others have servers.
    pub(super) one_rack: bool,
    /// Whether there is none, and the broken ones of several servers may make one.
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
        RepairCensus {
            waiting: self.queue.len() as u64,
            retrying: (self.again.len() - running) as u64,
            running: running as u64,
            under_replicated: self.short_since.len() as u64,
            missing: self.missing.len(),
        }
    }

    /// Since when the chunk has been short of replicas that has been so longest.
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

    /// Whether some chunks have not been looked at since something changed.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep.next.is_some() || self.queue.has_overflowed()
    }

    /// Whether the chunks without a live replica are only being found.
    pub(super) fn is_being_counted(&self) -> bool {
        self.sweep.next.is_some()
    }

    /// Chunks without a live replica.
    pub(super) fn missing(&self) -> &Missing {
        &self.missing
    }

    /// No file has the chunk any more. A copy under way ends as any other.
    pub(crate) fn drop_chunk(&mut self, chunk: ChunkId) {
        self.queue.leave(chunk);
        self.short_since.remove(&chunk);
        self.surplus.remove(chunk);
        self.in_vain.remove(&chunk);
    }

    /// Removes what is too much of the chunk at that time.
    pub(crate) fn surplus_at(&mut self, chunk: ChunkId, at: Monotonic) {
        self.surplus.set(chunk, at);
    }

    /// Whether that is to be.
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

    /// The server tells of a chunk itself: if it was being copied there, that has ended, and the source's
    /// word, which may come later, counts no more.
    pub(crate) fn told_by_target(&mut self, chunk: ChunkId, server: ServerId) {
        let _ended = self.end_if(chunk, |copy| copy.target.server == server);
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
        self.balance.clear(server);
        self.verifies_no_more(server);
        self.replicas.server_changed(server);
        self.drains.clear(server);
        self.orphans.clear(server);
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
        if self.move_ended(source, (chunk, command), done, now) {
            return;
        }
        let is_it = |copy: &Copy| (copy.source, copy.command) == (source, command);
        // Others were given up before.
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

    /// Does what is due: steps of a sweep, second looks, removals.
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

    /// Compares the live replicas of a chunk with what is asked for. Returns how many there are; `None`
    /// if no file has the chunk.
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
        // What is on its way for balance makes up for a loss meanwhile.
        let is_copied = self.repairs.running.contains_key(&chunk) || self.balance.is_copying(chunk);
        // Also where no server is left that could hold another.
        self.repairs.note_age(chunk, (1..standing.wanted).contains(&standing.live), now);
        // What was tried in vain has its time.
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
        // What the sweep has not come to yet, it will look at.
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

    /// Has a server that speaks just now send as many copies as it is free for, the most urgent first. Only
    /// this one: the answer takes the commands along, while others would first have to speak, and hold
    /// their partners' streams until then. Whoever ends a copy speaks at once.
    pub(super) fn start_copies(&mut self, source: ServerId, now: Monotonic) {
        // While a sweep may still find one that is nearer to loss, only those nearest to it start. Where sweeps follow one
        // another, as for a server that comes and goes, what the first has found must not wait for the last.
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
        // One more on the rack that has all of them would only be removed again.
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
