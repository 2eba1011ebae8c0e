//! The outside's side of a running loop: the sending end of its input queue, and the way to stop
//! it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::{Machine, View};

/// The loop has ended and takes no more inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this daemon is shutting down: ask again when it is back")]
pub struct Stopped;

/// An input that was not accepted, and is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<I> {
    /// The queue is full.
    #[error("this daemon has too much to do: ask again in a moment")]
    Full(I),
    /// See [`Stopped`].
    #[error("{Stopped}")]
    Stopped(I),
}

/// The loop was stopped, but its journal's disk did not take all that was left to write. Nobody was
/// told of what is given up here; it may or may not be there at the next start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk of the journal in {} {cause}: given up are {records} records, {steps} answers that wait for them, and {inputs} \
     requests that were not looked at; nobody was told of any. Mend the disk, or free space there, then start again",
    names(folders)
)]
pub struct Unsettled {
    /// The journal's folders that were in use.
    pub folders: Vec<PathBuf>,
    /// Why.
    pub cause: UnsettledBy,
    /// Records that are not known to be on disk.
    pub records: u64,
    /// Inputs that were handled, but whose effects were withheld.
    pub steps: usize,
    /// Inputs that were sent, but not handled.
    pub inputs: usize,
}

/// What is wrong with a journal's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsettledBy {
    /// It has no space.
    #[error("is full")]
    Full,
    /// It did not finish within that time.
    #[error("did not get done in {0:?} after the daemon was told to stop")]
    Slow(Duration),
}

pub(crate) fn names(folders: &[PathBuf]) -> String {
    let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    names.join(" and ")
}

/// Sends inputs to a loop. Cheap to clone.
pub struct Handle<I> {
    inputs: mpsc::Sender<I>,
    stop: Arc<Notify>,
}

impl<I> Clone for Handle<I> {
    fn clone(&self) -> Self {
        Self { inputs: self.inputs.clone(), stop: Arc::clone(&self.stop) }
    }
}

impl<I> std::fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("free", &self.free()).finish()
    }
}

impl<I> Handle<I> {
    pub(crate) fn new(inputs: mpsc::Sender<I>, stop: Arc<Notify>) -> Self {
        Self { inputs, stop }
    }

    /// Queues `input` behind all inputs sent before; waits while the queue is full. Dropping the
    /// future before it is done withdraws the input.
    ///
    /// # Errors
    /// The loop has ended.
    pub async fn send(&self, input: I) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Like [`Self::send`], but never waits.
    ///
    /// # Errors
    /// The queue is full, or the loop has ended.
    pub fn try_send(&self, input: I) -> Result<(), TrySendError<I>> {
        self.inputs.try_send(input).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(input) => TrySendError::Full(input),
            mpsc::error::TrySendError::Closed(input) => TrySendError::Stopped(input),
        })
    }

    /// Number of inputs that the queue would accept now without waiting; for a gauge.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inputs.capacity()
    }

    /// Tells the loop to end: it accepts no more inputs, and handles those in its queue as long as
    /// its journal accepts their records. See [`crate::Settings::stop_patience`].
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

/// A loop that was started.
pub struct Running<M: Machine> {
    /// Sends inputs to the loop.
    pub handle: Handle<M::Input>,
    /// Gives read access to its machine.
    pub view: View<M>,
    /// Completes when the loop has ended.
    pub join: JoinHandle<Result<(), Unsettled>>,
}

impl<M: Machine> Running<M> {
    /// Stops the loop: inputs sent before are handled, their records synced and their effects run,
    /// and the journal's lock is free when this returns.
    ///
    /// # Errors
    /// The journal's disk did not take all of that, or not in time. Its lock may then be held until
    /// the process ends.
    pub async fn stop(self) -> Result<(), Unsettled> {
        self.handle.stop();
        // If the loop has panicked, that was already logged.
        self.join.await.unwrap_or(Ok(()))
    }
}
