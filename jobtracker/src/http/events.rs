//! Users' route: events as server-sent events. Browsers read it with `fetch`, so that the token
//! goes into a header.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use jobtracker_core::Query;
use mapreduce_protocol::{ClusterPulse, JobStatus};
use net::api::get;
use net::{Access, Caller, Problem, Query as UrlQuery, Routes};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::ServerState;
use super::error::{LISTENS, NO_SUCH, too_many};
use super::history::ask_or_read_job;
use super::jobs::job_of;

/// How long one request may listen; to go on, the client asks again.
const LISTEN_MAX: Duration = Duration::from_hours(12);
/// Time between two checks that a listener's token is still valid.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

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
        .problems(NO_SUCH)
        .problems(LISTENS);
    Routes::new().route("/v1/events", Access::USERS, listen)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Of this job alone.
    job: Option<String>,
}

/// The stream ends when the token expires, and soon after it is revoked.
async fn listen(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(Parameters { job }): UrlQuery<Parameters>,
) -> Result<Response, Problem> {
    let only = job.as_deref().map(job_of).transpose()?;
    if let Some(job) = only {
        // Of one that nobody knows there will never be an event.
        ask_or_read_job(&state, Query::Status { job, wait: None }).await?;
    }
    let token_lasts = caller.capability.expires.0.saturating_sub(clock::wall().0);
    let long = Duration::from_millis(token_lasts).min(LISTEN_MAX);
    let events = state.events.listen(only, long).map_err(|error| too_many(error.to_string()))?;
    let store = state.store.clone();
    let is_admitted = move || store.still_admits(&caller);
    let body = stream::unfold((events, is_admitted), |(mut events, is_admitted)| async move {
        let event = next_while(&mut events, &is_admitted, LOOK_INTERVAL).await?;
        Some((Ok::<Bytes, std::convert::Infallible>(event), (events, is_admitted)))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The next event; `None` once the listener is no longer admitted.
async fn next_while(
    events: &mut mpsc::Receiver<Bytes>,
    is_admitted: &impl Fn() -> bool,
    interval: Duration,
) -> Option<Bytes> {
    loop {
        let next = tokio::time::timeout(interval, events.recv()).await;
        if !is_admitted() {
            return None;
        }
        if let Ok(event) = next {
            return event;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn whose_token_is_taken_back_hears_no_more_whether_anything_happens_or_not() {
        let (sender, mut events) = mpsc::channel(4);
        let (short, is_good) = (Duration::from_millis(10), AtomicBool::new(true));
        let is_admitted = || is_good.load(Ordering::Relaxed);
        sender.send(Bytes::from_static(b"one")).await.unwrap();
        let first = next_while(&mut events, &is_admitted, short).await;
        assert_eq!(first.as_deref(), Some(&b"one"[..]));
        let looks = AtomicBool::new(false);
        let taken_back = || !looks.swap(true, Ordering::Relaxed);
        assert_eq!(next_while(&mut events, &taken_back, short).await, None, "in silence");
        sender.send(Bytes::from_static(b"two")).await.unwrap();
        is_good.store(false, Ordering::Relaxed);
        assert_eq!(next_while(&mut events, &is_admitted, short).await, None, "of what came");
    }
}
