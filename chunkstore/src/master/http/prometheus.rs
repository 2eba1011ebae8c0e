//! The route by which Prometheus discovers the chunkservers. The JobTracker lists the TaskTrackers.

use axum::extract::State;
use chunkstore_protocol::{Report, ServerReport};
use daemon::TargetGroup;
use net::api::get;
use net::{Access, Json, Problem, Routes};

use super::ServerState;
use super::error::ASKS;
use super::health::whole_report;

pub(super) fn routes() -> Routes<ServerState> {
    let targets = get(targets)
        .summary(
            "Lists the daemons that Prometheus is to scrape, in the JSON of its `http_sd_config`.",
        )
        .problems(ASKS);
    Routes::new().route("/v1/prometheus/targets", Access::USERS, targets)
}

/// The address of a server that has not registered since the master started is not known.
async fn targets(State(state): State<ServerState>) -> Result<Json<Vec<TargetGroup>>, Problem> {
    let report = whole_report(&state, Report { after: None }).await?;
    let master = TargetGroup::of_master("chunkmaster", &state.address);
    let server = |server: &ServerReport| {
        let (rack, address) = (server.rack.as_ref(), server.address.as_deref()?);
        Some(TargetGroup::of_host("chunkserver", &server.host, rack, address))
    };
    let servers = report.servers.iter().filter_map(server);
    let targets = std::iter::once(master).chain(servers);
    Ok(Json(targets.map(|target| target.by_tls(state.is_tls)).collect()))
}
