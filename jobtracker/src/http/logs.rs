//! Users' route: part of the log of an attempt, running or ended. It comes from the attempt's
//! TaskTracker, which may have an address that only the cluster reaches; if that is gone, from the
//! saved log of a failed attempt. Parts are short: logs are read in pieces.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use jobtracker_core::{Query, Refusal, Reply};
use mapreduce_protocol::{
    AttemptId, LOG_LENGTH_HEADER, LOG_OFFSET_HEADER, LOG_PART_BYTES_MAX, LogPart,
};
use net::api::get;
use net::reqwest::{Method, Response as TrackerResponse};
use net::{Access, CallError, Caller, Path, Problem, Query as UrlQuery, Right, Routes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerState;
use super::error::{NO_SUCH, PASSED_ON, no_log, of_tracker, unexpected};
use super::history::resource_of;
use super::jobs::attempt_of;
use crate::event_loop::AskError;
use crate::history::read;

/// Length of a part unless the request gives one.
const PART_DEFAULT: u64 = 64 << 10;

pub(super) fn routes() -> Routes<ServerState> {
    let log = get(log)
        .summary("Gives a part of what an attempt has written, of a running one too.")
        .gives_text(
            200,
            "text/plain",
            "The part; headers `howdah-log-offset` and `howdah-log-length` (written so far).",
        )
        .problems(NO_SUCH)
        .problems(PASSED_ON);
    Routes::new().route("/v1/jobs/{id}/attempts/{attempt}/log", Access::USERS, log)
}

/// Which part.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// From this byte on; absent: the last ones.
    offset: Option<u64>,
    /// So many bytes at most: 64 KiB if absent, 1 MiB at most.
    limit: Option<u64>,
}

/// Requires the right to read the job's output.
async fn log(
    State(state): State<ServerState>,
    caller: Caller,
    Path((id, attempt)): Path<(String, String)>,
    UrlQuery(asked): UrlQuery<Parameters>,
) -> Result<Response, Problem> {
    let attempt = attempt_of(&id, &attempt)?;
    caller.require(Right::Read, &resource_of(&state, attempt.task.job).await?)?;
    let limit = asked.limit.unwrap_or(PART_DEFAULT).clamp(1, LOG_PART_BYTES_MAX);
    let part = match address_of(&state, attempt).await? {
        Some(address) => match from_tracker(&state, &address, attempt, (asked.offset, limit)).await
        {
            Ok(part) => part,
            Err(error) => kept(&state, attempt, (asked.offset, limit))
                .await?
                .ok_or_else(|| of_tracker(&error))?,
        },
        None => {
            kept(&state, attempt, (asked.offset, limit)).await?.ok_or_else(|| no_log(attempt))?
        }
    };
    let number =
        |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from(value));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        number(LOG_OFFSET_HEADER, part.offset),
        number(LOG_LENGTH_HEADER, part.length),
    ];
    Ok((headers, part.bytes).into_response())
}

/// The address of the attempt's TaskTracker, if both are known.
async fn address_of(state: &ServerState, attempt: AttemptId) -> Result<Option<String>, Problem> {
    match state.ask(Query::Attempt { attempt }).await {
        Ok(Reply::Attempt(status)) => Ok(status.address),
        Ok(other) => Err(unexpected(&other)),
        Err(AskError::Refused(Refusal::NoSuchAttempt { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn from_tracker(
    state: &ServerState,
    address: &str,
    attempt: AttemptId,
    (offset, limit): (Option<u64>, u64),
) -> Result<LogPart, CallError> {
    let client = state.store.client();
    let wanted = match offset {
        Some(offset) => format!("offset={offset}&limit={limit}"),
        None => format!("tail={limit}"),
    };
    let path = format!("/v1/attempts/{}/log?{}", attempt, wanted);
    let request = client.request(Method::GET, address, &path);
    let whole = async {
        let mut response = client.send(address, request).await?;
        let number = |response: &TrackerResponse, name| {
            let text = response.headers().get(name).and_then(|it| it.to_str().ok());
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let (offset, length) =
            (number(&response, LOG_OFFSET_HEADER), number(&response, LOG_LENGTH_HEADER));
        let mut bytes = Vec::new();
        let broken = |error| CallError::from_http(address, &error);
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 >= limit {
                bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                break;
            }
        }
        Ok(LogPart { offset, length, bytes })
    };
    let timed_out = |_| CallError::TimedOut { address: address.to_owned() };
    tokio::time::timeout(client.request_timeout(), whole).await.map_err(timed_out)?
}

/// The saved log of a failed attempt; the head and tail of a long one count as all of it.
async fn kept(
    state: &ServerState,
    attempt: AttemptId,
    (offset, limit): (Option<u64>, u64),
) -> Result<Option<LogPart>, Problem> {
    let _turn = state.history_reads.begin().await?;
    let text = read::log(&state.store.prompt(), attempt).await?;
    Ok(text.map(|text| part_of(&text, offset, limit)))
}

fn part_of(text: &[u8], offset: Option<u64>, limit: u64) -> LogPart {
    let length = text.len() as u64;
    let offset = offset.unwrap_or(length.saturating_sub(limit)).min(length);
    let end = offset.saturating_add(limit).min(length);
    let at = |byte: u64| usize::try_from(byte).expect("it is within the text");
    LogPart { offset, length, bytes: text[at(offset)..at(end)].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_within_the_log_whatever_is_asked_for() {
        for (offset, limit, begins, part) in [
            (None, 4, 6, "6789"),
            (None, 99, 0, "0123456789"),
            (Some(0), 3, 0, "012"),
            (Some(8), 9, 8, "89"),
            (Some(10), 9, 10, ""),
            (Some(u64::MAX), u64::MAX, 10, ""),
        ] {
            let got = part_of(b"0123456789", offset, limit);
            assert_eq!(
                (got.offset, got.length, got.bytes.as_slice()),
                (begins, 10, part.as_bytes())
            );
        }
    }
}
