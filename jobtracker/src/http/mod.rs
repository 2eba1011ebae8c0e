//! The JobTracker's HTTP layer: decodes, checks the caller's rights, asks the core, encodes. It
//! makes no decisions; `error.rs` assigns statuses. `howdah openapi jobtracker` lists the routes.

mod error;
mod events;
mod explain;
mod files;
mod history;
mod hosts;
mod job_body;
mod jobs;
mod logs;
mod openapi;
mod pools;
mod prometheus;
mod range;
mod timeline;
mod trackers;
mod web;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use daemon::{Health, Metrics, Reach, Requests, Topology};
use jobtracker_core::{Input, Query, Reply};
use mapreduce_protocol::JobtrackerInfo;
use net::api::get;
use net::{Access, Guard, Json, Problem, Routes};

use crate::event_loop::{AskError, CoreHandle};
use crate::events::Events;
use crate::metrics::{
    REQUESTS, observe_listeners, observe_summary, observe_topology, observe_unreached,
};
use crate::store::Store;
pub(crate) use files::Transfers;
pub(crate) use history::HistoryReads;
pub use openapi::openapi;

/// How long a scrape waits for the core; shorter than Prometheus' own time-out.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(3);

/// The state that handlers share.
#[derive(Clone)]
pub(crate) struct ServerState {
    /// The core behind its loop.
    pub(crate) core: CoreHandle,
    /// The chunk store, for checks before a job is submitted.
    pub(crate) store: Store,
    /// The racks of hosts.
    pub(crate) topology: Topology,
    /// TaskTrackers that cannot be reached.
    pub(crate) reach: Reach,
    /// The `host:port` at which others reach this JobTracker.
    pub(crate) address: String,
    /// Whether it serves TLS.
    pub(crate) is_tls: bool,
    /// The listeners to events.
    pub(crate) events: Events,
    /// Permits for file transfers.
    pub(crate) transfers: Transfers,
    /// Permits for reading histories.
    pub(crate) history_reads: HistoryReads,
}

/// All routes behind the access guard.
pub(crate) fn router(state: ServerState, guard: Guard, health: Health, metrics: Metrics) -> Router {
    let renewed = from_fn_with_state(state.clone(), renew_gauges);
    routes()
        .merge(daemon::routes(health, metrics))
        .map("/metrics", |methods| methods.layer(renewed))
        .into_observed_router(state, guard, Requests::new(REQUESTS).observer())
}

/// The routes below `/v1` and their access rules, for tests that compare them with a table.
#[must_use]
pub fn access() -> Vec<(&'static str, net::Access)> {
    routes().list().collect()
}

/// The routes of `/v1`.
fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/cluster",
            Access::ANY_ROLE,
            get(cluster)
                .summary("Tells which cluster this is, and how busy.")
                .problems(error::ASKS),
        )
        .merge(openapi::routes())
        .merge(jobs::routes())
        .merge(hosts::routes())
        .merge(pools::routes())
        .merge(explain::routes())
        .merge(history::routes())
        .merge(timeline::routes())
        .merge(logs::routes())
        .merge(events::routes())
        .merge(files::routes())
        .merge(web::routes())
        .merge(prometheus::routes())
        .merge(trackers::routes())
}

async fn cluster(State(state): State<ServerState>) -> Result<Json<JobtrackerInfo>, Problem> {
    match state.query(Query::Cluster).await? {
        Reply::Cluster(info) => Ok(Json(info)),
        other => Err(error::unexpected(&other)),
    }
}

impl ServerState {
    async fn query(&self, query: Query) -> Result<Reply, Problem> {
        Ok(self.ask(query).await?)
    }

    async fn ask(&self, query: Query) -> Result<Reply, AskError> {
        self.core.ask(|reply_to| Input::Query { query, reply_to }).await
    }
}

/// Updates the gauges before they are read. The core's gauges keep their values while its journal's
/// disk hangs.
async fn renew_gauges(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let summary = tokio::time::timeout(SCRAPE_PATIENCE, state.query(Query::Summary)).await;
    if let Ok(Ok(Reply::Summary(summary))) = summary {
        observe_summary(&summary);
    }
    observe_listeners(state.events.n_listeners());
    observe_topology(state.topology.is_wrong().await);
    observe_unreached(state.reach.n_unreached());
    next.run(request).await
}
