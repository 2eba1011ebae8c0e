//! The registered, live TaskTrackers: soft state, lost with the process and reported anew by the trackers.
//! `heartbeat` handles their reports, `schedule` decides which of them gets which task.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use ids::{HeartbeatNumber, HostName, Inbox, Monotonic, Outbox, RackName};
use mapreduce_protocol::{Ailment, AttemptId, JobId, TaskKind, TrackerCommand};

use crate::idle::{Declined, Entry, Idle};
use crate::messages::ReplyTo;
use crate::numbers::{HostNumber, Numbers, RackNumber};

/// How long a lost tracker is remembered.
const LOST_KEPT: Duration = Duration::from_hours(24);
/// Limit on the lost trackers that are remembered.
const LOST_MAX: usize = 10_000;

/// One registered tracker.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) host: HostName,
    pub(crate) number: HostNumber,
    pub(crate) rack: RackName,
    pub(crate) rack_number: RackNumber,
    pub(crate) address: String,
    pub(crate) incarnation: u64,
    pub(crate) session: u64,
    pub(crate) slots: u32,
    /// Why its tasks are not isolated from data that is not theirs, if so.
    pub(crate) not_isolated: Option<String>,
    pub(crate) last_seen: Monotonic,
    /// How long its heartbeats may stay parked, as it was last told.
    pub(crate) interval: Duration,
    /// Its last long silence: from when until when.
    pub(crate) silent: Option<(Monotonic, Monotonic)>,
    /// What its registration reported, until a heartbeat confirms that the tracker knows it is registered.
    pub(crate) unconfirmed: Option<Unconfirmed>,
    /// Whether the journal had no room for one of its requests since it was last heard: it is alive.
    pub(crate) refused: bool,
    pub(crate) last_number: HeartbeatNumber,
    pub(crate) inbox: Inbox,
    pub(crate) commands: Outbox<TrackerCommand>,
    pub(crate) cursors: BTreeMap<JobId, u64>,
    /// When map events were last sent to it.
    pub(crate) events_told: Monotonic,
    /// Whether a timer is set to send it more.
    pub(crate) events_due: bool,
    pub(crate) parked: Option<Parked>,
    /// When the timer for its parked heartbeat (or an earlier one) goes off.
    pub(crate) alarm: Option<Monotonic>,
    /// The ailments of its host.
    pub(crate) ailments: Vec<Ailment>,
    /// Ailments of disks that it does without.
    pub(crate) disks_without: Vec<Ailment>,
    /// Until when it is set aside for all jobs, if it is.
    pub(crate) set_aside: Option<Monotonic>,
    /// Whether a client drains its host.
    pub(crate) drained: bool,
    occupied: BTreeMap<AttemptId, Occupied>,
    /// Number of reduces in `occupied`.
    n_reduces: u32,
    /// Its slots as counted in [`Idle`].
    pub(crate) entered: Entry,
    /// The slots that all jobs have declined, between the reply to its heartbeat and the next heartbeat.
    pub(crate) declined: Option<Declined>,
}

/// A heartbeat whose reply waits for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) to: ReplyTo,
    pub(crate) until: Monotonic,
}

/// Why a slot is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Its attempt may win.
    Running,
    /// Its attempt was told to end and has not reported its end.
    Ending {
        /// When it was told.
        since: Monotonic,
    },
}

/// What a registration reports of attempts; it takes effect when confirmed.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    pub(crate) running: Vec<AttemptId>,
    pub(crate) map_outputs: Vec<AttemptId>,
    /// Jobs of which it holds any other data.
    pub(crate) jobs: Vec<JobId>,
    /// The address that reduces were told its outputs are at.
    pub(crate) address_before: Option<String>,
    /// The previous process of the same name.
    pub(crate) incarnation_before: Option<u64>,
}

/// What a registration says of the tracker itself.
pub(crate) struct Registration {
    pub(crate) host: HostName,
    pub(crate) number: HostNumber,
    pub(crate) rack: RackName,
    pub(crate) rack_number: RackNumber,
    pub(crate) address: String,
    pub(crate) incarnation: u64,
    pub(crate) session: u64,
    pub(crate) slots: u32,
    pub(crate) not_isolated: Option<String>,
}

impl Tracker {
    pub(crate) fn new(registration: Registration, now: Monotonic) -> Self {
        Self {
            host: registration.host,
            number: registration.number,
            rack: registration.rack,
            rack_number: registration.rack_number,
            address: registration.address,
            incarnation: registration.incarnation,
            session: registration.session,
            slots: registration.slots,
            not_isolated: registration.not_isolated,
            last_seen: now,
            interval: Duration::ZERO,
            silent: None,
            unconfirmed: None,
            refused: false,
            last_number: HeartbeatNumber(0),
            inbox: Inbox::default(),
            commands: Outbox::default(),
            cursors: BTreeMap::new(),
            events_told: Monotonic::default(),
            events_due: false,
            parked: None,
            alarm: None,
            ailments: Vec::new(),
            disks_without: Vec::new(),
            set_aside: None,
            drained: false,
            occupied: BTreeMap::new(),
            n_reduces: 0,
            entered: Entry::default(),
            declined: None,
        }
    }

    /// Whether it has given up a failing disk and the data there.
    pub(crate) fn does_without_a_disk(&self) -> bool {
        self.n_disks_failed() > 0
    }

    pub(crate) fn n_disks_failed(&self) -> usize {
        let fails = |it: &&Ailment| matches!(it, Ailment::DiskFails { .. });
        self.disks_without.iter().filter(fails).count()
    }

    /// Whether it may get new attempts at all.
    pub(crate) fn is_open(&self) -> bool {
        self.ailments.is_empty() && self.set_aside.is_none() && !self.drained
    }

    /// Whether it may get a new attempt now.
    pub(crate) fn takes_one_more(&self) -> bool {
        self.is_open() && self.free_slots() > 0
    }

    pub(crate) fn free_slots(&self) -> usize {
        (self.slots as usize).saturating_sub(self.occupied.len())
    }

    pub(crate) fn occupied(&self) -> &BTreeMap<AttemptId, Occupied> {
        &self.occupied
    }

    /// Whether a slot is about to become free: an attempt was told to end less than `patience` ago. One that
    /// has not ended by then may never do so, for instance because it hangs in a disk access.
    pub(crate) fn is_about_to_free(&self, now: Monotonic, patience: Duration) -> bool {
        let ends =
            |why: &Occupied| matches!(why, Occupied::Ending { since } if *since + patience > now);
        self.occupied.values().any(ends)
    }

    fn entry(&self) -> Entry {
        if !self.is_open() {
            return Entry::default();
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let free = if self.parked.is_some() { count(self.free_slots()) } else { 0 };
        Entry { free, open_slots: self.slots, open_reduces: self.n_reduces }
    }

    /// The tracker was heard of; notes a silence of at least `long`.
    pub(crate) fn heard(&mut self, now: Monotonic, long: Duration) {
        let was_refused = std::mem::take(&mut self.refused);
        let before = std::mem::replace(&mut self.last_seen, now);
        if !was_refused && now.since(before) >= long {
            self.silent = Some((before, now));
        }
    }

    /// Takes over the occupied slots of the tracker previously registered here.
    pub(crate) fn inherit(&mut self, before: &Self) {
        self.occupied.clone_from(&before.occupied);
        self.n_reduces = before.n_reduces;
    }

    /// The last `pause` counts neither as silence nor as time to end in.
    fn pardon(&mut self, now: Monotonic, pause: Duration) {
        self.last_seen = (self.last_seen + pause).min(now);
        for why in self.occupied.values_mut() {
            if let Occupied::Ending { since } = why {
                *since = (*since + pause).min(now);
            }
        }
    }

    /// Frees all slots and returns what held them.
    pub(crate) fn free_all(&mut self) -> BTreeMap<AttemptId, Occupied> {
        self.n_reduces = 0;
        std::mem::take(&mut self.occupied)
    }

    pub(crate) fn occupy(&mut self, attempt: AttemptId, why: Occupied) {
        let is_new = self.occupied.insert(attempt, why).is_none();
        self.n_reduces += u32::from(is_new && attempt.task.kind == TaskKind::Reduce);
    }

    pub(crate) fn free(&mut self, attempt: AttemptId) {
        let was_there = self.occupied.remove(&attempt).is_some();
        self.n_reduces -= u32::from(was_there && attempt.task.kind == TaskKind::Reduce);
    }
}

/// What is remembered of a lost tracker.
#[derive(Debug)]
pub(crate) struct LostTracker {
    pub(crate) rack: RackName,
    pub(crate) address: String,
    pub(crate) slots: u32,
    pub(crate) last_seen: Monotonic,
}

impl LostTracker {
    fn is_remembered(&self, now: Monotonic) -> bool {
        now.since(self.last_seen) < LOST_KEPT
    }
}

/// Access to a tracker that may change it; [`Idle`] is updated when it is dropped.
pub(crate) struct TrackerMut<'a> {
    tracker: &'a mut Tracker,
    idle: &'a mut Idle,
}

impl Deref for TrackerMut<'_> {
    type Target = Tracker;

    fn deref(&self) -> &Tracker {
        self.tracker
    }
}

impl DerefMut for TrackerMut<'_> {
    fn deref_mut(&mut self) -> &mut Tracker {
        self.tracker
    }
}

impl Drop for TrackerMut<'_> {
    fn drop(&mut self) {
        let now = self.tracker.entry();
        self.idle.change(self.tracker, now);
    }
}

/// All registered trackers.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    /// Numbers of all hosts, including those without a tracker.
    pub(crate) numbers: Numbers,
    /// The tracker of each host number, up to the highest one needed.
    by_number: Vec<Option<Box<Tracker>>>,
    n_live: usize,
    /// Trackers by session: finding a heartbeat's sender by number is faster than by name.
    by_session: BTreeMap<u64, HostNumber>,
    /// Number of trackers that read map events.
    pub(crate) n_listening: usize,
    /// Trackers that are lost and have not come back.
    lost: BTreeMap<HostName, LostTracker>,
    /// Trackers for which there may be news.
    pub(crate) news: BTreeSet<HostNumber>,
    sessions: u64,
    /// Slots of all trackers.
    n_slots: usize,
    idle: Idle,
}

impl Trackers {
    pub(crate) fn get(&self, host: &HostName) -> Option<&Tracker> {
        self.at(self.numbers.known(host)?)
    }

    pub(crate) fn get_mut(&mut self, host: &HostName) -> Option<TrackerMut<'_>> {
        self.at_mut(self.numbers.known(host)?)
    }

    pub(crate) fn at(&self, host: HostNumber) -> Option<&Tracker> {
        self.by_number.get(host.index())?.as_deref()
    }

    pub(crate) fn at_mut(&mut self, host: HostNumber) -> Option<TrackerMut<'_>> {
        let tracker = self.by_number.get_mut(host.index())?.as_deref_mut()?;
        Some(TrackerMut { tracker, idle: &mut self.idle })
    }

    /// The tracker of `host`, if `session` is its session.
    pub(crate) fn of_session(&self, session: u64, host: &HostName) -> Option<HostNumber> {
        let at = *self.by_session.get(&session)?;
        (self.at(at)?.host == *host).then_some(at)
    }

    /// Trackers that can take an attempt now, those with most free slots first.
    pub(crate) fn idle(&self) -> Vec<(Reverse<u32>, HostNumber)> {
        self.idle.by_free.iter().copied().collect()
    }

    /// Those of `hosts` that can take an attempt now, those with most free slots first.
    pub(crate) fn idle_among(
        &self,
        hosts: &BTreeSet<HostNumber>,
    ) -> Vec<(Reverse<u32>, HostNumber)> {
        let all = hosts.iter().map(|host| (Reverse(self.free_now(*host)), *host));
        let mut idle: Vec<_> = all.filter(|(free, _)| free.0 > 0).collect();
        idle.sort_unstable();
        idle
    }

    /// Number of slots that can take an attempt now.
    pub(crate) fn n_idle(&self) -> u32 {
        self.idle.by_free.iter().map(|(free, _)| free.0).sum()
    }

    /// Number of attempts that the tracker can take now.
    pub(crate) fn free_now(&self, host: HostNumber) -> u32 {
        self.at(host).map_or(0, |tracker| tracker.entered.free)
    }

    /// Trackers that have gained a slot since the last call.
    pub(crate) fn take_fresh(&mut self) -> BTreeSet<HostNumber> {
        std::mem::take(&mut self.idle.fresh)
    }

    /// Starts a round, in which jobs that may have changed their mind are offered all idle slots.
    pub(crate) fn begin_round(&mut self) {
        self.idle.rounds += 1;
    }

    /// Whether one more reduce leaves a slot for waiting maps; does not apply to a cluster with a single
    /// slot.
    pub(crate) fn leaves_room(&self) -> bool {
        self.idle.open_slots == 1 || self.idle.open_reduces + 1 < self.idle.open_slots
    }

    pub(crate) fn is_live(&self, host: &HostName) -> bool {
        self.get(host).is_some()
    }

    /// Whether `host` has a tracker that may get new attempts.
    pub(crate) fn is_open(&self, host: &HostName) -> bool {
        self.get(host).is_some_and(Tracker::is_open)
    }

    /// The same by host number.
    pub(crate) fn is_open_at(&self, host: HostNumber) -> bool {
        self.at(host).is_some_and(Tracker::is_open)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HostName, &Tracker)> {
        let live = self.by_number.iter().filter_map(Option::as_deref);
        live.map(|tracker| (&tracker.host, tracker))
    }

    /// The JobTracker stood still for `pause`: no tracker counts as silent for that time.
    pub(crate) fn pardon(&mut self, now: Monotonic, pause: Duration) {
        for tracker in self.by_number.iter_mut().flatten() {
            tracker.pardon(now, pause);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.n_live
    }

    pub(crate) fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    pub(crate) fn insert(&mut self, tracker: Tracker) {
        self.lost.remove(&tracker.host);
        self.n_slots += tracker.slots as usize;
        self.n_live += 1;
        let number = tracker.number;
        self.by_session.insert(tracker.session, number);
        if self.by_number.len() <= number.index() {
            self.by_number.resize_with(number.index() + 1, || None);
        }
        let before = self.by_number[number.index()].replace(Box::new(tracker));
        assert!(before.is_none_or(|it| it.number != number), "it was registered all the while");
        drop(self.at_mut(number));
    }

    /// Remembers a lost tracker for a while.
    pub(crate) fn note_lost(&mut self, now: Monotonic, host: HostName, tracker: &Tracker) {
        self.lost.retain(|_, lost| lost.is_remembered(now));
        if self.lost.len() < LOST_MAX {
            let lost = LostTracker {
                rack: tracker.rack.clone(),
                address: tracker.address.clone(),
                slots: tracker.slots,
                last_seen: tracker.last_seen,
            };
            self.lost.insert(host, lost);
        }
    }

    pub(crate) fn is_lost(&self, now: Monotonic, host: &HostName) -> bool {
        self.lost_one(now, host).is_some()
    }

    /// A tracker that was lost within the last day.
    pub(crate) fn lost_one(&self, now: Monotonic, host: &HostName) -> Option<&LostTracker> {
        self.lost.get(host).filter(|lost| lost.is_remembered(now))
    }

    /// Trackers that were lost within the last day.
    pub(crate) fn lost(&self, now: Monotonic) -> impl Iterator<Item = (&HostName, &LostTracker)> {
        self.lost.iter().filter(move |(_, lost)| lost.is_remembered(now))
    }

    pub(crate) fn remove(&mut self, host: &HostName) -> Option<Tracker> {
        let number = self.numbers.known(host)?;
        self.news.remove(&number);
        let mut removed = self.by_number.get_mut(number.index())?.take()?;
        self.by_session.remove(&removed.session);
        self.n_slots -= removed.slots as usize;
        self.n_live -= 1;
        self.n_listening -= usize::from(!removed.cursors.is_empty());
        self.idle.change(&mut removed, Entry::default());
        self.idle.fresh.remove(&number);
        Some(*removed)
    }

    /// Queues a command for the tracker, if it is registered.
    pub(crate) fn tell(&mut self, host: &HostName, command: TrackerCommand) {
        if let Some(host) = self.numbers.known(host) {
            self.tell_at(host, command);
        }
    }

    /// The same by host number.
    pub(crate) fn tell_at(&mut self, host: HostNumber, command: TrackerCommand) {
        if let Some(Some(tracker)) = self.by_number.get_mut(host.index()) {
            tracker.commands.push(command);
            self.news.insert(host);
        }
    }

    /// Queues a command for all trackers. It goes out with the replies to their next heartbeats: nobody waits
    /// for it, and answering all at once would be a burst of load.
    pub(crate) fn tell_all(&mut self, command: &TrackerCommand) {
        for tracker in self.by_number.iter_mut().flatten() {
            tracker.commands.push(command.clone());
        }
    }

    /// Trackers that may get new attempts.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&HostName, &Tracker)> {
        self.iter().filter(|(_, tracker)| tracker.is_open())
    }

    /// Number of slots of those.
    pub(crate) fn open_slots(&self) -> usize {
        usize::try_from(self.idle.open_slots).unwrap_or(usize::MAX)
    }

    pub(crate) fn slots(&self) -> usize {
        self.n_slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One idle tracker with two slots, which have been offered to all jobs.
    fn idle() -> (Trackers, HostNumber) {
        let mut trackers = Trackers::default();
        let (host, rack): (HostName, RackName) = ("a".parse().unwrap(), RackName::default());
        let (number, rack_number) = (trackers.numbers.host(&host), trackers.numbers.rack(&rack));
        let (address, not_isolated) = (String::new(), None);
        let (incarnation, session, slots) = (1, 1, 2);
        let registration = Registration {
            host,
            number,
            rack,
            rack_number,
            address,
            incarnation,
            session,
            slots,
            not_isolated,
        };
        trackers.insert(Tracker::new(registration, Monotonic::default()));
        park(&mut trackers, number, true);
        assert_eq!(trackers.take_fresh(), BTreeSet::from([number]));
        (trackers, number)
    }

    fn park(trackers: &mut Trackers, host: HostNumber, parked: bool) {
        let parked = parked.then_some(Parked { to: ReplyTo(1), until: Monotonic::default() });
        trackers.at_mut(host).unwrap().parked = parked;
    }

    fn attempt() -> AttemptId {
        JobId { date: 20_261_122, ordinal: 1 }.task(TaskKind::Map, 0).attempt(0)
    }

    #[test]
    fn a_newer_heartbeat_alone_makes_no_slot_a_new_one() {
        let (mut trackers, host) = idle();
        park(&mut trackers, host, false);
        assert!(trackers.idle().is_empty());
        park(&mut trackers, host, true);
        assert_eq!(trackers.idle(), [(Reverse(2), host)]);
        assert!(trackers.take_fresh().is_empty(), "all jobs have declined these slots");
    }

    #[test]
    fn what_came_while_no_heartbeat_waited_makes_a_slot_a_new_one() {
        let (mut trackers, host) = idle();
        park(&mut trackers, host, false);
        trackers.begin_round();
        park(&mut trackers, host, true);
        assert_eq!(trackers.take_fresh().len(), 1, "some job has changed its mind meanwhile");

        trackers.at_mut(host).unwrap().occupy(attempt(), Occupied::Running);
        park(&mut trackers, host, false);
        trackers.at_mut(host).unwrap().free(attempt());
        park(&mut trackers, host, true);
        assert_eq!(trackers.take_fresh().len(), 1, "one slot more has come free");

        trackers.at_mut(host).unwrap().occupy(attempt(), Occupied::Running);
        trackers.at_mut(host).unwrap().free(attempt());
        park(&mut trackers, host, false);
        park(&mut trackers, host, true);
        assert_eq!(trackers.take_fresh().len(), 1, "it has not been offered yet");
    }
}
