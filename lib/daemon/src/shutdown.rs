//! The signal that a daemon is to end, from the system or from within; all waiters are woken.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::sd_notify;

/// Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    triggered: watch::Sender<bool>,
}

impl Default for Shutdown {
    /// Set off only by [`Self::trigger`]: for tests, and for parts that are stopped by their owner.
    fn default() -> Self {
        Self { triggered: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Set off by SIGINT or SIGTERM, which from now on no longer end the process by themselves.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system refuses to install a handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            tokio::spawn(shutdown.clone().follow(signal(kind)?));
        }
        Ok(shutdown)
    }

    async fn follow(self, mut signals: Signal) {
        if signals.recv().await.is_some() {
            self.trigger();
        }
    }

    /// Sets it off, for good.
    pub fn trigger(&self) {
        if !self.triggered.send_replace(true) {
            sd_notify::tell_stopping();
        }
    }

    /// Whether it has been set off.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.triggered.borrow()
    }

    /// Waits until it is set off; returns at once if it was. Cancellation safe.
    pub async fn wait(&self) {
        let mut triggered = self.triggered.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = triggered.wait_for(|&triggered| triggered).await;
    }
}
