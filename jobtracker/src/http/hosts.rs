//! Users' routes: the hosts of TaskTrackers.

use axum::extract::{Path, State};
use axum::routing::get;
use ids::HostName;
use jobtracker_core::{Query, Reply};
use mapreduce_protocol::{HostList, HostStatus};
use net::{Access, Json, Problem, Role, Routes};

use super::ServerState;
use super::error::{bad_host, unexpected};

const USERS: Access = Access::Roles(&[Role::User, Role::Master]);

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new().route("/v1/hosts", USERS, get(list)).route("/v1/hosts/{host}", USERS, get(status))
}

async fn list(State(state): State<ServerState>) -> Result<Json<HostList>, Problem> {
    match state.query(Query::Hosts { only: None }).await? {
        Reply::Hosts(list) => Ok(Json(list)),
        other => Err(unexpected(&other)),
    }
}

async fn status(
    State(state): State<ServerState>,
    Path(host): Path<String>,
) -> Result<Json<HostStatus>, Problem> {
    let only = Some(host_of(&host)?);
    host_status(state.query(Query::Hosts { only }).await?)
}

fn host_status(reply: Reply) -> Result<Json<HostStatus>, Problem> {
    match reply {
        Reply::Hosts(HostList { hosts }) if hosts.len() == 1 => {
            Ok(Json(hosts.into_iter().next().expect("there is one")))
        }
        other => Err(unexpected(&other)),
    }
}

fn host_of(host: &str) -> Result<HostName, Problem> {
    host.parse().map_err(|error| bad_host(&error))
}
