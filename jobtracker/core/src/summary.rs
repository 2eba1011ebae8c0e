//! Values for gauges, read at each scrape. (The edge makes the counters, as a fold over the
//! records.)

use std::collections::BTreeMap;

use mapreduce_protocol::{JobState, TaskKind};

use crate::durable::Stage;
use crate::locality::Locality;
use crate::machine::Core;
use crate::order::Pool;
use crate::trackers::Tracker;

/// The state of the JobTracker in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Known jobs, by state.
    pub jobs: BTreeMap<JobState, u64>,
    /// Unfinished jobs that are paused.
    pub jobs_paused: u64,
    /// Ended jobs whose histories are still to be written.
    pub histories_unwritten: u64,
    /// Live trackers.
    pub trackers: u64,
    /// Live trackers whose hosts have ailments.
    pub trackers_ill: u64,
    /// Live trackers that are set aside for a while.
    pub trackers_set_aside: u64,
    /// Live trackers that are drained.
    pub trackers_drained: u64,
    /// Slots of all live trackers.
    pub slots: u64,
    /// Occupied slots.
    pub slots_occupied: u64,
    /// Maps of unfinished jobs.
    pub maps: TaskGauges,
    /// Reduces of unfinished jobs.
    pub reduces: TaskGauges,
    /// Attempts launched since the start, by locality.
    pub launches: Launches,
    /// Heartbeats received since the start.
    pub heartbeats: u64,
    /// Heartbeats with a parked reply.
    pub heartbeats_parked: u64,
    /// Attempts killed or lost since the start.
    pub attempts_killed: u64,
    /// What the pools hold and want, by name.
    pub pools: BTreeMap<String, PoolGauges>,
    /// Attempts killed since the start because another pool had waited for its share.
    pub preempted: u64,
    /// Backups launched since the start.
    pub backups_launched: u64,
    /// Backups that succeeded first.
    pub backups_won: u64,
    /// Requests that wait for a job's end.
    pub waiting_clients: u64,
}

/// One pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolGauges {
    /// Slots that it holds.
    pub slots: u64,
    /// Tasks that wait for a slot.
    pub waiting: u64,
    /// Its unfinished jobs.
    pub jobs: u64,
}

/// Tasks of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskGauges {
    /// Tasks that wait for a slot.
    pub waiting: u64,
    /// Tasks with a running attempt.
    pub running: u64,
}

/// Attempts launched since the process' start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Launches {
    /// Maps on a host that holds a replica of their split.
    pub node_local: u64,
    /// Maps in the rack of such a host.
    pub rack_local: u64,
    /// Maps on any other host.
    pub off_rack: u64,
    /// Reduces.
    pub reduce: u64,
}

/// What the core counts itself because no record shows it.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) launches: Launches,
    pub(crate) heartbeats: u64,
    pub(crate) attempts_killed: u64,
    pub(crate) preempted: u64,
    pub(crate) backups_launched: u64,
    pub(crate) backups_won: u64,
}

impl Launches {
    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.node_local + self.rack_local + self.off_rack + self.reduce
    }

    pub(crate) fn count(&mut self, kind: TaskKind, locality: Option<Locality>) {
        match (kind, locality) {
            (TaskKind::Map, Some(Locality::NodeLocal)) => self.node_local += 1,
            (TaskKind::Map, Some(Locality::RackLocal)) => self.rack_local += 1,
            (TaskKind::Map, Some(Locality::OffRack) | None) => self.off_rack += 1,
            (TaskKind::Reduce, _) => self.reduce += 1,
        }
    }
}

impl Core {
    /// The numbers now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut jobs = BTreeMap::new();
        for entry in self.durable.jobs().values() {
            let state = match &entry.stage {
                Stage::Planning => JobState::Prep,
                Stage::Running(_) => JobState::Running,
                Stage::Ended(ended) => ended.state,
            };
            *jobs.entry(state).or_default() += 1;
        }
        let occupied = self.trackers.iter().map(|(_, tracker)| tracker.occupied().len() as u64);
        Summary {
            jobs,
            jobs_paused: self.jobs.values().filter(|live| live.paused.at_all()).count() as u64,
            histories_unwritten: self.n_unwritten(),
            trackers: self.trackers.len() as u64,
            trackers_ill: self.n_trackers(|tracker| !tracker.ailments.is_empty()),
            trackers_set_aside: self.n_trackers(|tracker| tracker.set_aside.is_some()),
            trackers_drained: self.n_trackers(|tracker| tracker.drained),
            slots: self.trackers.slots() as u64,
            slots_occupied: occupied.sum(),
            maps: self.gauges(TaskKind::Map),
            reduces: self.gauges(TaskKind::Reduce),
            launches: self.counted.launches,
            heartbeats: self.counted.heartbeats,
            heartbeats_parked: self.n_trackers(|tracker| tracker.parked.is_some()),
            attempts_killed: self.counted.attempts_killed,
            preempted: self.counted.preempted,
            pools: self.pool_gauges(),
            backups_launched: self.counted.backups_launched,
            backups_won: self.counted.backups_won,
            waiting_clients: self.waiters.len() as u64,
        }
    }

    fn pool_gauges(&self) -> BTreeMap<String, PoolGauges> {
        let gauges = |pool: &Pool| PoolGauges {
            slots: pool.n_slots.into(),
            waiting: pool.n_waiting.into(),
            jobs: pool.n_jobs() as u64,
        };
        let pools = self.jobs.order().pools().iter();
        pools.map(|pool| (pool.rule.name.clone(), gauges(pool))).collect()
    }

    fn n_unwritten(&self) -> u64 {
        self.durable.ended().iter().filter(|job| self.unwritten(**job).is_some()).count() as u64
    }

    fn n_trackers(&self, are: impl Fn(&Tracker) -> bool) -> u64 {
        self.trackers.iter().filter(|(_, tracker)| are(tracker)).count() as u64
    }

    fn gauges(&self, kind: TaskKind) -> TaskGauges {
        let mut gauges = TaskGauges::default();
        for live in self.jobs.values() {
            let counts = live.counts(kind, self.durable.running(live.id));
            gauges.waiting += u64::from(counts.waiting);
            gauges.running += u64::from(counts.running);
        }
        gauges
    }
}
