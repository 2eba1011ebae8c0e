//! Sealed chunks without any live replica, as found by sweeps and later looks: how many there are,
//! and which of them a dead server may be the last to have. What a dead server holds is known only
//! if it completed its report in this term of the master; so a chunk without any known holder
//! counts for each server that did not.

use std::collections::BTreeSet;

use chunkstore_protocol::ChunkId;
use ids::HostName;

use super::Master;
use super::error::ForgetError;

/// Missing chunks that are remembered; further ones are only counted.
const REMEMBERED_MAX: usize = 10_000;

/// The missing chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    n: u64,
    /// Those that are remembered.
    chunks: BTreeSet<ChunkId>,
}

impl Missing {
    /// Adds a missing chunk; callers add each chunk only once.
    pub(super) fn add(&mut self, chunk: ChunkId) {
        if self.chunks.contains(&chunk) {
            return;
        }
        self.n += 1;
        if self.chunks.len() < REMEMBERED_MAX {
            self.chunks.insert(chunk);
        }
    }

    /// Notes what a look at one chunk found. A missing chunk that is not remembered may have been
    /// counted already, so that then the count is only raised above the number of remembered ones.
    pub(super) fn note(&mut self, chunk: ChunkId, is_missing: bool) {
        if !is_missing {
            self.n -= u64::from(self.chunks.remove(&chunk));
        } else if self.chunks.len() < REMEMBERED_MAX || self.chunks.contains(&chunk) {
            self.add(chunk);
        } else {
            self.n = self.n.max(REMEMBERED_MAX as u64 + 1);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.n
    }
}

impl Master {
    /// Refuses if, as far as is known, some file loses a chunk with the server.
    pub(super) fn refuse_last_with_chunks(&self, host: &HostName) -> Result<(), ForgetError> {
        if self.repairs.is_being_counted() {
            return Err(ForgetError::StillCounting { host: host.clone() });
        }
        let Missing { n, chunks } = self.repairs.missing();
        let server = self.servers.by_host(host).map(|by| by.server);
        // A server whose report is complete has what it named, and nothing else.
        let has_told_all = server.is_some_and(|server| self.servers.is_report_complete(server));
        let (mut named, mut unknown) = (0, n - chunks.len() as u64);
        for &chunk in chunks {
            let has_live = self.replicas.holders(chunk, &self.servers).next().is_some();
            if has_live || self.sealed(chunk).is_none() {
                continue;
            }
            let holders = self.replicas.all_holders(chunk).iter();
            let mut holders = holders.filter(|by| self.servers.is_latest(by.server, by.session));
            let mut is_known = false;
            let is_named = holders.any(|by| {
                is_known = true;
                Some(by.server) == server
            });
            if is_named {
                named += 1;
            } else if !is_known && !has_told_all {
                unknown += 1;
            }
        }
        match named + unknown {
            0 => Ok(()),
            chunks => Err(ForgetError::LastWithChunks { host: host.clone(), chunks, named }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_is_remembered_is_counted_once_however_often_it_is_noted() {
        let mut missing = Missing::default();
        let all = || (1..=REMEMBERED_MAX as u64).map(ChunkId);
        all().for_each(|chunk| missing.add(chunk));
        all().take(3).for_each(|chunk| missing.note(chunk, true));
        assert_eq!(missing.len(), REMEMBERED_MAX as u64);
        missing.note(ChunkId(0), true);
        missing.note(ChunkId(0), true);
        assert_eq!(missing.len(), REMEMBERED_MAX as u64 + 1);
        missing.note(ChunkId(1), false);
        assert_eq!(missing.len(), REMEMBERED_MAX as u64);
    }
}
