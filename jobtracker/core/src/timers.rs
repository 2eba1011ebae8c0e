//! What the core wants to be woken for. A timer may go off early or for nothing: its handler checks
//! whether it is time.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;
use mapreduce_protocol::{JobId, TaskKind};

use crate::messages::ReplyTo;
use crate::numbers::HostNumber;

/// A reason to wake up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A tracker's parked heartbeat, or one before it, has waited long enough.
    Parked(HostNumber),
    /// Map events have waited long enough to be sent.
    MapEvents(HostNumber),
    /// A tracker may have been silent for too long.
    Silence(HostNumber),
    /// A job's hold after a restart, or its exclusion of a host, is over.
    Placement(JobId),
    /// A job's maps, or its reduces, may have declined slots far from their input for long enough.
    Patience(JobId, TaskKind),
    /// A pool may have waited too long for its share.
    Pools,
    /// A strike against a host lapses.
    Standing,
    /// Time to check a job's running attempts for late ones.
    Late(JobId),
    /// Finished maps of an earlier term that no tracker has reported are lost.
    Unreported,
    /// Time to repeat a chunk store call of this job.
    Store(JobId),
    /// A job may have reached its `timeout`.
    Overtime(JobId),
    /// Time to write a job's history again.
    History(JobId),
    /// A request has waited for a job's end as long as it asked to.
    Wait(JobId, ReplyTo),
}

/// The timers, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Monotonic, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Monotonic, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Monotonic, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Postpones `timer`, if it is set.
    pub(crate) fn postpone(&mut self, timer: &Timer, by: Duration) {
        let set = self.0.iter().find(|(_, it)| it == timer).copied();
        if let Some((at, timer)) = set {
            self.cancel(at, timer);
            self.set(at + by, timer);
        }
    }

    pub(crate) fn soonest(&self) -> Option<Monotonic> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The next timer whose time has come.
    pub(crate) fn pop_due(&mut self, now: Monotonic) -> Option<Timer> {
        match self.0.first() {
            Some((at, _)) if *at <= now => self.0.pop_first().map(|(_, timer)| timer),
            Some(_) | None => None,
        }
    }
}
