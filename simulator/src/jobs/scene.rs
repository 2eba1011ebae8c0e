//! What all processes of this world share and none owns: the ground, the chunk store, the maps' outputs as they lie on the
//! trackers' disks, what jobs are like, and the one who sees everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::{Effect, Input};
use mapreduce_protocol::{AttemptId, JobId};

use crate::jobs::ground::{Event, Ground, Who};
use crate::jobs::invariants::Watch;
use crate::jobs::nature::Nature;
use crate::jobs::store::{Fails, Store};

/// See the module.
pub(crate) struct Scene {
    pub(crate) ground: Ground,
    pub(crate) watch: Watch,
    pub(crate) store: Store,
    pub(crate) outputs: Outputs,
    pub(crate) natures: Vec<Nature>,
    /// Silence after which the JobTracker takes a tracker for lost, at the earliest.
    pub(crate) dead_after: Duration,
    /// The same at the latest: with many trackers it is patient.
    pub(crate) longest_silence: Duration,
    /// When all that was on its way has arrived, once the faults are over.
    pub(crate) settled_at: Monotonic,
    /// Whether the faults are over.
    pub(crate) is_calm: bool,
}

impl Scene {
    /// A job that has not ended, if there is one.
    pub(crate) fn some_job(&mut self) -> Option<JobId> {
        let jobs = self.watch.book.jobs.iter().filter(|(_, book)| book.ended.is_none());
        let jobs: Vec<JobId> = jobs.map(|(job, _)| *job).collect();
        jobs.get(self.ground.random.below(jobs.len().max(1))).copied()
    }

    /// An attempt that may run, if there is one.
    pub(crate) fn some_attempt(&mut self) -> Option<AttemptId> {
        let attempts: Vec<AttemptId> = self.watch.unfinished().collect();
        attempts.get(self.ground.random.below(attempts.len().max(1))).copied()
    }

    /// The chunk store does what the JobTracker has asked for; what that hears.
    pub(crate) fn carry_out(&mut self, call: &Effect, fails: Option<Fails>) -> Option<Input> {
        self.ground.say(format_args!("the store does {call:?}: {fails:?}"));
        self.store.carry_out(&self.natures, call, fails)
    }

    /// The reduce of that partition on `reader`'s host asks for a map's output.
    pub(crate) fn fetch(
        &mut self,
        reader: usize,
        partition: u32,
        map: AttemptId,
        address: &str,
    ) -> Result<(), &'static str> {
        let Some(server) = self.outputs.served_at.get(address).copied() else {
            return Err("connection refused");
        };
        if server != reader && !self.ground.talk(Who::Tracker(reader), Who::Tracker(server)) {
            return Err("no route to host");
        }
        if self.outputs.on_disk.get(&map) != Some(&server) {
            let delay = self.ground.random.millis(0..5);
            self.ground.after(delay, Event::Missed { tracker: server, output: map });
            return Err("it is not there");
        }
        match self.outputs.broken.contains(&(map, partition)) {
            true => Err("it breaks off"),
            false => Ok(()),
        }
    }
}

/// The maps' outputs.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Those that are on a tracker's disk.
    pub(crate) on_disk: BTreeMap<AttemptId, usize>,
    /// Trackers that serve theirs, by address.
    pub(crate) served_at: BTreeMap<String, usize>,
    /// Partitions that nobody can fetch.
    pub(crate) broken: BTreeSet<(AttemptId, u32)>,
}

impl Outputs {
    /// Those on the disk of one tracker.
    pub(crate) fn of(&self, tracker: usize) -> impl Iterator<Item = AttemptId> {
        self.on_disk.iter().filter(move |(_, at)| **at == tracker).map(|(output, _)| *output)
    }
}
