//! The jobs' side in a world of its own: one JobTracker, fifty TaskTrackers and their attempts, and clients with jobs of all
//! shapes. The *real* cores (`jobtracker-core`, `tasktracker-core`), with shells, a journal, disks, processes, a chunk store
//! and a network that are simulated. Besides what goes wrong in every world, attempts fail in all ways there are, hang and
//! straggle; hosts are cut off both ways and one way, maps' outputs vanish or can't be fetched by some, maps make other
//! bytes when they run again, the chunk store does not answer, or not in time, and somebody drains hosts, pauses jobs
//! and ends attempts by hand.
//!
//! [`run`] lives one world through. When the faults are over, every job must end as it has to, and nothing may be left of
//! it. The shells do what the daemons' event loops do (`jobtracker/src`, `tasktracker/src`). A reduce remembers which
//! attempt's output it has read of each map, so that what a job has made can be judged. [`Sabotage`] plants bugs.

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

/// Lives the world of a seed through, until it has come to rest or a promise is broken.
#[must_use]
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    live(&mut world::World::new(seed, sabotage, false))
}

/// The same, with everything that happened, a line each.
#[must_use]
pub fn run_traced(seed: u64, sabotage: Option<Sabotage>) -> (Outcome, Vec<String>) {
    let mut world = world::World::new(seed, sabotage, true);
    let outcome = live(&mut world);
    (outcome, world.scene.ground.take_trace())
}

/// A core that panics breaks a promise too, and what led to it can be told.
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
