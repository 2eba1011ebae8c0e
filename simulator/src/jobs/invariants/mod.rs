//! What must hold whatever happens, one invariant per file. The world reports to [`Watch`] all that
//! is visible from outside, and also what really runs and is really on the disks; it keeps the
//! first violation.

mod acknowledged;
mod awaited;
mod bounds;
mod counters;
mod ends;
mod fencing;
mod fold;
mod leftovers;
mod lost_maps;
mod map_events;
mod numbers;
mod one_winner;
mod publish;
mod purity;
mod slots;
mod starvation;
mod without_cause;

use std::collections::{BTreeMap, BTreeSet};

use ids::{Epoch, Monotonic};
use jobtracker_core::{Effect, Notice, Record, Reply};
use mapreduce_protocol::{
    AttemptId, AttemptResult, JobId, JobState, OutputSizes, StagedOutput, TaskKind, TrackerCommand,
};

use crate::Violation;
use crate::jobs::book::Book;
use crate::jobs::ground::{Ground, Who, tracker_on};
use crate::jobs::nature::Nature;
use crate::jobs::process::Process;
use crate::jobs::scene::Scene;
use crate::random::Random;

pub(crate) use fencing::Sent;

/// What a reduce has read: for each map, which attempt's output and its digest.
pub(crate) type Reads = BTreeMap<u32, (AttemptId, String)>;

/// The omniscient observer.
#[derive(Default)]
pub(crate) struct Watch {
    violation: Option<Violation>,
    /// The state after all records, including those not yet on disk.
    pub(crate) book: Book,
    /// The nature of each job, including jobs that a crash undid.
    natures: BTreeMap<JobId, usize>,
    /// For a planted bug: whether maps claim that their output is always the same.
    is_forged: bool,
    /// Every attempt ever spawned, and its tracker.
    spawned: BTreeMap<AttemptId, usize>,
    /// Every attempt that a tracker was ever told to launch: which tracker, in which term.
    launched: BTreeMap<AttemptId, (usize, Epoch)>,
    /// Every attempt that this JobTracker process intends to launch.
    meant: BTreeSet<AttemptId>,
    /// Results of attempts whose processes reported success.
    results: BTreeMap<AttemptId, AttemptResult>,
    /// What reduces had really read when they succeeded.
    reads: BTreeMap<AttemptId, Reads>,
    /// Each tracker's last registration in this term, unless the tracker was lost since.
    present: BTreeMap<usize, (Epoch, u64)>,
    /// For each tracker the map outputs and the number of running attempts in its last
    /// registration, during this life of the JobTracker.
    said: BTreeMap<usize, (BTreeSet<AttemptId>, usize)>,
    /// Trackers that were told that they are registered, and since then were neither lost nor
    /// drained and idle.
    known: BTreeSet<usize>,
    /// The `known` trackers when the JobTracker started.
    expected: BTreeSet<usize>,
    /// Trackers with a heartbeat accepted during this life of the JobTracker.
    has_told: BTreeSet<usize>,
    /// The map outputs in each tracker's last registration that was followed by a heartbeat.
    listed: BTreeMap<usize, BTreeSet<AttemptId>>,
    /// The number of running attempts in it.
    running: BTreeMap<usize, usize>,
    /// When each tracker was last heard of during this life of the JobTracker.
    heard: BTreeMap<usize, Monotonic>,
    /// When the JobTracker last started.
    pub(crate) started_at: Monotonic,
    /// When a heartbeat of each tracker was last refused for lack of space.
    refused: BTreeMap<usize, Monotonic>,
    /// Since when the JobTracker has run without being suspended.
    pub(crate) runs_since: Monotonic,
    /// Map outputs that a reduce could not fetch.
    complaints: BTreeSet<AttemptId>,
    /// Map outputs withdrawn in this term, in order.
    withdrawn: Vec<AttemptId>,
    /// Jobs that a client wanted to kill.
    kills: BTreeSet<JobId>,
    /// Jobs that clients know, and how they ended if the clients know that.
    told: BTreeMap<JobId, Option<JobState>>,
    /// Since when a job has wanted slots and had none.
    starving: BTreeMap<JobId, Monotonic>,
    /// Counts of what has happened.
    pub(crate) seen: Seen,
}

/// Counts of what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) n_attempts: u64,
    pub(crate) n_lost: u64,
    pub(crate) n_undone: u64,
    pub(crate) n_succeeded: u64,
    pub(crate) n_failed: u64,
    pub(crate) n_killed: u64,
}

impl Watch {
    /// Before anything has happened.
    pub(crate) fn new(is_forged: bool) -> Self {
        Self { is_forged, ..Self::default() }
    }

    pub(crate) fn broken(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The nature of an accepted job.
    pub(crate) fn nature_of(&self, job: JobId) -> usize {
        self.natures[&job]
    }

    /// The result that a process is about to report.
    pub(crate) fn result(
        &mut self,
        ground: &mut Ground,
        natures: &[Nature],
        process: &Process,
        staged: Option<StagedOutput>,
    ) -> AttemptResult {
        let attempt = process.attempt();
        let nature = &natures[self.nature_of(attempt.task.job)];
        let digest = match attempt.task.kind {
            TaskKind::Map if self.is_forged => nature.digest(attempt.task.attempt(0)),
            TaskKind::Map => nature.digest(attempt),
            TaskKind::Reduce => {
                let read = process.fetched.iter();
                let truly = read.map(|(map, (of, _))| (*map, (*of, nature.digest(*of))));
                let digest = digest_of(&truly.clone().collect());
                self.reads.insert(attempt, truly.collect());
                digest
            }
        };
        let counters = [("work.done".to_owned(), ground.random.within(1..1000) as u64)].into();
        let n_reduces = natures[self.nature_of(attempt.task.job)].spec.reduces.unwrap_or(1);
        let sizes = process.leaves_map_output().then(|| sizes(&mut ground.random, n_reduces));
        let named = Vec::new();
        let result = AttemptResult { digest, counters, staged, sizes, named };
        self.results.insert(attempt, result.clone());
        result
    }

    /// Notes accepted registrations, and lost trackers.
    fn see_effect(&mut self, effect: &Effect, asker: Option<Who>) {
        match effect {
            Effect::Reply { reply: Reply::Registered(told), .. } => {
                if let Some(Who::Tracker(tracker)) = asker {
                    self.present.insert(tracker, (told.epoch, told.session));
                }
            }
            Effect::Tell(Notice::TrackerLost { host, .. }) => {
                self.present.remove(&tracker_on(host));
            }
            _ => {}
        }
    }

    /// A tracker is told that it is registered; the records for that are on disk.
    pub(crate) fn see_welcomed(&mut self, tracker: usize) {
        // A tracker that runs nothing and gets nothing need not be waited for.
        let runs = self.said.get(&tracker).is_some_and(|(_, n_running)| *n_running > 0);
        if runs || !self.book.drained.contains(&tracker) {
            self.known.insert(tracker);
        }
    }

    /// Attempts that were spawned and have not succeeded, of unfinished jobs.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = AttemptId> {
        let spawned = self.spawned.keys().copied();
        let is_open = |it: &AttemptId| self.book.unfinished(it.task.job).is_some();
        spawned.filter(move |it| is_open(it) && !self.results.contains_key(it))
    }

    /// A reduce could not fetch a map's output.
    pub(crate) fn see_complaint(&mut self, map: AttemptId) {
        self.complaints.insert(map);
    }

    /// A client's request that a job be killed has arrived.
    pub(crate) fn see_kill(&mut self, job: JobId) {
        self.kills.insert(job);
    }

    /// The JobTracker's process is gone; `journal` is what the next one will find.
    pub(crate) fn see_crash(&mut self, journal: &[Record]) {
        self.check_acknowledged(journal);
        self.book = Book::default();
        journal.iter().for_each(|record| self.book.apply(record));
        self.present.clear();
        self.said.clear();
        self.has_told.clear();
        self.expected.clone_from(&self.known);
        self.listed.clear();
        self.running.clear();
        self.heard.clear();
        self.refused.clear();
        self.withdrawn.clear();
        self.meant.clear();
    }

    fn count(&mut self, record: &Record) {
        match record {
            Record::MapOutputLost { .. } => self.seen.n_lost += 1,
            Record::ReducesUndone { .. } => self.seen.n_undone += 1,
            Record::JobEnded { state: JobState::Succeeded, .. } => self.seen.n_succeeded += 1,
            Record::JobEnded { state: JobState::Killed, .. } => self.seen.n_killed += 1,
            Record::JobEnded { .. } => self.seen.n_failed += 1,
            _ => {}
        }
    }
}

impl Scene {
    /// The core has an effect; if it is a reply, `asker` will get it.
    pub(crate) fn see_effect(&mut self, effect: &Effect, asker: Option<Who>) {
        self.watch.see_effect(effect, asker);
        let Effect::Reply { reply: Reply::Heartbeat(reply), .. } = effect else { return };
        let (now, dead_after) = (self.ground.now().monotonic, self.dead_after);
        for command in &reply.commands {
            if let TrackerCommand::Launch(launch) = &command.item {
                self.watch.check_launch(now, launch.attempt, dead_after);
            }
        }
    }

    /// The JobTracker's core made a record.
    pub(crate) fn see_record(&mut self, record: &Record) {
        self.watch.count(record);
        self.watch.check_winner(record);
        self.check_cause(record);
        self.check_end(record);
        self.check_publish(record);
        self.watch.check_purity(record, &self.natures);
        match record {
            Record::MapOutputLost { attempt } => self.watch.withdrawn.push(*attempt),
            Record::TrackerGone { host } => {
                self.watch.known.remove(&tracker_on(host));
                self.watch.expected.remove(&tracker_on(host));
            }
            Record::HostUndrained { host } => {
                let tracker = tracker_on(host);
                if self.watch.present.contains_key(&tracker) {
                    self.watch.known.insert(tracker);
                }
            }
            _ => {}
        }
        self.watch.book.apply(record);
        if let Record::JobAccepted { job, .. } = record {
            let nature = self.watch.book.jobs[job].nature;
            self.watch.natures.insert(*job, nature);
        }
    }
}

/// Stands for the digest of a reduce's output as a function of its input: FNV-1a.
fn digest_of(reads: &Reads) -> String {
    let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let digests = reads.values().flat_map(|(_, digest)| digest.bytes().chain([b' ']));
    format!("{:016x}", digests.fold(0xCBF2_9CE4_8422_2325, mix))
}

/// How a map's output is spread over the reduces: evenly, or most of it for one; worth waiting for,
/// or too small for that.
fn sizes(random: &mut Random, n_reduces: u32) -> OutputSizes {
    let usual = *random.pick(&[100, 1 << 20, 1 << 30]);
    let heavy = random.below(n_reduces as usize);
    let heavy_bytes = usual * *random.pick(&[1, 20]);
    let of = |partition| if partition == heavy { heavy_bytes } else { usual };
    OutputSizes::of((0..n_reduces as usize).map(of))
}
