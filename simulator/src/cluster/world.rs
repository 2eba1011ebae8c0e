//! Who talks to whom, and when: the JobTracker's core without its journal and chunk store, and all
//! events in the order of their times. This module is the JobTracker's side; what happens on hosts
//! is in `tracker`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ids::{HostName, Monotonic, RackName};
use jobtracker_core::{
    Core, Durable, Effect, Home, Input, Locality, Output, Plan, PlannedSplit, Record, Reply,
    ReplyTo, Settings, StoreEffect, StoreOutcome,
};
use mapreduce_protocol::{
    AttemptId, Builtin, JobId, JobSpec, Program, RegisterTracker, Split, SplitPiece, TaskKind,
    TrackerHeartbeat,
};
use tasktracker_core::{Input as TrackerInput, SessionId};

use crate::cluster::InvalidScenario;
use crate::cluster::book::Book;
use crate::cluster::input::Shelves;
use crate::cluster::report::Report;
use crate::cluster::scenario::{JobPlan, Scenario};
use crate::cluster::shuffle::Shuffle;
use crate::cluster::tracker::Tracker;
use crate::random::Random;
use crate::timeline::Timeline;

/// The time of a message from one host to another.
const LATENCY: Duration = Duration::from_millis(1);
/// The time until a record is on the JobTracker's disk.
const SYNC_TIME: Duration = Duration::from_millis(2);
/// The time of a call from the JobTracker to the chunk store.
const STORE_TIME: Duration = Duration::from_millis(50);
/// The trackers start within this time, before the first job may be submitted.
const BOOT_TIME: Duration = Duration::from_secs(2);
/// How often the book looks at what the pools hold.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events after which it is told how far it is.
const TELL_EVERY: u64 = 1000;
/// Jobs that have not ended by then never will.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// Salts, so that random choices for one purpose do not depend on those for another.
const SALT_SHELVES: u64 = 0x5348_454C_5645_5331;
const SALT_SLOW: u64 = 0x534C_4F57_484F_5354;
const SALT_DEATHS: u64 = 0x4445_4154_4853_4F46;
const SALT_BOOT: u64 = 0x424F_4F54_5449_4D45;

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is invalid.
    #[error(transparent)]
    Invalid(InvalidScenario),
    /// Its jobs do not end.
    #[error(transparent)]
    NoEnd(NoEnd),
}

/// Jobs do not end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{jobs} jobs do not end: nothing happens any more, or more than {} days have passed. (Are hosts left that may run them?)",
    LONGEST.as_secs() / 86_400
)]
pub struct NoEnd {
    /// How many.
    pub jobs: usize,
}

/// A tracker's request.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Register(Box<RegisterTracker>),
    Heartbeat(Box<TrackerHeartbeat>),
}

/// The call that a reply answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Register,
    Heartbeat(SessionId, u64),
}

/// What happens at one time. Events of a tracker's process that has died since are ignored.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Boot(usize),
    Submit(usize),
    Asked { n: usize, life: u32, call: Call, ask: Ask },
    Answered { n: usize, life: u32, call: Call, reply: Box<Reply> },
    Step { n: usize, life: u32, id: AttemptId, step: u64 },
    Timeout { n: usize, life: u32, at: Monotonic },
    Stored(Box<Input>),
    Die { n: usize, back_after: Option<Duration> },
    Look,
}

/// Who waits for a reply.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Client(usize),
    Tracker { n: usize, life: u32, call: Call },
}

/// What is known of a job besides its plan.
pub(crate) struct Job {
    homes: Vec<Vec<usize>>,
    /// Present while the job runs, if it has reduces.
    pub(crate) shuffle: Option<Shuffle>,
}

/// The simulated cluster.
pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) line: Timeline<Event>,
    pub(crate) trackers: Vec<Tracker>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) book: Book,
    core: Core,
    askers: BTreeMap<ReplyTo, Asker>,
    next_reply: u64,
    /// The hosts' numbers, by name.
    numbers: BTreeMap<HostName, usize>,
    woken: Monotonic,
    n_events: u64,
    /// Tasks that have succeeded; one that was run again counts again.
    n_won: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let line = Timeline::new(false);
        let zero = line.now().monotonic + BOOT_TIME;
        let cluster = &scenario.cluster;
        let rack = |n: usize| n % cluster.racks;
        let is_slow = some(cluster.hosts, cluster.slow, scenario.seed ^ SALT_SLOW);
        let tracker = |n: usize| {
            let slowness =
                if is_slow[..cluster.slow].contains(&n) { cluster.slow_factor } else { 1.0 };
            Tracker::new(host_name(n), rack_name(rack(n)), slowness)
        };
        let trackers: Vec<_> = (0..cluster.hosts).map(tracker).collect();
        let random = Random::new(scenario.seed ^ SALT_SHELVES);
        let mut shelves = Shelves::new((0..cluster.hosts).map(rack).collect(), random);
        let job = |plan: &JobPlan| Job {
            homes: plan.maps.iter().map(|_| shelves.place()).collect(),
            shuffle: (!plan.reduces.is_empty()).then(|| Shuffle::new(plan.maps.len())),
        };
        let jobs = scenario.jobs.iter().map(job).collect();
        let rules = Settings { keeps_history: false, ..scenario.rules.clone() };
        let mut durable = Durable::default();
        let cluster = rules.cluster.clone();
        durable.apply(&Record::Initialised { cluster, former_journals: 0 });
        let numbers = trackers.iter().enumerate().map(|(n, it)| (it.host.clone(), n)).collect();
        Self {
            book: Book::new(zero, scenario),
            scenario,
            woken: line.now().monotonic,
            line,
            trackers,
            jobs,
            core: Core::new(rules, durable),
            askers: BTreeMap::new(),
            next_reply: 0,
            numbers,
            n_events: 0,
            n_won: 0,
        }
    }

    /// Runs until all jobs have ended. From time to time `tell` gets the number of finished tasks.
    pub(crate) fn run(mut self, tell: &dyn Fn(u64)) -> Result<Report, NoEnd> {
        let begins = self.line.now().monotonic;
        self.prepare(begins);
        self.tell(Input::Start);
        while self.book.n_unfinished() > 0 {
            let now = self.line.now().monotonic;
            // A little later, so that a timer that stays due does not stop the clock.
            let due = self.core.poll_timeout();
            let due = due.map(|due| due.max(self.woken + Duration::from_micros(10)));
            let next = self.line.soonest();
            let is_timeout = due.is_some_and(|due| next.is_none_or(|next| due <= next));
            if now.since(begins) > LONGEST || (!is_timeout && next.is_none()) {
                return Err(NoEnd { jobs: self.book.n_unfinished() });
            }
            self.n_events += 1;
            if self.n_events.is_multiple_of(TELL_EVERY) {
                tell(self.n_won);
            }
            match due.filter(|_| is_timeout) {
                Some(due) => {
                    self.line.pass(due);
                    self.woken = due;
                    let output = self.core.handle_timeout(self.line.now());
                    self.take(output);
                }
                None => self.next(),
            }
        }
        let slots = self.trackers.len() as u64 * u64::from(self.scenario.cluster.slots);
        Ok(self.book.report(slots, self.n_events))
    }

    /// Plans everything that happens without a cause in the simulation.
    fn prepare(&mut self, begins: Monotonic) {
        let zero = begins + BOOT_TIME;
        let mut random = Random::new(self.scenario.seed ^ SALT_BOOT);
        for n in 0..self.trackers.len() {
            self.at(begins + random.millis(1..1500), Event::Boot(n));
        }
        for (number, plan) in self.scenario.jobs.iter().enumerate() {
            self.at(zero + plan.at, Event::Submit(number));
        }
        let hosts = self.trackers.len();
        let dying: usize = self.scenario.deaths.iter().map(|deaths| deaths.hosts).sum();
        let order = some(hosts, dying, self.scenario.seed ^ SALT_DEATHS);
        let mut order = order.into_iter();
        for deaths in &self.scenario.deaths {
            for n in order.by_ref().take(deaths.hosts) {
                self.at(zero + deaths.at, Event::Die { n, back_after: deaths.back_after });
            }
        }
        if self.scenario.rules.pools.len() > 1 {
            self.at(zero, Event::Look);
        }
    }

    pub(crate) fn at(&mut self, at: Monotonic, event: Event) {
        let at = at.max(self.line.now().monotonic);
        self.line.put_off(at, event);
    }

    fn next(&mut self) {
        let Some(event) = self.line.next() else { return };
        let is_present = |n: usize, life: u32| self.trackers[n].life == life;
        match event {
            Event::Boot(n) => self.boot(n),
            Event::Submit(number) => self.submit(number),
            Event::Asked { n, life, call, ask } if is_present(n, life) => {
                self.asked(n, life, call, ask);
            }
            Event::Answered { n, life, call, reply } if is_present(n, life) => {
                self.give(n, answer(call, *reply));
            }
            Event::Step { n, life, id, step } if is_present(n, life) => self.step(n, id, step),
            Event::Timeout { n, life, at } if is_present(n, life) => self.timeout(n, at),
            Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Step { .. }
            | Event::Timeout { .. } => {}
            Event::Stored(input) => self.tell(*input),
            Event::Die { n, back_after } => {
                self.die(n, back_after.is_some());
                if let Some(after) = back_after {
                    let at = self.line.now().monotonic + after;
                    self.at(at, Event::Boot(n));
                }
            }
            Event::Look => self.look(),
        }
    }

    fn look(&mut self) {
        let now = self.line.now().monotonic;
        let summary = self.core.summary();
        self.book.look(now, summary.slots, &self.scenario.rules.pools, &summary.pools);
        self.at(now + LOOK_EVERY, Event::Look);
    }

    fn submit(&mut self, number: usize) {
        let plan = &self.scenario.jobs[number];
        let builtin = Builtin { name: "identity".to_owned(), args: BTreeMap::new() };
        let spec = Box::new(JobSpec {
            reduces: u32::try_from(plan.reduces.len()).ok(),
            priority: plan.priority,
            pool: plan.pool.clone(),
            speculative: plan.speculative,
            ..JobSpec::new(
                plan.name.clone(),
                vec![format!("/in/{number}")],
                format!("/out/{number}"),
                Program::Builtin(builtin),
            )
        });
        let reply_to = self.reply_to(Asker::Client(number));
        self.tell(Input::Submit { owner: String::new(), spec, key: None, reply_to });
    }

    fn reply_to(&mut self, asker: Asker) -> ReplyTo {
        self.next_reply += 1;
        let to = ReplyTo(self.next_reply);
        self.askers.insert(to, asker);
        to
    }

    /// A tracker sends a request.
    pub(crate) fn ask(&mut self, n: usize, call: Call, ask: Ask) {
        let (life, at) = (self.trackers[n].life, self.line.now().monotonic + LATENCY);
        self.at(at, Event::Asked { n, life, call, ask });
    }

    fn asked(&mut self, n: usize, life: u32, call: Call, ask: Ask) {
        let reply_to = self.reply_to(Asker::Tracker { n, life, call });
        self.trackers[n].asked.insert(reply_to);
        self.tell(match ask {
            Ask::Register(request) => Input::RegisterTracker { request, reply_to },
            Ask::Heartbeat(heartbeat) => Input::Heartbeat { heartbeat, reply_to },
        });
    }

    /// The connection of a request has broken.
    pub(crate) fn gone(&mut self, to: ReplyTo) {
        self.askers.remove(&to);
        self.tell(Input::Gone { reply_to: to });
    }

    fn tell(&mut self, input: Input) {
        let output = self.core.handle(self.line.now(), input);
        self.take(output);
    }

    /// Carries out what an input to the JobTracker led to.
    fn take(&mut self, output: Output) {
        let now = self.line.now().monotonic;
        let durable = if output.records.is_empty() { now } else { now + SYNC_TIME };
        for record in &output.records {
            self.book.record(now, record);
            self.n_won += u64::from(matches!(record, Record::TaskSucceeded { .. }));
            self.see(record);
        }
        for effect in output.effects {
            let stored = |input| Event::Stored(Box::new(input));
            match effect {
                Effect::Reply { to, reply } => self.reply(durable + LATENCY, to, reply),
                Effect::Tell(notice) => self.book.notice(&notice),
                Effect::Store(StoreEffect::PlanSplits { job, .. }) => {
                    let outcome = StoreOutcome::Done(self.plan(job));
                    self.at(durable + STORE_TIME, stored(Input::SplitsPlanned { job, outcome }));
                }
                Effect::Store(StoreEffect::Publish { job, .. }) => {
                    let outcome = StoreOutcome::Done(());
                    self.at(durable + STORE_TIME, stored(Input::Published { job, outcome }));
                }
                Effect::Store(StoreEffect::RemoveStaging { job, .. }) => {
                    let outcome = StoreOutcome::Done(());
                    self.at(durable + STORE_TIME, stored(Input::StagingRemoved { job, outcome }));
                }
                // Nothing is published elsewhere, no list of splits is staged, the JobTracker never
                // restarts, and no history is kept.
                Effect::Store(StoreEffect::ReadSplits { .. })
                | Effect::Store(StoreEffect::MakeStaging { .. })
                | Effect::Store(StoreEffect::PublishElsewhere { .. })
                | Effect::WriteHistory { .. }
                | Effect::KeepLog { .. } => {}
            }
        }
    }

    fn see(&mut self, record: &Record) {
        match record {
            Record::JobAccepted { job, spec, .. } => {
                let number = spec.output.strip_prefix("/out/").and_then(|it| it.parse().ok());
                number.into_iter().for_each(|number| self.book.accepted(*job, number));
            }
            Record::TaskSucceeded { attempt, host, .. } if attempt.task.kind == TaskKind::Map => {
                let at = (self.book.number(attempt.task.job), self.numbers.get(host).copied());
                if let (Some(job), Some(n)) = at {
                    let map = self.scenario.jobs[job].maps.get(attempt.task.index as usize);
                    if let Some(map) = map.copied() {
                        self.arrive(job, attempt.task.index, n, map);
                    }
                }
            }
            Record::JobEnded { job, .. } => {
                let number = self.book.number(*job);
                number.into_iter().for_each(|number| self.jobs[number].shuffle = None);
            }
            _ => {}
        }
    }

    fn reply(&mut self, at: Monotonic, to: ReplyTo, reply: Reply) {
        match self.askers.remove(&to) {
            Some(Asker::Tracker { n, life, call }) => {
                self.trackers[n].asked.remove(&to);
                self.at(at, Event::Answered { n, life, call, reply: Box::new(reply) });
            }
            Some(Asker::Client(number)) => {
                if let Reply::Refused(refusal) = reply {
                    self.book.refused(number, refusal.to_string());
                }
            }
            None => {}
        }
    }

    /// The splits of a job, and where they lie.
    fn plan(&self, job: JobId) -> Plan {
        let number = self.book.number(job).unwrap_or_default();
        let maps = &self.scenario.jobs[number].maps;
        let (path, mut offset) = (Arc::<str>::from(format!("/in/{number}")), 0);
        let file_length = maps.iter().map(|map| map.input).sum();
        let mut splits = Vec::with_capacity(maps.len());
        for (map, homes) in maps.iter().zip(&self.jobs[number].homes) {
            let length = map.input;
            let path = Arc::clone(&path);
            let piece = SplitPiece { path, offset, length, file_length, e_tag: None };
            offset += length;
            let home = |n: &usize| {
                let Tracker { host, rack, .. } = &self.trackers[*n];
                Arc::new(Home { host: host.clone(), rack: rack.clone() })
            };
            let homes = homes.iter().map(home).collect();
            splits.push(PlannedSplit { split: Split { pieces: vec![piece] }, homes });
        }
        Plan { splits, staged: None }
    }

    /// How near to its data a map runs on a host.
    pub(crate) fn place(&self, n: usize, id: AttemptId) -> Locality {
        let job = self.book.number(id.task.job).map(|number| &self.jobs[number]);
        let homes = job.and_then(|job| job.homes.get(id.task.index as usize));
        let homes = homes.map_or(&[][..], Vec::as_slice);
        let rack = &self.trackers[n].rack;
        if homes.contains(&n) {
            Locality::NodeLocal
        } else if homes.iter().any(|home| self.trackers[*home].rack == *rack) {
            Locality::RackLocal
        } else {
            Locality::OffRack
        }
    }
}

/// A reply as the input that a tracker's core takes.
fn answer(call: Call, reply: Reply) -> TrackerInput {
    match (call, reply) {
        (Call::Register, Reply::Registered(registered)) => TrackerInput::Registered(registered),
        (Call::Register, _) => TrackerInput::RegistrationFailed,
        (Call::Heartbeat(session, number), Reply::Heartbeat(reply)) => {
            TrackerInput::HeartbeatReply { session, number, reply: *reply }
        }
        (Call::Heartbeat(session, _), _) => TrackerInput::NotRegistered { session },
    }
}

/// `n` of the numbers below `all`, in random order.
fn some(all: usize, n: usize, seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    let mut left: Vec<usize> = (0..all).collect();
    (0..n.min(all)).map(|_| left.swap_remove(random.below(left.len()))).collect()
}

fn host_name(n: usize) -> HostName {
    format!("host-{n:05}").parse().expect("a host's name")
}

fn rack_name(n: usize) -> RackName {
    format!("/rack-{n:04}").parse().expect("a rack's name")
}
