//! Whether a daemon can do its work now, and if not, why: the answer of `/readyz`. A daemon that is
//! not ready is still alive, as `/healthz` says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sd_notify;

/// Reasons kept at most, as people are to read them.
const REASONS_MAX: usize = 8;

/// Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    reasons: Arc<Mutex<BTreeSet<String>>>,
}

impl Default for Health {
    /// Not ready yet: starting.
    fn default() -> Self {
        Self { reasons: Arc::new(Mutex::new(BTreeSet::from(["starting".to_owned()]))) }
    }
}

impl Health {
    /// Ready for work: removes all reasons against it. Notifies the service manager, if there is
    /// one.
    pub fn ready(&self) {
        let was_ready = {
            let mut reasons = self.lock();
            std::mem::take(&mut *reasons).is_empty()
        };
        if !was_ready {
            sd_notify::tell_ready();
        }
    }

    /// Adds a reason why it is not ready, worded for operators: "not registered with the chunk
    /// master at …".
    pub fn not_ready(&self, reason: impl Into<String>) {
        let mut reasons = self.lock();
        if reasons.len() < REASONS_MAX {
            reasons.insert(reason.into());
        }
    }

    /// Removes a reason that was given to [`Self::not_ready`].
    pub fn no_longer(&self, reason: &str) {
        self.lock().remove(reason);
    }

    /// Why it is not ready; empty if it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    /// The lock is never held across an await.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stay_until_the_daemon_is_ready_and_are_bounded() {
        let health = Health::default();
        assert_eq!(health.reasons(), ["starting"]);
        for _ in 0..2 {
            health.clone().not_ready("no chunk master");
        }
        assert_eq!(health.reasons(), ["no chunk master", "starting"]);
        health.not_ready("no disk");
        health.no_longer("no disk");
        assert_eq!(health.reasons(), ["no chunk master", "starting"]);
        health.ready();
        assert!(health.reasons().is_empty());
        for number in 0..100 {
            health.not_ready(format!("reason {number}"));
        }
        assert_eq!(health.reasons().len(), REASONS_MAX);
    }
}
