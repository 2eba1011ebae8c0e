//! A TaskTracker's shell in this world: the real core over simulated processes and a disk. It does
//! what `tasktracker/src` does: processes are spawned and killed as the core says, each call ends
//! in one input, and map outputs outlive the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{ClusterId, Monotonic};
use jobtracker_core::{Refusal, Reply};
use mapreduce_protocol::{
    AttemptId, Failure, FailureKind, FromTask, Launch, TrackerCommand, TrackerHeartbeat,
};
use tasktracker_core::{
    Core, Effect, Finding, HealthRule, HostLimits, Input, Limits, SessionId, Settings,
};

use crate::jobs::ground::{Answer, Ask, CallId, Event, Step, Who, host};
use crate::jobs::nature::rack;
use crate::jobs::process::{Fortune, Process, Stage, crashed};
use crate::jobs::sabotage::Sabotage;
use crate::jobs::scene::Scene;
use crate::jobs::world::{CUT_OFF_TIMEOUT, HEARTBEAT_LIMIT, REQUEST_LIMIT, TASK_TIMEOUT};

/// A call to the JobTracker.
#[derive(Clone, Debug)]
enum Call {
    Register,
    Heartbeat(SessionId, u64),
}

/// A tracker's host, whose disk outlives its process.
pub(crate) struct Tracker {
    pub(crate) n: usize,
    pub(crate) slots: u32,
    /// The factor by which everything takes longer there.
    pub(crate) slowness: u32,
    pub(crate) life: u32,
    pub(crate) core: Option<Core>,
    sabotage: Option<Sabotage>,
    cluster: Option<ClusterId>,
    session: Option<SessionId>,
    port: u32,
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    calls: BTreeMap<CallId, Call>,
    timer: Option<Monotonic>,
    /// Whether only the daemon is suspended, while its tasks go on. Inputs queue up meanwhile.
    pub(crate) is_frozen: bool,
    backlog: Vec<Input>,
    /// Whether its disk has no space for map outputs.
    pub(crate) is_full: bool,
}

impl Tracker {
    pub(crate) fn new(n: usize, (slots, slowness): (u32, u32), sabotage: Option<Sabotage>) -> Self {
        Self {
            n,
            slots,
            slowness,
            life: 0,
            core: None,
            sabotage,
            cluster: None,
            session: None,
            port: 0,
            processes: BTreeMap::new(),
            calls: BTreeMap::new(),
            timer: None,
            is_frozen: false,
            backlog: Vec::new(),
            is_full: false,
        }
    }

    pub(crate) fn who(&self) -> Who {
        Who::Tracker(self.n)
    }

    fn address(&self) -> String {
        format!("{}:{}", host(self.n), 7000 + self.port)
    }

    /// The process starts, with what its disk holds.
    pub(crate) fn start(&mut self, scene: &mut Scene) {
        if self.core.is_some() {
            return;
        }
        self.port += u32::from(scene.ground.random.chance(200));
        let limits = Limits { memory: 1, processes: 1, disk: 1, open_files: 1 };
        let settings = Settings {
            cluster: self.cluster.clone(),
            host: host(self.n),
            rack: rack(self.n),
            address: self.address(),
            incarnation: scene.ground.random.next(),
            slots: self.slots,
            task_timeout: TASK_TIMEOUT,
            cut_off_timeout: CUT_OFF_TIMEOUT,
            limits: HostLimits { default: limits, memory_max: 1 },
            health: HealthRule { disk_free_min: 1, memory_free_min: 1 },
            disks: vec!["/disk".to_owned()],
            jobs: BTreeSet::new(),
            not_isolated: None,
            seed: scene.ground.random.next(),
        };
        let held: Vec<AttemptId> = scene.outputs.of(self.n).collect();
        scene.ground.say(format_args!("host-{} starts with {} outputs", self.n, held.len()));
        scene.outputs.served_at.insert(self.address(), self.n);
        let mut core = Core::new(settings, held);
        let effects = core.handle_timeout(scene.ground.now());
        self.core = Some(core);
        self.carry_out(scene, effects);
    }

    /// The process ends, as by SIGKILL, and all its tasks with it.
    pub(crate) fn crash(&mut self, scene: &mut Scene) {
        if self.core.take().is_none() {
            return;
        }
        scene.ground.say(format_args!("host-{} crashes", self.n));
        scene.outputs.served_at.remove(&self.address());
        for process in std::mem::take(&mut self.processes).into_values() {
            // Its output may be in place already, without anybody having been told.
            let is_near = process.leaves_map_output() && process.stage == Stage::Running;
            if is_near && process.is_halfway() && scene.ground.random.chance(300) {
                scene.outputs.on_disk.insert(process.attempt(), self.n);
            }
        }
        for call in std::mem::take(&mut self.calls).into_keys() {
            scene.ground.give_up(Who::Tracker(self.n), call);
        }
        (self.timer, self.is_frozen) = (None, false);
        self.backlog.clear();
        self.life += 1;
    }

    /// Its disk is replaced, or its contents are torn.
    pub(crate) fn wipe(&mut self, scene: &mut Scene) {
        scene.ground.say(format_args!("host-{} loses its outputs", self.n));
        scene.outputs.on_disk.retain(|_, at| *at != self.n);
        self.cluster = None;
    }

    /// The suspended daemon continues.
    pub(crate) fn thaw(&mut self, scene: &mut Scene) {
        self.is_frozen = false;
        for input in std::mem::take(&mut self.backlog) {
            self.give(scene, input);
        }
        self.on_due(scene);
    }

    /// Handles one input, as the daemon's loop does.
    pub(crate) fn give(&mut self, scene: &mut Scene, input: Input) {
        if self.is_frozen {
            return self.backlog.push(input);
        }
        let now = scene.ground.now();
        let Some(core) = &mut self.core else { return };
        let effects = core.handle(now, input);
        self.carry_out(scene, effects);
    }

    /// A timer that was set for this time; it is obsolete if another one has been set since.
    pub(crate) fn timeout(&mut self, scene: &mut Scene, at: Monotonic) {
        if self.timer == Some(at) && !self.is_frozen {
            self.on_due(scene);
        }
    }

    fn on_due(&mut self, scene: &mut Scene) {
        self.timer = None;
        let now = scene.ground.now();
        let Some(core) = &mut self.core else { return };
        if core.poll_timeout().is_some_and(|at| at <= now.monotonic) {
            let effects = core.handle_timeout(now);
            self.carry_out(scene, effects);
        }
        self.set_timer(scene);
    }

    /// A health check finds its host well, or ill.
    pub(crate) fn feel(&mut self, scene: &mut Scene, is_well: bool) {
        let available = if is_well { 100 } else { 0 };
        self.give(scene, Input::Examined(Finding::Memory { available }));
    }

    /// A reduce has asked for an output that is missing.
    pub(crate) fn missed(&mut self, scene: &mut Scene, output: AttemptId) {
        self.give(scene, Input::MapOutputBroken { attempt: output });
    }

    fn set_timer(&mut self, scene: &mut Scene) {
        let due = self.core.as_ref().and_then(Core::poll_timeout);
        let Some(due) = due.filter(|due| self.timer.is_none_or(|set| *due < set)) else { return };
        // A little later, so that a timer that stays due does not stop the world's clock.
        let due = due.max(scene.ground.now().monotonic + Duration::from_micros(10));
        self.timer = Some(due);
        scene.ground.at(due, Event::Timeout { who: self.who(), life: self.life, at: due });
    }

    fn carry_out(&mut self, scene: &mut Scene, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn(launch, _) => self.spawn(scene, *launch),
                Effect::KillProcess { attempt, reason } => {
                    scene.ground.say(format_args!("host-{} kills {attempt}: {reason}", self.n));
                    let pause = scene.ground.random.millis(1..100);
                    self.later(scene, pause, attempt, Step::Exit);
                    self.processes.get_mut(&attempt).into_iter().for_each(|it| it.is_doomed = true);
                }
                Effect::SendMapEvents { attempt, events } => {
                    if let Some(process) = self.processes.get_mut(&attempt) {
                        process.learn(events);
                        self.go_on(scene, attempt, Duration::from_millis(1));
                    }
                }
                Effect::RemoveMapOutput { attempt } => {
                    scene.outputs.on_disk.remove(&attempt);
                }
                // There is only one disk.
                Effect::LeaveDisk { .. } => {}
                Effect::RemoveJob { job } => {
                    let on_disk = &mut scene.outputs.on_disk;
                    on_disk.retain(|output, at| *at != self.n || output.task.job != job);
                }
                Effect::SendHeartbeat(heartbeat) => self.send_heartbeat(scene, heartbeat),
                Effect::Register(request) => {
                    let running = request.running.len();
                    scene.ground.say(format_args!("host-{} registers, runs {running}", self.n));
                    let call = scene.ground.call(self.who(), Ask::Register(request), REQUEST_LIMIT);
                    self.calls.insert(call, Call::Register);
                }
            }
        }
        self.check_slots(scene);
        self.set_timer(scene);
    }

    fn check_slots(&self, scene: &mut Scene) {
        let takes_slot = |process: &&Process| process.stage != Stage::Succeeded;
        let n = self.processes.values().filter(takes_slot).count();
        scene.watch.check_processes(self.n, n, self.slots);
    }

    fn send_heartbeat(&mut self, scene: &mut Scene, heartbeat: Box<TrackerHeartbeat>) {
        let (session, number) = (SessionId::of(&heartbeat), heartbeat.number.0);
        let call = scene.ground.call(self.who(), Ask::Heartbeat(heartbeat), HEARTBEAT_LIMIT);
        self.calls.insert(call, Call::Heartbeat(session, number));
    }

    /// A call has ended.
    pub(crate) fn answered(&mut self, scene: &mut Scene, call: CallId, answer: Option<Answer>) {
        let Some(asked) = self.calls.remove(&call) else {
            return self.answered_late(scene, answer);
        };
        if answer.is_none() {
            scene.ground.give_up(self.who(), call);
        }
        let is_news = |answer: &Answer| match (&asked, &answer.reply) {
            (Call::Heartbeat(session, _), Reply::Heartbeat(_)) => Some(*session) == self.session,
            _ => false,
        };
        let withdrawn = answer.as_ref().filter(|it| is_news(it)).map(|it| it.withdrawn);
        let input = match (asked, answer.map(|answer| answer.reply)) {
            (Call::Register, Some(Reply::Registered(registered))) => {
                self.cluster = Some(registered.cluster.clone());
                let (epoch, session) = (registered.epoch, registered.session);
                self.session = Some(SessionId { epoch, session });
                Input::Registered(registered)
            }
            (Call::Register, _) => Input::RegistrationFailed,
            (Call::Heartbeat(session, number), Some(Reply::Heartbeat(reply))) => {
                Input::HeartbeatReply { session, number, reply: *reply }
            }
            (Call::Heartbeat(session, _), Some(Reply::Refused(Refusal::NotRegistered { .. }))) => {
                Input::NotRegistered { session }
            }
            (Call::Heartbeat(session, number), _) => Input::HeartbeatFailed { session, number },
        };
        self.give(scene, input);
        if let Some(withdrawn) = withdrawn.filter(|_| self.backlog.is_empty()) {
            let listens = |it: &&Process| it.stage == Stage::Running && !it.is_doomed;
            let listening = self.processes.values().filter(listens);
            scene.watch.check_beliefs(self.n, withdrawn, listening);
        }
    }

    /// An answer that is no longer waited for; with a planted bug its commands are still carried
    /// out.
    fn answered_late(&mut self, scene: &mut Scene, answer: Option<Answer>) {
        let lost = answer.filter(|_| self.sabotage == Some(Sabotage::CommandRepeated));
        let Some(Reply::Heartbeat(reply)) = lost.map(|lost| lost.reply) else { return };
        for command in reply.commands {
            if let TrackerCommand::Launch(launch) = command.item
                && self.core.is_some()
            {
                self.spawn(scene, launch);
            }
        }
    }

    fn spawn(&mut self, scene: &mut Scene, launch: Launch) {
        let attempt = launch.attempt;
        scene.watch.see_spawn(attempt, self.n);
        let number = scene.watch.nature_of(attempt.task.job);
        let Scene { ground, natures, is_calm, .. } = scene;
        let slowness = self.slowness;
        let process =
            Process::spawn(&mut ground.random, &natures[number], launch, slowness, *is_calm);
        ground.say(format_args!("host-{} spawns {attempt}: {:?}", self.n, process.fortune));
        self.processes.insert(attempt, process);
        let pause = ground.random.millis(1..50);
        self.later(scene, pause, attempt, Step::Begin);
    }

    fn later(&self, scene: &mut Scene, pause: Duration, attempt: AttemptId, step: Step) {
        let (tracker, life) = (self.n, self.life);
        scene.ground.after(pause, Event::Process { tracker, life, attempt, step });
    }

    /// The process continues after a pause, whatever it was waiting for.
    fn go_on(&mut self, scene: &mut Scene, attempt: AttemptId, pause: Duration) {
        if let Some(process) = self.processes.get_mut(&attempt) {
            process.next_step += 1;
            let step = Step::Work(process.next_step);
            self.later(scene, pause, attempt, step);
        }
    }

    /// One of its processes takes a step.
    pub(crate) fn step(&mut self, scene: &mut Scene, attempt: AttemptId, step: Step) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        match step {
            Step::Begin => {
                if let Fortune::NotStarted(kind) = process.fortune.clone() {
                    self.processes.remove(&attempt);
                    let message = "it can't be started".to_owned();
                    let otherwise = Failure { kind, message };
                    return self.give(scene, Input::Ended { attempt, otherwise });
                }
                process.stage = Stage::Running;
                self.give(scene, Input::Started { attempt });
                self.go_on(scene, attempt, Duration::from_millis(1));
            }
            Step::Work(number) => {
                if process.next_step == number && process.stage == Stage::Running {
                    self.work(scene, attempt);
                }
            }
            Step::Exit => {
                self.processes.remove(&attempt);
                self.give(scene, Input::Ended { attempt, otherwise: crashed() });
            }
        }
    }

    fn work(&mut self, scene: &mut Scene, attempt: AttemptId) {
        self.fetch(scene, attempt);
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        if let Some(failure) = process.trouble() {
            return self.says(scene, attempt, FromTask::Failed { failure });
        }
        if process.is_halfway() {
            match process.fortune.clone() {
                Fortune::Hangs => return process.stage = Stage::Silent,
                Fortune::Crashes => {
                    process.stage = Stage::Silent;
                    return self.later(scene, Duration::ZERO, attempt, Step::Exit);
                }
                Fortune::Fails(kind) => {
                    let failure = Failure { kind, message: "it was to be".to_owned() };
                    return self.says(scene, attempt, FromTask::Failed { failure });
                }
                Fortune::Succeeds | Fortune::Lingers | Fortune::NotStarted(_) => {}
            }
        }
        let pause = match process.has_all() {
            false => Some(process.pause()),
            true => process.next_piece(),
        };
        match pause {
            Some(pause) => {
                let message = process.progress();
                self.give(scene, Input::Said { attempt, message });
                self.go_on(scene, attempt, pause);
            }
            None => self.finish(scene, attempt),
        }
    }

    /// A reduce fetches all outputs that it knows of.
    fn fetch(&mut self, scene: &mut Scene, attempt: AttemptId) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        let mut failed = Vec::new();
        for source in process.wanted.values().cloned().collect::<Vec<_>>() {
            let partition = attempt.task.index;
            let tried = scene.fetch(self.n, partition, source.map, &source.address);
            process.fetched(&source, tried.is_ok());
            failed.extend(tried.err().map(|why| (source.map, why)));
        }
        for (map, why) in failed {
            scene.watch.see_complaint(map);
            let message = FromTask::FetchFailed { map, message: why.to_owned() };
            self.give(scene, Input::Said { attempt, message });
        }
    }

    /// Its work is done: it closes the output and then reports the result.
    fn finish(&mut self, scene: &mut Scene, attempt: AttemptId) {
        let Some(process) = self.processes.get(&attempt) else { return };
        let job = &process.launch.job;
        let message = if process.leaves_map_output() {
            match self.is_full {
                true => {
                    let message = "the disk is full".to_owned();
                    let failure = Failure { kind: FailureKind::OutOfSpace, message };
                    let input = Input::NotTaken { attempt, failure };
                    return self.ends(scene, attempt, Stage::Silent, input);
                }
                false => {
                    scene.outputs.on_disk.insert(attempt, self.n);
                    let result =
                        scene.watch.result(&mut scene.ground, &scene.natures, process, None);
                    FromTask::Succeeded { result }
                }
            }
        } else if scene.store.is_down {
            // The client retries, while the attempt stays healthy.
            let message = process.progress();
            self.give(scene, Input::Said { attempt, message });
            return self.go_on(scene, attempt, Duration::from_millis(500));
        } else {
            match scene.store.stage(attempt, &job.staging, job.output.as_ref()) {
                None => {
                    let message = "the staging folder is gone".to_owned();
                    let kind = FailureKind::OutputUnavailable;
                    FromTask::Failed { failure: Failure { kind, message } }
                }
                Some(staged) => {
                    let result =
                        scene.watch.result(&mut scene.ground, &scene.natures, process, staged);
                    FromTask::Succeeded { result }
                }
            }
        };
        self.says(scene, attempt, message);
    }

    /// A process sends its final report, and exits if it is to.
    fn says(&mut self, scene: &mut Scene, attempt: AttemptId, message: FromTask) {
        let stage = match &message {
            FromTask::Succeeded { .. } => Stage::Succeeded,
            _ => Stage::Silent,
        };
        self.ends(scene, attempt, stage, Input::Said { attempt, message });
    }

    /// Its tracker hears of a process' end; the process exits if it is to.
    fn ends(&mut self, scene: &mut Scene, attempt: AttemptId, stage: Stage, heard: Input) {
        let Some(process) = self.processes.get_mut(&attempt) else { return };
        process.stage = stage;
        let lingers = process.fortune == Fortune::Lingers;
        self.give(scene, heard);
        if !lingers {
            let pause = scene.ground.random.millis(1..200);
            self.later(scene, pause, attempt, Step::Exit);
        }
    }
}
