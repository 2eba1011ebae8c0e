//! Users' route: what happens, as server-sent events. Browsers read it by `fetch`, so that a token is sent as a header.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use mapreduce_protocol::{ClusterPulse, JobStatus};
use net::api::get;
use net::{Access, Caller, Problem, Role, Routes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerState;
use super::error::{LISTENS, bad_query, too_many};
use super::jobs::job_of;

const USERS: Access = Access::Roles(&[Role::User, Role::Master]);
/// How long one request listens at most; whoever wants to hear more asks again.
const LISTEN_MAX: Duration = Duration::from_hours(12);

pub(super) fn routes() -> Routes<ServerState> {
    let listen = get(listen)
        .summary("Tells what happens, as server-sent events: first what is, then each change.")
        .gives_text(
            200,
            "text/event-stream",
            "Events `cluster`, whose data is a `ClusterPulse`, and `job`, whose data is a `JobStatus`, in JSON.",
        )
        .also_gives::<ClusterPulse>()
        .also_gives::<JobStatus>()
        .problems(LISTENS);
    Routes::new().route("/v1/events", USERS, listen)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Of this job alone.
    job: Option<String>,
}

/// Ends with the token at the latest.
async fn listen(
    State(state): State<ServerState>,
    caller: Caller,
    parameters: Result<UrlQuery<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let UrlQuery(Parameters { job }) = parameters.map_err(|error| bad_query(&error))?;
    let only = job.as_deref().map(job_of).transpose()?;
    let token_lasts = caller.capability.expires.0.saturating_sub(clock::wall().0);
    let long = Duration::from_millis(token_lasts).min(LISTEN_MAX);
    let events = state.events.listen(only, long).map_err(|error| too_many(error.to_string()))?;
    let body = stream::unfold(events, |mut events| async move {
        Some((Ok::<Bytes, std::convert::Infallible>(events.recv().await?), events))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}
