//! Soft state of one task: its running attempts, and what its next one must know. `durable` has its
//! winner and failures.

use std::time::Duration;

use ids::{HostName, Monotonic, Now, UnixMillis};
use mapreduce_protocol::status_line;

use crate::locality::Locality;
use crate::records::Span;

/// Limit on the attempts of one task launched by one JobTracker process; the next term's attempt
/// numbers start there.
pub const ATTEMPTS_PER_TERM: u32 = 1000;
/// Limit on the attempts of one task that run at once: the first and its backup.
pub(crate) const ATTEMPTS_AT_ONCE: usize = 2;
/// The least progress that run times are estimated from.
const PROGRESS_MIN: f32 = 1e-4;

/// What is known of a task while this process lives. Most tasks wait or are done and have run at
/// most once, so absent parts take no memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskState {
    /// Attempts launched in this term.
    pub(crate) launched: u32,
    /// Whether it ran before.
    pub(crate) ran_before: bool,
    /// `None` if both lists are empty.
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

    /// Adds a running attempt, which may win.
    pub(crate) fn add_live(&mut self, attempt: LiveAttempt) {
        let live = &mut self.more.get_or_insert_default().live;
        live.reserve_exact(1);
        live.push(attempt);
    }

    /// Removes the attempt of that number, which is over or may no longer win.
    pub(crate) fn take_live(&mut self, number: u32) -> Option<LiveAttempt> {
        let more = self.more.as_mut()?;
        let at = more.live.iter().position(|live| live.number == number)?;
        let taken = more.live.remove(at);
        if more.live.is_empty() && more.avoid.is_empty() {
            self.more = None;
        }
        Some(taken)
    }

    /// An attempt failed on `host`, perhaps because of the host.
    pub(crate) fn failed_on(&mut self, host: &HostName) {
        let avoid = &mut self.more.get_or_insert_default().avoid;
        avoid.retain(|avoided| avoided != host);
        avoid.push(host.clone());
    }

    /// Hosts where its attempts failed, the latest last.
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
    /// The same by the wall clock; zero if an earlier process launched it.
    pub(crate) began_at: UnixMillis,
    /// How close to its input it runs; absent for reduces, and while a restarted JobTracker has no
    /// splits.
    pub(crate) place: Option<Locality>,
    /// Whether it had been recorded as killed or lost.
    pub(crate) came_back: bool,
    /// Whether another attempt of its task ran when it was launched.
    pub(crate) backup: bool,
    /// Whether an earlier JobTracker process launched it: its run time is not known.
    pub(crate) adopted: bool,
    pub(crate) told: Told,
    /// Its last status message.
    pub(crate) status: Option<String>,
}

/// The progress that an attempt last reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// From 0 to 1.
    pub(crate) progress: f32,
    /// When it was reported first.
    pub(crate) at: Monotonic,
}

impl LiveAttempt {
    /// An attempt that begins now on `host`.
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

    /// The attempt reports its progress; less than the minimum is taken for none.
    pub(crate) fn tell(&mut self, now: Monotonic, progress: f32) {
        let progress = progress.clamp(0.0, 1.0);
        if progress >= PROGRESS_MIN && progress > self.told.progress {
            self.told = Told { progress, at: now };
        }
    }

    /// The attempt reports a status message; `None` keeps the last one.
    pub(crate) fn say(&mut self, status: Option<&str>) {
        if let Some(status) = status.filter(|status| self.status.as_deref() != Some(status)) {
            self.status = Some(status_line(status));
        }
    }

    /// Discounts a pause of the JobTracker from the run time.
    pub(crate) fn pardon(&mut self, pause: Duration) {
        self.since = self.since + pause;
        self.told.at = self.told.at + pause;
    }
}
