//! Chunks of which no live server has a good replica, but several have broken ones. Disks rot in
//! different places: a block that one replica lacks may be sound in another. So one of the servers
//! is told to assemble a good replica from the sound blocks of all; the others then get copies of
//! it as usual. An assembly counts, with the same bounds, as a copy from the server to itself.

use std::time::Duration;

use chunkstore_protocol::{ChunkId, ServerCommand};
use ids::Monotonic;

use super::{COPY_LIMIT, Copy, Repairs};
use crate::master::Master;
use crate::master::durable::SealedState;
use crate::master::servers::Holder;

/// Pause before a chunk is tried again if some blocks were missing. It doubles up to this many
/// times: rotten blocks stay rotten, and each try reads everything that is left.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const DOUBLINGS_MAX: u32 = 6;

impl Repairs {
    /// The chunk could not be assembled: returns how long to wait before the next try.
    pub(super) fn pause_in_vain(&mut self, chunk: ChunkId) -> Duration {
        let n_before = self.in_vain.entry(chunk).or_default();
        let pause = AGAIN_AFTER * (1 << *n_before);
        *n_before = (*n_before + 1).min(DOUBLINGS_MAX);
        pause
    }

    /// There is news of the chunk: if it waits for its next try, that may come at once.
    fn need_not_wait(&mut self, chunk: ChunkId) {
        self.in_vain.remove(&chunk);
        if !self.running.contains_key(&chunk) {
            self.again.remove(chunk);
        }
    }
}

impl Master {
    /// Live servers that have a broken replica of the chunk.
    pub(in crate::master) fn broken_on(&self, chunk: ChunkId) -> impl Iterator<Item = Holder> {
        let known = self.replicas.broken(chunk).iter();
        let known = known.filter_map(|host| self.servers.by_host(host));
        known.filter(|by| self.servers.is_current(by.server, by.session))
    }

    /// Whether more than one server has a broken replica, so that one may have what another lacks.
    pub(super) fn is_mendable(&self, chunk: ChunkId) -> bool {
        self.broken_on(chunk).nth(1).is_some()
    }

    /// A server reports, as it registers, that it keeps a broken replica of the chunk.
    pub(in crate::master) fn keeps_broken(&mut self, chunk: ChunkId, by: Holder, now: Monotonic) {
        self.replicas.note_broken(chunk, self.servers.host(by.server));
        self.repairs.need_not_wait(chunk);
        self.inspect(chunk, now);
    }

    /// Has the server whose heartbeat is being answered assemble the chunk, if it has a broken
    /// replica of it.
    pub(super) fn start_assembly(
        &mut self,
        chunk: ChunkId,
        by: Holder,
        sealed: &SealedState,
        now: Monotonic,
    ) {
        let (streams, limit) = (&self.repairs.streams, self.settings.repair_streams);
        let is_free = streams.can_receive(by.server, limit);
        let is_one = self.broken_on(chunk).any(|other| other == by);
        if !is_free || !is_one || self.standing(chunk, sealed).live > 0 {
            return;
        }
        let others = self.broken_on(chunk).filter(|other| other.server != by.server);
        let from: Vec<_> = others.map(|other| self.servers.address(other.server)).collect();
        if from.is_empty() {
            return;
        }
        let (version, length, checksum) = (sealed.version, sealed.length(), sealed.checksum);
        self.servers.book_copy(by.server, length);
        let told = ServerCommand::Assemble { chunk, version, length, checksum, from };
        let command = self.servers.command(by.server, told);
        self.repairs.queue.leave(chunk);
        let (source, target) = (by.server, by);
        self.repairs.begin(chunk, Copy { source, command, target, bytes: length });
        self.repairs.again.set(chunk, now + COPY_LIMIT);
    }
}
