//! One task owns a pure state machine, and nothing is told to the outside before it is journaled.
//! This crate selects, calls `handle`, appends and dispatches; it decides nothing, and knows
//! neither files nor jobs. Reads may bypass the task ([`View`]). Called by the two masters, whose
//! cores it runs.
//!
//! How a master boots:
//!
//! ```no_run
//! # use event_loop::{Machine, Settings};
//! # fn boot<M: Machine>(dir: &std::path::Path, make: impl FnOnce(M::Durable) -> M,
//! #     run: impl FnMut(M::Effect) + Send + 'static) -> Result<(), event_loop::RecoverError> {
//! let options = journal::Options::with_segments(8 << 20);
//! let recovered = event_loop::recover::<M::Durable>(dir, options)?;
//! let machine = make(recovered.durable);
//! let stop_patience = event_loop::stop_patience(options.timeout);
//! let settings = Settings { queue: 1024, snapshot_after_segments: 4, stop_patience };
//! let running = event_loop::start(machine, recovered.log, run, settings);
//! # let _ = running.handle;
//! # Ok(()) }
//! ```

mod desk;
mod encoding;
mod handle;
mod init;
mod log;
mod run;
mod settle;
mod snapshots;
mod state;
mod view;
mod watch;

pub use desk::{ReplyDesk, Waiter};
pub use encoding::{DecodeError, decode_record, encode_record};
pub use handle::{Handle, Running, Stopped, TrySendError, Unsettled, UnsettledBy};
pub use init::{InitError, init};
pub use journal::Folders;
pub use log::{Log, RecoverError, Recovered, recover, recover_async};
pub use run::start;
pub use state::{State, StateFold};
pub use view::View;

use std::time::Duration;

use ids::{Monotonic, Now, Room};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A core and its types, as driven by the loop. All methods are pure and take at most 5 ms.
pub trait Machine: Send + Sync + 'static {
    /// What the core reacts to.
    type Input: Send + 'static;
    /// What must survive a crash. At most 1 MiB when encoded; a longer record ends the process.
    type Record: Serialize + DeserializeOwned;
    /// What is to be done outside, including replies.
    type Effect: Send + 'static;
    /// Its durable state, as rebuilt by the second fold for snapshots.
    type Durable: journal::Fold + 'static;

    /// Takes one input. The state has changed when this returns; the effects are carried out once
    /// the records are on disk.
    fn handle(&mut self, now: Now, input: Self::Input) -> Step<Self::Record, Self::Effect>;

    /// Called when the time of [`Self::poll_timeout`] has come. Must move that time on, or do a
    /// part of the work that is due.
    fn handle_timeout(&mut self, now: Now) -> Step<Self::Record, Self::Effect>;

    /// When [`Self::handle_timeout`] is to be called next. Asked again after each call of
    /// [`Self::handle`] or [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Monotonic>;

    /// Called whenever what the journal accepts has changed; it begins with [`Room::Ample`]. With
    /// [`Room::None`], time-outs wait, and no call of `handle` may make a record that can wait.
    fn set_room(&mut self, room: Room);

    /// Called at the start, and whenever the number of folders that the journal is written to
    /// changes; for a gauge.
    fn observe_folders(&mut self, live: usize) {
        let _no_gauge = live;
    }

    /// Called when the journal's disk hangs (none of its steps has ended for
    /// [`journal::Options::timeout`], and nothing is told to the outside), and when it no longer
    /// does: for a gauge, and for the daemon's health.
    fn observe_hang(&mut self, hangs: bool) {
        let _no_gauge = hangs;
    }

    /// Called after each sync of the journal, with how long its first record waited; for a
    /// histogram.
    fn observe_sync(&mut self, waited: Duration) {
        let _no_histogram = waited;
    }

    /// Called with how long inputs were handled without a pause, while everything else waited; for
    /// a histogram.
    fn observe_turn(&mut self, took: Duration) {
        let _no_histogram = took;
    }

    /// Called before `handle` while the room is not [`Room::Ample`].
    ///
    /// # Errors
    /// The effects that refuse the input (a reply with status 507). An input that needs no record
    /// is returned in `Ok` and goes on to `handle`; with [`Room::Reserve`], so is one that makes
    /// space.
    fn refuse(&mut self, input: Self::Input) -> Result<Self::Input, Vec<Self::Effect>>;
}

/// The outcome of one call of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<R, E> {
    /// To be journaled, in this order; already applied to the state.
    pub records: Vec<R>,
    /// To be done, in this order, once the records are durable.
    pub effects: Vec<E>,
}

impl<R, E> Default for Step<R, E> {
    fn default() -> Self {
        Self { records: Vec::new(), effects: Vec::new() }
    }
}

/// How long a stop may wait for a disk that counts as hanging after `timeout`: long enough to
/// abandon one of two hanging disks and finish what waited for it, but no longer than service
/// managers wait.
#[must_use]
pub fn stop_patience(timeout: Duration) -> Duration {
    (timeout * 3).min(STOP_PATIENCE_MAX)
}

const STOP_PATIENCE_MAX: Duration = Duration::from_secs(60);

/// How a loop is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Inputs that may be queued; beyond that, senders wait.
    pub queue: usize,
    /// Minimum number of closed journal segments for a new snapshot.
    pub snapshot_after_segments: u32,
    /// How long to wait for the journal's disk at the end; see [`stop_patience`].
    pub stop_patience: Duration,
}
