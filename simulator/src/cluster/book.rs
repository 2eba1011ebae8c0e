//! Observes everything that happens, and makes the report of it. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::{Notice, PoolGauges, PoolRule, Record};
use mapreduce_protocol::{AttemptId, JobId, JobState, TaskId, TaskKind};

use crate::cluster::report::{Backups, InUse, JobReport, Places, PoolReport, Report};
use crate::cluster::scenario::{JobPlan, Scenario};
use crate::cluster::shares::{Wish, due};

/// The number of pieces that the time is cut into for the report's timeline.
const PIECES: usize = 60;

/// An attempt took a slot, or gave it back.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Monotonic,
    is_reduce: bool,
    takes: bool,
}

/// What has been observed so far.
pub(crate) struct Book {
    /// Time zero of the report.
    zero: Monotonic,
    jobs: Vec<JobReport>,
    ids: BTreeMap<JobId, usize>,
    n_unfinished: usize,
    changes: Vec<Change>,
    launched: BTreeSet<TaskId>,
    n_launches: u64,
    /// Tasks whose next attempt is a backup.
    announced: BTreeSet<TaskId>,
    /// Backups whose outcome is not yet known.
    pending: BTreeMap<TaskId, AttemptId>,
    n_backups: u64,
    backups: Backups,
    killed: u64,
    outputs_lost: u64,
    pools: BTreeMap<String, PoolReport>,
    last_look: Monotonic,
}

impl Book {
    pub(crate) fn new(zero: Monotonic, scenario: &Scenario) -> Self {
        let job = |plan: &JobPlan| JobReport {
            name: plan.name.clone(),
            state: JobState::Prep,
            failure: None,
            submitted: plan.at,
            launched: None,
            maps_done: None,
            fetched: None,
            tasks_done: None,
            ended: Duration::ZERO,
            maps: plan.maps.len(),
            reduces: plan.reduces.len(),
            places: Places::default(),
            fetched_bytes: 0.0,
            fetched_from_others: 0.0,
            slot_time: Duration::ZERO,
        };
        Self {
            zero,
            jobs: scenario.jobs.iter().map(job).collect(),
            ids: BTreeMap::new(),
            n_unfinished: scenario.jobs.len(),
            changes: Vec::new(),
            launched: BTreeSet::new(),
            n_launches: 0,
            announced: BTreeSet::new(),
            pending: BTreeMap::new(),
            n_backups: 0,
            backups: Backups::default(),
            killed: 0,
            outputs_lost: 0,
            pools: BTreeMap::new(),
            last_look: zero,
        }
    }

    pub(crate) fn n_unfinished(&self) -> usize {
        self.n_unfinished
    }

    /// The number of a job in the scenario.
    pub(crate) fn number(&self, job: JobId) -> Option<usize> {
        self.ids.get(&job).copied()
    }

    fn since_zero(&self, at: Monotonic) -> Duration {
        at.since(self.zero)
    }

    fn job(&mut self, job: JobId) -> Option<&mut JobReport> {
        let number = self.number(job)?;
        self.jobs.get_mut(number)
    }

    /// A job was refused: it never runs.
    pub(crate) fn refused(&mut self, number: usize, reason: String) {
        let job = &mut self.jobs[number];
        (job.state, job.failure, job.ended) = (JobState::Failed, Some(reason), job.submitted);
        self.n_unfinished -= 1;
    }

    pub(crate) fn accepted(&mut self, job: JobId, number: usize) {
        self.ids.insert(job, number);
    }

    /// An attempt's process is started.
    pub(crate) fn spawned(&mut self, at: Monotonic, attempt: AttemptId) {
        let task = attempt.task;
        let since = self.since_zero(at);
        self.job(task.job).into_iter().for_each(|job| {
            job.launched.get_or_insert(since);
        });
        self.changes.push(Change { at, is_reduce: task.kind == TaskKind::Reduce, takes: true });
        self.launched.insert(task);
        self.n_launches += 1;
        if self.announced.remove(&task) {
            self.n_backups += 1;
            self.pending.insert(task, attempt);
        }
    }

    /// An attempt's slot is free again.
    pub(crate) fn left(&mut self, at: Monotonic, attempt: AttemptId, held: Duration) {
        let is_reduce = attempt.task.kind == TaskKind::Reduce;
        self.changes.push(Change { at, is_reduce, takes: false });
        self.job(attempt.task.job).into_iter().for_each(|job| job.slot_time += held);
    }

    /// A reduce has fetched everything.
    pub(crate) fn fetched(&mut self, at: Monotonic, job: JobId, [own, others]: [f64; 2]) {
        let since = self.since_zero(at);
        self.job(job).into_iter().for_each(|job| {
            job.fetched = Some(since);
            job.fetched_bytes += own + others;
            job.fetched_from_others += others;
        });
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        if let Notice::BackupLaunched { late, .. } = notice {
            self.announced.insert(late.task);
        }
    }

    pub(crate) fn record(&mut self, at: Monotonic, record: &Record) {
        match record {
            Record::TaskSucceeded { attempt, place, .. } => {
                self.on_success(at, *attempt);
                let is_map = attempt.task.kind == TaskKind::Map;
                let job = self.job(attempt.task.job).filter(|_| is_map);
                let places = job.map(|job| &mut job.places);
                places.into_iter().for_each(|places| {
                    place.iter().for_each(|place| places.count(*place));
                });
            }
            Record::AttemptKilled { killed, .. } => {
                self.killed += 1;
                self.on_backups_end(killed.attempt);
            }
            Record::AttemptFailed { attempt, .. } => self.on_backups_end(*attempt),
            Record::MapOutputLost { .. } => self.outputs_lost += 1,
            Record::JobEnded { job, state, failure, .. } => {
                let since = self.since_zero(at);
                self.n_unfinished -= 1;
                self.job(*job).into_iter().for_each(|job| {
                    (job.state, job.failure, job.ended) = (*state, failure.clone(), since);
                });
            }
            _ => {}
        }
    }

    fn on_success(&mut self, at: Monotonic, attempt: AttemptId) {
        let since = self.since_zero(at);
        self.job(attempt.task.job).into_iter().for_each(|job| {
            job.tasks_done = Some(since);
            if attempt.task.kind == TaskKind::Map {
                job.maps_done = Some(since);
            }
        });
        match self.pending.remove(&attempt.task) {
            Some(backup) if backup == attempt => self.backups.won += 1,
            Some(_) => self.backups.lost += 1,
            None => {}
        }
    }

    fn on_backups_end(&mut self, attempt: AttemptId) {
        if self.pending.get(&attempt.task) == Some(&attempt) {
            self.pending.remove(&attempt.task);
            self.backups.useless += 1;
        }
    }

    /// Looks at what the pools hold and want of `slots`, and counts it for the whole time since the
    /// last look.
    pub(crate) fn look(
        &mut self,
        at: Monotonic,
        slots: u64,
        rules: &[PoolRule],
        pools: &BTreeMap<String, PoolGauges>,
    ) {
        let passed = at.since(self.last_look).as_secs_f64();
        self.last_look = at;
        let weight =
            |name: &str| rules.iter().find(|rule| rule.name == name).map_or(1, |it| it.weight);
        let wish = |(name, it): (&String, &PoolGauges)| Wish {
            weight: f64::from(weight(name)),
            slots: (it.slots + it.waiting) as f64,
        };
        let wishes: Vec<Wish> = pools.iter().map(wish).collect();
        for ((name, held), due) in pools.iter().zip(due(slots as f64, &wishes)) {
            if held.jobs > 0 {
                let pool = self.pools.entry(name.clone()).or_default();
                pool.held += held.slots as f64 * passed;
                pool.due += due * passed;
            }
        }
    }

    /// The report, after this many events.
    pub(crate) fn report(mut self, slots: u64, events: u64) -> Report {
        let first = self.jobs.iter().map(|job| job.submitted).min().unwrap_or_default();
        let last = self.jobs.iter().map(|job| job.ended).max().unwrap_or_default();
        self.backups.useless += self.pending.len() as u64;
        let n_tasks = self.launched.len() as u64;
        Report {
            time: last.saturating_sub(first),
            timeline: self.timeline(self.zero + first, self.zero + last),
            jobs: self.jobs,
            slots,
            backups: self.backups,
            killed: self.killed,
            rerun: self.n_launches - n_tasks - self.n_backups,
            outputs_lost: self.outputs_lost,
            pools: self.pools,
            events,
        }
    }

    /// The mean number of slots in use in each piece of the time between two times.
    fn timeline(&self, from: Monotonic, to: Monotonic) -> Vec<InUse> {
        let mut pieces = vec![InUse::default(); PIECES];
        let length = to.since(from).as_secs_f64() / PIECES as f64;
        let (mut maps, mut reduces, mut at) = (0.0, 0.0, from);
        let end = Change { at: to, is_reduce: false, takes: false };
        for change in self.changes.iter().chain([&end]) {
            let until = change.at.max(from).min(to);
            spread(&mut pieces, length, (at.since(from), until.since(from)), (maps, reduces));
            at = until;
            let sign = if change.takes { 1.0 } else { -1.0 };
            *if change.is_reduce { &mut reduces } else { &mut maps } += sign;
        }
        pieces
    }
}

/// Adds what was in use between two times to the pieces that this time overlaps.
fn spread(
    pieces: &mut [InUse],
    length: f64,
    (from, to): (Duration, Duration),
    (maps, reduces): (f64, f64),
) {
    if length <= 0.0 {
        return;
    }
    let (mut at, to) = (from.as_secs_f64(), to.as_secs_f64());
    let first = ((at / length) as usize).min(pieces.len() - 1);
    let n_last = pieces.len() - 1;
    for (n, piece) in pieces.iter_mut().enumerate().skip(first) {
        let ends = if n == n_last { to } else { (n + 1) as f64 * length };
        let until = ends.min(to).max(at);
        piece.maps += maps * (until - at) / length;
        piece.reduces += reduces * (until - at) / length;
        at = until;
        if at >= to {
            break;
        }
    }
}
