//! Which server says that it holds which chunk: learnt from the writers' seals and the servers' reports,
//! soft. A claim counts as a replica only while it matches the sealed chunk; that comparison is made
//! when asked, so that a report may come before or after the seal.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, ServerCommand, Version};

use super::durable::SealedState;
use super::servers::{ServerId, Servers};

/// What one server said of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) server: ServerId,
    pub(crate) session: u64,
    pub(crate) version: Version,
    pub(crate) length: u64,
    pub(crate) checksum: u32,
}

impl Claim {
    /// Whether these are the bytes that were sealed.
    pub(crate) fn matches(&self, sealed: &SealedState) -> bool {
        let SealedState { version, length, checksum } = *sealed;
        (self.version, self.length, self.checksum) == (version, length, checksum)
    }

    fn delete(&self, chunk: ChunkId) -> ServerCommand {
        ServerCommand::Delete { chunk, version: self.version }
    }
}

/// All claims. At most one for each server, chunk and version; those of a registration that is no more
/// stay until the chunk is touched again, but are not believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replicas {
    claims: BTreeMap<ChunkId, Vec<Claim>>,
}

impl Replicas {
    /// Takes a claim in, in place of what the same server said before.
    pub(crate) fn claim(&mut self, chunk: ChunkId, claim: Claim) {
        let claims = self.claims.entry(chunk).or_default();
        claims.retain(|old| {
            old.server != claim.server
                || (old.session == claim.session && old.version != claim.version)
        });
        claims.push(claim);
    }

    /// The server does not hold it any more.
    pub(crate) fn lost(&mut self, chunk: ChunkId, server: ServerId, version: Version) {
        if let Some(claims) = self.claims.get_mut(&chunk) {
            claims.retain(|old| old.server != server || old.version != version);
            if claims.is_empty() {
                self.claims.remove(&chunk);
            }
        }
    }

    /// The servers that readers of a sealed chunk may ask.
    pub(crate) fn holders(
        &self,
        chunk: ChunkId,
        sealed: &SealedState,
        servers: &Servers,
    ) -> impl Iterator<Item = ServerId> {
        let claims = self.claims.get(&chunk).map_or(&[][..], Vec::as_slice);
        claims
            .iter()
            .filter(|claim| {
                claim.matches(sealed) && servers.is_believed(claim.server, claim.session)
            })
            .map(|claim| claim.server)
    }

    /// Has stale replicas of a sealed chunk deleted (older, or of other bytes than were sealed), if a
    /// good one is known to live: the last copy of anything is kept, even a bad one.
    pub(crate) fn weed(&mut self, chunk: ChunkId, sealed: &SealedState, servers: &mut Servers) {
        let Some(claims) = self.claims.get_mut(&chunk) else { return };
        let current = |claim: &Claim| servers.is_current(claim.server, claim.session);
        if !claims.iter().any(|claim| claim.matches(sealed) && current(claim)) {
            return;
        }
        let is_stale = |claim: &Claim| {
            !claim.matches(sealed) && claim.version <= sealed.version && current(claim)
        };
        let stale: Vec<Claim> = claims.iter().copied().filter(is_stale).collect();
        claims.retain(|claim| !stale.contains(claim));
        for claim in stale {
            servers.command(claim.server, claim.delete(chunk));
        }
    }

    /// No file refers to the chunk any more: every server that is known to hold it is told. The others
    /// are told when they report it.
    pub(crate) fn drop_chunk(&mut self, chunk: ChunkId, servers: &mut Servers) {
        for claim in self.claims.remove(&chunk).unwrap_or_default() {
            if servers.is_current(claim.server, claim.session) {
                servers.command(claim.server, claim.delete(chunk));
            }
        }
    }
}
