//! The JobTracker behind real HTTP and a real journal in a temporary folder, before a chunk master that
//! knows a few files.

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
    Listing, Locate, Located, Mkdir, Publish, ServerAddress, Stat, StorePath, Version,
};
use daemon::Shutdown;
use ids::{Epoch, HeartbeatNumber, Numbered, RackName, UnixMillis};
use mapreduce_protocol::{
    AttemptId, AttemptList, AttemptResult, JobAccepted, JobCounters, JobId, JobList, JobSpec,
    JobState, JobStatus, JobtrackerInfo, PROTOCOL_VERSION, RegisterTracker, TaskKind,
    TrackerCommand, TrackerEvent, TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};
use net::{
    Access, CallError, Capability, Client, ClientSettings, Grant, Guard, Json, Keyring, Problem,
    Role, Routes, Secret,
};
use tokio::task::JoinHandle;

use crate::{InitError, JobtrackerSettings, RunError, init, run};

const ALL: Access = Access::Roles(&[Role::Master]);

/// What the chunk master knows: files with their lengths, folders made, publications.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) lengths: BTreeMap<StorePath, u64>,
    /// Files of several chunks: bytes of each chunk. They are told two at a time.
    chunk_bytes: BTreeMap<StorePath, u64>,
    /// Whether a file grows by a byte whenever its chunks are asked for.
    replaced: bool,
    folders: BTreeSet<StorePath>,
    published: Vec<Publish>,
    /// Publications that are still to be refused since the chunk master's disk is full.
    full: u32,
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
                log: false,
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

/// One entry at a time, so that whoever wants all must ask again.
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
        servers: vec![ServerAddress {
            host: "host-1".parse().unwrap(),
            rack: RackName::default_rack(),
            address: "127.0.0.1:1".to_owned(),
        }],
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
    match master.files().folders.insert(path) || parents {
        true => Ok(Json(Done {})),
        false => Err(Problem::new(409, "already-exists", "it is there")),
    }
}

async fn delete(
    State(master): State<Master>,
    Json(Delete { path, recursive, .. }): Json<Delete>,
) -> Result<Json<Done>, Problem> {
    let mut files = master.files();
    let below = |entry: &StorePath| entry.is_within(&path) && *entry != path;
    if files.folders.iter().any(below) && !recursive {
        return Err(Problem::new(409, "folder-not-empty", "something is in it"));
    }
    files.folders.retain(|entry| !below(entry));
    match files.folders.remove(&path) {
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
    JobtrackerSettings {
        data_dir: dir.join("jobtracker"),
        journal_mirror: None,
        chunkmaster: chunkmaster.to_owned(),
        heartbeat_interval: Duration::from_secs(20),
        heartbeats_per_second: 1000,
        dead_after: Duration::from_secs(60),
        max_attempts: 4,
        locality_wait: Duration::from_secs(1),
        split_bytes: 1 << 20,
        reduce_slowstart: 0.05,
        pools: vec![jobtracker_core::PoolRule::named(jobtracker_core::DEFAULT_POOL)],
        preempt_after: None,
        speculative: true,
        speculative_share: 0.25,
        fetch_failures_max: 3,
        host_failures_max: 3,
        host_strikes_max: 3,
        host_forgiven_after: Duration::from_hours(1),
        set_aside_share: 0.25,
        finished_jobs_max: 10,
        history_keep: Duration::ZERO,
        journal_segment_bytes: 2 << 20,
        snapshot_after_segments: 1,
        client: client_settings(),
        retry_for: Duration::from_secs(10),
        reads: ReadSettings::default(),
        stores: Vec::new(),
        keyring: keyring.clone(),
        anonymous: None,
    }
}

fn client_settings() -> ClientSettings {
    let (connect_timeout, request_timeout) = (Duration::from_secs(2), Duration::from_secs(30));
    ClientSettings { connect_timeout, request_timeout, silence_timeout: Duration::from_secs(3) }
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

    /// Goes on with a new journal in another folder.
    async fn start_anew(&mut self) {
        self.shutdown.trigger();
        (&mut self.daemon).await.unwrap().unwrap();
        let settings = settings(self.dir.path(), &self.keyring, &self.chunkmaster);
        let data_dir = self.dir.path().join("anew");
        let settings = JobtrackerSettings { data_dir, ..settings };
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

    /// Waits until `/metrics` has this line. Only for one test: the recorder is the process'.
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

    /// Heartbeats once, and says what it is to do.
    async fn beat(&mut self) -> Vec<TrackerCommand> {
        let message = self.message();
        let (client, address) = (&self.cluster.tracker, &self.cluster.address);
        let path = "/v1/trackers/heartbeat";
        let reply: TrackerHeartbeatReply = client.post(address, path, &message).await.unwrap();
        self.events.retain(|event| event.number > reply.events_received);
        self.done = reply.commands.last().map_or(self.done, |last| last.number);
        reply.commands.into_iter().map(|command| command.item).collect()
    }

    /// Heartbeats until it is to start an attempt.
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

#[tokio::test]
async fn a_job_goes_from_submission_to_publication() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), None).await.unwrap();
    assert_eq!(job.state, JobState::Prep);
    let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
    let (ended, ()) = tokio::join!(cluster.get::<JobStatus>(&waits), async {
        let mut tracker = cluster.register().await;
        let map = tracker.launched().await;
        tracker.succeed(map, 1);
        let reduce = tracker.launched().await;
        tracker.succeed(reduce, 2);
        let purge = tracker.beat().await;
        assert_eq!(purge, [TrackerCommand::Purge { job: job.id }]);
    });
    let status = ended.unwrap();
    assert_eq!((status.state, status.input_bytes), (JobState::Succeeded, 1000));
    assert_eq!((status.maps.succeeded, status.maps.node_local), (1, 1));
    let published = cluster.master.files().published.clone();
    assert_eq!(published[0].target.as_str(), "/out");
    assert_eq!(published[0].winners[0].published, "part-r-00000");
    let staging = format!("/.howdah/staging/{}", job.id);
    assert_eq!(published[0].staging.as_str(), staging);
    let counters: JobCounters =
        cluster.get(&format!("/v1/jobs/{}/counters", job.id)).await.unwrap();
    assert_eq!(counters.counters["task.records"], 10);
    let attempts: AttemptList =
        cluster.get(&format!("/v1/jobs/{}/attempts", job.id)).await.unwrap();
    assert_eq!(attempts.attempts.len(), 2);
    let jobs: JobList = cluster.get("/v1/jobs?limit=5").await.unwrap();
    assert_eq!(jobs.jobs[0].id, job.id);
}

#[tokio::test]
async fn a_file_of_more_chunks_than_one_answer_tells_is_read_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.master.files().chunk_bytes.insert("/in".parse().unwrap(), 150);
    let job = cluster.submit(&spec(), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!((status.maps.total, status.input_bytes), (7, 1000));
}

#[tokio::test]
async fn a_folder_is_read_if_a_file_stands_anywhere_in_it() {
    let cluster = Cluster::start().await;
    cluster.fill_folder("/in/mixed", &["_SUCCESS", "a/", "file", "z/"]);
    let job = cluster.submit(&job_on(&["/in/mixed"]), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!((status.maps.total, status.input_bytes), (1, 10));
}

#[tokio::test]
async fn an_input_that_is_replaced_between_two_answers_fails_the_job() {
    let cluster = Cluster::start().await;
    cluster.master.files().chunk_bytes.insert("/in".parse().unwrap(), 150);
    cluster.master.files().replaced = true;
    let job = cluster.submit(&spec(), None).await.unwrap();
    let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
    let status: JobStatus = cluster.get(&waits).await.unwrap();
    let failure = status.failure.expect("it can't be planned");
    assert!(failure.contains("/in was replaced"), "{failure}");
}

#[tokio::test]
async fn a_cluster_that_has_lost_a_journal_gives_no_id_twice() {
    let mut cluster = Cluster::start().await;
    let first = cluster.run_job().await;
    cluster.master.files().folders.remove(&"/out".parse().unwrap());
    cluster.start_anew().await;
    let second = cluster.run_job().await;
    assert_eq!((first.id.ordinal, second.id.ordinal), (1, 1_000_001), "no id is used twice");
    let files = cluster.master.files();
    assert_ne!(files.published[0].stamp, files.published[1].stamp);
}

#[tokio::test]
async fn a_full_disk_of_the_chunk_master_delays_a_publication_but_fails_no_job() {
    let cluster = Cluster::start().await;
    cluster.master.files().full = 1;
    let status = cluster.run_job().await;
    assert_eq!((status.state, status.failure), (JobState::Succeeded, None));
    assert_eq!(cluster.master.files().full, 0);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_type_and_leaves_nothing() {
    let cluster = Cluster::start().await;
    cluster.master.files().folders.insert("/out/there".parse().unwrap());
    let job = |change: fn(&mut JobSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    for (spec, status, expected, needle) in [
        (job(|it| it.input = vec!["/in/no".into()]), 404, "input-not-found", "/in/no"),
        (job(|it| it.output = "/out/there".into()), 409, "output-exists", "/out/there exists"),
        (job(|it| it.reduces = Some(0)), 400, "invalid-job", "at least one reduce"),
        (job(|it| it.name = String::new()), 400, "invalid-job", "name"),
        (job(|it| it.input = vec!["/else".into()]), 403, "forbidden", "/else"),
        (job(|it| it.output = "/else".into()), 403, "forbidden", "write /else"),
    ] {
        let error = cluster.submit(&spec, None).await.unwrap_err();
        assert_eq!(kind(&error), (status, expected.to_owned()), "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
    for (folder, entries) in [
        ("/in/empty", &[][..]),
        ("/in/folders", &["a/", "b/"]),
        ("/in/hidden", &["_SUCCESS", "_logs/"]),
    ] {
        cluster.fill_folder(folder, entries);
        let error = cluster.submit(&job_on(&["/in", folder]), None).await.unwrap_err();
        assert_eq!(kind(&error), (404, "input-not-found".to_owned()), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{folder} holds no files")), "{text}");
    }
    let jobs: JobList = cluster.get("/v1/jobs").await.unwrap();
    assert!(jobs.jobs.is_empty());
    for (path, status) in [
        ("/v1/jobs/job_20261122_0099", 404),
        ("/v1/jobs/nonsense", 400),
        ("/v1/jobs?limit=many", 400),
        ("/v1/jobs/job_20261122_0099/attempts", 404),
    ] {
        let error = cluster.get::<JobStatus>(path).await.unwrap_err();
        assert_eq!(kind(&error).0, status, "{path}: {error}");
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_job_and_a_restart_loses_none() {
    let mut cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), Some("key-1")).await.unwrap();
    let before: JobtrackerInfo = cluster.get("/v1/cluster").await.unwrap();
    cluster.restart().await;
    let info: JobtrackerInfo = cluster.get("/v1/cluster").await.unwrap();
    assert_eq!((info.epoch, info.unfinished_jobs), (before.epoch.next(), 1));
    let again = cluster.submit(&spec(), Some("key-1")).await.unwrap();
    assert_eq!(again.id, job.id);
    let other = JobSpec { name: "other".to_owned(), ..spec() };
    let reused = cluster.submit(&other, Some("key-1")).await.unwrap_err();
    assert_eq!(kind(&reused), (409, "key-reused".to_owned()));
    let reserved = cluster.submit(&spec(), None).await.unwrap_err();
    assert_eq!(kind(&reserved), (409, "output-exists".to_owned()));
    let path = format!("/v1/jobs/{}/kill", job.id);
    let killed: JobStatus = cluster.client.post(&cluster.address, &path, &()).await.unwrap();
    assert_eq!(killed.state, JobState::Killed);
    let twice = cluster.client.post::<_, JobStatus>(&cluster.address, &path, &()).await;
    assert_eq!(kind(&twice.unwrap_err()), (409, "job-ended".to_owned()));
}

#[tokio::test]
async fn a_log_of_history_is_only_for_those_who_may_read_its_jobs_output() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), None).await.unwrap().id;
    let log = |job: JobId| {
        let attempt = job.task(TaskKind::Map, 0).attempt(0);
        format!("/v1/history/{job}/attempts/{attempt}/log")
    };
    let unknown = JobId { date: job.date, ordinal: 99 };
    let capability = |grants| Capability {
        subject: "somebody".to_owned(),
        role: Role::User,
        grants,
        expires: UnixMillis(u64::MAX),
    };
    for (path, job, status) in [
        ("/home/a", job, 403),
        ("/out", job, 404),
        ("/out", unknown, 403),
        ("/", unknown, 404),
        ("/", job, 404),
    ] {
        let token = cluster.keyring.mint(&capability(vec![Grant::all(path)]));
        let client = cluster.client.with_token(token);
        let error = client.get::<()>(&cluster.address, &log(job)).await.unwrap_err();
        assert_eq!(kind(&error).0, status, "{path} {job}: {error}");
    }
}

#[tokio::test]
async fn a_history_that_can_never_be_written_does_not_stay_in_memory_for_ever() {
    let keep = |it: &mut JobtrackerSettings| {
        (it.history_keep, it.finished_jobs_max) = (Duration::from_hours(24), 1);
    };
    let cluster = Cluster::start_with(keep).await;
    let first = cluster.run_job().await.id;
    cluster.master.files().folders.remove(&"/out".parse().unwrap());
    let second = cluster.submit(&spec(), None).await.unwrap().id;
    let kill = format!("/v1/jobs/{second}/kill");
    let _: JobStatus = cluster.client.post(&cluster.address, &kill, &()).await.unwrap();
    let waiting = clock::Stopwatch::start();
    loop {
        let list: JobList = cluster.get("/v1/jobs").await.unwrap();
        if list.jobs.iter().all(|job| job.id == second) {
            break;
        }
        assert!(waiting.elapsed() < Duration::from_secs(20), "{first} is not forgotten");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_old_terms_heartbeat_is_refused_and_roles_are_kept_apart() {
    let mut cluster = Cluster::start().await;
    let message = cluster.register().await.message();
    cluster.restart().await;
    let path = "/v1/trackers/heartbeat";
    let call = |client: Client| {
        let (address, message) = (cluster.address.clone(), message.clone());
        async move {
            let answer = client.post::<_, TrackerHeartbeatReply>(&address, path, &message).await;
            kind(&answer.unwrap_err())
        }
    };
    assert_eq!(call(cluster.tracker.clone()).await, (409, "not-registered".to_owned()));
    assert_eq!(call(cluster.client.clone()).await, (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_broken_connection_takes_its_parked_heartbeat_with_it() {
    let cluster = Cluster::start().await;
    let mut tracker = cluster.register().await;
    let message = tracker.message();
    let (client, address) = (cluster.tracker.clone(), cluster.address.clone());
    let parked = tokio::spawn(async move {
        client.post::<_, TrackerHeartbeatReply>(&address, "/v1/trackers/heartbeat", &message).await
    });
    cluster.metric("howdah_jobtracker_heartbeats_parked 1").await;
    parked.abort();
    cluster.metric("howdah_jobtracker_heartbeats_parked 0").await;
    let job = cluster.submit(&spec(), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!(status.maps.attempts, 0, "nobody would hear of it");
    assert_eq!(tracker.launched().await.task.job, job.id);
}

#[tokio::test]
async fn a_folder_without_journal_or_of_another_cluster_is_refused() {
    let cluster = Cluster::start().await;
    let settings = |name: &str| {
        let data_dir = cluster.dir.path().join(name);
        let settings = settings(cluster.dir.path(), &cluster.keyring, &cluster.chunkmaster);
        JobtrackerSettings { data_dir, ..settings }
    };
    let (_, _, daemon) = start(settings("empty"));
    assert!(matches!(daemon.await.unwrap(), Err(RunError::Recover(_))));
    let again = init(&settings("jobtracker"), &Shutdown::default()).await;
    assert!(matches!(again, Err(InitError::Open(_))), "{again:?}");
    let numbers = "/.howdah/jobtracker-journals/";
    let numbered = |it: &&StorePath| it.as_str().starts_with(numbers);
    assert_eq!(cluster.master.files().folders.iter().filter(numbered).count(), 1, "no number lost");
    let stranger = Routes::<()>::new().route(
        "/v1/cluster",
        ALL,
        get(async || Json(ClusterInfo { cluster: "cluster-2".parse().unwrap(), epoch: Epoch(1) })),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let chunkmaster = listener.local_addr().unwrap().to_string();
    let guard = Guard { keyring: cluster.keyring.clone(), anonymous: None };
    tokio::spawn(net::serve(listener, stranger.into_router((), guard), std::future::pending()));
    init(&settings("other"), &Shutdown::default()).await.unwrap();
    let (_, _, daemon) = start(JobtrackerSettings { chunkmaster, ..settings("other") });
    let error = daemon.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("cluster-1") && error.contains("cluster-2"), "{error}");
}

#[tokio::test]
async fn a_first_start_that_waits_for_the_chunk_master_can_be_stopped_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Bound, so that nobody else answers there; and nobody does here.
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let chunkmaster = away.local_addr().unwrap().to_string();
    let settings = settings(dir.path(), &Keyring::new(&Secret::random()), &chunkmaster);
    let shutdown = Shutdown::default();
    shutdown.trigger();
    let error = init(&settings, &shutdown).await.unwrap_err();
    assert!(matches!(error, InitError::Stopped { .. }), "{error}");
    assert!(error.to_string().contains(&chunkmaster), "{error}");
    assert!(!settings.data_dir.exists());
}

#[tokio::test]
async fn histories_of_days_that_are_long_past_are_removed_with_their_months_and_years() {
    let keyring = Keyring::new(&Secret::random());
    let master = Master::default();
    let chunkmaster = master.serve(&keyring);
    let root = "/.howdah/history";
    for folder in [
        "",
        "/unfinished",
        "/failed",
        "/failed/job_20261022_0001",
        "/failed/job_20261022_0002",
        "/failed/job_20261023_0001",
        "/failed/job_20261023_0002",
        "/failed/job_20261122_0007",
        "/2025",
        "/2025/12",
        "/2025/12/31",
        "/2026",
        "/2026/10",
        "/2026/10/22",
        "/2026/10/23",
        "/2026/10/23/job_20261023_0001",
        "/2026/11",
        "/2026/11/22",
    ] {
        let folder = format!("{root}{folder}").parse().unwrap();
        assert!(master.files().folders.insert(folder));
    }
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::Store::new(&settings(dir.path(), &keyring, &chunkmaster)).patient();
    // 2026-11-22T12:00:00Z: the 23rd of October began 30.5 days before.
    let now = UnixMillis(1_795_305_600_000 + 12 * 3_600_000);
    let keep = Duration::from_hours(30 * 24);
    // One of the 22nd runs until today; who knew the other one has lost its journal.
    let is_known = async |job| Ok(job == JobId { date: 20_261_022, ordinal: 1 });
    crate::history::sweep::sweep(&store, now, keep, is_known).await.unwrap();
    let left: Vec<_> = master.files().folders.iter().map(ToString::to_string).collect();
    let expected = [
        "",
        "/2026",
        "/2026/10",
        "/2026/10/23",
        "/2026/10/23/job_20261023_0001",
        "/2026/11",
        "/2026/11/22",
        "/failed",
        "/failed/job_20261022_0001",
        "/failed/job_20261023_0002",
        "/failed/job_20261122_0007",
        "/unfinished",
    ];
    assert_eq!(left, expected.map(|folder| format!("{root}{folder}")));
}
