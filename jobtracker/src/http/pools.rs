//! Users' routes: pools, and what is done to all jobs of one.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::routing::{get, post};
use jobtracker_core::{Input, PoolVerb, Query, Reply};
use mapreduce_protocol::{PoolList, PoolStatus};
use net::{Access, Caller, Json, Problem, Role, Routes};

use super::ServerState;
use super::error::{bad_query, unexpected};
use super::jobs::PauseParameters;

const USERS: Access = Access::Roles(&[Role::User, Role::Master]);

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route("/v1/pools", USERS, get(list))
        .route("/v1/pools/{pool}/pause", USERS, post(pause))
        .route("/v1/pools/{pool}/resume", USERS, post(resume))
        .route("/v1/pools/{pool}/kill", USERS, post(kill))
}

async fn list(State(state): State<ServerState>) -> Result<Json<PoolList>, Problem> {
    match state.query(Query::Pools).await? {
        Reply::Pools(list) => Ok(Json(list)),
        other => Err(unexpected(&other)),
    }
}

async fn pause(
    State(state): State<ServerState>,
    caller: Caller,
    Path(pool): Path<String>,
    parameters: Result<UrlQuery<PauseParameters>, QueryRejection>,
) -> Result<Json<PoolStatus>, Problem> {
    let UrlQuery(PauseParameters { kill }) = parameters.map_err(|error| bad_query(&error))?;
    tell(&state, &caller, pool, PoolVerb::Pause { kill }).await
}

async fn resume(
    State(state): State<ServerState>,
    caller: Caller,
    Path(pool): Path<String>,
) -> Result<Json<PoolStatus>, Problem> {
    tell(&state, &caller, pool, PoolVerb::Resume).await
}

async fn kill(
    State(state): State<ServerState>,
    caller: Caller,
    Path(pool): Path<String>,
) -> Result<Json<PoolStatus>, Problem> {
    tell(&state, &caller, pool, PoolVerb::Kill).await
}

/// Jobs of a pool may be anybody's: only who may change everything decides over all of them.
async fn tell(
    state: &ServerState,
    caller: &Caller,
    pool: String,
    verb: PoolVerb,
) -> Result<Json<PoolStatus>, Problem> {
    caller.require_superuser()?;
    match state.core.ask(|reply_to| Input::Pool { pool, verb, reply_to }).await? {
        Reply::Pools(PoolList { mut pools }) if pools.len() == 1 => Ok(Json(pools.remove(0))),
        other => Err(unexpected(&other)),
    }
}
