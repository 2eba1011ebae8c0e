//! One host: the real TaskTracker core with simulated attempts, which only take their time. This
//! module is about what happens on hosts; what happens between them and the JobTracker is in
//! `world`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{ClusterId, HostName, Monotonic, RackName};
use jobtracker_core::ReplyTo;
use mapreduce_protocol::{
    AttemptId, AttemptResult, Failure, FailureKind, FromTask, Launch, OutputSizes, TaskKind,
};
use tasktracker_core::{Core, Effect, HealthRule, HostLimits, Input, Limits, SessionId, Settings};

use crate::cluster::attempt::{Attempt, Stage, luck, map_time, reduce_time, seconds};
use crate::cluster::scenario::{MapPlan, ReducePlan};
use crate::cluster::shuffle::{Fetch, Fetcher};
use crate::cluster::world::{Ask, Call, Event, World};

/// The time until a killed process is gone.
const EXIT_TIME: Duration = Duration::from_millis(50);
/// Attempts always report that they are alive, and the JobTracker is always there: these time-outs
/// never expire.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// One host and its TaskTracker.
pub(crate) struct Tracker {
    pub(crate) host: HostName,
    pub(crate) rack: RackName,
    /// How many times longer everything takes on this host.
    pub(crate) slowness: f64,
    /// The number of its processes that have died.
    pub(crate) life: u32,
    pub(crate) core: Option<Core>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    /// Maps' outputs on its disk.
    pub(crate) outputs: BTreeSet<AttemptId>,
    /// Outputs that nobody can fetch while the TaskTracker is down: the job's number, the map, its
    /// plan.
    pub(crate) out_of_reach: Vec<(usize, u32, MapPlan)>,
    /// Its requests that the JobTracker has not answered yet.
    pub(crate) asked: BTreeSet<ReplyTo>,
    timer: Option<Monotonic>,
}

impl Tracker {
    pub(crate) fn new(host: HostName, rack: RackName, slowness: f64) -> Self {
        Self {
            host,
            rack,
            slowness,
            life: 0,
            core: None,
            attempts: BTreeMap::new(),
            outputs: BTreeSet::new(),
            out_of_reach: Vec::new(),
            asked: BTreeSet::new(),
            timer: None,
        }
    }

    fn settings(&self, n: usize, slots: u32, cluster: Option<ClusterId>) -> Settings {
        let limits = Limits { memory: 1, processes: 1, disk: 1, open_files: 1 };
        let incarnation = (n as u64) << 32 | u64::from(self.life);
        Settings {
            cluster,
            host: self.host.clone(),
            rack: self.rack.clone(),
            address: format!("{}:7881", self.host),
            incarnation,
            slots,
            task_timeout: NEVER,
            cut_off_timeout: NEVER,
            limits: HostLimits { default: limits, memory_max: 1 },
            health: HealthRule { disk_free_min: 0, memory_free_min: 0 },
            disks: vec!["/disk".to_owned()],
            jobs: BTreeSet::new(),
            not_isolated: None,
            seed: incarnation,
        }
    }
}

impl World<'_> {
    /// A TaskTracker's process starts, with what is on its disk.
    pub(crate) fn boot(&mut self, n: usize) {
        let slots = self.scenario.cluster.slots;
        let cluster = Some(self.scenario.rules.cluster.clone());
        let tracker = &mut self.trackers[n];
        let mut core =
            Core::new(tracker.settings(n, slots, cluster), tracker.outputs.iter().copied());
        let effects = core.handle_timeout(self.line.now());
        tracker.core = Some(core);
        for (job, map, output) in std::mem::take(&mut tracker.out_of_reach) {
            self.arrive(job, map, n, output);
        }
        self.carry_out(n, effects);
    }

    /// The process dies with all its tasks, and what is on its disk cannot be fetched. With
    /// `is_told`, its connections break.
    pub(crate) fn die(&mut self, n: usize, is_told: bool) {
        let now = self.line.now().monotonic;
        if self.trackers[n].core.take().is_none() {
            return;
        }
        let tracker = &mut self.trackers[n];
        (tracker.timer, tracker.life) = (None, tracker.life + 1);
        for (id, attempt) in std::mem::take(&mut tracker.attempts) {
            self.book.left(now, id, now.since(attempt.since));
        }
        self.lose_outputs(n);
        for to in std::mem::take(&mut self.trackers[n].asked) {
            if is_told {
                self.gone(to);
            }
        }
    }

    fn lose_outputs(&mut self, n: usize) {
        for job in 0..self.jobs.len() {
            if self.jobs[job].shuffle.is_none() {
                continue;
            }
            self.bring_up_to_date(job);
            let Some(shuffle) = &mut self.jobs[job].shuffle else { continue };
            let was_complete = shuffle.is_complete();
            let lost = shuffle.lose(n);
            let is_broken = was_complete && !shuffle.is_complete();
            let lost = lost.into_iter().map(|(map, output)| (job, map, output));
            self.trackers[n].out_of_reach.extend(lost);
            if is_broken {
                // The times at which these reduces were to have everything are obsolete.
                self.each_fetch(job, |attempt, _| attempt.step += 1);
            }
        }
    }

    /// Calls `what` with each reduce of a job that is fetching.
    fn each_fetch(&mut self, job: usize, mut what: impl FnMut(&mut Attempt, (usize, AttemptId))) {
        for (n, tracker) in self.trackers.iter_mut().enumerate() {
            for (id, attempt) in &mut tracker.attempts {
                if attempt.job == job && matches!(attempt.stage, Stage::Fetching(_)) {
                    what(attempt, (n, *id));
                }
            }
        }
    }

    fn bring_up_to_date(&mut self, job: usize) {
        let now = self.line.now().monotonic;
        let Some(shuffle) = self.jobs[job].shuffle.take() else { return };
        self.each_fetch(job, |attempt, _| {
            if let Stage::Fetching(fetch) = &mut attempt.stage {
                shuffle.advance(fetch, now);
            }
        });
        self.jobs[job].shuffle = Some(shuffle);
    }

    /// A map's output can be fetched from a host from now on; if the host is down, only after its
    /// return.
    pub(crate) fn arrive(&mut self, job: usize, map: u32, n: usize, output: MapPlan) {
        let now = self.line.now().monotonic;
        if self.jobs[job].shuffle.is_none() {
            return;
        }
        if self.trackers[n].core.is_none() {
            return self.trackers[n].out_of_reach.push((job, map, output));
        }
        let has_come = self.jobs[job].shuffle.as_ref().is_some_and(|it| it.has_come(map));
        if has_come {
            self.bring_up_to_date(job);
        }
        let Some(shuffle) = &mut self.jobs[job].shuffle else { return };
        let was_complete = shuffle.is_complete();
        shuffle.arrive(now, map, n, output);
        if !was_complete && shuffle.is_complete() {
            let mut waiting = Vec::new();
            self.each_fetch(job, |_, it| waiting.push(it));
            waiting.into_iter().for_each(|(n, id)| self.plan_fetched(n, id));
        }
    }

    /// Plans a reduce's next step for when it has everything, if that time is known.
    fn plan_fetched(&mut self, n: usize, id: AttemptId) {
        let now = self.line.now().monotonic;
        let Some(attempt) = self.trackers[n].attempts.get_mut(&id) else { return };
        let shuffle = self.jobs[attempt.job].shuffle.as_ref();
        let (Some(shuffle), Stage::Fetching(fetch)) = (shuffle, &mut attempt.stage) else { return };
        shuffle.advance(fetch, now);
        if let Some(at) = shuffle.ends(fetch) {
            self.next_step(n, id, at);
        }
    }

    fn next_step(&mut self, n: usize, id: AttemptId, at: Monotonic) {
        let life = self.trackers[n].life;
        if let Some(attempt) = self.trackers[n].attempts.get_mut(&id) {
            attempt.step += 1;
            let step = attempt.step;
            self.at(at, Event::Step { n, life, id, step });
        }
    }

    /// Handles one input, as the daemon's loop does.
    pub(crate) fn give(&mut self, n: usize, input: Input) {
        let now = self.line.now();
        let Some(core) = &mut self.trackers[n].core else { return };
        let effects = core.handle(now, input);
        self.carry_out(n, effects);
    }

    /// A timer that was set for this time; obsolete if another has been set since.
    pub(crate) fn timeout(&mut self, n: usize, at: Monotonic) {
        let now = self.line.now();
        let tracker = &mut self.trackers[n];
        if tracker.timer != Some(at) {
            return;
        }
        tracker.timer = None;
        let Some(core) = &mut tracker.core else { return };
        let is_due = core.poll_timeout().is_some_and(|at| at <= now.monotonic);
        let effects = if is_due { core.handle_timeout(now) } else { Vec::new() };
        self.carry_out(n, effects);
    }

    fn carry_out(&mut self, n: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn(launch, _) => self.spawn(n, &launch),
                Effect::KillProcess { attempt, .. } => {
                    if let Some(it) = self.trackers[n].attempts.get_mut(&attempt) {
                        it.stage = Stage::Dying;
                        let at = self.line.now().monotonic + EXIT_TIME;
                        self.next_step(n, attempt, at);
                    }
                }
                Effect::RemoveMapOutput { attempt } => {
                    self.trackers[n].outputs.remove(&attempt);
                }
                // The host has a single disk.
                Effect::LeaveDisk { .. } => {}
                Effect::RemoveJob { job } => {
                    self.trackers[n].outputs.retain(|output| output.task.job != job);
                }
                Effect::SendHeartbeat(mut heartbeat) => {
                    // Telling each host of each map's output would be most of the simulation's
                    // cost, and here reduces learn of outputs without it.
                    heartbeat.map_event_cursors.clear();
                    for running in &mut heartbeat.running {
                        running.progress = self.progress(n, running.attempt);
                    }
                    let call = Call::Heartbeat(SessionId::of(&heartbeat), heartbeat.number.0);
                    self.ask(n, call, Ask::Heartbeat(heartbeat));
                }
                Effect::Register(request) => self.ask(n, Call::Register, Ask::Register(request)),
                Effect::SendMapEvents { .. } => {}
            }
        }
        self.set_timer(n);
    }

    fn set_timer(&mut self, n: usize) {
        let tracker = &mut self.trackers[n];
        let due = tracker.core.as_ref().and_then(Core::poll_timeout);
        let Some(due) = due.filter(|due| tracker.timer.is_none_or(|set| *due < set)) else {
            return;
        };
        let at = due.max(self.line.now().monotonic + Duration::from_micros(10));
        tracker.timer = Some(at);
        let life = tracker.life;
        self.at(at, Event::Timeout { n, life, at });
    }

    fn progress(&mut self, n: usize, id: AttemptId) -> f32 {
        let now = self.line.now().monotonic;
        let Some(attempt) = self.trackers[n].attempts.get_mut(&id) else { return 0.0 };
        let n_maps = self.scenario.jobs[attempt.job].maps.len();
        attempt.progress(now, self.jobs[attempt.job].shuffle.as_ref(), n_maps)
    }

    fn spawn(&mut self, n: usize, launch: &Launch) {
        let (id, now) = (launch.attempt, self.line.now().monotonic);
        let Some(job) = self.book.number(id.task.job) else { return };
        let is_reduce = id.task.kind == TaskKind::Reduce;
        let index = id.task.index as usize;
        let rates = &self.scenario.rates;
        let named = (job, is_reduce, index, id.number);
        let slowness = self.trackers[n].slowness * luck(self.scenario.seed, rates.spread, named);
        let stage = Stage::Starting;
        let attempt = Attempt { job, is_reduce, index, since: now, stage, step: 0, slowness };
        self.trackers[n].attempts.insert(id, attempt);
        self.book.spawned(now, id);
        let at = now + rates.start.mul_f64(slowness);
        self.next_step(n, id, at);
    }

    /// An attempt reaches its next step.
    pub(crate) fn step(&mut self, n: usize, id: AttemptId, step: u64) {
        let now = self.line.now().monotonic;
        let Some(attempt) = self.trackers[n].attempts.get_mut(&id) else { return };
        if attempt.step != step {
            return;
        }
        match attempt.stage {
            Stage::Starting => {
                self.give(n, Input::Started { attempt: id });
                self.begin(n, id);
            }
            Stage::Fetching(ref fetch) => {
                let shuffle = self.jobs[attempt.job].shuffle.as_ref();
                let bytes = shuffle.map_or([0.0; 2], |it| it.own_and_others(fetch));
                self.book.fetched(now, id.task.job, bytes);
                let by = fetch.by();
                self.reduce(n, id, by);
            }
            Stage::Working { .. } => self.succeed(n, id),
            Stage::Dying => {
                self.leave(n, id);
                let message = "the process was ended by signal 9".to_owned();
                let kind = FailureKind::Crashed { exit_code: None, signal: Some(9) };
                let otherwise = Failure { kind, message };
                self.give(n, Input::Ended { attempt: id, otherwise });
            }
        }
    }

    fn begin(&mut self, n: usize, id: AttemptId) {
        let now = self.line.now().monotonic;
        let place = self.place(n, id);
        let Some(attempt) = self.trackers[n].attempts.get_mut(&id) else { return };
        let plan = &self.scenario.jobs[attempt.job];
        let rates = &self.scenario.rates;
        if attempt.is_reduce {
            let by = Fetcher {
                reduce: attempt.index,
                share: plan.reduces.get(attempt.index).map_or(0.0, |reduce| reduce.share),
                host: n,
                pace: attempt.slowness / rates.fetch,
                own_pace: attempt.slowness / rates.read_local,
            };
            attempt.stage = Stage::Fetching(Fetch::new(now, by));
            return self.plan_fetched(n, id);
        }
        let nothing = MapPlan { input: 0, output: 0, partition: None, took: None };
        let map = plan.maps.get(attempt.index).unwrap_or(&nothing);
        let time = map_time(rates, map, place, plan.reduces.is_empty()).mul_f64(attempt.slowness);
        attempt.stage = Stage::Working { began: now, ends: now + time };
        self.next_step(n, id, now + time);
    }

    fn reduce(&mut self, n: usize, id: AttemptId, by: Fetcher) {
        let now = self.line.now().monotonic;
        let Some(attempt) = self.trackers[n].attempts.get_mut(&id) else { return };
        let plan = &self.scenario.jobs[attempt.job];
        let nothing = ReducePlan { share: 0.0, output: 0, took: None };
        let reduce = plan.reduces.get(attempt.index).unwrap_or(&nothing);
        let fetched = plan.maps.iter().map(|map| by.part_of(map)).sum();
        let time = reduce_time(&self.scenario.rates, reduce, fetched);
        let time = seconds(time.as_secs_f64() * attempt.slowness);
        attempt.stage = Stage::Working { began: now, ends: now + time };
        self.next_step(n, id, now + time);
    }

    fn succeed(&mut self, n: usize, id: AttemptId) {
        let leaves_output = self.leave(n, id).is_some_and(|attempt| {
            !attempt.is_reduce && !self.scenario.jobs[attempt.job].reduces.is_empty()
        });
        if leaves_output {
            self.trackers[n].outputs.insert(id);
        }
        let sizes = leaves_output.then(|| self.sizes(id)).flatten();
        let result = AttemptResult { digest: "0".repeat(32), sizes, ..Default::default() };
        self.give(n, Input::Said { attempt: id, message: FromTask::Succeeded { result } });
        let message = "it has succeeded".to_owned();
        let otherwise = Failure { kind: FailureKind::Killed, message };
        self.give(n, Input::Ended { attempt: id, otherwise });
    }

    /// How a map's output is divided among the reduces.
    fn sizes(&self, id: AttemptId) -> Option<OutputSizes> {
        let plan = &self.scenario.jobs[self.book.number(id.task.job)?];
        let map = plan.maps.get(id.task.index as usize)?;
        let of = |(n, reduce): (usize, &ReducePlan)| match map.partition {
            Some(partition) => {
                if n == partition {
                    map.output
                } else {
                    0
                }
            }
            None => (map.output as f64 * reduce.share) as u64,
        };
        Some(OutputSizes::of(plan.reduces.iter().enumerate().map(of)))
    }

    /// An attempt gives its slot back.
    fn leave(&mut self, n: usize, id: AttemptId) -> Option<Attempt> {
        let now = self.line.now().monotonic;
        let attempt = self.trackers[n].attempts.remove(&id)?;
        self.book.left(now, id, now.since(attempt.since));
        Some(attempt)
    }
}
