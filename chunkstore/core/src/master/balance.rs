//! Evens out how full the servers are while nothing is to be repaired (HDFS: the balancer). A
//! server is over when the used share of its space is more than a threshold above the mean, and
//! under when it is as much below. While any server is, chunks move from one that is over to one
//! below the mean, or from one above the mean to one that is under; never across the mean. So every
//! move makes the servers more alike, and moves end once all are within the threshold, without any
//! going back and forth.
//!
//! A move is a copy, after which the giver's replica is the surplus one (`surplus.rs`): at no time
//! does the chunk have fewer replicas than before, and it stays on several racks. All of this is
//! soft state: a restart or a death leaves a chunk with enough replicas, or with one too many,
//! which is removed.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_protocol::{ChunkId, CopyPurpose, RepairCause, ServerCommand};
use ids::Monotonic;

use super::Master;
use super::deadlines::Deadlines;
use super::durable::SealedState;
use super::servers::{Holder, Level, ServerId, WHOLE};
use super::streams::Streams;

/// Chunks that one call examines in search of some that a server can give away.
const LOOK_STEP: usize = 2000;
/// Chunks only move once servers have differed for this many heartbeats: by then each has reported
/// what was just written.
const UNEVEN_HEARTBEATS: u32 = 3;
/// How long a server that found no chunk to give stops looking.
const REST: Duration = Duration::from_mins(1);
/// A move whose end has not been reported after this time is given up.
const MOVE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Heartbeats until a move certainly shows in the free space that servers report.
const SETTLED_HEARTBEATS: u32 = 2;
/// Heartbeats until a chunk whose move failed may be moved again.
const FAILED_HEARTBEATS: u32 = 30;

/// Moves under way, and how full the servers are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    moves: BTreeMap<ChunkId, Move>,
    /// When each move is forgotten, however it ended.
    ends: Deadlines<ChunkId>,
    streams: Streams,
    flows: BTreeMap<ServerId, Flow>,
    looks: BTreeMap<ServerId, Look>,
    /// Moves begun so far.
    n_begun: u64,
    mean: Mean,
}

/// A chunk that moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) giver: ServerId,
    /// The number of the giver's command.
    command: u64,
    pub(super) taker: Holder,
    pub(super) bytes: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being copied.
    Copying,
    /// The copy has arrived; the giver's replica is to be removed.
    Removing,
    /// The move has ended, but the free space that servers report may not show it yet.
    Settling,
}

/// Bytes that are on their way to and from a server.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    to: u64,
    from: u64,
}

/// How far a giver has looked through the chunks.
#[derive(Clone, Copy, Debug)]
struct Look {
    next: ChunkId,
    /// Value of [`Balance::n_begun`] when it began at the first chunk.
    begun: u64,
    rests_until: Monotonic,
}

/// How full the servers were at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mean {
    at: Option<Monotonic>,
    /// Since when some server has been over or under.
    uneven_since: Option<Monotonic>,
    share: u64,
    /// Servers above the threshold.
    pub(super) over: u64,
    /// Servers below it.
    pub(super) under: u64,
    /// Bytes that must at least move until all servers are within the threshold.
    pub(super) bytes_left: u64,
}

impl Balance {
    /// When something is due.
    pub(crate) fn due(&self) -> Option<Monotonic> {
        self.ends.next()
    }

    /// Whether a copy of the chunk is under way for balance.
    pub(crate) fn is_copying(&self, chunk: ChunkId) -> bool {
        self.moves.get(&chunk).is_some_and(|it| it.phase == Phase::Copying)
    }

    /// The server that is to lose its replica of a chunk whose copy has arrived.
    pub(crate) fn giver(&self, chunk: ChunkId) -> Option<ServerId> {
        self.moves.get(&chunk).filter(|it| it.phase == Phase::Removing).map(|it| it.giver)
    }

    /// Copies under way.
    pub(super) fn copying(&self) -> impl Iterator<Item = (ChunkId, &Move)> {
        let moves = self.moves.iter().map(|(chunk, it)| (*chunk, it));
        moves.filter(|(_, it)| it.phase == Phase::Copying)
    }

    /// How full the servers were at the last look.
    pub(super) fn mean(&self) -> Mean {
        self.mean
    }

    /// No file has the chunk any more.
    pub(crate) fn drop_chunk(&mut self, chunk: ChunkId) {
        self.forget(chunk);
    }

    /// A server died or registered anew: its moves have ended, or their ends will never be
    /// reported.
    pub(super) fn clear(&mut self, server: ServerId) {
        let involved = |it: &Move| it.giver == server || it.taker.server == server;
        let ended: Vec<ChunkId> =
            self.moves.iter().filter(|(_, it)| involved(it)).map(|(chunk, _)| *chunk).collect();
        ended.into_iter().for_each(|chunk| self.forget(chunk));
        self.looks.remove(&server);
    }

    /// Enters the settling phase; from `until` on, the reported free space shows the move.
    fn settle(&mut self, chunk: ChunkId, until: Monotonic) {
        self.enter(chunk, Phase::Settling, until);
    }

    fn enter(&mut self, chunk: ChunkId, phase: Phase, until: Monotonic) {
        let Some(it) = self.moves.get_mut(&chunk) else { return };
        if it.phase == Phase::Copying {
            self.streams.end(it.giver, it.taker.server, it.bytes);
        }
        it.phase = phase;
        self.ends.set(chunk, until);
    }

    fn begin(&mut self, chunk: ChunkId, it: Move, until: Monotonic) {
        self.streams.begin(it.giver, it.taker.server, it.bytes);
        self.flows.entry(it.giver).or_default().from += it.bytes;
        self.flows.entry(it.taker.server).or_default().to += it.bytes;
        self.moves.insert(chunk, it);
        self.ends.set(chunk, until);
        self.n_begun += 1;
    }

    fn forget(&mut self, chunk: ChunkId) {
        let Some(it) = self.moves.remove(&chunk) else { return };
        self.ends.remove(chunk);
        if it.phase == Phase::Copying {
            self.streams.end(it.giver, it.taker.server, it.bytes);
        }
        for (server, to, from) in [(it.giver, 0, it.bytes), (it.taker.server, it.bytes, 0)] {
            let flow = self.flows.entry(server).or_default();
            (flow.to, flow.from) = (flow.to - to, flow.from - from);
            if (flow.to, flow.from) == (0, 0) {
                self.flows.remove(&server);
            }
        }
    }

    /// How full a server that reported `told` will be once all moves under way are done.
    fn expected(&self, server: ServerId, told: Level) -> Level {
        let Flow { to, from } = self.flows.get(&server).copied().unwrap_or_default();
        told.after(to, from)
    }

    /// The chunk where the giver continues its search; `None` while it rests.
    fn look(&mut self, giver: ServerId, now: Monotonic) -> Option<ChunkId> {
        let new = Look { next: ChunkId(0), begun: self.n_begun, rests_until: now };
        let look = self.looks.entry(giver).or_insert(new);
        (look.rests_until <= now).then_some(look.next)
    }

    /// The giver has examined all chunks before `next`; `None`: there are no more. If it went
    /// through all of them while no server moved anything, it rests: otherwise a move under way may
    /// make room for another.
    fn looked(&mut self, giver: ServerId, next: Option<ChunkId>, now: Monotonic) {
        let n_begun = self.n_begun;
        let Some(look) = self.looks.get_mut(&giver) else { return };
        look.next = next.unwrap_or(ChunkId(0));
        if next.is_none() {
            if look.begun == n_begun && self.moves.is_empty() {
                look.rests_until = now + REST;
            }
            look.begun = n_begun;
        }
    }
}

impl Master {
    /// Forgets the moves whose time has passed.
    pub(super) fn pass_moves(&mut self, now: Monotonic) {
        while let Some(chunk) = self.balance.ends.pop_passed(now) {
            self.balance.forget(chunk);
            self.inspect(chunk, now);
        }
    }

    /// The taker reports that it holds the chunk, or the giver that the copy arrived: now there is
    /// one replica too many, unless others were lost meanwhile.
    pub(super) fn move_arrived(&mut self, chunk: ChunkId, taker: ServerId, now: Monotonic) {
        let is_it = |it: &&Move| it.phase == Phase::Copying && it.taker.server == taker;
        if self.balance.moves.get(&chunk).filter(is_it).is_none() {
            return;
        }
        let is_surplus = self.sealed(chunk).is_some_and(|sealed| {
            let standing = self.standing(chunk, &sealed);
            standing.staying > standing.wanted
        });
        match is_surplus {
            true => self.balance.enter(chunk, Phase::Removing, now + MOVE_LIMIT),
            false => self.balance.settle(chunk, now + self.settle_time(SETTLED_HEARTBEATS)),
        }
    }

    /// A giver reports how a copy ended. Returns whether the copy was one of these moves.
    pub(super) fn move_ended(
        &mut self,
        giver: ServerId,
        (chunk, command): (ChunkId, u64),
        done: bool,
        now: Monotonic,
    ) -> bool {
        let is_it = |it: &&Move| (it.giver, it.command) == (giver, command);
        let Some(it) = self.balance.moves.get(&chunk).filter(is_it).copied() else { return false };
        if it.phase != Phase::Copying {
            return true;
        }
        let Holder { server, session } = it.taker;
        match self.sealed(chunk).filter(|_| done && self.servers.is_current(server, session)) {
            Some(sealed) => {
                self.arrived(chunk, it.taker, &sealed);
                self.move_arrived(chunk, server, now);
            }
            None => self.balance.settle(chunk, now + self.settle_time(FAILED_HEARTBEATS)),
        }
        self.inspect(chunk, now);
        true
    }

    /// A server no longer has a replica of the chunk, of any version.
    pub(super) fn move_lost(&mut self, chunk: ChunkId, server: ServerId, now: Monotonic) {
        let until = now + self.settle_time(SETTLED_HEARTBEATS);
        match self.balance.moves.get(&chunk) {
            Some(it) if it.phase == Phase::Removing && it.giver == server => {
                self.balance.settle(chunk, until);
            }
            Some(it) if it.taker.server == server => self.balance.forget(chunk),
            Some(_) | None => {}
        }
    }

    /// Another replica was removed in place of the giver's, or none had to be.
    pub(super) fn move_is_done(&mut self, chunk: ChunkId, now: Monotonic) {
        if self.balance.giver(chunk).is_some() {
            self.balance.settle(chunk, now + self.settle_time(SETTLED_HEARTBEATS));
        }
    }

    /// Has the server whose heartbeat is being answered give chunks away, if it should, as far as
    /// its free streams allow.
    pub(super) fn start_moves(&mut self, giver: ServerId, now: Monotonic) {
        self.refresh_mean(now);
        let level = self.balance.expected(giver, self.servers.level(giver));
        let Mean { share: mean, uneven_since, .. } = self.balance.mean;
        let time = self.settle_time(UNEVEN_HEARTBEATS);
        let is_uneven = uneven_since.is_some_and(|since| now.since(since) >= time);
        if !is_uneven || level.share() <= mean || !self.may_balance() || !self.may_give(giver) {
            return;
        }
        let Some(first) = self.balance.look(giver, now) else { return };
        let takers = self.takers();
        if takers.is_empty() {
            return;
        }
        let step: Vec<ChunkId> = self.durable.chunks_from(first).take(LOOK_STEP).collect();
        for &chunk in &step {
            if !self.balance.streams.can_send(giver, self.settings.repair_streams) {
                return self.balance.looked(giver, Some(chunk), now);
            }
            if let Some(sealed) = self.sealed(chunk) {
                self.try_move(chunk, &sealed, giver, &takers, now);
            }
        }
        let more = step.last().filter(|_| step.len() == LOOK_STEP);
        self.balance.looked(giver, more.map(|&ChunkId(last)| ChunkId(last + 1)), now);
    }

    /// Chunks are only moved while all of them have all their replicas.
    fn may_balance(&self) -> bool {
        let repairs = &self.repairs;
        let census = repairs.census();
        let is_waiting = repairs.queue.is_waiting_to(RepairCause::Draining);
        !(self.in_safe_mode()
            || is_waiting
            || repairs.is_sweeping()
            || census.running + census.retrying > 0)
    }

    fn may_give(&self, giver: ServerId) -> bool {
        !self.servers.is_draining(giver)
            && self.servers.is_report_complete(giver)
            && self.balance.streams.can_send(giver, self.settings.repair_streams)
    }

    /// Servers below the mean that may take a chunk, the emptiest first.
    fn takers(&self) -> Vec<ServerId> {
        let mean = self.balance.mean.share;
        let streams = self.settings.repair_streams;
        let mut takers: Vec<(u64, ServerId)> = self
            .servers
            .levels()
            .map(|(id, told)| (self.balance.expected(id, told).share(), id))
            .filter(|(share, id)| *share < mean && self.balance.streams.can_receive(*id, streams))
            .collect();
        takers.sort_unstable();
        takers.into_iter().map(|(_, id)| id).collect()
    }

    fn try_move(
        &mut self,
        chunk: ChunkId,
        sealed: &SealedState,
        giver: ServerId,
        takers: &[ServerId],
        now: Monotonic,
    ) {
        let by = Holder { server: giver, session: self.servers.session(giver) };
        let all = self.replicas.all_holders(chunk);
        let is_busy = self.balance.moves.contains_key(&chunk) || self.repairs.is_due(chunk);
        if is_busy || sealed.length() == 0 || !all.contains(&by) {
            return;
        }
        let standing = self.standing(chunk, sealed);
        if (standing.live, standing.staying) != (standing.wanted, standing.wanted) {
            return;
        }
        let holders: Vec<ServerId> = self.replicas.holders(chunk, &self.servers).collect();
        let bytes = sealed.length();
        let suits = |taker: &&ServerId| {
            !holders.contains(taker)
                && !self.servers.is_doomed(**taker, chunk)
                && self.evens(giver, **taker, bytes)
                && self.servers.keeps_racks(&holders, giver, **taker)
        };
        let Some(&taker) = takers.iter().find(suits) else { return };
        let version = sealed.version;
        let (to, purpose) = (self.servers.address(taker), CopyPurpose::Balance);
        let command =
            self.servers.command(giver, ServerCommand::Copy { chunk, version, to, purpose });
        let taker = Holder { server: taker, session: self.servers.session(taker) };
        let it = Move { giver, command, taker, bytes, phase: Phase::Copying };
        self.balance.begin(chunk, it, now + MOVE_LIMIT);
    }

    /// Whether the move makes the two servers more alike, at least one of them is over or under,
    /// and there is room for it.
    fn evens(&self, giver: ServerId, taker: ServerId, bytes: u64) -> bool {
        let streams = self.settings.repair_streams;
        let Mean { share: mean, .. } = self.balance.mean;
        let threshold = self.threshold();
        let gives = self.balance.expected(giver, self.servers.level(giver));
        let takes = self.balance.expected(taker, self.servers.level(taker));
        let is_far = gives.share() > mean + threshold || takes.share() + threshold < mean;
        let on_the_way = self.balance.flows.get(&taker).map_or(0, |flow| flow.to);
        is_far
            && gives.after(0, bytes).share() >= mean
            && takes.after(bytes, 0).share() <= mean
            && self.balance.streams.can_receive(taker, streams)
            && self.servers.room(taker).saturating_sub(on_the_way) >= bytes
    }

    /// Computes how full the servers are, unless that was just done.
    fn refresh_mean(&mut self, now: Monotonic) {
        let pause = self.settings.heartbeat_interval / 2;
        if self.balance.mean.at.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        let levels: Vec<Level> = self
            .servers
            .levels()
            .map(|(id, told)| self.balance.expected(id, told))
            .filter(|level| level.capacity > 0)
            .collect();
        let sum = levels.iter().fold(Level::default(), |sum, level| Level {
            used: sum.used.saturating_add(level.used),
            capacity: sum.capacity.saturating_add(level.capacity),
        });
        let share = if levels.is_empty() { 0 } else { sum.share() };
        let threshold = self.threshold();
        let mut mean = Mean { at: Some(now), share, ..Mean::default() };
        let (mut too_much, mut too_little) = (0_u64, 0_u64);
        for level in levels {
            if level.share() > share + threshold {
                mean.over += 1;
                let most = level.bytes_of(share + threshold);
                too_much = too_much.saturating_add(level.used.saturating_sub(most));
            } else if level.share() + threshold < share {
                mean.under += 1;
                let least = level.bytes_of(share - threshold);
                too_little = too_little.saturating_add(least.saturating_sub(level.used));
            }
        }
        mean.bytes_left = too_much.max(too_little);
        let since = self.balance.mean.uneven_since.unwrap_or(now);
        mean.uneven_since = Some(since).filter(|_| mean.over + mean.under > 0);
        self.balance.mean = mean;
    }

    fn threshold(&self) -> u64 {
        WHOLE / 100 * u64::from(self.settings.balance_threshold_percent)
    }

    fn settle_time(&self, heartbeats: u32) -> Duration {
        self.settings.heartbeat_interval * heartbeats
    }
}
