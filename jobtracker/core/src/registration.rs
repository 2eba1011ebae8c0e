//! Trackers come and go. One that registers tells all it runs and holds, and the books are brought in
//! line with that; one that is silent for too long is lost, with what it ran and held.
//!
//! A registration may be late, or come twice, when its tracker has long gone on: nothing follows from what it says before
//! a heartbeat of its session comes. Only a tracker that has heard of this registration sends one, and then it is the
//! last that it sent. The registration before it, and what it led to, stands until then.

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

/// Slots of one tracker, at most.
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

    /// There is no room to journal what follows from it; that the tracker lives is no less true.
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

    /// Whether `other`, which bears the same name, is another living process. At the same address it
    /// can't be: the port was free for the new one. Otherwise it is, while it heartbeats in time.
    fn is_rival(&self, now: Now, other: &Tracker, request: &RegisterTracker) -> bool {
        let silence = now.monotonic.since(other.last_seen);
        let in_time = (self.heartbeat_interval() * 2).min(self.dead_after());
        other.incarnation != request.incarnation
            && other.address != request.address
            && silence < in_time
    }

    /// Puts the tracker in the place of the former bearer of the name; what that one held in slots stays so for now.
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

    /// A heartbeat of its session has come: what the registration of `host` said is so, and the last that there is.
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

    /// Goes on with the attempts that may still win, ends the others, and counts as lost what the
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

    /// Whether an attempt runs on `host` that may win.
    pub(crate) fn is_current(&self, host: &HostName, attempt: AttemptId) -> bool {
        let live = self.live(attempt.task.job).map_or(&[][..], |live| live.live(attempt.task));
        live.iter().any(|live| live.number == attempt.number && live.host == *host)
    }

    /// Takes up an attempt that this process did not launch, or had given up, if its task needs one: one that had been
    /// given up only where no other runs in its place.
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

    /// Finds winners' outputs again, and counts as lost those that should be there but are not.
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
            // What reduces said of it is of the time before.
            if let Some(live) = self.live_mut(winner.task.job) {
                live.fetch_reports.remove(&winner);
            }
            if moved {
                self.announce(winner);
            }
        }
        for output in outputs {
            // An output without a winner stays: the word of its success may be under way.
            let winner = self.durable.task(output.task).and_then(|entry| entry.winner.as_ref());
            if winner.is_some_and(|w| w.number != output.number || w.host != *host) {
                self.drop_output(host, output);
            }
        }
    }

    /// Winning map outputs on `host` that reduces may still want.
    fn outputs_on(&self, host: &HostName) -> Vec<AttemptId> {
        let held = self.held.on(host).map(|(job, map)| job.task(TaskKind::Map, map));
        let wanted = held.filter(|task| {
            self.durable.running(task.job).is_some_and(RunningEntry::needs_map_outputs)
        });
        let winner = |task| Some((task, self.durable.task(task)?.winner.as_ref()?));
        wanted.filter_map(winner).map(|(task, it)| task.attempt(it.number)).collect()
    }

    /// Tells the tracker which of its jobs are over: it may not have heard so before.
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

    /// When a tracker is lost if it stays silent. Of two intervals the longer one counts: it may be that it was told, when
    /// there were more trackers.
    fn dead_at(&self, at: HostNumber) -> Option<Monotonic> {
        let tracker = self.trackers.at(at)?;
        let as_told = self.settings.silence_of(tracker.interval);
        Some(tracker.last_seen + self.dead_after().max(as_told))
    }

    /// Loses one of the trackers that were silent for too long. Many may be at once, each with all it held: the others, and
    /// what else is due, do not wait for all of that.
    pub(crate) fn lose_one(&mut self, now: Now) {
        let Some(at) = self.dying.pop_first() else { return };
        // It may have been heard meanwhile.
        let is_dead = self.dead_at(at).is_some_and(|dead_at| dead_at <= now.monotonic);
        match self.trackers.at(at).map(|tracker| tracker.host.clone()) {
            Some(host) if is_dead => self.lose_tracker(now, &host),
            Some(_) => self.handle_silence(now, at),
            None => {}
        }
    }

    /// Everything that ran or lay on `host` is lost, until its tracker says otherwise.
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

    /// Whether most trackers were heard while one was not, whose silence began then and lasts. Where most fell silent with it
    /// it is the network between them and the JobTracker, or this one's own host, and not theirs.
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
        // The one that is lost now is among the lost.
        (n_silent + n_lost) * 2 <= self.trackers.len() + n_lost
    }

    /// A while after a start: what is still not reported is lost. (A tracker that has registered just now has still to say
    /// what it holds.)
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

    /// Winners of an earlier term whose outputs reduces still need are not taken for lost at once.
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

/// What a registration says, and what was known before; of several that came to nothing, before the first of them.
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
