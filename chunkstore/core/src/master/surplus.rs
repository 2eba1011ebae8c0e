//! Replicas beyond those that a chunk's file asks for: which of them goes, and when.

use chunkstore_protocol::{ChunkId, ServerCommand};
use ids::Monotonic;

use super::Master;
use super::servers::{Holder, ServerId};

/// A server that was heard of within so many heartbeats' time is surely there.
const FRESH_HEARTBEATS: u32 = 2;

impl Master {
    /// Removes the replicas beyond those asked for: that of the server which gives the chunk away, else from
    /// the fullest servers first, and rather where another is on the same rack. Only servers that spoke just now are
    /// counted on: one that is dead and not known to be must not be all that is left.
    pub(super) fn remove_surplus(&mut self, chunk: ChunkId, now: Monotonic) {
        let Some(sealed) = self.sealed(chunk) else { return };
        let since = self.settings.heartbeat_interval * FRESH_HEARTBEATS;
        let stays = |by: &Holder| !self.servers.is_draining(by.server);
        let is_fresh = |by: &Holder| {
            self.servers.is_current(by.server, by.session)
                && stays(by)
                && self.servers.is_fresh(by.server, since, now)
        };
        let mut holders: Vec<Holder> =
            self.replicas.all_holders(chunk).iter().copied().filter(is_fresh).collect();
        if holders.len() < self.standing(chunk, &sealed).staying {
            self.repairs.surplus_at(chunk, now + since);
        }
        while holders.len() > usize::from(sealed.wanted) {
            let Some(victim) = self.victim(chunk, &holders) else { return };
            holders.retain(|by| by.server != victim);
            let version = sealed.version;
            self.replicas.lost(chunk, victim, version, Some(&sealed));
            self.servers.command(victim, ServerCommand::Delete { chunk, version, orphan: false });
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
