//! SIGINT and SIGTERM, as the supervisor waits for them. Not SIGHUP: whoever starts it under `nohup`
//! wants it to go on.

use std::future::Future;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals that ask for the end.
pub(crate) struct Termination {
    interrupt: Signal,
    terminate: Signal,
}

/// Starts to listen; from here on neither signal ends the process by itself.
pub(crate) fn termination() -> anyhow::Result<Termination> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    Ok(Termination {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
    })
}

impl Termination {
    /// Waits for either.
    pub(crate) async fn await_signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// What `work` gives, or `None` if a signal comes first; `work` is then dropped where it stands.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.await_signal() => None,
        }
    }
}
