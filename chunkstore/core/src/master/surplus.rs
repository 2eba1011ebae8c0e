//! Replicas beyond those that a chunk's file asks for, and those that differ from what was sealed:
//! which of them are removed, and when. None is removed before one that stays has been read in full
//! and found sound, as nobody else may have the bytes. A log's replica that was not sealed with the
//! others may have them too: if those are lost, it is sealed.

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_protocol::{ChunkId, ServerCommand, Version};
use ids::Monotonic;

use super::Master;
use super::durable::SealedState;
use super::replicas::Claim;
use super::servers::{Holder, ServerId};

/// A server that was heard from within this many heartbeats is considered to be up.
const FRESH_HEARTBEATS: u32 = 2;

/// Replicas that one server reads at once.
const READ_AT_ONCE: usize = 4;
/// Chunks waiting for a server that are looked at in one of its heartbeats.
const TRIES_PER_HEARTBEAT: usize = 500;
/// A server that was told to seal a log's replica is told again after this many heartbeats.
const SEAL_HEARTBEATS: u32 = 3;

/// Replicas that are being read before others of their chunks are removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifying {
    by: BTreeMap<ChunkId, Holder>,
    /// How many each server is reading.
    counts: BTreeMap<ServerId, usize>,
    /// Chunks that wait for a server to be free; some may no longer need it.
    waiting: BTreeSet<(ServerId, ChunkId)>,
    n_asked: usize,
}

impl Verifying {
    /// No file has the chunk any more.
    pub(super) fn drop_chunk(&mut self, chunk: ChunkId) {
        self.end(chunk);
    }

    fn begin(&mut self, chunk: ChunkId, by: Holder) {
        self.end(chunk);
        self.by.insert(chunk, by);
        *self.counts.entry(by.server).or_default() += 1;
        self.n_asked += 1;
    }

    fn end(&mut self, chunk: ChunkId) {
        if let Some(by) = self.by.remove(&chunk)
            && let Some(count) = self.counts.get_mut(&by.server)
        {
            *count -= 1;
        }
    }

    fn is_busy(&self, server: ServerId) -> bool {
        self.counts.get(&server).is_some_and(|count| *count >= READ_AT_ONCE)
    }

    fn next_waiting(&mut self, server: ServerId) -> Option<ChunkId> {
        let first = (server, ChunkId(0))..=(server, ChunkId(u64::MAX));
        let next = *self.waiting.range(first).next()?;
        self.waiting.remove(&next);
        Some(next.1)
    }
}

impl Master {
    /// Removes the replicas beyond those asked for. If the only one is that of a server which gives
    /// the chunk away, this happens at once, as its copy was verified on arrival; otherwise one
    /// that stays is read first.
    pub(super) fn remove_surplus(&mut self, chunk: ChunkId, now: Monotonic) {
        let Some(sealed) = self.sealed(chunk) else { return };
        self.weed(chunk, &sealed, now);
        let (staying, victims) = self.surplus(chunk, &sealed, now);
        let giver = self.balance.giver(chunk);
        match victims.iter().all(|victim| giver == Some(*victim)) {
            true => self.remove_replicas(chunk, &sealed, &victims, now),
            false => self.verify(chunk, sealed.version, &staying),
        }
    }

    /// Deletes replicas that differ from what was sealed if a good one is known to live: the last
    /// copy of anything is kept, even a bad one. Older versions go at once; one of the sealed
    /// version only once the good one was read.
    pub(super) fn weed(&mut self, chunk: ChunkId, sealed: &SealedState, now: Monotonic) {
        let odd = self.replicas.odd(chunk, &self.servers);
        if odd.is_empty() {
            return;
        }
        let is_current = |by: &Holder| self.servers.is_current(by.server, by.session);
        let good = self.replicas.all_holders(chunk).iter().copied().filter(is_current);
        let good: Vec<Holder> = good.collect();
        if good.is_empty() {
            return self.seal_late(chunk, sealed, &odd, now);
        }
        for stale in odd.iter().filter(|claim| claim.version < sealed.version) {
            self.weed_one(chunk, sealed, *stale);
        }
        if odd.iter().any(|claim| claim.version == sealed.version) {
            self.verify(chunk, sealed.version, &good);
        }
    }

    fn weed_one(&mut self, chunk: ChunkId, sealed: &SealedState, stale: Claim) {
        let Claim { by, version, .. } = stale;
        let (what, is_sealed) = ((version, sealed), !stale.is_unsealed());
        self.replicas.doom(chunk, by.server, what, is_sealed, &mut self.servers);
    }

    /// None of the servers that sealed a log's chunk is left: those that still have it open seal it
    /// too.
    fn seal_late(&mut self, chunk: ChunkId, sealed: &SealedState, odd: &[Claim], now: Monotonic) {
        let version = sealed.version;
        let mut unsealed =
            odd.iter().filter(|claim| claim.version == version && claim.is_unsealed()).peekable();
        if unsealed.peek().is_none() || self.repairs.awaits_surplus(chunk) {
            return;
        }
        for Claim { by, .. } in unsealed {
            let servers = vec![self.servers.address(by.server)];
            let sealed = Some(sealed.length());
            let command = ServerCommand::EndLog { chunk, version, servers, sealed };
            self.servers.command(by.server, command);
        }
        self.repairs.surplus_at(chunk, now + self.tick() * SEAL_HEARTBEATS);
    }

    /// Has one of these replicas read, unless one of the chunk is being read already, as soon as a
    /// server is free.
    fn verify(&mut self, chunk: ChunkId, version: Version, by: &[Holder]) {
        let is_current = |by: &Holder| self.servers.is_current(by.server, by.session);
        if self.verifying.by.get(&chunk).is_some_and(is_current) {
            return;
        }
        // The holders take turns: the disk of one may be failing.
        let turn = self.verifying.n_asked.checked_rem(by.len()).unwrap_or(0);
        let (after, from) = by.split_at(turn);
        let mut in_turn = from.iter().chain(after).copied();
        match in_turn.clone().find(|by| !self.verifying.is_busy(by.server)) {
            Some(by) => {
                self.verifying.begin(chunk, by);
                self.servers.command(by.server, ServerCommand::Verify { chunk, version });
            }
            None => {
                let place = in_turn.next().map(|by| (by.server, chunk));
                self.verifying.waiting.extend(place);
            }
        }
    }

    /// Gives the server whose heartbeat is being answered more to read, if it is free.
    pub(super) fn verify_next(&mut self, server: ServerId, now: Monotonic) {
        for _ in 0..TRIES_PER_HEARTBEAT {
            if self.verifying.is_busy(server) {
                return;
            }
            let Some(chunk) = self.verifying.next_waiting(server) else { return };
            self.remove_surplus(chunk, now);
        }
    }

    /// A server has read its replica: if it is sound and stays, others may be removed.
    pub(super) fn verified(
        &mut self,
        by: Holder,
        (chunk, version): (ChunkId, Version),
        whole: bool,
        now: Monotonic,
    ) {
        self.verifying.end(chunk);
        let Some(sealed) = self.sealed(chunk).filter(|it| it.version == version) else { return };
        let whole = whole && self.replicas.all_holders(chunk).contains(&by);
        for stale in self.replicas.odd(chunk, &self.servers) {
            if whole && stale.version <= version {
                self.weed_one(chunk, &sealed, stale);
            }
        }
        let (staying, victims) = self.surplus(chunk, &sealed, now);
        match whole && staying.contains(&by) {
            true => self.remove_replicas(chunk, &sealed, &victims, now),
            false if self.repairs.awaits_surplus(chunk) => {}
            false => self.repairs.surplus_at(chunk, now + self.settings.heartbeat_interval),
        }
    }

    /// A server died or registered anew: it no longer reads anything for the master.
    pub(super) fn verifies_no_more(&mut self, server: ServerId) {
        self.verifying.by.retain(|_, by| by.server != server);
        self.verifying.counts.remove(&server);
    }

    /// Which replicas stay and which go: first that of the server which gives the chunk away, then
    /// those on racks with another one, from the fullest servers first. Only servers heard from
    /// just now are counted on: a server that is dead without the master knowing must not be the
    /// last one left.
    fn surplus(
        &mut self,
        chunk: ChunkId,
        sealed: &SealedState,
        now: Monotonic,
    ) -> (Vec<Holder>, Vec<ServerId>) {
        let since = self.settings.heartbeat_interval * FRESH_HEARTBEATS;
        let stays = |by: &Holder| !self.servers.is_draining(by.server);
        let is_fresh = |by: &Holder| {
            self.servers.is_current(by.server, by.session)
                && stays(by)
                && self.servers.is_fresh(by.server, since, now)
        };
        let mut holders: Vec<Holder> =
            self.replicas.all_holders(chunk).iter().copied().filter(is_fresh).collect();
        if holders.len() < self.standing(chunk, sealed).staying {
            self.repairs.surplus_at(chunk, now + since);
        }
        let mut victims = Vec::new();
        while holders.len() > usize::from(sealed.wanted) {
            let Some(victim) = self.victim(chunk, &holders) else { break };
            holders.retain(|by| by.server != victim);
            victims.push(victim);
        }
        (holders, victims)
    }

    fn remove_replicas(
        &mut self,
        chunk: ChunkId,
        sealed: &SealedState,
        victims: &[ServerId],
        now: Monotonic,
    ) {
        for &victim in victims {
            let what = (sealed.version, sealed);
            self.replicas.doom(chunk, victim, what, false, &mut self.servers);
            if self.balance.giver(chunk) != Some(victim) {
                self.move_is_done(chunk, now);
            }
        }
    }

    fn victim(&self, chunk: ChunkId, holders: &[Holder]) -> Option<ServerId> {
        let giver = self.balance.giver(chunk);
        let giver = giver.filter(|giver| self.servers.can_spare(*giver, holders));
        giver.or_else(|| self.servers.least_needed(chunk, holders))
    }
}
