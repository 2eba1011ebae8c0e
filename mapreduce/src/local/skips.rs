//! Records that a local job leaves out: what the JobTracker decides on a cluster (`jobtracker-core`, `skips`), by the same rule.
//! An attempt here is another call in the same process, so a record that ends the process ends the job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mapreduce_protocol::{FailedRecord, Failure, Skipping, TaskId, TaskKind, records_to_skip};

use crate::api::Counters;

/// Tries of a task whose job does not say.
const MAX_ATTEMPTS: u32 = 4;

/// What one attempt came to.
pub(super) struct Attempted {
    pub(super) outcome: Result<Counters, Failure>,
    /// The record that it was at when it failed.
    pub(super) record: Option<FailedRecord>,
}

/// How many records a job may leave out, and how many it has.
pub(super) struct Allowance {
    allowed: usize,
    max_attempts: usize,
    skipped: AtomicUsize,
}

impl Allowance {
    /// Of a job that may leave `allowed` out.
    pub(super) fn new(allowed: Option<u32>, max_attempts: Option<u32>) -> Self {
        let max_attempts = max_attempts.unwrap_or(MAX_ATTEMPTS) as usize;
        let allowed = allowed.unwrap_or(0) as usize;
        Self { allowed, max_attempts, skipped: AtomicUsize::new(0) }
    }

    /// Attempts of one task until one succeeds or the task fails its job. `clean` removes what a failed one has left.
    pub(super) fn attempts(
        &self,
        attempt: impl Fn(Option<&Skipping>) -> Attempted,
        clean: impl Fn() -> Result<(), Failure>,
    ) -> Result<Counters, Failure> {
        if self.allowed == 0 {
            return attempt(None).outcome;
        }
        let mut failed: Vec<FailedRecord> = Vec::new();
        loop {
            let skipping = Skipping { records: records_to_skip(&failed) };
            let Attempted { outcome, record } = attempt(Some(&skipping));
            let failure = match outcome {
                Ok(counters) => return Ok(counters),
                Err(failure) => failure,
            };
            let Some(record) = record.filter(|_| failure.kind.may_be_the_records()) else {
                return Err(failure);
            };
            let failure =
                Failure { message: format!("at {record}: {}", failure.message), ..failure };
            failed.push(record);
            let skipped = records_to_skip(&failed);
            if skipped.len() > skipping.records.len()
                && self.skipped.fetch_add(1, Ordering::Relaxed) >= self.allowed
            {
                let message = format!(
                    "the program fails at more records than the {} that 'skip_records' lets it leave out: last {}",
                    self.allowed, failure.message
                );
                return Err(Failure { message, ..failure });
            }
            let counted = failed.iter().filter(|record| !skipped.contains(&record.ordinal));
            if counted.count() >= self.max_attempts {
                return Err(failure);
            }
            clean()?;
        }
    }
}

/// What `run` gives; a panic is a failure where attempts may follow.
pub(super) fn caught<T>(
    skipping: Option<&Skipping>,
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if skipping.is_none() {
        return run();
    }
    // Nothing that it has touched is used again but the note of the record, which is plain bytes.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(super::panicked()))
}

/// Removes what an attempt of `task` has written to the folder of the output.
pub(super) fn remove_parts(output: &Path, task: TaskId) -> std::io::Result<()> {
    let letter = if task.kind == TaskKind::Map { 'm' } else { 'r' };
    let end = format!("-{letter}-{:05}", task.index);
    for entry in std::fs::read_dir(output)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.split('.').next().is_some_and(|name| name.ends_with(&end)) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
