//! The pure part of the TaskTracker: slots, attempts, map outputs held, what to report until it is
//! acknowledged. No I/O and no clock: `tasktracker`'s event loop brings inputs with the time and
//! carries out the effects.
//!
//! - `attempts`: one attempt's phases;
//! - `session`: the talk with the JobTracker: registration, numbered heartbeats, retries;
//! - `messages`: inputs, effects, settings, summary;
//! - `limits`: how much of what tasks say is passed on; `hearsay`: how much of it is believed;
//! - `usage`: what attempts may use, and the cause where one uses more;
//! - `health`: what is wrong with the host;
//! - `disks`: which disk an attempt works on, and what is wrong with them;
//! - `map_events`: the lists of map events that reduces are fed from;
//! - here: [`Core`], which leads inputs to them.

mod attempts;
mod disks;
mod health;
mod hearsay;
mod limits;
#[cfg(test)]
mod lossy;
mod map_events;
mod messages;
mod session;
#[cfg(test)]
mod stories;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use ids::{Monotonic, Now};
use mapreduce_protocol::{
    Ailment, AttemptId, AttemptProgress, AttemptResult, FailedRecord, Failure, FailureKind, JobId,
    Launch, TaskKind, TrackerCommand, TrackerEvent, TrackerHeartbeatReply,
};

use attempts::{Attempt, Phase};
pub use disks::DiskNumber;
use disks::{Disks, Verdict};
use health::Health;
pub use health::{Finding, HealthRule};
use map_events::MapEventLists;
pub use messages::{Effect, Input, SessionId, Settings, Summary};
use session::Session;
pub use usage::{HostLimits, Limits, Usage};

/// The TaskTracker's state. All of it is soft: the JobTracker hears it again at every registration.
#[derive(Debug)]
pub struct Core {
    slots: u32,
    task_timeout: Duration,
    cut_off_timeout: Duration,
    /// When the JobTracker last said anything.
    heard: Monotonic,
    limits: HostLimits,
    session: Session,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Launched attempts without a slot yet, in the order of their launches.
    queue: Vec<AttemptId>,
    /// Attempts of unpurged jobs that are over: a launch repeated in another session is not run again.
    ended: BTreeSet<AttemptId>,
    held: BTreeSet<AttemptId>,
    purging: BTreeSet<JobId>,
    /// Jobs of which there is anything here, logs too: each is to be purged one day.
    jobs: BTreeSet<JobId>,
    map_events: MapEventLists,
    health: Health,
    disks: Disks,
    succeeded: u64,
    failed: BTreeMap<&'static str, u64>,
    effects: Vec<Effect>,
}

impl Core {
    /// A tracker that runs nothing and serves the map outputs `held` found in its data folder. Call
    /// [`Self::handle_timeout`] to make it register.
    pub fn new(settings: Settings, held: impl IntoIterator<Item = AttemptId>) -> Self {
        Self {
            slots: settings.slots,
            task_timeout: settings.task_timeout,
            cut_off_timeout: settings.cut_off_timeout,
            heard: Monotonic::default(),
            limits: settings.limits,
            health: Health::new(settings.health),
            disks: Disks::new(settings.disks.clone(), settings.health.disk_free_min),
            jobs: settings.jobs.clone(),
            session: Session::new(settings),
            attempts: BTreeMap::new(),
            queue: Vec::new(),
            ended: BTreeSet::new(),
            held: held.into_iter().collect(),
            purging: BTreeSet::new(),
            map_events: MapEventLists::default(),
            succeeded: 0,
            failed: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// What was found before the first input. Nothing runs yet.
    pub fn examine(&mut self, finding: Finding) {
        let is_news = match finding {
            Finding::Room { disk, free } => self.disks.has_room(disk, free) == Verdict::News,
            Finding::LocalDisk { disk, free } => match self.disks.examine(disk, free) {
                Verdict::Known => false,
                Verdict::News => true,
                Verdict::Left => {
                    self.leave(disk);
                    true
                }
            },
            finding => self.health.examine(finding),
        };
        if is_news {
            self.session.has_news();
        }
    }

    /// Nothing can be expected of a disk any more.
    fn leave(&mut self, disk: DiskNumber) {
        let message = format!("the disk of {}, where it worked, fails", self.disks.path(disk));
        for (id, attempt) in &mut self.attempts {
            if attempt.disk != Some(disk) {
                continue;
            }
            let failure = Failure { kind: FailureKind::HostUnfit, message: message.clone() };
            if attempt.fails_for(failure) {
                let reason = message.clone();
                self.effects.push(Effect::KillProcess { attempt: *id, reason });
            }
        }
        self.effects.push(Effect::LeaveDisk { disk });
    }

    fn ailments(&self) -> Vec<Ailment> {
        let mut ailments = self.health.ailments();
        let knows_disk =
            |it: &Ailment| matches!(it, Ailment::DiskFull { .. } | Ailment::DiskFails { .. });
        // The disk of the data folder may be one of them.
        if !ailments.iter().any(knows_disk) {
            ailments.extend(self.disks.ailment().cloned());
        }
        ailments
    }

    /// Takes one input; the effects are to be carried out in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let now = now.monotonic;
        match input {
            Input::Registered(registered) => {
                self.heard = now;
                if self.session.on_registered(registered) {
                    self.map_events.rewind();
                }
            }
            Input::RegistrationFailed => self.session.on_registration_failed(now),
            Input::HeartbeatReply { session, number, reply } => {
                self.heard = now;
                self.handle_reply(now, session, number, reply);
            }
            Input::HeartbeatFailed { session, number } => {
                self.session.on_heartbeat_failed(now, session, number);
            }
            Input::NotRegistered { session } => {
                self.heard = now;
                self.session.on_not_registered(session);
            }
            Input::Started { attempt } => self.handle_started(now, attempt),
            Input::Said { attempt, message } => self.handle_said(now, attempt, message),
            Input::Measured { attempt, usage } => self.handle_measured(attempt, &usage),
            Input::NotTaken { attempt, failure } => self.handle_not_taken(now, attempt, failure),
            Input::WasAt { attempt, record } => {
                if let Some(attempt) = self.attempts.get_mut(&attempt) {
                    attempt.record = Some(record);
                }
            }
            Input::Ended { attempt, otherwise } => self.handle_ended(attempt, otherwise),
            Input::MapOutputBroken { attempt } => self.handle_broken(attempt),
            Input::Examined(finding) => self.examine(finding),
        }
        self.settle(now)
    }

    /// To be called when [`Self::poll_timeout`] has passed, and once at the start; never wrong.
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        let now = now.monotonic;
        for (id, attempt) in &mut self.attempts {
            if let Some(reason) = attempt.expire(now, self.task_timeout) {
                self.effects.push(Effect::KillProcess { attempt: *id, reason });
            }
        }
        if self.cut_off_at().is_some_and(|at| at <= now) {
            self.end_all("the JobTracker has said nothing for so long that others do its work");
        }
        self.settle(now)
    }

    /// When [`Self::handle_timeout`] wants to be called; changes with every input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let attempts = self.attempts.values().filter_map(|a| a.deadline(self.task_timeout)).min();
        [attempts, self.cut_off_at(), self.session.retry_at()].into_iter().flatten().min()
    }

    /// When nobody counts any more on what runs or waits here; `None` if nothing does.
    fn cut_off_at(&self) -> Option<Monotonic> {
        let may_end = self.attempts.values().any(Attempt::may_be_ended);
        may_end.then(|| self.heard + self.cut_off_timeout)
    }

    fn end_all(&mut self, reason: &str) {
        let all: Vec<_> = self.attempts.keys().copied().collect();
        for attempt in all {
            self.kill(attempt, reason.to_owned());
        }
    }

    /// What gauges show.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            slots: self.slots,
            waiting: self.queue.len(),
            running: self.slots_taken(),
            map_outputs: self.held.len(),
            unacknowledged: self.session.unacknowledged().count(),
            registered: self.session.is_registered(),
            ailments: self.ailments(),
            disks: self.disks.states(),
            succeeded: self.succeeded,
            failed: self.failed.clone(),
        }
    }

    fn handle_reply(
        &mut self,
        now: Monotonic,
        session: SessionId,
        number: u64,
        reply: TrackerHeartbeatReply,
    ) {
        let Some((commands, map_events)) = self.session.on_reply(now, session, number, reply)
        else {
            return;
        };
        for command in commands {
            self.handle_command(command);
        }
        for news in map_events {
            self.map_events.extend(news);
        }
        self.feed_reduces();
    }

    fn handle_command(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Launch(launch) => self.launch(launch),
            TrackerCommand::Kill { attempt, reason } => self.kill(attempt, reason),
            TrackerCommand::Purge { job } => self.purge(job),
            TrackerCommand::DropMapOutput { attempt } => {
                if self.held.remove(&attempt) {
                    self.effects.push(Effect::RemoveMapOutput { attempt });
                }
            }
        }
    }

    /// A launch of an attempt that is known already is a repetition.
    fn launch(&mut self, launch: Launch) {
        let id = launch.attempt;
        if self.attempts.contains_key(&id) || self.is_over(id) {
            return;
        }
        if self.purging.contains(&id.task.job) {
            return self.report_failed(id, killed("its job is over"), None, None);
        }
        if id.task.kind == TaskKind::Reduce {
            self.map_events.reduce_comes(id.task.job);
        }
        self.jobs.insert(id.task.job);
        self.attempts.insert(id, Attempt::new(launch));
        self.queue.push(id);
    }

    fn is_over(&self, attempt: AttemptId) -> bool {
        self.ended.contains(&attempt) || self.held.contains(&attempt)
    }

    fn kill(&mut self, id: AttemptId, reason: String) {
        let over = self.is_over(id);
        match self.attempts.get_mut(&id) {
            None if over => {}
            // Never launched here, or by a process before this one: there is nothing to end.
            None => self.report_failed(id, killed("no such attempt runs on this host"), None, None),
            Some(attempt) if attempt.phase == Phase::Waiting => {
                self.forget(id);
                self.report_failed(id, killed(&reason), None, None);
            }
            Some(attempt) => {
                if attempt.kill(killed(&reason)) {
                    self.effects.push(Effect::KillProcess { attempt: id, reason });
                }
            }
        }
    }

    fn purge(&mut self, job: JobId) {
        self.purging.insert(job);
        self.held.retain(|attempt| attempt.task.job != job);
        let running: Vec<_> = self.attempts.range(ids_of(job)).map(|(id, _)| *id).collect();
        for id in running {
            self.kill(id, "its job is over".to_owned());
        }
        self.finish_purge(job);
    }

    fn finish_purge(&mut self, job: JobId) {
        let empty = self.attempts.range(ids_of(job)).next().is_none();
        if empty && self.purging.remove(&job) {
            self.jobs.remove(&job);
            self.ended.retain(|attempt| attempt.task.job != job);
            self.effects.push(Effect::RemoveJob { job });
        }
    }

    fn handle_started(&mut self, now: Monotonic, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.started(now);
            self.feed_reduces();
        }
    }

    fn handle_measured(&mut self, id: AttemptId, usage: &Usage) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let limits = attempt.limits(&self.limits);
        if let Some(failure) = limits.verdict(usage) {
            let reason = failure.message.clone();
            if attempt.fails_for(failure) {
                self.effects.push(Effect::KillProcess { attempt: id, reason });
            }
        }
    }

    /// Told before the process is gone: the output is complete, and the next launch is on its way while
    /// the process still hands back its memory.
    fn report_succeeded(&mut self, id: AttemptId, result: AttemptResult) {
        if self.attempts.get(&id).is_some_and(Attempt::leaves_map_output) {
            self.held.insert(id);
        }
        self.ended.insert(id);
        self.succeeded += 1;
        self.session.report(TrackerEvent::Succeeded { attempt: id, result });
    }

    fn report_failed(
        &mut self,
        id: AttemptId,
        mut failure: Failure,
        status: Option<String>,
        record: Option<FailedRecord>,
    ) {
        limits::cut_message(&mut failure.message);
        self.jobs.insert(id.task.job);
        self.ended.insert(id);
        *self.failed.entry(failure.kind.as_str()).or_default() += 1;
        self.session.report(TrackerEvent::Failed { attempt: id, failure, status, record });
    }

    fn handle_ended(&mut self, id: AttemptId, otherwise: Failure) {
        let known = self.known_of(id);
        let Some(attempt) = self.forget(id) else { return };
        let failure = match attempt.phase {
            Phase::Reported { .. } => None,
            Phase::Leaving { failure, is_doubted: true, .. } => {
                Some(hearsay::believed(id, failure, known))
            }
            Phase::Killing { failure } | Phase::Leaving { failure, .. } => Some(failure),
            Phase::Waiting | Phase::Starting { .. } | Phase::Running { .. } => Some(otherwise),
        };
        if let Some(failure) = failure {
            if id.task.kind == TaskKind::Map {
                self.effects.push(Effect::RemoveMapOutput { attempt: id });
            }
            let record = attempt.record.map(FailedRecord::bounded);
            self.report_failed(id, failure, attempt.status, record);
        }
        self.finish_purge(id.task.job);
    }

    fn forget(&mut self, id: AttemptId) -> Option<Attempt> {
        let attempt = self.attempts.remove(&id)?;
        self.queue.retain(|waiting| *waiting != id);
        if id.task.kind == TaskKind::Reduce {
            self.map_events.reduce_goes(id.task.job);
        }
        Some(attempt)
    }

    fn handle_broken(&mut self, attempt: AttemptId) {
        if self.held.remove(&attempt) {
            self.effects.push(Effect::RemoveMapOutput { attempt });
            self.session.report(TrackerEvent::MapOutputLost { attempt });
        }
    }

    fn feed_reduces(&mut self) {
        for (id, attempt) in &mut self.attempts {
            for events in attempt.feed(&self.map_events) {
                self.effects.push(Effect::SendMapEvents { attempt: *id, events });
            }
        }
    }

    fn slots_taken(&self) -> usize {
        self.attempts.values().filter(|attempt| attempt.takes_slot()).count()
    }

    /// Fills free slots, says what is to be said, and hands over the effects.
    fn settle(&mut self, now: Monotonic) -> Vec<Effect> {
        let free = (self.slots as usize).saturating_sub(self.slots_taken());
        for id in self.queue.drain(..free.min(self.queue.len())) {
            let on = |disk| self.attempts.values().filter(|it| it.disk == Some(disk)).count();
            let disk = self.disks.choose(on);
            let attempt = self.attempts.get_mut(&id).expect("what waits is an attempt");
            self.effects.push(Effect::Spawn(Box::new(attempt.start(now, disk)), disk));
        }
        self.session.wake(now);
        if self.session.wants_registration() {
            let (held, jobs) = (self.held.iter().copied(), self.jobs.iter().copied());
            let register = self.session.register(self.unreported(), held, jobs);
            self.effects.push(Effect::Register(Box::new(register)));
        }
        while self.session.wants_heartbeat() {
            let running = self.running();
            let cursors = self.map_events.cursors();
            let health = (self.ailments(), self.disks.without());
            let heartbeat = self.session.heartbeat(now, running, cursors, health);
            self.effects.push(Effect::SendHeartbeat(Box::new(heartbeat)));
        }
        std::mem::take(&mut self.effects)
    }

    fn running(&self) -> Vec<AttemptProgress> {
        let live = self.attempts.iter().filter(|(_, attempt)| !attempt.is_reported());
        let told = |(id, attempt): (&AttemptId, &Attempt)| AttemptProgress {
            attempt: *id,
            progress: attempt.progress,
            status: attempt.status.clone(),
        };
        live.map(told).collect()
    }

    /// Attempts whose end the JobTracker has not heard of: for it they run here, until the event arrives
    /// in the new session.
    fn unreported(&self) -> BTreeSet<AttemptId> {
        let live = self.running().into_iter().map(|running| running.attempt);
        let untold = self.session.unacknowledged().filter_map(|event| match event {
            TrackerEvent::Succeeded { attempt, .. } | TrackerEvent::Failed { attempt, .. } => {
                Some(*attempt)
            }
            TrackerEvent::FetchFailed { .. } | TrackerEvent::MapOutputLost { .. } => None,
        });
        live.chain(untold).collect()
    }
}

fn killed(reason: &str) -> Failure {
    Failure { kind: FailureKind::Killed, message: reason.to_owned() }
}

/// All attempts of a job, in the order of ids.
fn ids_of(job: JobId) -> RangeInclusive<AttemptId> {
    job.task(TaskKind::Map, 0).attempt(0)..=job.task(TaskKind::Reduce, u32::MAX).attempt(u32::MAX)
}
