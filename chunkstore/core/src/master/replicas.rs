//! Which server says that it holds which chunk: learnt from the writers' seals and the servers' reports,
//! soft. A claim counts as a replica if it matches the sealed chunk. A report may come before the
//! seal: what is claimed of an open chunk is judged when that is sealed. Nearly all claims are good ones
//! of sealed chunks, so those are kept in a few bytes.

mod hearsay;

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, ServerCommand, Version};
use ids::HostName;
use smallvec::SmallVec;

use super::durable::{Dropped, SealedState};
use super::paged::Paged;
use super::servers::{Holder, ServerId, Servers, Session};
use hearsay::Hearsay;

/// Chunks of which broken replicas are remembered.
const BROKEN_MAX: usize = 10_000;
/// Replicas of a chunk that need no memory of their own.
const HOLDERS_INLINE: usize = 3;

/// What the claims of a chunk take that is as it should be.
#[cfg(test)]
pub(crate) const BYTES_PER_CHUNK: usize = size_of::<SmallVec<[Holder; HOLDERS_INLINE]>>();

/// What one server said of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) by: Holder,
    pub(crate) version: Version,
    pub(crate) length: u64,
    pub(crate) checksum: u32,
}

impl Claim {
    /// Whether it is of a log's chunk and was not sealed: of those no length is told.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.length == 0
    }

    /// Whether these are the bytes that were sealed.
    pub(crate) fn matches(&self, sealed: &SealedState) -> bool {
        (self.version, self.length, self.checksum)
            == (sealed.version, sealed.length(), sealed.checksum)
    }
}

/// All claims. At most one for each server, chunk and version; those of a registration that is no more
/// stay until the chunk is touched again, but are not believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replicas {
    /// Those that match the sealed chunk.
    good: Paged<ChunkId, SmallVec<[Holder; HOLDERS_INLINE]>>,
    /// The others: of open chunks, stale, of other bytes than were sealed.
    odd: BTreeMap<ChunkId, Vec<Claim>>,
    /// Number of good ones by the registration that they were told in.
    counts: BTreeMap<Session, u64>,
    /// Who found a good replica broken or gone and has no other since; [`BROKEN_MAX`] chunks at most, the
    /// oldest chunks are forgotten first. What there is of these is the last resort of readers, and of repair.
    broken: BTreeMap<ChunkId, Vec<HostName>>,
    /// Who has lost its replica of an open chunk: whoever names it later among those that sealed the chunk
    /// speaks of the time before.
    gone: BTreeMap<ChunkId, Vec<Holder>>,
    hearsay: Hearsay,
}

impl Replicas {
    /// Takes a claim in, in place of what the same server said before. `sealed`: the chunk, if it is.
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
        // Another version of the same registration leaves a good one as it is.
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

    /// The chunk was sealed: judges what was claimed of it before.
    pub(crate) fn judge(&mut self, chunk: ChunkId, sealed: &SealedState) {
        let claims = self.odd.get(&chunk).map_or(&[][..], Vec::as_slice);
        let good: Vec<Holder> =
            claims.iter().filter(|claim| claim.matches(sealed)).map(|claim| claim.by).collect();
        if !good.is_empty() {
            self.retain_odd(chunk, |claim| !claim.matches(sealed));
            good.into_iter().for_each(|by| self.push_good(chunk, by));
        }
    }

    /// As [`Self::claim`], by somebody else's word: that a server has sealed the chunk. What the server said itself
    /// in this registration counts more, and it may have lost it since.
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

    /// The server tells that it had the chunk before it was sealed: what became of it since, it tells too.
    pub(crate) fn had_it_open(&mut self, chunk: ChunkId, server: ServerId) {
        self.hearsay.settle(chunk, server);
    }

    /// The server died or registered anew.
    pub(crate) fn server_changed(&mut self, server: ServerId) {
        self.hearsay.clear(server);
    }

    /// A server has told all that it has to tell: what others have told of it, and is not so.
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

    /// Whoever sealed the chunk has been heard.
    pub(crate) fn all_heard(&mut self, chunk: ChunkId) {
        self.gone.remove(&chunk);
    }

    /// The server does not hold it any more. `sealed`: the chunk, if it is.
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

    /// The server found its replica of a sealed chunk broken or gone, unasked; to be told before
    /// [`Self::lost`].
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

    /// Who found the chunk broken or gone.
    pub(crate) fn broken(&self, chunk: ChunkId) -> &[HostName] {
        self.broken.get(&chunk).map_or(&[], Vec::as_slice)
    }

    /// Live servers that hold other bytes than were sealed.
    pub(crate) fn stale(
        &self,
        chunk: ChunkId,
        servers: &Servers,
    ) -> impl Iterator<Item = ServerId> {
        let odd = self.odd.get(&chunk).map_or(&[][..], Vec::as_slice);
        let current = |claim: &&Claim| servers.is_current(claim.by.server, claim.by.session);
        odd.iter().filter(current).map(|claim| claim.by.server)
    }

    /// Number of good replicas that were told of in a registration.
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

    /// Everyone who claimed to hold the sealed chunk, whether that is still so or not.
    pub(crate) fn all_holders(&self, chunk: ChunkId) -> &[Holder] {
        self.good.get(chunk).map_or(&[], SmallVec::as_slice)
    }

    /// What live servers hold of a sealed chunk that is not what was sealed: older, or of other bytes.
    pub(crate) fn odd(&self, chunk: ChunkId, servers: &Servers) -> Vec<Claim> {
        let current = |claim: &&Claim| servers.is_current(claim.by.server, claim.by.session);
        self.odd.get(&chunk).into_iter().flatten().filter(current).copied().collect()
    }

    /// Has a live server delete a replica of a chunk that others hold: from now on it does not count. What is not what was
    /// sealed goes as an orphan: it may be somebody's whom this journal does not know.
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

    /// No file refers to the chunk any more: every server that is known to hold it is told. The others
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

/// One replica fewer of that registration; one without any needs no memory.
fn uncount(counts: &mut BTreeMap<Session, u64>, session: Session) {
    if let Some(count) = counts.get_mut(&session) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&session);
        }
    }
}
