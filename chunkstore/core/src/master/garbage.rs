//! Replicas that a server reports and no file refers to. Nearly always a file was removed while the server was
//! away. But a master that lost its memory, or a server of another time, would look just so, and what is deleted
//! then is somebody's only copy: so what a report shows is deleted through the server's trash, and only while it is
//! little. Beyond that it is held until an operator lets it go. What a server tells of later, when its report
//! is complete, was written meanwhile and given up, and goes at once.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, DeleteOrphans, OrphansDeleted, ServerCommand, Version};

use super::error::FsError;
use super::servers::{Holder, ServerId};
use super::{Effect, Master, Notice, Output};

/// So many orphans of one report are deleted without asking, or this share of what the server holds if that is
/// more.
const ORPHANS_MAX: u64 = 100;
const REPLICAS_PER_ORPHAN: u64 = 100;

/// What reports showed and nobody refers to, by server: while the report is on its way, and beyond the bound. At
/// most what these servers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans(BTreeMap<ServerId, Vec<(ChunkId, Version)>>);

impl Orphans {
    /// The server's next report tells anew.
    pub(crate) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// Replicas of all servers that are kept.
    pub(crate) fn held(&self) -> u64 {
        self.0.values().map(|orphans| orphans.len() as u64).sum()
    }

    /// Replicas of the server that are kept.
    pub(crate) fn count(&self, server: ServerId) -> u64 {
        self.0.get(&server).map_or(0, |orphans| orphans.len() as u64)
    }
}

impl Master {
    /// A server tells of a replica that no file refers to.
    pub(super) fn handle_garbage(
        &mut self,
        server: ServerId,
        (chunk, version): (ChunkId, Version),
        is_report: bool,
    ) {
        match is_report {
            true => self.orphans.0.entry(server).or_default().push((chunk, version)),
            false => {
                let delete = ServerCommand::Delete { chunk, version, orphan: false };
                self.servers.command(server, delete);
            }
        }
    }

    /// A server's report is complete: what it showed that nobody refers to goes, if it is little.
    pub(super) fn judge_orphans(&mut self, by: Holder, out: &mut Output) {
        let orphans = self.orphans.count(by.server);
        let reported = self.replicas.count(by.session) + orphans;
        if orphans <= ORPHANS_MAX.max(reported / REPLICAS_PER_ORPHAN) {
            self.release_orphans(by.server);
            return;
        }
        let host = self.servers.host(by.server).clone();
        out.effects.push(Effect::Tell(Notice::OrphansHeld { host, orphans, reported }));
    }

    /// An operator lets the orphans of a server go.
    pub(super) fn delete_orphans(
        &mut self,
        request: &DeleteOrphans,
    ) -> Result<OrphansDeleted, FsError> {
        self.leave_to_change()?;
        let host = &request.host;
        let by = self.servers.by_host(host).filter(|_| self.servers.is_live_host(host));
        let by = by.ok_or_else(|| FsError::NotReported { host: host.clone() })?;
        if !self.servers.is_report_complete(by.server) {
            return Err(FsError::NotReported { host: host.clone() });
        }
        let deleted = self.orphans.count(by.server);
        self.release_orphans(by.server);
        Ok(OrphansDeleted { deleted })
    }

    fn release_orphans(&mut self, server: ServerId) {
        for (chunk, version) in self.orphans.0.remove(&server).unwrap_or_default() {
            let delete = ServerCommand::Delete { chunk, version, orphan: true };
            self.servers.command(server, delete);
        }
    }
}
