//! Worlds made from a seed, in which the *real* cores face everything that can go wrong. The seed
//! determines crashes, lost, late, duplicated and reordered messages, suspended processes, and what
//! clients do; the same seed gives the same world, event for event. A world takes milliseconds and
//! no real time.
//!
//! - [`store`]: chunk master, chunkservers and clients;
//! - [`jobs`]: JobTracker, TaskTrackers, attempts, and clients with jobs;
//! - [`cluster`]: the same without faults except slow and dead hosts, and with realistic times: how
//!   long jobs take, for people who ask and for tests that compare the scheduler with the papers;
//! - `random`: the only source of chance; `timeline`: the event queue and the trace; `weather`: how
//!   bad a world is.
//!
//! The shells around the cores do what the daemons' event loops do, so what holds here holds there
//! as far as those do; sockets, files and tokens are not simulated. Each world is watched by
//! invariants, one per file. Bugs can be planted to show that the invariants find them.

pub mod cluster;
pub mod jobs;
mod random;
pub mod store;
mod timeline;
mod weather;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, by the name of its file.
    pub invariant: &'static str,
    /// What was observed.
    pub what: String,
}
