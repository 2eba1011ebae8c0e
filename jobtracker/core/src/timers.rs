//! What the core wants to be woken for. Timers are not exact promises: whoever is woken looks again
//! whether its time has come.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;
use mapreduce_protocol::{JobId, TaskKind};

use crate::messages::ReplyTo;
use crate::numbers::HostNumber;

/// One reason to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A tracker's parked heartbeat, or one before it, has waited long enough.
    Parked(HostNumber),
    /// Map events have waited long enough for more of them.
    MapEvents(HostNumber),
    /// A tracker may have been silent for too long.
    Silence(HostNumber),
    /// A job's hold after a restart, or the time for which it leaves a host alone, is over.
    Placement(JobId),
    /// A job may have declined slots far from the data of its maps, or of its reduces, for long enough.
    Patience(JobId, TaskKind),
    /// Some pool may have waited for too long for its share.
    Pools,
    /// Something that speaks against a host lapses.
    Standing,
    /// A job's running attempts are looked at: some may be late.
    Late(JobId),
    /// Finished maps of an earlier term that no tracker has reported are lost.
    Unreported,
    /// A call to the chunk store for this job is tried again.
    Store(JobId),
    /// A job may have lasted for as long as it may.
    Overtime(JobId),
    /// A job's history is written again.
    History(JobId),
    /// A client has waited for a job's end for as long as it wanted.
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

    /// Moves the one `timer` that is set, if it is.
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
