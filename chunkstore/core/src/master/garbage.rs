//! Replicas that a server reports and no file refers to. Nearly always a file was removed while the
//! server was away. But a master that lost its memory, or a server from another time, would look
//! just the same, and then the deletion would hit somebody's only copy. So orphans in a report are
//! deleted through the server's trash, and only while they are few; more are held until an operator
//! releases them. A replica that a server mentions after its report is complete was written
//! meanwhile and given up, and is deleted at once.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, DeleteOrphans, OrphansDeleted, ServerCommand, Version};

use super::error::FsError;
use super::servers::{Holder, ServerId};
use super::{Effect, Master, Notice, Output};

/// This many orphans in a report are deleted without asking, or this share of what the server holds
/// if that is more.
const ORPHANS_MAX: u64 = 100;
const REPLICAS_PER_ORPHAN: u64 = 100;

/// Orphans by server: while its report is under way, and if there are too many to be deleted
/// unasked. At most what these servers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans(BTreeMap<ServerId, Vec<(ChunkId, Version)>>);

impl Orphans {
    /// The server's next report starts anew.
    pub(crate) fn clear(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// Held orphans of all servers.
    pub(crate) fn held(&self) -> u64 {
        self.0.values().map(|orphans| orphans.len() as u64).sum()
    }

    /// Held orphans of the server.
    pub(crate) fn count(&self, server: ServerId) -> u64 {
        self.0.get(&server).map_or(0, |orphans| orphans.len() as u64)
    }
}

impl Master {
    /// A server reports a replica that no file refers to.
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

    /// A server's report is complete: its orphans are deleted if they are few.
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

    /// An operator releases the orphans of a server for deletion.
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
