//! What others hold of a running loop: the sending end of its input queue, and the way to stop it.

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

/// An input that was not taken; it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<I> {
    /// The queue is full.
    #[error("this daemon has too much to do: ask again in a moment")]
    Full(I),
    /// See [`Stopped`].
    #[error("{Stopped}")]
    Stopped(I),
}

/// A loop that was stopped while its journal's disk did not take what it had to write. Nobody was told of what is given
/// up so: it may be there at the next start or not.
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
    /// Inputs that were handled, and whose effects were withheld.
    pub steps: usize,
    /// Inputs that were sent, and not handled.
    pub inputs: usize,
}

/// What a journal's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsettledBy {
    /// It has no space.
    #[error("is full")]
    Full,
    /// It did not do its work in that time.
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

    /// Queues `input`, behind all that were sent before; waits while the queue is full. Dropping the
    /// future before it is done takes the input back.
    ///
    /// # Errors
    /// The loop has ended.
    pub async fn send(&self, input: I) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// As [`Self::send`], but never waits.
    ///
    /// # Errors
    /// The queue is full, or the loop has ended.
    pub fn try_send(&self, input: I) -> Result<(), TrySendError<I>> {
        self.inputs.try_send(input).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(input) => TrySendError::Full(input),
            mpsc::error::TrySendError::Closed(input) => TrySendError::Stopped(input),
        })
    }

    /// Inputs that the queue would take now without waiting: for a gauge.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inputs.capacity()
    }

    /// Tells the loop to end: it takes no more inputs, and handles those that it has in its queue as far as its journal
    /// takes what they lead to. See [`crate::Settings::stop_patience`].
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

/// A loop that has been started.
pub struct Running<M: Machine> {
    /// To send it inputs.
    pub handle: Handle<M::Input>,
    /// To look at its machine.
    pub view: View<M>,
    /// Ends when the loop has.
    pub join: JoinHandle<Result<(), Unsettled>>,
}

impl<M: Machine> Running<M> {
    /// Stops the loop: inputs sent before are handled, their records synced and their effects run, and
    /// the journal's lock is free when this returns.
    ///
    /// # Errors
    /// The journal's disk did not take all that, or not in time. Its lock may be held then until the process ends.
    pub async fn stop(self) -> Result<(), Unsettled> {
        self.handle.stop();
        // A loop that has panicked has said so.
        self.join.await.unwrap_or(Ok(()))
    }
}
