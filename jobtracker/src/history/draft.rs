//! Histories are written as a draft before they get their name. An unfinished draft is kept for the
//! logs in it: their hosts may be gone by the next attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, PathError, Replace, StorePath};
use jobtracker_core::UNWRITTEN_MAX;
use mapreduce_protocol::{
    AttemptHistory, AttemptId, AttemptState, HISTORY_ROOT, JobId, LOGS_FOLDER,
};

use super::logs::LogFetcher;
use super::{HistoryError, early, log_name};

/// Folder of drafts, below [`HISTORY_ROOT`].
const FOLDER: &str = "unfinished";

pub(super) fn root() -> Result<StorePath, PathError> {
    format!("{HISTORY_ROOT}/{FOLDER}").parse()
}

/// A history being written.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) folder: StorePath,
    /// Lengths of the logs fetched from TaskTrackers that are complete in the draft.
    pub(super) logs: BTreeMap<AttemptId, u64>,
}

impl Draft {
    pub(super) fn new(job: JobId) -> Result<Self, PathError> {
        let folder = root()?.join(&format!("{job}-{}", net::random_hex(8)))?;
        Ok(Self { folder, logs: BTreeMap::new() })
    }

    /// Copies the logs of an earlier draft, as far as they still exist. The earlier draft keeps
    /// them too.
    pub(super) async fn take_logs(
        &mut self,
        store: &ChunkStore,
        former: &Self,
    ) -> Result<(), HistoryError> {
        for attempt in former.logs.keys() {
            let (from, to) = (former.log(*attempt)?, self.log(*attempt)?);
            if let Some(length) = copy(store, &from, &to).await? {
                self.logs.insert(*attempt, length);
            }
        }
        Ok(())
    }

    /// Saves the log of a failed attempt, if it can be obtained.
    pub(super) async fn keep_log(
        &mut self,
        store: &ChunkStore,
        fetcher: &mut LogFetcher,
        attempt: &mut AttemptHistory,
    ) -> Result<(), HistoryError> {
        if attempt.status.state != AttemptState::Failed {
            return Ok(());
        }
        let id = attempt.status.attempt;
        if let Some(length) = self.logs.get(&id) {
            attempt.log_bytes = Some(*length);
            return Ok(());
        }
        match fetcher.fetch(attempt.status.address.as_deref(), id).await {
            Ok(log) => {
                let length = log.len() as u64;
                attempt.log_bytes = Some(length);
                let options = CreateOptions { parents: true, ..CreateOptions::default() };
                store.write_all(&self.log(id)?, log, options).await?;
                self.logs.insert(id, length);
            }
            Err(why) => {
                // The log saved when the attempt failed.
                let from = early::folder(id.task.job)?.join(&log_name(id))?;
                match copy(store, &from, &self.log(id)?).await? {
                    Some(length) => attempt.log_bytes = Some(length),
                    None => attempt.no_log = Some(why),
                }
            }
        }
        Ok(())
    }

    fn log(&self, attempt: AttemptId) -> Result<StorePath, PathError> {
        self.folder.join(LOGS_FOLDER)?.join(&log_name(attempt))
    }

    /// Removes the draft if the chunk store is available; otherwise the next start does.
    pub(super) async fn remove(self, store: &ChunkStore) {
        let _ = store.delete_for_good(&self.folder, true).await;
    }
}

/// Copies a log without moving its bytes. Returns its length, or `None` if it is incomplete.
async fn copy(
    store: &ChunkStore,
    from: &StorePath,
    to: &StorePath,
) -> Result<Option<u64>, HistoryError> {
    match store.copy(from, to, Replace::Never, true).await {
        Ok(FileStatus { kind: FileKind::File { length, .. }, .. }) => Ok(Some(length)),
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::StillOpen { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Drafts with logs, for jobs whose histories will be written again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Drafts(Arc<Mutex<BTreeMap<JobId, Draft>>>);

impl Drafts {
    pub(super) fn take(&self, job: JobId) -> Option<Draft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&job)
    }

    /// Keeps the draft, but no more drafts than the core keeps unwritten histories: it does not say
    /// which it gives up.
    pub(super) async fn put(&self, store: &ChunkStore, job: JobId, draft: Draft) {
        let surplus = {
            let mut drafts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = drafts.insert(job, draft);
            if drafts.len() > UNWRITTEN_MAX { drafts.pop_first() } else { None }
        };
        if let Some((_, draft)) = surplus {
            draft.remove(store).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{AttemptStatus, TaskKind};
    use net::{Keyring, Secret};

    use super::*;
    use crate::store::Store;
    use crate::tests::{Master, settings};

    fn failed(attempt: AttemptId) -> AttemptHistory {
        let status = serde_json::json!({
            "attempt": attempt, "host": "host-1", "state": "FAILED"
        });
        let status: AttemptStatus = serde_json::from_value(status).unwrap();
        let counters = BTreeMap::new();
        AttemptHistory { status, worked_ms: None, counters, log_bytes: None, no_log: None }
    }

    #[tokio::test]
    async fn what_an_earlier_try_has_fetched_is_taken_from_its_draft_and_not_fetched_again() {
        let keyring = Keyring::new(&Secret::random());
        let master = Master::default();
        let chunkmaster = master.serve(&keyring);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&settings(dir.path(), &keyring, &chunkmaster));
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let attempt = |index| job.task(TaskKind::Map, index).attempt(0);
        let (there, swept, never) = (attempt(0), attempt(1), attempt(2));
        let mut former = Draft::new(job).unwrap();
        former.logs = BTreeMap::from([(there, 5), (swept, 7)]);
        master.files().lengths.insert(former.log(there).unwrap(), 5);

        let drafts = Drafts::default();
        drafts.put(&store.patient(), job, former).await;
        let former = drafts.take(job).unwrap();
        let mut draft = Draft::new(job).unwrap();
        draft.take_logs(&store.patient(), &former).await.unwrap();
        assert_eq!(draft.logs, BTreeMap::from([(there, 5)]));
        assert!(master.files().lengths.contains_key(&draft.log(there).unwrap()));
        let mut fetcher = LogFetcher::going_on(store.client(), draft.logs.len());
        for (attempt, bytes) in [(there, Some(5)), (swept, None), (never, None)] {
            // Its TaskTracker is lost: the log cannot be fetched.
            let mut attempt = failed(attempt);
            draft.keep_log(&store.patient(), &mut fetcher, &mut attempt).await.unwrap();
            assert_eq!((attempt.log_bytes, attempt.no_log.is_none()), (bytes, bytes.is_some()));
        }
    }
}
