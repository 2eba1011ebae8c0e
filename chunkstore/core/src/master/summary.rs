//! The chunk master in numbers. The daemon chooses the names of the metrics.

use std::time::Duration;

use ids::{HostName, Monotonic};

use super::Master;

/// The state in numbers, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files, including open ones.
    pub files: u64,
    /// Files with a writer.
    pub open_files: u64,
    /// Folders.
    pub folders: u64,
    /// Sealed chunks.
    pub chunks: u64,
    /// Live servers.
    pub servers_live: u64,
    /// Servers of the cluster that are not live, except those that a starting master still waits
    /// for.
    pub servers_dead: u64,
    /// Size of the live servers' disks.
    pub capacity_bytes: u64,
    /// Bytes free on them.
    pub free_bytes: u64,
    /// Commands that servers have not carried out yet.
    pub commands_pending: u64,
    /// Chunks with fewer live replicas than asked for that wait for another.
    pub repairs_waiting: u64,
    /// Chunks with fewer live replicas than asked for, but at least one; at most 20,000 are
    /// counted.
    pub chunks_under_replicated: u64,
    /// How long the longest of these has been so; zero if there are none.
    pub repair_oldest: Duration,
    /// Chunks that are being copied.
    pub repairs_running: u64,
    /// Chunks that are being copied to even out how full the servers are.
    pub moves_running: u64,
    /// Bytes that must still move for that, besides those under way.
    pub moves_left_bytes: u64,
    /// Chunks without any live replica, as last counted.
    pub chunks_missing: u64,
    /// Orphaned replicas that are kept until an operator decides.
    pub orphans_held: u64,
    /// 1 while a sweep compares all chunks with what is asked for.
    pub sweeping: u64,
    /// 1 while the master changes nothing.
    pub safe_mode: u64,
    /// 1 if that is because its journal is an older copy.
    pub journal_outdated: u64,
    /// This master's term.
    pub epoch: u64,
}

impl Master {
    pub(super) fn summary(&self, now: Monotonic) -> Summary {
        let census = self.servers.census();
        let repairs = self.repairs.census();
        Summary {
            files: self.durable.namespace().n_files(),
            open_files: self.durable.n_open_files() as u64,
            folders: self.durable.namespace().n_folders(),
            chunks: self.durable.n_chunks() as u64,
            servers_live: census.live,
            servers_dead: self.n_dead(),
            capacity_bytes: census.capacity_bytes,
            free_bytes: census.free_bytes,
            commands_pending: census.commands_pending,
            repairs_waiting: repairs.waiting + repairs.retrying,
            chunks_under_replicated: repairs.under_replicated,
            repair_oldest: self.repairs.oldest().map_or(Duration::ZERO, |since| now.since(since)),
            repairs_running: repairs.running,
            moves_running: self.balance.copying().count() as u64,
            moves_left_bytes: self.balance.mean().bytes_left,
            chunks_missing: repairs.missing,
            orphans_held: self.orphans.held(),
            sweeping: u64::from(self.repairs.is_sweeping()),
            safe_mode: u64::from(self.in_safe_mode()),
            journal_outdated: u64::from(self.outdated.is_some()),
            epoch: self.durable.epoch().0,
        }
    }

    fn n_dead(&self) -> u64 {
        let silent = |host: &&HostName| !self.servers.is_live_host(host);
        let awaited = self.safe_mode.awaited().filter(silent).count();
        let known = self.durable.known().hosts().filter(silent).count();
        known.saturating_sub(awaited) as u64
    }
}
