//! Heartbeats of TaskTrackers. Each report is processed once; the reply is parked until there is
//! news or the interval is over. A newer heartbeat first has the parked one answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{
    AILMENTS_MAX, Ailment, AttemptProgress, DISKS_MAX, JobId, MapEvents, TrackerHeartbeat,
    TrackerHeartbeatReply,
};

use crate::machine::{Core, Fifo};
use crate::messages::{Effect, Notice, Reply, ReplyTo};
use crate::numbers::HostNumber;
use crate::refusal::Refusal;
use crate::timers::Timer;
use crate::trackers::{Parked, Tracker};

/// Limit on the commands in one reply. Each may hold the whole description of a job: this many stay
/// far below the body limit.
const COMMANDS_PER_REPLY_MAX: usize = 32;
/// Limit on the map events in one reply, of all jobs together; the rest goes into the next one.
const MAP_EVENTS_PER_REPLY_MAX: usize = 5000;

impl Core {
    pub(crate) fn handle_heartbeat(
        &mut self,
        now: Now,
        heartbeat: TrackerHeartbeat,
        reply_to: ReplyTo,
    ) {
        let TrackerHeartbeat { host, epoch, session, number, events, commands_done, .. } =
            heartbeat;
        let known = self.trackers.of_session(session, &host);
        let Some(at) = known.filter(|_| epoch == self.epoch()) else {
            return self.refuse_with(reply_to, Refusal::NotRegistered { host });
        };
        // The copy of the name that is in memory already: some of what is kept with it, such as
        // winners, is kept for long.
        let host = self.trackers.at(at).map_or(host, |tracker| tracker.host.clone());
        self.counted.heartbeats += 1;
        if self.trackers.at(at).is_some_and(|tracker| tracker.unconfirmed.is_some()) {
            self.take_over(now, &host);
        }
        self.answer_parked(now, at);
        let long = self.long_silence();
        let Some(mut tracker) = self.trackers.at_mut(at) else { return };
        tracker.heard(now.monotonic, long);
        tracker.commands.acknowledge(commands_done);
        let late = number <= tracker.last_number;
        tracker.last_number = number.max(tracker.last_number);
        let new_events = tracker.inbox.accept(events);
        drop(tracker);
        // Before the events: what was lost with a failed disk must not count against its host once
        // more.
        if !late {
            self.set_disks_without(now, (at, &host), heartbeat.disks_without);
        }
        for event in new_events {
            self.handle_event(now, (at, &host), event);
        }
        if self.trackers.at(at).is_some_and(|tracker| tracker.drained) {
            self.note_emptied(&host);
        }
        if late {
            return self.answer(now, at, reply_to);
        }
        self.set_progress(now, &heartbeat.running);
        self.set_ailments(&host, at, heartbeat.ailments);
        self.listen(at, heartbeat.map_event_cursors);
        self.park(now, at, reply_to);
    }

    /// Notes the ailments of a host, up to a limit.
    fn set_ailments(&mut self, host: &HostName, at: HostNumber, mut ailments: Vec<Ailment>) {
        ailments.truncate(AILMENTS_MAX);
        if self.trackers.at(at).is_none_or(|tracker| tracker.ailments == ailments) {
            return;
        }
        self.change_tracker(host, |tracker| tracker.ailments.clone_from(&ailments));
        self.effect(Effect::Tell(Notice::HostHealth { host: host.clone(), ailments }));
    }

    /// Notes the ailments of disks that a host does without.
    fn set_disks_without(
        &mut self,
        now: Now,
        (at, host): (HostNumber, &HostName),
        mut disks_without: Vec<Ailment>,
    ) {
        disks_without.truncate(DISKS_MAX);
        let Some(mut tracker) = self.trackers.at_mut(at) else { return };
        let n_before = tracker.n_disks_failed();
        tracker.disks_without = disks_without;
        let one_more = tracker.n_disks_failed() > n_before;
        drop(tracker);
        if one_more {
            self.on_disk_failed(now, host);
        }
    }

    /// Whether the heartbeat may lead to records.
    pub(crate) fn leads_to_records(&self, heartbeat: &TrackerHeartbeat) -> bool {
        let unheeded = |tracker: &Tracker| tracker.unconfirmed.is_some();
        !heartbeat.events.is_empty() || self.trackers.get(&heartbeat.host).is_some_and(unheeded)
    }

    /// The journal has no room for what the heartbeat leads to; still, the tracker is alive.
    pub(crate) fn refuse_heartbeat(&mut self, heartbeat: &TrackerHeartbeat) {
        let current = heartbeat.epoch == self.epoch();
        if let Some(mut tracker) = self.trackers.get_mut(&heartbeat.host) {
            tracker.refused |= current && tracker.session == heartbeat.session;
        }
    }

    fn park(&mut self, now: Now, host: HostNumber, to: ReplyTo) {
        let interval = self.heartbeat_interval();
        let until = now.monotonic + interval;
        let Some(mut tracker) = self.trackers.at_mut(host) else { return };
        tracker.interval = interval;
        tracker.parked = Some(Parked { to, until });
        // A timer set for an earlier heartbeat is reset when it goes off: most heartbeats are
        // answered sooner.
        if tracker.alarm.is_none_or(|at| at > until) {
            tracker.alarm = Some(until);
            self.timers.set(until, Timer::Parked(host));
        }
        drop(tracker);
        self.trackers.news.insert(host);
        self.unsettled = true;
    }

    /// Answers the parked heartbeat of `host`, if there is one.
    pub(crate) fn answer_parked(&mut self, now: Now, host: HostNumber) {
        let parked = self.trackers.at_mut(host).and_then(|mut tracker| tracker.parked.take());
        if let Some(Parked { to, .. }) = parked {
            self.answer(now, host, to);
        }
    }

    /// The timer for the parked heartbeat of `host`, or for an earlier one, has gone off.
    pub(crate) fn handle_parked(&mut self, now: Now, host: HostNumber) {
        let Some(mut tracker) = self.trackers.at_mut(host) else { return };
        let is_due = |at: &Monotonic| *at <= now.monotonic;
        tracker.alarm = tracker.alarm.filter(|at| !is_due(at));
        let until = tracker.parked.map(|parked| parked.until);
        if until.as_ref().is_some_and(is_due) {
            drop(tracker);
            return self.answer_parked(now, host);
        }
        if let (Some(until), None) = (until, tracker.alarm) {
            tracker.alarm = Some(until);
            self.timers.set(until, Timer::Parked(host));
        }
    }

    /// The connection of a parked heartbeat broke: its tracker gets nothing until its next
    /// heartbeat.
    pub(crate) fn unpark(&mut self, to: ReplyTo) {
        let is_it = |tracker: &Tracker| tracker.parked.is_some_and(|parked| parked.to == to);
        let host = self.trackers.iter().find(|(_, it)| is_it(it)).map(|(_, it)| it.number);
        let Some(host) = host else { return };
        self.trackers.at_mut(host).into_iter().for_each(|mut it| it.parked = None);
    }

    /// How long a heartbeat may stay parked at present.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.settings.interval_of(self.trackers.len())
    }

    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        u64::try_from(self.heartbeat_interval().as_millis()).unwrap_or(u64::MAX)
    }

    /// Silence after which a tracker is lost at present.
    pub(crate) fn dead_after(&self) -> Duration {
        // After a start, trackers still awaited count: they were told the interval of the previous
        // term.
        self.settings.dead_after_of(self.trackers.len().max(self.awaited.len()))
    }

    /// The least silence that is unlikely to be chance.
    pub(crate) fn long_silence(&self) -> Duration {
        self.dead_after() / 2
    }

    /// Answers the parked heartbeats of all trackers for which there is news.
    pub(crate) fn tell_news(&mut self, now: Now) {
        for host in std::mem::take(&mut self.trackers.news) {
            let Some(tracker) = self.trackers.at(host) else { continue };
            let map_events_at = self.map_events_at(now, tracker);
            if !tracker.commands.is_empty() || map_events_at.is_some_and(|at| at <= now.monotonic) {
                self.answer_parked(now, host);
            } else if let (Some(at), false) = (map_events_at, tracker.events_due) {
                self.timers.set(at, Timer::MapEvents(host));
                self.trackers.at_mut(host).into_iter().for_each(|mut it| it.events_due = true);
            }
        }
    }

    /// When to send map events to a tracker, if there are any for it. If each finished map were
    /// sent at once, it would cause a heartbeat of every tracker with a reduce; so events are
    /// batched, except for the last ones, for which reduces wait.
    fn map_events_at(&self, now: Now, tracker: &Tracker) -> Option<Monotonic> {
        let unread = |(job, cursor): (&JobId, &u64)| self.unread(*job, *cursor).map(|_| *job);
        let mut jobs = tracker.cursors.iter().filter_map(unread).peekable();
        jobs.peek()?;
        let are_done = |job| {
            let entry = self.durable.running(job);
            entry.is_none_or(|entry| entry.maps_done as usize == entry.maps.len())
        };
        if jobs.any(are_done) {
            return Some(now.monotonic);
        }
        let pause = self.settings.map_events_pause(self.trackers.n_listening);
        Some(tracker.events_told + pause.min(self.heartbeat_interval()))
    }

    /// Map events for `host` have waited long enough.
    pub(crate) fn handle_map_events_due(&mut self, host: HostNumber) {
        let Some(mut tracker) = self.trackers.at_mut(host) else { return };
        tracker.events_due = false;
        drop(tracker);
        self.trackers.news.insert(host);
    }

    fn answer(&mut self, now: Now, host: HostNumber, to: ReplyTo) {
        let Some(tracker) = self.trackers.at(host) else { return };
        let mut left = MAP_EVENTS_PER_REPLY_MAX;
        let mut map_events = Vec::new();
        for (job, cursor) in &tracker.cursors {
            let Some(news) = self.map_events(*job, *cursor, left) else { continue };
            left -= news.events.len();
            map_events.push(news);
        }
        let reply = TrackerHeartbeatReply {
            epoch: self.epoch(),
            events_received: tracker.inbox.received(),
            commands: tracker.commands.pending(COMMANDS_PER_REPLY_MAX).cloned().collect(),
            map_events,
            heartbeat_interval_ms: self.heartbeat_interval_ms(),
        };
        if !reply.map_events.is_empty() {
            self.trackers
                .at_mut(host)
                .into_iter()
                .for_each(|mut it| it.events_told = now.monotonic);
        }
        self.reply(to, Reply::Heartbeat(Box::new(reply)));
    }

    /// The map events of `job` from `cursor` on, at most `limit`, if there are any.
    fn map_events(&self, job: JobId, cursor: u64, limit: usize) -> Option<MapEvents> {
        let first = self.unread(job, cursor).filter(|_| limit > 0)?;
        let events = self.live(job)?.events.iter().skip(first).take(limit);
        Some(MapEvents { job, first: first as u64, events: events.cloned().collect() })
    }

    /// Index of the first map event of `job` that a reader at `cursor` has not seen. A cursor
    /// beyond the list is from an earlier JobTracker: its reader starts from the beginning.
    fn unread(&self, job: JobId, cursor: u64) -> Option<usize> {
        let n_events = self.live(job)?.events.len();
        let first = usize::try_from(cursor).ok().filter(|first| *first <= n_events).unwrap_or(0);
        (first < n_events).then_some(first)
    }

    fn listen(&mut self, host: HostNumber, cursors: BTreeMap<JobId, u64>) {
        let Some(mut tracker) = self.trackers.at_mut(host) else { return };
        if cursors.is_empty() && tracker.cursors.is_empty() {
            return;
        }
        let jobs: BTreeSet<_> = cursors.keys().chain(tracker.cursors.keys()).copied().collect();
        for job in jobs {
            if let Some(live) = self.jobs.get_mut(&Fifo::of(job)) {
                if cursors.contains_key(&job) {
                    live.listeners.insert(host);
                } else {
                    live.listeners.remove(&host);
                }
            }
        }
        let was_listening = !tracker.cursors.is_empty();
        let is_listening = !cursors.is_empty();
        tracker.cursors = cursors;
        drop(tracker);
        self.trackers.n_listening += usize::from(is_listening);
        self.trackers.n_listening -= usize::from(was_listening);
    }

    fn set_progress(&mut self, now: Now, running: &[AttemptProgress]) {
        for AttemptProgress { attempt, progress, status } in running {
            let job = self.live_mut(attempt.task.job);
            if let Some(live) = job.and_then(|job| job.live_mut(*attempt)) {
                live.tell(now.monotonic, *progress);
                live.say(status.as_deref());
            }
        }
    }
}
