//! The chunkserver's routes: decode the request, check its capability, hand over to `upload` and
//! `download`. No decisions.

pub(super) mod error;
mod logs;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use chunkstore_client::transfer::{OFFSET_HEADER, PIPELINE_HEADER};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::descriptor::{DescriptorSocket, Rechecked};
use chunkstore_protocol::{ChunkId, Frozen, SealedChunk, ServerAddress, Version};
use net::{Access, Caller, Json, Path, Problem, Query, Right, Role, Routes};
use serde::Deserialize;

use super::download::Reader;
use super::seal::SealError;
use super::upload::{Upload, drain, receive_detached};
use super::{Server, seal};
use error::{BadRequest, forbidden, problem_of_download, problem_of_seal, problem_of_upload};

/// Servers of a pipeline, at most.
const PIPELINE_MAX: usize = 16;

/// The routes below `/v1` and who may call them, as the router has them: tests hold a table to it.
#[must_use]
pub fn access() -> Vec<(&'static str, net::Access)> {
    routes().list().chain([daemon::probe_access(), daemon::reach_access()]).collect()
}

/// The routes beside those that every daemon has.
pub(super) fn routes() -> Routes<Arc<Server>> {
    const HOLDERS: Access = Access::Roles(&[Role::Task]);
    /// Servers settle the ends of logs among themselves.
    const ENDERS: Access = Access::Roles(&[Role::Task, Role::Server]);
    Routes::new()
        .route("/v1/chunks/{chunk}", HOLDERS, axum::routing::put(put_chunk).get(get_chunk))
        .route("/v1/chunks/{chunk}/freeze", ENDERS, axum::routing::post(freeze_chunk))
        .route("/v1/chunks/{chunk}/seal", ENDERS, axum::routing::post(seal_chunk))
        .route("/v1/chunks/{chunk}/suspect", HOLDERS, axum::routing::post(suspect_chunk))
        .merge(logs::routes())
        .route("/v1/descriptor", HOLDERS, axum::routing::get(descriptor_socket))
}

#[derive(Debug, Deserialize)]
struct Which {
    version: u32,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: Option<u64>,
    #[serde(default)]
    passed_on: bool,
    #[serde(default)]
    copy: bool,
}

async fn put_chunk(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    which: Result<Query<Which>, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SealedChunk>, Problem> {
    let body = body.into_data_stream();
    match parse_upload(&caller, &chunk, which, &headers) {
        Ok(upload) => {
            let sealed = receive_detached(server, upload, body).await;
            sealed.map(Json).map_err(|error| problem_of_upload(&error))
        }
        Err(problem) => {
            tokio::spawn(drain(body));
            Err(problem)
        }
    }
}

async fn get_chunk(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Read, &replica.chunk.resource())?;
    let download =
        super::download::send(&server, Reader::Client, replica, which.offset, which.length)
            .await
            .map_err(|error| problem_of_download(&error))?;
    let mut response = download.body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(download.body_bytes));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(OFFSET_HEADER, HeaderValue::from(download.first));
    Ok(response)
}

async fn freeze_chunk(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Frozen>, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Write, &replica.chunk.resource())?;
    let frozen = seal::freeze(&server, replica).await;
    frozen.map(Json).map_err(|error| problem_of_seal(&error))
}

async fn seal_chunk(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<SealedChunk>, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Write, &replica.chunk.resource())?;
    logs::may_seal(&server, &caller, replica)?;
    let sealed = match which.length {
        Some(length) => seal::seal(server, replica, length).await,
        None => Err(SealError::NoLength),
    };
    sealed.map(Json).map_err(|error| problem_of_seal(&error))
}

async fn suspect_chunk(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Path(chunk): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Rechecked>, Problem> {
    let replica = parse_replica(&chunk, &which)?;
    caller.require(Right::Read, &replica.chunk.resource())?;
    let sound = super::download::recheck(&server, replica).await;
    sound.map(|sound| Json(Rechecked { sound })).map_err(|error| problem_of_download(&error))
}

async fn descriptor_socket(State(server): State<Arc<Server>>) -> Json<DescriptorSocket> {
    Json(DescriptorSocket { socket: server.socket.clone() })
}

fn parse_upload(
    caller: &Caller,
    chunk: &str,
    which: Result<Query<Which>, Problem>,
    headers: &HeaderMap,
) -> Result<Upload, Problem> {
    let Query(which) = which?;
    let replica = parse_replica(chunk, &which)?;
    caller.require(Right::Write, &replica.chunk.resource())?;
    let downstream = parse_pipeline(caller, headers)?;
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    Ok(Upload { replica, downstream, passed_on: which.passed_on, is_copy: which.copy, token })
}

/// The servers downstream. Nothing is sent to any that the token does not name.
fn parse_pipeline(caller: &Caller, headers: &HeaderMap) -> Result<Vec<ServerAddress>, Problem> {
    let text = headers.get(PIPELINE_HEADER).map_or(Ok("[]"), HeaderValue::to_str);
    let text = text.map_err(|_| BadRequest::PipelineText)?;
    let downstream: Vec<ServerAddress> =
        serde_json::from_str(text).map_err(BadRequest::Pipeline)?;
    if downstream.len() >= PIPELINE_MAX {
        return Err(BadRequest::PipelineLength { servers: downstream.len() }.into());
    }
    for server in &downstream {
        if !caller.capability.permits(Right::Write, &server.resource()) {
            let detail = format!(
                "{} may not have {} at {} sent to: send a chunk by way of the servers that the chunk master \
                 allocated with this token",
                caller.capability.subject, server.host, server.address
            );
            return Err(forbidden(detail));
        }
    }
    Ok(downstream)
}

fn parse_replica(chunk: &str, which: &Which) -> Result<ReplicaKey, Problem> {
    let chunk: ChunkId = chunk.parse().map_err(BadRequest::Chunk)?;
    Ok(ReplicaKey { chunk, version: Version(which.version) })
}
