//! Users' routes for charts of a job: when and where its attempts ran, and how much its reduces
//! read. Assembled from pages of the core, so that other inputs are handled in between; for jobs
//! whose tasks the core has forgotten, from the history.

use axum::extract::State;
use ids::UnixMillis;
use jobtracker_core::{PARTITIONS_PER_PAGE, Query, Reply};
use mapreduce_protocol::{
    AttemptHistory, AttemptState, AttemptStatus, JobId, Partition, PartitionList, TaskKind,
    Timeline, TimelineAttempt,
};
use net::api::get;
use net::{Access, Json, Path, Problem, Query as UrlQuery, Routes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerState;
use super::error::{KEPT, NO_SUCH, unexpected};
use super::history::{Told, ask_or_read_attempts, kept_attempts};
use super::jobs::job_of;

/// Number of attempts that fill a page: default and maximum.
const PAGE_DEFAULT: usize = 5000;
const PAGE_MAX: usize = 20_000;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/jobs/{id}/timeline",
            Access::USERS,
            get(timeline)
                .summary("Tells of each attempt of a job in short, page by page.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
        .route(
            "/v1/jobs/{id}/partitions",
            Access::USERS,
            get(partitions)
                .summary("Tells how a job's map outputs are spread over its reduces, page by page.")
                .problems(NO_SUCH)
                .problems(KEPT),
        )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimelineParameters {
    /// Where the page begins: the `next` of the one before.
    #[serde(default)]
    first: usize,
    /// A page ends with the 500 tasks that fill it to so many attempts, 5000 if absent; that of a job which is only kept has all.
    limit: Option<usize>,
    /// Only what runs or has ended from then on, in milliseconds since 1970.
    #[serde(default)]
    since: u64,
}

async fn timeline(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    UrlQuery(asked): UrlQuery<TimelineParameters>,
) -> Answer<Timeline> {
    let job = job_of(&id)?;
    let limit = asked.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let since = UnixMillis(asked.since);
    let mut whole = Timeline { now: clock::wall(), attempts: Vec::new(), next: None };
    let mut first = asked.first;
    loop {
        match ask_or_read_attempts(&state, Query::Timeline { job, first, since }).await? {
            Told::Now(Reply::Timeline(Some(page))) => {
                whole.attempts.extend(page.attempts);
                let Some(next) = page.next else { break };
                if whole.attempts.len() >= limit {
                    whole.next = Some(next);
                    break;
                }
                first = next;
            }
            Told::Now(Reply::Timeline(None)) => {
                whole.attempts = forgotten(&state, job).await?.into_iter().map(of_kept).collect();
                break;
            }
            Told::Now(other) => return Err(unexpected(&other)),
            Told::Kept(kept) => {
                whole.attempts = kept.into_iter().map(of_kept).collect();
                break;
            }
        }
    }
    Ok(Json(whole))
}

/// The attempts of a known job whose tasks are forgotten: from its history, or else the few that
/// the core still has.
async fn forgotten(state: &ServerState, job: JobId) -> Result<Vec<AttemptHistory>, Problem> {
    if let Some(kept) = kept_attempts(state, job).await? {
        return Ok(kept);
    }
    let remembered = match state.query(Query::Attempts { job }).await? {
        Reply::Attempts(list) => list.attempts,
        other => return Err(unexpected(&other)),
    };
    let of_it = |status: AttemptStatus| AttemptHistory {
        status,
        worked_ms: None,
        counters: std::collections::BTreeMap::new(),
        log_bytes: None,
        no_log: None,
    };
    Ok(remembered.into_iter().map(of_it).collect())
}

fn of_kept(kept: AttemptHistory) -> TimelineAttempt {
    let AttemptHistory { status, counters, .. } = kept;
    let read = match status.attempt.task.kind {
        TaskKind::Map => counters.get("task.SPLIT_BYTES"),
        TaskKind::Reduce => counters.get("task.REDUCE_SHUFFLE_BYTES"),
    };
    TimelineAttempt {
        attempt: status.attempt,
        host: status.host,
        state: status.state,
        place: status.place,
        began_at: status.began_at,
        ended_at: status.ended_at,
        progress: None,
        bytes: read.copied().or(status.split.map(|split| split.length())),
        backup: false,
        failure: status.failure.map(|failure| failure.kind.as_str().to_owned()),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PartitionParameters {
    /// Where the page begins: the `next` of the one before.
    #[serde(default)]
    first: u32,
}

async fn partitions(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    UrlQuery(PartitionParameters { first }): UrlQuery<PartitionParameters>,
) -> Answer<PartitionList> {
    let job = job_of(&id)?;
    let kept = match ask_or_read_attempts(&state, Query::Partitions { job, first }).await? {
        Told::Now(Reply::Partitions(Some(partitions))) => {
            let is_full = partitions.len() == PARTITIONS_PER_PAGE as usize;
            let next = is_full.then(|| first.saturating_add(PARTITIONS_PER_PAGE));
            return Ok(Json(PartitionList { partitions, next }));
        }
        Told::Now(Reply::Partitions(None)) => forgotten(&state, job).await?,
        Told::Now(other) => return Err(unexpected(&other)),
        Told::Kept(kept) => kept,
    };
    let won = |kept: &AttemptHistory| {
        let task = kept.status.attempt.task;
        let has_won = kept.status.state == AttemptState::Succeeded;
        has_won && task.kind == TaskKind::Reduce && task.index >= first
    };
    let partitions = kept.into_iter().filter(won).map(|kept| Partition {
        partition: kept.status.attempt.task.index,
        bytes: kept.counters.get("task.REDUCE_SHUFFLE_BYTES").copied().unwrap_or_default(),
        estimate: false,
        records: kept.counters.get("task.REDUCE_INPUT_RECORDS").copied(),
        worked_ms: kept.worked_ms,
        host: Some(kept.status.host),
    });
    Ok(Json(PartitionList { partitions: partitions.collect(), next: None }))
}
