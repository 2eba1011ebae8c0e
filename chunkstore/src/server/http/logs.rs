//! Routes of logs' open chunks: clients append and read, primaries send to the other servers. No decisions.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use bytes::Bytes;
use chunkstore_core::log::GROUP_BYTES_MAX;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{Appended, BATCH_BYTES_MAX, Followed};
use net::{Access, Caller, Json, Path, Problem, Query, Right, Role, Routes};

use super::error::{BadRequest, forbidden, problem_of_log};
use super::{Which, parse_pipeline, parse_replica};
use crate::server::Server;
use crate::server::event_loop::Stopped;
use crate::server::logs::{self, Follow, LogError};

pub(super) fn routes() -> Routes<Arc<Server>> {
    const CLIENTS: Access = Access::Roles(&[Role::Task]);
    /// What a primary sends is believed.
    const SERVERS: Access = Access::Roles(&[Role::Server]);
    let records = axum::routing::post(append_records).get(get_records);
    Routes::new().route("/v1/chunks/{chunk}/records", CLIENTS, records).route(
        "/v1/chunks/{chunk}/follow",
        SERVERS,
        axum::routing::post(follow_log),
    )
}

async fn append_records(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Appended>, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Write, &replica.chunk.resource())?;
    let followers = parse_pipeline(&caller, &headers)?;
    let frames = whole(body, BATCH_BYTES_MAX).await?;
    // To its end, whatever becomes of the connection.
    let appending = tokio::spawn(logs::append(server, replica, followers, frames));
    answer(appending.await)
}

async fn follow_log(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
    body: Body,
) -> Result<Json<Followed>, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Write, &replica.chunk.resource())?;
    let frames = whole(body, GROUP_BYTES_MAX as usize).await?;
    let following =
        tokio::spawn(logs::follow(server, Follow { replica, offset: which.offset, frames }));
    answer(following.await)
}

async fn get_records(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
) -> Result<impl IntoResponse, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Read, &replica.chunk.resource())?;
    let frames =
        logs::read(&server, replica, which.offset).await.map_err(|error| problem_of_log(&error))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], frames))
}

/// Only servers, which have settled its length among themselves, have a log's chunk sealed.
pub(super) fn may_seal(
    server: &Server,
    caller: &Caller,
    replica: ReplicaKey,
) -> Result<(), Problem> {
    match server.logs.has(replica) && caller.capability.role != Role::Server {
        false => Ok(()),
        true => {
            let detail = format!(
                "chunk {} is a log's: its servers seal it; ask the chunk master for the log's open chunk",
                replica.chunk
            );
            Err(forbidden(detail))
        }
    }
}

async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, BadRequest> {
    let whole = axum::body::to_bytes(body, bytes_max).await;
    whole.map_err(|error| BadRequest::Body { bytes_max, reason: error.to_string() })
}

fn answer<T>(
    done: Result<Result<T, LogError>, tokio::task::JoinError>,
) -> Result<Json<T>, Problem> {
    let done = done.unwrap_or(Err(LogError::Stopped(Stopped)));
    done.map(Json).map_err(|error| problem_of_log(&error))
}
