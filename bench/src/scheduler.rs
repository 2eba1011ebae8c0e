//! The JobTracker's core alone, with as many hosts and tasks as no test machine has: how many tasks it places a second, near
//! how many of their bytes, and how much memory a task takes. No network, no journal, no clock: time is what the
//! pretended attempts take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ids::{Epoch, HeartbeatNumber, HostName, Inbox, Monotonic, Now, Outbox, UnixMillis};
use jobtracker_core::{
    Core, Durable, Effect, Home, Input, Output, Plan, PlannedSplit, Record, Reply, ReplyTo,
    Settings, StoreOutcome,
};
use mapreduce_protocol::{
    AttemptId, AttemptResult, Builtin, Failure, FailureKind, JobId, JobSpec, PROTOCOL_VERSION,
    Program, RegisterTracker, Split, SplitPiece, TaskKind, TrackerCommand, TrackerEvent,
    TrackerHeartbeat,
};

use crate::report::Report;

/// How large the pretended cluster is.
#[derive(Args, Clone, Debug)]
pub(crate) struct SchedulerArgs {
    /// TaskTrackers.
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,
    /// Racks that they stand in.
    #[arg(long, default_value_t = 25)]
    racks: usize,
    /// Jobs at once.
    #[arg(long, default_value_t = 200)]
    jobs: usize,
    /// Pools that they are in.
    #[arg(long, default_value_t = 20)]
    pools: usize,
    /// Maps of each job.
    #[arg(long, default_value_t = 2000)]
    maps: usize,
    /// Fail if a goal is missed.
    #[arg(long)]
    pub(crate) goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

const RATE_MIN: f64 = 200_000.0;
const TASK_BYTES_MAX: f64 = 500.0;

const SLOTS: u32 = 2;
const REPLICAS: usize = 3;
/// An attempt takes this long, and up to as much more.
const TASK_MS: u64 = 20_000;

/// Measures placements and memory.
pub(crate) fn measure(args: &SchedulerArgs, report: &mut Report) -> anyhow::Result<()> {
    let before = allocated();
    let mut cluster = Cluster::new(args.clone());
    cluster.register_all();
    let idle = allocated();
    cluster.core_time = Duration::ZERO;
    for job in 0..args.jobs {
        cluster.submit(job);
    }
    let n_tasks = (args.jobs * args.maps) as f64;
    let waiting = (allocated() - idle) as f64 / n_tasks;

    cluster.run();
    anyhow::ensure!(cluster.n_done as f64 == n_tasks, "{} of {n_tasks} tasks ran", cluster.n_done);
    let done = (allocated() - idle) as f64 / n_tasks;
    let launches = cluster.core.summary().launches;
    let placed = (launches.node_local + launches.rack_local + launches.off_rack) as f64;
    let rate = placed / cluster.core_time.as_secs_f64();
    let what = format!(
        "{} hosts, {} jobs of {} maps in {} pools",
        args.hosts, args.jobs, args.maps, args.pools
    );
    let local = 100.0 * launches.node_local as f64 / placed;
    let near = 100.0 * launches.rack_local as f64 / placed;
    report.row(
        format!("placements by the core alone: {what}"),
        format!("{rate:.0}/s; {local:.1} % node-local, {near:.1} % rack-local"),
        format!("≥ {RATE_MIN:.0}/s"),
        rate >= RATE_MIN,
    );
    report.row(
        "memory of a task, and of a host",
        format!(
            "{waiting:.0} B that waits, {done:.0} B that is done; {:.0} B a host",
            (idle - before) as f64 / args.hosts as f64
        ),
        format!("≤ {TASK_BYTES_MAX:.0} B a task"),
        waiting.max(done) <= TASK_BYTES_MAX,
    );
    Ok(())
}

/// Processor time of this thread: what a busy machine takes away does not count.
fn busy() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it fills in what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Bytes that this process has allocated, without what lies free between them.
fn allocated() -> u64 {
    // SAFETY: it only reads the allocator's own books.
    let books = unsafe { libc::mallinfo2() };
    (books.uordblks + books.hblkhd) as u64
}

/// A TaskTracker that does what it is told.
struct Toy {
    host: HostName,
    number: u64,
    events: Outbox<TrackerEvent>,
    inbox: Inbox,
    session: u64,
    /// Heartbeats without an answer.
    parked: u32,
    /// What runs there, and when it ends.
    running: BTreeMap<AttemptId, Monotonic>,
}

struct Cluster {
    args: SchedulerArgs,
    core: Core,
    now: Now,
    requests: u64,
    toys: Vec<Toy>,
    parked: BTreeMap<ReplyTo, usize>,
    /// Attempts that run, by their end.
    ends: BTreeSet<(Monotonic, usize, AttemptId)>,
    /// Trackers that have to heartbeat.
    restless: Vec<usize>,
    random: u64,
    core_time: Duration,
    n_done: usize,
}

impl Cluster {
    fn new(args: SchedulerArgs) -> Self {
        let cluster: ids::ClusterId = "cluster-1".parse().expect("a cluster's name");
        let mut durable = Durable::default();
        durable.apply(&Record::Initialised { cluster: cluster.clone(), former_journals: 0 });
        let never = config::Time(Duration::from_hours(1000));
        let jobtracker = config::Jobtracker {
            heartbeat_interval: never,
            dead_after: never,
            locality_wait: config::Time(Duration::from_secs(3)),
            speculative: false,
            history_keep: config::Time(Duration::ZERO),
            ..config::Jobtracker::default()
        };
        let rules = jobtracker::rules(&jobtracker, &pools(&args), cluster);
        let settings = Settings { recovery_grace: Duration::ZERO, ..rules };
        let toy = |n: usize| Toy {
            host: host(n),
            number: 0,
            events: Outbox::default(),
            inbox: Inbox::default(),
            session: 0,
            parked: 0,
            running: BTreeMap::new(),
        };
        let mut cluster = Self {
            core: Core::new(settings, durable),
            now: Now { monotonic: Monotonic::default(), wall: UnixMillis(1_795_305_600_000) },
            requests: 0,
            toys: (0..args.hosts).map(toy).collect(),
            parked: BTreeMap::new(),
            ends: BTreeSet::new(),
            restless: Vec::new(),
            random: 7,
            core_time: Duration::ZERO,
            n_done: 0,
            args,
        };
        cluster.give(|_| Input::Start);
        cluster
    }

    fn register_all(&mut self) {
        for n in 0..self.toys.len() {
            let request = Box::new(RegisterTracker {
                protocol: PROTOCOL_VERSION,
                cluster: None,
                host: self.toys[n].host.clone(),
                rack: rack(n % self.args.racks),
                address: format!("10.0.{}.{}:7881", n / 256, n % 256),
                incarnation: 1,
                slots: SLOTS,
                running: Vec::new(),
                map_outputs: Vec::new(),
                jobs: Vec::new(),
                not_isolated: None,
            });
            self.give(|reply_to| Input::RegisterTracker { request, reply_to });
            self.toys[n].session = n as u64 + 1;
            self.beat(n);
        }
    }

    fn submit(&mut self, nth: usize) {
        let builtin = Builtin { name: "identity".to_owned(), args: BTreeMap::new() };
        let spec = Box::new(JobSpec {
            pool: Some(pool(nth % self.args.pools)),
            ..JobSpec::new(
                format!("job {nth}"),
                vec!["/in".to_owned()],
                format!("/out/{nth}"),
                Program::Builtin(builtin),
            )
        });
        let ordinal = u32::try_from(nth + 1).expect("few jobs");
        let job = JobId { date: 20_261_122, ordinal };
        self.give(|reply_to| Input::Submit { owner: String::new(), spec, key: None, reply_to });
        let splits = (0..self.args.maps).map(|index| self.split(nth, index)).collect();
        let outcome = StoreOutcome::Done(Plan { splits, staged: None });
        self.give(|_| Input::SplitsPlanned { job, outcome });
    }

    /// A split with a replica on some host and two on another rack.
    fn split(&mut self, job: usize, index: usize) -> PlannedSplit {
        let (hosts, racks) = (self.args.hosts, self.args.racks);
        let first = self.next_random() % hosts;
        let second = self.next_random() % hosts;
        let third = (second + racks) % hosts;
        let homes = [first, second, third];
        let home = |n: &usize| Arc::new(Home { host: host(*n), rack: rack(*n % racks) });
        let piece = SplitPiece {
            path: format!("/in/job-{job:03}/part-{:05}", index / 16).into(),
            offset: (index % 16) as u64 * (64 << 20),
            length: 64 << 20,
            file_length: 1 << 30,
            e_tag: None,
        };
        let homes = homes.iter().take(REPLICAS).map(home).collect();
        PlannedSplit { split: Split { pieces: vec![piece] }, homes }
    }

    /// Lets attempts end and their trackers tell, until nothing runs.
    fn run(&mut self) {
        loop {
            while let Some(n) = self.restless.pop() {
                self.beat(n);
            }
            let due = self.core.poll_timeout();
            match self.ends.first().copied() {
                Some((at, n, attempt)) if due.is_none_or(|due| at <= due) => {
                    self.ends.pop_first();
                    self.advance_to(at);
                    let result = AttemptResult { digest: "0".repeat(32), ..Default::default() };
                    self.toys[n].running.remove(&attempt);
                    self.toys[n].events.push(TrackerEvent::Succeeded { attempt, result });
                    self.n_done += 1;
                    self.beat(n);
                }
                Some(_) => {
                    self.advance_to(due.unwrap_or_default());
                    let (now, begun) = (self.now, busy());
                    let output = self.core.handle_timeout(now);
                    self.core_time += busy().saturating_sub(begun);
                    self.take(output);
                }
                None => return,
            }
        }
    }

    fn advance_to(&mut self, at: Monotonic) {
        let passed = at.since(self.now.monotonic);
        self.now = Now { monotonic: self.now.monotonic + passed, wall: self.now.wall + passed };
    }

    fn beat(&mut self, n: usize) {
        let toy = &mut self.toys[n];
        toy.number += 1;
        toy.parked += 1;
        let heartbeat = Box::new(TrackerHeartbeat {
            host: toy.host.clone(),
            epoch: Epoch(1),
            session: toy.session,
            number: HeartbeatNumber(toy.number),
            events: toy.events.pending(1000).cloned().collect(),
            commands_done: toy.inbox.received(),
            running: Vec::new(),
            map_event_cursors: BTreeMap::new(),
            ailments: Vec::new(),
            disks_without: Vec::new(),
        });
        self.parked.insert(ReplyTo(self.requests + 1), n);
        self.give(|reply_to| Input::Heartbeat { heartbeat, reply_to });
    }

    fn give(&mut self, input: impl FnOnce(ReplyTo) -> Input) {
        self.requests += 1;
        let (now, input) = (self.now, input(ReplyTo(self.requests)));
        let begun = busy();
        let output = self.core.handle(now, input);
        self.core_time += busy().saturating_sub(begun);
        self.take(output);
    }

    fn take(&mut self, output: Output) {
        for effect in output.effects {
            let Effect::Reply { to, reply: Reply::Heartbeat(reply) } = effect else { continue };
            let Some(n) = self.parked.remove(&to) else { continue };
            let toy = &mut self.toys[n];
            toy.events.acknowledge(reply.events_received);
            toy.parked -= 1;
            // The newer one has the older answered: only who has no other one, or something to tell, must come again.
            let mut comes_again = toy.parked == 0;
            for command in toy.inbox.accept(reply.commands) {
                match command {
                    TrackerCommand::Launch(launch) => {
                        assert!(launch.attempt.task.kind == TaskKind::Map, "jobs have maps only");
                        let time = Duration::from_millis(TASK_MS + self.random % TASK_MS);
                        self.random = next(self.random);
                        let at = self.now.monotonic + time;
                        self.ends.insert((at, n, launch.attempt));
                        toy.running.insert(launch.attempt, at);
                    }
                    // A pool that has waited for its share takes slots from others.
                    TrackerCommand::Kill { attempt, reason } => {
                        let Some(at) = toy.running.remove(&attempt) else { continue };
                        self.ends.remove(&(at, n, attempt));
                        let failure = Failure { kind: FailureKind::Killed, message: reason };
                        let (status, record) = (None, None);
                        toy.events.push(TrackerEvent::Failed { attempt, failure, status, record });
                        comes_again = true;
                    }
                    TrackerCommand::Purge { .. } | TrackerCommand::DropMapOutput { .. } => {}
                }
            }
            if comes_again {
                self.restless.push(n);
            }
        }
    }

    fn next_random(&mut self) -> usize {
        self.random = next(self.random);
        (self.random >> 20) as usize
    }
}

/// Knuth's MMIX generator.
fn next(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn host(n: usize) -> HostName {
    format!("host-{n:05}").parse().expect("a host's name")
}

fn pool(n: usize) -> String {
    format!("pool-{n}")
}

/// Of different weights, some with a minimum share.
fn pools(args: &SchedulerArgs) -> Vec<config::Pool> {
    let pool = |n: usize| config::Pool {
        weight: Some(1 + (n % 4) as u32),
        min_slots: Some((n % 2 * args.hosts / args.pools.max(1)) as u32),
        ..config::Pool::named(pool(n))
    };
    (0..args.pools).map(pool).collect()
}

fn rack(n: usize) -> ids::RackName {
    format!("/rack-{n:02}").parse().expect("a rack's name")
}
