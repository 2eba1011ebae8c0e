//! The TaskTrackers that are registered and alive: soft state, lost with the process and told anew by
//! the trackers. What a heartbeat leads to is in `heartbeat`, who gets which task in `schedule`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use ids::{HeartbeatNumber, HostName, Inbox, Monotonic, Outbox, RackName};
use mapreduce_protocol::{Ailment, AttemptId, JobId, TaskKind, TrackerCommand};

use crate::messages::ReplyTo;

/// How long a tracker that is lost is told of.
const LOST_KEPT: Duration = Duration::from_hours(24);
/// Lost trackers that are told of, at most.
const LOST_MAX: usize = 10_000;

/// One registered tracker.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) rack: RackName,
    pub(crate) address: String,
    pub(crate) incarnation: u64,
    pub(crate) session: u64,
    pub(crate) slots: u32,
    pub(crate) last_seen: Monotonic,
    /// When it was silent for long, the last time: from when, and until when.
    pub(crate) silent: Option<(Monotonic, Monotonic)>,
    /// What its registration said, until a heartbeat shows that the tracker knows it was taken.
    pub(crate) said: Option<Said>,
    /// Whether it was refused since then for want of room in the journal: it lives.
    pub(crate) refused: bool,
    pub(crate) last_number: HeartbeatNumber,
    pub(crate) inbox: Inbox,
    pub(crate) commands: Outbox<TrackerCommand>,
    pub(crate) cursors: BTreeMap<JobId, u64>,
    pub(crate) parked: Option<Parked>,
    /// What is wrong with its host.
    pub(crate) ailments: Vec<Ailment>,
    /// Until when it is set aside for all jobs, if it is.
    pub(crate) set_aside: Option<Monotonic>,
    /// Whether somebody wants to stop it.
    pub(crate) drained: bool,
    occupied: BTreeMap<AttemptId, Occupied>,
    /// How it stands in [`Idle`].
    entered: Entry,
}

/// What [`Idle`] knows of one tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Slots that it has free and would be given attempts for now, if its heartbeat waits.
    free: u32,
    /// Its slots, if it is given new attempts at all.
    open_slots: u32,
    /// Reduces on those.
    open_reduces: u32,
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
    /// Its attempt was told to end and has not reported it yet.
    Ending,
}

/// What a registration says that nothing follows from yet.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) running: Vec<AttemptId>,
    pub(crate) map_outputs: Vec<AttemptId>,
    /// Where reduces were told that its outputs are.
    pub(crate) address_before: Option<String>,
    /// The process that was here before.
    pub(crate) incarnation_before: Option<u64>,
}

/// What a registration says of a tracker.
pub(crate) struct Registration {
    pub(crate) rack: RackName,
    pub(crate) address: String,
    pub(crate) incarnation: u64,
    pub(crate) session: u64,
    pub(crate) slots: u32,
}

impl Tracker {
    pub(crate) fn new(said: Registration, now: Monotonic) -> Self {
        Self {
            rack: said.rack,
            address: said.address,
            incarnation: said.incarnation,
            session: said.session,
            slots: said.slots,
            last_seen: now,
            silent: None,
            said: None,
            refused: false,
            last_number: HeartbeatNumber(0),
            inbox: Inbox::default(),
            commands: Outbox::default(),
            cursors: BTreeMap::new(),
            parked: None,
            ailments: Vec::new(),
            set_aside: None,
            drained: false,
            occupied: BTreeMap::new(),
            entered: Entry::default(),
        }
    }

    /// Whether it is given new attempts at all.
    pub(crate) fn is_open(&self) -> bool {
        self.ailments.is_empty() && self.set_aside.is_none() && !self.drained
    }

    /// Whether a new attempt may begin there now.
    pub(crate) fn takes_one_more(&self) -> bool {
        self.is_open() && self.free_slots() > 0
    }

    pub(crate) fn free_slots(&self) -> usize {
        (self.slots as usize).saturating_sub(self.occupied.len())
    }

    pub(crate) fn occupied(&self) -> &BTreeMap<AttemptId, Occupied> {
        &self.occupied
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.occupied.values().any(|why| *why == Occupied::Ending)
    }

    /// Reduces that hold slots there.
    pub(crate) fn n_reduces(&self) -> usize {
        self.occupied.keys().filter(|attempt| attempt.task.kind == TaskKind::Reduce).count()
    }

    fn entry(&self) -> Entry {
        if !self.is_open() {
            return Entry::default();
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let free = if self.parked.is_some() { count(self.free_slots()) } else { 0 };
        Entry { free, open_slots: self.slots, open_reduces: count(self.n_reduces()) }
    }

    /// It is heard; a silence of at least `long` is remembered.
    pub(crate) fn heard(&mut self, now: Monotonic, long: Duration) {
        let was_refused = std::mem::take(&mut self.refused);
        let before = std::mem::replace(&mut self.last_seen, now);
        if !was_refused && now.since(before) >= long {
            self.silent = Some((before, now));
        }
    }

    /// Takes over what the tracker that was here before holds in slots.
    pub(crate) fn inherit(&mut self, before: &Self) {
        self.occupied.clone_from(&before.occupied);
    }

    /// Frees all slots; what held them.
    pub(crate) fn free_all(&mut self) -> BTreeMap<AttemptId, Occupied> {
        std::mem::take(&mut self.occupied)
    }

    pub(crate) fn occupy(&mut self, attempt: AttemptId, why: Occupied) {
        self.occupied.insert(attempt, why);
    }

    pub(crate) fn free(&mut self, attempt: AttemptId) {
        self.occupied.remove(&attempt);
    }
}

/// What is remembered of a tracker that was silent for too long.
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

/// The trackers that could be given attempts now, and how many all of them run: kept up to date with each change, so that
/// nobody has to look at all trackers for each slot.
#[derive(Debug, Default)]
struct Idle {
    /// Those with most free slots first.
    by_free: BTreeSet<(Reverse<u32>, HostName)>,
    /// Those that have had a slot more since they were offered to all jobs.
    fresh: BTreeSet<HostName>,
    open_slots: u64,
    open_reduces: u64,
}

impl Idle {
    fn change(&mut self, host: &HostName, before: Entry, now: Entry) {
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
            self.by_free.remove(&(Reverse(before.free), host.clone()));
        }
        if now.free > 0 {
            self.by_free.insert((Reverse(now.free), host.clone()));
        }
        if now.free > before.free {
            self.fresh.insert(host.clone());
        }
    }
}

/// A tracker that is being changed.
pub(crate) struct TrackerMut<'a> {
    host: &'a HostName,
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
        let (before, now) = (self.tracker.entered, self.tracker.entry());
        self.idle.change(self.host, before, now);
        self.tracker.entered = now;
    }
}

/// All registered trackers by host.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    by_host: BTreeMap<HostName, Tracker>,
    /// Those that are lost and have not come back.
    lost: BTreeMap<HostName, LostTracker>,
    /// Who may have something to be told.
    pub(crate) news: BTreeSet<HostName>,
    sessions: u64,
    /// Slots of all of them.
    n_slots: usize,
    idle: Idle,
}

impl Trackers {
    pub(crate) fn get(&self, host: &HostName) -> Option<&Tracker> {
        self.by_host.get(host)
    }

    pub(crate) fn get_mut<'a>(&'a mut self, host: &'a HostName) -> Option<TrackerMut<'a>> {
        let tracker = self.by_host.get_mut(host)?;
        Some(TrackerMut { host, tracker, idle: &mut self.idle })
    }

    /// Trackers that could be given an attempt now, those with most free slots first.
    pub(crate) fn idle(&self) -> Vec<(Reverse<u32>, HostName)> {
        self.idle.by_free.iter().cloned().collect()
    }

    /// The same of these alone.
    pub(crate) fn idle_among(&self, hosts: &BTreeSet<HostName>) -> Vec<(Reverse<u32>, HostName)> {
        let all = hosts.iter().map(|host| (Reverse(self.free_now(host)), host.clone()));
        let mut idle: Vec<_> = all.filter(|(free, _)| free.0 > 0).collect();
        idle.sort_unstable();
        idle
    }

    /// Slots that could be given attempts now.
    pub(crate) fn n_idle(&self) -> u32 {
        self.idle.by_free.iter().map(|(free, _)| free.0).sum()
    }

    /// Attempts that it could be given now.
    pub(crate) fn free_now(&self, host: &HostName) -> u32 {
        self.get(host).map_or(0, |tracker| tracker.entered.free)
    }

    /// Trackers that have had a slot more since this was called last.
    pub(crate) fn take_fresh(&mut self) -> BTreeSet<HostName> {
        std::mem::take(&mut self.idle.fresh)
    }

    /// Whether one more reduce leaves a slot for the maps that wait; a single slot can't be left.
    pub(crate) fn leaves_room(&self) -> bool {
        self.idle.open_slots == 1 || self.idle.open_reduces + 1 < self.idle.open_slots
    }

    pub(crate) fn is_live(&self, host: &HostName) -> bool {
        self.by_host.contains_key(host)
    }

    /// Whether a tracker is there that is given new attempts.
    pub(crate) fn is_open(&self, host: &HostName) -> bool {
        self.by_host.get(host).is_some_and(Tracker::is_open)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HostName, &Tracker)> {
        self.by_host.iter()
    }

    /// Counts none of the last `pause` as silence.
    pub(crate) fn pardon(&mut self, now: Monotonic, pause: Duration) {
        for tracker in self.by_host.values_mut() {
            tracker.last_seen = (tracker.last_seen + pause).min(now);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_host.len()
    }

    pub(crate) fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    pub(crate) fn insert(&mut self, host: &HostName, tracker: Tracker) {
        self.lost.remove(host);
        self.n_slots += tracker.slots as usize;
        let before = self.by_host.insert(host.clone(), tracker);
        assert!(before.is_none(), "{host} was registered all the while");
        drop(self.get_mut(host));
    }

    /// Remembers for a while that a tracker was there.
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

    /// A tracker that was there within a day, and is lost.
    pub(crate) fn lost_one(&self, now: Monotonic, host: &HostName) -> Option<&LostTracker> {
        self.lost.get(host).filter(|lost| lost.is_remembered(now))
    }

    /// Trackers that were there within a day, and are lost.
    pub(crate) fn lost(&self, now: Monotonic) -> impl Iterator<Item = (&HostName, &LostTracker)> {
        self.lost.iter().filter(move |(_, lost)| lost.is_remembered(now))
    }

    pub(crate) fn remove(&mut self, host: &HostName) -> Option<Tracker> {
        self.news.remove(host);
        let removed = self.by_host.remove(host)?;
        self.n_slots -= removed.slots as usize;
        self.idle.change(host, removed.entered, Entry::default());
        self.idle.fresh.remove(host);
        Some(removed)
    }

    /// Queues a command, if the tracker is there.
    pub(crate) fn tell(&mut self, host: &HostName, command: TrackerCommand) {
        if let Some(tracker) = self.by_host.get_mut(host) {
            tracker.commands.push(command);
            self.news.insert(host.clone());
        }
    }

    pub(crate) fn tell_all(&mut self, command: &TrackerCommand) {
        for (host, tracker) in &mut self.by_host {
            tracker.commands.push(command.clone());
            self.news.insert(host.clone());
        }
    }

    /// Those that are given new attempts.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&HostName, &Tracker)> {
        self.iter().filter(|(_, tracker)| tracker.is_open())
    }

    /// Slots of those.
    pub(crate) fn open_slots(&self) -> usize {
        self.open().map(|(_, tracker)| tracker.slots as usize).sum()
    }

    pub(crate) fn slots(&self) -> usize {
        self.n_slots
    }
}
