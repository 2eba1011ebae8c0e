//! The trackers that could be given attempts now, kept up to date with each change, so that nobody has to look at all trackers
//! for each slot; and which of their slots are new. Kept by `trackers`, asked by `schedule`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::numbers::HostNumber;
use crate::trackers::Tracker;

/// Slots that no job wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declined {
    free: u32,
    /// [`Idle::rounds`] of then: jobs that change their mind later have not been asked.
    round: u64,
}

/// What [`Idle`] knows of one tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Slots that it has free and would be given attempts for now, if its heartbeat waits.
    pub(crate) free: u32,
    /// Its slots, if it is given new attempts at all.
    pub(crate) open_slots: u32,
    /// Reduces on those.
    pub(crate) open_reduces: u32,
}

/// The trackers that could be given attempts now, and how many all of them run: kept up to date with each change, so that
/// nobody has to look at all trackers for each slot.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// Those with most free slots first.
    pub(crate) by_free: BTreeSet<(Reverse<u32>, HostNumber)>,
    /// Those that have had a slot more since they were offered to all jobs.
    pub(crate) fresh: BTreeSet<HostNumber>,
    /// How often jobs that had changed their mind were offered all of them.
    pub(crate) rounds: u64,
    pub(crate) open_slots: u64,
    pub(crate) open_reduces: u64,
}

impl Idle {
    /// The tracker stands otherwise now.
    pub(crate) fn change(&mut self, tracker: &mut Tracker, now: Entry) {
        let (host, before) = (tracker.number, std::mem::replace(&mut tracker.entered, now));
        if before == now {
            return;
        }
        self.open_slots -= u64::from(before.open_slots);
        self.open_slots += u64::from(now.open_slots);
        self.open_reduces -= u64::from(before.open_reduces);
        self.open_reduces += u64::from(now.open_reduces);
        if before.free == now.free {
            return;
        }
        if before.free > 0 {
            self.by_free.remove(&(Reverse(before.free), host));
        }
        if now.free > 0 {
            self.by_free.insert((Reverse(now.free), host));
        }
        let known = tracker.declined.take();
        if now.free > before.free {
            // A heartbeat that only takes the place of the one before brings no slot.
            let is_known = known.is_some_and(|it| it.free >= now.free && it.round == self.rounds);
            if !is_known {
                self.fresh.insert(host);
            }
        } else if now.free == 0 && tracker.parked.is_none() && !self.fresh.contains(&host) {
            tracker.declined = Some(Declined { free: before.free, round: self.rounds });
        }
    }
}
