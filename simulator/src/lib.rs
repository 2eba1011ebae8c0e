//! Worlds that are made of one seed, in which the *real* cores live through everything that can go wrong. Out of the seed
//! come crashes, lost, late, doubled and reordered messages, processes that stand still, and what clients do; the same seed
//! gives the same world, event for event. It takes milliseconds and no real time.
//!
//! - [`store`]: chunk master, chunkservers and clients;
//! - [`jobs`]: JobTracker, TaskTrackers, attempts, and clients with jobs;
//! - [`cluster`]: the same with nothing that goes wrong but slow and dead hosts, and with times that mean something: how long
//!   jobs take, for people who ask and for tests that hold the scheduler to the papers;
//! - `random`: the only source of chance; `timeline`: what happens next, and the trace; `weather`: how bad a world is.
//!
//! The shells around the cores do what the daemons' event loops do, so that what holds here holds there as far as those do;
//! sockets, files and tokens are not here. In each world invariants watch, of which each has a file of its own; and bugs
//! can be planted, which shows what the invariants are worth.

pub mod cluster;
pub mod jobs;
mod random;
pub mod store;
mod timeline;
mod weather;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant: its file's name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}
