//! Writes the histories of ended jobs into the chunk store: each first into a draft of its own,
//! which then gets its name in one step, so that no reader sees a partial one. A few are written in
//! parallel; jobs do not wait for it. A failed one is written again when the core asks for it, with
//! the logs from the last draft.

use std::sync::Arc;

use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::StorePath;
use jobtracker_core::{HistoryPage, Input, Query, Refusal, Reply, StoreOutcome, history_folder};
use mapreduce_protocol::{ATTEMPTS_FILE, JOB_FILE, JobHistory, JobId};
use tokio::sync::{Semaphore, mpsc};

use super::draft::{Draft, Drafts};
use super::logs::LogFetcher;
use super::{HistoryError, draft, early};
use crate::event_loop::{AskError, CoreHandle};
use crate::store::Store;

/// Limit on the histories written in parallel.
const AT_ONCE: usize = 2;

/// Writes the histories of the jobs received from `asked`, each in a task that ends with an input.
/// Ends with the loop.
pub(crate) async fn write_all(
    mut asked: mpsc::UnboundedReceiver<JobId>,
    core: CoreHandle,
    store: Store,
    split_bytes: u64,
) {
    let drafts = Drafts::default();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut is_first = true;
    while let Some(job) = asked.recv().await {
        if std::mem::take(&mut is_first) {
            remove_drafts(&store.patient()).await;
        }
        let permit = Arc::clone(&permits).acquire_owned().await;
        let (core, store, drafts) = (core.clone(), store.clone(), drafts.clone());
        let writer = Writer { core, store, split_bytes, drafts };
        tokio::spawn(async move {
            let outcome = match writer.write(job).await {
                Ok(()) => StoreOutcome::Done(()),
                Err(error) if error.is_permanent() => {
                    tracing::warn!(%job, %error, "a job's history can't be written, and never will be");
                    StoreOutcome::Refused { reason: error.to_string() }
                }
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

/// Removes the drafts of an earlier process; none is in progress yet.
async fn remove_drafts(store: &ChunkStore) {
    let Ok(drafts) = draft::root() else { return };
    match store.delete_for_good(&drafts, true).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => tracing::warn!(%error, "unfinished histories were not removed"),
    }
}

struct Writer {
    core: CoreHandle,
    store: Store,
    split_bytes: u64,
    drafts: Drafts,
}

impl Writer {
    async fn write(&self, job: JobId) -> Result<(), HistoryError> {
        let store = self.store.patient();
        let former = self.drafts.take(job);
        let written = self.write_after(&store, job, former.as_ref()).await;
        // A draft that cannot be removed now is removed by the next start, or by the sweep.
        if let Some(former) = former {
            match &written {
                Err(Failed { error, draft: None }) if !error.is_permanent() => {
                    self.drafts.put(&store, job, former).await;
                }
                _ => former.remove(&store).await,
            }
        }
        let Err(Failed { error, draft }) = written else { return Ok(()) };
        if let Some(draft) = draft {
            match error.is_permanent() || draft.logs.is_empty() {
                true => draft.remove(&store).await,
                false => self.drafts.put(&store, job, draft).await,
            }
        }
        Err(error)
    }

    /// Writes a new draft with the logs of the `former` one. On failure the new draft is handed
    /// back for the next try if it has all of these.
    async fn write_after(
        &self,
        store: &ChunkStore,
        job: JobId,
        former: Option<&Draft>,
    ) -> Result<(), Failed> {
        // Already written, or forgotten.
        let Some(mut history) = self.ask_for_job(job).await? else { return Ok(()) };
        history.settings.split_bytes = self.split_bytes;
        let ended_at = history.status.finished_at.unwrap_or(history.status.submitted_at);
        let folder: StorePath = history_folder(job, ended_at).parse()?;
        if is_written(store, &folder).await? {
            return Ok(());
        }
        let mut draft = Draft::new(job)?;
        if let Some(former) = former
            && let Err(error) = draft.take_logs(store, former).await
        {
            draft.remove(store).await;
            return Err(error.into());
        }
        let placed = match self.write_draft(store, &mut draft, &history).await {
            Ok(()) => place(store, &draft.folder, &folder).await,
            Err(error) => Err(error),
        };
        match placed {
            Ok(()) => {
                // If this fails, the sweep removes them.
                let _ = early::remove(store, job).await;
                Ok(())
            }
            Err(error) => Err(Failed { error, draft: Some(draft) }),
        }
    }

    async fn write_draft(
        &self,
        store: &ChunkStore,
        draft: &mut Draft,
        history: &JobHistory,
    ) -> Result<(), HistoryError> {
        let job = history.status.id;
        let options = CreateOptions { parents: true, ..CreateOptions::default() };
        let mut lines = store.create(&draft.folder.join(ATTEMPTS_FILE)?, options).await?;
        let mut fetcher = LogFetcher::going_on(self.store.client(), draft.logs.len());
        let mut first = Some(0);
        while let Some(at) = first {
            let page = self.ask_for_page(job, at).await?;
            let page = page.ok_or(HistoryError::GivenUp { job })?;
            let mut text = Vec::new();
            for mut attempt in page.attempts {
                draft.keep_log(store, &mut fetcher, &mut attempt).await?;
                attempt.status.address = None;
                text.extend(serde_json::to_vec(&attempt).expect("an attempt is plain data"));
                text.push(b'\n');
            }
            lines.write(text.into()).await?;
            first = page.next;
        }
        lines.close().await?;
        let text = serde_json::to_vec_pretty(history).expect("a history is plain data");
        store.write_all(&draft.folder.join(JOB_FILE)?, text, options).await?;
        Ok(())
    }

    /// A job's history; `None` if it is no longer to be written.
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

/// Why writing failed, and the draft left for the next try.
struct Failed {
    error: HistoryError,
    draft: Option<Draft>,
}

impl<E: Into<HistoryError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), draft: None }
    }
}

async fn is_written(store: &ChunkStore, folder: &StorePath) -> Result<bool, HistoryError> {
    Ok(store.exists(&folder.join(JOB_FILE)?).await?)
}

/// Gives a draft its final name.
async fn place(
    store: &ChunkStore,
    draft: &StorePath,
    folder: &StorePath,
) -> Result<(), HistoryError> {
    match (store.rename(draft, folder).await, folder.parent()) {
        // The first history of its day.
        (Err(StoreError::NotFound { .. }), Some(day)) => {
            store.mkdir(&day, true).await?;
            Ok(store.rename(draft, folder).await?)
        }
        (placed, _) => Ok(placed?),
    }
}
