//! Records that a job skips (`skip_records`): once enough attempts of a task have failed at a
//! record, the next ones skip it, and those failures do not use up attempts. All of this is derived
//! from the failures, which are durable.

use mapreduce_protocol::{FailedRecord, Failure, Skipping, TaskId, TaskKind, records_to_skip};

use crate::ended::FailedAttempt;
use crate::machine::Core;
use crate::running::RunningEntry;

/// Length limit of a failure message at a record: a job that skips many records has two such
/// failures for each.
const RECORD_MESSAGE_BYTES_MAX: usize = 2 << 10;

impl RunningEntry {
    /// The records that attempts of `task` skip, ascending.
    pub(crate) fn skipped(&self, task: TaskId) -> Vec<u64> {
        records_to_skip(self.failed_at_records(task).filter_map(|failed| failed.record.as_ref()))
    }

    /// The failures that use up attempts of `task`; those at skipped records do not.
    pub(crate) fn counted_failures(&self, task: TaskId) -> Vec<&FailedAttempt> {
        let Some(entry) = self.tasks(task.kind).get(task.index as usize) else { return Vec::new() };
        let skipped = self.skipped(task);
        let is_explained = |failed: &FailedAttempt| {
            let record = failed.record.as_ref().filter(|_| self.numbers_hold(task, failed));
            record.is_some_and(|record| skipped.contains(&record.ordinal))
        };
        let counting = entry.failures().iter().filter(|failed| failed.counts());
        counting.filter(|failed| !is_explained(failed)).collect()
    }

    fn failed_at_records(&self, task: TaskId) -> impl Iterator<Item = &FailedAttempt> {
        let entry = self.tasks(task.kind).get(task.index as usize);
        let failures = entry.map_or(&[][..], |entry| entry.failures());
        failures.iter().filter(move |failed| self.numbers_hold(task, failed))
    }

    /// Whether the record numbers in `failed` hold for the task's next attempts: a reduce that read
    /// an earlier output of a map that ran again numbered other keys.
    fn numbers_hold(&self, task: TaskId, failed: &FailedAttempt) -> bool {
        task.kind == TaskKind::Map || failed.number >= self.reduces_from
    }

    /// The number of records skipped by all tasks of the job.
    fn n_skipped(&self, task: TaskId) -> usize {
        let has_failed =
            |(_, entry): &(TaskId, &crate::running::TaskEntry)| !entry.failures().is_empty();
        self.entries(task.job).filter(has_failed).map(|(task, _)| self.skipped(task).len()).sum()
    }
}

impl Core {
    /// The records that the next attempt of `task` must skip; `None` if its job skips none.
    pub(crate) fn skipping(&self, task: TaskId) -> Option<Skipping> {
        self.durable.job(task.job).filter(|entry| entry.spec.skips())?;
        let records = self.durable.running(task.job)?.skipped(task);
        Some(Skipping { records })
    }

    /// The record to be kept with a failure of `task`, if its job may skip records. The failure
    /// message is prefixed with it.
    pub(crate) fn failed_at(
        &self,
        task: TaskId,
        failure: &mut Failure,
        record: Option<FailedRecord>,
    ) -> Option<FailedRecord> {
        self.durable.job(task.job).filter(|entry| entry.spec.skips())?;
        let record = record.filter(|_| failure.kind.may_be_the_records())?.bounded();
        let message = format!("at {record}: {}", failure.message);
        failure.message = crate::bounds::cut(message, RECORD_MESSAGE_BYTES_MAX);
        Some(record)
    }

    /// Whether attempts of `task` skip `record`.
    pub(crate) fn is_skipped(&self, task: TaskId, record: Option<&FailedRecord>) -> bool {
        let (Some(record), Some(entry)) = (record, self.durable.running(task.job)) else {
            return false;
        };
        entry.skipped(task).contains(&record.ordinal)
    }

    /// Why `task` fails its job: its attempts are used up, or more records would have to be skipped
    /// than the job allows.
    pub(crate) fn why_given_up(&self, task: TaskId) -> Option<String> {
        self.why_no_more_skipped(task).or_else(|| self.why_no_more_tries(task))
    }

    fn why_no_more_skipped(&self, task: TaskId) -> Option<String> {
        let allowed = self.durable.job(task.job)?.spec.skip_records? as usize;
        let entry = self.durable.running(task.job)?;
        let skipped = entry.skipped(task);
        let of_skipped = |failed: &&FailedAttempt| {
            failed.record.as_ref().is_some_and(|record| skipped.contains(&record.ordinal))
        };
        let failures = entry.tasks(task.kind).get(task.index as usize)?.failures();
        let last = failures.iter().rfind(of_skipped)?;
        let reading = last.split.as_ref().map(|split| format!(", {split}")).unwrap_or_default();
        (entry.n_skipped(task) > allowed).then(|| {
            format!(
                "its program fails at more records than the {allowed} that 'skip_records' lets it leave out: last {} on \
                 {}{reading}: {}",
                task.attempt(last.number),
                last.host,
                last.failure.message
            )
        })
    }

    fn why_no_more_tries(&self, task: TaskId) -> Option<String> {
        let max_attempts = self.durable.job(task.job)?.max_attempts as usize;
        let failures = self.durable.running(task.job)?.counted_failures(task);
        let last = failures.last().filter(|_| failures.len() >= max_attempts)?;
        let hosts: Vec<_> = failures.iter().map(|failed| failed.host.as_str()).collect();
        let reading = last.split.as_ref().map(|split| format!(", {split}")).unwrap_or_default();
        Some(format!(
            "{task} failed {} times (on {}), last {} on {}{reading}: {}",
            failures.len(),
            hosts.join(", "),
            task.attempt(last.number),
            last.host,
            last.failure.message
        ))
    }
}
