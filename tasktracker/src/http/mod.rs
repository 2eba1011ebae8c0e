//! The TaskTracker's HTTP server: map outputs for reduces, logs for people.

mod error;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use mapreduce_protocol::{AttemptId, JobId, shuffle};
use net::{Access, Caller, Problem, Right, Role, Routes};

use crate::logs::{self, Logs};
use crate::shuffle_server::ShuffleServer;
use error::ApiError;

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) shuffle: Arc<ShuffleServer>,
    pub(crate) logs: PathBuf,
}

/// The routes below `/v1`.
pub(crate) fn routes() -> Routes<Served> {
    Routes::new()
        .route("/v1/shuffle/{job}/{partition}", Access::Roles(&[Role::Task]), get(map_outputs))
        .route(
            "/v1/attempts/{attempt}/log",
            Access::Roles(&[Role::User, Role::Master]),
            get(attempt_log),
        )
}

type Parameters = Query<BTreeMap<String, String>>;

async fn map_outputs(
    State(served): State<Served>,
    caller: Caller,
    Path((job, partition)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let job = JobId::from_str(&job).map_err(ApiError::from)?;
    caller.require(Right::Read, &shuffle::resource(job))?;
    let partition = partition.parse().map_err(|_| ApiError::BadPartition { given: partition })?;
    let maps = parameters.get("maps").and_then(|maps| shuffle::parse_maps(job, maps));
    let maps = maps.ok_or(ApiError::BadMaps)?;
    let body = served.shuffle.serve(partition, maps).await;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

async fn attempt_log(
    State(served): State<Served>,
    Path(attempt): Path<String>,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let attempt = AttemptId::from_str(&attempt).map_err(ApiError::from)?;
    let tail = match parameters.get("tail") {
        None => None,
        Some(given) => Some(given.parse().map_err(|_| ApiError::BadTail { given: given.clone() })?),
    };
    let path = Logs::path(&served.logs, attempt);
    let read = tokio::task::spawn_blocking(move || logs::read(&path, tail)).await;
    let text = read.map_err(std::io::Error::other).and_then(|read| read);
    let text = text.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ApiError::NoLog { attempt },
        _ => ApiError::Log { attempt, source },
    })?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
