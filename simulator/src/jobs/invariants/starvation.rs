//! No job starves: after the faults, a job that waits for slots and has none soon gets one. (If
//! jobs queue up, one may wait for all others.)

use std::time::Duration;

use ids::Monotonic;
use mapreduce_protocol::{JobId, JobStatus};

use super::Watch;

/// About the run time of the longest task.
const STARVED_AFTER: Duration = Duration::from_secs(90);
/// How long a job may avoid a host that had no space for its tasks.
const LEFT_ALONE: Duration = Duration::from_mins(5);

impl Watch {
    /// Checks an unfinished job, if slots are shared fairly and nothing goes wrong.
    pub(crate) fn check_starvation(&mut self, now: Monotonic, job: JobId, status: &JobStatus) {
        let (maps, reduces) = (status.maps, status.reduces);
        let starves = maps.waiting + reduces.waiting > 0 && maps.running + reduces.running == 0;
        if !starves {
            self.starving.remove(&job);
            return;
        }
        let since = *self.starving.entry(job).or_insert(now);
        let had_no_room = self.book.jobs.get(&job).is_some_and(|book| book.host_faults > 0);
        let patience = STARVED_AFTER + if had_no_room { LEFT_ALONE } else { Duration::ZERO };
        if now.since(since) > patience {
            let waiting = status.waiting.as_deref().unwrap_or("nobody knows what for");
            let what = format!("{job} has waited {patience:?} for a slot: {waiting}");
            self.broken("starvation", what);
        }
    }
}
