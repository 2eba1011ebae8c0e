//! Which trackers there are is durable, so that a restarted JobTracker knows whom to wait for: nothing of an earlier term's
//! jobs is launched before each of them has told what it runs, or was silent for as long as makes it dead. One that was
//! lost before, or has run nothing since its host was drained, is not waited for.

use ids::{HostName, Monotonic, Now};

use crate::machine::Core;
use crate::messages::{Effect, Notice};
use crate::records::Record;

impl Core {
    /// A start: until when nothing of the jobs of earlier terms is launched.
    pub(crate) fn await_members(&mut self, now: Now) -> Option<Monotonic> {
        let Some(members) = self.durable.members() else {
            // A journal of a release that did not write them down.
            return Some(now.monotonic + self.settings.recovery_grace);
        };
        self.awaited = members.clone();
        (!self.awaited.is_empty()).then(|| now.monotonic + self.dead_after())
    }

    /// The tracker on `host` has registered; one that is drained, and idle, is as good as gone.
    pub(crate) fn note_joined(&mut self, host: &HostName, idle: bool) {
        let may_go = idle && self.durable.is_drained(host);
        if !may_go && !self.durable.is_member(host) {
            self.record(Record::TrackerJoined { host: host.clone() });
        }
    }

    /// Something may have ended on `host`: if that is drained, and nothing runs there any more, it may be stopped.
    pub(crate) fn note_emptied(&mut self, host: &HostName) {
        let Some(tracker) = self.trackers.get(host) else { return };
        if tracker.drained && tracker.unconfirmed.is_none() && tracker.occupied().is_empty() {
            self.note_gone(host);
        }
    }

    /// Nobody waits for the tracker on `host` any more.
    pub(crate) fn note_gone(&mut self, host: &HostName) {
        if self.durable.is_member(host) {
            self.record(Record::TrackerGone { host: host.clone() });
        }
    }

    /// The tracker on `host` has told what it runs and holds.
    pub(crate) fn has_told(&mut self, host: &HostName) {
        if self.awaited.remove(host) && self.awaited.is_empty() {
            self.launch_again();
        }
    }

    /// Those that are still awaited had their time; one that has registered just now tells in a moment what it runs.
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

    /// Hosts whose trackers have still to tell what they ran in an earlier term.
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
