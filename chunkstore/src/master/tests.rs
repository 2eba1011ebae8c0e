//! The chunk master behind real HTTP and a real journal in a temporary folder.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use chunkstore_protocol::*;
use daemon::Shutdown;
use ids::{ClusterId, Epoch, HeartbeatNumber, HostName, Numbered, RackName, RequestStamp};
use net::{CallError, Capability, Client, ClientSettings, Grant, Keyring, Right, Role, Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::*;

const SEGMENT: u64 = 2 << 20;

fn settings(data_dir: &Path, keyring: &Keyring) -> MasterSettings {
    MasterSettings {
        address: "127.0.0.1:7870".to_owned(),
        data_dir: data_dir.to_owned(),
        journal_mirror: None,
        accepts_one_folder: false,
        accept_old_journal: false,
        core: Settings {
            replication: 2,
            chunk_bytes: 1 << 20,
            heartbeat_interval: Duration::from_secs(1),
            dead_after: Duration::from_secs(60),
            lease: Duration::from_secs(60),
            lease_grace: Duration::from_millis(500),
            repair_streams: 2,
            balance_threshold_percent: 10,
            trash_interval: Duration::ZERO,
            trash_free_min_percent: 10,
        },
        journal_segment_bytes: SEGMENT,
        journal_timeout: Duration::from_secs(30),
        snapshot_after_segments: 1,
        topology: daemon::Topology::default(),
        client: ClientSettings {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(3),
            tls: None,
        },
        keyring: keyring.clone(),
    }
}

struct Cluster {
    dir: tempfile::TempDir,
    keyring: Keyring,
    id: ClusterId,
    address: String,
    shutdown: Shutdown,
    master: JoinHandle<Result<(), RunError>>,
    sequence: u64,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(&Secret::random());
        let id = init(dir.path(), SEGMENT).unwrap();
        let (address, shutdown, master) = serve(dir.path(), &keyring).await;
        Self { dir, keyring, id, address, shutdown, master, sequence: 0 }
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    async fn start_again(&mut self) {
        let (address, shutdown, master) = serve(self.dir.path(), &self.keyring).await;
        (self.address, self.shutdown, self.master) = (address, shutdown, master);
    }

    async fn stop(&mut self) {
        self.shutdown.trigger();
        (&mut self.master).await.unwrap().unwrap();
    }

    fn client(&self, role: Role, prefix: &str) -> Client {
        let settings = ClientSettings {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(3),
            tls: None,
        };
        let expires = clock::wall() + Duration::from_secs(600);
        Client::new(settings).with_token(self.keyring.mint(&Capability {
            subject: "tester".to_owned(),
            role,
            grants: vec![Grant::all(prefix)],
            expires,
        }))
    }

    async fn call<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<A, CallError> {
        self.client(Role::User, "/").post(&self.address, path, request).await
    }

    fn stamp(&mut self) -> RequestStamp {
        self.sequence += 1;
        RequestStamp { client: "client-1".parse().unwrap(), slot: 0, sequence: self.sequence }
    }

    async fn register(&self, n: u16) -> ServerRegistered {
        let request = RegisterServer {
            protocol: PROTOCOL_VERSION,
            cluster: Some(self.id.clone()),
            term: None,
            last_record: 0,
            host: host(n),
            rack: RackName::default_rack(),
            address: format!("127.0.0.1:{n}"),
            incarnation: u64::from(n),
            capacity_bytes: 1 << 40,
            free_bytes: 1 << 40,
            disks: Vec::new(),
        };
        let server = self.client(Role::Server, "/");
        server.post(&self.address, "/v1/servers/register", &request).await.unwrap()
    }

    /// Registers, and tells that it holds nothing: a master that has just started waits for that.
    async fn join(&self, n: u16) {
        let registered = self.register(n).await;
        let heartbeat = ServerHeartbeat {
            host: host(n),
            epoch: registered.epoch,
            session: registered.session,
            number: HeartbeatNumber(1),
            capacity_bytes: 1 << 40,
            free_bytes: 1 << 40,
            disks: Vec::new(),
            events: Vec::new(),
            report_complete: true,
            commands_done: 0,
        };
        let server = self.client(Role::Server, "/");
        let _: ServerHeartbeatReply =
            server.post(&self.address, "/v1/servers/heartbeat", &heartbeat).await.unwrap();
    }

    async fn mkdir(&mut self, path: &str) -> Result<Done, CallError> {
        let path = path.parse().unwrap();
        let request = Mkdir { stamp: self.stamp(), path, parents: false };
        self.call("/v1/files/mkdir", &request).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let request =
            List { path: path.parse().unwrap(), after: None, limit: 100, recursive: false };
        let listing: Listing = self.call("/v1/files/list", &request).await.unwrap();
        listing.entries.into_iter().map(|entry| entry.path.to_string()).collect()
    }

    async fn text(&self, path: &str) -> String {
        let client = self.client(Role::User, "/");
        let request = client.request(net::reqwest::Method::GET, &self.address, path);
        client.send(&self.address, request).await.unwrap().text().await.unwrap()
    }
}

async fn serve(
    dir: &Path,
    keyring: &Keyring,
) -> (String, Shutdown, JoinHandle<Result<(), RunError>>) {
    let listener = net::Listener::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = listener.anonymous_on_loopback(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shutdown = Shutdown::default();
    let master = tokio::spawn(run(settings(dir, keyring), listener, shutdown.clone()));
    (address, shutdown, master)
}

fn host(n: u16) -> HostName {
    format!("host-{n}").parse().unwrap()
}

fn create(stamp: RequestStamp, path: &str) -> Create {
    Create {
        stamp,
        path: path.parse().unwrap(),
        parents: false,
        replication: None,
        chunk_bytes: None,
        writer_host: None,
        if_writer_dies: IfWriterDies::Remove,
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, CallError>) -> (u16, String) {
    match result.unwrap_err() {
        CallError::Problem { problem, .. } => (problem.status, problem.kind),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_file_is_written_read_and_deleted_over_http() {
    let mut cluster = Cluster::start().await;
    let registered = cluster.register(1).await;
    cluster.register(2).await;
    assert_eq!((&registered.cluster, registered.epoch), (&cluster.id, Epoch(1)));
    let request = create(cluster.stamp(), "/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let Allocation { chunk, version, pipeline, token } = created.allocation;
    let write = cluster.keyring.verify(&token, clock::wall()).unwrap();
    assert!(write.permits(Right::Write, &chunk.resource()));
    assert!(!write.permits(Right::Read, &chunk.resource()) && !write.permits(Right::Write, "/f"));
    assert_eq!(write.role, Role::Task);

    let servers: Vec<_> = pipeline.into_iter().map(|server| server.host).collect();
    let sealed = Some(SealedChunk { chunk, version, length: 5, checksum: 9, servers });
    let request = Close { stamp: cluster.stamp(), file: created.file, sealed, abandoned: None };
    let status: FileStatus = cluster.call("/v1/files/close", &request).await.unwrap();
    assert!(matches!(status.kind, FileKind::File { length: 5, open: false, .. }));

    let request =
        Locate { path: "/f".parse().unwrap(), offset: 0, length: None, open: false, log: false };
    let located: Located = cluster.call("/v1/files/locate", &request).await.unwrap();
    assert_eq!((located.chunks.len(), located.chunks[0].servers.len()), (1, 2));
    let read = cluster.keyring.verify(&located.chunks[0].token, clock::wall()).unwrap();
    assert!(read.permits(Right::Read, &chunk.resource()));
    assert!(!read.permits(Right::Write, &chunk.resource()));

    let path = "/f".parse().unwrap();
    let request = Delete { stamp: cluster.stamp(), path, recursive: false, skip_trash: false };
    let _: Done = cluster.call("/v1/files/delete", &request).await.unwrap();
    let heartbeat = ServerHeartbeat {
        host: host(1),
        epoch: registered.epoch,
        session: registered.session,
        number: HeartbeatNumber(1),
        capacity_bytes: 1 << 40,
        free_bytes: 1 << 40,
        disks: Vec::new(),
        events: Vec::new(),
        report_complete: true,
        commands_done: 0,
    };
    let server = cluster.client(Role::Server, "/");
    let reply: ServerHeartbeatReply =
        server.post(&cluster.address, "/v1/servers/heartbeat", &heartbeat).await.unwrap();
    let item = ServerCommand::Delete { chunk, version, orphan: false };
    assert_eq!(reply.commands, [Numbered { number: 1, item }]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_restarted_master_knows_all_that_it_acknowledged_and_answers_retries_alike() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/d").await.unwrap();
    let request = create(cluster.stamp(), "/d/f");
    let mut first: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    cluster.restart().await;
    assert_eq!(cluster.names("/d").await, ["/d/f"]);
    let mut again: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    // Tokens are minted anew.
    first.allocation.token.clear();
    again.allocation.token.clear();
    assert_eq!(again, first);
    let info: ClusterInfo =
        cluster.client(Role::Server, "/").get(&cluster.address, "/v1/cluster").await.unwrap();
    assert_eq!((info.cluster, info.epoch), (cluster.id.clone(), Epoch(2)));
    let request = create(cluster.stamp(), "/g");
    let refused = cluster.call::<_, Created>("/v1/files/create", &request).await;
    assert_eq!(problem(refused), (503, "starting".to_owned()), "none has registered again");
    let made = cluster.mkdir("/e").await;
    let left = made.unwrap_err().problem().unwrap().retry_after;
    assert!(left.is_some_and(|seconds| (1..=61).contains(&seconds)), "{left:?}");
    cluster.join(1).await;
    cluster.join(2).await;
    cluster.mkdir("/e").await.unwrap();
    let request = ForgetServer {
        stamp: cluster.stamp(),
        host: host(1),
        lose_records: false,
        lose_chunks: false,
    };
    let refused = cluster.call::<_, Done>("/v1/servers/forget", &request).await;
    assert_eq!(problem(refused), (409, "server-lives".to_owned()));
    let task = cluster.client(Role::Task, "/");
    let refused = task.post::<_, Done>(&cluster.address, "/v1/servers/forget", &request).await;
    assert_eq!(problem(refused).0, 403);
    cluster.stop().await;
}

#[tokio::test]
async fn a_page_is_as_long_as_asked_for_though_the_core_gives_it_in_parts() {
    let mut cluster = Cluster::start().await;
    let n_all = 2 * chunkstore_core::master::READ_STEP + 50;
    for n in 0..n_all {
        cluster.mkdir(&format!("/{n:05}")).await.unwrap();
    }
    let path = StorePath::root();
    for (limit, expected) in [(10_000, n_all), (1500, 1500), (10, 10)] {
        let request = List { path: path.clone(), after: None, limit, recursive: false };
        let page: Listing = cluster.call("/v1/files/list", &request).await.unwrap();
        assert_eq!(page.entries.len(), expected);
        assert_eq!(page.next.is_some(), expected < n_all);
        let names: Vec<_> = page.entries.iter().map(|entry| entry.path.to_string()).collect();
        assert!(names.is_sorted());
    }
    cluster.stop().await;
}

#[tokio::test]
async fn state_survives_snapshots_of_many_segments() {
    let mut cluster = Cluster::start().await;
    let long = "x".repeat(200);
    let mut expected = Vec::new();
    // About 5 MiB of records: two segments are closed and folded into a snapshot.
    for n in 0..20 {
        let deep: String = (0..19).map(|part| format!("/{part:02}{long}")).collect();
        let path: StorePath = format!("/{n:02}{deep}").parse().unwrap();
        for _ in 0..32 {
            let request = Mkdir { stamp: cluster.stamp(), path: path.clone(), parents: true };
            let _: Done = cluster.call("/v1/files/mkdir", &request).await.unwrap();
            let top = format!("/{n:02}").parse().unwrap();
            let request =
                Delete { stamp: cluster.stamp(), path: top, recursive: true, skip_trash: false };
            let _: Done = cluster.call("/v1/files/delete", &request).await.unwrap();
        }
        let request = Mkdir { stamp: cluster.stamp(), path, parents: true };
        let _: Done = cluster.call("/v1/files/mkdir", &request).await.unwrap();
        expected.push(format!("/{n:02}"));
    }
    cluster.stop().await;
    assert!(journal::latest_snapshot(cluster.dir.path()).unwrap().is_some());
    cluster.start_again().await;
    assert_eq!(cluster.names("/").await, expected);
    cluster.stop().await;
}

#[tokio::test]
async fn with_a_full_journal_files_can_be_removed_and_none_made_until_there_is_room() {
    let mut cluster = Cluster::start().await;
    cluster.join(1).await;
    cluster.join(2).await;
    cluster.mkdir("/old").await.unwrap();
    cluster.stop().await;
    // Stands in the way of the next segment, as a full disk would.
    let obstacle = cluster.dir.path().join("prepared.tmp");
    let _none_yet = std::fs::remove_file(cluster.dir.path().join("prepared.log"));
    std::fs::create_dir(&obstacle).unwrap();
    cluster.start_again().await;
    cluster.join(1).await;
    cluster.join(2).await;
    let full = (507, "out-of-space".to_owned());
    let request = create(cluster.stamp(), "/new");
    let refused = cluster.call::<_, Created>("/v1/files/create", &request).await;
    assert_eq!(problem(refused), full);
    let path = "/old".parse().unwrap();
    let remove = Delete { stamp: cluster.stamp(), path, recursive: false, skip_trash: false };
    let _: Done = cluster.call("/v1/files/delete", &remove).await.unwrap();
    std::fs::remove_dir(&obstacle).unwrap();
    let made = async {
        loop {
            let request = create(cluster.stamp(), "/new");
            match cluster.call::<_, Created>("/v1/files/create", &request).await {
                Ok(_) => return,
                refused => assert_eq!(problem(refused), full),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), made).await.expect("room is found again");
    assert_eq!(cluster.names("/").await, ["/new"]);
    cluster.stop().await;
}

#[tokio::test]
async fn many_files_are_located_at_once_and_what_is_wrong_with_one_stands_in_its_place() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let request = create(cluster.stamp(), "/mine/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let Allocation { chunk, version, pipeline, .. } = created.allocation;
    let servers: Vec<_> = pipeline.into_iter().map(|server| server.host).collect();
    let sealed = Some(SealedChunk { chunk, version, length: 5, checksum: 9, servers });
    let request = Close { stamp: cluster.stamp(), file: created.file, sealed, abandoned: None };
    let _: FileStatus = cluster.call("/v1/files/close", &request).await.unwrap();
    let mut paths: Vec<StorePath> =
        ["/theirs", "/mine/f", "/mine/none", "/mine"].map(|path| path.parse().unwrap()).to_vec();
    let user = cluster.client(Role::User, "/mine");
    let request = LocateMany { paths: paths.clone() };
    let located: LocatedMany =
        user.post(&cluster.address, "/v1/files/locate_many", &request).await.unwrap();
    let kinds = located.files.iter().map(|file| match file {
        PathLocation::Located(_) => None,
        PathLocation::Refused { kind, .. } => Some(*kind),
    });
    let expected = [ProblemKind::Forbidden, ProblemKind::NotFound, ProblemKind::IsAFolder];
    assert_eq!(kinds.flatten().collect::<Vec<_>>(), expected);
    let PathLocation::Located(file) = &located.files[1] else { panic!("{located:?}") };
    let place = &file.chunks[0];
    assert_eq!((place.chunk, place.checksum, place.servers.len()), (chunk, 9, 2));
    let read = cluster.keyring.verify(&place.token, clock::wall()).unwrap();
    assert!(read.permits(Right::Read, &chunk.resource()));
    paths.resize(LOCATE_PATHS_MAX + 1, paths[1].clone());
    let request = LocateMany { paths };
    let refused = cluster.call::<_, LocatedMany>("/v1/files/locate_many", &request).await;
    assert_eq!(problem(refused), (400, "invalid-request".to_owned()));
    cluster.stop().await;
}

/// Every request that names a path, each path of it in turn as `PATH`.
const REQUESTS: [(&str, &str); 17] = [
    ("create", r#"{"stamp": STAMP, "path": PATH}"#),
    ("append", r#"{"stamp": STAMP, "path": PATH}"#),
    ("stat", r#"{"path": PATH}"#),
    ("list", r#"{"path": PATH, "limit": 10}"#),
    ("count", r#"{"path": PATH}"#),
    ("locate", r#"{"path": PATH}"#),
    ("locate_many", r#"{"paths": ["/mine", PATH]}"#),
    ("mkdir", r#"{"stamp": STAMP, "path": PATH, "parents": true}"#),
    ("rename", r#"{"stamp": STAMP, "from": PATH, "to": "/b"}"#),
    ("rename", r#"{"stamp": STAMP, "from": "/mine", "to": PATH}"#),
    ("copy", r#"{"stamp": STAMP, "from": PATH, "to": "/b"}"#),
    ("copy", r#"{"stamp": STAMP, "from": "/mine", "to": PATH, "parents": true}"#),
    ("set_replication", r#"{"stamp": STAMP, "path": PATH, "replication": 1}"#),
    ("delete", r#"{"stamp": STAMP, "path": PATH, "recursive": true}"#),
    (
        "publish",
        r#"{"stamp": STAMP, "staging": PATH, "target": "/b", "winners": [], "marker": "m"}"#,
    ),
    (
        "publish",
        r#"{"stamp": STAMP, "staging": "/mine", "target": PATH, "winners": [], "marker": "m"}"#,
    ),
    ("rename", r#"{"stamp": STAMP, "from": "/mine", "to": PATH, "replace": "always"}"#),
];

#[tokio::test]
async fn a_path_that_is_none_is_refused_at_every_entrance_and_changes_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let (part, whole) = ("x".repeat(256), "/x".repeat(2049));
    let bad = [
        "",
        "mine",
        "//",
        "/mine/",
        "/mine//a",
        "/.",
        "/mine/..",
        "/../etc",
        "/a\0b",
        &format!("/{part}"),
        &whole,
    ];
    for (name, body) in REQUESTS {
        for path in bad {
            let stamp = serde_json::to_string(&cluster.stamp()).unwrap();
            let path = serde_json::to_string(path).unwrap();
            let body = body.replace("STAMP", &stamp).replace("PATH", &path);
            let request: serde_json::Value = serde_json::from_str(&body).unwrap();
            let route = format!("/v1/files/{name}");
            match cluster.call::<_, serde_json::Value>(&route, &request).await.unwrap_err() {
                CallError::Problem { problem, .. } => {
                    assert!((400..500).contains(&problem.status), "{body}: {problem}");
                    assert_eq!(problem.kind, "invalid-request", "{body}");
                    assert!(!problem.detail.is_empty(), "{body}");
                }
                other => panic!("{body}: {other}"),
            }
        }
    }
    assert_eq!(cluster.names("/").await, ["/mine"]);
    assert!(cluster.names("/mine").await.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn roles_and_prefixes_are_enforced() {
    let mut cluster = Cluster::start().await;
    cluster.mkdir("/mine").await.unwrap();
    let forbidden = (403, "forbidden".to_owned());
    let stat = |path: &str| Stat { path: path.parse().unwrap() };
    let task = cluster.client(Role::Task, "/mine");
    let address = cluster.address.clone();
    let allowed = task.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/mine")).await;
    assert!(allowed.is_ok());
    let outside = task.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/")).await;
    assert_eq!(problem(outside), forbidden);
    let (from, to) = ("/mine".parse().unwrap(), "/other".parse().unwrap());
    let request = Rename { stamp: cluster.stamp(), from, to, replace: Replace::Never };
    let stolen = task.post::<_, Done>(&address, "/v1/files/rename", &request).await;
    assert_eq!(problem(stolen), forbidden);
    let server = cluster.client(Role::Server, "/");
    let refused = server.post::<_, FileStatus>(&address, "/v1/files/stat", &stat("/")).await;
    assert_eq!(problem(refused), forbidden);
    let request = serde_json::json!({});
    let user = cluster.client(Role::User, "/");
    let refused =
        user.post::<_, ServerRegistered>(&address, "/v1/servers/register", &request).await;
    assert_eq!(problem(refused), forbidden);
    cluster.stop().await;
}

#[tokio::test]
async fn no_user_takes_from_running_jobs_what_they_rely_on() {
    let mut cluster = Cluster::start().await;
    let (system, address) = (cluster.client(Role::Master, "/"), cluster.address.clone());
    let staging: StorePath = "/.howdah/staging/job_1".parse().unwrap();
    let path = staging.clone();
    let request = Mkdir { stamp: cluster.stamp(), path, parents: true };
    let _: Done = system.post(&address, "/v1/files/mkdir", &request).await.unwrap();
    cluster.mkdir("/mine").await.unwrap();
    let forbidden = (403, "forbidden".to_owned());
    let top: StorePath = "/.howdah".parse().unwrap();
    for path in [top.clone(), staging.clone()] {
        let request = Delete {
            stamp: cluster.stamp(),
            path: path.clone(),
            recursive: true,
            skip_trash: false,
        };
        assert_eq!(problem(cluster.call::<_, Done>("/v1/files/delete", &request).await), forbidden);
        let to = "/mine/theirs".parse().unwrap();
        let request = Rename { stamp: cluster.stamp(), from: path, to, replace: Replace::Never };
        assert_eq!(problem(cluster.call::<_, Done>("/v1/files/rename", &request).await), forbidden);
    }
    for (from, to) in [(staging, "/out"), ("/mine".parse().unwrap(), "/.howdah/staging/job_2")] {
        let request = Publish {
            stamp: cluster.stamp(),
            staging: from,
            winners: Vec::new(),
            target: to.parse().unwrap(),
            marker: "_SUCCESS".to_owned(),
            owner: None,
        };
        let published = cluster.call::<_, Done>("/v1/files/publish", &request).await;
        assert_eq!(problem(published), forbidden, "to {to}");
    }
    assert_eq!(cluster.names("/.howdah/staging").await, ["/.howdah/staging/job_1"]);
    let program: StorePath = "/.howdah/programs/5eed".parse().unwrap();
    let (from, replace) = ("/mine/other".parse().unwrap(), Replace::Always);
    let over = Rename { stamp: cluster.stamp(), from, to: program, replace };
    assert_eq!(problem(cluster.call::<_, Done>("/v1/files/rename", &over).await), forbidden);
    let Rename { stamp, from, to, replace } = over;
    let over = Copy { stamp, from, to, replace, parents: false };
    assert_eq!(problem(cluster.call::<_, FileStatus>("/v1/files/copy", &over).await), forbidden);
    let secret: StorePath = "/.howdah/staging/job_1/part".parse().unwrap();
    for (part, to) in [(&secret, "/mine/whole"), (&over.from, "/.howdah/whole")] {
        let request = Concat {
            stamp: cluster.stamp(),
            parts: vec![part.clone()],
            to: to.parse().unwrap(),
            replace: Replace::Never,
            parents: true,
        };
        let whole = cluster.call::<_, FileStatus>("/v1/files/concat", &request).await;
        assert_eq!(problem(whole), forbidden, "{part} to {to}");
    }
    let request = Delete { stamp: cluster.stamp(), path: top, recursive: true, skip_trash: false };
    let _: Done = system.post(&address, "/v1/files/delete", &request).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_stamp_that_comes_again_with_another_request_is_a_conflict_across_restarts_too() {
    let mut cluster = Cluster::start().await;
    let first = Mkdir { stamp: cluster.stamp(), path: "/a".parse().unwrap(), parents: false };
    let other = Mkdir { path: "/b".parse().unwrap(), ..first.clone() };
    for _ in 0..2 {
        let _: Done = cluster.call("/v1/files/mkdir", &first).await.unwrap();
        let refused = cluster.call::<_, Done>("/v1/files/mkdir", &other).await;
        assert_eq!(problem(refused), (409, "invalid-request".to_owned()));
        cluster.restart().await;
    }
    assert_eq!(cluster.names("/").await, ["/a"]);
    cluster.stop().await;
}

#[tokio::test]
async fn nobody_gets_the_reply_or_the_lease_of_another_by_naming_its_client() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.register(2).await;
    cluster.mkdir("/mine").await.unwrap();
    let address = cluster.address.clone();
    let request = create(cluster.stamp(), "/mine/f");
    let created: Created = cluster.call("/v1/files/create", &request).await.unwrap();
    let thief = cluster.client(Role::Task, "/theirs");
    let file = created.file;
    let forged = Create { path: "/theirs".parse().unwrap(), ..request };
    let own: Created = thief.post(&address, "/v1/files/create", &forged).await.unwrap();
    assert_ne!(own.file, file, "another's reply");
    let lost = (409, "lease-lost".to_owned());
    let stamp = cluster.stamp();
    let abandon = Abandon { stamp: stamp.clone(), file };
    let abandoned = thief.post::<_, Done>(&address, "/v1/files/abandon", &abandon).await;
    assert_eq!(problem(abandoned), lost);
    let close = Close { stamp: stamp.clone(), file, sealed: None, abandoned: None };
    let closed = thief.post::<_, FileStatus>(&address, "/v1/files/close", &close).await;
    assert_eq!(problem(closed), lost);
    let renew = Renew { client: stamp.client.clone(), files: vec![file], wait_ms: 0 };
    let renewed = thief.post::<_, Done>(&address, "/v1/files/renew", &renew).await;
    assert_eq!(problem(renewed), lost);
    let _: Done = cluster.call("/v1/files/renew", &renew).await.unwrap();
    let many = Renew { files: vec![file; RENEW_FILES_MAX + 1], ..renew.clone() };
    let refused = cluster.call::<_, Done>("/v1/files/renew", &many).await;
    assert_eq!(problem(refused), (400, "invalid-request".to_owned()));
    let closed: FileStatus = cluster.call("/v1/files/close", &close).await.unwrap();
    assert_eq!(closed.path.as_str(), "/mine/f");
    let stolen = thief.post::<_, FileStatus>(&address, "/v1/files/close", &close).await;
    assert_eq!(problem(stolen), lost, "the kept reply is its owner's");
    cluster.stop().await;
}

#[tokio::test]
async fn a_caller_without_a_token_is_a_user_on_loopback_and_no_server() {
    let mut cluster = Cluster::start().await;
    let settings = ClientSettings {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        silence_timeout: Duration::from_secs(3),
        tls: None,
    };
    let anyone = Client::new(settings);
    let stat = Stat { path: StorePath::root() };
    let root: FileStatus = anyone.post(&cluster.address, "/v1/files/stat", &stat).await.unwrap();
    assert_eq!(root.kind, FileKind::Folder);
    let body = serde_json::json!({});
    let refused = anyone
        .post::<_, ServerHeartbeatReply>(&cluster.address, "/v1/servers/heartbeat", &body)
        .await;
    assert_eq!(problem(refused).0, 403);
    cluster.stop().await;
}

#[tokio::test]
async fn metrics_and_health_tell_the_state() {
    let mut cluster = Cluster::start().await;
    cluster.register(1).await;
    cluster.mkdir("/d").await.unwrap();
    assert_eq!(cluster.text("/readyz").await, "ready\n");
    let text = cluster.text("/metrics").await;
    for line in [
        "howdah_chunkmaster_servers_live",
        "howdah_chunkmaster_files",
        "howdah_chunkmaster_records_total{record=\"folders_made\"}",
        "howdah_chunkmaster_request_seconds_count{method=\"POST\",route=\"/v1/files/mkdir\",status=\"200\"}",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no {line} in\n{text}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_folder_is_initialised_once_and_never_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(&Secret::random());
    let (_, _, master) = serve(dir.path(), &keyring).await;
    let error = master.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("--init"), "{error}");

    let options = journal::Options::with_segments(SEGMENT);
    journal::Journal::create(dir.path(), options).unwrap();
    let (_, _, master) = serve(dir.path(), &keyring).await;
    let error = master.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::NotInitialised { .. }), "{error}");
    init(dir.path(), SEGMENT).unwrap();
    let error = init(dir.path(), SEGMENT).unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
}

#[tokio::test]
async fn a_second_master_on_the_same_folder_is_refused() {
    let mut cluster = Cluster::start().await;
    assert!(cluster.names("/").await.is_empty());
    let (_, _, second) = serve(cluster.dir.path(), &cluster.keyring).await;
    let error = second.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    cluster.stop().await;
}

/// A file in the place of one that the journal makes, which whoever opens it for writing waits for, as for a disk that hangs.
struct Pipe(std::path::PathBuf);

impl Pipe {
    fn lay(path: std::path::PathBuf) -> Self {
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        use std::os::unix::fs::OpenOptionsExt as _;
        const O_NONBLOCK: i32 = 0o4000;
        let reader = std::fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.0);
        std::fs::remove_file(&self.0).ok();
        drop(reader);
    }
}

#[tokio::test]
async fn a_master_whose_disk_hangs_at_its_start_ends_when_it_is_told_to() {
    let mut cluster = Cluster::start().await;
    cluster.mkdir("/kept").await.unwrap();
    cluster.stop().await;
    std::fs::remove_file(cluster.dir.path().join("prepared.log")).ok();
    let pipe = Pipe::lay(cluster.dir.path().join("prepared.tmp"));
    cluster.start_again().await;
    cluster.shutdown.trigger();
    let ended = tokio::time::timeout(Duration::from_secs(30), &mut cluster.master).await;
    ended.expect("it ends in time").unwrap().unwrap();
    drop(pipe);
    cluster.start_again().await;
    assert_eq!(cluster.names("/").await, ["/kept"]);
    cluster.stop().await;
}
