//! Puts the histories of jobs that have ended into the chunk store: each into a draft of its own first, which then gets its
//! name in one step, so that nobody ever sees half of one. A few at a time; jobs do not wait for it.

use std::sync::Arc;

use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, Replace, StorePath};
use jobtracker_core::{HistoryPage, Input, Query, Refusal, Reply, StoreOutcome, history_folder};
use mapreduce_protocol::{
    ATTEMPTS_FILE, AttemptHistory, AttemptId, AttemptState, HISTORY_ROOT, JOB_FILE, JobHistory,
    JobId, LOGS_FOLDER,
};
use tokio::sync::{Semaphore, mpsc};

use super::logs::LogFetcher;
use super::{HistoryError, early, log_name};
use crate::event_loop::{AskError, Core};
use crate::store::Store;

/// Histories that are written at once.
const AT_ONCE: usize = 2;
/// Folder of drafts, below [`HISTORY_ROOT`].
const DRAFTS: &str = "unfinished";

/// Writes the histories of the jobs that are `asked` for, each a task that ends with an input. Ends when the loop has.
pub(crate) async fn write_all(
    mut asked: mpsc::UnboundedReceiver<JobId>,
    core: Core,
    store: Store,
    split_bytes: u64,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut is_first = true;
    while let Some(job) = asked.recv().await {
        if std::mem::take(&mut is_first) {
            remove_drafts(&store.patient()).await;
        }
        let permit = Arc::clone(&permits).acquire_owned().await;
        let writer = Writer { core: core.clone(), store: store.clone(), split_bytes };
        tokio::spawn(async move {
            let outcome = match writer.write(job).await {
                Ok(()) => StoreOutcome::Done(()),
                Err(error) => {
                    tracing::warn!(%job, %error, "a job's history is not written yet");
                    StoreOutcome::Unavailable { reason: error.to_string() }
                }
            };
            writer.core.tell(Input::HistoryWritten { job, outcome }).await;
            drop(permit);
        });
    }
}

/// What an earlier process left: nothing is under way yet.
async fn remove_drafts(store: &ChunkStore) {
    let Ok(drafts) = format!("{HISTORY_ROOT}/{DRAFTS}").parse::<StorePath>() else { return };
    match store.delete_for_good(&drafts, true).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => tracing::warn!(%error, "unfinished histories were not removed"),
    }
}

struct Writer {
    core: Core,
    store: Store,
    split_bytes: u64,
}

impl Writer {
    async fn write(&self, job: JobId) -> Result<(), HistoryError> {
        // Written already, or forgotten.
        let Some(mut history) = self.ask_for_job(job).await? else { return Ok(()) };
        history.settings.split_bytes = self.split_bytes;
        let store = self.store.patient();
        let ended_at = history.status.finished_at.unwrap_or(history.status.submitted_at);
        let folder: StorePath = history_folder(job, ended_at).parse()?;
        if store.exists(&folder.join(JOB_FILE)?).await? {
            return Ok(());
        }
        let draft = format!("{HISTORY_ROOT}/{DRAFTS}/{job}-{}", net::random_hex(8)).parse()?;
        let placed = match self.write_draft(&store, &draft, &history).await {
            Ok(()) => place(&store, &draft, &folder).await,
            Err(error) => Err(error),
        };
        // Else the next start removes the one, and the sweep the other.
        let _ = match &placed {
            Ok(()) => early::remove(&store, job).await,
            Err(_) => store.delete_for_good(&draft, true).await.map_err(HistoryError::from),
        };
        placed
    }

    async fn write_draft(
        &self,
        store: &ChunkStore,
        draft: &StorePath,
        history: &JobHistory,
    ) -> Result<(), HistoryError> {
        let job = history.status.id;
        let options = CreateOptions { parents: true, ..CreateOptions::default() };
        let mut lines = store.create(&draft.join(ATTEMPTS_FILE)?, options).await?;
        let mut fetcher = LogFetcher::new(self.store.client());
        let mut first = Some(0);
        while let Some(at) = first {
            let Some(page) = self.ask_for_page(job, at).await? else { break };
            let mut text = Vec::new();
            for mut attempt in page.attempts {
                keep_log(store, draft, &mut fetcher, &mut attempt).await?;
                attempt.status.address = None;
                text.extend(serde_json::to_vec(&attempt).expect("an attempt is plain data"));
                text.push(b'\n');
            }
            lines.write(text.into()).await?;
            first = page.next;
        }
        lines.close().await?;
        let text = serde_json::to_vec_pretty(history).expect("a history is plain data");
        store.write_all(&draft.join(JOB_FILE)?, text, options).await?;
        Ok(())
    }

    /// What is to be kept of a job; `None` if nothing is any more.
    async fn ask_for_job(&self, job: JobId) -> Result<Option<JobHistory>, AskError> {
        match self.ask(Query::History { job }).await? {
            Some(Reply::History(history)) => Ok(Some(*history)),
            _ => Ok(None),
        }
    }

    async fn ask_for_page(
        &self,
        job: JobId,
        first: usize,
    ) -> Result<Option<HistoryPage>, AskError> {
        match self.ask(Query::HistoryPage { job, first }).await? {
            Some(Reply::HistoryPage(page)) => Ok(Some(page)),
            _ => Ok(None),
        }
    }

    async fn ask(&self, query: Query) -> Result<Option<Reply>, AskError> {
        match self.core.ask(|reply_to| Input::Query { query, reply_to }).await {
            Ok(reply) => Ok(Some(reply)),
            Err(AskError::Refused(Refusal::NoSuchJob { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Of a failed attempt the log is kept, as far as it can be had.
async fn keep_log(
    store: &ChunkStore,
    draft: &StorePath,
    fetcher: &mut LogFetcher,
    attempt: &mut AttemptHistory,
) -> Result<(), HistoryError> {
    if attempt.status.state != AttemptState::Failed {
        return Ok(());
    }
    let id = attempt.status.attempt;
    match fetcher.fetch(attempt.status.address.as_deref(), id).await {
        Ok(log) => {
            let path = draft.join(LOGS_FOLDER)?.join(&log_name(id))?;
            attempt.log_bytes = Some(log.len() as u64);
            let options = CreateOptions { parents: true, ..CreateOptions::default() };
            store.write_all(&path, log, options).await?;
        }
        Err(why) => match copy_early(store, draft, id).await? {
            Some(length) => attempt.log_bytes = Some(length),
            None => attempt.no_log = Some(why),
        },
    }
    Ok(())
}

/// Takes the log that was kept when the attempt failed; its length.
async fn copy_early(
    store: &ChunkStore,
    draft: &StorePath,
    attempt: AttemptId,
) -> Result<Option<u64>, HistoryError> {
    let from = early::folder(attempt.task.job)?.join(&log_name(attempt))?;
    let to = draft.join(LOGS_FOLDER)?.join(&log_name(attempt))?;
    match store.copy(&from, &to, Replace::Never, true).await {
        Ok(FileStatus { kind: FileKind::File { length, .. }, .. }) => Ok(Some(length)),
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::StillOpen { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a draft its name.
async fn place(
    store: &ChunkStore,
    draft: &StorePath,
    folder: &StorePath,
) -> Result<(), HistoryError> {
    match (store.rename(draft, folder).await, folder.parent()) {
        // The first of its day.
        (Err(StoreError::NotFound { .. }), Some(day)) => {
            store.mkdir(&day, true).await?;
            Ok(store.rename(draft, folder).await?)
        }
        (placed, _) => Ok(placed?),
    }
}
