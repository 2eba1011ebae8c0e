//! Users' routes: pools, and operations on all jobs of a pool.

use axum::extract::State;
use jobtracker_core::{Input, PoolVerb, Query, Reply};
use mapreduce_protocol::{PoolList, PoolStatus};
use net::api::{Methods, get, post};
use net::{Access, Caller, Json, Path, Problem, Query as UrlQuery, Routes};

use super::ServerState;
use super::error::{ASKS, CHANGES, NO_SUCH, unexpected};
use super::jobs::PauseParameters;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route("/v1/pools", Access::USERS, get(list).summary("Lists pools.").problems(ASKS))
        .route(
            "/v1/pools/{pool}/pause",
            Access::USERS,
            change(post(pause), "Launches nothing more of a pool, of later jobs either."),
        )
        .route(
            "/v1/pools/{pool}/resume",
            Access::USERS,
            change(post(resume), "Goes on with a paused pool."),
        )
        .route(
            "/v1/pools/{pool}/kill",
            Access::USERS,
            change(post(kill), "Ends a pool's jobs, but for those that are being published."),
        )
}

fn change(methods: Methods<ServerState>, summary: &'static str) -> Methods<ServerState> {
    methods.summary(summary).problems(NO_SUCH).problems(CHANGES)
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
    UrlQuery(PauseParameters { kill }): UrlQuery<PauseParameters>,
) -> Result<Json<PoolStatus>, Problem> {
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

/// Requires a superuser, as the jobs of a pool may belong to anybody.
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
