//! SIGINT, SIGTERM and SIGHUP, as commands wait for them that have something to stop or to tidy up. Not SIGHUP where it is
//! ignored: whoever starts one under `nohup` wants it to go on.

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
    /// SIGHUP: the terminal is closed.
    HangUp,
}

impl Caught {
    /// The code that shells give a command which the signal ends.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::HangUp => 129,
        }
    }
}

/// Listens for the signals that ask for the end.
pub(crate) struct Termination {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
    caught: Option<Caught>,
}

/// Starts to listen; from here on none of the signals ends the process by itself.
pub(crate) fn termination() -> anyhow::Result<Termination> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    Ok(Termination {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
        hang_up: (!ignores_hang_up()).then(|| listen(SignalKind::hangup())).transpose()?,
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
            () = recv(&mut self.hang_up) => Caught::HangUp,
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

/// Waits for the signal; for ever where it is not listened for.
async fn recv(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does (proc(5): `SigIgn`, a bit for each signal from 1 on).
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|it| it & 1 == 1)
}
