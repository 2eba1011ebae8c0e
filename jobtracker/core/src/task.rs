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

/// What is known of a task while this process lives. Most wait, or are done, and have run at most once: what they don't have
/// takes no room.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskState {
    /// Attempts launched in this term.
    pub(crate) launched: u32,
    /// Whether it ran before.
    pub(crate) ran_before: bool,
    /// Absent if there is nothing in it.
    more: Option<Box<More>>,
}

/// What is known of a task that runs or has failed.
#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    live: Vec<LiveAttempt>,
    avoid: Vec<HostName>,
}

impl TaskState {
    /// The attempts that may win, at most [`ATTEMPTS_AT_ONCE`]; only while the task has no winner.
    pub(crate) fn live(&self) -> &[LiveAttempt] {
        self.more.as_ref().map_or(&[], |more| &more.live)
    }

    pub(crate) fn live_mut(&mut self) -> &mut [LiveAttempt] {
        self.more.as_mut().map_or(&mut [], |more| &mut more.live)
    }

    /// An attempt runs that may win.
    pub(crate) fn add_live(&mut self, attempt: LiveAttempt) {
        let live = &mut self.more.get_or_insert_default().live;
        live.reserve_exact(1);
        live.push(attempt);
    }

    /// The attempt of that number is over, or may not win any more.
    pub(crate) fn take_live(&mut self, number: u32) -> Option<LiveAttempt> {
        let more = self.more.as_mut()?;
        let at = more.live.iter().position(|live| live.number == number)?;
        let taken = more.live.remove(at);
        if more.live.is_empty() && more.avoid.is_empty() {
            self.more = None;
        }
        Some(taken)
    }

    /// An attempt failed on `host`, and the host may be why.
    pub(crate) fn failed_on(&mut self, host: &HostName) {
        let avoid = &mut self.more.get_or_insert_default().avoid;
        avoid.retain(|avoided| avoided != host);
        avoid.push(host.clone());
    }

    /// Where its attempts failed, the last one last.
    pub(crate) fn avoid(&self) -> &[HostName] {
        self.more.as_ref().map_or(&[], |more| &more.avoid)
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
