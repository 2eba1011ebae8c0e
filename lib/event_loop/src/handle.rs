//! What others hold of a running loop: the sending end of its input queue, and the way to stop it.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

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

pub(crate) enum Message<I> {
    Input(I),
    Stop,
}

/// Sends inputs to a loop. Cheap to clone.
pub struct Handle<I> {
    inputs: mpsc::Sender<Message<I>>,
}

impl<I> Clone for Handle<I> {
    fn clone(&self) -> Self {
        Self { inputs: self.inputs.clone() }
    }
}

impl<I> std::fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("free", &self.free()).finish()
    }
}

impl<I> Handle<I> {
    pub(crate) fn new(inputs: mpsc::Sender<Message<I>>) -> Self {
        Self { inputs }
    }

    /// Queues `input`, behind all that were sent before; waits while the queue is full. Dropping the
    /// future before it is done takes the input back.
    ///
    /// # Errors
    /// The loop has ended.
    pub async fn send(&self, input: I) -> Result<(), Stopped> {
        self.inputs.send(Message::Input(input)).await.map_err(|_| Stopped)
    }

    /// As [`Self::send`], but never waits.
    ///
    /// # Errors
    /// The queue is full, or the loop has ended.
    pub fn try_send(&self, input: I) -> Result<(), TrySendError<I>> {
        use mpsc::error::TrySendError as Refused;
        self.inputs.try_send(Message::Input(input)).map_err(|refused| match refused {
            Refused::Full(Message::Input(input)) => TrySendError::Full(input),
            Refused::Closed(Message::Input(input)) => TrySendError::Stopped(input),
            Refused::Full(Message::Stop) | Refused::Closed(Message::Stop) => {
                unreachable!("an input was sent")
            }
        })
    }

    /// Inputs that the queue would take now without waiting: for a gauge.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inputs.capacity()
    }

    /// Asks the loop to end once it has handled all that was sent before.
    pub async fn stop(&self) {
        let _ended_already = self.inputs.send(Message::Stop).await;
    }
}

/// A loop that has been started.
#[derive(Debug)]
pub struct Running<I> {
    /// To send it inputs.
    pub handle: Handle<I>,
    /// Ends when the loop has.
    pub join: JoinHandle<()>,
}

impl<I> Running<I> {
    /// Stops the loop: inputs sent before are handled, their records synced and their effects run, and
    /// the journal's lock is free when this returns.
    pub async fn stop(self) {
        self.handle.stop().await;
        let _panicked = self.join.await;
    }
}
