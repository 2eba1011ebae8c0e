//! Records that a job leaves out (`skip_records`): a record at which attempts of a task failed often enough is left out by its
//! next ones, and their failures use up no tries. All that is known of it is in the failures, which are durable.

use mapreduce_protocol::{FailedRecord, Failure, Skipping, TaskId, TaskKind, records_to_skip};

use crate::ended::FailedAttempt;
use crate::machine::Core;
use crate::running::RunningEntry;

/// Length limit of the message of a failure at a record: a job that leaves many out has twice as many of them.
const RECORD_MESSAGE_BYTES_MAX: usize = 2 << 10;

impl RunningEntry {
    /// The records that attempts of `task` leave out, ascending.
    pub(crate) fn skipped(&self, task: TaskId) -> Vec<u64> {
        records_to_skip(self.failed_at_records(task).filter_map(|failed| failed.record.as_ref()))
    }

    /// The failures that count against the tries of `task`: those at records that are left out do not.
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

    /// Whether the numbers that `failed` gives to records are those of its task's next attempts: a reduce that has read what
    /// a map made before it made other bytes has counted other keys.
    fn numbers_hold(&self, task: TaskId, failed: &FailedAttempt) -> bool {
        task.kind == TaskKind::Map || failed.number >= self.reduces_from
    }

    /// The records that all its tasks leave out.
    fn n_skipped(&self, task: TaskId) -> usize {
        let has_failed =
            |(_, entry): &(TaskId, &crate::running::TaskEntry)| !entry.failures().is_empty();
        self.entries(task.job).filter(has_failed).map(|(task, _)| self.skipped(task).len()).sum()
    }
}

impl Core {
    /// What the next attempt of `task` is told to leave out; `None` where its job allows nothing of the kind.
    pub(crate) fn skipping(&self, task: TaskId) -> Option<Skipping> {
        self.durable.job(task.job).filter(|entry| entry.spec.skips())?;
        let records = self.durable.running(task.job)?.skipped(task);
        Some(Skipping { records })
    }

    /// The record that is to be remembered of a failure of `task`, if its job may leave some out. What is said of the failure
    /// begins with it.
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

    /// Whether `record` is one that attempts of `task` leave out.
    pub(crate) fn is_skipped(&self, task: TaskId, record: Option<&FailedRecord>) -> bool {
        let (Some(record), Some(entry)) = (record, self.durable.running(task.job)) else {
            return false;
        };
        entry.skipped(task).contains(&record.ordinal)
    }

    /// Why `task` fails its job: its tries are used up, or one more record would have to be left out than the job allows.
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
