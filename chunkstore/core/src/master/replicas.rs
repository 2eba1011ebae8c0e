//! Which server claims to hold which chunk, as learnt from the writers' seals and the servers'
//! reports; soft. A claim counts as a replica if it matches the sealed chunk. A report may come
//! before the seal: a claim of an open chunk is judged when the chunk is sealed. Nearly all claims
//! are good ones of sealed chunks, so those are stored in a few bytes.

mod hearsay;

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, ServerCommand, Version};
use ids::HostName;
use smallvec::SmallVec;

use super::durable::{Dropped, SealedState};
use super::paged::Paged;
use super::servers::{Holder, ServerId, Servers, Session};
use hearsay::Hearsay;

/// Chunks whose broken replicas are remembered.
const BROKEN_MAX: usize = 10_000;
/// Holders of a chunk that are stored inline.
const HOLDERS_INLINE: usize = 3;

/// The memory that the claims of a chunk take if all is well.
#[cfg(test)]
pub(crate) const BYTES_PER_CHUNK: usize = size_of::<SmallVec<[Holder; HOLDERS_INLINE]>>();

/// What one server reported of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) by: Holder,
    pub(crate) version: Version,
    pub(crate) length: u64,
    pub(crate) checksum: u32,
}

impl Claim {
    /// Whether it is a log's chunk that was not sealed: no length is reported of those.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.length == 0
    }

    /// Whether these are the bytes that were sealed.
    pub(crate) fn matches(&self, sealed: &SealedState) -> bool {
        (self.version, self.length, self.checksum)
            == (sealed.version, sealed.length(), sealed.checksum)
    }
}

/// All claims: at most one for each server, chunk and version. Those of an outdated registration
/// stay until the chunk is touched again, but are not believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replicas {
    /// Claims that match the sealed chunk.
    good: Paged<ChunkId, SmallVec<[Holder; HOLDERS_INLINE]>>,
    /// The other claims: of open chunks, stale ones, or of bytes other than those sealed.
    odd: BTreeMap<ChunkId, Vec<Claim>>,
    /// Number of good claims by the registration in which they were made.
    counts: BTreeMap<Session, u64>,
    /// Servers that found their good replica broken or gone and have had no other since; of at most
    /// [`BROKEN_MAX`] chunks, the lowest ids of which are forgotten first. Such replicas are the
    /// last resort of readers and of repair.
    broken: BTreeMap<ChunkId, Vec<HostName>>,
    /// Servers that have lost their replica of an open chunk. A writer that names one of them
    /// later, among those that sealed the chunk, does not know that yet.
    gone: BTreeMap<ChunkId, Vec<Holder>>,
    hearsay: Hearsay,
}

impl Replicas {
    /// Takes a claim, in place of earlier ones of the same server. `sealed`: the sealed chunk, if
    /// it is sealed.
    pub(crate) fn claim(
        &mut self,
        chunk: ChunkId,
        claim: Claim,
        sealed: Option<&SealedState>,
        servers: &Servers,
    ) {
        let Holder { server, session } = claim.by;
        self.come_back(chunk, server);
        self.hearsay.settle(chunk, server);
        let outlived = |old: &Claim| {
            old.by.server == server && (old.by.session != session || old.version == claim.version)
        };
        self.retain_odd(chunk, |old| !outlived(old));
        let is_good = sealed.is_some_and(|sealed| claim.matches(sealed));
        // A claim of another version, in the same registration, does not replace a good one.
        let speaks_of_it = |sealed: &SealedState| claim.version == sealed.version;
        let contradicts = sealed.is_none_or(speaks_of_it);
        self.retain_good(chunk, |old| {
            old.server != server || (old.session == session && !contradicts)
        });
        match is_good {
            true => {
                self.mend(chunk, servers.host(server));
                self.push_good(chunk, claim.by);
            }
            false => self.odd.entry(chunk).or_default().push(claim),
        }
    }

    /// Whether the server has claimed to hold a chunk that is not sealed.
    pub(crate) fn is_claimed(&self, chunk: ChunkId, server: ServerId) -> bool {
        self.odd.get(&chunk).is_some_and(|odd| odd.iter().any(|claim| claim.by.server == server))
    }

    /// Whether the server has claimed, in this registration, to hold a chunk that is not sealed.
    pub(crate) fn is_claimed_by(&self, chunk: ChunkId, by: Holder) -> bool {
        self.odd.get(&chunk).is_some_and(|odd| odd.iter().any(|claim| claim.by == by))
    }

    /// The chunk was sealed: judges the claims made before.
    pub(crate) fn judge(&mut self, chunk: ChunkId, sealed: &SealedState) {
        let claims = self.odd.get(&chunk).map_or(&[][..], Vec::as_slice);
        let good: Vec<Holder> =
            claims.iter().filter(|claim| claim.matches(sealed)).map(|claim| claim.by).collect();
        if !good.is_empty() {
            self.retain_odd(chunk, |claim| !claim.matches(sealed));
            good.into_iter().for_each(|by| self.push_good(chunk, by));
        }
    }

    /// Like [`Self::claim`], but on another's word that the server has sealed the chunk. What the
    /// server itself said in this registration counts more: it may have lost the replica since.
    pub(crate) fn claim_of_another(
        &mut self,
        chunk: ChunkId,
        claim: Claim,
        sealed: &SealedState,
        servers: &Servers,
    ) {
        if self.gone.get(&chunk).is_some_and(|gone| gone.contains(&claim.by)) {
            return;
        }
        let Holder { server, .. } = claim.by;
        let is_told =
            self.is_claimed_by(chunk, claim.by) || self.all_holders(chunk).contains(&claim.by);
        self.claim(chunk, claim, Some(sealed), servers);
        if !is_told {
            self.hearsay.hear(chunk, server);
        }
    }

    /// The server reports that it had the chunk open before the seal, so it also reports what
    /// became of it.
    pub(crate) fn had_it_open(&mut self, chunk: ChunkId, server: ServerId) {
        self.hearsay.settle(chunk, server);
    }

    /// The server died or registered anew.
    pub(crate) fn server_changed(&mut self, server: ServerId) {
        self.hearsay.clear(server);
    }

    /// A server has reported everything: returns the chunks that only others say it has, and that
    /// it lacks.
    pub(crate) fn unconfirmed(&mut self, server: ServerId) -> Vec<ChunkId> {
        self.hearsay.pass(server)
    }

    /// The server has lost its replica of a chunk that is still open.
    pub(crate) fn lost_open(&mut self, chunk: ChunkId, by: Holder) {
        self.come_back(chunk, by.server);
        self.gone.entry(chunk).or_default().push(by);
    }

    fn come_back(&mut self, chunk: ChunkId, server: ServerId) {
        if let Some(gone) = self.gone.get_mut(&chunk) {
            gone.retain(|by| by.server != server);
            if gone.is_empty() {
                self.gone.remove(&chunk);
            }
        }
    }

    /// All servers that sealed the chunk have been noted.
    pub(crate) fn all_heard(&mut self, chunk: ChunkId) {
        self.gone.remove(&chunk);
    }

    /// The server no longer holds it. `sealed`: the sealed chunk, if it is sealed.
    pub(crate) fn lost(
        &mut self,
        chunk: ChunkId,
        server: ServerId,
        version: Version,
        sealed: Option<&SealedState>,
    ) {
        self.hearsay.settle(chunk, server);
        self.retain_odd(chunk, |old| old.by.server != server || old.version != version);
        if sealed.is_some_and(|sealed| sealed.version == version) {
            self.retain_good(chunk, |old| old.server != server);
        }
    }

    /// The server found its replica of a sealed chunk broken or gone, of its own accord. To be
    /// called before [`Self::lost`].
    pub(crate) fn broke(&mut self, chunk: ChunkId, by: Holder, servers: &Servers) {
        if self.all_holders(chunk).contains(&by) {
            self.note_broken(chunk, servers.host(by.server));
        }
    }

    /// The server has a broken replica of a sealed chunk.
    pub(crate) fn note_broken(&mut self, chunk: ChunkId, host: &HostName) {
        if self.broken.len() >= BROKEN_MAX && !self.broken.contains_key(&chunk) {
            self.broken.pop_first();
        }
        let hosts = self.broken.entry(chunk).or_default();
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }

    /// Servers that found their replica of the chunk broken or gone.
    pub(crate) fn broken(&self, chunk: ChunkId) -> &[HostName] {
        self.broken.get(&chunk).map_or(&[], Vec::as_slice)
    }

    /// Live servers that hold bytes other than those sealed.
    pub(crate) fn stale(
        &self,
        chunk: ChunkId,
        servers: &Servers,
    ) -> impl Iterator<Item = ServerId> {
        let odd = self.odd.get(&chunk).map_or(&[][..], Vec::as_slice);
        let current = |claim: &&Claim| servers.is_current(claim.by.server, claim.by.session);
        odd.iter().filter(current).map(|claim| claim.by.server)
    }

    /// Number of good replicas reported in a registration.
    pub(crate) fn count(&self, session: Session) -> u64 {
        self.counts.get(&session).copied().unwrap_or(0)
    }

    /// The servers that readers of a sealed chunk may ask.
    pub(crate) fn holders(
        &self,
        chunk: ChunkId,
        servers: &Servers,
    ) -> impl Iterator<Item = ServerId> {
        let good = self.all_holders(chunk);
        good.iter().filter(|by| servers.is_believed(by.server, by.session)).map(|by| by.server)
    }

    /// All servers that claimed to hold the sealed chunk, whether or not they still do.
    pub(crate) fn all_holders(&self, chunk: ChunkId) -> &[Holder] {
        self.good.get(chunk).map_or(&[], SmallVec::as_slice)
    }

    /// Replicas of a sealed chunk on live servers that differ from what was sealed: older, or with
    /// other bytes.
    pub(crate) fn odd(&self, chunk: ChunkId, servers: &Servers) -> Vec<Claim> {
        let current = |claim: &&Claim| servers.is_current(claim.by.server, claim.by.session);
        self.odd.get(&chunk).into_iter().flatten().filter(current).copied().collect()
    }

    /// Has a live server delete a replica of a chunk that others hold, which no longer counts from
    /// now on. An `orphan` goes to the server's trash: a replica that differs from what was sealed
    /// may hold bytes that this journal does not know of.
    pub(crate) fn doom(
        &mut self,
        chunk: ChunkId,
        server: ServerId,
        (version, sealed): (Version, &SealedState),
        orphan: bool,
        servers: &mut Servers,
    ) {
        self.lost(chunk, server, version, Some(sealed));
        servers.doom(server, chunk, version, orphan);
    }

    /// No file refers to the chunk any more: tells every server that is known to hold it. Others
    /// are told when they report it.
    pub(crate) fn drop_chunk(&mut self, dropped: Dropped, servers: &mut Servers) {
        let Dropped { chunk, version } = dropped;
        let good = self.good.remove(chunk).unwrap_or_default();
        self.broken.remove(&chunk);
        self.gone.remove(&chunk);
        for by in &good {
            uncount(&mut self.counts, by.session);
        }
        let good = good.into_iter().map(|by| (by, version));
        let odd = self.odd.remove(&chunk).unwrap_or_default();
        let odd = odd.into_iter().map(|claim| (claim.by, claim.version));
        for (by, version) in good.chain(odd) {
            if servers.is_current(by.server, by.session) {
                servers.command(by.server, ServerCommand::Delete { chunk, version, orphan: false });
            }
        }
    }

    fn push_good(&mut self, chunk: ChunkId, by: Holder) {
        self.good.get_or_default(chunk).push(by);
        *self.counts.entry(by.session).or_default() += 1;
    }

    fn mend(&mut self, chunk: ChunkId, host: &HostName) {
        if let Some(hosts) = self.broken.get_mut(&chunk) {
            hosts.retain(|other| other != host);
            if hosts.is_empty() {
                self.broken.remove(&chunk);
            }
        }
    }

    fn retain_good(&mut self, chunk: ChunkId, keep: impl Fn(&Holder) -> bool) {
        let counts = &mut self.counts;
        if let Some(good) = self.good.get_mut(chunk) {
            good.retain(|by| {
                let stays = keep(by);
                if !stays {
                    uncount(counts, by.session);
                }
                stays
            });
            if good.is_empty() {
                self.good.remove(chunk);
            }
        }
    }

    fn retain_odd(&mut self, chunk: ChunkId, keep: impl Fn(&Claim) -> bool) {
        if let Some(odd) = self.odd.get_mut(&chunk) {
            odd.retain(keep);
            if odd.is_empty() {
                self.odd.remove(&chunk);
            }
        }
    }
}

/// Counts one replica less for that registration; a registration without any takes no memory.
fn uncount(counts: &mut BTreeMap<Session, u64>, session: Session) {
    if let Some(count) = counts.get_mut(&session) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&session);
        }
    }
}
