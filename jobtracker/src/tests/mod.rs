//! The JobTracker with real HTTP and a real journal in a temporary folder, against a chunk master
//! that knows a few files.

mod histories;
mod inputs;
mod jobs;
mod page;
mod starts;
mod trackers;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use chunkstore_client::ReadSettings;
use chunkstore_protocol::{
    ChunkId, ChunkLocation, ClusterInfo, Copy, Delete, Done, FileId, FileKind, FileStatus, List,
    Listing, Locate, Located, Mkdir, Publish, Rename, ServerAddress, Stat, StorePath, Version,
};
use daemon::Shutdown;
use ids::{Epoch, HeartbeatNumber, Numbered, RackName, UnixMillis};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptResult, HostList, JobAccepted, JobCounters, JobId, JobList,
    JobSpec, JobState, JobStatus, JobtrackerInfo, PROTOCOL_VERSION, RegisterTracker, TaskKind,
    TrackerCommand, TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};
use net::{
    Access, CallError, Capability, Client, ClientSettings, Grant, Guard, Json, Keyring, Problem,
    Role, Routes, Secret,
};
use tokio::task::JoinHandle;

use crate::{InitError, JobtrackerSettings, RunError, init, run};

const ALL: Access = Access::Roles(&[Role::Master]);

/// The state of the chunk master: files with their lengths, folders made, publications.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) lengths: BTreeMap<StorePath, u64>,
    /// Lengths of the chunks of files with several chunks. Two chunks are reported per call.
    chunk_bytes: BTreeMap<StorePath, u64>,
    /// Whether a file grows by a byte whenever its chunks are located.
    replaced: bool,
    /// The files that are logs.
    logs: BTreeSet<StorePath>,
    folders: BTreeSet<StorePath>,
    published: Vec<Publish>,
    /// Number of publications still to be refused because the chunk master's disk is full.
    full: u32,
    /// Number of removals still to be refused.
    kept: u32,
}

impl Files {
    fn status(&self, path: &StorePath) -> Option<FileStatus> {
        let kind = match self.lengths.get(path) {
            Some(length) => FileKind::File {
                file: chunkstore_protocol::FileId(1),
                length: *length,
                replication: 1,
                chunk_bytes: 1 << 20,
                n_chunks: 1,
                open: false,
                cut: false,
                log: self.logs.contains(path),
            },
            None if self.folders.contains(path) => FileKind::Folder,
            None => return None,
        };
        let (owner, time) = ("tester".to_owned(), UnixMillis(0));
        Some(FileStatus { path: path.clone(), owner, created: time, modified: time, kind })
    }
}

#[derive(Clone, Default)]
pub(crate) struct Master(Arc<Mutex<Files>>);

impl Master {
    pub(crate) fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.0.lock().unwrap()
    }

    pub(crate) fn serve(&self, keyring: &Keyring) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let guard = Guard { keyring: keyring.clone(), anonymous: None };
        let router = Routes::<Self>::new()
            .route("/v1/cluster", ALL, get(cluster))
            .route("/v1/files/stat", ALL, post(stat))
            .route("/v1/files/list", ALL, post(list))
            .route("/v1/files/locate", ALL, post(locate))
            .route("/v1/files/mkdir", ALL, post(mkdir))
            .route("/v1/files/rename", ALL, post(rename))
            .route("/v1/files/delete", ALL, post(delete))
            .route("/v1/files/publish", ALL, post(publish))
            .route("/v1/files/copy", ALL, post(copy))
            .route("/v1/files/create", ALL, post(create))
            .into_router(self.clone(), guard);
        tokio::spawn(net::serve(listener, router, std::future::pending()));
        address
    }
}

async fn cluster() -> Json<ClusterInfo> {
    Json(ClusterInfo { cluster: "cluster-1".parse().unwrap(), epoch: Epoch(1) })
}

fn not_found(path: &StorePath) -> Problem {
    Problem::new(404, "not-found", format!("no file {path}"))
}

async fn stat(
    State(master): State<Master>,
    Json(Stat { path }): Json<Stat>,
) -> Result<Json<FileStatus>, Problem> {
    let files = master.files();
    files.status(&path).map(Json).ok_or_else(|| not_found(&path))
}

/// One entry at a time, so that callers have to page.
async fn list(
    State(master): State<Master>,
    Json(List { path, after, .. }): Json<List>,
) -> Json<Listing> {
    let files = master.files();
    let within = |entry: &&StorePath| entry.parent().as_ref() == Some(&path);
    let entries: BTreeSet<_> =
        files.lengths.keys().chain(&files.folders).filter(within).cloned().collect();
    let unread = |entry: &StorePath| after.as_deref() < entry.name();
    let mut entries = entries.into_iter().filter(unread);
    let first = entries.next();
    let name = first.as_ref().and_then(|path| path.name()).map(str::to_owned);
    Json(Listing {
        entries: first.iter().filter_map(|path| files.status(path)).collect(),
        next: entries.next().and(name),
    })
}

async fn locate(
    State(master): State<Master>,
    Json(Locate { path, offset, .. }): Json<Locate>,
) -> Result<Json<Located>, Problem> {
    let mut files = master.files();
    let replaced = files.replaced;
    let length = files.lengths.get_mut(&path).ok_or_else(|| not_found(&path))?;
    *length += u64::from(replaced);
    let length = *length;
    let chunk_bytes = files.chunk_bytes.get(&path).copied().unwrap_or(length);
    let chunk = |index: u64| ChunkLocation {
        chunk: ChunkId(index + 1),
        version: Version(1),
        offset: index * chunk_bytes,
        length: chunk_bytes.min(length - index * chunk_bytes),
        checksum: 0,
        servers: vec![Arc::new(ServerAddress {
            host: "host-1".parse().unwrap(),
            rack: RackName::default_rack(),
            address: "127.0.0.1:1".to_owned(),
        })],
        token: String::new(),
    };
    let first = offset / chunk_bytes;
    let chunks = (first..length.div_ceil(chunk_bytes)).take(2).map(chunk).collect();
    Ok(Json(Located { file: FileId(length), length, chunks, open_log: None }))
}

async fn mkdir(
    State(master): State<Master>,
    Json(Mkdir { path, parents, .. }): Json<Mkdir>,
) -> Result<Json<Done>, Problem> {
    let mut files = master.files();
    let above = std::iter::successors(path.parent().filter(|_| parents), StorePath::parent);
    files.folders.extend(above);
    match files.folders.insert(path) || parents {
        true => Ok(Json(Done {})),
        false => Err(Problem::new(409, "already-exists", "it is there")),
    }
}

/// Of folders alone.
async fn rename(
    State(master): State<Master>,
    Json(Rename { from, to, .. }): Json<Rename>,
) -> Result<Json<Done>, Problem> {
    let mut files = master.files();
    if files.folders.contains(&to) {
        return Err(Problem::new(409, "already-exists", "it is there"));
    }
    if !files.folders.contains(&from) {
        return Err(not_found(&from));
    }
    let moved = |it: StorePath| match it.as_str().strip_prefix(from.as_str()) {
        Some(rest) if it.is_within(&from) => format!("{to}{rest}").parse().unwrap(),
        _ => it,
    };
    files.folders = std::mem::take(&mut files.folders).into_iter().map(moved).collect();
    Ok(Json(Done {}))
}

async fn delete(
    State(master): State<Master>,
    Json(Delete { path, recursive, .. }): Json<Delete>,
) -> Result<Json<Done>, Problem> {
    let mut files = master.files();
    if files.kept > 0 {
        files.kept -= 1;
        return Err(Problem::new(500, "internal", "it stays"));
    }
    let below = |entry: &StorePath| entry.is_within(&path) && *entry != path;
    if files.folders.iter().any(below) && !recursive {
        return Err(Problem::new(409, "folder-not-empty", "something is in it"));
    }
    files.folders.retain(|entry| !below(entry));
    match files.folders.remove(&path) || files.lengths.remove(&path).is_some() {
        true => Ok(Json(Done {})),
        false => Err(not_found(&path)),
    }
}

async fn publish(
    State(master): State<Master>,
    Json(request): Json<Publish>,
) -> Result<Json<Done>, Problem> {
    let mut files = master.files();
    if files.full > 0 {
        files.full -= 1;
        return Err(Problem::new(507, "out-of-space", "the journal has no room"));
    }
    files.folders.remove(&request.staging);
    files.folders.insert(request.target.clone());
    files.published.push(request);
    Ok(Json(Done {}))
}

async fn copy(
    State(master): State<Master>,
    Json(Copy { from, to, .. }): Json<Copy>,
) -> Result<Json<FileStatus>, Problem> {
    let mut files = master.files();
    let length = *files.lengths.get(&from).ok_or_else(|| not_found(&from))?;
    files.lengths.insert(to.clone(), length);
    files.status(&to).map(Json).ok_or_else(|| not_found(&to))
}

/// Nothing can be written here.
async fn create(Json(_): Json<serde_json::Value>) -> Problem {
    Problem::new(400, "invalid-request", "no files are made here")
}

struct Cluster {
    dir: tempfile::TempDir,
    keyring: Keyring,
    master: Master,
    chunkmaster: String,
    address: String,
    shutdown: Shutdown,
    daemon: JoinHandle<Result<(), RunError>>,
    client: Client,
    tracker: Client,
}

pub(crate) fn settings(dir: &Path, keyring: &Keyring, chunkmaster: &str) -> JobtrackerSettings {
    let seconds = |n| config::Time(Duration::from_secs(n));
    let jobtracker = config::Jobtracker {
        data_dir: dir.join("jobtracker"),
        heartbeat_interval: seconds(20),
        dead_after: seconds(60),
        split_bytes: config::Bytes(1 << 20),
        finished_jobs_max: 10,
        history_keep: seconds(0),
        journal_segment: config::Bytes(2 << 20),
        journal_timeout: config::Time(Duration::from_secs(30)),
        snapshot_after_segments: 1,
        ..config::Jobtracker::default()
    };
    JobtrackerSettings {
        accepts_one_folder: false,
        jobtracker,
        pools: Vec::new(),
        chunkmaster: chunkmaster.to_owned(),
        topology: daemon::Topology::default(),
        client: client_settings(),
        retry_for: Duration::from_secs(10),
        reads: ReadSettings::default(),
        stores: Vec::new(),
        keyring: keyring.clone(),
    }
}

fn client_settings() -> ClientSettings {
    let (connect_timeout, request_timeout) = (Duration::from_secs(2), Duration::from_secs(30));
    let silence_timeout = Duration::from_secs(3);
    ClientSettings { connect_timeout, request_timeout, silence_timeout, tls: None }
}

fn start(settings: JobtrackerSettings) -> (String, Shutdown, JoinHandle<Result<(), RunError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shutdown = Shutdown::default();
    (address, shutdown.clone(), tokio::spawn(run(settings, listener, shutdown)))
}

fn spec() -> JobSpec {
    let job = r#"{"name": "count", "input": ["/in"], "output": "/out",
        "program": {"builtin": {"name": "wordcount"}}}"#;
    serde_json::from_str(job).unwrap()
}

fn job_on(inputs: &[&str]) -> JobSpec {
    JobSpec { input: inputs.iter().map(|input| (*input).to_owned()).collect(), ..spec() }
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut JobtrackerSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(&Secret::random());
        let master = Master::default();
        master.files().lengths.insert("/in".parse().unwrap(), 1000);
        let chunkmaster = master.serve(&keyring);
        let mut settings = settings(dir.path(), &keyring, &chunkmaster);
        change(&mut settings);
        assert_eq!(init(&settings, &Shutdown::default()).await.unwrap().as_str(), "cluster-1");
        let (address, shutdown, daemon) = self::start(settings);
        let client = |role| {
            let capability = Capability {
                subject: "somebody".to_owned(),
                role,
                grants: vec![Grant::all("/in"), Grant::all("/out")],
                expires: UnixMillis(u64::MAX),
            };
            Client::new(client_settings()).with_token(keyring.mint(&capability))
        };
        let (client, tracker) = (client(Role::User), client(Role::Tracker));
        Self { dir, keyring, master, chunkmaster, address, shutdown, daemon, client, tracker }
    }

    async fn restart(&mut self) {
        self.shutdown.trigger();
        (&mut self.daemon).await.unwrap().unwrap();
        let settings = settings(self.dir.path(), &self.keyring, &self.chunkmaster);
        (self.address, self.shutdown, self.daemon) = start(settings);
    }

    /// Continues with a new journal in another folder.
    async fn start_anew(&mut self) {
        self.shutdown.trigger();
        (&mut self.daemon).await.unwrap().unwrap();
        let mut settings = settings(self.dir.path(), &self.keyring, &self.chunkmaster);
        settings.jobtracker.data_dir = self.dir.path().join("anew");
        init(&settings, &Shutdown::default()).await.unwrap();
        (self.address, self.shutdown, self.daemon) = start(settings);
    }

    /// Makes a folder of the chunk store with these files, of 10 bytes each, and folders (`name/`).
    fn fill_folder(&self, folder: &str, entries: &[&str]) {
        let mut files = self.master.files();
        files.folders.insert(folder.parse().unwrap());
        for entry in entries {
            let path = format!("{folder}/{}", entry.trim_end_matches('/')).parse().unwrap();
            if entry.ends_with('/') {
                files.folders.insert(path);
            } else {
                files.lengths.insert(path, 10);
            }
        }
    }

    /// Runs a job of one map and one reduce to its end.
    async fn run_job(&self) -> JobStatus {
        let job = self.submit(&spec(), None).await.unwrap();
        let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
        let (ended, ()) = tokio::join!(self.get::<JobStatus>(&waits), async {
            let mut tracker = self.register().await;
            for event in 1..=2 {
                let attempt = tracker.launched().await;
                tracker.succeed(attempt, event);
            }
            tracker.beat().await;
        });
        ended.unwrap()
    }

    async fn submit(&self, spec: &JobSpec, key: Option<&str>) -> Result<JobAccepted, CallError> {
        let method = net::reqwest::Method::POST;
        let mut request = self.client.request(method, &self.address, "/v1/jobs").json(spec);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.client.exchange(&self.address, request).await
    }

    async fn get<A: serde::de::DeserializeOwned>(&self, path: &str) -> Result<A, CallError> {
        self.client.get(&self.address, path).await
    }

    /// Waits until the job's splits are made.
    async fn planned(&self, job: JobId) -> JobStatus {
        let waiting = clock::Stopwatch::start();
        loop {
            let status: JobStatus = self.get(&format!("/v1/jobs/{job}")).await.unwrap();
            if status.state == JobState::Running {
                return status;
            }
            assert!(waiting.elapsed() < Duration::from_secs(20), "not planned: {status:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until `/metrics` has this line. Only for one test, as the recorder is global to the
    /// process.
    async fn metric(&self, line: &str) {
        let waiting = clock::Stopwatch::start();
        loop {
            let method = net::reqwest::Method::GET;
            let request = self.client.request(method, &self.address, "/metrics");
            let response = self.client.send(&self.address, request).await.unwrap();
            let text = response.text().await.unwrap();
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(waiting.elapsed() < Duration::from_secs(20), "no {line} in\n{text}");
        }
    }

    async fn register(&self) -> Tracker<'_> {
        let request = RegisterTracker {
            protocol: PROTOCOL_VERSION,
            cluster: None,
            host: "host-1".parse().unwrap(),
            rack: RackName::default_rack(),
            address: "127.0.0.1:2".to_owned(),
            incarnation: 1,
            slots: 2,
            running: Vec::new(),
            map_outputs: Vec::new(),
            jobs: Vec::new(),
            not_isolated: None,
        };
        let path = "/v1/trackers/register";
        let registered = self.tracker.post(&self.address, path, &request).await.unwrap();
        Tracker { cluster: self, registered, number: 0, done: 0, events: Vec::new() }
    }
}

/// A TaskTracker whose attempts end when the test says so.
struct Tracker<'a> {
    cluster: &'a Cluster,
    registered: TrackerRegistered,
    number: u64,
    done: u64,
    events: Vec<Numbered<TrackerEvent>>,
}

impl Tracker<'_> {
    fn message(&mut self) -> TrackerHeartbeat {
        self.number += 1;
        TrackerHeartbeat {
            host: "host-1".parse().unwrap(),
            epoch: self.registered.epoch,
            session: self.registered.session,
            number: HeartbeatNumber(self.number),
            events: self.events.clone(),
            commands_done: self.done,
            running: Vec::new(),
            map_event_cursors: BTreeMap::new(),
            ailments: Vec::new(),
            disks_without: Vec::new(),
        }
    }

    /// Sends one heartbeat and returns the commands.
    async fn beat(&mut self) -> Vec<TrackerCommand> {
        let message = self.message();
        let (client, address) = (&self.cluster.tracker, &self.cluster.address);
        let path = "/v1/trackers/heartbeat";
        let reply: TrackerHeartbeatReply = client.post(address, path, &message).await.unwrap();
        self.events.retain(|event| event.number > reply.events_received);
        self.done = reply.commands.last().map_or(self.done, |last| last.number);
        reply.commands.into_iter().map(|command| command.item).collect()
    }

    /// Sends heartbeats until it is told to start an attempt.
    async fn launched(&mut self) -> AttemptId {
        loop {
            for command in self.beat().await {
                if let TrackerCommand::Launch(launch) = command {
                    return launch.attempt;
                }
            }
        }
    }

    fn succeed(&mut self, attempt: AttemptId, event: u64) {
        let counters = BTreeMap::from([("task.records".to_owned(), 5)]);
        let result = AttemptResult { digest: "d".to_owned(), counters, ..AttemptResult::default() };
        let item = TrackerEvent::Succeeded { attempt, result };
        self.events.push(Numbered { number: event, item });
    }
}

fn kind(error: &CallError) -> (u16, String) {
    let problem = error.problem().unwrap_or_else(|| panic!("no problem: {error}"));
    (problem.status, problem.kind.clone())
}
