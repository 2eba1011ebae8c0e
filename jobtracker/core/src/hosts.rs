//! What is told of the hosts of TaskTrackers, those that are lost too. Nothing here changes one.

use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{HostList, HostState, HostStatus};

use crate::machine::Core;
use crate::messages::{Reply, ReplyTo};
use crate::refusal::Refusal;
use crate::trackers::Tracker;

impl Core {
    /// Tells of all hosts that are known, or of one.
    pub(crate) fn answer_hosts(&mut self, now: Now, only: Option<HostName>, to: ReplyTo) {
        let is_it = |host: &HostName| only.as_ref().is_none_or(|only| only == host);
        let live = self.trackers.iter().filter(|(host, _)| is_it(host));
        let live = live.map(|(host, tracker)| self.live_host(now.monotonic, host, tracker));
        let lost = self.trackers.lost(now.monotonic).filter(|(host, _)| is_it(host));
        let lost = lost.map(|(host, lost)| HostStatus {
            host: host.clone(),
            rack: lost.rack.clone(),
            address: lost.address.clone(),
            state: HostState::Lost,
            slots: lost.slots,
            running: 0,
            map_outputs: 0,
            last_heartbeat_ms: millis(now.monotonic.since(lost.last_seen)),
        });
        let mut hosts: Vec<_> = live.chain(lost).collect();
        hosts.sort_by(|one, other| one.host.cmp(&other.host));
        match only {
            Some(host) if hosts.is_empty() => self.refuse_with(to, Refusal::NoSuchHost { host }),
            _ => self.reply(to, Reply::Hosts(HostList { hosts })),
        }
    }

    fn live_host(&self, now: Monotonic, host: &HostName, tracker: &Tracker) -> HostStatus {
        HostStatus {
            host: host.clone(),
            rack: tracker.rack.clone(),
            address: tracker.address.clone(),
            state: HostState::Live,
            slots: tracker.slots,
            running: u32::try_from(tracker.occupied().len()).unwrap_or(u32::MAX),
            map_outputs: self.held.on(host),
            last_heartbeat_ms: millis(now.since(tracker.last_seen)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
