//! The set of trackers is durable, so that a restarted JobTracker knows which to wait for: nothing
//! of earlier terms' jobs is launched before each of them has reported what it runs, or was silent
//! long enough to be lost. A tracker that had been lost before, or has run nothing since its host
//! was drained, is not waited for.

use ids::{HostName, Monotonic, Now};

use crate::machine::Core;
use crate::messages::{Effect, Notice};
use crate::records::Record;

impl Core {
    /// At a start: until when nothing of earlier terms' jobs is launched.
    pub(crate) fn await_members(&mut self, now: Now) -> Option<Monotonic> {
        let Some(members) = self.durable.members() else {
            // An older journal, which has no records of members.
            return Some(now.monotonic + self.settings.recovery_grace);
        };
        self.awaited = members.clone();
        (!self.awaited.is_empty()).then(|| now.monotonic + self.dead_after())
    }

    /// The tracker on `host` has registered; one that is drained and idle does not become a member.
    pub(crate) fn note_joined(&mut self, host: &HostName, idle: bool) {
        let may_go = idle && self.durable.is_drained(host);
        if !may_go && !self.durable.is_member(host) {
            self.record(Record::TrackerJoined { host: host.clone() });
        }
    }

    /// An attempt may have ended on `host`: a drained host that runs nothing is no longer a member.
    pub(crate) fn note_emptied(&mut self, host: &HostName) {
        let Some(tracker) = self.trackers.get(host) else { return };
        if tracker.drained && tracker.unconfirmed.is_none() && tracker.occupied().is_empty() {
            self.note_gone(host);
        }
    }

    /// The tracker on `host` is no longer waited for after a restart.
    pub(crate) fn note_gone(&mut self, host: &HostName) {
        if self.durable.is_member(host) {
            self.record(Record::TrackerGone { host: host.clone() });
        }
    }

    /// The tracker on `host` has reported what it runs and holds.
    pub(crate) fn has_told(&mut self, host: &HostName) {
        if self.awaited.remove(host) && self.awaited.is_empty() {
            self.launch_again();
        }
    }

    /// The time of those still awaited is over; one that has just registered will report what it
    /// runs in a moment.
    pub(crate) fn await_no_longer(&mut self, now: Now) {
        for host in std::mem::take(&mut self.awaited) {
            if !self.trackers.is_live(&host) {
                self.note_gone(&host);
                let (attempts, map_outputs) = (0, 0);
                self.effect(Effect::Tell(Notice::TrackerLost { host, attempts, map_outputs }));
            }
        }
        self.launch_again();
        self.review_hosts(now);
    }

    /// Hosts whose trackers have not yet reported what they ran in an earlier term.
    pub fn awaited(&self) -> impl Iterator<Item = &HostName> {
        self.awaited.iter()
    }

    fn launch_again(&mut self) {
        for live in self.jobs.values_mut() {
            if live.hold_until.take().is_some() {
                live.demands_more();
            }
        }
        self.unsettled = true;
    }
}
