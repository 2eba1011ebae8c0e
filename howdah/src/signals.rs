//! SIGINT and SIGTERM, as commands wait for them that have something to stop or to tidy up. Not SIGHUP:
//! whoever starts one under `nohup` wants it to go on.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a signal waits for an answer that must not be lost.
const GRACE: Duration = Duration::from_secs(2);

/// Which signal asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Caught {
    /// The code that shells give a command which the signal ends.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Listens for the signals that ask for the end.
pub(crate) struct Termination {
    interrupt: Signal,
    terminate: Signal,
    caught: Option<Caught>,
}

/// Starts to listen; from here on neither signal ends the process by itself.
pub(crate) fn termination() -> anyhow::Result<Termination> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    Ok(Termination {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
        caught: None,
    })
}

impl Termination {
    /// Waits for the first signal; returns at once when there was one.
    pub(crate) async fn await_signal(&mut self) -> Caught {
        if let Some(caught) = self.caught {
            return caught;
        }
        let caught = tokio::select! {
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
        };
        self.caught = Some(caught);
        caught
    }

    /// What `work` gives, or the signal that comes first; `work` is then dropped where it stands.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Caught> {
        tokio::select! {
            done = work => Ok(done),
            caught = self.await_signal() => Err(caught),
        }
    }

    /// The same, but `work` has a moment more: its answer says what is to be undone.
    pub(crate) async fn or_soon<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Caught> {
        let soon_after = async {
            let caught = self.await_signal().await;
            tokio::time::sleep(GRACE).await;
            caught
        };
        tokio::select! {
            done = work => Ok(done),
            caught = soon_after => Err(caught),
        }
    }
}
