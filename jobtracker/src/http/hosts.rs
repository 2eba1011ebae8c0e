//! Users' routes: the hosts of TaskTrackers.

use axum::extract::State;
use ids::HostName;
use jobtracker_core::{Input, Query, Reply};
use mapreduce_protocol::{HostList, HostStatus};
use net::api::{Methods, get, post};
use net::{Access, Caller, Json, Path, Problem, Query as UrlQuery, Routes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerState;
use super::error::{ASKS, CHANGES, NO_SUCH, bad_host, unexpected};

/// The resource that a caller's token must cover to read what may belong to anybody.
pub(super) const EVERYWHERE: &str = "/";

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/hosts",
            Access::USERS,
            get(list).summary("Lists the hosts of TaskTrackers.").problems(ASKS),
        )
        .route(
            "/v1/hosts/{host}",
            Access::USERS,
            get(status).summary("Tells of one host.").problems(NO_SUCH).problems(ASKS),
        )
        .route(
            "/v1/hosts/{host}/drain",
            Access::USERS,
            change(post(drain), "Launches nothing more there."),
        )
        .route(
            "/v1/hosts/{host}/undrain",
            Access::USERS,
            change(post(undrain), "Launches there again."),
        )
        .route(
            "/v1/hosts/{host}/forgive",
            Access::USERS,
            change(post(forgive), "Forgets what speaks against a host."),
        )
}

fn change(methods: Methods<ServerState>, summary: &'static str) -> Methods<ServerState> {
    methods.summary(summary).problems(NO_SUCH).problems(CHANGES)
}

async fn list(State(state): State<ServerState>) -> Result<Json<HostList>, Problem> {
    match state.query(Query::Hosts { only: None }).await? {
        Reply::Hosts(list) => Ok(Json(with_reach(&state, list))),
        other => Err(unexpected(&other)),
    }
}

/// Adds what the core does not know: which hosts this JobTracker cannot reach.
fn with_reach(state: &ServerState, mut list: HostList) -> HostList {
    for status in &mut list.hosts {
        status.unreached = state.reach.unreached(&status.host);
    }
    list
}

async fn status(
    State(state): State<ServerState>,
    Path(host): Path<String>,
) -> Result<Json<HostStatus>, Problem> {
    let only = Some(host_of(&host)?);
    let reply = state.query(Query::Hosts { only }).await?;
    host_status(&state, reply)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DrainParameters {
    /// Whether what runs there is to end now.
    #[serde(default)]
    kill: bool,
}

/// Requires a superuser.
async fn drain(
    State(state): State<ServerState>,
    caller: Caller,
    Path(host): Path<String>,
    UrlQuery(DrainParameters { kill }): UrlQuery<DrainParameters>,
) -> Result<Json<HostStatus>, Problem> {
    let host = host_of(&host)?;
    caller.require_superuser()?;
    let drain = |reply_to| Input::Drain { host, kill, reply_to };
    let reply = state.core.ask(drain).await?;
    host_status(&state, reply)
}

/// Replies with an empty list if the host is not registered and so no longer known.
async fn undrain(
    State(state): State<ServerState>,
    caller: Caller,
    Path(host): Path<String>,
) -> Result<Json<HostList>, Problem> {
    let host = host_of(&host)?;
    caller.require_superuser()?;
    match state.core.ask(|reply_to| Input::Undrain { host, reply_to }).await? {
        Reply::Hosts(list) => Ok(Json(with_reach(&state, list))),
        other => Err(unexpected(&other)),
    }
}

/// Requires a superuser.
async fn forgive(
    State(state): State<ServerState>,
    caller: Caller,
    Path(host): Path<String>,
) -> Result<Json<HostStatus>, Problem> {
    let host = host_of(&host)?;
    caller.require_superuser()?;
    let reply = state.core.ask(|reply_to| Input::Forgive { host, reply_to }).await?;
    host_status(&state, reply)
}

fn host_status(state: &ServerState, reply: Reply) -> Result<Json<HostStatus>, Problem> {
    match reply {
        Reply::Hosts(list) if list.hosts.len() == 1 => {
            Ok(Json(with_reach(state, list).hosts.remove(0)))
        }
        other => Err(unexpected(&other)),
    }
}

fn host_of(host: &str) -> Result<HostName, Problem> {
    host.parse().map_err(|error| bad_host(&error))
}
