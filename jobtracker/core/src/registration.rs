//! Trackers come and go. A tracker that registers reports all that it runs and holds, and the state
//! here is reconciled with that; one that is silent for too long is lost, with all that it ran and
//! held.
//!
//! A registration may arrive late, or twice, when its tracker has long moved on. So what it reports
//! takes effect only when a heartbeat of its session arrives: only a tracker that has had the reply
//! to this registration sends one, and then this registration is its latest. Until then the
//! previous registration and its effects stand.

use std::collections::{BTreeMap, BTreeSet};

use ids::{HostName, Monotonic, Now, UnixMillis};
use mapreduce_protocol::{
    AILMENT_BYTES_MAX, AttemptId, JobId, PROTOCOL_VERSION, RegisterTracker, Strike, TaskKind,
    TrackerCommand, TrackerRegistered,
};

use crate::bounds::cut;
use crate::job::LiveJob;
use crate::machine::{Core, Fifo};
use crate::messages::{Effect, Notice, Reply, ReplyTo};
use crate::numbers::HostNumber;
use crate::refusal::Refusal;
use crate::running::RunningEntry;
use crate::task::{ATTEMPTS_AT_ONCE, LiveAttempt};
use crate::timers::Timer;
use crate::trackers::{Occupied, Registration, Tracker, Unconfirmed};

/// Limit on the slots of one tracker.
pub const SLOTS_MAX: u32 = 4096;

impl Core {
    pub(crate) fn handle_register(
        &mut self,
        now: Now,
        request: &RegisterTracker,
        reply_to: ReplyTo,
    ) {
        if let Err(refusal) = self.check_registration(now, request) {
            return self.refuse_with(reply_to, refusal);
        }
        let host = request.host.clone();
        let session = self.trackers.next_session();
        self.come_up(now, request, session);
        self.note_joined(&host, request.running.is_empty());
        let at = self.trackers.numbers.host(&host);
        self.timers.set(now.monotonic + self.dead_after(), Timer::Silence(at));
        self.unsettled = true;
        self.effect(Effect::Tell(Notice::TrackerRegistered {
            host,
            address: request.address.clone(),
            slots: request.slots,
            running: request.running.len(),
        }));
        let registered = TrackerRegistered {
            cluster: self.settings.cluster.clone(),
            epoch: self.epoch(),
            session,
            heartbeat_interval_ms: self.heartbeat_interval_ms(),
        };
        self.reply(reply_to, Reply::Registered(registered));
    }

    /// The journal has no room for what the registration leads to; still, the tracker is alive.
    pub(crate) fn refuse_registration(&mut self, request: &RegisterTracker) {
        if let Some(mut tracker) = self.trackers.get_mut(&request.host) {
            tracker.refused |=
                tracker.address == request.address || tracker.incarnation == request.incarnation;
        }
    }

    fn check_registration(&self, now: Now, request: &RegisterTracker) -> Result<(), Refusal> {
        let host = request.host.clone();
        if request.protocol != PROTOCOL_VERSION {
            return Err(Refusal::WrongProtocol { host, theirs: request.protocol });
        }
        let ours = &self.settings.cluster;
        if let Some(theirs) = request.cluster.as_ref().filter(|theirs| *theirs != ours) {
            let (theirs, ours) = (theirs.clone(), ours.clone());
            return Err(Refusal::WrongCluster { host, theirs, ours });
        }
        if !(1..=SLOTS_MAX).contains(&request.slots) {
            return Err(Refusal::BadSlots { host, slots: request.slots });
        }
        match self.trackers.get(&host) {
            Some(other) if self.is_rival(now, other, request) => {
                Err(Refusal::HostNameTaken { host, address: other.address.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether `other`, registered under the same name, is another live process. At the same
    /// address it cannot be, as the port was free for the new one; elsewhere it is, as long as it
    /// heartbeats in time.
    fn is_rival(&self, now: Now, other: &Tracker, request: &RegisterTracker) -> bool {
        let silence = now.monotonic.since(other.last_seen);
        let in_time = (self.heartbeat_interval() * 2).min(self.dead_after());
        other.incarnation != request.incarnation
            && other.address != request.address
            && silence < in_time
    }

    /// Replaces the tracker registered under this name; its occupied slots stay so for now.
    fn come_up(&mut self, now: Now, request: &RegisterTracker, session: u64) {
        let host = &request.host;
        if let Some(parked) = self.trackers.get(host).and_then(|tracker| tracker.parked) {
            self.unpark(parked.to);
            self.refuse_with(parked.to, Refusal::NotRegistered { host: host.clone() });
        }
        let before = self.trackers.remove(host);
        let number = self.trackers.numbers.host(host);
        let registration = Registration {
            host: host.clone(),
            number,
            rack: request.rack.clone(),
            rack_number: self.trackers.numbers.rack(&request.rack),
            address: request.address.clone(),
            incarnation: request.incarnation,
            session,
            slots: request.slots,
            not_isolated: request.not_isolated.clone().map(|why| cut(why, AILMENT_BYTES_MAX)),
        };
        let mut tracker = Tracker::new(registration, now.monotonic);
        let lost = self.trackers.lost_one(now.monotonic, host);
        if let Some(before) = before.as_ref() {
            tracker.inherit(before);
            (tracker.last_seen, tracker.silent, tracker.refused) =
                (before.last_seen, before.silent, before.refused);
        } else if let Some(lost) = lost {
            tracker.last_seen = lost.last_seen;
        }
        tracker.heard(now.monotonic, self.long_silence());
        tracker.unconfirmed = Some(unconfirmed(request, before.as_ref()));
        tracker.set_aside = self.standing.until(host);
        tracker.drained = self.durable.is_drained(host);
        let open = (before.as_ref().is_some_and(Tracker::is_open), tracker.is_open());
        self.trackers.insert(tracker);
        for live in self.jobs.values_mut() {
            live.listeners.remove(&number);
            match open {
                (false, true) => live.on_host_open(number),
                (true, false) => live.on_host_closed(number, &self.trackers),
                (true, true) | (false, false) => {}
            }
        }
        self.review_hosts(now);
    }

    /// A heartbeat of the session has arrived: the registration of `host` is confirmed, and is the
    /// latest.
    pub(crate) fn take_over(&mut self, now: Now, host: &HostName) {
        let Some(mut tracker) = self.trackers.get_mut(host) else { return };
        let Some(said) = tracker.unconfirmed.take() else { return };
        let (before, incarnation) = (tracker.free_all(), tracker.incarnation);
        drop(tracker);
        if said.incarnation_before != Some(incarnation) {
            self.on_tracker_restarted(host);
            self.review_hosts(now);
        }
        self.take_over_running(now, host, &said.running, before);
        self.take_over_outputs(host, &said.map_outputs, said.address_before.as_ref());
        let reported = said.running.iter().chain(&said.map_outputs).map(|it| it.task.job);
        self.purge_ended(host, reported.chain(said.jobs).collect());
        self.has_told(host);
        self.unsettled = true;
    }

    /// Keeps attempts that may still win, ends the others, and counts as lost those that the
    /// tracker should run but does not.
    fn take_over_running(
        &mut self,
        now: Now,
        host: &HostName,
        running: &[AttemptId],
        before: BTreeMap<AttemptId, Occupied>,
    ) {
        for attempt in running {
            let wanted = self.is_current(host, *attempt) || self.adopt(now, host, *attempt);
            let why = match before.get(attempt) {
                _ if wanted => Occupied::Running,
                Some(ending @ Occupied::Ending { .. }) => *ending,
                Some(Occupied::Running) | None => Occupied::Ending { since: now.monotonic },
            };
            if let Some(mut tracker) = self.trackers.get_mut(host) {
                tracker.occupy(*attempt, why);
            }
            if !wanted {
                let reason = "another attempt runs in its place, or none is needed".to_owned();
                let command = TrackerCommand::Kill { attempt: *attempt, reason };
                self.trackers.tell(host, command);
            }
        }
        let running: BTreeSet<_> = running.iter().copied().collect();
        for attempt in before.into_keys().filter(|it| !running.contains(it)) {
            self.on_attempt_lost(attempt, "its TaskTracker does not run it any more");
        }
    }

    /// Whether `attempt` runs on `host` and may win.
    pub(crate) fn is_current(&self, host: &HostName, attempt: AttemptId) -> bool {
        let live = self.live(attempt.task.job).map_or(&[][..], |live| live.live(attempt.task));
        live.iter().any(|live| live.number == attempt.number && live.host == *host)
    }

    /// Adopts an attempt that an earlier process launched, or that had been given up, if its task
    /// needs one. One that had been given up is adopted only if no other runs in its place.
    fn adopt(&mut self, now: Now, host: &HostName, attempt: AttemptId) -> bool {
        let task = attempt.task;
        if self.is_undone(attempt) {
            return false;
        }
        let needed = self.durable.task(task).is_some_and(|entry| {
            let number = attempt.number;
            entry.winner.is_none() && !entry.failed(number) && !entry.lost(number)
        });
        let came_back =
            self.durable.task(task).is_some_and(|entry| entry.is_given_up(attempt.number));
        let place = self.place(task, host);
        let Some(live) = self.live_mut(task.job) else { return false };
        let beside = live.live(task);
        let has_room = match came_back {
            true => beside.is_empty(),
            false => {
                beside.len() < ATTEMPTS_AT_ONCE && beside.iter().all(|other| other.host != *host)
            }
        };
        let free = has_room && live.may_have_launched(attempt) && !live.committing;
        if needed && free {
            let new = LiveAttempt::new(attempt.number, host.clone(), now, place);
            live.add_live(
                task,
                LiveAttempt { came_back, adopted: true, began_at: UnixMillis(0), ..new },
            );
            self.watch(now, task.job);
        }
        needed && free
    }

    /// Confirms winners' outputs that are still there, and counts as lost those that should be but
    /// are not.
    fn take_over_outputs(
        &mut self,
        host: &HostName,
        outputs: &[AttemptId],
        address_before: Option<&String>,
    ) {
        let outputs: BTreeSet<_> = outputs.iter().copied().collect();
        let address = self.trackers.get(host).map(|tracker| tracker.address.clone());
        let moved = address_before != address.as_ref();
        for winner in self.outputs_on(host) {
            if !outputs.contains(&winner) {
                self.on_output_lost(winner);
                continue;
            }
            // Reports of fetch failures are from before the registration.
            if let Some(live) = self.live_mut(winner.task.job) {
                live.fetch_reports.remove(&winner);
            }
            if moved {
                self.announce(winner);
            }
        }
        for output in outputs {
            // Keep an output without a winner: the report of its success may be in flight.
            let winner = self.durable.task(output.task).and_then(|entry| entry.winner.as_ref());
            if winner.is_some_and(|w| w.number != output.number || w.host != *host) {
                self.drop_output(host, output);
            }
        }
    }

    /// Winning map outputs on `host` that reduces may still need.
    fn outputs_on(&self, host: &HostName) -> Vec<AttemptId> {
        let held = self.held.on(host).map(|(job, map)| job.task(TaskKind::Map, map));
        let wanted = held.filter(|task| {
            self.durable.running(task.job).is_some_and(RunningEntry::needs_map_outputs)
        });
        let winner = |task| Some((task, self.durable.task(task)?.winner.as_ref()?));
        wanted.filter_map(winner).map(|(task, it)| task.attempt(it.number)).collect()
    }

    /// Tells the tracker which of its jobs are over, as it may not have heard.
    fn purge_ended(&mut self, host: &HostName, jobs: BTreeSet<JobId>) {
        for job in jobs {
            if self.live(job).is_none() {
                self.trackers.tell(host, TrackerCommand::Purge { job });
            }
        }
    }

    pub(crate) fn handle_silence(&mut self, now: Now, at: HostNumber) {
        let Some(mut tracker) = self.trackers.at_mut(at) else { return };
        if std::mem::take(&mut tracker.refused) {
            tracker.last_seen = now.monotonic;
        }
        drop(tracker);
        match self.dead_at(at).filter(|dead_at| *dead_at > now.monotonic) {
            Some(dead_at) => self.timers.set(dead_at, Timer::Silence(at)),
            None => drop(self.dying.insert(at)),
        }
    }

    /// When a tracker is lost if it stays silent. The longer of two intervals counts: the present
    /// one, and the one the tracker was last told, when there may have been more trackers.
    fn dead_at(&self, at: HostNumber) -> Option<Monotonic> {
        let tracker = self.trackers.at(at)?;
        let as_told = self.settings.silence_of(tracker.interval);
        Some(tracker.last_seen + self.dead_after().max(as_told))
    }

    /// Declares one of the silent trackers lost. Many may be due at once, each with all that it
    /// held: other trackers and other timers do not wait for all of them.
    pub(crate) fn lose_one(&mut self, now: Now) {
        let Some(at) = self.dying.pop_first() else { return };
        // It may have been heard of meanwhile.
        let is_dead = self.dead_at(at).is_some_and(|dead_at| dead_at <= now.monotonic);
        match self.trackers.at(at).map(|tracker| tracker.host.clone()) {
            Some(host) if is_dead => self.lose_tracker(now, &host),
            Some(_) => self.handle_silence(now, at),
            None => {}
        }
    }

    /// All that ran or was kept on `host` is lost, until its tracker reports otherwise.
    fn lose_tracker(&mut self, now: Now, host: &HostName) {
        if let Some(parked) = self.trackers.get(host).and_then(|tracker| tracker.parked) {
            self.unpark(parked.to);
            self.refuse_with(parked.to, Refusal::NotRegistered { host: host.clone() });
        }
        let Some(tracker) = self.trackers.remove(host) else { return };
        self.trackers.note_lost(now.monotonic, host.clone(), &tracker);
        for live in self.jobs.values_mut() {
            live.listeners.remove(&tracker.number);
            live.on_host_closed(tracker.number, &self.trackers);
            live.reduce_inputs.forget(tracker.number);
        }
        for attempt in tracker.occupied().keys() {
            self.on_attempt_lost(
                *attempt,
                "its TaskTracker was lost: it ended, or was silent for too long",
            );
        }
        let lost = self.outputs_on(host);
        let (attempts, map_outputs) = (tracker.occupied().len(), lost.len());
        for winner in lost {
            self.on_output_lost(winner);
        }
        self.unsettled = true;
        self.note_gone(host);
        self.has_told(host);
        if self.silence_is_its_own(now.monotonic, tracker.last_seen) {
            self.strike(now, host, Strike::Silence);
        } else {
            self.review_hosts(now);
        }
        let host = host.clone();
        self.effect(Effect::Tell(Notice::TrackerLost { host, attempts, map_outputs }));
    }

    /// Whether most trackers were heard of during this tracker's silence, which began at `since`
    /// and lasts. If most fell silent with it, the cause is the network, or the JobTracker's own
    /// host, and not the tracker.
    fn silence_is_its_own(&self, now: Monotonic, since: Monotonic) -> bool {
        let long = self.long_silence();
        let with_it = |from: Monotonic, to: Monotonic| {
            from.since(since).max(since.since(from)) <= long && to.since(from) >= long
        };
        let was_silent = |it: &Tracker| {
            with_it(it.last_seen, now) || it.silent.is_some_and(|(from, to)| with_it(from, to))
        };
        let n_silent = self.trackers.iter().filter(|(_, tracker)| was_silent(tracker)).count();
        let n_lost = self.trackers.lost(now).filter(|(_, it)| with_it(it.last_seen, now)).count();
        // The tracker being lost is counted among the lost.
        (n_silent + n_lost) * 2 <= self.trackers.len() + n_lost
    }

    /// A while after a start, map outputs still unreported are lost, unless their host's tracker
    /// has just registered and is about to report them.
    pub(crate) fn handle_unreported(&mut self, now: Now) {
        let unreported = |live: &LiveJob| {
            let (id, maps) = (live.id, live.unreported.clone());
            maps.into_iter().map(move |map| id.task(TaskKind::Map, map))
        };
        for task in self.jobs.values().flat_map(unreported).collect::<Vec<_>>() {
            let winner = self.durable.task(task).and_then(|entry| entry.winner.as_ref());
            let lost = winner.filter(|winner| !self.trackers.is_live(&winner.host));
            if let Some(number) = lost.map(|winner| winner.number) {
                self.on_output_lost(task.attempt(number));
            }
        }
        self.await_no_longer(now);
    }

    /// Gives trackers time to report outputs of an earlier term that reduces still need.
    pub(crate) fn expect_outputs(&mut self, job: JobId) {
        let Some(entry) = self.durable.running(job).filter(|e| e.needs_map_outputs()) else {
            return;
        };
        let won = (0..).zip(&entry.maps).filter(|(_, map)| map.winner.is_some());
        let unreported = won.map(|(index, _)| index).collect();
        if let Some(live) = self.jobs.get_mut(&Fifo::of(job)) {
            live.unreported = unreported;
        }
    }
}

/// What a registration reports, and the address and process before it; after several unconfirmed
/// ones, those before the first of them.
fn unconfirmed(request: &RegisterTracker, before: Option<&Tracker>) -> Unconfirmed {
    let unheeded = before.and_then(|it| it.unconfirmed.as_ref());
    let known = (before.map(|it| it.address.clone()), before.map(|it| it.incarnation));
    let (address_before, incarnation_before) = match unheeded {
        Some(it) => (it.address_before.clone(), it.incarnation_before),
        None => known,
    };
    Unconfirmed {
        running: request.running.clone(),
        map_outputs: request.map_outputs.clone(),
        jobs: request.jobs.clone(),
        address_before,
        incarnation_before,
    }
}
