//! Sealed chunks without any live replica, as sweeps and later looks find them: how many, and which of them a dead
//! server may be the last one to have. What dead servers hold is only known if they told all of it in this term of the
//! master; so a chunk of which nobody is known counts for each of those that did not.

use std::collections::BTreeSet;

use chunkstore_protocol::ChunkId;
use ids::HostName;

use super::Master;
use super::error::ForgetError;

/// Missing chunks that are remembered; of more, only the number.
const REMEMBERED_MAX: usize = 10_000;

/// What is missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    n: u64,
    /// As many of them as are remembered.
    chunks: BTreeSet<ChunkId>,
}

impl Missing {
    /// Each chunk once.
    pub(super) fn add(&mut self, chunk: ChunkId) {
        if self.chunks.contains(&chunk) {
            return;
        }
        self.n += 1;
        if self.chunks.len() < REMEMBERED_MAX {
            self.chunks.insert(chunk);
        }
    }

    /// As a look at one chunk finds it. Beyond those that are remembered it may have been counted already: then it is
    /// only sure that there are more.
    pub(super) fn note(&mut self, chunk: ChunkId, is_missing: bool) {
        if !is_missing {
            self.n -= u64::from(self.chunks.remove(&chunk));
        } else if self.chunks.len() < REMEMBERED_MAX {
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
    /// That no file loses a chunk with the server, as far as can be known.
    pub(super) fn refuse_last_with_chunks(&self, host: &HostName) -> Result<(), ForgetError> {
        if self.repairs.is_being_counted() {
            return Err(ForgetError::StillCounting { host: host.clone() });
        }
        let Missing { n, chunks } = self.repairs.missing();
        let server = self.servers.by_host(host).map(|by| by.server);
        // What it has told is all that it has: then it has what it named, and nothing else.
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
