//! Soft state of one task: its running attempt, and what its next one must know. Winners and failures
//! are durable, in `durable`.

use ids::{HostName, Monotonic};

use crate::locality::Locality;

/// Attempts of one task that one JobTracker process launches at most: attempt numbers of the next term
/// begin there.
pub const ATTEMPTS_PER_TERM: u32 = 1000;

/// What is known of a task while this process lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskState {
    /// Attempts launched in this term.
    pub(crate) launched: u32,
    /// The attempt that may win; only while the task has no winner.
    pub(crate) live: Option<LiveAttempt>,
    /// Where its attempts failed, the last one last.
    pub(crate) avoid: Vec<HostName>,
    /// Whether it ran before.
    pub(crate) ran_before: bool,
}

impl TaskState {
    /// An attempt failed on `host`, and the host may be why.
    pub(crate) fn failed_on(&mut self, host: &HostName) {
        self.avoid.retain(|avoided| avoided != host);
        self.avoid.push(host.clone());
    }
}

/// A running attempt, or one just about to be launched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveAttempt {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) since: Monotonic,
    /// How near to its bytes; absent for reduces, and while a restarted JobTracker has no splits yet.
    pub(crate) place: Option<Locality>,
    /// Whether it had been given up as killed or lost.
    pub(crate) came_back: bool,
    /// 0 to 1, as told last.
    pub(crate) progress: f32,
}
