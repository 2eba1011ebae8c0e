//! A TaskTracker that does what it is told and runs nothing: an attempt ends when its time is over, a reduce when it has heard
//! of every map. It talks as a real one does: one heartbeat is always out, which the JobTracker parks, and a second one follows
//! on another connection at once when there is an event to tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clock::Stopwatch;
use ids::{HeartbeatNumber, HostName, Inbox, Monotonic, Outbox, RackName};
use mapreduce_protocol::{
    AttemptId, AttemptProgress, AttemptResult, Failure, FailureKind, JobId, Launch, MapEvent,
    MapEvents, PROTOCOL_VERSION, RegisterTracker, TaskKind, TrackerCommand, TrackerEvent,
    TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};

use super::tally::Tally;
use super::wire::{Answer, Wire};

/// Events of one heartbeat at most.
const EVENTS_MAX: usize = 1000;

/// What all of them share.
pub(crate) struct Common {
    /// `host:port` of the JobTracker.
    pub(crate) jobtracker: String,
    pub(crate) token: String,
    pub(crate) slots: u32,
    /// How long a map takes in the mean.
    pub(crate) map_time: Duration,
    pub(crate) tally: Tally,
}

impl Common {
    /// How long one map takes: half as long as the mean up to one and a half times as long, so that they don't all end in the
    /// same moment.
    fn time_of(&self, map: u32) -> Duration {
        self.map_time * (50 + map.wrapping_mul(2_654_435_761) % 101) / 100
    }
}

/// One tracker.
pub(crate) struct Toy {
    common: Arc<Common>,
    host: HostName,
    rack: RackName,
    /// The parked heartbeat, and the one with news.
    wires: [Wire; 2],
    /// Since when there is a newer heartbeat than the one that is out on a wire.
    overtaken: [Option<Stopwatch>; 2],
    /// Whether the heartbeat that is out there told of a slot that came free.
    tells: [bool; 2],
    session: Option<TrackerRegistered>,
    number: u64,
    events: Outbox<TrackerEvent>,
    last_event: u64,
    told: u64,
    inbox: Inbox,
    /// What runs, and when it ends; a reduce ends when it has heard of all maps.
    running: BTreeMap<AttemptId, Option<Monotonic>>,
    /// Of each job of which a reduce runs: what is known of its maps.
    heard: BTreeMap<JobId, Heard>,
}

/// What a job's reduces have heard.
struct Heard {
    cursor: u64,
    /// Of each map the number of the attempt whose output is there.
    available: Vec<Option<u32>>,
    n_available: usize,
}

impl Toy {
    pub(crate) fn new(common: Arc<Common>, host: HostName, rack: RackName) -> Self {
        Self {
            common,
            host,
            rack,
            wires: [Wire::new(), Wire::new()],
            overtaken: [None; 2],
            tells: [false; 2],
            session: None,
            number: 0,
            events: Outbox::default(),
            last_event: 0,
            told: 0,
            inbox: Inbox::default(),
            running: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    /// Registers.
    ///
    /// # Errors
    /// When the JobTracker refuses, or is not there.
    pub(crate) async fn register(&mut self) -> anyhow::Result<()> {
        let request = RegisterTracker {
            protocol: PROTOCOL_VERSION,
            cluster: None,
            host: self.host.clone(),
            rack: self.rack.clone(),
            address: format!("{}:7881", self.host),
            incarnation: net::random_u64(),
            slots: self.common.slots,
            running: Vec::new(),
            map_outputs: Vec::new(),
            jobs: Vec::new(),
            not_isolated: None,
        };
        let body = serde_json::to_vec(&request)?;
        let Common { jobtracker, token, .. } = &*self.common;
        self.wires[0].send(jobtracker, "/v1/trackers/register", token, &body).await?;
        let answer = self.wires[0].answer().await?;
        anyhow::ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
        self.session = Some(serde_json::from_slice(&answer.body)?);
        Ok(())
    }

    /// Heartbeats until something goes wrong.
    ///
    /// # Errors
    /// What went wrong: the JobTracker has forgotten it, or the connection broke.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.end_attempts();
            self.speak().await?;
            let ends = self.running.values().flatten().min().copied();
            let [first, second] = &mut self.wires;
            let (at, answer) = tokio::select! {
                answer = first.answer() => (0, answer?),
                answer = second.answer() => (1, answer?),
                () = until(ends) => continue,
            };
            self.hear(at, &answer)?;
        }
    }

    /// What runs there, at its death.
    pub(crate) fn running(&self) -> impl Iterator<Item = AttemptId> {
        self.running.keys().copied()
    }

    fn end_attempts(&mut self) {
        let now = clock::monotonic();
        let ended = self.running.iter().filter(|(_, at)| at.is_some_and(|at| at <= now));
        for attempt in ended.map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
            self.running.remove(&attempt);
            let digest = format!("{:032x}", attempt.task.index);
            let result = AttemptResult { digest, ..AttemptResult::default() };
            self.tell(TrackerEvent::Succeeded { attempt, result });
        }
        let reduces = self.running.keys().filter(|it| it.task.kind == TaskKind::Reduce);
        let jobs: Vec<_> = reduces.map(|it| it.task.job).collect();
        self.heard.retain(|job, _| jobs.contains(job));
    }

    fn tell(&mut self, event: TrackerEvent) {
        self.last_event = self.events.push(event);
    }

    /// Sends a heartbeat if none is out, or if there is an event that none has told.
    async fn speak(&mut self) -> anyhow::Result<()> {
        let news = self.last_event > self.told;
        let (at, other) = if self.wires[0].is_out() { (1, 0) } else { (0, 1) };
        if self.wires[at].is_out() || (self.wires[other].is_out() && !news) {
            return Ok(());
        }
        let session = self.session.as_ref().context("it is not registered")?;
        self.number += 1;
        let events: Vec<_> = self.events.pending(EVENTS_MAX).cloned().collect();
        self.told = events.last().map_or(self.last_event, |last| last.number);
        let progress = |attempt: &AttemptId| AttemptProgress {
            attempt: *attempt,
            progress: 0.5,
            status: None,
        };
        let heartbeat = TrackerHeartbeat {
            host: self.host.clone(),
            epoch: session.epoch,
            session: session.session,
            number: HeartbeatNumber(self.number),
            commands_done: self.inbox.received(),
            running: self.running.keys().map(progress).collect(),
            map_event_cursors: self.heard.iter().map(|(job, it)| (*job, it.cursor)).collect(),
            ailments: Vec::new(),
            disks_without: Vec::new(),
            events,
        };
        let body = serde_json::to_vec(&heartbeat)?;
        let Common { jobtracker, token, .. } = &*self.common;
        self.wires[at].send(jobtracker, "/v1/trackers/heartbeat", token, &body).await?;
        self.tells[at] = news;
        if self.wires[other].is_out() {
            self.overtaken[other] = Some(Stopwatch::start());
        }
        Ok(())
    }

    fn hear(&mut self, at: usize, answer: &Answer) -> anyhow::Result<()> {
        let overtaken = self.overtaken[at].take();
        let said = String::from_utf8_lossy(&answer.body);
        anyhow::ensure!(answer.status == 200, "status {}: {said}", answer.status);
        let reply: TrackerHeartbeatReply = serde_json::from_slice(&answer.body)?;
        let session = self.session.as_mut().context("it is not registered")?;
        // As long as it may be parked, which grows and falls with the trackers: by the answer before, or by this one.
        let told =
            std::mem::replace(&mut session.heartbeat_interval_ms, reply.heartbeat_interval_ms);
        let interval = Duration::from_millis(told.max(reply.heartbeat_interval_ms));
        self.events.acknowledge(reply.events_received);
        let commands = self.inbox.accept(reply.commands);
        let tally = &self.common.tally;
        let is_launched = commands.iter().any(|it| matches!(it, TrackerCommand::Launch(_)));
        match overtaken {
            Some(since) => tally.answered.add(since.elapsed()),
            None if self.tells[at] && is_launched => tally.launched.add(answer.sent.elapsed()),
            None if commands.is_empty() && reply.map_events.is_empty() => {
                tally.answered.add(answer.sent.elapsed().saturating_sub(interval));
            }
            None => {}
        }
        commands.into_iter().for_each(|command| self.obey(command));
        reply.map_events.into_iter().for_each(|events| self.hear_of_maps(events));
        Ok(())
    }

    fn obey(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Launch(launch) => self.launch(&launch),
            TrackerCommand::Kill { attempt, .. } => {
                if self.running.remove(&attempt).is_some() {
                    let message = "told to".to_owned();
                    let failure = Failure { kind: FailureKind::Killed, message };
                    self.tell(TrackerEvent::Failed {
                        attempt,
                        failure,
                        status: None,
                        record: None,
                    });
                }
            }
            TrackerCommand::Purge { .. } | TrackerCommand::DropMapOutput { .. } => {}
        }
    }

    fn launch(&mut self, launch: &Launch) {
        let Launch { attempt, job, .. } = launch;
        self.common.tally.launches.fetch_add(1, Ordering::Relaxed);
        self.common.tally.runs_again(attempt.task);
        let ends = match attempt.task.kind {
            TaskKind::Map => Some(clock::monotonic() + self.common.time_of(attempt.task.index)),
            TaskKind::Reduce => {
                let n_maps = job.n_maps as usize;
                let nothing = || Heard { cursor: 0, available: vec![None; n_maps], n_available: 0 };
                self.heard.entry(attempt.task.job).or_insert_with(nothing);
                None
            }
        };
        self.running.insert(*attempt, ends);
    }

    fn hear_of_maps(&mut self, news: MapEvents) {
        let Some(heard) = self.heard.get_mut(&news.job) else { return };
        if news.first != heard.cursor {
            return;
        }
        heard.cursor += news.events.len() as u64;
        for event in news.events {
            let (MapEvent::Available { attempt, .. } | MapEvent::Withdrawn { attempt }) = &event;
            let Some(place) = heard.available.get_mut(attempt.task.index as usize) else {
                continue;
            };
            heard.n_available -= usize::from(place.is_some());
            *place = match event {
                MapEvent::Available { .. } => Some(attempt.number),
                MapEvent::Withdrawn { .. } => place.filter(|number| *number != attempt.number),
            };
            heard.n_available += usize::from(place.is_some());
        }
        if heard.n_available == heard.available.len() {
            let now = clock::monotonic();
            let all = self.running.iter_mut();
            let reduces =
                all.filter(|(it, _)| it.task.kind == TaskKind::Reduce && it.task.job == news.job);
            reduces.for_each(|(_, ends)| *ends = Some(now));
        }
    }
}

async fn until(ends: Option<Monotonic>) {
    match ends {
        Some(at) => tokio::time::sleep(at.since(clock::monotonic())).await,
        None => std::future::pending().await,
    }
}
