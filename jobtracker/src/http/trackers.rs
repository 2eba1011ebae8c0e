//! TaskTrackers' routes: registration and heartbeats. The reply to a heartbeat may be parked for
//! the heartbeat interval.

use axum::extract::State;
use daemon::{ReachReply, ReachRequest};
use jobtracker_core::{Input, Reply};
use mapreduce_protocol::{
    RegisterTracker, TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};
use net::api::post;
use net::{Access, Json, Problem, Role, Routes};

use super::ServerState;
use super::error::{CHANGES, REGISTERS, unexpected};

const TRACKERS: Access = Access::Roles(&[Role::Tracker]);

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/trackers/register",
            TRACKERS,
            post(register)
                .summary("Registers a TaskTracker.")
                .problems(REGISTERS)
                .problems(CHANGES),
        )
        .route(
            "/v1/trackers/heartbeat",
            TRACKERS,
            post(heartbeat)
                .summary("Takes a TaskTracker's heartbeat.")
                .problems(REGISTERS)
                .problems(CHANGES),
        )
        .route(
            "/v1/trackers/reach",
            TRACKERS,
            post(reach)
                .summary("Knocks at a TaskTracker's address, and says whether it was reached."),
        )
}

async fn register(
    State(state): State<ServerState>,
    Json(request): Json<RegisterTracker>,
) -> Result<Json<TrackerRegistered>, Problem> {
    let rack = state.topology.rack_of(&request.host, request.rack).await;
    let request = Box::new(RegisterTracker { rack, ..request });
    match state.core.ask(|reply_to| Input::RegisterTracker { request, reply_to }).await? {
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
    Json(heartbeat): Json<TrackerHeartbeat>,
) -> Result<Json<TrackerHeartbeatReply>, Problem> {
    let heartbeat = Box::new(heartbeat);
    match state.core.ask(|reply_to| Input::Heartbeat { heartbeat, reply_to }).await? {
        Reply::Heartbeat(reply) => Ok(Json(*reply)),
        other => Err(unexpected(&other)),
    }
}
