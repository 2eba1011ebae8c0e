//! The rules of the scheduler, told as stories: a core, toy TaskTrackers that obey it, and a chunk
//! store that answers what the story wants.

mod backups;
mod elsewhere;
mod explanations;
mod failures;
mod histories;
mod hosts;
mod interventions;
mod jobs;
mod members;
mod overtime;
mod pauses;
mod placement;
mod pools;
mod reduce_homes;
mod restarts;
mod scale;
mod sharing;
mod sick_hosts;
mod skips;
mod staging;
mod timelines;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ids::{Epoch, HeartbeatNumber, HostName, Inbox, Monotonic, Now, Outbox, Room, UnixMillis};
use mapreduce_protocol::{
    Ailment, AttemptId, AttemptProgress, AttemptResult, AttemptState, AttemptStatus, Builtin,
    Failure, FailureKind, HostState, HostStatus, JobId, JobSpec, JobState, JobStatus, Launch,
    MapEvent, NamedOutput, OutputSizes, PROTOCOL_VERSION, PoolList, PoolStatus, Priority, Program,
    RegisterTracker, Split, SplitPiece, StagedOutput, TaskCounts, TaskKind, TrackerCommand,
    TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply,
};

use crate::{
    ATTEMPTS_PER_TERM, Core, DEFAULT_POOL, Durable, Effect, EndsAs, Home, IdempotencyKey, Input,
    JobFilter, Notice, Output, Part, Phases, Plan, PlannedSplit, PoolRule, PoolVerb, Query,
    RECORD_BYTES_MAX, Record, Refusal, Reply, ReplyTo, STORE_RETRY, Settings, Sharing,
    StagedSplits, StoreEffect, StoreOutcome, staging_folder,
};

/// 2026-11-22T00:00:00Z.
const MIDNIGHT: u64 = 1_795_305_600_000;

/// A TaskTracker that does as it is told.
#[derive(Debug, Default)]
struct Toy {
    incarnation: u64,
    slots: u32,
    rack: String,
    address: String,
    registered: Option<(Epoch, u64)>,
    number: u64,
    events: Outbox<TrackerEvent>,
    inbox: Inbox,
    running: BTreeMap<AttemptId, Launch>,
    outputs: BTreeSet<AttemptId>,
    /// Jobs of which it holds any other data.
    jobs: BTreeSet<JobId>,
    /// The progress that it reports for attempts.
    progress: BTreeMap<AttemptId, f32>,
    /// The map events read so far, by job.
    news: BTreeMap<JobId, Vec<MapEvent>>,
    dead: bool,
    ailments: Vec<Ailment>,
    disks_without: Vec<Ailment>,
    /// Attempts that do not end when told to.
    hung: BTreeSet<AttemptId>,
}

impl Toy {
    fn cursors(&self) -> BTreeMap<JobId, u64> {
        let reduces = self.running.keys().filter(|it| it.task.kind == TaskKind::Reduce);
        let jobs: BTreeSet<_> = reduces.map(|it| it.task.job).collect();
        jobs.into_iter()
            .map(|job| (job, self.news.get(&job).map_or(0, |n| n.len() as u64)))
            .collect()
    }

    fn obey(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Launch(launch) => {
                self.running.insert(launch.attempt, launch);
            }
            TrackerCommand::Kill { attempt, .. } => self.kill(attempt),
            TrackerCommand::Purge { job } => {
                self.outputs.retain(|output| output.task.job != job);
                self.jobs.remove(&job);
                let over: Vec<_> =
                    self.running.keys().filter(|it| it.task.job == job).copied().collect();
                for attempt in over {
                    self.kill(attempt);
                }
            }
            TrackerCommand::DropMapOutput { attempt } => {
                self.outputs.remove(&attempt);
            }
        }
    }

    fn kill(&mut self, attempt: AttemptId) {
        if !self.hung.contains(&attempt) && self.running.remove(&attempt).is_some() {
            let failure = failure(FailureKind::Killed, "told to");
            self.events.push(TrackerEvent::Failed { attempt, failure, status: None, record: None });
        }
    }
}

fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned() }
}

/// A core and its surroundings.
struct Story {
    core: Core,
    settings: Settings,
    now: Now,
    requests: u64,
    /// Parked heartbeats, by request.
    parked: BTreeMap<ReplyTo, HostName>,
    replies: BTreeMap<ReplyTo, Reply>,
    /// Calls to the chunk store, oldest first.
    effects: Vec<Effect>,
    notices: Vec<Notice>,
    records: Vec<Record>,
    toys: BTreeMap<HostName, Toy>,
    /// Whether [`StoreEffect::MakeStaging`] succeeds at once.
    makes_staging: bool,
}

pub(crate) fn settings() -> Settings {
    Settings {
        cluster: "cluster-1".parse().unwrap(),
        heartbeat_interval: Duration::from_secs(1),
        heartbeats_per_second: 1000,
        dead_after: Duration::from_secs(10),
        max_attempts: 4,
        locality_wait: Duration::from_secs(1),
        reduce_slowstart: 0.05,
        pools: vec![PoolRule::named(DEFAULT_POOL)],
        preempt_after: Some(Duration::from_secs(15)),
        speculative: true,
        speculative_share: 0.25,
        fetch_failures_max: 3,
        host_failures_max: 3,
        host_strikes_max: 3,
        host_forgiven_after: Duration::from_hours(1),
        set_aside_share: 0.25,
        finished_jobs_max: 1000,
        keeps_history: false,
        recovery_grace: Duration::from_secs(3),
    }
}

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn wordcount(output: &str, reduces: u32) -> JobSpec {
    let builtin = Builtin { name: "wordcount".to_owned(), args: BTreeMap::new() };
    JobSpec {
        reduces: Some(reduces),
        ..JobSpec::new("count", vec!["/in".to_owned()], output, Program::Builtin(builtin))
    }
}

fn identity(output: &str) -> JobSpec {
    let builtin = Builtin { name: "identity".to_owned(), args: BTreeMap::new() };
    JobSpec { program: Program::Builtin(builtin), reduces: None, ..wordcount(output, 1) }
}

/// A split of one byte at `index`, on `homes`, each `host` or `host/rack`.
fn split(index: usize, homes: &[&str]) -> PlannedSplit {
    let home = |text: &&str| match text.split_once('/') {
        Some((host, rack)) => {
            Home { host: host.parse().unwrap(), rack: format!("/{rack}").parse().unwrap() }
        }
        None => Home { host: text.parse().unwrap(), rack: Default::default() },
    };
    let piece = SplitPiece {
        path: "/in".into(),
        offset: index as u64,
        length: 1,
        file_length: 1 << 20,
        e_tag: None,
    };
    let homes = homes.iter().map(home).map(Arc::new).collect();
    PlannedSplit { split: Split { pieces: vec![piece] }, homes }
}

/// What an attempt stages if its job's output is in another store.
fn staged_by(attempt: AttemptId, launch: &Launch) -> Option<StagedOutput> {
    launch.job.output.as_ref().map(|_| StagedOutput {
        upload: Some(format!("upload of {attempt}")),
        parts: vec!["part".to_owned()],
        bytes: 1,
    })
}

fn splits(homes: &[&[&str]]) -> Vec<PlannedSplit> {
    homes.iter().enumerate().map(|(index, homes)| split(index, homes)).collect()
}

impl Story {
    fn begin() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let mut durable = Durable::default();
        let cluster = settings.cluster.clone();
        let initialised = Record::Initialised { cluster, former_journals: 0 };
        durable.apply(&initialised);
        let mut story = Self {
            core: Core::new(settings.clone(), durable),
            settings,
            now: Now { monotonic: Monotonic::default(), wall: UnixMillis(MIDNIGHT) },
            requests: 0,
            parked: BTreeMap::new(),
            replies: BTreeMap::new(),
            effects: Vec::new(),
            notices: Vec::new(),
            records: vec![initialised],
            toys: BTreeMap::new(),
            makes_staging: true,
        };
        story.give(Input::Start);
        story
    }

    /// Folds the records into a fresh core, as a restarted JobTracker does.
    fn restart(&mut self) {
        let mut durable = Durable::default();
        for record in &self.records {
            durable.apply(record);
        }
        assert_eq!(&durable, self.core.durable(), "the fold is the live state");
        self.core = Core::new(self.settings.clone(), durable);
        self.parked.clear();
        self.effects.clear();
        self.give(Input::Start);
    }

    /// Restarts the JobTracker, and the live trackers register again.
    fn restart_with_trackers(&mut self) {
        self.restart();
        let hosts: Vec<_> = self.toys.keys().cloned().collect();
        for host in hosts.iter().filter(|host| !self.toys[*host].dead).collect::<Vec<_>>() {
            self.register(host);
            self.beat(host);
        }
        self.beat_all();
    }

    /// A power failure before the last `n_records` records are on disk; their effects never
    /// happened.
    fn restart_without(&mut self, n_records: usize) {
        self.records.truncate(self.records.len() - n_records);
        let mut durable = Durable::default();
        self.records.iter().for_each(|record| durable.apply(record));
        self.core = Core::new(self.settings.clone(), durable);
        self.parked.clear();
        self.effects.clear();
        self.give(Input::Start);
    }

    /// Goes on with the cluster's second journal, as `--init` in an empty folder makes it.
    fn lose_the_journal(&mut self) {
        let cluster = self.settings.cluster.clone();
        self.records = vec![Record::Initialised { cluster, former_journals: 1 }];
        let mut durable = Durable::default();
        durable.apply(&self.records[0]);
        self.core = Core::new(self.settings.clone(), durable);
        self.parked.clear();
        self.effects.clear();
        self.give(Input::Start);
    }

    fn give(&mut self, input: Input) {
        let output = self.core.handle(self.now, input);
        self.take(output);
    }

    fn take(&mut self, output: Output) {
        self.core.check_invariants();
        self.core.check_placements(self.now);
        self.core.check_explanations(self.now.monotonic);
        for record in &output.records {
            // The journal's own encoding is shorter.
            let bytes = serde_json::to_vec(record).expect("a record is plain data").len();
            assert!(bytes <= RECORD_BYTES_MAX, "the journal takes no record of {bytes} bytes");
        }
        self.records.extend(output.records);
        let mut made = Vec::new();
        for effect in output.effects {
            match effect {
                Effect::Store(StoreEffect::MakeStaging { job, .. }) if self.makes_staging => {
                    made.push(job);
                }
                Effect::Reply { to, reply } => match (self.parked.remove(&to), reply) {
                    (Some(host), Reply::Heartbeat(reply)) => self.deliver(&host, *reply),
                    (Some(host), Reply::Refused(_)) => self.toy(&host).registered = None,
                    (Some(_), other) => panic!("a heartbeat was answered with {other:?}"),
                    (None, reply) => {
                        assert!(self.replies.insert(to, reply).is_none(), "one reply each");
                    }
                },
                Effect::Tell(notice) => self.notices.push(notice),
                other => self.effects.push(other),
            }
        }
        for job in made {
            self.give(Input::StagingMade { job, outcome: StoreOutcome::Done(()) });
        }
    }

    fn deliver(&mut self, host: &HostName, reply: TrackerHeartbeatReply) {
        let toy = self.toys.get_mut(host).unwrap();
        if toy.dead {
            return;
        }
        toy.events.acknowledge(reply.events_received);
        for command in toy.inbox.accept(reply.commands) {
            toy.obey(command);
        }
        for news in reply.map_events {
            let known = toy.news.entry(news.job).or_default();
            let skip = known.len().saturating_sub(news.first as usize);
            if news.first as usize <= known.len() {
                known.extend(news.events.into_iter().skip(skip));
            }
        }
    }

    fn toy(&mut self, host: &HostName) -> &mut Toy {
        self.toys.get_mut(host).unwrap()
    }

    fn ask(&mut self) -> ReplyTo {
        self.requests += 1;
        ReplyTo(self.requests)
    }

    /// Sends a request and takes its reply, which must come at once.
    fn answer(&mut self, input: impl FnOnce(ReplyTo) -> Input) -> Reply {
        let to = self.ask();
        self.give(input(to));
        self.replies.remove(&to).expect("an answer at once")
    }

    fn query(&mut self, query: Query) -> Reply {
        self.answer(|reply_to| Input::Query { query, reply_to })
    }

    fn submit(&mut self, spec: JobSpec) -> JobId {
        let spec = Box::new(spec);
        match self.answer(|reply_to| Input::Submit {
            owner: String::new(),
            spec,
            key: None,
            reply_to,
        }) {
            Reply::Accepted(accepted) => accepted.id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn plan(&mut self, job: JobId, splits: Vec<PlannedSplit>) {
        let outcome = StoreOutcome::Done(Plan { splits, staged: None });
        self.give(Input::SplitsPlanned { job, outcome });
    }

    /// A planned job; `homes` names the hosts with each map's bytes.
    fn job(&mut self, reduces: u32, homes: &[&[&str]]) -> JobId {
        let output = format!("/out-{}", self.requests);
        let spec = if reduces == 0 { identity(&output) } else { wordcount(&output, reduces) };
        let job = self.submit(spec);
        self.plan(job, splits(homes));
        job
    }

    fn status(&mut self, job: JobId) -> JobStatus {
        match self.query(Query::Status { job, wait: None }) {
            Reply::Status(status) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    /// Registers a new tracker, `host` or `host/rack`, and lets it heartbeat.
    fn tracker(&mut self, name: &str, slots: u32) -> HostName {
        let (name, rack) = name.split_once('/').unwrap_or((name, "default-rack"));
        let host = host(name);
        let toy = Toy {
            incarnation: 1,
            slots,
            rack: format!("/{rack}"),
            address: format!("{name}:7881"),
            ..Toy::default()
        };
        self.toys.insert(host.clone(), toy);
        self.register(&host);
        self.beat(&host);
        host
    }

    fn registration(&self, host: &HostName) -> Box<RegisterTracker> {
        let toy = &self.toys[host];
        Box::new(RegisterTracker {
            protocol: PROTOCOL_VERSION,
            cluster: None,
            host: host.clone(),
            rack: toy.rack.parse().unwrap(),
            address: toy.address.clone(),
            incarnation: toy.incarnation,
            slots: toy.slots,
            running: toy.running.keys().copied().collect(),
            map_outputs: toy.outputs.iter().copied().collect(),
            jobs: toy.jobs.iter().copied().collect(),
            not_isolated: None,
        })
    }

    fn register_reply(&mut self, host: &HostName) -> Reply {
        let request = self.registration(host);
        self.answer(|reply_to| Input::RegisterTracker { request, reply_to })
    }

    fn register(&mut self, host: &HostName) {
        match self.register_reply(host) {
            Reply::Registered(registered) => {
                let toy = self.toy(host);
                let unacknowledged: Vec<_> =
                    toy.events.pending(usize::MAX).map(|event| event.item.clone()).collect();
                toy.events = Outbox::default();
                for event in unacknowledged {
                    toy.events.push(event);
                }
                toy.registered = Some((registered.epoch, registered.session));
                toy.number = 0;
                toy.inbox = Inbox::default();
                toy.news.clear();
            }
            other => panic!("not registered: {other:?}"),
        }
    }

    fn heartbeat(&mut self, host: &HostName) -> TrackerHeartbeat {
        let toy = self.toy(host);
        let (epoch, session) = toy.registered.expect("a registered tracker");
        toy.number += 1;
        TrackerHeartbeat {
            host: host.clone(),
            epoch,
            session,
            number: HeartbeatNumber(toy.number),
            events: toy.events.pending(1000).cloned().collect(),
            commands_done: toy.inbox.received(),
            running: toy
                .progress
                .iter()
                .map(|(attempt, progress)| AttemptProgress {
                    attempt: *attempt,
                    progress: *progress,
                    status: None,
                })
                .collect(),
            map_event_cursors: toy.cursors(),
            ailments: toy.ailments.clone(),
            disks_without: toy.disks_without.clone(),
        }
    }

    fn send(&mut self, heartbeat: TrackerHeartbeat) -> ReplyTo {
        let reply_to = self.ask();
        self.parked.insert(reply_to, heartbeat.host.clone());
        self.give(Input::Heartbeat { heartbeat: Box::new(heartbeat), reply_to });
        reply_to
    }

    /// Heartbeats until one is parked.
    fn beat(&mut self, host: &HostName) {
        for _ in 0..100 {
            let heartbeat = self.heartbeat(host);
            let to = self.send(heartbeat);
            if self.parked.contains_key(&to) || self.toy(host).registered.is_none() {
                return;
            }
        }
        panic!("{host} never gets to park");
    }

    fn beat_all(&mut self) {
        let hosts: Vec<_> = self.toys.keys().cloned().collect();
        for _ in 0..2 {
            for host in &hosts {
                if !self.toys[host].dead && self.toys[host].registered.is_some() {
                    self.beat(host);
                }
            }
        }
    }

    fn event(&mut self, host: &HostName, event: TrackerEvent) {
        self.toy(host).events.push(event);
        self.beat(host);
    }

    fn succeed(&mut self, attempt: AttemptId) {
        self.succeed_with(attempt, "digest");
    }

    fn succeed_with(&mut self, attempt: AttemptId, digest: &str) {
        self.succeed_so(attempt, digest, None, &[]);
    }

    /// A map succeeds with this many bytes for each reduce.
    fn succeed_with_sizes(&mut self, attempt: AttemptId, partitions: &[u64]) {
        let sizes = OutputSizes::of(partitions.iter().copied());
        self.succeed_so(attempt, "digest", Some(sizes), &[]);
    }

    /// A task succeeds with these named outputs.
    fn succeed_with_named(&mut self, attempt: AttemptId, named: &[&str]) {
        self.succeed_so(attempt, "digest", None, named);
    }

    fn succeed_so(
        &mut self,
        attempt: AttemptId,
        digest: &str,
        sizes: Option<OutputSizes>,
        named: &[&str],
    ) {
        let host = self.host_of(attempt);
        let toy = self.toy(&host);
        let launch = toy.running.remove(&attempt).unwrap();
        if attempt.task.kind == TaskKind::Map && launch.job.n_reduces > 0 {
            toy.outputs.insert(attempt);
        }
        let counters = BTreeMap::from([("task.records".to_owned(), 1)]);
        let staged = staged_by(attempt, &launch);
        let output = |name: &&str| NamedOutput { name: (*name).to_owned(), staged: staged.clone() };
        let named = named.iter().map(output).collect();
        let digest = digest.to_owned();
        let result = AttemptResult { digest, counters, staged, sizes, named };
        self.event(&host, TrackerEvent::Succeeded { attempt, result });
    }

    fn fail(&mut self, attempt: AttemptId, kind: FailureKind) {
        let host = self.host_of(attempt);
        self.toy(&host).running.remove(&attempt).unwrap();
        let failure = failure(kind, "boom");
        self.event(&host, TrackerEvent::Failed { attempt, failure, status: None, record: None });
    }

    fn host_of(&self, attempt: AttemptId) -> HostName {
        let runs = |toy: &Toy| toy.running.contains_key(&attempt);
        let host = self.toys.iter().find(|(_, toy)| runs(toy)).map(|(host, _)| host.clone());
        host.unwrap_or_else(|| panic!("{attempt} runs nowhere: {:?}", self.running_everywhere()))
    }

    /// Attempts that run on `host`.
    fn running(&self, host: &HostName) -> Vec<AttemptId> {
        self.toys[host].running.keys().copied().collect()
    }

    fn running_everywhere(&self) -> Vec<AttemptId> {
        let mut all: Vec<_> =
            self.toys.values().flat_map(|toy| toy.running.keys().copied()).collect();
        all.sort();
        all
    }

    /// Makes whatever runs succeed until nothing does.
    fn run_all(&mut self) {
        for _ in 0..10_000 {
            match self.running_everywhere().first() {
                Some(attempt) => self.succeed(*attempt),
                None => return,
            }
        }
        panic!("it never ends");
    }

    /// Lets time pass and timers go off; live trackers heartbeat each time.
    fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.advance_to(at);
            let output = self.core.handle_timeout(self.now);
            self.take(output);
            let hosts: Vec<_> = self.toys.keys().cloned().collect();
            for host in hosts {
                let toy = &self.toys[&host];
                let waits = self.parked.values().any(|parked| *parked == host);
                if !toy.dead && toy.registered.is_some() && !waits {
                    self.beat(&host);
                }
            }
        }
        self.advance_to(until);
    }

    /// The JobTracker's process is suspended; when it continues, it sees its timers first.
    fn pause(&mut self, time: Duration) {
        self.advance_to(self.now.monotonic + time);
        let output = self.core.handle_timeout(self.now);
        self.take(output);
    }

    fn advance_to(&mut self, at: Monotonic) {
        let passed = at.since(self.now.monotonic);
        self.now = Now { monotonic: self.now.monotonic + passed, wall: self.now.wall + passed };
    }

    /// The tracker's process dies: it sends nothing any more.
    fn kill_tracker(&mut self, host: &HostName) {
        self.toy(host).dead = true;
    }

    fn publishes(&self) -> Vec<(JobId, Vec<Part>)> {
        let publish = |effect: &Effect| match effect {
            Effect::Store(StoreEffect::Publish { job, parts, .. }) => Some((*job, parts.clone())),
            _ => None,
        };
        self.effects.iter().filter_map(publish).collect()
    }

    fn published(&mut self, job: JobId) {
        self.give(Input::Published { job, outcome: StoreOutcome::Done(()) });
    }
}
