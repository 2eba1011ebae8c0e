//! The report on the cluster: its servers, what is being repaired, and why the master changes
//! nothing when it is in safe mode. Each answer covers at most [`SERVERS_PER_STEP`] servers, so
//! that none blocks the loop for long.

use std::collections::BTreeSet;

use chunkstore_protocol::{
    BalanceReport, ClusterReport, CopyReport, Liveness, REPORT_COPIES_MAX, RepairReport, Report,
    SafeModeReport, ServerReport, StoreTotals,
};
use ids::{HostName, Monotonic};

use super::Master;
use super::servers::Facts;

/// Servers that one answer covers.
const SERVERS_PER_STEP: usize = 500;

impl Master {
    /// The next servers, and the totals.
    pub(super) fn report(&self, now: Monotonic, request: &Report) -> ClusterReport {
        let after = request.after.as_ref();
        let awaited: BTreeSet<&HostName> = self.safe_mode.awaited().collect();
        let servers: Vec<ServerReport> = self
            .durable
            .known()
            .hosts_after(after)
            .take(SERVERS_PER_STEP)
            .map(|host| self.server_report(now, host, awaited.contains(host)))
            .collect();
        let last = servers.last().filter(|_| servers.len() == SERVERS_PER_STEP);
        ClusterReport {
            epoch: self.durable.epoch(),
            safe_mode: self.safe_mode_report(now),
            totals: self.totals(now),
            repairs: self.repair_report(),
            balance: self.balance_report(),
            next: last.map(|server| server.host.clone()),
            servers,
        }
    }

    fn safe_mode_report(&self, now: Monotonic) -> Option<Box<SafeModeReport>> {
        let until = self.safe_mode.until().filter(|_| self.outdated.is_none());
        let report = || SafeModeReport {
            awaited: self.safe_mode.awaited().cloned().collect(),
            seconds_left: until.map_or(0, |until| until.since(now).as_secs() + 1),
            journal_outdated: self.outdated.as_ref().map(ToString::to_string),
        };
        self.in_safe_mode().then(|| Box::new(report()))
    }

    fn totals(&self, now: Monotonic) -> StoreTotals {
        let summary = self.summary(now);
        StoreTotals {
            files: summary.files,
            folders: summary.folders,
            chunks: summary.chunks,
            servers_live: summary.servers_live,
            servers_dead: summary.servers_dead,
            capacity_bytes: summary.capacity_bytes,
            free_bytes: summary.free_bytes,
        }
    }

    fn repair_report(&self) -> RepairReport {
        let census = self.repairs.census();
        let host = |server| self.servers.host(server).clone();
        let running = self.repairs.running.iter().take(REPORT_COPIES_MAX);
        RepairReport {
            waiting: self.repairs.queue.census(),
            retrying: census.retrying,
            n_running: census.running,
            running: running
                .map(|(&chunk, copy)| CopyReport {
                    chunk,
                    bytes: copy.bytes,
                    from: host(copy.source),
                    to: host(copy.target.server),
                })
                .collect(),
            chunks_missing: census.missing,
            sweeping: self.repairs.is_sweeping(),
        }
    }

    fn balance_report(&self) -> BalanceReport {
        let mean = self.balance.mean();
        let host = |server| self.servers.host(server).clone();
        let running = self.balance.copying().take(REPORT_COPIES_MAX);
        BalanceReport {
            servers_over: mean.over,
            servers_under: mean.under,
            bytes_left: mean.bytes_left,
            n_running: self.balance.copying().count() as u64,
            running: running
                .map(|(chunk, it)| CopyReport {
                    chunk,
                    bytes: it.bytes,
                    from: host(it.giver),
                    to: host(it.taker.server),
                })
                .collect(),
        }
    }

    fn server_report(&self, now: Monotonic, host: &HostName, is_awaited: bool) -> ServerReport {
        let facts = self.servers.facts(host);
        let live = facts.as_ref().filter(|facts| facts.is_live);
        let dead_since = |facts: &Facts<'_>| facts.died.unwrap_or(self.started);
        let liveness = match (live, &facts) {
            (Some(facts), _) if facts.report_complete => Liveness::Live,
            (Some(_), _) => Liveness::Reporting,
            (None, _) if is_awaited => Liveness::Awaited,
            (None, facts) => {
                let since = facts.as_ref().map_or(self.started, dead_since);
                Liveness::Dead { seconds: now.since(since).as_secs() }
            }
        };
        let is_draining = self.durable.known().is_draining(host);
        let left = |facts: &Facts<'_>| self.drain_left(facts.by.server);
        ServerReport {
            host: host.clone(),
            rack: facts.as_ref().map(|facts| facts.told.rack.clone()),
            address: facts.as_ref().map(|facts| facts.told.address.clone()),
            liveness,
            drain: is_draining.then(|| live.map(left).unwrap_or_default()),
            capacity_bytes: live.map_or(0, |facts| facts.capacity_bytes),
            free_bytes: live.map_or(0, |facts| facts.free_bytes),
            replicas: live.map_or(0, |facts| self.replicas.count(facts.by.session)),
            orphans: live.map_or(0, |facts| self.orphans.count(facts.by.server)),
            commands_pending: live.map_or(0, |facts| facts.commands_pending),
            disks: live.map_or_else(Vec::new, |facts| facts.told.disks.clone()),
            unreached: None,
        }
    }
}
