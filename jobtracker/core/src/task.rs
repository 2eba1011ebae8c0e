//! Soft state of one task: its running attempts, and what its next one must know. Winners and failures
//! are durable, in `durable`.

use std::time::Duration;

use ids::{HostName, Monotonic, Now, UnixMillis};
use mapreduce_protocol::status_line;

use crate::locality::Locality;
use crate::records::Span;

/// Attempts of one task that one JobTracker process launches at most: attempt numbers of the next term
/// begin there.
pub const ATTEMPTS_PER_TERM: u32 = 1000;
/// Attempts of one task that run at once, at most: the first one and its backup.
pub(crate) const ATTEMPTS_AT_ONCE: usize = 2;
/// Progress from which times are reckoned.
const PROGRESS_MIN: f32 = 1e-4;

/// What is known of a task while this process lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskState {
    /// Attempts launched in this term.
    pub(crate) launched: u32,
    /// The attempts that may win, at most [`ATTEMPTS_AT_ONCE`]; only while the task has no winner.
    pub(crate) live: Vec<LiveAttempt>,
    /// Where its attempts failed, the last one last; of most tasks none has.
    avoid: Box<[HostName]>,
    /// Whether it ran before.
    pub(crate) ran_before: bool,
}

impl TaskState {
    /// An attempt failed on `host`, and the host may be why.
    pub(crate) fn failed_on(&mut self, host: &HostName) {
        let others = self.avoid.iter().filter(|avoided| *avoided != host);
        self.avoid = others.cloned().chain([host.clone()]).collect();
    }

    /// Where its attempts failed, the last one last.
    pub(crate) fn avoid(&self) -> &[HostName] {
        &self.avoid
    }
}

/// A running attempt, or one just about to be launched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveAttempt {
    pub(crate) number: u32,
    pub(crate) host: HostName,
    pub(crate) since: Monotonic,
    /// The same for people; zero of one that an earlier process launched.
    pub(crate) began_at: UnixMillis,
    /// How near to its bytes; absent for reduces, and while a restarted JobTracker has no splits yet.
    pub(crate) place: Option<Locality>,
    /// Whether it had been given up as killed or lost.
    pub(crate) came_back: bool,
    /// Whether another attempt of its task ran when it was launched.
    pub(crate) backup: bool,
    /// Whether it was launched by an earlier process of the JobTracker: how long it has run is not known.
    pub(crate) adopted: bool,
    pub(crate) told: Told,
    /// What it said last of itself.
    pub(crate) status: Option<String>,
}

/// What an attempt told last of how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// 0 to 1.
    pub(crate) progress: f32,
    /// When it came there.
    pub(crate) at: Monotonic,
}

impl LiveAttempt {
    /// One that begins now on `host`.
    pub(crate) fn new(number: u32, host: HostName, now: Now, place: Option<Locality>) -> Self {
        let (since, began_at) = (now.monotonic, now.wall);
        let told = Told { progress: 0.0, at: since };
        let (came_back, backup, adopted) = (false, false, false);
        let status = None;
        Self { number, host, since, began_at, place, came_back, backup, adopted, told, status }
    }

    /// From its beginning to now.
    pub(crate) fn span(&self, now: UnixMillis) -> Span {
        Span { began_at: self.began_at, ended_at: now }
    }

    /// It told how far it is; next to nothing is nothing.
    pub(crate) fn tell(&mut self, now: Monotonic, progress: f32) {
        let progress = progress.clamp(0.0, 1.0);
        if progress >= PROGRESS_MIN && progress > self.told.progress {
            self.told = Told { progress, at: now };
        }
    }

    /// It said what it does; nothing is what it said before.
    pub(crate) fn say(&mut self, status: Option<&str>) {
        if let Some(status) = status.filter(|status| self.status.as_deref() != Some(status)) {
            self.status = Some(status_line(status));
        }
    }

    /// None of the last `pause` counts.
    pub(crate) fn pardon(&mut self, pause: Duration) {
        self.since = self.since + pause;
        self.told.at = self.told.at + pause;
    }
}
