//! Servers that are to be emptied before they are taken away (HDFS: decommission). One gets no new chunks; what
//! it holds is still read, and copied from, but counts for nothing among the replicas that a file asks for:
//! so the rest of the machinery makes them elsewhere. Its own stay until it is stopped and forgotten. That
//! a server is to be emptied is durable; what is left to be done is found anew by each sweep.
//!
//! With fewer other servers than replicas are asked for it can't end, and the report goes on to say how much
//! is left: a server that left then would make files poorer.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, DrainReport, DrainServer};

use super::Master;
use super::error::{ForgetError, FsError};
use super::record::{Record, Stamp};
use super::servers::ServerId;

/// What is left, by server. Holds at most what these servers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drains(BTreeMap<ServerId, Left>);

#[derive(Clone, Debug, Default)]
struct Left {
    chunks: BTreeMap<ChunkId, u64>,
    bytes: u64,
}

impl Drains {
    /// Whether the chunk of so many bytes is left on the server.
    pub(crate) fn note(&mut self, server: ServerId, chunk: ChunkId, bytes: u64, is_left: bool) {
        let left = self.0.entry(server).or_default();
        let before = match is_left {
            true => left.chunks.insert(chunk, bytes),
            false => left.chunks.remove(&chunk),
        };
        left.bytes = left.bytes - before.unwrap_or(0) + if is_left { bytes } else { 0 };
    }

    /// No file has the chunk any more.
    pub(crate) fn drop_chunk(&mut self, chunk: ChunkId) {
        for left in self.0.values_mut() {
            left.bytes -= left.chunks.remove(&chunk).unwrap_or(0);
        }
    }

    /// Counts anew from here on.
    pub(crate) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    fn left(&self, server: ServerId) -> (u64, u64) {
        self.0.get(&server).map_or((0, 0), |left| (left.chunks.len() as u64, left.bytes))
    }
}

impl Master {
    /// Begins or stops to empty a server; no record if that is so already.
    pub(super) fn plan_drain(
        &self,
        stamp: &Stamp,
        request: &DrainServer,
    ) -> Result<Vec<Record>, FsError> {
        let (host, on) = (request.host.clone(), !request.stop);
        if !self.durable.known().contains(&host) {
            return Err(ForgetError::UnknownServer { host }.into());
        }
        let changes = self.durable.known().is_draining(&host) != on;
        let record = Record::ServerDraining { stamp: stamp.clone(), host, on };
        Ok(changes.then_some(record).into_iter().collect())
    }

    /// What is left of emptying a live server.
    pub(super) fn drain_left(&self, server: ServerId) -> DrainReport {
        let (chunks_left, bytes_left) = self.drains.left(server);
        let counted = !self.in_safe_mode() && !self.repairs.is_sweeping();
        DrainReport { chunks_left, bytes_left, counted }
    }
}
