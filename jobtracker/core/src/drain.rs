//! Hosts that are drained, so that they can be stopped without any work being lost: no attempt begins there, those that run go
//! on to their end, and map outputs stay until no unfinished job wants them. Which hosts is durable: it outlives restarts of
//! the JobTracker and of the host's TaskTracker, until a client takes it back.

use ids::{HostName, Now};
use mapreduce_protocol::HostState;

use crate::machine::Core;
use crate::messages::ReplyTo;
use crate::records::Record;
use crate::refusal::Refusal;
use crate::trackers::{Occupied, Tracker};

impl Core {
    pub(crate) fn handle_drain(&mut self, now: Now, host: HostName, kill: bool, to: ReplyTo) {
        let known = self.trackers.is_live(&host) || self.trackers.is_lost(now.monotonic, &host);
        if !known && !self.durable.is_drained(&host) {
            return self.refuse_with(to, Refusal::NoSuchHost { host });
        }
        if !self.durable.is_drained(&host) {
            self.record(Record::HostDrained { host: host.clone() });
            self.change_tracker(&host, |tracker| tracker.drained = true);
            self.note_emptied(&host);
        }
        if kill {
            self.kill_all_on(&host);
        }
        self.answer_hosts(now, Some(host), to);
    }

    pub(crate) fn handle_undrain(&mut self, now: Now, host: HostName, to: ReplyTo) {
        let was_drained = self.durable.is_drained(&host);
        if was_drained {
            self.record(Record::HostUndrained { host: host.clone() });
            self.change_tracker(&host, |tracker| tracker.drained = false);
            if self.trackers.is_live(&host) {
                self.note_joined(&host, true);
            }
        }
        match self.host_status(now.monotonic, &host) {
            // Nothing is known any more of one that is not there.
            None if was_drained => self.answer_no_hosts(to),
            _ => self.answer_hosts(now, Some(host), to),
        }
    }

    fn kill_all_on(&mut self, host: &HostName) {
        let Some(tracker) = self.trackers.get(host) else { return };
        let running = tracker.occupied().iter().filter(|(_, why)| **why == Occupied::Running);
        for attempt in running.map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
            self.kill_attempt(attempt, "its host is drained");
            self.wait_again(attempt.task);
        }
    }

    /// How far the drain of a host is; `tracker` is its one, if it is there.
    pub(crate) fn drain_state(
        &self,
        now: ids::Monotonic,
        host: &HostName,
        tracker: Option<&Tracker>,
    ) -> HostState {
        let may_still_come = tracker.is_none() && now < self.started_at + self.dead_after();
        let runs = tracker.is_some_and(|tracker| !tracker.occupied().is_empty());
        match runs || may_still_come || self.held.n_on(host) > 0 {
            true => HostState::Draining,
            false => HostState::Drained,
        }
    }
}
