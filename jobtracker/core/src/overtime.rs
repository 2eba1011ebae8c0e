//! Time limits of jobs (`timeout`), counted by the wall clock from the submission, so through
//! pauses and restarts too. A late job is killed, unless its output is complete: then it is left to
//! publish it.

use std::time::Duration;

use ids::Now;
use mapreduce_protocol::{JobId, JobState, TimeSpan};

use crate::machine::Core;
use crate::timers::Timer;

/// The shortest `timeout` of a job.
pub(crate) const TIMEOUT_MIN: TimeSpan = TimeSpan(Duration::from_secs(1));
/// The longest `timeout` of a job.
pub(crate) const TIMEOUT_MAX: TimeSpan = TimeSpan(Duration::from_hours(366 * 24));

impl Core {
    /// Sets a timer for the end of an unfinished job's time.
    pub(crate) fn limit_time(&mut self, now: Now, job: JobId) {
        if let Some((_, left)) = self.time_left(now, job) {
            self.timers.set(now.monotonic + left, Timer::Overtime(job));
        }
    }

    pub(crate) fn handle_overtime(&mut self, now: Now, job: JobId) {
        if self.live(job).is_none_or(|live| live.committing) {
            return;
        }
        match self.time_left(now, job) {
            Some((timeout, Duration::ZERO)) => {
                let reason = format!(
                    "it did not end within its 'timeout' of {timeout}: give it a longer one, or see `howdah job explain {job}`"
                );
                self.end_job(now, job, JobState::Killed, Some(reason));
            }
            // The wall clock was set back.
            Some(_) => self.limit_time(now, job),
            None => {}
        }
    }

    /// The `timeout` of a job, and what is left of it.
    fn time_left(&self, now: Now, job: JobId) -> Option<(TimeSpan, Duration)> {
        let entry = self.durable.job(job)?;
        let timeout = entry.spec.timeout?;
        let lasted = Duration::from_millis(now.wall.0.saturating_sub(entry.submitted_at.0));
        Some((timeout, timeout.0.saturating_sub(lasted)))
    }
}
