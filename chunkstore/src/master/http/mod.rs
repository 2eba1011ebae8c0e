//! The chunk master's HTTP: decode, check the caller's right, ask the core, encode. Routes stand in the
//! docs of `chunkstore_protocol`'s requests. No decisions; statuses are `error.rs`'.

mod error;
mod files;
mod health;
mod leases;
mod logs;
mod pages;
mod requester;
mod rights;
mod servers;
mod tokens;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use chunkstore_core::master::{Input, Reply};
use chunkstore_protocol::ClusterInfo;
use clock::Stopwatch;
use daemon::{Health, Metrics, Shutdown};
use ids::{ClusterId, Epoch};
use net::{Access, Guard, Json, Keyring, Problem, Role, Routes};

use super::event_loop::Core;
use super::metrics::{observe_request, observe_summary};
pub(super) use leases::Leases;

/// What handlers share.
#[derive(Clone)]
pub(super) struct ServerState {
    /// The core behind its loop.
    pub(super) core: Core,
    /// Mints the tokens of chunks.
    pub(super) keyring: Keyring,
    /// Which cluster this is.
    pub(super) cluster: ClusterId,
    /// Writers whose renewals wait for their answers.
    pub(super) leases: Leases,
    /// Ends waits.
    pub(super) shutdown: Shutdown,
}

const ANY_ROLE: Access =
    Access::Roles(&[Role::User, Role::Task, Role::Tracker, Role::Server, Role::Master]);

/// All routes behind their guard.
pub(super) fn router(state: ServerState, guard: Guard, health: Health, metrics: Metrics) -> Router {
    let observed = from_fn_with_state(state.clone(), observe);
    routes().merge(daemon::routes(health, metrics)).into_router(state, guard).layer(observed)
}

/// The routes of `/v1`.
fn routes() -> Routes<ServerState> {
    Routes::new()
        .route("/v1/cluster", ANY_ROLE, get(cluster))
        .merge(files::routes())
        .merge(logs::routes())
        .merge(health::routes())
        .merge(servers::routes())
}

async fn cluster(State(state): State<ServerState>) -> Result<Json<ClusterInfo>, Problem> {
    match state.core.ask(Input::Summarise).await? {
        Reply::Summary(summary) => {
            Ok(Json(ClusterInfo { cluster: state.cluster, epoch: Epoch(summary.epoch) }))
        }
        other => Err(error::unexpected(&other)),
    }
}

/// Measures every request, and renews the gauges before they are read.
async fn observe(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let stopwatch = Stopwatch::start();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    if route.as_deref() == Some("/metrics")
        && let Ok(Reply::Summary(summary)) = state.core.ask(Input::Summarise).await
    {
        observe_summary(&summary);
    }
    let response = next.run(request).await;
    // Paths that are no routes must not become labels.
    let route = route.as_deref().unwrap_or("none");
    observe_request(route, response.status().as_u16(), stopwatch.elapsed());
    response
}
