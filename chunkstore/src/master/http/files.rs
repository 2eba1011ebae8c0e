//! Clients' routes: the namespace and the life of files. A request that names a path needs a right
//! to it (for changes, see `rights.rs`); one that names an open file is checked by its lease, whose
//! holder had the right. Stamps and leases belong to their caller: see `requester.rs`.

use std::time::Duration;

use axum::extract::State;
use chunkstore_core::master::{Asker, Input, Intent, Mutation, Query, Reply, RequestDigest};
use chunkstore_protocol::{
    Abandon, Allocate, Allocation, Append, Close, Concat, Copy, Count, Counted, Create, Created,
    Delete, Done, FileStatus, List, Listing, Locate, LocateMany, Located, LocatedMany, MayMake,
    Mkdir, PathLocation, Publish, Rename, Renew, SetOwner, SetReplication, Stat, StorePath,
};
use net::api::post;
use net::{Access, Caller, Json, Problem, Role, Routes};

use super::error::{ASKS, CHANGES, HOLDS, LOOKS, OPENS, REPLACES, unexpected};
use super::requester::{authority_of, client_of, digest_of, owner_of};
use super::rights::{Change, check_owner, may_change, may_look, may_move, may_put};
use super::tokens::Mint;
use super::{ServerState, pages};

pub(super) const CLIENTS: Access =
    Access::Roles(&[Role::User, Role::Task, Role::Tracker, Role::Master]);
/// How long the answer to a renewal may be held back.
const RENEW_WAIT_MAX: Duration = Duration::from_mins(1);
pub(super) type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn routes() -> Routes<ServerState> {
    names().merge(writes()).merge(changes()).merge(attributes())
}

/// Routes that read the namespace.
fn names() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/files/stat",
            CLIENTS,
            post(stat).summary("Tells what stands at a path.").problems(LOOKS),
        )
        .route(
            "/v1/files/list",
            CLIENTS,
            post(list).summary("Lists a folder, page by page.").problems(LOOKS),
        )
        .route(
            "/v1/files/count",
            CLIENTS,
            post(count).summary("Counts what stands at and below a path.").problems(LOOKS),
        )
        .route(
            "/v1/files/locate",
            CLIENTS,
            post(locate).summary("Tells where the chunks of a file lie.").problems(LOOKS).problems(REPLACES),
        )
        .route(
            "/v1/files/locate_many",
            CLIENTS,
            post(locate_many).summary("Tells where the chunks of many files lie, or what is wrong with each.").problems(ASKS),
        )
        .route(
            "/v1/files/may_make",
            CLIENTS,
            post(may_make).summary("Tells whether the caller may make something at a path, as far as owners matter.").problems(LOOKS),
        )
}

/// Routes for the life of a file that is being written.
fn writes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/files/create",
            CLIENTS,
            post(create)
                .summary("Makes a file, whose writer holds its lease.")
                .problems(LOOKS)
                .problems(OPENS)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/append",
            CLIENTS,
            post(append)
                .summary("Opens a file for more bytes at its end.")
                .problems(LOOKS)
                .problems(OPENS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/allocate",
            CLIENTS,
            post(allocate)
                .summary("Gives the writer of a file its next chunk.")
                .problems(HOLDS)
                .problems(OPENS)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/close",
            CLIENTS,
            post(close)
                .summary("Ends the writing of a file, which is whole from then on.")
                .problems(HOLDS)
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/abandon",
            CLIENTS,
            post(abandon)
                .summary("Gives up the writing of a file.")
                .problems(HOLDS)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/renew",
            CLIENTS,
            post(renew)
                .summary("Keeps the leases of files that are being written.")
                .problems(HOLDS)
                .problems(ASKS),
        )
}

/// Routes that change the namespace.
fn changes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/files/mkdir",
            CLIENTS,
            post(mkdir)
                .summary("Makes a folder.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/rename",
            CLIENTS,
            post(rename)
                .summary("Gives what stands at a path another path.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/copy",
            CLIENTS,
            post(copy)
                .summary("Makes another file of the same chunks; no byte moves.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/concat",
            CLIENTS,
            post(concat)
                .summary(
                    "Makes one file of the chunks of several, which are gone then; no byte moves.",
                )
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/delete",
            CLIENTS,
            post(delete)
                .summary(
                    "Removes what stands at a path; what users remove lies in the trash first.",
                )
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/publish",
            CLIENTS,
            post(publish)
                .summary("Makes a job's output appear, in one transaction.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
}

/// Routes that change the attributes of entries.
fn attributes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/files/set_replication",
            CLIENTS,
            post(set_replication)
                .summary("Has a file kept on so many servers.")
                .problems(LOOKS)
                .problems(REPLACES)
                .problems(CHANGES),
        )
        .route(
            "/v1/files/set_owner",
            Access::USERS,
            post(set_owner)
                .summary("Gives what stands at a path to another user.")
                .problems(LOOKS)
                .problems(CHANGES),
        )
}

async fn create(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Create>,
) -> Answer<Created> {
    may_change(&caller, Change::Put(&request.path))?;
    created(&state, &caller, Mutation::Create(request)).await
}

async fn append(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Append>,
) -> Answer<Created> {
    may_change(&caller, Change::Alter(&request.path))?;
    created(&state, &caller, Mutation::Append(request)).await
}

async fn created(state: &ServerState, caller: &Caller, request: Mutation) -> Answer<Created> {
    match state.mutate(caller, request).await? {
        Reply::Created(mut created) => {
            created.allocation.token = Mint::new(&state.keyring, caller).write(&created.allocation);
            Ok(Json(created))
        }
        other => Err(unexpected(&other)),
    }
}

async fn allocate(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Allocate>,
) -> Answer<Allocation> {
    match state.mutate(&caller, Mutation::Allocate(request)).await? {
        Reply::Allocated(mut allocation) => {
            allocation.token = Mint::new(&state.keyring, &caller).write(&allocation);
            Ok(Json(allocation))
        }
        other => Err(unexpected(&other)),
    }
}

async fn close(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Close>,
) -> Answer<FileStatus> {
    // Whoever holds the lease had the right to the file when it began; but not to another name.
    if let Some(into) = &request.into {
        may_put(&caller, &into.path, into.replace)?;
    }
    status(state.mutate(&caller, Mutation::Close(request)).await?)
}

async fn abandon(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Abandon>,
) -> Answer<Done> {
    done(state.mutate(&caller, Mutation::Abandon(request)).await?)
}

async fn renew(
    State(state): State<ServerState>,
    caller: Caller,
    Json(mut request): Json<Renew>,
) -> Answer<Done> {
    super::Leases::check(&request)?;
    request.client = client_of(&caller.capability, &request.client);
    let watch = state.leases.watch(&state.core, &request);
    let wait = Duration::from_millis(request.wait_ms).min(RENEW_WAIT_MAX);
    let renewed = state.query(Query::Renew(request)).await;
    if renewed.is_ok() {
        // A master that is shutting down does not wait for anybody.
        let _time_is_over = tokio::time::timeout(wait, state.shutdown.wait()).await;
    }
    watch.answered();
    done(renewed?)
}

async fn stat(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Stat>,
) -> Answer<FileStatus> {
    may_look(&caller, &request.path)?;
    status(state.query(Query::Stat(request)).await?)
}

async fn list(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<List>,
) -> Answer<Listing> {
    may_look(&caller, &request.path)?;
    pages::list(&state, request).await.map(Json)
}

async fn locate(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Locate>,
) -> Answer<Located> {
    may_look(&caller, &request.path)?;
    let mut located = pages::locate(&state, request).await?;
    let mint = Mint::new(&state.keyring, &caller);
    for location in &mut located.chunks {
        location.token = mint.read(location.chunk);
    }
    if let Some(open) = &mut located.open_log {
        open.token = mint.read(open.chunk);
    }
    Ok(Json(located))
}

async fn locate_many(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<LocateMany>,
) -> Answer<LocatedMany> {
    let mut files = pages::locate_many(&state, &caller, request.paths).await?;
    let mint = Mint::new(&state.keyring, &caller);
    for file in &mut files {
        if let PathLocation::Located(located) = file {
            located.chunks.iter_mut().for_each(|chunk| chunk.token = mint.read(chunk.chunk));
        }
    }
    Ok(Json(LocatedMany { files }))
}

async fn count(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Count>,
) -> Answer<Counted> {
    may_look(&caller, &request.path)?;
    pages::count(&state, request.path).await.map(Json)
}

async fn mkdir(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Mkdir>,
) -> Answer<Done> {
    may_change(&caller, Change::MakeFolder(&request.path))?;
    done(state.mutate(&caller, Mutation::Mkdir(request)).await?)
}

async fn rename(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Rename>,
) -> Answer<Done> {
    may_move(&caller, &request.from, &request.to, request.replace)?;
    done(state.mutate(&caller, Mutation::Rename(request)).await?)
}

async fn copy(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Copy>,
) -> Answer<FileStatus> {
    may_look(&caller, &request.from)?;
    may_put(&caller, &request.to, request.replace)?;
    status(state.mutate(&caller, Mutation::Copy(request)).await?)
}

async fn concat(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Concat>,
) -> Answer<FileStatus> {
    for part in &request.parts {
        may_change(&caller, Change::Remove(part))?;
    }
    may_put(&caller, &request.to, request.replace)?;
    status(state.mutate(&caller, Mutation::Concat(request)).await?)
}

async fn set_replication(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<SetReplication>,
) -> Answer<Done> {
    may_change(&caller, Change::Put(&request.path))?;
    done(state.mutate(&caller, Mutation::SetReplication(request)).await?)
}

async fn set_owner(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<SetOwner>,
) -> Answer<Done> {
    caller.require_superuser()?;
    may_change(&caller, Change::Alter(&request.path))?;
    check_owner(state.keyring.users(), &request.owner)?;
    done(state.mutate(&caller, Mutation::SetOwner(request)).await?)
}

async fn may_make(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<MayMake>,
) -> Answer<Done> {
    let caller = caller.only_asking();
    may_change(&caller, Change::Put(&request.path))?;
    state.check_intent(&caller, Intent::Make, request.path).await
}

async fn delete(
    State(state): State<ServerState>,
    caller: Caller,
    Json(mut request): Json<Delete>,
) -> Answer<Done> {
    // Only people may want back what they remove.
    request.skip_trash |= caller.capability.role != Role::User;
    may_change(&caller, Change::Remove(&request.path))?;
    done(state.mutate(&caller, Mutation::Delete(request)).await?)
}

async fn publish(
    State(state): State<ServerState>,
    caller: Caller,
    Json(request): Json<Publish>,
) -> Answer<Done> {
    may_change(&caller, Change::Remove(&request.staging))?;
    may_change(&caller, Change::MakeFolder(&request.target))?;
    done(state.mutate(&caller, Mutation::Publish(request)).await?)
}

impl ServerState {
    pub(super) async fn mutate(
        &self,
        caller: &Caller,
        mut request: Mutation,
    ) -> Result<Reply, Problem> {
        let stamp = request.stamp_mut();
        stamp.client = client_of(&caller.capability, &stamp.client);
        let asker = self.asker(caller, &request);
        Ok(self.core.ask(|to| Input::Mutate(to, asker, request)).await?)
    }

    /// The caller of a mutation. A master acts for the user whose job it ends.
    fn asker(&self, caller: &Caller, request: &Mutation) -> Asker {
        let digest = digest_of(request);
        match request {
            Mutation::Publish(Publish { owner: Some(owner), .. })
                if caller.capability.role == Role::Master =>
            {
                let standing = self.keyring.users().standing_of(owner);
                Asker { digest, owner: owner.clone(), may: authority_of(standing) }
            }
            _ => {
                let (owner, may) = (owner_of(&caller.capability), authority_of(caller.standing));
                Asker { digest, owner, may }
            }
        }
    }

    /// Checks that ownership would not forbid a change.
    pub(super) async fn check_intent(
        &self,
        caller: &Caller,
        intent: Intent,
        path: StorePath,
    ) -> Answer<Done> {
        let (owner, may) = (owner_of(&caller.capability), authority_of(caller.standing));
        let asker = Asker { digest: RequestDigest(0), owner, may };
        done(self.query(Query::May(asker, intent, path)).await?)
    }

    pub(super) async fn query(&self, request: Query) -> Result<Reply, Problem> {
        Ok(self.core.query(request).await?)
    }
}

pub(super) fn status(reply: Reply) -> Answer<FileStatus> {
    match reply {
        Reply::Status(status) => Ok(Json(status)),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn done(reply: Reply) -> Answer<Done> {
    match reply {
        Reply::Done => Ok(Json(Done {})),
        other => Err(unexpected(&other)),
    }
}
