//! Users' route: the scrape targets for Prometheus. The chunk master lists the chunkservers.

use axum::extract::State;
use daemon::TargetGroup;
use jobtracker_core::{Query, Reply};
use mapreduce_protocol::HostStatus;
use net::api::get;
use net::{Access, Json, Problem, Routes};

use super::ServerState;
use super::error::{ASKS, unexpected};

pub(super) fn routes() -> Routes<ServerState> {
    let targets = get(targets)
        .summary(
            "Lists the daemons that Prometheus is to scrape, in the JSON of its `http_sd_config`.",
        )
        .problems(ASKS);
    Routes::new().route("/v1/prometheus/targets", Access::USERS, targets)
}

/// Hosts that are drained and gone have no address, so they are left out.
async fn targets(State(state): State<ServerState>) -> Result<Json<Vec<TargetGroup>>, Problem> {
    let hosts = match state.query(Query::Hosts { only: None }).await? {
        Reply::Hosts(list) => list.hosts,
        other => return Err(unexpected(&other)),
    };
    let masters = [
        TargetGroup::of_master("chunkmaster", state.store.master()),
        TargetGroup::of_master("jobtracker", &state.address),
    ];
    let tracker = |status: &HostStatus| {
        let (rack, address) = (status.rack.as_ref(), status.address.as_deref()?);
        Some(TargetGroup::of_host("tasktracker", &status.host, rack, address))
    };
    let targets = masters.into_iter().chain(hosts.iter().filter_map(tracker));
    Ok(Json(targets.map(|target| target.by_tls(state.is_tls)).collect()))
}
