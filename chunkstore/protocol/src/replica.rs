//! What a chunkserver keeps of a chunk.

use crate::{Allocation, ChunkId, ChunkLocation, Version};

/// One replica on a server: a chunk under the version that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    /// The chunk.
    pub chunk: ChunkId,
    /// The version in its file name.
    pub version: Version,
}

impl Allocation {
    /// What its writer makes, on each of its servers.
    #[must_use]
    pub fn replica(&self) -> ReplicaKey {
        ReplicaKey { chunk: self.chunk, version: self.version }
    }
}

impl ChunkLocation {
    /// What its servers have.
    #[must_use]
    pub fn replica(&self) -> ReplicaKey {
        ReplicaKey { chunk: self.chunk, version: self.version }
    }
}
