//! Users' routes: histories of ended jobs, as stored in the chunk store. The routes for jobs also
//! answer from there what the JobTracker has forgotten.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use clock::Stopwatch;
use jobtracker_core::{Query, Refusal, Reply};
use mapreduce_protocol::{AttemptHistory, HistoryList, JobHistory, JobId};
use net::api::get;
use net::{Access, Caller, Json, Path, Problem, Query as UrlQuery, Right, Routes};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServerState;
use super::error::{KEPT, NO_SUCH, many_histories, no_history, no_kept_log, unexpected};
use super::hosts::EVERYWHERE;
use super::jobs::{attempt_of, job_of};
use crate::admission::resource;
use crate::event_loop::AskError;
use crate::history::read;

/// Default and maximum length of a list.
const LIST_DEFAULT: usize = 100;
const LIST_MAX: usize = 1000;

/// Limit on the histories read in parallel: what [`read`] loads of each stays in memory until it is
/// answered.
const READS_MAX: usize = 8;
/// How long others wait for their turn.
const TURN: Duration = Duration::from_secs(10);

/// How long to wait for the history of a job that has just ended: it is written after its client
/// was told of the end.
const WRITING: Duration = Duration::from_secs(5);
/// Pause between two checks for it.
const LOOK: Duration = Duration::from_millis(100);

/// Permits for reading histories, or for checking whether there is one.
#[derive(Clone, Debug)]
pub(crate) struct HistoryReads {
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Default for HistoryReads {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(READS_MAX)), patience: TURN }
    }
}

impl HistoryReads {
    pub(super) async fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.patience, turn).await {
            Ok(permit) => Ok(permit.expect("it is never closed")),
            Err(_) => Err(many_histories(READS_MAX)),
        }
    }
}

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/history",
            Access::USERS,
            get(list)
                .summary("Lists jobs that are over, those that ended last first.")
                .problems(KEPT),
        )
        .route(
            "/v1/history/{id}",
            Access::USERS,
            get(job).summary("Tells what is kept of a job.").problems(NO_SUCH).problems(KEPT),
        )
        .route(
            "/v1/history/{id}/attempts",
            Access::USERS,
            get(attempts)
                .summary("Tells what is kept of a job's attempts, as many as 16 MiB hold.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
        .route(
            "/v1/history/{id}/attempts/{attempt}/log",
            Access::USERS,
            get(log)
                .summary("Gives what a failed attempt wrote.")
                .gives_text(200, "text/plain", "What it wrote.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// So many at most: 100 if absent, 1000 at most.
    limit: Option<usize>,
}

async fn list(
    State(state): State<ServerState>,
    UrlQuery(parameters): UrlQuery<ListParameters>,
) -> Result<Json<HistoryList>, Problem> {
    let limit = parameters.limit.unwrap_or(LIST_DEFAULT).min(LIST_MAX);
    let _turn = state.history_reads.begin().await?;
    let jobs = read::list(&state.store.prompt(), limit).await?;
    Ok(Json(HistoryList { jobs }))
}

/// Any user may see a job and its attempts. Its specification requires the right to read its
/// output.
async fn job(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobHistory>, Problem> {
    let job = job_of(&id)?;
    let history = once_written(&state, job, || kept_job(&state, job)).await?;
    let history = history.ok_or_else(|| no_history(job))?;
    caller.require(Right::Read, resource(&history.status.output))?;
    Ok(Json(history))
}

async fn attempts(
    State(state): State<ServerState>,
    Path(id): Path<String>,
) -> Result<Json<Vec<AttemptHistory>>, Problem> {
    let job = job_of(&id)?;
    let attempts = once_written(&state, job, || kept_attempts(&state, job)).await?;
    attempts.map(Json).ok_or_else(|| no_history(job))
}

/// The program's output in the log requires the same right.
async fn log(
    State(state): State<ServerState>,
    caller: Caller,
    Path((id, attempt)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let attempt = attempt_of(&id, &attempt)?;
    caller.require(Right::Read, &resource_of(&state, attempt.task.job).await?)?;
    let _turn = state.history_reads.begin().await?;
    let text = read::log(&state.store.prompt(), attempt).await?;
    let text = text.ok_or_else(|| no_kept_log(attempt))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The resource that a caller's token must cover to read what a job wrote.
pub(super) async fn resource_of(state: &ServerState, job: JobId) -> Result<String, Problem> {
    let output = match state.ask(Query::Status { job, wait: None }).await {
        Ok(Reply::Status(status)) => Some(status.output),
        Ok(other) => return Err(unexpected(&other)),
        Err(AskError::Refused(Refusal::NoSuchJob { .. })) => {
            kept_job(state, job).await?.map(|history| history.status.output)
        }
        Err(error) => return Err(error.into()),
    };
    // The owner is no longer known.
    Ok(output.as_deref().map_or(EVERYWHERE, resource).to_owned())
}

/// Reads the history of a job, and waits for it for a while if the job has just ended.
async fn once_written<T, F>(
    state: &ServerState,
    job: JobId,
    read: impl Fn() -> F,
) -> Result<Option<T>, Problem>
where
    F: Future<Output = Result<Option<T>, Problem>>,
{
    let waited = Stopwatch::start();
    loop {
        let kept = read().await?;
        if kept.is_some() || waited.elapsed() >= WRITING {
            return Ok(kept);
        }
        match state.ask(Query::Status { job, wait: None }).await {
            Ok(Reply::Status(status)) if status.state.is_final() => {}
            _ => return Ok(None),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn kept_job(state: &ServerState, job: JobId) -> Result<Option<JobHistory>, Problem> {
    let _turn = state.history_reads.begin().await?;
    Ok(read::job(&state.store.prompt(), job).await?)
}

pub(super) async fn kept_attempts(
    state: &ServerState,
    job: JobId,
) -> Result<Option<Vec<AttemptHistory>>, Problem> {
    let _turn = state.history_reads.begin().await?;
    Ok(read::attempts(&state.store.prompt(), job).await?)
}

/// The answer to a query about a job: the core's, or the history of a job that it has forgotten.
pub(super) enum Told<T> {
    Now(Reply),
    Kept(T),
}

/// Asks the core; for a job that it does not know, reads the history.
pub(super) async fn ask_or_read<T, F>(
    state: &ServerState,
    query: Query,
    read: impl FnOnce(JobId) -> F,
) -> Result<Told<T>, Problem>
where
    F: Future<Output = Result<Option<T>, Problem>>,
{
    match state.ask(query).await {
        Ok(reply) => Ok(Told::Now(reply)),
        Err(AskError::Refused(Refusal::NoSuchJob { job })) => match read(job).await? {
            Some(kept) => Ok(Told::Kept(kept)),
            None => Err(AskError::Refused(Refusal::NoSuchJob { job }).into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The same for the job itself.
pub(super) async fn ask_or_read_job(
    state: &ServerState,
    query: Query,
) -> Result<Told<JobHistory>, Problem> {
    ask_or_read(state, query, |job| kept_job(state, job)).await
}

/// The same for its attempts.
pub(super) async fn ask_or_read_attempts(
    state: &ServerState,
    query: Query,
) -> Result<Told<Vec<AttemptHistory>>, Problem> {
    ask_or_read(state, query, |job| kept_attempts(state, job)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_histories_are_read_at_once_and_others_wait_for_a_while() {
        let reads = HistoryReads::default();
        let hasty = HistoryReads { patience: Duration::from_millis(10), ..reads.clone() };
        let mut turns = Vec::new();
        for _ in 0..READS_MAX {
            turns.push(reads.begin().await.expect("there is room"));
        }
        let refused = hasty.begin().await.expect_err("there is none");
        assert_eq!((refused.status, refused.retry_after.is_some()), (503, true));
        let (waited, ()) = tokio::join!(reads.begin(), async { drop(turns.pop()) });
        let _turn = waited.expect("the turn of the one that ended");
    }
}
