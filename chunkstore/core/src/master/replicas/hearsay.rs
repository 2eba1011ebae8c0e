//! Replicas that are only known from others: from whoever sealed the chunk with these servers,
//! perhaps long ago. A server reports each replica that it has, in its report or as it seals it. A
//! server that does not has lost it in an earlier registration, and will never report that.

use std::collections::BTreeMap;

use chunkstore_protocol::ChunkId;

use super::super::servers::ServerId;

/// A server that has not mentioned a replica in this many heartbeats does not have it; the first of
/// them may have been sent before.
const HEARTBEATS: u8 = 2;

/// For each server, such chunks and how many of its heartbeats have come since; kept no longer than
/// that takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearsay(BTreeMap<ServerId, BTreeMap<ChunkId, u8>>);

impl Hearsay {
    /// Another one says that the server has the chunk.
    pub(super) fn hear(&mut self, chunk: ChunkId, server: ServerId) {
        self.0.entry(server).or_default().insert(chunk, 0);
    }

    /// The server itself has reported on the chunk.
    pub(super) fn settle(&mut self, chunk: ChunkId, server: ServerId) {
        if let Some(chunks) = self.0.get_mut(&server) {
            chunks.remove(&chunk);
            if chunks.is_empty() {
                self.0.remove(&server);
            }
        }
    }

    /// The server registered anew, so that its report will tell, or died.
    pub(super) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// The server sent a heartbeat with nothing left to report: returns the chunks that it
    /// certainly lacks.
    pub(super) fn pass(&mut self, server: ServerId) -> Vec<ChunkId> {
        let Some(chunks) = self.0.get_mut(&server) else { return Vec::new() };
        chunks.values_mut().for_each(|n| *n += 1);
        let over = chunks.iter().filter(|(_, n)| **n >= HEARTBEATS).map(|(chunk, _)| *chunk);
        let over: Vec<ChunkId> = over.collect();
        over.iter().for_each(|chunk| self.settle(*chunk, server));
        over
    }
}
