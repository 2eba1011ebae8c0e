//! A seeded world of one tracker and a JobTracker that forgets, behind a network that loses, doubles
//! and reorders: every launch is executed once, every end arrives.

use ids::{Epoch, Inbox, Outbox};
use mapreduce_protocol::{FromTask, TrackerHeartbeat};

use super::*;
use crate::stories::{launch, registered, tracker};

const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };
const LAUNCHES: u32 = 30;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The JobTracker, as far as delivery goes.
#[derive(Default)]
struct Master {
    epoch: u64,
    session: u64,
    registered: bool,
    commands: Outbox<TrackerCommand>,
    events: Inbox,
    ends: BTreeMap<AttemptId, TrackerEvent>,
    number: u64,
}

impl Master {
    /// It starts again: a new epoch, everybody must register.
    fn restart(&mut self) {
        self.epoch += 1;
        self.session = 0;
        self.registered = false;
    }

    fn register(&mut self) -> Input {
        self.session += 1;
        self.registered = true;
        self.number = 0;
        let mut commands = Outbox::default();
        for command in self.commands.pending(usize::MAX) {
            commands.push(command.item.clone());
        }
        self.commands = commands;
        self.events = Inbox::default();
        registered(self.epoch, self.session)
    }

    fn heartbeat(&mut self, heartbeat: &TrackerHeartbeat) -> Input {
        let session = SessionId::of(heartbeat);
        let current = SessionId { epoch: Epoch(self.epoch), session: self.session };
        if !self.registered || session != current {
            return Input::NotRegistered { session };
        }
        if heartbeat.number.0 > self.number {
            self.number = heartbeat.number.0;
            self.commands.acknowledge(heartbeat.commands_done);
        }
        for event in self.events.accept(heartbeat.events.clone()) {
            self.learn(&event);
        }
        let reply = TrackerHeartbeatReply {
            heartbeat_interval_ms: 0,
            epoch: current.epoch,
            events_received: self.events.received(),
            commands: self.commands.pending(5).cloned().collect(),
            map_events: Vec::new(),
        };
        Input::HeartbeatReply { session, number: heartbeat.number.0, reply }
    }

    /// The same end may come again in another session; never another end.
    fn learn(&mut self, event: &TrackerEvent) {
        let (TrackerEvent::Succeeded { attempt, .. } | TrackerEvent::Failed { attempt, .. }) =
            event
        else {
            return;
        };
        let before = self.ends.insert(*attempt, event.clone());
        assert!(before.is_none_or(|before| before == *event));
    }
}

struct World {
    random: Random,
    core: Core,
    now: Now,
    master: Master,
    on_wire: Vec<Effect>,
    back: Vec<Input>,
    spawned: BTreeMap<AttemptId, u32>,
    /// Live processes, and whether they have said their last word.
    processes: BTreeMap<AttemptId, bool>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut master = Master::default();
        for index in 0..LAUNCHES {
            let kind = if index % 3 == 0 { TaskKind::Reduce } else { TaskKind::Map };
            master.commands.push(launch(JOB.task(kind, index).attempt(0)));
        }
        Self {
            random: Random(seed | 1),
            core: tracker(3, &[]),
            now: Now::default(),
            master,
            on_wire: Vec::new(),
            back: Vec::new(),
            spawned: BTreeMap::new(),
            processes: BTreeMap::new(),
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn(launch, _) => {
                    *self.spawned.entry(launch.attempt).or_default() += 1;
                    self.processes.insert(launch.attempt, false);
                }
                Effect::SendHeartbeat(_) | Effect::Register(_) => self.on_wire.push(effect),
                Effect::KillProcess { .. }
                | Effect::SendMapEvents { .. }
                | Effect::RemoveMapOutput { .. }
                | Effect::RemoveJob { .. }
                | Effect::LeaveDisk { .. } => {}
            }
        }
    }

    fn give(&mut self, input: Input) {
        let effects = self.core.handle(self.now, input);
        self.take(effects);
    }

    fn lost(effect: &Effect) -> Input {
        match effect {
            Effect::SendHeartbeat(heartbeat) => Input::HeartbeatFailed {
                session: SessionId::of(heartbeat),
                number: heartbeat.number.0,
            },
            _ => Input::RegistrationFailed,
        }
    }

    fn deliver(&mut self, lossy: bool) {
        if self.on_wire.is_empty() {
            return;
        }
        let which = self.random.below(self.on_wire.len());
        let effect = self.on_wire.swap_remove(which);
        if lossy && self.random.one_in(4) {
            let lost = Self::lost(&effect);
            return self.back.push(lost);
        }
        for _ in 0..=usize::from(lossy && self.random.one_in(4)) {
            let answer = match &effect {
                Effect::SendHeartbeat(heartbeat) => self.master.heartbeat(heartbeat),
                Effect::Register(_) => self.master.register(),
                _ => unreachable!("nothing else is sent"),
            };
            self.back.push(answer);
        }
        if lossy && self.random.one_in(4) {
            // The answer is lost: the sender sees a failure.
            let lost = Self::lost(&effect);
            *self.back.last_mut().unwrap() = lost;
        }
    }

    fn answer(&mut self) {
        if !self.back.is_empty() {
            let which = self.random.below(self.back.len());
            let input = self.back.swap_remove(which);
            self.give(input);
        }
    }

    fn run_process(&mut self) {
        let Some(&attempt) = self.processes.keys().nth(self.random.below(3)) else { return };
        if self.processes[&attempt] || self.random.one_in(5) {
            self.processes.remove(&attempt);
            let kind = FailureKind::Crashed { exit_code: Some(1), signal: None };
            let otherwise = Failure { kind, message: String::new() };
            return self.give(Input::Ended { attempt, otherwise });
        }
        self.give(Input::Started { attempt });
        if self.random.one_in(2) {
            self.processes.insert(attempt, true);
            let message = FromTask::Succeeded { result: AttemptResult::default() };
            self.give(Input::Said { attempt, message });
        }
    }

    fn step(&mut self, lossy: bool) {
        let millis = u64::try_from(self.random.below(40)).unwrap();
        self.now.monotonic = self.now.monotonic + Duration::from_millis(millis);
        if self.core.poll_timeout().is_none_or(|at| at <= self.now.monotonic)
            || self.on_wire.is_empty()
        {
            let effects = self.core.handle_timeout(self.now);
            self.take(effects);
        }
        match self.random.below(4) {
            0 | 1 => self.deliver(lossy),
            2 => self.answer(),
            _ => self.run_process(),
        }
        if lossy && self.random.one_in(150) {
            self.master.restart();
        }
    }
}

#[test]
fn every_launch_is_executed_once_and_every_end_arrives_whatever_is_lost_or_doubled() {
    for seed in 1..=300 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step(true);
        }
        let mut steps = 0;
        while world.master.ends.len() < LAUNCHES as usize {
            world.step(false);
            steps += 1;
            assert!(steps < 20_000, "seed {seed}: {:?}", world.core.summary());
        }
        assert_eq!(world.spawned.len(), LAUNCHES as usize, "seed {seed}");
        assert!(world.spawned.values().all(|times| *times == 1), "seed {seed}");
        let held = world.core.summary().map_outputs;
        let won = |(id, end): (&AttemptId, &TrackerEvent)| {
            id.task.kind == TaskKind::Map && matches!(end, TrackerEvent::Succeeded { .. })
        };
        assert_eq!(held, world.master.ends.iter().filter(|end| won(*end)).count(), "seed {seed}");
    }
}
