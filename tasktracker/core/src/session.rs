//! The talk with the JobTracker: registration, numbered heartbeats, what is repeated until it is
//! acknowledged, and when to try again. Knows nothing of slots or attempts.
//!
//! One heartbeat is always out (the JobTracker parks it); a second one follows at once when there is an
//! event to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{ClusterId, Epoch, HeartbeatNumber, Inbox, Monotonic, Numbered, Outbox};
use mapreduce_protocol::{
    Ailment, AttemptId, AttemptProgress, JobId, MapEvents, PROTOCOL_VERSION, RegisterTracker,
    TrackerCommand, TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};

use crate::{SessionId, Settings, limits};

/// Events that one heartbeat carries at most.
pub(crate) const EVENTS_PER_HEARTBEAT_MAX: usize = 1000;

/// Bytes of JSON that the events of one heartbeat take at most, unless one alone takes more: half of what a
/// request's body may have. No event within the limits of `limits.rs` comes near it.
pub(crate) const EVENT_BYTES_PER_HEARTBEAT_MAX: usize = 8 << 20;

/// Words of reduces that can't fetch, which wait to be told, at most.
pub(crate) const UNFETCHED_MAX: usize = 1000;

/// Heartbeats out at once: the parked one and one with news.
const HEARTBEATS_OUT_MAX: usize = 2;

/// A reply without content that comes sooner was not parked: the next heartbeat waits this long.
const EMPTY_REPLY_PAUSE: Duration = Duration::from_millis(20);

const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Link {
    /// The JobTracker does not know this tracker, or no longer.
    Unregistered {
        /// Whether a registration is out.
        asked: bool,
    },
    Registered {
        id: SessionId,
        last_number: u64,
        /// Heartbeats without an answer yet, and when they were sent.
        out: BTreeMap<u64, Monotonic>,
    },
}

/// The oldest events, as many as fit a heartbeat.
fn next_events(outbox: &Outbox<TrackerEvent>) -> Vec<Numbered<TrackerEvent>> {
    let mut bytes = 0;
    let fitting = outbox.pending(EVENTS_PER_HEARTBEAT_MAX).take_while(|event| {
        let is_first = bytes == 0;
        bytes += limits::event_bytes(&event.item);
        is_first || bytes <= EVENT_BYTES_PER_HEARTBEAT_MAX
    });
    fitting.cloned().collect()
}

#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    cluster: Option<ClusterId>,
    link: Link,
    outbox: Outbox<TrackerEvent>,
    /// Of the events in the outbox: which reduces can't fetch from which maps.
    unfetched: BTreeSet<(AttemptId, AttemptId)>,
    /// Number of the last event queued.
    last_event: u64,
    /// Whether there is something to tell beside events.
    news: bool,
    /// Number of the last event that a heartbeat has carried, as far as it may have arrived.
    told: u64,
    inbox: Inbox,
    /// The epoch of the last registration.
    epoch: Option<Epoch>,
    retry_at: Option<Monotonic>,
    retry_after: Duration,
    random: u64,
}

impl Session {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            cluster: settings.cluster.clone(),
            random: settings.seed,
            settings,
            link: Link::Unregistered { asked: false },
            outbox: Outbox::default(),
            unfetched: BTreeSet::new(),
            last_event: 0,
            news: false,
            told: 0,
            inbox: Inbox::default(),
            epoch: None,
            retry_at: None,
            retry_after: RETRY_MIN,
        }
    }

    /// Queues an event.
    pub(crate) fn report(&mut self, event: TrackerEvent) {
        self.last_event = self.outbox.push(event);
    }

    /// Queues the word that a reduce can't fetch from a map, unless it is on its way already. A reduce tries again, and says
    /// so again: what there is no room for is not lost.
    pub(crate) fn report_unfetched(&mut self, reduce: AttemptId, map: AttemptId, message: String) {
        let is_new = !self.unfetched.contains(&(reduce, map));
        if is_new && self.unfetched.len() < UNFETCHED_MAX {
            self.unfetched.insert((reduce, map));
            self.report(TrackerEvent::FetchFailed { reduce, map, message });
        }
    }

    /// Forgets the events that the JobTracker has.
    fn acknowledge(&mut self, received: u64) {
        let known = self.outbox.pending(usize::MAX).take_while(|event| event.number <= received);
        for event in known {
            if let TrackerEvent::FetchFailed { reduce, map, .. } = event.item {
                self.unfetched.remove(&(reduce, map));
            }
        }
        self.outbox.acknowledge(received);
    }

    /// What heartbeats tell beside events has changed: the next one does not wait.
    pub(crate) fn has_news(&mut self) {
        self.news = true;
    }

    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &TrackerEvent> {
        self.outbox.pending(usize::MAX).map(|numbered| &numbered.item)
    }

    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.link, Link::Registered { .. })
    }

    /// When something that failed is tried again.
    pub(crate) fn retry_at(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// Ends a pause that is over.
    pub(crate) fn wake(&mut self, now: Monotonic) {
        self.retry_at = self.retry_at.filter(|at| now < *at);
    }

    pub(crate) fn wants_registration(&self) -> bool {
        matches!(self.link, Link::Unregistered { asked: false }) && self.retry_at.is_none()
    }

    pub(crate) fn wants_heartbeat(&self) -> bool {
        let Link::Registered { out, .. } = &self.link else { return false };
        let untold = self.last_event > self.told || self.news;
        let news = untold && out.len() < HEARTBEATS_OUT_MAX;
        (out.is_empty() || news) && self.retry_at.is_none()
    }

    /// The registration to send.
    pub(crate) fn register(
        &mut self,
        running: BTreeSet<AttemptId>,
        map_outputs: impl Iterator<Item = AttemptId>,
        jobs: impl Iterator<Item = JobId>,
    ) -> RegisterTracker {
        self.link = Link::Unregistered { asked: true };
        RegisterTracker {
            protocol: PROTOCOL_VERSION,
            cluster: self.cluster.clone(),
            host: self.settings.host.clone(),
            rack: self.settings.rack.clone(),
            address: self.settings.address.clone(),
            incarnation: self.settings.incarnation,
            slots: self.settings.slots,
            running: running.into_iter().collect(),
            map_outputs: map_outputs.collect(),
            jobs: jobs.collect(),
            not_isolated: self.settings.not_isolated.clone(),
        }
    }

    /// The heartbeat to send; only after [`Self::wants_heartbeat`].
    pub(crate) fn heartbeat(
        &mut self,
        now: Monotonic,
        running: Vec<AttemptProgress>,
        map_event_cursors: BTreeMap<JobId, u64>,
        (ailments, disks_without): (Vec<Ailment>, Vec<Ailment>),
    ) -> TrackerHeartbeat {
        let Link::Registered { id, last_number, out } = &mut self.link else {
            unreachable!("heartbeats are wanted only when registered")
        };
        *last_number += 1;
        out.insert(*last_number, now);
        let events = next_events(&self.outbox);
        self.news = false;
        self.told = events.last().map_or(self.last_event, |last| last.number);
        TrackerHeartbeat {
            host: self.settings.host.clone(),
            epoch: id.epoch,
            session: id.session,
            number: HeartbeatNumber(*last_number),
            events,
            commands_done: self.inbox.received(),
            running,
            map_event_cursors,
            ailments,
            disks_without,
        }
    }

    /// Begins a session: what was not acknowledged in the last one is queued again. Whether it is with
    /// another JobTracker process than the last.
    pub(crate) fn on_registered(&mut self, registered: TrackerRegistered) -> bool {
        let TrackerRegistered { cluster, epoch, session, heartbeat_interval_ms: _ } = registered;
        self.cluster = Some(cluster);
        let id = SessionId { epoch, session };
        self.link = Link::Registered { id, last_number: 0, out: BTreeMap::new() };
        let mut outbox = Outbox::default();
        self.last_event = 0;
        for event in self.unacknowledged() {
            outbox.push(event.clone());
        }
        self.last_event = outbox.len() as u64;
        self.outbox = outbox;
        self.told = 0;
        self.inbox = Inbox::default();
        self.speak_freely();
        self.epoch.replace(epoch) != Some(epoch)
    }

    pub(crate) fn on_registration_failed(&mut self, now: Monotonic) {
        if let Link::Unregistered { asked } = &mut self.link {
            *asked = false;
            self.try_again_later(now);
        }
    }

    /// What the reply says that is new; `None` if it belongs to another session.
    pub(crate) fn on_reply(
        &mut self,
        now: Monotonic,
        of: SessionId,
        number: u64,
        reply: TrackerHeartbeatReply,
    ) -> Option<(Vec<TrackerCommand>, Vec<MapEvents>)> {
        let Link::Registered { id, out, .. } = &mut self.link else { return None };
        if *id != of {
            return None;
        }
        if id.epoch != reply.epoch {
            self.on_not_registered(of);
            return None;
        }
        let sent = out.remove(&number)?;
        let none_out = out.is_empty();
        let before = self.outbox.len();
        self.acknowledge(reply.events_received);
        let commands = self.inbox.accept(reply.commands);
        self.speak_freely();
        let empty =
            commands.is_empty() && reply.map_events.is_empty() && self.outbox.len() == before;
        if empty && none_out && now < sent + EMPTY_REPLY_PAUSE {
            self.retry_at = Some(now + EMPTY_REPLY_PAUSE);
        }
        Some((commands, reply.map_events))
    }

    pub(crate) fn on_heartbeat_failed(&mut self, now: Monotonic, of: SessionId, number: u64) {
        let Link::Registered { id, out, .. } = &mut self.link else { return };
        if *id == of && out.remove(&number).is_some() {
            self.told = 0;
            self.try_again_later(now);
        }
    }

    pub(crate) fn on_not_registered(&mut self, of: SessionId) {
        match self.link {
            Link::Registered { id, .. } if id == of => {
                self.link = Link::Unregistered { asked: false };
                self.speak_freely();
            }
            Link::Registered { .. } | Link::Unregistered { .. } => {}
        }
    }

    fn speak_freely(&mut self) {
        self.retry_at = None;
        self.retry_after = RETRY_MIN;
    }

    /// Half to all of the pause, which doubles with each failure: trackers do not come back in step.
    fn try_again_later(&mut self, now: Monotonic) {
        let half = self.retry_after / 2;
        let jitter = u32::try_from(self.next_random() % 1000).expect("below 1000");
        self.retry_at = Some(now + half + half * jitter / 1000);
        self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
    }

    /// splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
