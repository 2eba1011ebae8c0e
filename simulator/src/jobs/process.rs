//! A simulated process of an attempt: it takes some time, reports progress, and succeeds, fails,
//! hangs or crashes, as drawn when it was spawned. A reduce fetches the map outputs it is told of
//! before it works, and remembers what it has read. The real one is `mapreduce/src/task`.

use std::collections::BTreeMap;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptId, Failure, FailureKind, FromTask, Launch, MapEvent, TaskId, TaskKind,
};

use crate::jobs::nature::{Fate, Nature};
use crate::jobs::world::TASK_TIMEOUT;
use crate::random::Random;

/// The longest time between two signs of life of a healthy process.
const PIECE_MAX: Duration = Duration::from_secs(2);
/// Pause before the first retry of a fetch; it doubles with each failure in a row.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fortune {
    Succeeds,
    /// It reports a failure.
    Fails(FailureKind),
    /// It cannot be started.
    NotStarted(FailureKind),
    /// It ends without a report.
    Crashes,
    /// It does not end by itself.
    Hangs,
    /// It reports success and does not exit.
    Lingers,
}

/// How far a process has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Preparing,
    Running,
    /// It has reported success.
    Succeeded,
    /// It has reported a failure, or reports nothing more.
    Silent,
}

/// Where a map's output is reported to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) map: AttemptId,
    pub(crate) address: String,
    pub(crate) digest: String,
}

/// A simulated process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) launch: Launch,
    pub(crate) fortune: Fortune,
    pub(crate) stage: Stage,
    /// Whether it is being killed: it gets no more map events.
    pub(crate) is_doomed: bool,
    /// The number of the next step; other steps are obsolete.
    pub(crate) next_step: u64,
    /// Duration of each piece of its work, number of pieces, and number of those done.
    piece: Duration,
    n_pieces: u32,
    n_done: u32,
    /// Reported map outputs that have not been fetched yet.
    pub(crate) wanted: BTreeMap<u32, Source>,
    /// For each map fetched: the attempt, and its digest.
    pub(crate) fetched: BTreeMap<u32, (AttemptId, String)>,
    /// Number of failed fetches in a row.
    n_failed: u32,
    /// A map whose output now differs from what was fetched.
    changed: Option<AttemptId>,
}

impl Process {
    pub(crate) fn spawn(
        random: &mut Random,
        nature: &Nature,
        launch: Launch,
        slowness: u32,
        is_calm: bool,
    ) -> Self {
        let fortune = draw_fortune(random, nature, launch.attempt.task, is_calm);
        let straggles = if random.chance(30) { 8 } else { 1 };
        let work = random.millis(1..nature.work_millis) * slowness * straggles;
        let n_pieces = work.div_duration_f32(PIECE_MAX).ceil() as u32 + random.below(2) as u32;
        Self {
            launch,
            fortune,
            stage: Stage::Preparing,
            is_doomed: false,
            next_step: 0,
            piece: work / n_pieces.max(1),
            n_pieces: n_pieces.max(1),
            n_done: 0,
            wanted: BTreeMap::new(),
            fetched: BTreeMap::new(),
            n_failed: 0,
            changed: None,
        }
    }

    pub(crate) fn attempt(&self) -> AttemptId {
        self.launch.attempt
    }

    pub(crate) fn is_reduce(&self) -> bool {
        self.launch.attempt.task.kind == TaskKind::Reduce
    }

    /// Whether its success leaves a file for reduces to fetch.
    pub(crate) fn leaves_map_output(&self) -> bool {
        !self.is_reduce() && self.launch.job.n_reduces > 0
    }

    /// It is told where map outputs are, or no longer are.
    pub(crate) fn learn(&mut self, events: Vec<MapEvent>) {
        for event in events {
            match event {
                MapEvent::Available { attempt, address, digest, .. } => {
                    let map = attempt.task.index;
                    match self.fetched.get(&map) {
                        Some((_, read)) if *read != digest => self.changed = Some(attempt),
                        Some(_) => {}
                        None => {
                            let source = Source { map: attempt, address, digest };
                            self.wanted.insert(map, source);
                        }
                    }
                }
                MapEvent::Withdrawn { attempt } => {
                    let map = attempt.task.index;
                    if self.wanted.get(&map).is_some_and(|source| source.map == attempt) {
                        self.wanted.remove(&map);
                    }
                }
            }
        }
    }

    /// Whether it has all the input that it needs.
    pub(crate) fn has_all(&self) -> bool {
        !self.is_reduce() || self.fetched.len() == self.launch.job.n_maps as usize
    }

    /// The result of a fetch.
    pub(crate) fn fetched(&mut self, source: &Source, is_here: bool) {
        let map = source.map.task.index;
        match is_here {
            true => {
                self.n_failed = 0;
                self.wanted.remove(&map);
                self.fetched.insert(map, (source.map, source.digest.clone()));
            }
            false => self.n_failed += 1,
        }
    }

    /// How long a reduce waits for news before it tries again.
    pub(crate) fn pause(&self) -> Duration {
        match self.wanted.is_empty() {
            true => PIECE_MAX,
            false => (RETRY_MIN * 2_u32.saturating_pow(self.n_failed.min(8))).min(PIECE_MAX),
        }
    }

    /// Duration of the next piece; `None` if all are done.
    pub(crate) fn next_piece(&mut self) -> Option<Duration> {
        let is_left = self.n_done < self.n_pieces;
        self.n_done += u32::from(is_left);
        is_left.then_some(self.piece)
    }

    pub(crate) fn progress(&self) -> FromTask {
        let done = f64::from(self.n_done.saturating_sub(1)) / f64::from(self.n_pieces);
        let fetched = self.fetched.len() as f64 / f64::from(self.launch.job.n_maps.max(1));
        let progress = if self.is_reduce() { (done + fetched) / 2.0 } else { done };
        FromTask::Progress { progress: progress as f32 }
    }

    /// Why it cannot go on, if so.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        let map_attempt = self.changed?;
        let message = "a map that was read made other bytes".to_owned();
        Some(Failure { kind: FailureKind::MapOutputChanged { map_attempt }, message })
    }

    /// Whether half of its work is done.
    pub(crate) fn is_halfway(&self) -> bool {
        self.n_done * 2 >= self.n_pieces
    }
}

fn draw_fortune(random: &mut Random, nature: &Nature, task: TaskId, is_calm: bool) -> Fortune {
    match nature.fate {
        Fate::BadJob => return Fortune::Fails(FailureKind::BadJob),
        Fate::Broken(..) if nature.breaks(task) => return Fortune::Fails(FailureKind::UserCode),
        _ => {}
    }
    if is_calm || !random.chance(nature.fails) {
        return Fortune::Succeeds;
    }
    let failures = [
        FailureKind::UserCode,
        FailureKind::Crashed { exit_code: Some(1), signal: None },
        FailureKind::InputUnavailable,
        FailureKind::OutputUnavailable,
        FailureKind::OutOfSpace,
        FailureKind::OutOfMemory { limit: 1, used: 2 },
        FailureKind::TooManyProcesses { limit: 1 },
        FailureKind::OverDiskQuota { limit: 1, used: 2 },
        FailureKind::ProgramUnavailable,
        FailureKind::TimedOut,
        FailureKind::Killed,
        FailureKind::TrackerLost,
    ];
    match random.below(8) {
        0 => Fortune::Crashes,
        1 => Fortune::Hangs,
        2 => Fortune::Lingers,
        3 => Fortune::NotStarted(FailureKind::ProgramUnavailable),
        4 => Fortune::NotStarted(FailureKind::OutOfSpace),
        _ => Fortune::Fails(random.pick(&failures).clone()),
    }
}

const _: () = assert!(PIECE_MAX.as_millis() * 2 < TASK_TIMEOUT.as_millis());

/// The report for a process that ended without one.
pub(crate) fn crashed() -> Failure {
    let kind = FailureKind::Crashed { exit_code: None, signal: Some(9) };
    Failure { kind, message: "the process was ended by signal 9".to_owned() }
}
