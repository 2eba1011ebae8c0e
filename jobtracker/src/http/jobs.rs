//! Users' routes: jobs and what hangs below them.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jobtracker_core::{EndsAs, IdempotencyKey, Input, JobFilter, Query, Reply};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptStatus, JobAccepted, JobChecked, JobCounters, JobHistory, JobId,
    JobList, JobSpec, JobState, JobStatus, SetPriority,
};
use net::{Access, Caller, Json, Problem, Right, Role, Routes, Standing};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::ServerState;
use super::error::{bad_id, bad_key, bad_query, not_of_job, unexpected};
use super::history::{Told, ask_or_read_attempts, ask_or_read_job};
use super::job_body::JobBody;
use crate::admission::{JobPaths, check_owner, check_spec, check_store, normalise, resource};

const USERS: Access = Access::Roles(&[Role::User, Role::Master]);

/// Makes a submission safe to repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Jobs of a list where the request does not say.
const LIST_DEFAULT: usize = 100;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route("/v1/jobs", USERS, post(submit).get(list))
        .route("/v1/jobs/{id}", USERS, get(status))
        .route("/v1/jobs/{id}/kill", USERS, post(kill))
        .route("/v1/jobs/{id}/pause", USERS, post(pause))
        .route("/v1/jobs/{id}/resume", USERS, post(resume))
        .route("/v1/jobs/{id}/priority", USERS, post(set_priority))
        .route("/v1/jobs/{id}/counters", USERS, get(counters))
        .route("/v1/jobs/{id}/attempts", USERS, get(attempts))
        .route("/v1/jobs/{id}/attempts/{attempt}/kill", USERS, post(kill_attempt))
        .route("/v1/jobs/{id}/attempts/{attempt}/fail", USERS, post(fail_attempt))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitParameters {
    /// Whether it is only to be said if it could be submitted.
    #[serde(default)]
    check: bool,
}

async fn submit(
    State(state): State<ServerState>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Result<UrlQuery<SubmitParameters>, QueryRejection>,
    JobBody(mut spec): JobBody,
) -> Result<Response, Problem> {
    let UrlQuery(SubmitParameters { check }) = parameters.map_err(|error| bad_query(&error))?;
    normalise(&mut spec);
    let paths = check_spec(&spec)?;
    check_rights(&caller, &paths)?;
    if check {
        check_all(&state, &caller, &paths).await?;
        return Ok(Json(JobChecked { job: spec, at: clock::wall() }).into_response());
    }
    let key = key_of(&headers, &spec)?;
    let accepted = match already_submitted(&state, key.clone()).await? {
        Some(accepted) => accepted,
        None => {
            check_all(&state, &caller, &paths).await?;
            let owner = caller.capability.subject.clone();
            let spec = Box::new(spec);
            let submit = |reply_to| Input::Submit { spec, key, owner, reply_to };
            match state.core.ask(submit).await? {
                Reply::Accepted(accepted) => accepted,
                other => return Err(unexpected(&other)),
            }
        }
    };
    let location = [(header::LOCATION, format!("/v1/jobs/{}", accepted.id))];
    Ok((StatusCode::CREATED, location, Json(accepted)).into_response())
}

/// What the chunk store says to it, and whether the caller may make the output there.
async fn check_all(state: &ServerState, caller: &Caller, paths: &JobPaths) -> Result<(), Problem> {
    check_store(&state.store, paths).await?;
    if caller.standing != Standing::Superuser {
        check_owner(&state.store, &caller.capability, &paths.output).await?;
    }
    Ok(())
}

fn check_rights(caller: &Caller, paths: &JobPaths) -> Result<(), Problem> {
    for input in &paths.inputs {
        caller.require(Right::Read, input.resource())?;
    }
    for path in &paths.files {
        caller.require(Right::Read, path.as_str())?;
    }
    caller.require(Right::Write, paths.output.resource())
}

/// The first answer to a request that comes again, even if its output exists by now.
async fn already_submitted(
    state: &ServerState,
    key: Option<IdempotencyKey>,
) -> Result<Option<JobAccepted>, Problem> {
    let Some(key) = key else { return Ok(None) };
    match state.query(Query::Submitted { key }).await? {
        Reply::Submitted(accepted) => Ok(accepted),
        other => Err(unexpected(&other)),
    }
}

fn key_of(headers: &HeaderMap, spec: &JobSpec) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().map_err(|_| bad_key())?.to_owned();
    let spec = serde_json::to_vec(spec).expect("a job is plain data");
    Ok(Some(IdempotencyKey { key, digest: format!("{:032x}", xxh3_128(&spec)) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    limit: Option<usize>,
    state: Option<JobState>,
    pool: Option<String>,
    before: Option<String>,
}

async fn list(
    State(state): State<ServerState>,
    parameters: Result<UrlQuery<ListParameters>, QueryRejection>,
) -> Answer<JobList> {
    let UrlQuery(parameters) = parameters.map_err(|error| bad_query(&error))?;
    let limit = parameters.limit.unwrap_or(LIST_DEFAULT);
    let before = parameters.before.as_deref().map(job_of).transpose()?;
    let only = JobFilter { state: parameters.state, pool: parameters.pool, before };
    match state.query(Query::List { limit, only }).await? {
        Reply::List(list) => Ok(Json(list)),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusParameters {
    wait_ms: Option<u64>,
}

async fn status(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    parameters: Result<UrlQuery<StatusParameters>, QueryRejection>,
) -> Answer<JobStatus> {
    let job = job_of(&id)?;
    let UrlQuery(parameters) = parameters.map_err(|error| bad_query(&error))?;
    let wait = parameters.wait_ms.map(Duration::from_millis);
    match ask_or_read_job(&state, Query::Status { job, wait }).await? {
        Told::Now(reply) => job_status(reply),
        Told::Kept(history) => Ok(Json(history.status)),
    }
}

/// A job's owner may end it, with a token that may write its output.
async fn kill(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<JobStatus> {
    let job = changed_by(&state, &caller, &id).await?;
    job_status(state.core.ask(|reply_to| Input::Kill { job, reply_to }).await?)
}

async fn kill_attempt(
    State(state): State<ServerState>,
    caller: Caller,
    Path((id, attempt)): Path<(String, String)>,
) -> Answer<AttemptStatus> {
    end_attempt(&state, &caller, (&id, &attempt), EndsAs::Killed).await
}

async fn fail_attempt(
    State(state): State<ServerState>,
    caller: Caller,
    Path((id, attempt)): Path<(String, String)>,
) -> Answer<AttemptStatus> {
    end_attempt(&state, &caller, (&id, &attempt), EndsAs::Failed).await
}

/// Whoever may end a job may end its attempts.
async fn end_attempt(
    state: &ServerState,
    caller: &Caller,
    (id, attempt): (&str, &str),
    counts: EndsAs,
) -> Answer<AttemptStatus> {
    let attempt = attempt_of(id, attempt)?;
    let _job = changed_by(state, caller, id).await?;
    let end = |reply_to| Input::EndAttempt { attempt, counts, reply_to };
    match state.core.ask(end).await? {
        Reply::Attempt(attempt) => Ok(Json(*attempt)),
        other => Err(unexpected(&other)),
    }
}

/// Whoever may end a job may change its share of the slots.
async fn set_priority(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(SetPriority { priority }): Json<SetPriority>,
) -> Answer<JobStatus> {
    let job = changed_by(&state, &caller, &id).await?;
    job_status(state.core.ask(|reply_to| Input::SetPriority { job, priority, reply_to }).await?)
}

/// How a job is paused, or all jobs of a pool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseParameters {
    /// Whether what runs is to end now.
    #[serde(default)]
    pub(super) kill: bool,
}

/// Whoever may end a job may pause it.
async fn pause(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
    parameters: Result<UrlQuery<PauseParameters>, QueryRejection>,
) -> Answer<JobStatus> {
    let UrlQuery(PauseParameters { kill }) = parameters.map_err(|error| bad_query(&error))?;
    let job = changed_by(&state, &caller, &id).await?;
    job_status(state.core.ask(|reply_to| Input::Pause { job, kill, reply_to }).await?)
}

async fn resume(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<JobStatus> {
    let job = changed_by(&state, &caller, &id).await?;
    job_status(state.core.ask(|reply_to| Input::Resume { job, reply_to }).await?)
}

/// A job that the caller may change.
async fn changed_by(state: &ServerState, caller: &Caller, id: &str) -> Result<JobId, Problem> {
    let job = job_of(id)?;
    let Json(status) = job_status(state.query(Query::Status { job, wait: None }).await?)?;
    caller.require(Right::Write, resource(&status.output))?;
    caller.require_owner(&status.owner, &job)?;
    Ok(job)
}

fn job_status(reply: Reply) -> Answer<JobStatus> {
    match reply {
        Reply::Status(status) => Ok(Json(*status)),
        other => Err(unexpected(&other)),
    }
}

async fn counters(State(state): State<ServerState>, Path(id): Path<String>) -> Answer<JobCounters> {
    let job = job_of(&id)?;
    match ask_or_read_job(&state, Query::Counters { job }).await? {
        Told::Now(Reply::Counters(counters)) => Ok(Json(counters)),
        Told::Now(other) => Err(unexpected(&other)),
        Told::Kept(JobHistory { counters, .. }) => Ok(Json(JobCounters { counters })),
    }
}

async fn attempts(State(state): State<ServerState>, Path(id): Path<String>) -> Answer<AttemptList> {
    let job = job_of(&id)?;
    match ask_or_read_attempts(&state, Query::Attempts { job }).await? {
        Told::Now(Reply::Attempts(attempts)) => Ok(Json(attempts)),
        Told::Now(other) => Err(unexpected(&other)),
        Told::Kept(kept) => {
            let attempts = kept.into_iter().map(|attempt| attempt.status).collect();
            Ok(Json(AttemptList { attempts }))
        }
    }
}

pub(super) fn attempt_of(id: &str, attempt: &str) -> Result<AttemptId, Problem> {
    let job = job_of(id)?;
    let attempt = attempt.parse::<AttemptId>().map_err(|error| bad_id(&error))?;
    if attempt.task.job == job {
        Ok(attempt)
    } else {
        Err(not_of_job(job, (&attempt, attempt.task.job)))
    }
}

pub(super) fn job_of(id: &str) -> Result<JobId, Problem> {
    id.parse().map_err(|error| bad_id(&error))
}
