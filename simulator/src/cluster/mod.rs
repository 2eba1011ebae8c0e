//! A simulated cluster at work: hosts in racks, jobs that arrive over time, slow hosts and hosts
//! that die; and the *real* cores of the JobTracker and of the TaskTrackers, which make all
//! decisions. Only how long things take is simulated. So a configuration, or more hosts, can be
//! tried out in seconds, and tests check that it reproduces what the papers measured.
//!
//! - `scenario`: what is simulated; `report`: the results;
//! - `world`: who talks to whom, and when; `tracker`: a host; `attempt`, `shuffle`: how long work
//!   takes;
//! - `input`: where chunks lie; `book`, `shares`: what is observed.
//!
//! What is simpler than in reality: attempts do not compete for disks, the network or switches (the
//! rates are those of an attempt on a busy host); a reduce learns of a map's output at once, not by
//! a heartbeat; the chunk store always answers, and the chunks of an input stay readable somewhere,
//! whichever hosts die; no attempt fails on its own.

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

/// Runs a scenario until all its jobs have ended.
///
/// # Errors
/// The scenario is invalid, or its jobs do not end.
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
