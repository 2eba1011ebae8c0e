//! Reports on the hosts of TaskTrackers, including lost and drained ones. Nothing here changes a
//! host.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{HostList, HostState, HostStatus};

use crate::machine::Core;
use crate::messages::{Reply, ReplyTo};
use crate::refusal::Refusal;

impl Core {
    /// Replies with all known hosts, or with one.
    pub(crate) fn answer_hosts(&mut self, now: Now, only: Option<HostName>, to: ReplyTo) {
        let hosts = match &only {
            Some(host) => self.host_status(now.monotonic, host).into_iter().collect(),
            None => self.all_hosts(now.monotonic),
        };
        match only {
            Some(host) if hosts.is_empty() => self.refuse_with(to, Refusal::NoSuchHost { host }),
            _ => self.reply(to, Reply::Hosts(HostList { hosts })),
        }
    }

    /// Replies with an empty list.
    pub(crate) fn answer_no_hosts(&mut self, to: ReplyTo) {
        self.reply(to, Reply::Hosts(HostList { hosts: Vec::new() }));
    }

    fn all_hosts(&self, now: Monotonic) -> Vec<HostStatus> {
        let live = self.trackers.iter().map(|(host, _)| host);
        let lost = self.trackers.lost(now).map(|(host, _)| host);
        let known: BTreeSet<_> = live.chain(lost).chain(self.durable.drained()).collect();
        known.into_iter().filter_map(|host| self.host_status(now, host)).collect()
    }

    /// The status of one host, if it is known.
    pub(crate) fn host_status(&self, now: Monotonic, host: &HostName) -> Option<HostStatus> {
        let tracker = self.trackers.get(host);
        let lost = self.trackers.lost_one(now, host);
        let state = match (self.durable.is_drained(host), tracker, lost) {
            (true, tracker, _) => self.drain_state(now, host, tracker),
            (false, Some(tracker), _) if !tracker.ailments.is_empty() => HostState::Ill,
            (false, Some(tracker), _) if tracker.set_aside.is_some() => HostState::SetAside,
            (false, Some(_), _) => HostState::Live,
            (false, None, Some(_)) => HostState::Lost,
            (false, None, None) => return None,
        };
        let said = tracker.map(|it| (&it.rack, &it.address, it.slots, it.last_seen));
        let said = said.or(lost.map(|it| (&it.rack, &it.address, it.slots, it.last_seen)));
        let running = tracker.map_or(0, |tracker| tracker.occupied().len());
        Some(HostStatus {
            host: host.clone(),
            rack: said.map(|(rack, ..)| rack.clone()),
            address: said.map(|(_, address, ..)| address.clone()),
            state,
            slots: said.map_or(0, |(_, _, slots, _)| slots),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            map_outputs: u32::try_from(self.held.n_on(host)).unwrap_or(u32::MAX),
            last_heartbeat_ms: said.map(|(.., seen)| millis(now.since(seen))),
            ailments: tracker.map_or_else(Vec::new, |tracker| tracker.ailments.clone()),
            strikes: self.standing.strikes(host).collect(),
            disks_without: tracker.map_or_else(Vec::new, |it| it.disks_without.clone()),
            not_isolated: tracker.and_then(|it| it.not_isolated.clone()),
            unreached: None,
            drain_waits: match state {
                HostState::Draining => self.drain_waits(host, tracker),
                _ => Vec::new(),
            },
            set_aside_ms: tracker.and_then(|it| it.set_aside).map(|until| millis(until.since(now))),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
