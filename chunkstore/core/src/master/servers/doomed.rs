//! Replicas that servers were told to delete, of chunks that are wanted elsewhere, until they have
//! done so: a server may report such a replica and then delete it.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, ServerCommand, Version};

use super::{ServerId, Servers};

/// Those of one server in one registration; no more than it has commands.
#[derive(Clone, Debug, Default)]
pub(super) struct Doomed {
    /// The number of the last such command for each chunk.
    chunks: BTreeMap<ChunkId, u64>,
    by_number: BTreeMap<u64, ChunkId>,
}

impl Doomed {
    /// Every command up to this number has been carried out.
    pub(super) fn done(&mut self, number: u64) {
        while let Some(first) = self.by_number.first_entry().filter(|it| *it.key() <= number) {
            let (number, chunk) = first.remove_entry();
            if self.chunks.get(&chunk) == Some(&number) {
                self.chunks.remove(&chunk);
            }
        }
    }
}

impl Servers {
    /// Has a live server delete its replica of a chunk that others hold; as an `orphan`, the
    /// replica goes to its trash.
    pub(crate) fn doom(&mut self, id: ServerId, chunk: ChunkId, version: Version, orphan: bool) {
        let number = self.command(id, ServerCommand::Delete { chunk, version, orphan });
        let doomed = &mut self.server_mut(id).doomed;
        doomed.chunks.insert(chunk, number);
        doomed.by_number.insert(number, chunk);
    }

    /// Whether the server is about to delete a replica of the chunk.
    pub(crate) fn is_doomed(&self, id: ServerId, chunk: ChunkId) -> bool {
        self.server(id).doomed.chunks.contains_key(&chunk)
    }
}
