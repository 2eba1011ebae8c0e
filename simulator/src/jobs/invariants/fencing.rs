//! Messages of an earlier term or registration have no effect.

use ids::{Epoch, Monotonic};
use mapreduce_protocol::RegisterTracker;

use super::Watch;
use crate::jobs::ground::tracker_on;
use crate::jobs::world::HEARTBEAT_LIMIT;

/// The identification that a tracker put into its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) tracker: usize,
    pub(crate) epoch: Epoch,
    pub(crate) session: u64,
}

impl Watch {
    /// The tracker's registration that the JobTracker has.
    pub(crate) fn present(&self, tracker: usize) -> Option<(Epoch, u64)> {
        self.present.get(&tracker).copied()
    }

    /// A registration was accepted.
    pub(crate) fn see_registered(&mut self, now: Monotonic, request: &RegisterTracker) {
        let tracker = tracker_on(&request.host);
        self.heard.insert(tracker, now);
        let listed = request.map_outputs.iter().copied().collect();
        self.said.insert(tracker, (listed, request.running.len()));
    }

    /// Whether a tracker that was heard of during this life of the JobTracker has been silent for a
    /// while.
    pub(crate) fn is_silent(&self, now: Monotonic, tracker: usize) -> bool {
        self.heard.get(&tracker).is_some_and(|heard| now.since(*heard) > HEARTBEAT_LIMIT)
    }

    /// The core has accepted or refused a heartbeat.
    pub(crate) fn see_heartbeat(&mut self, now: Monotonic, sent: Sent, is_taken: bool) {
        let present = self.present(sent.tracker);
        let is_present = present == Some((sent.epoch, sent.session));
        if is_present {
            self.heard.insert(sent.tracker, now);
        }
        if is_present && is_taken {
            self.has_told.insert(sent.tracker);
            // The tracker knows that it is registered: no later registration of it is in flight.
            if let Some((listed, running)) = self.said.remove(&sent.tracker) {
                self.listed.insert(sent.tracker, listed);
                self.running.insert(sent.tracker, running);
            }
        }
        if is_present && !is_taken {
            self.refused.insert(sent.tracker, now);
        }
        if is_taken && !is_present {
            let what = format!("{sent:?} was taken, and registered is {present:?}");
            self.broken("fencing", what);
        }
    }
}
