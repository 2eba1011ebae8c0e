//! Logs' routes: clients create and open logs, and the servers of their chunks report how these
//! begin and end. A right to the log's path is a right to its open chunk.

use axum::extract::State;
use chunkstore_core::master::{Input, Intent, LogRequest, Mutation, Reply};
use chunkstore_protocol::{
    BeginLog, BegunLog, CreateLog, Done, EndLog, FileStatus, OpenLog, OpenedLog,
};
use net::api::post;
use net::{Access, Caller, Json, Problem, Role, Routes};

use super::ServerState;
use super::error::{CHANGES, HOLDS, LOOKS, OPENS, REGISTERS, REPLACES, unexpected};
use super::files::{Answer, CLIENTS, done, status};
use super::rights::{Change, may_change};
use super::tokens::Mint;

pub(super) fn routes() -> Routes<ServerState> {
    const SERVERS: Access = Access::Roles(&[Role::Server]);
    Routes::new()
        .route(
            "/v1/logs/create",
            CLIENTS,
            post(create)
                .summary("Makes a log: a file that many append records to at once.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/logs/open",
            CLIENTS,
            post(open)
                .summary("Tells the open chunk of a log.")
                .problems(LOOKS)
                .problems(OPENS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/logs/begin",
            SERVERS,
            post(begin)
                .summary("Tells that the open chunk of a log may hold records.")
                .problems(HOLDS)
                .problems(REGISTERS)
                .problems(CHANGES),
        )
        .route(
            "/v1/logs/end",
            SERVERS,
            post(end)
                .summary("Tells how the open chunk of a log has ended.")
                .problems(HOLDS)
                .problems(REGISTERS)
                .problems(CHANGES),
        )
}

async fn create(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<CreateLog>,
) -> Answer<FileStatus> {
    may_change(&caller, Change::Put(&request.path))?;
    status(state.mutate(&caller, Mutation::CreateLog(request)).await?)
}

async fn open(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<OpenLog>,
) -> Answer<OpenedLog> {
    may_change(&caller, Change::Alter(&request.path))?;
    state.check_intent(&caller, Intent::Change, request.path.clone()).await?;
    match ask(&state, LogRequest::Open(request)).await? {
        Reply::OpenedLog(mut opened) => {
            let token = Mint::new(&state.keyring, &caller).write(&opened.allocation);
            opened.allocation.token = token;
            Ok(Json(opened))
        }
        other => Err(unexpected(&other)),
    }
}

async fn begin(
    State(state): State<ServerState>,
    Json(request): Json<BeginLog>,
) -> Answer<BegunLog> {
    match ask(&state, LogRequest::Begin(request)).await? {
        Reply::BegunLog(begun) => Ok(Json(begun)),
        other => Err(unexpected(&other)),
    }
}

async fn end(State(state): State<ServerState>, Json(request): Json<EndLog>) -> Answer<Done> {
    done(ask(&state, LogRequest::End(request)).await?)
}

async fn ask(state: &ServerState, request: LogRequest) -> Result<Reply, Problem> {
    Ok(state.core.ask(|to| Input::Log(to, request)).await?)
}
