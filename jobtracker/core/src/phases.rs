//! How long a job was in each phase. Soft state: not known of a job that outlived a JobTracker
//! restart.

use std::time::Duration;

use ids::{Monotonic, Now, UnixMillis};
use mapreduce_protocol::JobId;

use crate::job::LiveJob;
use crate::machine::Core;

/// The phases of a job that succeeded, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// From its submission to its first launch.
    pub queue: Duration,
    /// From there until all maps were done for the first time.
    pub map: Duration,
    /// From there until the last reduce was done.
    pub reduce: Duration,
    /// From there until its output was published.
    pub commit: Duration,
}

/// When a job's phases began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseStarts {
    /// When it was first launched, and how long after the submission.
    launched: Option<(Monotonic, Duration)>,
    committing: Option<Monotonic>,
}

impl PhaseStarts {
    /// An attempt of the job is launched.
    pub(crate) fn launch(&mut self, now: Now, submitted_at: UnixMillis, has_begun: bool) {
        if !has_begun {
            self.launched.get_or_insert((now.monotonic, between(submitted_at, now.wall)));
        }
    }

    /// The job's output is being published.
    pub(crate) fn commit(&mut self, now: Monotonic) {
        self.committing.get_or_insert(now);
    }
}

impl LiveJob {
    fn phases(&self, now: Monotonic) -> Option<Phases> {
        let (launched, queue) = self.phase_starts.launched?;
        let (maps_done, committing) = (self.maps_done_at?, self.phase_starts.committing?);
        Some(Phases {
            queue,
            map: maps_done.since(launched),
            reduce: committing.since(maps_done),
            commit: now.since(committing),
        })
    }
}

impl Core {
    /// How long an unfinished job has taken so far, and its phases.
    pub(crate) fn job_times(&self, now: Now, job: JobId) -> (Duration, Option<Phases>) {
        let submitted_at = self.durable.job(job).map_or(now.wall, |entry| entry.submitted_at);
        let phases = self.live(job).and_then(|live| live.phases(now.monotonic));
        (between(submitted_at, now.wall), phases)
    }
}

/// The time between two readings of the wall clock, which may have been set back in between.
fn between(earlier: UnixMillis, later: UnixMillis) -> Duration {
    Duration::from_millis(later.0.saturating_sub(earlier.0))
}
