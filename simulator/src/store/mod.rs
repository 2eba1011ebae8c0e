//! The chunk store in a world of its own: one chunk master, five chunkservers and four clients, all of
//! them the *real* cores (`chunkstore-core`), with shells, disks, a journal and a network that are
//! simulated. Clients write files, publish, and append records to logs. Besides what goes wrong in every
//! world, disks are full, slow, fail and rot.
//!
//! [`run`] lives one world through. When the faults are over, the world must come to rest. The shells do
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

/// Lives the world of a seed through, until it has come to rest or a promise is broken.
#[must_use]
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    world::World::new(seed, sabotage, false).run()
}

/// The same, with everything that happened, a line each.
#[must_use]
pub fn run_traced(seed: u64, sabotage: Option<Sabotage>) -> (Outcome, Vec<String>) {
    let mut world = world::World::new(seed, sabotage, true);
    let outcome = world.run();
    (outcome, world.ground.take_trace())
}
