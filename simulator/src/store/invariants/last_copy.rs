//! No chunk is deleted while a file refers to it and nobody else has it: what the store itself
//! removes never makes a file unreadable. A server's replica of a log's chunk counts even if it was
//! not sealed with the others, as it will be sealed if they lose theirs. The sound blocks of broken
//! replicas count too, as a replica can be assembled from them.

use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::ChunkId;

use super::Watch;
use crate::store::content::{BLOCK_UNITS, Content};
use crate::store::disk::Disk;

impl Watch {
    /// How many disks hold the right bytes of a chunk, sealed.
    pub(crate) fn n_good(&self, replica: ReplicaKey, disks: &[&Disk]) -> usize {
        let Some(truth) = self.truth.get(&replica.chunk) else { return 0 };
        disks.iter().filter(|disk| disk.holds(replica, truth)).count()
    }

    /// How many disks hold the bytes of a chunk, sealed or not.
    pub(crate) fn n_with(&self, replica: ReplicaKey, disks: &[&Disk]) -> usize {
        let Some(truth) = self.truth.get(&replica.chunk) else { return 0 };
        disks.iter().filter(|disk| disk.has(replica, truth)).count()
    }

    /// Whether the sound blocks of all disks together make up the chunk.
    fn is_in_pieces(&self, replica: ReplicaKey, disks: &[&Disk]) -> bool {
        let Some(truth) = self.truth.get(&replica.chunk) else { return false };
        let pieces: Vec<_> = disks.iter().map(|disk| disk.sound_blocks(replica)).collect();
        truth.chunks(BLOCK_UNITS).enumerate().all(|(nth, block)| {
            let is_it = |piece: &Option<Content>| piece.as_deref() == Some(block);
            pieces.iter().any(|blocks| blocks.get(nth).is_some_and(is_it))
        })
    }

    /// Whether the journal on disk has a file with this chunk.
    pub(crate) fn is_wanted(&self, chunk: ChunkId) -> bool {
        self.on_disk.wanted(chunk).is_some()
    }

    /// Checks what servers have just removed.
    pub(crate) fn check_removed(&mut self, disks: &[&Disk]) {
        for (server, replica) in std::mem::take(&mut self.removed) {
            let is_left = self.n_with(replica, disks) > 0 || self.is_in_pieces(replica, disks);
            if self.is_wanted(replica.chunk) && !is_left {
                let chunk = replica.chunk;
                let what = format!("host-{server} was told to remove the last copy of {chunk}");
                self.broken("last_copy", what);
            }
        }
    }

    /// Checks all chunks: nothing that the store does, or lets happen, leaves a file without its
    /// bytes.
    pub(crate) fn check_copies(&mut self, disks: &[&Disk]) {
        let chunks = self.on_disk.chunks().map(|(_, it)| (it.chunk, it.version));
        let mut keys = chunks.map(|(chunk, version)| ReplicaKey { chunk, version });
        let is_left =
            |key: ReplicaKey| self.n_with(key, disks) > 0 || self.is_in_pieces(key, disks);
        let lost = keys.find(|key| !is_left(*key));
        drop(keys);
        if let Some(ReplicaKey { chunk, .. }) = lost {
            self.broken("last_copy", format!("nobody has chunk {chunk} any more"));
        }
    }
}
