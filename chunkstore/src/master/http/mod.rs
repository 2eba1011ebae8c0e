//! The chunk master's HTTP layer: decodes, checks the caller's right, asks the core, encodes. The
//! routes are listed in the docs of `chunkstore_protocol`'s requests. No decisions; statuses are in
//! `error.rs`.

mod error;
mod files;
mod health;
mod leases;
mod logs;
mod openapi;
mod pages;
mod prometheus;
mod requester;
mod rights;
mod servers;
mod tokens;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use chunkstore_core::master::{Input, Reply};
use chunkstore_protocol::ClusterInfo;
use daemon::{Health, Metrics, Reach, Requests, Shutdown, Topology};
use ids::{ClusterId, Epoch};
use net::api::get;
use net::{Access, Guard, Json, Keyring, Problem, Routes};

use super::event_loop::CoreHandle;
use super::metrics::{REQUESTS, observe_summary, observe_topology, observe_unreached};
pub(super) use leases::Leases;
pub use openapi::openapi;

/// The state shared by the handlers. Each request gets a clone.
#[derive(Clone)]
pub(super) struct ServerState(Arc<Shared>);

impl ServerState {
    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for ServerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// See [`ServerState`].
pub(super) struct Shared {
    /// The core behind its loop.
    pub(super) core: CoreHandle,
    /// Mints the tokens of chunks.
    pub(super) keyring: Keyring,
    /// `host:port` at which others reach this master.
    pub(super) address: String,
    /// Whether it serves TLS.
    pub(super) is_tls: bool,
    /// Which cluster this is.
    pub(super) cluster: ClusterId,
    /// Writers whose renewals wait for their answers.
    pub(super) leases: Leases,
    /// The racks of hosts.
    pub(super) topology: Topology,
    /// The chunkservers that can't be reached.
    pub(super) reach: Reach,
    /// Ends waits at shutdown.
    pub(super) shutdown: Shutdown,
}

/// How long a scrape waits for the core: less than Prometheus' time limit for a scrape.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(3);

/// All routes, behind their guard.
pub(super) fn router(state: ServerState, guard: Guard, health: Health, metrics: Metrics) -> Router {
    let renewed = from_fn_with_state(state.clone(), renew_gauges);
    routes()
        .merge(daemon::routes(health, metrics))
        .map("/metrics", |methods| methods.layer(renewed))
        .into_observed_router(state, guard, Requests::new(REQUESTS).observer())
}

/// The routes below `/v1` and who may call them, as in the router; tests compare a table with it.
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
            get(cluster).summary("Tells which cluster this is.").problems(error::ASKS),
        )
        .merge(openapi::routes())
        .merge(files::routes())
        .merge(logs::routes())
        .merge(health::routes())
        .merge(servers::routes())
        .merge(prometheus::routes())
}

async fn cluster(State(state): State<ServerState>) -> Result<Json<ClusterInfo>, Problem> {
    match state.core.ask(Input::Summarise).await? {
        Reply::Summary(summary) => {
            Ok(Json(ClusterInfo { cluster: state.cluster.clone(), epoch: Epoch(summary.epoch) }))
        }
        other => Err(error::unexpected(&other)),
    }
}

/// Updates the gauges before they are read. Those of the core stay unchanged while its journal's
/// disk hangs.
async fn renew_gauges(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let summary = tokio::time::timeout(SCRAPE_PATIENCE, state.core.ask(Input::Summarise)).await;
    if let Ok(Ok(Reply::Summary(summary))) = summary {
        observe_summary(&summary);
    }
    observe_topology(state.topology.is_wrong().await);
    observe_unreached(state.reach.n_unreached());
    next.run(request).await
}
