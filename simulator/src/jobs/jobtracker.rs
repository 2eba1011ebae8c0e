//! The JobTracker's shell in this world: the real core over a journal that is a list. As in the
//! daemon's loop, records are appended in order, one sync runs at a time, and the effects of an
//! input leave when the last record before them is on disk, replies to reads included. A crash
//! keeps what was synced, and a random part of the rest; the next process is the fold of that.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ids::{Epoch, Monotonic, Room};
use jobtracker_core::{
    Core, Durable, Effect, Input, Output, Record, Reply, ReplyTo, Settings, StoreEffect,
};
use mapreduce_protocol::{RegisterTracker, TrackerHeartbeat};

use crate::jobs::ground::{Answer, Ask, CallId, Event, Who, tracker_on};
use crate::jobs::invariants::Sent;
use crate::jobs::sabotage::{self, Planted, Sabotage};
use crate::jobs::scene::Scene;
use crate::jobs::store::Fails;

/// Number of inputs between two checks of the core's own invariants.
const CHECK_EVERY: u64 = 25;

#[derive(Clone, Copy, Debug)]
struct Asked {
    from: Who,
    call: CallId,
}

/// Effects waiting for a sync, with the withdrawals before them.
struct Untold {
    after: usize,
    effects: Vec<Effect>,
    withdrawn: (Epoch, usize),
}

/// The JobTracker's machine, whose journal outlives its process.
pub(crate) struct JobTracker {
    pub(crate) settings: Settings,
    sabotage: Option<Sabotage>,
    pub(crate) life: u32,
    pub(crate) core: Option<Core>,
    journal: Vec<Record>,
    n_synced: usize,
    is_syncing: bool,
    untold: VecDeque<Untold>,
    asked: BTreeMap<ReplyTo, Asked>,
    next_reply: u64,
    /// Chunk store calls in flight.
    calls: BTreeMap<u64, Effect>,
    next_call: u64,
    n_inputs: u64,
    timer: Option<Monotonic>,
    room: Room,
    /// Longest duration of a sync, milliseconds.
    sync_millis: u64,
    /// How often the power fails between two records, in 1000, and where it has.
    tears: u64,
    torn_at: Option<usize>,
    /// The registration or heartbeat that is being handled.
    registering: Option<(ReplyTo, Box<RegisterTracker>)>,
    sent: Option<(ReplyTo, Sent)>,
    planted: Planted,
}

impl JobTracker {
    /// A machine with the journal of a new cluster.
    pub(crate) fn new(
        settings: Settings,
        (sync_millis, tears): (u64, u64),
        sabotage: Option<Sabotage>,
    ) -> Self {
        let cluster = settings.cluster.clone();
        let journal = vec![Record::Initialised { cluster, former_journals: 0 }];
        Self {
            settings,
            sabotage,
            life: 0,
            core: None,
            n_synced: journal.len(),
            journal,
            is_syncing: false,
            untold: VecDeque::new(),
            asked: BTreeMap::new(),
            next_reply: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            n_inputs: 0,
            timer: None,
            room: Room::Ample,
            sync_millis,
            tears,
            torn_at: None,
            registering: None,
            sent: None,
            planted: Planted::default(),
        }
    }

    /// The process starts; its state is the fold of its journal.
    pub(crate) fn start(&mut self, scene: &mut Scene) {
        if self.core.is_some() {
            return;
        }
        let now = scene.ground.now().monotonic;
        scene.watch.started_at = now;
        scene.watch.runs_since = now.max(scene.watch.runs_since);
        scene.ground.say(format_args!("jobtracker starts over {} records", self.journal.len()));
        self.core = Some(Core::new(self.settings.clone(), self.fold()));
        self.handle(scene, Input::Start);
    }

    fn fold(&self) -> Durable {
        let mut durable = Durable::default();
        for record in &self.journal {
            let is_forgotten = self.sabotage == Some(Sabotage::TermForgotten)
                && matches!(record, Record::Started { epoch } if epoch.0 > 1);
            let is_forgotten = is_forgotten
                || (self.sabotage == Some(Sabotage::MembersForgotten)
                    && matches!(record, Record::TrackerJoined { .. }));
            if !is_forgotten {
                durable.apply(record);
            }
        }
        durable
    }

    /// The process ends, as by SIGKILL or a power failure.
    pub(crate) fn crash(&mut self, scene: &mut Scene) {
        if self.core.is_none() {
            return;
        }
        self.check_fold(scene);
        self.core = None;
        let some = scene.ground.random.within(self.n_synced..self.journal.len() + 1);
        let kept = self.torn_at.take().unwrap_or(some);
        scene.ground.say(format_args!(
            "jobtracker crashes: {} records, {} synced, {kept} kept",
            self.journal.len(),
            self.n_synced
        ));
        self.journal.truncate(kept);
        self.n_synced = kept;
        self.is_syncing = false;
        self.untold.clear();
        for Asked { from, call } in std::mem::take(&mut self.asked).into_values() {
            scene.ground.refuse(from, call);
        }
        self.timer = None;
        self.planted = Planted::default();
        // Calls in flight may or may not take effect; nobody repeats them.
        for call in std::mem::take(&mut self.calls).into_values() {
            if scene.ground.random.chance(500) {
                scene.carry_out(&call, None);
            }
        }
        self.life += 1;
        scene.watch.see_crash(&self.journal);
    }

    /// Checks that the state is the fold of the records.
    pub(crate) fn check_fold(&self, scene: &mut Scene) {
        if let Some(core) = &self.core
            && self.sabotage.is_none()
        {
            scene.watch.check_fold(core, &self.fold());
        }
    }

    /// A request arrives.
    pub(crate) fn receive(&mut self, scene: &mut Scene, (from, call): (Who, CallId), ask: Ask) {
        if self.core.is_none() {
            return scene.ground.refuse(from, call);
        }
        self.next_reply += 1;
        let reply_to = ReplyTo(self.next_reply);
        self.asked.insert(reply_to, Asked { from, call });
        let input = match ask {
            Ask::Register(request) => return self.receive_registration(scene, request, reply_to),
            Ask::Heartbeat(heartbeat) => return self.receive_heartbeat(scene, heartbeat, reply_to),
            Ask::Submit { spec, key } => {
                Input::Submit { owner: String::new(), spec, key: Some(key), reply_to }
            }
            Ask::Kill(job) => {
                scene.watch.see_kill(job);
                Input::Kill { job, reply_to }
            }
            Ask::SetPriority(job, priority) => Input::SetPriority { job, priority, reply_to },
            Ask::EndAttempt(attempt, counts) => Input::EndAttempt { attempt, counts, reply_to },
            Ask::Pause(job, kill) => Input::Pause { job, kill, reply_to },
            Ask::Resume(job) => Input::Resume { job, reply_to },
            Ask::Pool(pool, verb) => Input::Pool { pool: pool.to_owned(), verb, reply_to },
            Ask::Drain(host, kill) => Input::Drain { host, kill, reply_to },
            Ask::Undrain(host) => Input::Undrain { host, reply_to },
            Ask::Query(query) => Input::Query { query, reply_to },
        };
        self.handle(scene, input);
    }

    fn receive_registration(
        &mut self,
        scene: &mut Scene,
        request: Box<RegisterTracker>,
        reply_to: ReplyTo,
    ) {
        let host = request.host.clone();
        self.registering = Some((reply_to, request.clone()));
        self.handle(scene, Input::RegisterTracker { request, reply_to });
        let present = scene.watch.present(tracker_on(&host));
        let is_heeded = self.sabotage == Some(Sabotage::RegistrationHeeded);
        if let Some(present) = present.filter(|_| is_heeded) {
            let heartbeat = Box::new(sabotage::first_heartbeat(host, present));
            self.handle(scene, Input::Heartbeat { heartbeat, reply_to: ReplyTo(0) });
        }
    }

    fn receive_heartbeat(
        &mut self,
        scene: &mut Scene,
        mut heartbeat: Box<TrackerHeartbeat>,
        reply_to: ReplyTo,
    ) {
        let TrackerHeartbeat { epoch, session, .. } = *heartbeat;
        let tracker = tracker_on(&heartbeat.host);
        let is_old_welcome = self.sabotage == Some(Sabotage::OldEpochAccepted);
        if let Some(present) = scene.watch.present(tracker).filter(|_| is_old_welcome) {
            (heartbeat.epoch, heartbeat.session) = present;
        }
        self.sent = Some((reply_to, Sent { tracker, epoch, session }));
        if self.sabotage == Some(Sabotage::LostTrackerKept) {
            self.planted.remember(tracker, &heartbeat);
        }
        if self.sabotage == Some(Sabotage::TwoWinners) {
            self.planted.events = heartbeat.events.iter().map(|it| it.item.clone()).collect();
        }
        self.handle(scene, Input::Heartbeat { heartbeat, reply_to });
    }

    /// The connection of a call is gone.
    pub(crate) fn gone(&mut self, scene: &mut Scene, call: CallId) {
        let its = self.asked.iter().filter(|(_, asked)| asked.call == call);
        for reply_to in its.map(|(to, _)| *to).collect::<Vec<_>>() {
            self.asked.remove(&reply_to);
            self.handle(scene, Input::Gone { reply_to });
        }
    }

    /// Handles one input, as the daemon's loop does.
    pub(crate) fn handle(&mut self, scene: &mut Scene, input: Input) {
        let now = scene.ground.now();
        let Some(core) = &mut self.core else { return };
        core.set_room(self.room);
        let accepted = match self.room {
            Room::Ample => Ok(input),
            Room::Reserve | Room::None => core.refuse(input),
        };
        let output = match accepted {
            Ok(input) => core.handle(now, input),
            Err(effects) => Output { records: Vec::new(), effects },
        };
        self.take(scene, output);
    }

    /// A timer that was set for this time; it is obsolete if another one has been set since.
    pub(crate) fn timeout(&mut self, scene: &mut Scene, at: Monotonic) {
        if self.timer != Some(at) {
            return;
        }
        self.timer = None;
        let now = scene.ground.now();
        let is_silent = |tracker| scene.watch.is_silent(now.monotonic, tracker);
        for input in self.planted.stand_ins(is_silent) {
            self.handle(scene, input);
        }
        let Some(core) = &mut self.core else { return };
        let due = core.poll_timeout().is_some_and(|at| at <= now.monotonic);
        if due && self.room != Room::None {
            let output = core.handle_timeout(now);
            self.take(scene, output);
        }
        self.set_timer(scene);
    }

    pub(crate) fn synced(&mut self, scene: &mut Scene, upto: usize) {
        self.is_syncing = false;
        self.n_synced = upto;
        self.let_out(scene);
        self.sync(scene);
    }

    fn take(&mut self, scene: &mut Scene, mut output: Output) {
        self.n_inputs += 1;
        sabotage::win_twice(
            &scene.watch.book,
            &std::mem::take(&mut self.planted.events),
            &mut output,
        );
        let withdrawn = scene.watch.withdrawn();
        self.judge_tracker(scene, &output);
        for record in &output.records {
            scene.ground.say(format_args!("record {} {record:?}", self.journal.len()));
            scene.see_record(record);
        }
        scene.watch.check_tries();
        self.tear(scene, &output.records);
        self.journal.extend(output.records);
        for effect in &output.effects {
            let asked = match effect {
                Effect::Reply { to, .. } => self.asked.get(to),
                _ => None,
            };
            scene.see_effect(effect, asked.map(|asked| asked.from));
        }
        if let Some(core) = self.core.as_mut().filter(|_| self.n_inputs.is_multiple_of(CHECK_EVERY))
        {
            core.check_invariants();
            core.check_placements(scene.ground.now());
            core.check_explanations(scene.ground.now().monotonic);
            scene.watch.check_books(core);
            scene.watch.check_awaited(core);
        }
        if !output.effects.is_empty() {
            let after = self.journal.len();
            self.untold.push_back(Untold { after, effects: output.effects, withdrawn });
        }
        self.let_out(scene);
        self.sync(scene);
        self.set_timer(scene);
    }

    /// Now and then makes the power fail while the records of one step are being written, and only
    /// some arrive.
    fn tear(&mut self, scene: &mut Scene, records: &[Record]) {
        let matters = records
            .iter()
            .any(|record| matches!(record, Record::ReducesUndone { .. } | Record::JobEnded { .. }));
        let often = if matters { self.tears * 10 } else { self.tears };
        if records.len() > 1 && !scene.is_calm && scene.ground.random.chance(often) {
            let n = scene.ground.random.within(1..records.len());
            self.torn_at = Some(self.journal.len() + n);
        }
    }

    /// Whether the power has failed.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn_at.is_some()
    }

    /// Notes whether the registration or heartbeat just handled was accepted.
    fn judge_tracker(&mut self, scene: &mut Scene, output: &Output) {
        if let Some((reply_to, request)) = self.registering.take() {
            let is_it = |effect: &Effect| match effect {
                Effect::Reply { to, reply: Reply::Registered(_) } => *to == reply_to,
                _ => false,
            };
            if output.effects.iter().any(is_it) {
                scene.watch.see_registered(scene.ground.now().monotonic, &request);
            }
        }
        let Some((reply_to, sent)) = self.sent.take() else { return };
        let is_refusal = |effect: &Effect| match effect {
            Effect::Reply { to, reply: Reply::Refused(_) } => *to == reply_to,
            _ => false,
        };
        let is_taken = !output.effects.iter().any(is_refusal);
        scene.watch.see_heartbeat(scene.ground.now().monotonic, sent, is_taken);
    }

    fn let_out(&mut self, scene: &mut Scene) {
        let unchecked = self.sabotage == Some(Sabotage::ToldBeforeSync);
        while self.untold.front().is_some_and(|it| unchecked || it.after <= self.n_synced) {
            let Some(Untold { effects, withdrawn, .. }) = self.untold.pop_front() else { return };
            for effect in effects {
                match effect {
                    Effect::Reply { to, reply } => self.answer(scene, to, reply, withdrawn),
                    Effect::Tell(notice) => {
                        scene.ground.say(format_args!("jobtracker: {notice:?}"));
                    }
                    call => {
                        let pause = scene.ground.random.millis(1..scene.store.slow);
                        self.next_call += 1;
                        self.calls.insert(self.next_call, call);
                        scene.ground.after(pause, Event::StoreAsked(self.next_call));
                    }
                }
            }
        }
    }

    fn answer(
        &mut self,
        scene: &mut Scene,
        to: ReplyTo,
        mut reply: Reply,
        withdrawn: (Epoch, usize),
    ) {
        let Some(Asked { from, call }) = self.asked.remove(&to) else { return };
        if let (Who::Tracker(tracker), Reply::Heartbeat(reply)) = (from, &mut reply) {
            if self.sabotage == Some(Sabotage::WithdrawalForgotten) {
                sabotage::forget_withdrawals(reply);
            }
            scene.watch.see_told(tracker, withdrawn.0, reply);
        }
        if let (Who::Tracker(tracker), Reply::Registered(_)) = (from, &reply) {
            scene.watch.see_welcomed(tracker);
        }
        scene.ground.answer(from, call, Answer { reply, withdrawn });
    }

    /// One of this machine's calls reaches the chunk store.
    pub(crate) fn store_asked(&mut self, scene: &mut Scene, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        let breaks = !scene.is_calm && scene.ground.random.chance(scene.store.breaks);
        let fails = breaks.then(|| *scene.ground.random.pick(&[Fails::Before, Fails::After]));
        let call = match fails {
            None => self.found_early(scene, call),
            Some(_) => call,
        };
        if let Some(input) = scene.carry_out(&call, fails) {
            let pause = scene.ground.random.millis(1..scene.store.slow);
            let event = Event::StoreAnswered { life: self.life, input: Box::new(input) };
            scene.ground.after(pause, event);
        }
    }

    /// In half of the cases the splits are found before the staging folder is made, which remains
    /// to be done.
    fn found_early(&mut self, scene: &mut Scene, call: Effect) -> Effect {
        let Effect::Store(StoreEffect::PlanSplits { job, spec, staging }) = &call else {
            return call;
        };
        let found = scene.store.find_splits(&scene.natures, spec);
        let Some(splits) = found.filter(|_| scene.ground.random.chance(500)) else { return call };
        let (job, staging) = (*job, staging.clone());
        let input = Box::new(Input::SplitsFound { job, splits });
        // The second answer usually takes longer; it must not overtake the first.
        scene.ground.after(Duration::ZERO, Event::StoreAnswered { life: self.life, input });
        Effect::Store(StoreEffect::MakeStaging { job, staging })
    }

    fn sync(&mut self, scene: &mut Scene) {
        if self.is_syncing || self.n_synced == self.journal.len() || self.core.is_none() {
            return;
        }
        self.is_syncing = true;
        let pause = scene.ground.random.millis(0..self.sync_millis);
        let (life, upto) = (self.life, self.journal.len());
        scene.ground.after(pause, Event::Synced { life, upto });
    }

    fn set_timer(&mut self, scene: &mut Scene) {
        let due = self.core.as_ref().and_then(Core::poll_timeout);
        let due = due.filter(|_| self.room != Room::None);
        let Some(due) = due.filter(|due| self.timer.is_none_or(|set| *due < set)) else { return };
        // A little later, so that a timer that stays due does not stop the world's clock.
        let due = due.max(scene.ground.now().monotonic + Duration::from_micros(10));
        self.timer = Some(due);
        scene.ground.at(due, Event::Timeout { who: Who::JobTracker, life: self.life, at: due });
    }

    /// The space on the journal's disk has changed.
    pub(crate) fn set_room(&mut self, scene: &mut Scene, room: Room) {
        self.room = room;
        self.set_timer(scene);
    }

    /// Whether it runs and its timers go off.
    pub(crate) fn runs(&self) -> bool {
        self.core.is_some() && self.room == Room::Ample
    }

    /// Unwritten histories, if there are any.
    pub(crate) fn unwritten(&self) -> Option<String> {
        let n = self.core.as_ref()?.summary().histories_unwritten;
        (n > 0).then(|| format!("{n} histories are not written"))
    }

    /// Occupied slots, if there are any.
    pub(crate) fn occupied(&self) -> Option<String> {
        let mut all = self.core.as_ref()?.occupancy();
        let (host, n, _) = all.find(|(_, occupied, _)| *occupied > 0)?;
        Some(format!("{n} slots of {host} are taken"))
    }
}
