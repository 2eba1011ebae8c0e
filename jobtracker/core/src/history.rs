//! Histories of jobs that are over. Once the end of a job is durable, the edge writes its history
//! to the chunk store and asks here for it page by page. Until the edge reports that this is done,
//! even after a restart, the job's tasks stay in memory, for a limited number of jobs. New jobs do
//! not wait for it.

use std::time::Duration;

use ids::{HostName, Now, UnixMillis};
use mapreduce_protocol::{
    AttemptHistory, AttemptId, AttemptState, HISTORY_ROOT, JobHistory, JobId, JobSettings,
};

use crate::date::yyyymmdd;
use crate::durable::{JobEntry, Stage};
use crate::machine::Core;
use crate::messages::{Effect, HistoryPage, Notice, StoreOutcome};
use crate::pools::DEFAULT_POOL;
use crate::records::Record;
use crate::running::RunningEntry;
use crate::share::Sharing;
use crate::timers::Timer;

/// Delay before a history is written again once the edge has given up retrying; doubled each time,
/// up to [`HISTORY_RETRY_MAX`].
pub const HISTORY_RETRY: Duration = Duration::from_secs(10);
/// The longest such delay.
pub const HISTORY_RETRY_MAX: Duration = Duration::from_mins(5);
/// Limit on ended jobs with unwritten histories, whose tasks stay in memory and in snapshots.
/// Beyond it, the history of the job that ended first is given up.
pub const UNWRITTEN_MAX: usize = 1000;
/// Number of tasks whose attempts make up one page.
const TASKS_PER_PAGE: usize = 500;

/// The history folder of a job that ended at `ended_at`.
#[must_use]
pub fn history_folder(job: JobId, ended_at: UnixMillis) -> String {
    format!("{}/{job}", day_folder(yyyymmdd(ended_at)))
}

/// The folder of a day's histories (`yyyymmdd`).
#[must_use]
pub fn day_folder(day: u32) -> String {
    let (year, month) = (day / 10_000, day / 100 % 100);
    format!("{HISTORY_ROOT}/{year:04}/{month:02}/{:02}", day % 100)
}

/// The first day (`yyyymmdd`) whose histories are kept, so that each is kept for at least `keep`.
#[must_use]
pub fn first_day_kept(now: UnixMillis, keep: Duration) -> u32 {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    yyyymmdd(UnixMillis(now.0.saturating_sub(keep)))
}

impl Core {
    /// The job has ended: has its history written, or records that histories are not wanted.
    pub(crate) fn keep_history(&mut self, job: JobId) {
        if self.unwritten(job).is_none() {
            return;
        }
        if self.settings.keeps_history {
            self.effect(Effect::WriteHistory { job });
        } else {
            self.record(Record::HistoryWritten { job });
        }
    }

    /// At a start, waits for the trackers to register: they have the logs.
    pub(crate) fn resume_history(&mut self, now: Now, job: JobId) {
        if self.settings.keeps_history && self.unwritten(job).is_some() {
            let at = now.monotonic + self.settings.recovery_grace;
            self.timers.set(at, Timer::History(job));
        } else {
            self.keep_history(job);
        }
    }

    /// Saves the log of a failed attempt while its job goes on: the host may be gone when the job
    /// ends.
    pub(crate) fn keep_log(&mut self, attempt: AttemptId, host: &HostName) {
        let address = self.trackers.get(host).map(|tracker| tracker.address.clone());
        if let Some(address) = address.filter(|_| self.settings.keeps_history) {
            self.effect(Effect::KeepLog { attempt, address });
        }
    }

    pub(crate) fn handle_history_written(
        &mut self,
        now: Now,
        job: JobId,
        outcome: &StoreOutcome<()>,
    ) {
        if self.unwritten(job).is_none() {
            return;
        }
        match outcome {
            StoreOutcome::Done(()) | StoreOutcome::Refused { .. } => {
                self.history_pauses.remove(&job);
                self.record(Record::HistoryWritten { job });
                self.forget_oldest();
            }
            StoreOutcome::Unavailable { .. } => {
                let pause = self.history_pauses.get(&job).copied().unwrap_or(HISTORY_RETRY);
                self.history_pauses.insert(job, (pause * 2).min(HISTORY_RETRY_MAX));
                self.timers.set(now.monotonic + pause, Timer::History(job));
            }
        }
    }

    /// Bounds the memory in case the chunk store is away for days.
    pub(crate) fn give_up_histories(&mut self) {
        let ended = self.durable.ended().iter();
        let unwritten: Vec<_> =
            ended.copied().filter(|job| self.unwritten(*job).is_some()).collect();
        for job in unwritten.iter().take(unwritten.len().saturating_sub(UNWRITTEN_MAX)) {
            self.history_pauses.remove(job);
            self.record(Record::HistoryWritten { job: *job });
            self.effect(Effect::Tell(Notice::HistoryGivenUp { job: *job }));
        }
    }

    /// The tasks of an ended job whose history is not yet written.
    pub(crate) fn unwritten(&self, job: JobId) -> Option<&RunningEntry> {
        match &self.durable.job(job)?.stage {
            Stage::Ended(ended) => ended.unwritten.as_deref(),
            Stage::Planning | Stage::Running(_) => None,
        }
    }

    /// A job's history without its attempts; `None` if it is not kept or already written.
    pub(crate) fn history(&self, job: JobId) -> Option<JobHistory> {
        let tasks = self.unwritten(job)?;
        let entry = self.durable.job(job)?;
        Some(JobHistory {
            status: self.status(job)?,
            spec: entry.spec.as_ref().clone(),
            settings: self.settings_of(entry),
            counters: tasks.counters(),
        })
    }

    fn settings_of(&self, entry: &JobEntry) -> JobSettings {
        let settings = &self.settings;
        let wait = settings.locality_wait.as_millis();
        let pool = entry.spec.pool.as_deref().unwrap_or(DEFAULT_POOL);
        let pool = settings.pools.iter().find(|rule| rule.name == pool);
        JobSettings {
            reduces: entry.n_reduces,
            max_attempts: entry.max_attempts,
            speculative: entry.spec.speculative.unwrap_or(settings.speculative),
            speculative_share: settings.speculative_share,
            sharing: match pool.map_or(Sharing::Fair, |rule| rule.sharing) {
                Sharing::Fair => "fair".to_owned(),
                Sharing::Fifo => "fifo".to_owned(),
            },
            reduce_slowstart: entry.spec.slowstart(settings.reduce_slowstart),
            locality_wait_ms: u64::try_from(wait).unwrap_or(u64::MAX),
            // The edge cuts the splits.
            split_bytes: 0,
        }
    }

    /// The attempts of the next tasks from index `first` on, maps before reduces.
    pub(crate) fn history_page(&self, job: JobId, first: usize) -> Option<HistoryPage> {
        let tasks = self.unwritten(job)?;
        let n_tasks = tasks.maps.len() + tasks.reduces.len();
        let end = n_tasks.min(first.saturating_add(TASKS_PER_PAGE));
        let names = tasks.counter_names();
        let mut attempts = Vec::new();
        for at in first..end {
            let task = tasks.task_at(job, at);
            let of_task = attempts.len();
            for ended in tasks.ended_of(task) {
                let winner = tasks.winner(task).filter(|_| ended.state == AttemptState::Succeeded);
                attempts.push(AttemptHistory {
                    status: self.shown(&ended),
                    worked_ms: winner.and_then(|winner| winner.ran_ms),
                    counters: winner.map(|winner| winner.counters(&names)).unwrap_or_default(),
                    log_bytes: None,
                    no_log: None,
                });
            }
            attempts[of_task..].sort_by_key(|it| it.status.attempt);
        }
        Some(HistoryPage { attempts, next: (end < n_tasks).then_some(end) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_lie_by_the_day_of_the_end_and_are_kept_for_whole_days() {
        let job = JobId { date: 20_261_120, ordinal: 7 };
        let midnight = UnixMillis(1_795_305_600_000);
        let folder = history_folder(job, midnight);
        assert_eq!(folder, "/.howdah/history/2026/11/22/job_20261120_0007");
        let day = Duration::from_hours(24);
        assert_eq!(first_day_kept(midnight, day), 20_261_121);
        assert_eq!(first_day_kept(midnight + Duration::from_hours(23), day), 20_261_121);
        assert_eq!(first_day_kept(UnixMillis(5), day), 19_700_101);
    }
}
