//! Chunkservers' routes: registration, heartbeats, and what they may purge from their trash. What
//! people ask about servers is in `health.rs`.

use axum::extract::State;
use chunkstore_core::master::{Input, Query, Reply};
use chunkstore_protocol::{
    BrokenChunks, Purgeable, RegisterServer, ServerHeartbeat, ServerHeartbeatReply,
    ServerRegistered,
};
use daemon::{ReachReply, ReachRequest};
use net::api::post;
use net::{Access, Json, Problem, Role, Routes};

use super::ServerState;
use super::error::{CHANGES, REGISTERS, unexpected};

const SERVERS: Access = Access::Roles(&[Role::Server]);

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/servers/register",
            SERVERS,
            post(register)
                .summary("Registers a chunkserver.")
                .problems(REGISTERS)
                .problems(CHANGES),
        )
        .route(
            "/v1/servers/heartbeat",
            SERVERS,
            post(heartbeat)
                .summary("Takes a chunkserver's heartbeat.")
                .problems(REGISTERS)
                .problems(CHANGES),
        )
        .route(
            "/v1/servers/reach",
            SERVERS,
            post(reach)
                .summary("Knocks at a chunkserver's address, and says whether it was reached."),
        )
        .route(
            "/v1/servers/broken",
            SERVERS,
            post(broken)
                .summary("Tells of which broken replicas a sound one exists.")
                .problems(REGISTERS)
                .problems(CHANGES),
        )
}

async fn register(
    State(state): State<ServerState>,
    Json(request): Json<RegisterServer>,
) -> Result<Json<ServerRegistered>, Problem> {
    let rack = state.topology.rack_of(&request.host, request.rack).await;
    let request = RegisterServer { rack, ..request };
    match state.core.ask(|to| Input::Register(to, request)).await? {
        Reply::Registered(registered) => Ok(Json(registered)),
        other => Err(unexpected(&other)),
    }
}

async fn reach(
    State(state): State<ServerState>,
    Json(request): Json<ReachRequest>,
) -> Result<Json<ReachReply>, Problem> {
    state.reach.knock(request).await.map(Json)
}

async fn heartbeat(
    State(state): State<ServerState>,
    Json(request): Json<ServerHeartbeat>,
) -> Result<Json<ServerHeartbeatReply>, Problem> {
    match state.core.ask(|to| Input::Heartbeat(to, request)).await? {
        Reply::Heartbeat(reply) => Ok(Json(reply)),
        other => Err(unexpected(&other)),
    }
}

async fn broken(
    State(state): State<ServerState>,
    Json(request): Json<BrokenChunks>,
) -> Result<Json<Purgeable>, Problem> {
    match state.query(Query::Broken(request)).await? {
        Reply::Purgeable(purgeable) => Ok(Json(purgeable)),
        other => Err(unexpected(&other)),
    }
}
