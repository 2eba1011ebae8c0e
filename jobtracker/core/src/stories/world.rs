//! A small world at random: four trackers, several jobs, heartbeats lost, doubled and reordered,
//! trackers that die and come back, a JobTracker that restarts, a chunk store that does not always
//! answer, clients that drain hosts, pause jobs and end attempts. Whatever happens, every job ends, each task has one winner, no attempt number is used twice,
//! and the same seed gives the same records.

use super::*;

/// A small linear congruential generator (Knuth's MMIX constants).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct World {
    story: Story,
    random: Random,
    jobs: Vec<JobId>,
    /// Heartbeats under way: they may be late, doubled or lost.
    in_flight: Vec<TrackerHeartbeat>,
    /// Every attempt that a tracker was ever told to start, with the incarnation of the JobTracker.
    launched: BTreeMap<AttemptId, (HostName, u64)>,
    /// Faults still to come; none in the end, so that everything can end.
    faults: u32,
}

const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut story = Story::with(Settings {
            dead_after: Duration::from_secs(4),
            max_attempts: 50,
            reduce_slowstart: random.below(11) as f64 / 10.0,
            ..settings()
        });
        for host in HOSTS {
            let slots = 1 + random.below(3) as u32;
            story.tracker(host, slots);
        }
        let faults = 20 + random.below(60) as u32;
        let (jobs, in_flight, launched) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { story, random, jobs, in_flight, launched, faults }
    }

    fn submit(&mut self) {
        let reduces = self.random.below(4) as u32;
        // Some in another store.
        let store = if self.random.one_in(3) { "s3://bucket" } else { "" };
        let output = format!("{store}/out/{}", self.jobs.len());
        let spec = if reduces == 0 { identity(&output) } else { wordcount(&output, reduces) };
        let job = self.story.submit(spec);
        self.jobs.push(job);
    }

    /// Answers one call to the chunk store, or does not.
    fn serve_store(&mut self) {
        if self.story.effects.is_empty() {
            return;
        }
        let effect = self.story.effects.remove(0);
        let down = self.faults > 0 && self.random.one_in(4);
        let unavailable = || "down".to_owned();
        let input = match effect {
            Effect::PlanSplits { job, .. } if down => Input::SplitsPlanned {
                job,
                outcome: StoreOutcome::Unavailable { reason: unavailable() },
            },
            Effect::PlanSplits { job, .. } => self.planned(job),
            Effect::ReadSplits { job, .. } => {
                let Input::SplitsPlanned { outcome: StoreOutcome::Done(plan), .. } =
                    self.planned(job)
                else {
                    return;
                };
                Input::SplitsRead { job, outcome: StoreOutcome::Done(plan.splits) }
            }
            Effect::Publish { job, .. }
            | Effect::PublishElsewhere { job, .. }
            | Effect::RemoveStaging { job, .. }
                if down =>
            {
                let outcome = StoreOutcome::Unavailable { reason: unavailable() };
                match self.story.core.durable().job(job).map(|entry| &entry.stage) {
                    Some(crate::durable::Stage::Ended(_)) => Input::StagingRemoved { job, outcome },
                    _ => Input::Published { job, outcome },
                }
            }
            Effect::PublishElsewhere { job, parts, .. } => {
                let outcome = match parts.iter().all(|part| part.staged.is_some()) {
                    true => StoreOutcome::Done(()),
                    false => StoreOutcome::Refused { reason: "nothing staged".to_owned() },
                };
                Input::Published { job, outcome }
            }
            Effect::Publish { job, .. } => {
                Input::Published { job, outcome: StoreOutcome::Done(()) }
            }
            Effect::RemoveStaging { job, .. } => {
                Input::StagingRemoved { job, outcome: StoreOutcome::Done(()) }
            }
            Effect::Reply { .. } | Effect::Tell(_) => return,
        };
        self.story.give(input);
    }

    /// A plan that depends on the job alone, as the chunk store's answer does.
    fn planned(&mut self, job: JobId) -> Input {
        let mut random = Random::new(u64::from(job.ordinal));
        let n_maps = random.below(12) as usize;
        let splits = (0..n_maps)
            .map(|index| {
                let first = random.below(4) as usize;
                split(index, &[HOSTS[first], HOSTS[(first + 1) % 4]])
            })
            .collect();
        let list = StagedSplits { path: "/s".into(), digest: "d".into() };
        let staged = random.one_in(2).then_some(list);
        Input::SplitsPlanned { job, outcome: StoreOutcome::Done(Plan { splits, staged }) }
    }

    /// Whatever this tracker does next.
    fn act(&mut self, host: &HostName) {
        if self.story.toys[host].dead {
            if self.random.one_in(20) || self.faults == 0 {
                self.revive(host);
            }
            return;
        }
        if self.story.toys[host].registered.is_none() {
            if let Reply::Registered(_) = self.story.register_reply(host) {
                self.story.register(host);
            }
            return;
        }
        self.work(host);
        let heartbeat = self.story.heartbeat(host);
        self.in_flight.push(heartbeat);
    }

    /// One of its attempts comes to an end, or a map output breaks.
    fn work(&mut self, host: &HostName) {
        let running = self.story.running(host);
        if !running.is_empty() && self.random.one_in(2) {
            let attempt = running[self.random.below(running.len() as u64) as usize];
            self.end_attempt(host, attempt);
        }
        let outputs: Vec<_> = self.story.toys[host].outputs.iter().copied().collect();
        if self.faults > 0 && !outputs.is_empty() && self.random.one_in(15) {
            self.faults -= 1;
            let attempt = outputs[self.random.below(outputs.len() as u64) as usize];
            let toy = self.story.toy(host);
            toy.outputs.remove(&attempt);
            toy.events.push(TrackerEvent::MapOutputLost { attempt });
        }
    }

    fn end_attempt(&mut self, host: &HostName, attempt: AttemptId) {
        let fails = self.faults > 0 && self.random.one_in(6);
        let digest = if self.random.one_in(10) { "other" } else { "same" };
        let ready = attempt.task.kind == TaskKind::Map || self.can_fetch(host, attempt.task.job);
        let toy = self.story.toy(host);
        if fails {
            toy.running.remove(&attempt);
            let kinds = [FailureKind::UserCode, FailureKind::OutOfSpace, FailureKind::Killed];
            let failure = failure(kinds[self.random.below(3) as usize].clone(), "boom");
            toy.events.push(TrackerEvent::Failed { attempt, failure });
            self.faults -= 1;
        } else if ready {
            let launch = toy.running.remove(&attempt).unwrap();
            if attempt.task.kind == TaskKind::Map && launch.job.n_reduces > 0 {
                toy.outputs.insert(attempt);
            }
            let (digest, staged) = (digest.to_owned(), staged_by(attempt, &launch));
            let result = AttemptResult { digest, staged, ..AttemptResult::default() };
            toy.events.push(TrackerEvent::Succeeded { attempt, result });
        }
    }

    /// Whether a reduce on `host` knows where all map outputs are and each is there; it reports those
    /// that are not.
    fn can_fetch(&mut self, host: &HostName, job: JobId) -> bool {
        let toy = &self.story.toys[host];
        let reduce = toy.running.keys().find(|it| it.task.kind == TaskKind::Reduce).copied();
        let Some(launch) = reduce.and_then(|reduce| toy.running.get(&reduce)) else { return false };
        let n_maps = launch.job.n_maps;
        let mut places = BTreeMap::new();
        for event in toy.news.get(&job).into_iter().flatten() {
            match event {
                MapEvent::Available { attempt, host, .. } => {
                    places.insert(attempt.task.index, (*attempt, host.clone()));
                }
                MapEvent::Withdrawn { attempt } => {
                    if places.get(&attempt.task.index).is_some_and(|(it, _)| it == attempt) {
                        places.remove(&attempt.task.index);
                    }
                }
            }
        }
        let there = |(attempt, host): &(AttemptId, HostName)| {
            let toy = &self.story.toys[host];
            !toy.dead && toy.outputs.contains(attempt)
        };
        let missing: Vec<_> = places.values().filter(|place| !there(place)).cloned().collect();
        let complete = places.len() == n_maps as usize && missing.is_empty();
        let reduce = reduce.expect("found above");
        for (map, _) in missing {
            let message = "connection refused".to_owned();
            let event = TrackerEvent::FetchFailed { reduce, map, message };
            self.story.toy(host).events.push(event);
        }
        complete
    }

    fn revive(&mut self, host: &HostName) {
        let wiped = self.random.one_in(2);
        let toy = self.story.toy(host);
        toy.dead = false;
        toy.registered = None;
        if wiped {
            toy.incarnation += 1;
            toy.running.clear();
            toy.outputs.clear();
            toy.events = Outbox::default();
        }
    }

    /// The network: some heartbeat arrives, perhaps not the first, perhaps twice, perhaps never.
    fn transmit(&mut self) {
        while !self.in_flight.is_empty() {
            let index = self.random.below(self.in_flight.len() as u64) as usize;
            let heartbeat = self.in_flight.swap_remove(index);
            let lost = self.faults > 0 && self.random.one_in(12);
            let doubled = self.random.one_in(12);
            if lost {
                self.faults -= 1;
                continue;
            }
            if doubled {
                self.story.send(heartbeat.clone());
            }
            self.story.send(heartbeat);
        }
        self.note_launches();
    }

    fn note_launches(&mut self) {
        for (host, toy) in &self.story.toys {
            for attempt in toy.running.keys() {
                let here = (host.clone(), toy.incarnation);
                let known = self.launched.entry(*attempt).or_insert_with(|| here.clone());
                assert_eq!(*known, here, "{attempt} was launched twice");
            }
        }
    }

    fn strike(&mut self) {
        if self.faults == 0 {
            return;
        }
        if self.random.one_in(40) {
            self.faults -= 1;
            self.story.restart();
            for toy in self.story.toys.values_mut() {
                toy.registered = None;
            }
        }
        if self.random.one_in(30) {
            self.faults = self.faults.saturating_sub(1);
            let victim = host(HOSTS[self.random.below(4) as usize]);
            self.story.kill_tracker(&victim);
        }
    }

    fn some_job(&mut self) -> Option<JobId> {
        let index = self.random.below(self.jobs.len().max(1) as u64) as usize;
        self.jobs.get(index).copied()
    }

    /// Clients that drain hosts, pause jobs and end attempts, and take the former back.
    fn steer(&mut self) {
        let host = host(HOSTS[self.random.below(4) as usize]);
        if self.faults > 0 && self.random.one_in(80) {
            let kill = self.random.one_in(2);
            self.story.answer(|reply_to| Input::Drain { host, kill, reply_to });
        } else if self.random.one_in(20) {
            self.story.answer(|reply_to| Input::Undrain { host, reply_to });
        } else if let Some(job) = self.some_job().filter(|_| self.random.one_in(20)) {
            let pauses = self.faults > 0 && self.random.one_in(3);
            let kill = self.random.one_in(2);
            let _status = self.story.answer(|reply_to| match pauses {
                true => Input::Pause { job, kill, reply_to },
                false => Input::Resume { job, reply_to },
            });
        } else if self.faults > 0 && self.random.one_in(40) {
            let running = self.story.running_everywhere();
            let index = self.random.below(running.len().max(1) as u64) as usize;
            let Some(attempt) = running.get(index).copied() else { return };
            let counts = if self.random.one_in(3) { EndsAs::Failed } else { EndsAs::Killed };
            self.story.answer(|reply_to| Input::EndAttempt { attempt, counts, reply_to });
        }
    }

    fn step(&mut self) {
        if self.jobs.len() < 4 && self.random.one_in(15) {
            self.submit();
        }
        self.strike();
        self.steer();
        self.serve_store();
        for name in HOSTS {
            self.act(&host(name));
        }
        self.transmit();
        let time = Duration::from_millis(1 + self.random.below(300));
        let until = self.story.now.monotonic + time;
        while let Some(at) = self.story.core.poll_timeout().filter(|at| *at <= until) {
            self.story.advance_to(at);
            let output = self.story.core.handle_timeout(self.story.now);
            self.story.take(output);
        }
        self.story.advance_to(until);
    }

    fn all_ended(&mut self) -> bool {
        let jobs = self.jobs.clone();
        jobs.len() == 4 && jobs.iter().all(|job| self.story.status(*job).state.is_final())
    }

    fn run(mut self, seed: u64) -> Vec<Record> {
        for _ in 0..20_000 {
            self.step();
            if self.all_ended() {
                for job in self.jobs.clone() {
                    let status = self.story.status(job);
                    assert_eq!(status.state, JobState::Succeeded, "seed {seed}: {status:?}");
                }
                return self.story.records;
            }
        }
        let jobs: Vec<_> = self.jobs.clone();
        let states: Vec<_> = jobs.into_iter().map(|job| self.story.status(job)).collect();
        panic!("seed {seed}: jobs never end: {states:#?}\n{:#?}", self.story.toys);
    }
}

/// Of each task exactly one winner stands at the end of its job.
fn check_winners(records: &[Record], seed: u64) {
    let mut winners: BTreeMap<TaskId, AttemptId> = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut undone_below: BTreeMap<JobId, u32> = BTreeMap::new();
    for record in records {
        match record {
            Record::TaskSucceeded { attempt, .. } => {
                let from = undone_below.get(&attempt.task.job).copied().unwrap_or(0);
                let undone = attempt.task.kind == TaskKind::Reduce && attempt.number < from;
                assert!(!undone, "seed {seed}: {attempt} won though it may have read old bytes");
                assert!(used.insert(*attempt), "seed {seed}: {attempt} won twice");
                let before = winners.insert(attempt.task, *attempt);
                assert_eq!(before, None, "seed {seed}: {attempt} won a task already won");
            }
            Record::MapOutputLost { attempt } => {
                assert_eq!(winners.remove(&attempt.task), Some(*attempt), "seed {seed}");
            }
            Record::ReducesUndone { map, reduces_from } => {
                undone_below.insert(map.task.job, *reduces_from);
                winners.retain(|task, _| task.job != map.task.job || task.kind == TaskKind::Map);
            }
            _ => {}
        }
    }
}

#[test]
fn every_job_ends_with_one_winner_per_task_whatever_happens() {
    for seed in 0..300 {
        let records = World::new(seed).run(seed);
        check_winners(&records, seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_records() {
    for seed in [3, 77, 1234] {
        assert_eq!(World::new(seed).run(seed), World::new(seed).run(seed));
    }
}
