//! Index of the trackers that can take attempts now, and of which slots are new, updated with each
//! change so that filling a slot needs no scan of all trackers. Kept by `trackers`, queried by
//! `schedule`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::numbers::HostNumber;
use crate::trackers::Tracker;

/// Slots that no job wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declined {
    free: u32,
    /// [`Idle::rounds`] at that time: jobs that changed their mind since have not been asked.
    round: u64,
}

/// What [`Idle`] counts of one tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Free slots that can take attempts now, if its heartbeat is parked.
    pub(crate) free: u32,
    /// All its slots, if it may get new attempts.
    pub(crate) open_slots: u32,
    /// Reduces in those slots.
    pub(crate) open_reduces: u32,
}

/// The trackers that can take attempts now, and totals over all open trackers.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// Those with most free slots first.
    pub(crate) by_free: BTreeSet<(Reverse<u32>, HostNumber)>,
    /// Trackers that have gained a slot since they were offered to all jobs.
    pub(crate) fresh: BTreeSet<HostNumber>,
    /// Number of rounds in which jobs that had changed their mind were offered all slots.
    pub(crate) rounds: u64,
    pub(crate) open_slots: u64,
    pub(crate) open_reduces: u64,
}

impl Idle {
    /// Updates the index when a tracker's entry has changed.
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
            // A heartbeat that merely replaces the one before brings no new slot.
            let is_known = known.is_some_and(|it| it.free >= now.free && it.round == self.rounds);
            if !is_known {
                self.fresh.insert(host);
            }
        } else if now.free == 0 && tracker.parked.is_none() && !self.fresh.contains(&host) {
            tracker.declined = Some(Declined { free: before.free, round: self.rounds });
        }
    }
}
