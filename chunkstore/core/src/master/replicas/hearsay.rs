//! Replicas that are known by the word of others alone: of whoever sealed the chunk with these servers, perhaps long ago.
//! A server tells of each that it has, in its report or as it seals it; one that does not has lost it in a registration
//! before, and will never say so.

use std::collections::BTreeMap;

use chunkstore_protocol::ChunkId;

use super::super::servers::ServerId;

/// A server that has said nothing of a replica in so many heartbeats has none; the first may have been on its way.
const HEARTBEATS: u8 = 2;

/// By server: the chunks, and how many of its heartbeats have come since. Not for longer than these take.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearsay(BTreeMap<ServerId, BTreeMap<ChunkId, u8>>);

impl Hearsay {
    /// Somebody else says that the server has the chunk.
    pub(super) fn hear(&mut self, chunk: ChunkId, server: ServerId) {
        self.0.entry(server).or_default().insert(chunk, 0);
    }

    /// The server itself says whether it has.
    pub(super) fn settle(&mut self, chunk: ChunkId, server: ServerId) {
        if let Some(chunks) = self.0.get_mut(&server) {
            chunks.remove(&chunk);
            if chunks.is_empty() {
                self.0.remove(&server);
            }
        }
    }

    /// The server registered anew, or died: its report will say.
    pub(super) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// A heartbeat with all that the server had to say has come: what it surely has not.
    pub(super) fn pass(&mut self, server: ServerId) -> Vec<ChunkId> {
        let Some(chunks) = self.0.get_mut(&server) else { return Vec::new() };
        chunks.values_mut().for_each(|n| *n += 1);
        let over = chunks.iter().filter(|(_, n)| **n >= HEARTBEATS).map(|(chunk, _)| *chunk);
        let over: Vec<ChunkId> = over.collect();
        over.iter().for_each(|chunk| self.settle(*chunk, server));
        over
    }
}
