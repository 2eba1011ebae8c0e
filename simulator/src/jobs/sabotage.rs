//! Bugs to plant: each breaks one promise in the shells or on the wire, while the cores are
//! unchanged. The invariants prove their worth by finding each of them.

use std::collections::BTreeMap;

use ids::{Epoch, HeartbeatNumber, HostName};
use jobtracker_core::{Input, Output, Record, ReplyTo};
use mapreduce_protocol::{MapEvent, TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply};

use crate::jobs::book::Book;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A second attempt of a task that succeeds wins too.
    TwoWinners,
    /// A lost tracker is treated as present: its outputs are kept.
    LostTrackerKept,
    /// A restarted JobTracker knows nothing of earlier terms, and reuses their attempt numbers.
    TermForgotten,
    /// Heartbeats of an earlier term or registration are accepted.
    OldEpochAccepted,
    /// Reduces are not told that a map's output was withdrawn.
    WithdrawalForgotten,
    /// A tracker gives up waiting for a reply, and still carries out its commands when it arrives.
    CommandRepeated,
    /// The JobTracker's shell performs effects before the records before them are on disk.
    ToldBeforeSync,
    /// A restarted JobTracker has forgotten the trackers.
    MembersForgotten,
    /// A registration takes full effect at once, though it may be late or a duplicate.
    RegistrationHeeded,
    /// A map that runs again reports the same digest as before, whatever its output.
    DigestForged,
}

/// The state of bugs planted in the JobTracker's shell.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// The last heartbeat of each tracker.
    last: BTreeMap<usize, TrackerHeartbeat>,
    /// The events of the heartbeat being handled.
    pub(crate) events: Vec<TrackerEvent>,
}

impl Planted {
    pub(crate) fn remember(&mut self, tracker: usize, heartbeat: &TrackerHeartbeat) {
        self.last.insert(tracker, heartbeat.clone());
    }

    /// Repeats the last heartbeats of silent trackers.
    pub(crate) fn stand_ins(&self, is_silent: impl Fn(usize) -> bool) -> Vec<Input> {
        let silent = self.last.iter().filter(|(tracker, _)| is_silent(**tracker));
        let again = |(_, heartbeat): (&usize, &TrackerHeartbeat)| {
            let heartbeat = Box::new(heartbeat.clone());
            Input::Heartbeat { heartbeat, reply_to: ReplyTo(0) }
        };
        silent.map(again).collect()
    }
}

/// Records the second success of a task too, if the heartbeat reports one.
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

/// A tracker's first heartbeat after this registration, without any news.
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

/// Replaces each withdrawal in a reply by a repetition of the announcement before it.
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
