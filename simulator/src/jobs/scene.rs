//! What the processes of this world share: the ground, the chunk store, the map outputs on the
//! trackers' disks, the jobs' natures, and the observer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::{Effect, Input};
use mapreduce_protocol::{AttemptId, JobId};

use crate::jobs::ground::{Event, Ground, Who};
use crate::jobs::invariants::Watch;
use crate::jobs::nature::Nature;
use crate::jobs::store::{Fails, Store};

/// The shared state of a world.
pub(crate) struct Scene {
    pub(crate) ground: Ground,
    pub(crate) watch: Watch,
    pub(crate) store: Store,
    pub(crate) outputs: Outputs,
    pub(crate) natures: Vec<Nature>,
    /// The shortest silence after which the JobTracker considers a tracker lost.
    pub(crate) dead_after: Duration,
    /// The longest such silence: with many trackers it waits longer.
    pub(crate) longest_silence: Duration,
    /// When everything in flight has arrived, once the faults are over.
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

    /// The chunk store performs a call of the JobTracker; returns the answer.
    pub(crate) fn carry_out(&mut self, call: &Effect, fails: Option<Fails>) -> Option<Input> {
        self.ground.say(format_args!("the store does {call:?}: {fails:?}"));
        self.store.carry_out(&self.natures, call, fails)
    }

    /// The reduce of `partition` on `reader`'s host fetches a map's output.
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

/// The map outputs.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// The tracker whose disk has each output.
    pub(crate) on_disk: BTreeMap<AttemptId, usize>,
    /// Trackers that serve their outputs, by address.
    pub(crate) served_at: BTreeMap<String, usize>,
    /// Partitions that cannot be fetched.
    pub(crate) broken: BTreeSet<(AttemptId, u32)>,
}

impl Outputs {
    /// The outputs on the disk of one tracker.
    pub(crate) fn of(&self, tracker: usize) -> impl Iterator<Item = AttemptId> {
        self.on_disk.iter().filter(move |(_, at)| **at == tracker).map(|(output, _)| *output)
    }
}
