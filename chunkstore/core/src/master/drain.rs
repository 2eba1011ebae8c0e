//! Servers that are to be emptied before they are taken away (HDFS: decommission). Such a server
//! gets no new chunks. Its replicas are still read and copied from, but do not count towards those
//! that a file asks for, so the usual repair makes others elsewhere. They stay until the server is
//! stopped and forgotten. That a server is to be emptied is durable; how much is left is computed
//! anew by each sweep.
//!
//! With fewer other servers than replicas asked for, draining can't end, and the report keeps
//! showing how much is left: if the server left then, files would lose replicas.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, DrainReport, DrainServer};

use super::Master;
use super::error::{ForgetError, FsError};
use super::record::{Record, Stamp};
use super::servers::ServerId;

/// What is left to do, by server. Holds at most what these servers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drains(BTreeMap<ServerId, Left>);

#[derive(Clone, Debug, Default)]
struct Left {
    chunks: BTreeMap<ChunkId, u64>,
    bytes: u64,
}

impl Drains {
    /// Notes whether the chunk of this many bytes is still left on the server.
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

    /// Starts the count of a server anew.
    pub(crate) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    fn left(&self, server: ServerId) -> (u64, u64) {
        self.0.get(&server).map_or((0, 0), |left| (left.chunks.len() as u64, left.bytes))
    }
}

impl Master {
    /// Starts or stops emptying a server; no record if nothing changes.
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

    /// What is left to do to empty a live server.
    pub(super) fn drain_left(&self, server: ServerId) -> DrainReport {
        let (chunks_left, bytes_left) = self.drains.left(server);
        let counted = !self.in_safe_mode() && !self.repairs.is_sweeping();
        DrainReport { chunks_left, bytes_left, counted }
    }
}
