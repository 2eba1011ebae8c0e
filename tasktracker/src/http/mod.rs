//! The TaskTracker's HTTP server: map outputs for reduces, logs for people.

mod error;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use mapreduce_protocol::{
    AttemptId, JobId, LOG_LENGTH_HEADER, LOG_OFFSET_HEADER, LOG_PART_BYTES_MAX, shuffle,
};
use net::{Access, Caller, Path, Problem, Query, Right, Role, Routes};

use crate::logs::{self, Logs, Wanted};
use crate::shuffle_server::ShuffleServer;
use error::ApiError;

const TEXT: &str = "text/plain; charset=utf-8";

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) shuffle: Arc<ShuffleServer>,
    pub(crate) logs: PathBuf,
}

/// The routes below `/v1` and who may call them, as the router has them: tests hold a table to it.
#[must_use]
pub fn access() -> Vec<(&'static str, net::Access)> {
    routes().list().chain([daemon::probe_access(), daemon::reach_access()]).collect()
}

/// The routes below `/v1`.
pub(crate) fn routes() -> Routes<Served> {
    Routes::new()
        .route("/v1/shuffle/{job}/{partition}", Access::Roles(&[Role::Task]), get(map_outputs))
        .route("/v1/attempts/{attempt}/log", Access::USERS, get(attempt_log))
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
    let body = served.shuffle.serve(partition, maps);
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// Whose job it is, and what its readers may read, the JobTracker knows, which asks in their place; here it is only known
/// who may read everything.
async fn attempt_log(
    State(served): State<Served>,
    caller: Caller,
    Path(attempt): Path<String>,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    caller.require_superuser()?;
    let attempt = AttemptId::from_str(&attempt).map_err(ApiError::from)?;
    let path = Logs::path(&served.logs, attempt);
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ApiError::NoLog { attempt },
        _ => ApiError::Log { attempt, source },
    };
    let Some(wanted) = wanted_part(&parameters)? else {
        let read = tokio::task::spawn_blocking(move || logs::read(&path)).await;
        let text = read.map_err(std::io::Error::other).and_then(|read| read).map_err(failed)?;
        return Ok(([(CONTENT_TYPE, TEXT)], text).into_response());
    };
    let read = tokio::task::spawn_blocking(move || logs::read_part(&path, wanted)).await;
    let part = read.map_err(std::io::Error::other).and_then(|read| read).map_err(failed)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(TEXT)),
        (HeaderName::from_static(LOG_OFFSET_HEADER), HeaderValue::from(part.offset)),
        (HeaderName::from_static(LOG_LENGTH_HEADER), HeaderValue::from(part.length)),
    ];
    Ok((headers, part.bytes).into_response())
}

/// The part of a log that is asked for; `None`: all that is kept.
fn wanted_part(parameters: &BTreeMap<String, String>) -> Result<Option<Wanted>, ApiError> {
    let number = |name| match parameters.get(name) {
        None => Ok(None),
        Some(given) => {
            let number = given.parse::<u64>();
            number.map(Some).map_err(|_| ApiError::BadTail { given: given.clone() })
        }
    };
    match (number("tail")?, number("offset")?, number("limit")?) {
        (None, None, None) => Ok(None),
        (Some(bytes), None, None) => Ok(Some(Wanted::Last { bytes })),
        (None, offset, limit) => {
            let limit = limit.unwrap_or(LOG_PART_BYTES_MAX).min(LOG_PART_BYTES_MAX);
            Ok(Some(Wanted::From { offset: offset.unwrap_or_default(), limit }))
        }
        (Some(_), _, _) => Err(ApiError::TwoParts),
    }
}
