//! Broken replicas that servers keep in their trash. A few blocks of one are bad, and the chunk may
//! have to be assembled from the others: so none is purged before a sound replica exists, however
//! old it is.

use chunkstore_protocol::{BROKEN_CHUNKS_MAX, BrokenChunks, ChunkId, Purgeable};

use super::Master;
use super::durable::ChunkState;

impl Master {
    /// Those of the given chunks whose broken replicas nobody can need.
    pub(super) fn purgeable(&self, request: &BrokenChunks) -> Purgeable {
        if self.in_safe_mode() {
            return Purgeable::default();
        }
        let asked = request.chunks.iter().take(BROKEN_CHUNKS_MAX);
        let chunks = asked.copied().filter(|chunk| self.needs_no_broken(*chunk)).collect();
        Purgeable { chunks }
    }

    fn needs_no_broken(&self, chunk: ChunkId) -> bool {
        match self.durable.chunk(chunk) {
            ChunkState::Garbage => true,
            ChunkState::Sealed(_) => self.replicas.holders(chunk, &self.servers).next().is_some(),
            ChunkState::Open | ChunkState::Foreign => false,
        }
    }
}
