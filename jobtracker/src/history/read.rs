//! Finds histories in the chunk store. They are stored by the day on which their jobs ended, mostly
//! the day in the job's id and never an earlier one.

use std::cmp::Reverse;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ids::UnixMillis;
use jobtracker_core::day_folder;
use mapreduce_protocol::{
    ATTEMPTS_FILE, AttemptHistory, AttemptId, HISTORY_ROOT, JOB_FILE, JobHistory, JobId, JobStatus,
    LOGS_FOLDER,
};

use super::{HistoryError, early, log_name};

/// Limit on parallel calls.
const PARALLEL_CALLS: usize = 16;
/// Length limit of a job's file, bytes: its record fits into a journal.
const JOB_BYTES_MAX: u64 = 4 << 20;
/// Limit on the bytes of attempts read into memory; the first ones are read.
const ATTEMPTS_BYTES_MAX: u64 = 16 << 20;
/// Length limit of a log, bytes; see `logs`.
const LOG_BYTES_MAX: u64 = 2 << 20;
/// Number of days that [`last_jobs`] covers.
const LAST_DAYS: usize = 7;
/// Limit on the entries of one folder.
const ENTRIES_MAX: usize = 200_000;

/// The history of a job, if there is one.
pub(crate) async fn job(
    store: &ChunkStore,
    job: JobId,
) -> Result<Option<JobHistory>, HistoryError> {
    match find(store, job).await? {
        Some(folder) => read_job(store, &folder).await,
        None => Ok(None),
    }
}

/// The job's attempts, up to the memory limit; `None` if there is no history.
pub(crate) async fn attempts(
    store: &ChunkStore,
    job: JobId,
) -> Result<Option<Vec<AttemptHistory>>, HistoryError> {
    let Some(folder) = find(store, job).await? else { return Ok(None) };
    let path = folder.join(ATTEMPTS_FILE)?;
    let mut reader = match store.open_range(&path, 0, ATTEMPTS_BYTES_MAX).await {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    while let Some(piece) = reader.next().await? {
        text.extend_from_slice(&piece);
    }
    // The last line may be incomplete.
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let damaged = |source| HistoryError::Damaged { path: path.to_string(), source };
    let attempts = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    attempts.map(Some).map_err(damaged)
}

/// The log of a failed attempt; `None` if it is not kept.
pub(crate) async fn log(
    store: &ChunkStore,
    attempt: AttemptId,
) -> Result<Option<Vec<u8>>, HistoryError> {
    let name = log_name(attempt);
    if let Some(folder) = find(store, attempt.task.job).await? {
        let path = folder.join(LOGS_FOLDER)?.join(&name)?;
        if let Some(log) = there(store.read_all(&path, LOG_BYTES_MAX).await)? {
            return Ok(Some(log));
        }
    }
    // The job goes on, or its history is being written.
    let early = early::folder(attempt.task.job)?.join(&name)?;
    there(store.read_all(&early, LOG_BYTES_MAX).await)
}

/// The jobs that ended last, at most `limit` of them.
pub(crate) async fn list(store: &ChunkStore, limit: usize) -> Result<Vec<JobStatus>, HistoryError> {
    let mut days = days(store).await?;
    days.sort_unstable();
    let mut found = Vec::new();
    while let Some(day) = days.pop().filter(|_| found.len() < limit) {
        let entries = entries(store, &day_folder(day).parse()?).await?;
        let jobs = written_last(&entries, limit - found.len());
        let of_day = stream::iter(jobs)
            .map(|job| async move {
                let folder = day_folder(day).parse::<StorePath>()?.join(&job.to_string())?;
                read_job(store, &folder).await
            })
            .buffered(PARALLEL_CALLS)
            .try_collect::<Vec<_>>()
            .await?;
        let mut of_day: Vec<_> = of_day.into_iter().flatten().map(|it| it.status).collect();
        of_day.sort_by_key(ended_last);
        found.extend(of_day);
    }
    Ok(found)
}

/// The jobs of a day whose histories were begun last. To know which ended last, all would have to
/// be read; it is the same except for histories that could not be written at once.
fn written_last(entries: &[FileStatus], limit: usize) -> Vec<JobId> {
    let job_of = |it: &FileStatus| Some((it.created, it.path.name()?.parse::<JobId>().ok()?));
    let mut jobs: Vec<_> = entries.iter().filter_map(job_of).collect();
    jobs.sort_unstable_by_key(|(created, job)| Reverse((*created, job.ordinal)));
    jobs.into_iter().map(|(_, job)| job).take(limit).collect()
}

/// Sort key of a list.
fn ended_last(job: &JobStatus) -> Reverse<(Option<UnixMillis>, u32)> {
    Reverse((job.finished_at, job.id.ordinal))
}

/// The days (`yyyymmdd`) with histories.
pub(crate) async fn days(store: &ChunkStore) -> Result<Vec<u32>, HistoryError> {
    let mut folders: Vec<(StorePath, u32)> = vec![(HISTORY_ROOT.parse()?, 0)];
    // Years, months, days.
    for digits in [4, 2, 2] {
        let mut below = Vec::new();
        for (folder, so_far) in folders {
            for entry in entries(store, &folder).await? {
                let name = entry.path.name().filter(|name| name.len() == digits);
                let number = name.and_then(|name| name.parse::<u32>().ok());
                let is_folder = matches!(entry.kind, FileKind::Folder);
                let scale = 10_u32.pow(u32::try_from(digits).unwrap_or(2));
                if let Some(number) = number.filter(|_| is_folder) {
                    below.push((entry.path, so_far * scale + number));
                }
            }
        }
        folders = below;
    }
    Ok(folders.into_iter().map(|(_, day)| day).collect())
}

/// The jobs with histories on the last days that have any.
pub(crate) async fn last_jobs(store: &ChunkStore) -> Result<Vec<JobId>, HistoryError> {
    let mut days = days(store).await?;
    days.sort_unstable();
    let mut jobs = Vec::new();
    for day in days.into_iter().rev().take(LAST_DAYS) {
        let of_day = entries(store, &day_folder(day).parse()?).await?;
        jobs.extend(of_day.iter().filter_map(|it| it.path.name()?.parse::<JobId>().ok()));
    }
    Ok(jobs)
}

/// Jobs with logs that were saved before their end.
pub(crate) async fn jobs_with_early_logs(store: &ChunkStore) -> Result<Vec<JobId>, HistoryError> {
    let folders = entries(store, &early::root()?).await?;
    Ok(folders.iter().filter_map(|it| it.path.name()?.parse().ok()).collect())
}

/// The history folder of a job.
pub(crate) async fn find(
    store: &ChunkStore,
    job: JobId,
) -> Result<Option<StorePath>, HistoryError> {
    let at = |day| -> Result<StorePath, HistoryError> {
        Ok(day_folder(day).parse::<StorePath>()?.join(&job.to_string())?)
    };
    let first = at(job.date)?;
    if store.exists(&first).await? {
        return Ok(Some(first));
    }
    let later = days(store).await?.into_iter().filter(|day| *day > job.date);
    let mut looked_at = stream::iter(later)
        .map(|day| async move {
            let folder = at(day)?;
            Ok::<_, HistoryError>(store.exists(&folder).await?.then_some(folder))
        })
        .buffered(PARALLEL_CALLS);
    while let Some(found) = looked_at.try_next().await? {
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

async fn read_job(
    store: &ChunkStore,
    folder: &StorePath,
) -> Result<Option<JobHistory>, HistoryError> {
    let path = folder.join(JOB_FILE)?;
    let Some(text) = there(store.read_all(&path, JOB_BYTES_MAX).await)? else { return Ok(None) };
    let damaged = |source| HistoryError::Damaged { path: path.to_string(), source };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

/// All entries of a folder; none if it does not exist.
async fn entries(store: &ChunkStore, folder: &StorePath) -> Result<Vec<FileStatus>, HistoryError> {
    Ok(there(store.list_all(folder, ENTRIES_MAX).await)?.unwrap_or_default())
}

/// Treats a missing file as `None`: it may be swept away at any time.
fn there<T>(result: Result<T, StoreError>) -> Result<Option<T>, HistoryError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_ended_last_come_first_whenever_they_were_accepted() {
        let entry = |name: &str, created| FileStatus {
            path: format!("/d/{name}").parse().unwrap(),
            owner: "jobtracker".to_owned(),
            created: UnixMillis(created),
            modified: UnixMillis(created),
            kind: FileKind::Folder,
        };
        // The first job ran for longer than the others.
        let entries = [
            entry("job_20261122_0001", 90),
            entry("job_20261122_0002", 20),
            entry("job_20261122_0003", 30),
            entry("no_job", 99),
        ];
        let ordinals = |limit| {
            let jobs = written_last(&entries, limit);
            jobs.into_iter().map(|job| job.ordinal).collect::<Vec<_>>()
        };
        assert_eq!(ordinals(9), [1, 3, 2]);
        assert_eq!(ordinals(2), [1, 3]);

        let job = |ordinal: u32, finished_at: u64| {
            let counts = serde_json::json!({
                "total": 0, "waiting": 0, "succeeded": 0, "running": 0, "attempts": 0, "failed_attempts": 0,
                "killed_attempts": 0, "node_local": 0, "rack_local": 0, "off_rack": 0
            });
            let status = serde_json::json!({
                "id": format!("job_20261122_{ordinal:04}"), "name": "n", "state": "SUCCEEDED",
                "output": "/out", "input_bytes": 0, "submitted_at": 0,
                "finished_at": finished_at, "maps": counts, "reduces": counts,
            });
            serde_json::from_value::<JobStatus>(status).unwrap()
        };
        let mut jobs = [job(3, 30), job(1, 90), job(2, 20), job(4, 30)];
        jobs.sort_by_key(ended_last);
        let order: Vec<_> = jobs.iter().map(|job| job.id.ordinal).collect();
        assert_eq!(order, [1, 4, 3, 2]);
    }
}
