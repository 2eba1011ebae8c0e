//! Bugs to plant: each breaks one promise in the shells or on the wire, with the cores as they are. What the invariants are
//! worth is shown by their finding each.

use std::collections::BTreeMap;

use ids::{Epoch, HeartbeatNumber, HostName};
use jobtracker_core::{Input, Output, Record, ReplyTo};
use mapreduce_protocol::{MapEvent, TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply};

use crate::jobs::book::Book;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The second attempt of a task to succeed wins too.
    TwoWinners,
    /// A tracker that is gone is taken to be there: what lay on it is kept.
    LostTrackerKept,
    /// A restarted JobTracker knows nothing of the terms before, and numbers attempts as they did.
    TermForgotten,
    /// Heartbeats of an earlier term or registration pass for present ones.
    OldEpochAccepted,
    /// That a map's output was withdrawn is not told.
    WithdrawalForgotten,
    /// A tracker gives a reply up for lost, and still carries out its commands when it comes.
    CommandRepeated,
    /// The JobTracker's shell lets effects out before the records before them are on disk.
    ToldBeforeSync,
    /// A restarted JobTracker does not know which trackers there were.
    MembersForgotten,
    /// Everything follows from a registration at once, though it may be late, or come twice.
    RegistrationHeeded,
    /// A map that runs again says that it has made the same bytes as before, whatever it has made.
    DigestForged,
}

/// What a planted bug in the JobTracker's shell remembers.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// The last heartbeat of each tracker.
    last: BTreeMap<usize, TrackerHeartbeat>,
    /// What the heartbeat tells that is being handled.
    pub(crate) events: Vec<TrackerEvent>,
}

impl Planted {
    pub(crate) fn remember(&mut self, tracker: usize, heartbeat: &TrackerHeartbeat) {
        self.last.insert(tracker, heartbeat.clone());
    }

    /// What those said last that are silent, once more.
    pub(crate) fn stand_ins(&self, is_silent: impl Fn(usize) -> bool) -> Vec<Input> {
        let silent = self.last.iter().filter(|(tracker, _)| is_silent(**tracker));
        let again = |(_, heartbeat): (&usize, &TrackerHeartbeat)| {
            let heartbeat = Box::new(heartbeat.clone());
            Input::Heartbeat { heartbeat, reply_to: ReplyTo(0) }
        };
        silent.map(again).collect()
    }
}

/// Has the second success of a task recorded too, if the heartbeat tells of one.
pub(crate) fn win_twice(book: &Book, events: &[TrackerEvent], output: &mut Output) {
    for event in events {
        let TrackerEvent::Succeeded { attempt, result } = event else { continue };
        let Some(winner) = book.winner(attempt.task) else { continue };
        if winner.attempt != *attempt && book.unfinished(attempt.task.job).is_some() {
            output.records.push(Record::TaskSucceeded {
                attempt: *attempt,
                host: winner.host.clone(),
                digest: result.digest.clone(),
                counters: result.counters.clone(),
                place: None,
                staged: result.staged.clone(),
                named: result.named.clone(),
                ran_ms: None,
                span: Default::default(),
            });
        }
    }
}

/// What a tracker would say first after this registration, if it had nothing to tell.
pub(crate) fn first_heartbeat(host: HostName, (epoch, session): (Epoch, u64)) -> TrackerHeartbeat {
    TrackerHeartbeat {
        host,
        epoch,
        session,
        number: HeartbeatNumber(0),
        events: Vec::new(),
        commands_done: 0,
        running: Vec::new(),
        map_event_cursors: BTreeMap::new(),
        ailments: Vec::new(),
        disks_without: Vec::new(),
    }
}

/// Has a reply say nothing of withdrawals: in the place of each stands what was said before.
pub(crate) fn forget_withdrawals(reply: &mut TrackerHeartbeatReply) {
    for news in &mut reply.map_events {
        let mut last = None;
        for event in &mut news.events {
            match (&event, &last) {
                (MapEvent::Available { .. }, _) => last = Some(event.clone()),
                (MapEvent::Withdrawn { .. }, Some(before)) => *event = MapEvent::clone(before),
                (MapEvent::Withdrawn { .. }, None) => {}
            }
        }
    }
}
