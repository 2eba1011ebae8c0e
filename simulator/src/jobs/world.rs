//! The world: one JobTracker, up to fifty TaskTrackers, clients with their jobs, and what happens
//! to them in the order of time. After a period with faults, everything is repaired and the world
//! must come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::{DEFAULT_POOL, PoolRule, Settings, Sharing, recovery_grace};

use crate::Violation;
use crate::jobs::client::Client;
use crate::jobs::faults::{self, Temper};
use crate::jobs::ground::{Event, Ground, Who};
use crate::jobs::invariants::{Seen, Watch};
use crate::jobs::jobtracker::JobTracker;
use crate::jobs::nature::{Nature, OTHER_POOL};
use crate::jobs::operator::Operator;
use crate::jobs::sabotage::Sabotage;
use crate::jobs::scene::{Outputs, Scene};
use crate::jobs::store::Store;
use crate::jobs::tracker::Tracker;
use crate::random::Random;

pub(crate) const TRACKERS: usize = 50;
pub(crate) const RACKS: usize = 5;
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Time limit for the answer to a request, and to a heartbeat, which may be parked.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(2);
pub(crate) const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// Silence after which a tracker ends an attempt.
pub(crate) const TASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence of the JobTracker after which a tracker ends all attempts.
pub(crate) const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the world may take to come to rest.
const REST_LIMIT: Duration = Duration::from_secs(600);
/// How often the world is checked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The outcome of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The violation, if there was one.
    pub violation: Option<Violation>,
    /// Number of events.
    pub n_events: u64,
    /// Number of attempts spawned.
    pub n_attempts: u64,
    /// Number of jobs that succeeded, failed, and were killed.
    pub n_jobs: [u64; 3],
    /// Number of map outputs lost while a reduce might still need them.
    pub n_lost: u64,
    /// How often a map's output changed when it ran again, so that reduces were undone.
    pub n_undone: u64,
    /// How long it lasted, in simulated time.
    pub time: Duration,
}

impl Outcome {
    /// Adds up both outcomes, as far as that makes sense.
    pub fn add(&mut self, other: &Self) {
        self.n_events += other.n_events;
        self.n_attempts += other.n_attempts;
        self.n_jobs.iter_mut().zip(other.n_jobs).for_each(|(sum, n)| *sum += n);
        self.n_lost += other.n_lost;
        self.n_undone += other.n_undone;
        self.time += other.time;
    }
}

/// The world of jobs.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) temper: Temper,
    pub(crate) jobtracker: JobTracker,
    pub(crate) trackers: Vec<Tracker>,
    /// Number of trackers in this world: the first ones.
    pub(crate) n_present: usize,
    clients: Vec<Client>,
    operator: Operator,
    /// Suspended processes, and until when.
    pub(crate) paused: BTreeMap<Who, Monotonic>,
    storm: Duration,
    mended: Option<Monotonic>,
    look_at: Monotonic,
    n_events: u64,
}

fn settings(random: &mut Random) -> Settings {
    let dead_after = *random.pick(&[Duration::from_secs(7), Duration::from_secs(10)]);
    Settings {
        cluster: "cluster-1".parse().expect("a cluster's id"),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        // With the lower value and many of the at most fifty trackers, all intervals are stretched.
        heartbeats_per_second: *random.pick(&[10, 1000]),
        dead_after,
        max_attempts: 4,
        locality_wait: *random.pick(&[Duration::ZERO, Duration::from_millis(600)]),
        reduce_slowstart: *random.pick(&[0.0, 0.05, 0.5, 1.0]),
        pools: pools(random),
        preempt_after: *random.pick(&[
            None,
            Some(Duration::from_secs(3)),
            Some(Duration::from_secs(15)),
        ]),
        speculative: random.chance(700),
        speculative_share: *random.pick(&[0.0, 0.25, 1.0]),
        fetch_failures_max: *random.pick(&[1, 3]),
        host_failures_max: *random.pick(&[0, 1, 3]),
        host_strikes_max: *random.pick(&[0, 1, 3]),
        host_forgiven_after: *random.pick(&[Duration::from_secs(20), Duration::from_hours(1)]),
        set_aside_share: 0.25,
        finished_jobs_max: *random.pick(&[1, 1000]),
        keeps_history: random.chance(500),
        recovery_grace: recovery_grace(HEARTBEAT_INTERVAL, dead_after),
    }
}

/// Silence after which any tracker is lost when all are present: three heartbeats, if this many
/// trackers may not heartbeat as often as configured.
fn longest_silence(settings: &Settings, n_trackers: usize) -> Duration {
    let all = Duration::from_secs(n_trackers as u64) / settings.heartbeats_per_second;
    match all > settings.heartbeat_interval {
        true => settings.dead_after.max(all * 3),
        false => settings.dead_after,
    }
}

/// The default pool, and another one with a minimum share.
fn pools(random: &mut Random) -> Vec<PoolRule> {
    let sharing = if random.chance(700) { Sharing::Fair } else { Sharing::Fifo };
    let promised = PoolRule {
        weight: random.within(1..5) as u32,
        min_slots: *random.pick(&[0, 4, 40]),
        slots_max: *random.pick(&[None, None, Some(1), Some(3)]),
        running_jobs_max: *random.pick(&[None, None, Some(1), Some(2)]),
        sharing,
        ..PoolRule::named(OTHER_POOL)
    };
    vec![PoolRule { sharing, ..PoolRule::named(DEFAULT_POOL) }, promised]
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> Self {
        let mut ground = Ground::new(seed, traced);
        let temper = faults::draw(&mut ground);
        let weather = ground.weather;
        ground.say(format_args!("seed {seed}, {temper:?}, {weather:?}"));
        let random = &mut ground.random;
        let settings = settings(random);
        let storm = random.millis(5_000..30_000);
        let n_present = *random.pick(&[TRACKERS, TRACKERS, TRACKERS, 12, 4]);
        let n_jobs = random.within(2..8);
        let natures = (0..n_jobs).map(|n| Nature::draw(random, n, storm)).collect();
        let disk = (*random.pick(&[1, 5, 200]), *random.pick(&[0, 0, 20]));
        let store = Store::new(*random.pick(&[20, 20, 3000]));
        let tracker = |n| {
            let slots = random.within(1..4) as u32;
            let slowness = if random.chance(100) { 3 } else { 1 };
            Tracker::new(n, (slots, slowness), sabotage)
        };
        let trackers: Vec<Tracker> = (0..n_present).map(tracker).collect();
        ground.say(format_args!("{n_present} trackers, {settings:?}"));
        let dead_after = settings.dead_after;
        let longest_silence = longest_silence(&settings, n_present);
        let jobtracker = JobTracker::new(settings, disk, sabotage);
        let watch = Watch::new(sabotage == Some(Sabotage::DigestForged));
        let outputs = Outputs::default();
        let mut scene = Scene {
            ground,
            watch,
            store,
            outputs,
            natures,
            dead_after,
            longest_silence,
            settled_at: Monotonic::default(),
            is_calm: false,
        };
        let clients = (0..n_jobs).map(|n| Client::new(&mut scene, n)).collect();
        let operator = Operator::new(&mut scene, n_jobs, n_present);
        scene.ground.after(Duration::ZERO, Event::Started(Who::JobTracker));
        for n in 0..n_present {
            // Some hosts come late.
            let latest = if scene.ground.random.chance(100) { 20_000 } else { 200 };
            let pause = scene.ground.random.millis(0..latest);
            scene.ground.after(pause, Event::Started(Who::Tracker(n)));
        }
        faults::schedule(&temper, &mut scene.ground);
        Self {
            scene,
            temper,
            jobtracker,
            trackers,
            n_present,
            clients,
            operator,
            paused: BTreeMap::new(),
            storm,
            mended: None,
            look_at: Monotonic::default(),
            n_events: 0,
        }
    }

    /// Runs the world to its end.
    pub(crate) fn run(&mut self) -> Outcome {
        let mend_at = self.scene.ground.now().monotonic + self.storm;
        while let Some(event) = self.scene.ground.next() {
            let now = self.scene.ground.now().monotonic;
            if self.mended.is_none() && now >= mend_at {
                self.mended = Some(now);
                self.mend();
            }
            self.happen(event);
            if self.jobtracker.is_torn() {
                self.crash_jobtracker();
            }
            if self.scene.watch.violation().is_some() || self.is_at_rest() {
                break;
            }
        }
        let Seen { n_attempts, n_lost, n_undone, n_succeeded, n_failed, n_killed } =
            self.scene.watch.seen;
        let Monotonic(time) = self.scene.ground.now().monotonic;
        Outcome {
            violation: self.scene.watch.violation().cloned(),
            n_events: self.n_events,
            n_attempts,
            n_jobs: [n_succeeded, n_failed, n_killed],
            n_lost,
            n_undone,
            time,
        }
    }

    /// Suspends a process, which later continues with all that has arrived meanwhile; returns until
    /// when.
    pub(crate) fn pause(&mut self, who: Who) -> Monotonic {
        let time = self.scene.ground.random.millis(50..15_000);
        self.scene.ground.say(format_args!("{who:?} stands still for {time:?}"));
        let until = self.paused.entry(who).or_default();
        *until = (self.scene.ground.now().monotonic + time).max(*until);
        *until
    }

    fn happen(&mut self, event: Event) {
        self.n_events += 1;
        let now = self.scene.ground.now().monotonic;
        let still = event.whose().and_then(|who| self.paused.get(&who)).filter(|at| **at > now);
        if let Some(until) = still.copied() {
            return self.scene.ground.put_off(until, event);
        }
        let Self { scene, jobtracker, trackers, clients, operator, .. } = self;
        match event {
            Event::Asked { from, call, ask } => jobtracker.receive(scene, (from, call), *ask),
            Event::Gone(call) => jobtracker.gone(scene, call),
            Event::Answered { to, call, answer } => match to {
                Who::Tracker(n) => trackers[n].answered(scene, call, Some(*answer)),
                Who::Client(n) if n == clients.len() => {
                    operator.answered(scene, call, Some(*answer));
                }
                Who::Client(n) => clients[n].answered(scene, call, Some(*answer)),
                Who::JobTracker => {}
            },
            Event::CallFailed { to, call } => match to {
                Who::Tracker(n) => trackers[n].answered(scene, call, None),
                Who::Client(n) if n == clients.len() => operator.answered(scene, call, None),
                Who::Client(n) => clients[n].answered(scene, call, None),
                Who::JobTracker => {}
            },
            Event::StoreAsked(number) => jobtracker.store_asked(scene, number),
            Event::StoreAnswered { life, input } if life == jobtracker.life => {
                jobtracker.handle(scene, *input);
            }
            Event::Synced { life, upto } if life == jobtracker.life => {
                jobtracker.synced(scene, upto);
            }
            Event::Timeout { who: Who::JobTracker, life, at } if life == jobtracker.life => {
                jobtracker.timeout(scene, at);
            }
            Event::Timeout { who: Who::Tracker(n), life, at } if life == trackers[n].life => {
                trackers[n].timeout(scene, at);
            }
            Event::Process { tracker, life, attempt, step } if life == trackers[tracker].life => {
                trackers[tracker].step(scene, attempt, step);
            }
            Event::Missed { tracker, output } => trackers[tracker].missed(scene, output),
            Event::Errand(n) if n == clients.len() => operator.go_on(scene),
            Event::Errand(n) => clients[n].go_on(scene),
            Event::Begun(fault) => self.begin(fault),
            Event::Started(Who::JobTracker) => jobtracker.start(scene),
            Event::Started(Who::Tracker(n)) => trackers[n].start(scene),
            Event::StoreAnswered { .. }
            | Event::Synced { .. }
            | Event::Timeout { .. }
            | Event::Process { .. }
            | Event::Started(Who::Client(_)) => {}
        }
    }

    /// Checks the world now and then. After the faults, returns whether everything has ended well;
    /// if it takes too long, that is a violation.
    fn is_at_rest(&mut self) -> bool {
        let now = self.scene.ground.now().monotonic;
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_INTERVAL;
        let n_waiting = self.scene.ground.n_waiting();
        self.scene.watch.check_events(n_waiting);
        let stands_still = self.paused.get(&Who::JobTracker).is_some_and(|until| *until > now);
        if self.jobtracker.runs() && !stands_still {
            let longest = self.scene.longest_silence;
            self.scene.watch.check_lost_maps(now, longest);
        }
        let Some(mended) = self.mended else { return false };
        self.check_starvation(now);
        let Some(unrest) = self.unrest() else {
            self.jobtracker.check_fold(&mut self.scene);
            self.scene.check_outputs();
            return true;
        };
        if now.since(mended) > REST_LIMIT {
            let (invariant, what) = unrest;
            let what = format!("after {REST_LIMIT:?} without faults {what}");
            self.scene.watch.broken(invariant, what);
        }
        false
    }

    /// What is not finished, and which invariant that breaks if it never is.
    fn unrest(&self) -> Option<(&'static str, String)> {
        let book = &self.scene.watch.book;
        if let Some((job, _)) = book.jobs.iter().find(|(_, it)| it.ended.is_none()) {
            return Some(("ends", format!("{job} has not ended")));
        }
        if let Some(n) = self.clients.iter().position(|client| !client.is_done()) {
            return Some(("ends", format!("client {n} does not know how its job ended")));
        }
        if !self.operator.is_done() {
            return Some(("ends", "the operator has not taken all back".to_owned()));
        }
        for tracker in &self.trackers {
            if let Some(attempt) = self.scene.watch.survivor(&tracker.processes) {
                return Some(("leftovers", format!("{attempt} runs on host-{}", tracker.n)));
            }
        }
        let left = self.scene.leftover().or_else(|| self.jobtracker.occupied());
        let left = left.or_else(|| self.jobtracker.unwritten());
        left.map(|left| ("leftovers", left))
    }

    fn check_starvation(&mut self, now: Monotonic) {
        let Some(core) = &self.jobtracker.core else { return };
        // If jobs queue up, one may wait for all others; and in a pool with few slots, a task that
        // has failed on a host waits until others leave the pool a slot elsewhere.
        let queues_up = |pool: &PoolRule| {
            pool.sharing != Sharing::Fair
                || pool.running_jobs_max.is_some()
                || pool.slots_max.is_some()
        };
        if self.jobtracker.settings.pools.iter().any(queues_up) {
            return;
        }
        let jobs = self.scene.watch.book.jobs.iter();
        let unfinished = jobs.filter(|(_, book)| book.ended.is_none()).map(|(job, _)| *job);
        for job in unfinished.collect::<Vec<_>>() {
            if let Some(status) = core.status(job) {
                self.scene.watch.check_starvation(now, job, &status);
            }
        }
    }
}
