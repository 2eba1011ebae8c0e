//! The chunk store in its own world: one chunk master, five chunkservers and four clients, all with
//! the *real* cores (`chunkstore-core`); their shells, disks, journal and network are simulated.
//! Clients write files, publish, and append records to logs. Besides the faults of every world,
//! disks are full, slow, fail and rot.
//!
//! [`run`] runs one world. When the faults are over, the world must come to rest. The shells do
//! what the daemons' event loops and the client library do (`chunkstore/src`, `chunkstore/client`).
//! [`Sabotage`] plants bugs.

mod client;
mod content;
mod disk;
mod faults;
mod ground;
mod invariants;
mod master;
mod model;
mod records;
mod sabotage;
mod server;
mod world;

pub use sabotage::Sabotage;
pub use world::Outcome;

/// Runs the world of a seed until it is at rest or an invariant is broken.
#[must_use]
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    world::World::new(seed, sabotage, false).run()
}

/// Runs it too, and returns the trace as well: everything that happened, one line each.
#[must_use]
pub fn run_traced(seed: u64, sabotage: Option<Sabotage>) -> (Outcome, Vec<String>) {
    let mut world = world::World::new(seed, sabotage, true);
    let outcome = world.run();
    (outcome, world.ground.take_trace())
}
