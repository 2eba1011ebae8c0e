//! A world of jobs: one JobTracker, up to fifty TaskTrackers with their attempts, and clients with
//! jobs of all shapes. The cores are the *real* ones (`jobtracker-core`, `tasktracker-core`);
//! shells, journal, disks, processes, chunk store and network are simulated. Besides the faults of
//! every world, attempts fail in all possible ways, hang and straggle; hosts are cut off in one or
//! both directions; map outputs disappear or cannot be fetched by some reduces; maps produce
//! different outputs when they run again; the chunk store answers late or not at all; and an
//! operator drains hosts, pauses jobs and ends attempts by hand.
//!
//! [`run`] runs one world. When the faults are over, every job must end as it should, and leave
//! nothing behind. The shells do what the daemons' event loops do (`jobtracker/src`,
//! `tasktracker/src`). A reduce remembers which attempt's output it has read of each map, so that a
//! job's output can be judged. [`Sabotage`] plants bugs.

mod book;
mod client;
mod faults;
mod ground;
mod invariants;
mod jobtracker;
mod nature;
mod operator;
mod process;
mod sabotage;
mod scene;
mod store;
mod tracker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Violation;

pub use sabotage::Sabotage;
pub use world::Outcome;

/// Runs the world of a seed until it is at rest or an invariant is broken.
#[must_use]
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    live(&mut world::World::new(seed, sabotage, false))
}

/// Runs it too, and returns the trace as well: one line per event.
#[must_use]
pub fn run_traced(seed: u64, sabotage: Option<Sabotage>) -> (Outcome, Vec<String>) {
    let mut world = world::World::new(seed, sabotage, true);
    let outcome = live(&mut world);
    (outcome, world.scene.ground.take_trace())
}

/// A panic of a core is a violation too, and its trace is available.
fn live(world: &mut world::World) -> Outcome {
    let lived = catch_unwind(AssertUnwindSafe(|| world.run()));
    lived.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = said.unwrap_or_else(|| "nobody knows why".to_owned());
        let violation = Some(Violation { invariant: "panic", what });
        Outcome { violation, ..Outcome::default() }
    })
}
