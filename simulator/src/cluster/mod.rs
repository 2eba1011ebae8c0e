//! A pretended cluster at work: hosts in racks, jobs that come over time, slow hosts and hosts that die; and the *real* cores
//! of the JobTracker and of the TaskTrackers, which decide everything. What is pretended is how long things take. So a
//! configuration, or more hosts, can be tried out in seconds, and what the papers measured is held to by tests.
//!
//! - `scenario`: what is simulated; `report`: what came out;
//! - `world`: who talks to whom, and when; `tracker`: a host; `attempt`, `shuffle`: how long work takes;
//! - `input`: where chunks lie; `book`, `shares`: what is seen of it all.
//!
//! What is simpler than the truth: nobody shares a disk, a network or a switch with anybody (rates are those of an attempt on
//! a busy host); a reduce hears of a map's output at once, and not by a heartbeat; the chunk store always answers, and an
//! input's chunks are readable somewhere, whoever dies; no attempt fails of itself.

mod attempt;
mod book;
mod input;
mod report;
mod scenario;
mod shares;
mod shuffle;
mod tracker;
mod world;

pub use jobtracker_core::{DEFAULT_POOL, Locality, PoolRule, Settings, Sharing};
pub use report::{Backups, InUse, JobReport, Places, PoolReport, Report};
pub use scenario::{
    Cluster, Deaths, HOSTS_MAX, InvalidScenario, JobPlan, MapPlan, Rates, ReducePlan, Scenario,
    TASKS_MAX, Took,
};
pub use world::{NoEnd, SimulationError};

/// Lives a scenario through, until all its jobs have ended.
///
/// # Errors
/// It is none that can be lived through, or its jobs do not end.
pub fn simulate(scenario: &Scenario) -> Result<Report, SimulationError> {
    simulate_telling(scenario, &|_| {})
}

/// The same, which tells now and then how many tasks are done: large ones take a while.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_telling(
    scenario: &Scenario,
    tell: &dyn Fn(u64),
) -> Result<Report, SimulationError> {
    scenario.check().map_err(SimulationError::Invalid)?;
    world::World::new(scenario).run(tell).map_err(SimulationError::NoEnd)
}
