//! Which servers get a new chunk or one more replica, or can do without one. The order of
//! preference for new chunks is in `placement.rs`.

use std::collections::BTreeSet;

use chunkstore_protocol::{ChunkId, RegisterServer, ServerAddress};
use ids::{HostName, Monotonic};

use super::super::error::{Unfit, UnfitReason};
use super::super::placement::{Candidate, Wish, choose};
use super::{Holder, Server, ServerId, Servers, WHOLE};

impl Servers {
    /// Chooses the servers of a new chunk and books its bytes on them.
    ///
    /// # Errors
    /// Every server's reason, when fewer than `wish.needed` can take it.
    pub(crate) fn place(
        &mut self,
        now: Monotonic,
        wish: Wish<'_>,
        chunk_bytes: u64,
        exclude: &[HostName],
    ) -> Result<Vec<ServerAddress>, Vec<Unfit>> {
        let fit: Vec<ServerId> =
            self.serving().filter(|(_, s)| s.takes(chunk_bytes)).map(|(id, _)| id).collect();
        let candidates: Vec<Candidate<'_>> = fit
            .iter()
            .map(|&id| {
                let Server { told: RegisterServer { host, rack, .. }, load, .. } = self.server(id);
                let (load, excluded) = (*load, exclude.contains(host));
                Candidate { host, rack, load, turn: self.turn(id), excluded }
            })
            .collect();
        let chosen = choose(&candidates, wish);
        if chosen.len() < usize::from(wish.needed) {
            return Err(self.unfit(now, &fit));
        }
        let most_free = fit.iter().map(|&id| self.server(id).free_bytes).max().unwrap_or(0);
        let pipeline: Vec<ServerId> = chosen.into_iter().map(|at| fit[at]).collect();
        self.n_placed += 1;
        for &id in &pipeline {
            self.server_mut(id).book(chunk_bytes, most_free);
        }
        Ok(pipeline.into_iter().map(|id| self.address(id)).collect())
    }

    /// A number that orders the servers differently for each chunk.
    fn turn(&self, ServerId(at): ServerId) -> u64 {
        // The mixing step of SplitMix64; it leaves 0, and so the first chunk's order, as it is.
        let mut mixed = self.n_placed.wrapping_mul(u64::from(at) + 1);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The server for one more replica of a chunk that `holders` have: on a rack of its own if they
    /// share one, or, with `other_rack`, only there; then the least loaded.
    pub(crate) fn copy_target(
        &self,
        holders: &[ServerId],
        length: u64,
        other_rack: bool,
        is_free: impl Fn(ServerId) -> bool,
    ) -> Option<Holder> {
        let staying = holders.iter().map(|&id| self.server(id)).filter(|server| !server.draining);
        let racks: BTreeSet<_> = staying.map(|server| &server.told.rack).collect();
        let crowded = |server: &Server| racks.len() == 1 && racks.contains(&server.told.rack);
        let suits = |id: ServerId, server: &Server| {
            let has_room = !holders.contains(&id) && server.takes(length);
            has_room && is_free(id) && !(other_rack && crowded(server))
        };
        let fit = self.serving().filter(|(id, server)| suits(*id, server));
        let score = |server: &Server| (crowded(server), server.load);
        let (id, server) = fit.min_by_key(|(id, server)| (score(server), *id))?;
        Some(Holder { server: id, session: server.session })
    }

    /// Books a copy of that length on the server.
    pub(crate) fn book_copy(&mut self, id: ServerId, length: u64) {
        let most_free = self.live().map(|(_, server)| server.free_bytes).max().unwrap_or(0);
        self.server_mut(id).book(length, most_free);
    }

    /// Which of the holders of a chunk can best do without it: one whose rack has another holder,
    /// with the least free share. If all else is equal, the holders take turns by chunk.
    pub(crate) fn least_needed(&self, chunk: ChunkId, holders: &[Holder]) -> Option<ServerId> {
        let rack = |by: &Holder| &self.server(by.server).told.rack;
        let beside = |by: &Holder| holders.iter().filter(|other| rack(other) == rack(by)).count();
        let turn = |at: usize| (at as u64 + chunk.0) % holders.len().max(1) as u64;
        let score = |(at, by): &(usize, &Holder)| {
            let empty = WHOLE - self.level(by.server).share();
            (beside(by) < 2, empty, turn(*at))
        };
        holders.iter().enumerate().min_by_key(score).map(|(_, by)| by.server)
    }

    /// Whether the holders of a chunk can do without `victim`: on several racks, they must stay so.
    pub(crate) fn can_spare(&self, victim: ServerId, holders: &[Holder]) -> bool {
        let all = holders.iter().map(|by| by.server);
        let left = all.clone().filter(|by| *by != victim);
        all.clone().any(|by| by == victim) && self.n_racks_of(left) >= self.n_racks_of(all).min(2)
    }

    /// Whether the `holders` of a chunk, if they are on several racks, still are with `taker` in
    /// place of `giver`.
    pub(crate) fn keeps_racks(
        &self,
        holders: &[ServerId],
        giver: ServerId,
        taker: ServerId,
    ) -> bool {
        let before = holders.iter().copied();
        let after = before.clone().filter(|by| *by != giver).chain([taker]);
        self.n_racks_of(after) >= self.n_racks_of(before).min(2)
    }

    fn n_racks_of(&self, servers: impl Iterator<Item = ServerId>) -> usize {
        servers.map(|id| self.rack(id)).collect::<BTreeSet<_>>().len()
    }

    fn unfit(&self, now: Monotonic, fit: &[ServerId]) -> Vec<Unfit> {
        let dead_for = |id| self.server(id).died.map_or(0, |died| now.since(died).as_secs());
        let reason = |id: ServerId| match self.is_live(id) {
            true if self.is_draining(id) => UnfitReason::Draining,
            true => UnfitReason::NoRoom { free_bytes: self.server(id).room() },
            false => UnfitReason::Dead { seconds: dead_for(id) },
        };
        let others = self.by_host.iter().filter(|(_, id)| !fit.contains(id));
        others.map(|(host, &id)| Unfit { host: host.clone(), why: reason(id) }).collect()
    }
}
