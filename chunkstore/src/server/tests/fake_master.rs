//! A chunk master of a few hundred lines for the tests of chunkservers and clients: keeps everything in
//! memory, trusts everybody who is registered, and has knobs for what a real one does in bad times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::routing::post;
use chunkstore_protocol::{
    Abandon, Allocate, Allocation, BrokenChunks, ChunkId, ChunkLocation, Close, Create, Created,
    DiskState, Done, FileId, FileKind, FileStatus, Locate, Located, PROTOCOL_VERSION, ProblemKind,
    Purgeable, RegisterServer, Renew, ReplicaEvent, SealedChunk, ServerAddress, ServerCommand,
    ServerHeartbeat, ServerHeartbeatReply, ServerRegistered, Stat, StorePath, Version,
};
use ids::{Epoch, HostName, Inbox, Outbox, UnixMillis};
use net::{Access, Capability, Grant, Guard, Json, Keyring, Problem, Right, Role, Routes};

/// Everything that the fake knows.
#[derive(Default)]
pub(super) struct Book {
    pub(super) servers: BTreeMap<HostName, Known>,
    pub(super) files: BTreeMap<FileId, File>,
    pub(super) epoch: u64,
    /// Events as they arrived.
    pub(super) events: Vec<(HostName, ReplicaEvent)>,
    pub(super) n_registrations: u64,
    /// Calls about files, by route.
    pub(super) calls: Vec<&'static str>,
    pub(super) excluded: Vec<Vec<HostName>>,
    /// Chunks whose broken replicas may go.
    pub(super) purgeable: BTreeSet<ChunkId>,
    /// Files whose lease was renewed, in order.
    pub(super) renewed: Vec<FileId>,
    /// Chunks that one answer says the place of, at most.
    pub(super) locate_chunks_max: usize,
    /// Refuse so many of the next calls about files as if starting.
    pub(super) unavailable: u32,
    pub(super) cluster: String,
    pub(super) replication: u8,
    pub(super) chunk_bytes: u64,
    pub(super) lease_ms: u64,
    pub(super) lease_lost: bool,
    /// Hosts put into every pipeline, wherever they are and whether or not they live.
    pub(super) also: Vec<ServerAddress>,
    next_id: u64,
}

pub(super) struct Known {
    pub(super) address: ServerAddress,
    pub(super) registration: RegisterServer,
    session: u64,
    inbox: Inbox,
    pub(super) commands: Outbox<ServerCommand>,
    pub(super) replicas: BTreeMap<ChunkId, Version>,
    pub(super) report_complete: bool,
    pub(super) free_bytes: u64,
    pub(super) disks: Vec<DiskState>,
}

#[derive(Clone)]
pub(super) struct File {
    pub(super) path: StorePath,
    pub(super) chunks: Vec<SealedChunk>,
    pub(super) open: bool,
}

#[derive(Clone)]
pub(super) struct FakeMaster {
    book: Arc<Mutex<Book>>,
    pub(super) keyring: Keyring,
    pub(super) address: String,
}

fn refuse<T>(status: u16, kind: ProblemKind, detail: &str) -> Result<T, Problem> {
    Err(Problem::new(status, kind.as_str(), detail))
}

impl FakeMaster {
    /// Starts to serve; ends with the test's runtime.
    pub(super) fn start(keyring: Keyring) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let book = Book {
            epoch: 1,
            cluster: "cluster-1".into(),
            replication: 2,
            chunk_bytes: 1 << 20,
            lease_ms: 60_000,
            locate_chunks_max: usize::MAX,
            next_id: 1,
            ..Book::default()
        };
        let master = Self { book: Arc::new(Mutex::new(book)), keyring: keyring.clone(), address };
        let servers = Access::Roles(&[Role::Server]);
        let users = Access::Roles(&[Role::User]);
        let router = Routes::new()
            .route("/v1/servers/register", servers, post(register))
            .route("/v1/servers/heartbeat", servers, post(heartbeat))
            .route("/v1/servers/broken", servers, post(broken))
            .route("/v1/files/create", users, post(create))
            .route("/v1/files/allocate", users, post(allocate))
            .route("/v1/files/close", users, post(close))
            .route("/v1/files/abandon", users, post(abandon))
            .route("/v1/files/renew", users, post(renew))
            .route("/v1/files/stat", users, post(stat))
            .route("/v1/files/locate", users, post(locate))
            .into_router(master.clone(), Guard { keyring, anonymous: None });
        tokio::spawn(net::serve(listener, router, std::future::pending()));
        master
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// A token as allocations and locations carry, but that it names every server.
    pub(super) fn token(&self, rights: &[Right], resource: &str) -> String {
        self.keyring.mint(&Capability {
            subject: "test".into(),
            role: Role::Task,
            grants: vec![
                Grant { prefix: resource.into(), rights: rights.to_vec(), family: false },
                Grant::write("server"),
            ],
            expires: UnixMillis(u64::MAX),
        })
    }

    fn call(&self, route: &'static str) -> Result<MutexGuard<'_, Book>, Problem> {
        let mut book = self.book();
        if book.unavailable > 0 {
            book.unavailable -= 1;
            return refuse(503, ProblemKind::Unavailable, "starting");
        }
        book.calls.push(route);
        Ok(book)
    }

    fn allocation(&self, book: &mut Book, exclude: &[HostName]) -> Result<Allocation, Problem> {
        book.next_id += 1;
        book.excluded.push(exclude.to_vec());
        let chunk = ChunkId(book.next_id);
        let live = book.servers.values().filter(|known| known.report_complete);
        let mut pipeline: Vec<_> = book.also.clone();
        pipeline.extend(live.map(|known| known.address.clone()));
        pipeline.retain(|server| !exclude.contains(&server.host));
        pipeline.truncate(usize::from(book.replication));
        if pipeline.is_empty() {
            return refuse(503, ProblemKind::NoServers, "no chunkserver is alive: start one");
        }
        let token = self.token(&[Right::Read, Right::Write], &chunk.resource());
        Ok(Allocation { chunk, version: Version(1), pipeline, token })
    }
}

impl Book {
    fn status(file: &File) -> FileStatus {
        let kind = FileKind::File {
            file: FileId::default(),
            length: file.chunks.iter().map(|chunk| chunk.length).sum(),
            replication: 2,
            chunk_bytes: 1,
            n_chunks: file.chunks.len() as u64,
            open: file.open,
            cut: false,
            log: false,
        };
        let (owner, time) = ("tester".to_owned(), UnixMillis(0));
        FileStatus { path: file.path.clone(), owner, created: time, modified: time, kind }
    }

    fn find(&self, path: &StorePath) -> Result<&File, Problem> {
        match self.files.values().find(|file| file.path == *path) {
            Some(file) => Ok(file),
            None => refuse(404, ProblemKind::NotFound, &format!("no file {path}")),
        }
    }

    fn held(&mut self, file: FileId) -> Result<&mut File, Problem> {
        match self.files.get_mut(&file) {
            Some(file) if file.open => Ok(file),
            _ => refuse(409, ProblemKind::LeaseLost, "the lease is gone"),
        }
    }
}

async fn register(
    State(master): State<FakeMaster>,
    Json(request): Json<RegisterServer>,
) -> Result<Json<ServerRegistered>, Problem> {
    let mut book = master.book();
    assert_eq!(request.protocol, PROTOCOL_VERSION);
    if request.cluster.as_ref().is_some_and(|cluster| cluster.as_str() != book.cluster) {
        return refuse(409, ProblemKind::WrongCluster, "another cluster");
    }
    book.n_registrations += 1;
    let session = book.n_registrations;
    let address = ServerAddress {
        host: request.host.clone(),
        rack: request.rack.clone(),
        address: request.address.clone(),
    };
    let known = Known {
        address,
        session,
        inbox: Inbox::default(),
        commands: Outbox::default(),
        replicas: BTreeMap::new(),
        report_complete: false,
        free_bytes: request.free_bytes,
        disks: request.disks.clone(),
        registration: request.clone(),
    };
    book.servers.insert(request.host, known);
    Ok(Json(ServerRegistered {
        cluster: book.cluster.parse().unwrap(),
        epoch: Epoch(book.epoch),
        session,
        heartbeat_interval_ms: 20,
    }))
}

async fn broken(
    State(master): State<FakeMaster>,
    Json(request): Json<BrokenChunks>,
) -> Result<Json<Purgeable>, Problem> {
    let book = master.call("broken")?;
    let may_go = request.chunks.into_iter().filter(|chunk| book.purgeable.contains(chunk));
    Ok(Json(Purgeable { chunks: may_go.collect() }))
}

async fn heartbeat(
    State(master): State<FakeMaster>,
    Json(request): Json<ServerHeartbeat>,
) -> Result<Json<ServerHeartbeatReply>, Problem> {
    let mut book = master.book();
    let epoch = Epoch(book.epoch);
    let book = &mut *book;
    let known = match book.servers.get_mut(&request.host) {
        Some(known) if known.session == request.session && epoch == request.epoch => known,
        _ => return refuse(409, ProblemKind::NotRegistered, "register"),
    };
    known.free_bytes = request.free_bytes;
    known.disks = request.disks;
    known.commands.acknowledge(request.commands_done);
    for event in known.inbox.accept(request.events) {
        match &event {
            ReplicaEvent::Held { chunk, version, .. } => {
                known.replicas.insert(*chunk, *version);
            }
            ReplicaEvent::Lost { chunk, .. } => {
                known.replicas.remove(chunk);
            }
            ReplicaEvent::CopyEnded { .. }
            | ReplicaEvent::Broken { .. }
            | ReplicaEvent::Verified { .. }
            | ReplicaEvent::LogHeld { .. } => {}
        }
        book.events.push((request.host.clone(), event));
    }
    known.report_complete |= request.report_complete;
    Ok(Json(ServerHeartbeatReply {
        term_id: None,
        last_record: 0,
        epoch,
        events_received: known.inbox.received(),
        commands: known.commands.pending(100).cloned().collect(),
    }))
}

async fn create(
    State(master): State<FakeMaster>,
    Json(request): Json<Create>,
) -> Result<Json<Created>, Problem> {
    let mut book = master.call("create")?;
    if book.find(&request.path).is_ok() {
        return refuse(409, ProblemKind::AlreadyExists, "it exists");
    }
    let allocation = master.allocation(&mut book, &[])?;
    let file = FileId(allocation.chunk.0);
    book.files.insert(file, File { path: request.path, chunks: vec![], open: true });
    Ok(Json(Created {
        file,
        replication: request.replication.unwrap_or(book.replication),
        chunk_bytes: request.chunk_bytes.unwrap_or(book.chunk_bytes),
        lease_ms: book.lease_ms,
        allocation,
    }))
}

async fn allocate(
    State(master): State<FakeMaster>,
    Json(request): Json<Allocate>,
) -> Result<Json<Allocation>, Problem> {
    let mut book = master.call("allocate")?;
    let allocation = master.allocation(&mut book, &request.exclude)?;
    book.held(request.file)?.chunks.extend(request.sealed);
    Ok(Json(allocation))
}

async fn close(
    State(master): State<FakeMaster>,
    Json(request): Json<Close>,
) -> Result<Json<FileStatus>, Problem> {
    let mut book = master.call("close")?;
    let file = book.held(request.file)?;
    file.chunks.extend(request.sealed);
    file.open = false;
    Ok(Json(Book::status(file)))
}

async fn abandon(
    State(master): State<FakeMaster>,
    Json(request): Json<Abandon>,
) -> Result<Json<Done>, Problem> {
    let mut book = master.call("abandon")?;
    book.held(request.file)?;
    book.files.remove(&request.file);
    Ok(Json(Done {}))
}

async fn renew(
    State(master): State<FakeMaster>,
    Json(request): Json<Renew>,
) -> Result<Json<Done>, Problem> {
    let mut book = master.call("renew")?;
    if book.lease_lost {
        return refuse(409, ProblemKind::LeaseLost, "the lease is gone");
    }
    for file in request.files {
        book.held(file)?;
        book.renewed.push(file);
    }
    Ok(Json(Done {}))
}

async fn stat(
    State(master): State<FakeMaster>,
    Json(request): Json<Stat>,
) -> Result<Json<FileStatus>, Problem> {
    let book = master.call("stat")?;
    book.find(&request.path).map(|file| Json(Book::status(file)))
}

async fn locate(
    State(master): State<FakeMaster>,
    Json(request): Json<Locate>,
) -> Result<Json<Located>, Problem> {
    let book = master.call("locate")?;
    let file = book.find(&request.path)?;
    if file.open {
        return refuse(409, ProblemKind::StillOpen, "still open");
    }
    let end = request.offset.saturating_add(request.length.unwrap_or(u64::MAX));
    let (mut length, mut chunks) = (0, Vec::new());
    for sealed in &file.chunks {
        let (offset, until) = (length, length + sealed.length);
        length = until;
        let is_full = chunks.len() == book.locate_chunks_max;
        if offset >= end || until <= request.offset || is_full {
            continue;
        }
        let holds = |known: &&Known| known.replicas.get(&sealed.chunk) == Some(&sealed.version);
        let servers = book.servers.values().filter(holds);
        let servers = servers.map(|known| Arc::new(known.address.clone()));
        chunks.push(ChunkLocation {
            chunk: sealed.chunk,
            version: sealed.version,
            offset,
            length: sealed.length,
            checksum: sealed.checksum,
            servers: servers.collect(),
            token: master.token(&[Right::Read], &sealed.chunk.resource()),
        });
    }
    Ok(Json(Located { file: FileId(1), length, chunks, open_log: None }))
}
