//! The routes by which people look after the chunkservers and their files. To change what belongs
//! to the cluster takes the right to write everywhere; to check files takes the right to read them.
//! Long answers are assembled here from the core's steps, so that other requests are handled in
//! between.

use axum::extract::State;
use chunkstore_core::master::{Mutation, Query, Reply};
use chunkstore_protocol::{
    ClusterReport, DeleteOrphans, Done, DrainServer, ForgetServer, Fsck, FsckPage, OrphansDeleted,
    Report,
};
use net::api::post;
use net::{Access, Caller, Json, Problem, Right, Routes};

use super::ServerState;
use super::error::{ASKS, CHANGES, FORGETS, LOOKS, NO_SERVER, unexpected};
use super::files::done;

/// The core's steps for one page of a check.
const FSCK_STEPS: usize = 50;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/servers/report",
            Access::USERS,
            post(report).summary("Tells of chunkservers, disks, space and repairs.").problems(ASKS),
        )
        .route(
            "/v1/servers/drain",
            Access::USERS,
            post(drain)
                .summary("Empties a chunkserver, or stops doing so.")
                .problems(NO_SERVER)
                .problems(CHANGES),
        )
        .route(
            "/v1/servers/delete_orphans",
            Access::USERS,
            post(delete_orphans)
                .summary("Has a chunkserver delete what no file refers to.")
                .problems(NO_SERVER)
                .problems(CHANGES),
        )
        .route(
            "/v1/servers/forget",
            Access::USERS,
            post(forget)
                .summary("Forgets a chunkserver that does not come back.")
                .problems(NO_SERVER)
                .problems(FORGETS)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/fsck",
            Access::USERS,
            post(fsck).summary("Checks the chunks of files, page by page.").problems(LOOKS),
        )
}

async fn report(
    State(state): State<ServerState>,
    Json(request): Json<Report>,
) -> Result<Json<ClusterReport>, Problem> {
    whole_report(&state, request).await.map(Json)
}

/// The report on the whole cluster, or on what comes after a host.
pub(super) async fn whole_report(
    state: &ServerState,
    request: Report,
) -> Result<ClusterReport, Problem> {
    let mut whole = one_report(state, request).await?;
    while let Some(after) = whole.next.take() {
        let more = one_report(state, Report { after: Some(after) }).await?;
        whole.servers.extend(more.servers);
        whole.next = more.next;
    }
    Ok(whole)
}

async fn one_report(state: &ServerState, request: Report) -> Result<ClusterReport, Problem> {
    match state.query(Query::Report(request)).await? {
        Reply::Report(mut report) => {
            // The core does not know which servers this master can reach.
            for server in &mut report.servers {
                server.unreached = state.reach.unreached(&server.host);
            }
            Ok(report)
        }
        other => Err(unexpected(&other)),
    }
}

async fn delete_orphans(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<DeleteOrphans>,
) -> Result<Json<OrphansDeleted>, Problem> {
    caller.require_superuser()?;
    match state.query(Query::DeleteOrphans(request)).await? {
        Reply::OrphansDeleted(deleted) => Ok(Json(deleted)),
        other => Err(unexpected(&other)),
    }
}

async fn fsck(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Fsck>,
) -> Result<Json<FsckPage>, Problem> {
    caller.require(Right::Read, request.path.as_str())?;
    let mut page = one_fsck(&state, request.clone()).await?;
    let mut left = request.limit - n_bad(&page);
    for _ in 1..FSCK_STEPS {
        if left == 0 || page.next.is_none() {
            break;
        }
        let next = Fsck { after: page.next.take(), limit: left, ..request.clone() };
        let more = one_fsck(&state, next).await?;
        left -= n_bad(&more);
        page.files.extend(more.files);
        page.checked += more.checked;
        page.next = more.next;
    }
    Ok(Json(page))
}

/// Bad chunks on a page; at most as many as its limit.
fn n_bad(page: &FsckPage) -> u32 {
    page.files.iter().map(|file| u32::try_from(file.chunks.len()).unwrap_or(u32::MAX)).sum()
}

async fn one_fsck(state: &ServerState, request: Fsck) -> Result<FsckPage, Problem> {
    match state.query(Query::Fsck(request)).await? {
        Reply::Fsck(page) => Ok(page),
        other => Err(unexpected(&other)),
    }
}

async fn drain(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<DrainServer>,
) -> Result<Json<Done>, Problem> {
    caller.require_superuser()?;
    done(state.mutate(&caller, Mutation::Drain(request)).await?)
}

async fn forget(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<ForgetServer>,
) -> Result<Json<Done>, Problem> {
    caller.require_superuser()?;
    done(state.mutate(&caller, Mutation::Forget(request)).await?)
}
