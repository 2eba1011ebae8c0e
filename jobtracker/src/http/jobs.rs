//! Users' routes: jobs and what belongs to them.

use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jobtracker_core::{EndsAs, IdempotencyKey, Input, JobFilter, Query, Refusal, Reply};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptStatus, JobAccepted, JobChecked, JobCounters, JobHistory, JobId,
    JobList, JobSpec, JobState, JobStatus, PoolList, SetPriority,
};
use net::api::{Draft, Methods, Takes, get, post};
use net::{Access, Caller, Json, Path, Problem, Query as UrlQuery, Right, Routes, Standing};
use schemars::JsonSchema;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::ServerState;
use super::error::{
    ASKS, CHANGES, ENDS_ATTEMPT, ENDS_JOB, KEPT, NO_SUCH, SUBMITS, bad_id, bad_key, not_of_job,
    refused, unexpected,
};
use super::history::{Told, ask_or_read_attempts, ask_or_read_job};
use super::job_body::JobBody;
use crate::admission::{JobPaths, check_owner, check_spec, check_store, normalise, resource};

/// Makes a submission idempotent.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Length of a list unless the request gives one.
const LIST_DEFAULT: usize = 100;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route("/v1/jobs", Access::USERS, of_all())
        .route(
            "/v1/jobs/{id}",
            Access::USERS,
            get(status)
                .summary("Tells what has become of a job, at once or at its end.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
        .route("/v1/jobs/{id}/kill", Access::USERS, change(post(kill), "Ends a job."))
        .route(
            "/v1/jobs/{id}/pause",
            Access::USERS,
            change(post(pause), "Has nothing more of a job launched, until it is resumed."),
        )
        .route(
            "/v1/jobs/{id}/resume",
            Access::USERS,
            change(post(resume), "Goes on with a paused job."),
        )
        .route(
            "/v1/jobs/{id}/priority",
            Access::USERS,
            change(post(set_priority), "Gives a job another share of the slots."),
        )
        .route(
            "/v1/jobs/{id}/counters",
            Access::USERS,
            get(counters)
                .summary("Tells a job's counters: sums over the attempts that won.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
        .route(
            "/v1/jobs/{id}/attempts",
            Access::USERS,
            get(attempts)
                .summary("Tells of each attempt of a job, where it ran and what became of it.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
        .route(
            "/v1/jobs/{id}/attempts/{attempt}/kill",
            Access::USERS,
            change(post(kill_attempt), "Ends an attempt; its task runs again elsewhere.")
                .problems(ENDS_ATTEMPT),
        )
        .route(
            "/v1/jobs/{id}/attempts/{attempt}/fail",
            Access::USERS,
            change(
                post(fail_attempt),
                "Ends an attempt, which counts as one of its task's failures.",
            )
            .problems(ENDS_ATTEMPT),
        )
}

fn of_all() -> Methods<ServerState> {
    post(submit)
        .summary("Submits a job; with `check=true` it is only said whether it could be submitted.")
        .gives::<JobAccepted>(201)
        .gives::<JobChecked>(200)
        .problems(SUBMITS)
        .problems(CHANGES)
        .get(list)
        .summary("Lists jobs, newest first.")
        .problems(ASKS)
}

fn change(methods: Methods<ServerState>, summary: &'static str) -> Methods<ServerState> {
    methods.summary(summary).problems(NO_SUCH).problems(ENDS_JOB).problems(CHANGES)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubmitParameters {
    /// Whether it is only to be said if it could be submitted.
    #[serde(default)]
    check: bool,
}

async fn submit(
    State(state): State<ServerState>,
    caller: Caller,
    key: SubmissionKey,
    UrlQuery(SubmitParameters { check }): UrlQuery<SubmitParameters>,
    JobBody(mut spec): JobBody,
) -> Result<Response, Problem> {
    let caller = if check { caller.only_asking() } else { caller };
    normalise(&mut spec);
    let paths = check_spec(&spec)?;
    check_rights(&caller, &paths)?;
    if check {
        check_pool(&state, spec.pool.as_deref()).await?;
        check_all(&state, &caller, &paths).await?;
        return Ok(Json(JobChecked { job: spec, at: clock::wall() }).into_response());
    }
    let key = key_of(key, &spec);
    let owner = caller.capability.subject.clone();
    let accepted = match already_submitted(&state, &owner, key.clone()).await? {
        Some(accepted) => accepted,
        None => {
            check_all(&state, &caller, &paths).await?;
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

/// Where the core is only asked, it refuses no pool itself.
async fn check_pool(state: &ServerState, pool: Option<&str>) -> Result<(), Problem> {
    let Some(name) = pool else { return Ok(()) };
    let pools = match state.query(Query::Pools).await? {
        Reply::Pools(PoolList { pools }) => pools.into_iter().map(|it| it.pool),
        other => return Err(unexpected(&other)),
    };
    let pools: Vec<_> = pools.collect();
    match pools.iter().any(|pool| pool == name) {
        true => Ok(()),
        false => Err(refused(&Refusal::NoSuchPool { name: name.to_owned(), pools })),
    }
}

/// Checks the job against the chunk store, and whether the caller may make the output there.
async fn check_all(state: &ServerState, caller: &Caller, paths: &JobPaths) -> Result<(), Problem> {
    check_store(&state.store, paths).await?;
    if caller.standing != Standing::Superuser {
        check_owner(&state.store, caller, &paths.output).await?;
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

/// The answer given earlier to the same submission, even if the output exists by now.
async fn already_submitted(
    state: &ServerState,
    owner: &str,
    key: Option<IdempotencyKey>,
) -> Result<Option<JobAccepted>, Problem> {
    let Some(key) = key else { return Ok(None) };
    match state.query(Query::Submitted { owner: owner.to_owned(), key }).await? {
        Reply::Submitted(accepted) => Ok(accepted),
        other => Err(unexpected(&other)),
    }
}

/// The header `Idempotency-Key`.
struct SubmissionKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for SubmissionKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        Ok(Self(Some(key.to_str().map_err(|_| bad_key())?.to_owned())))
    }
}

impl Takes for SubmissionKey {
    fn take(draft: &mut Draft<'_>) {
        let words = "Makes a submission safe to repeat: the same key gives the same job again.";
        draft.takes_header("Idempotency-Key", words);
    }
}

fn key_of(SubmissionKey(key): SubmissionKey, spec: &JobSpec) -> Option<IdempotencyKey> {
    let spec = serde_json::to_vec(spec).expect("a job is plain data");
    key.map(|key| IdempotencyKey { key, digest: format!("{:032x}", xxh3_128(&spec)) })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// So many at most, 100 if absent.
    limit: Option<usize>,
    /// Those in this state alone.
    state: Option<JobState>,
    /// Those of this pool alone.
    pool: Option<String>,
    /// A job: the page after it.
    before: Option<String>,
}

async fn list(
    State(state): State<ServerState>,
    UrlQuery(parameters): UrlQuery<ListParameters>,
) -> Answer<JobList> {
    let limit = parameters.limit.unwrap_or(LIST_DEFAULT);
    let before = parameters.before.as_deref().map(job_of).transpose()?;
    let only = JobFilter { state: parameters.state, pool: parameters.pool, before };
    match state.query(Query::List { limit, only }).await? {
        Reply::List(list) => Ok(Json(list)),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatusParameters {
    /// Waits so many milliseconds for its end, up to a minute.
    wait_ms: Option<u64>,
}

async fn status(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    UrlQuery(parameters): UrlQuery<StatusParameters>,
) -> Answer<JobStatus> {
    let job = job_of(&id)?;
    let wait = parameters.wait_ms.map(Duration::from_millis);
    match ask_or_read_job(&state, Query::Status { job, wait }).await? {
        Told::Now(reply) => job_status(reply),
        Told::Kept(history) => Ok(Json(history.status)),
    }
}

/// Requires the job's owner, with a token that may write its output.
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

/// Requires the rights needed to kill the job.
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

/// Requires the rights needed to kill the job.
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseParameters {
    /// Whether what runs is to end now.
    #[serde(default)]
    pub(super) kill: bool,
}

/// Requires the rights needed to kill the job.
async fn pause(
    State(state): State<ServerState>,
    caller: Caller,
    Path(id): Path<String>,
    UrlQuery(PauseParameters { kill }): UrlQuery<PauseParameters>,
) -> Answer<JobStatus> {
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

/// The job, if the caller may change it.
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
