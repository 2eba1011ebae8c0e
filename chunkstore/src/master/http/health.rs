//! The routes by which people look after the chunkservers. Whoever changes what belongs to the cluster
//! needs the right to write everywhere.

use axum::extract::State;
use axum::routing::post;
use chunkstore_core::master::Mutation;
use chunkstore_protocol::{Done, ForgetServer};
use net::{Access, Caller, Json, Problem, Right, Role, Routes};

use super::ServerState;
use super::files::done;

const PEOPLE: Access = Access::Roles(&[Role::User, Role::Master]);
/// The right that covers all.
const EVERYWHERE: &str = "/";

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new().route("/v1/servers/forget", PEOPLE, post(forget))
}

async fn forget(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<ForgetServer>,
) -> Result<Json<Done>, Problem> {
    caller.require(Right::Write, EVERYWHERE)?;
    done(state.mutate(&caller, Mutation::Forget(request)).await?)
}
