//! Sealed chunks without any live replica, as a sweep finds them: how many, and which of them a dead server may be the
//! last one to have. What dead servers hold is only known if they died in this term of the master; so a chunk of
//! which nobody is known counts for each of them.

use chunkstore_protocol::ChunkId;
use ids::HostName;

use super::Master;
use super::error::FsError;

/// Missing chunks that are remembered; of more, only the number.
const REMEMBERED_MAX: usize = 10_000;

/// What a sweep has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    n: u64,
    /// The first of them.
    chunks: Vec<ChunkId>,
}

impl Missing {
    pub(super) fn add(&mut self, chunk: ChunkId) {
        self.n += 1;
        if self.chunks.len() < REMEMBERED_MAX {
            self.chunks.push(chunk);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.n
    }
}

impl Master {
    /// That no file loses a chunk with the server, as far as can be known.
    pub(super) fn refuse_last_with_chunks(&self, host: &HostName) -> Result<(), FsError> {
        if self.repairs.is_being_counted() {
            return Err(FsError::StillCounting { host: host.clone() });
        }
        let Missing { n, chunks } = self.repairs.missing();
        let server = self.servers.by_host(host).map(|by| by.server);
        let may_have = |chunk: &&ChunkId| {
            let holders = self.replicas.all_holders(**chunk);
            let is_named = holders.iter().any(|by| Some(by.server) == server);
            let is_missing = self.sealed(**chunk).is_some()
                && self.replicas.holders(**chunk, &self.servers).next().is_none();
            is_missing && (is_named || holders.is_empty())
        };
        let known = chunks.iter().filter(may_have).count() as u64;
        match known + (n - chunks.len() as u64) {
            0 => Ok(()),
            chunks => Err(FsError::LastWithChunks { host: host.clone(), chunks }),
        }
    }
}
