//! What must hold whatever happens, each in a file of its own. The world tells [`Watch`] everything that can be seen from
//! outside, what truly runs, and what truly lies on disks; it keeps the first thing that is wrong.

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

/// What a reduce has read: of each map, which attempt's output, and its digest.
pub(crate) type Reads = BTreeMap<u32, (AttemptId, String)>;

/// The one who sees everything.
#[derive(Default)]
pub(crate) struct Watch {
    violation: Option<Violation>,
    /// After all records, also those that are not on disk yet.
    pub(crate) book: Book,
    /// The nature of each job, also of those that a crash undid.
    natures: BTreeMap<JobId, usize>,
    /// Of a planted bug: whether maps say that they always make the same.
    is_forged: bool,
    /// Every attempt that was ever spawned, and where.
    spawned: BTreeMap<AttemptId, usize>,
    /// Every attempt that a tracker was ever told to launch: which one, in which term.
    launched: BTreeMap<AttemptId, (usize, Epoch)>,
    /// Every attempt that this process of the JobTracker means to be launched.
    meant: BTreeSet<AttemptId>,
    /// Attempts whose processes said that they have succeeded, with what.
    results: BTreeMap<AttemptId, AttemptResult>,
    /// What reduces had truly read when they succeeded.
    reads: BTreeMap<AttemptId, Reads>,
    /// The last registration of each tracker in this term that was not lost since.
    present: BTreeMap<usize, (Epoch, u64)>,
    /// What the last registration of each tracker said that it holds and how many attempts it runs, in this life of the
    /// JobTracker.
    said: BTreeMap<usize, (BTreeSet<AttemptId>, usize)>,
    /// Trackers that were told that they are registered, and were not lost since, nor drained and idle.
    known: BTreeSet<usize>,
    /// Those of them that were so when the JobTracker started.
    expected: BTreeSet<usize>,
    /// Those of which a heartbeat was taken in this life of the JobTracker.
    has_told: BTreeSet<usize>,
    /// What the last registration of each tracker that a heartbeat followed said that it holds.
    listed: BTreeMap<usize, BTreeSet<AttemptId>>,
    /// How many attempts it said that it runs.
    running: BTreeMap<usize, usize>,
    /// When each tracker was heard last in this life of the JobTracker.
    heard: BTreeMap<usize, Monotonic>,
    /// When the JobTracker started last.
    pub(crate) started_at: Monotonic,
    /// When a heartbeat of each tracker was refused last for want of room.
    refused: BTreeMap<usize, Monotonic>,
    /// Since when the JobTracker has run without standing still.
    pub(crate) runs_since: Monotonic,
    /// Map outputs that a reduce could not fetch.
    complaints: BTreeSet<AttemptId>,
    /// Map outputs withdrawn in this term, in order.
    withdrawn: Vec<AttemptId>,
    /// Jobs that somebody wanted to be killed.
    kills: BTreeSet<JobId>,
    /// Jobs that clients know, and how they ended if they know that.
    told: BTreeMap<JobId, Option<JobState>>,
    /// Since when a job wants slots and has none.
    starving: BTreeMap<JobId, Monotonic>,
    /// What has happened, in numbers.
    pub(crate) seen: Seen,
}

/// What has happened.
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

    /// Which nature a job has that was accepted.
    pub(crate) fn nature_of(&self, job: JobId) -> usize {
        self.natures[&job]
    }

    /// A process is about to say that it has succeeded; what it says.
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

    /// Whose registration is told to be taken, and whose ends with its silence.
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

    /// A tracker is told that it is registered: whatever led to that is on disk.
    pub(crate) fn see_welcomed(&mut self, tracker: usize) {
        // One that runs nothing, and will be given nothing, need not be waited for.
        let runs = self.said.get(&tracker).is_some_and(|(_, n_running)| *n_running > 0);
        if runs || !self.book.drained.contains(&tracker) {
            self.known.insert(tracker);
        }
    }

    /// Attempts that were spawned and have not succeeded, of jobs that have not ended.
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

    /// The JobTracker's process is gone; this is the journal that its next one will find.
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
    /// The core leads to something, and it will be told to the one who asked.
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

/// Stands for the digest of a reduce's output, which is a function of what it has read: FNV-1a.
fn digest_of(reads: &Reads) -> String {
    let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let digests = reads.values().flat_map(|(_, digest)| digest.bytes().chain([b' ']));
    format!("{:016x}", digests.fold(0xCBF2_9CE4_8422_2325, mix))
}

/// How a map's output is spread over so many reduces: evenly, or most of it for one of them; too little to wait for, or not.
fn sizes(random: &mut Random, n_reduces: u32) -> OutputSizes {
    let usual = *random.pick(&[100, 1 << 20, 1 << 30]);
    let heavy = random.below(n_reduces as usize);
    let heavy_bytes = usual * *random.pick(&[1, 20]);
    let of = |partition| if partition == heavy { heavy_bytes } else { usual };
    OutputSizes::of((0..n_reduces as usize).map(of))
}
