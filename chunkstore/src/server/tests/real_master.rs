//! Chunkservers and client with the real chunk master: that the three agree on what they say.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, ReadSettings, StoreError, StoreSettings};
use chunkstore_protocol::{Counted, FileId, Replace, StorePath, Winner};
use daemon::Shutdown;
use ids::{RackName, UnixMillis};
use net::{Capability, Client, Keyring, Role, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::{REPAIR_RATE, bytes, client_settings, until};
use crate::master::{self, MasterSettings};
use crate::server::{self, ServerSettings};

const SEGMENT: u64 = 2 << 20;

/// How long a server may be silent that a log's primary sends to.
pub(super) const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct RealCluster {
    keyring: Keyring,
    address: String,
    master_dir: tempfile::TempDir,
    master: Option<(Shutdown, JoinHandle<Result<(), master::RunError>>)>,
    pub(super) server_dirs: Vec<tempfile::TempDir>,
    servers: Vec<Shutdown>,
    dead_after: Duration,
    idle_log_timeout: Duration,
}

impl RealCluster {
    pub(super) fn start(n_servers: usize) -> Self {
        Self::start_with(n_servers, Duration::from_secs(60))
    }

    pub(super) fn start_with(n_servers: usize, dead_after: Duration) -> Self {
        Self::start_idling(n_servers, dead_after, Duration::from_hours(1))
    }

    pub(super) fn start_idling(
        n_servers: usize,
        dead_after: Duration,
        idle_log_timeout: Duration,
    ) -> Self {
        let master_dir = tempfile::tempdir().unwrap();
        master::init(master_dir.path(), SEGMENT).unwrap();
        let mut cluster = Self {
            keyring: Keyring::new(&Secret::random()),
            address: "127.0.0.1:0".into(),
            master_dir,
            master: None,
            server_dirs: (0..n_servers).map(|_| tempfile::tempdir().unwrap()).collect(),
            servers: Vec::new(),
            dead_after,
            idle_log_timeout,
        };
        cluster.start_master();
        for n in 1..=n_servers {
            let server = cluster.start_server(n, cluster.server_dirs[n - 1].path());
            cluster.servers.push(server);
        }
        cluster
    }

    pub(super) fn start_master(&mut self) {
        let listener = TcpListener::bind(&self.address).unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let settings = MasterSettings {
            address: "127.0.0.1:7870".to_owned(),
            data_dir: self.master_dir.path().to_owned(),
            journal_mirror: None,
            accepts_one_folder: false,
            accept_old_journal: false,
            core: master::Settings {
                replication: 2,
                chunk_bytes: 1 << 20,
                heartbeat_interval: Duration::from_millis(50),
                dead_after: self.dead_after,
                lease: Duration::from_secs(60),
                lease_grace: Duration::from_secs(3),
                repair_streams: 2,
                balance_threshold_percent: 10,
                trash_interval: Duration::ZERO,
                trash_free_min_percent: 10,
            },
            journal_segment_bytes: SEGMENT,
            journal_timeout: Duration::from_secs(30),
            snapshot_after_segments: 2,
            topology: daemon::Topology::default(),
            client: super::client_settings(),
            keyring: self.keyring.clone(),
        };
        let shutdown = Shutdown::default();
        let task = tokio::spawn(master::run(settings, listener, shutdown.clone()));
        self.master = Some((shutdown, task));
    }

    pub(super) async fn stop_master(&mut self) {
        let (shutdown, task) = self.master.take().unwrap();
        shutdown.trigger();
        task.await.unwrap().unwrap();
    }

    fn start_server(&self, n: usize, dir: &Path) -> Shutdown {
        let (shutdown, serving) = self.server(n, dir);
        tokio::spawn(serving);
        shutdown
    }

    /// A server in a runtime of its own: shutting that down ends it wherever it stands, like SIGKILL.
    pub(super) fn start_mortal(&self, n: usize, dir: &Path) -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(self.server(n, dir).1);
        runtime
    }

    fn server(
        &self,
        n: usize,
        dir: &Path,
    ) -> (Shutdown, impl Future<Output = Result<(), server::RunError>> + Send + use<>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = ServerSettings {
            host: format!("host-{n}").parse().unwrap(),
            rack: RackName::default_rack(),
            address: listener.local_addr().unwrap().to_string(),
            data_dirs: vec![dir.to_owned()],
            reserve_bytes: 0,
            disk_timeout: super::DISK_TIMEOUT,
            idle_timeout: Duration::from_secs(60),
            keep_unfinished: Duration::from_secs(120),
            follow_timeout: FOLLOW_TIMEOUT,
            idle_log_timeout: self.idle_log_timeout,
            repair_rate: REPAIR_RATE,
            balance_rate: REPAIR_RATE,
            scrub_rate: 0,
            trash_interval: Duration::from_hours(24),
            master: self.address.clone(),
            keyring: self.keyring.clone(),
            client: client_settings(),
        };
        let shutdown = Shutdown::default();
        let serving = server::run(settings, listener, shutdown.clone());
        (shutdown, serving)
    }

    pub(super) fn store(&self) -> ChunkStore {
        self.store_through(&self.address)
    }

    /// A client that may do all, and the master's address.
    pub(super) fn client(&self) -> (Client, String) {
        let token =
            self.keyring.mint(&Capability::unlimited("tester", Role::User, UnixMillis(u64::MAX)));
        (Client::new(client_settings()).with_token(token), self.address.clone())
    }

    fn store_through(&self, master: &str) -> ChunkStore {
        let settings = StoreSettings {
            master: master.to_owned(),
            host: Some("host-1".parse().unwrap()),
            rack: RackName::default_rack(),
            retry_for: Duration::from_secs(20),
            reads: ReadSettings::default(),
        };
        ChunkStore::new(self.client().0, settings)
    }

    fn n_chunk_files(&self) -> usize {
        self.n_chunk_files_from(1)
    }

    /// Sealed chunks on the servers from the `first` on.
    fn n_chunk_files_from(&self, first: usize) -> usize {
        let folders = self.server_dirs[first - 1..]
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir.path().join("chunks")).into_iter().flatten());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "chunk").count()
    }
}

pub(super) fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_across_a_restart_of_the_master_and_read_and_deleted_after_it() {
    let mut cluster = RealCluster::start(2);
    let store = cluster.store();
    let data = bytes(5_500_000);
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    let mut writer = store.create(&path("/in/f"), options).await.unwrap();
    writer.write(Bytes::copy_from_slice(&data[..2_500_000])).await.unwrap();
    cluster.stop_master().await;
    let rest = Bytes::copy_from_slice(&data[2_500_000..]);
    let writing = tokio::spawn(async move {
        writer.write(rest).await?;
        writer.close().await
    });
    cluster.start_master();
    let status = writing.await.unwrap().unwrap();
    assert_eq!(status.path, path("/in/f"));
    assert_eq!(cluster.n_chunk_files(), 12, "six chunks, two replicas each");
    let read = store.read_all(&path("/in/f"), 1 << 30).await.unwrap();
    assert!(read == data);
    store.delete(&path("/in"), true).await.unwrap();
    assert!(matches!(store.open(&path("/in/f")).await, Err(StoreError::NotFound { .. })));
    until("the chunks are deleted from the disks", || cluster.n_chunk_files() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_server_held_is_made_again_and_goes_when_it_is_back() {
    let cluster = RealCluster::start_with(3, Duration::from_secs(1));
    let store = cluster.store();
    let data = bytes(20_500_000);
    store.write_all(&path("/f"), data.clone(), CreateOptions::default()).await.unwrap();
    assert_eq!(cluster.n_chunk_files(), 40);
    cluster.servers[0].trigger();
    until("two replicas of each are on the others", || cluster.n_chunk_files_from(2) == 40).await;
    assert!(store.read_all(&path("/f"), 1 << 30).await.unwrap() == data);
    cluster.start_server(1, cluster.server_dirs[0].path());
    until("no chunk has more than it needs", || cluster.n_chunk_files() == 40).await;
    assert!(store.read_all(&path("/f"), 1 << 30).await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_about_names_do_what_they_say() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    let options = CreateOptions::default();
    store.mkdir(&path("/staging/job"), true).await.unwrap();
    for name in ["a", "b", "c"] {
        let to = path("/staging/job").join(name).unwrap();
        store.write_all(&to, name.as_bytes().to_vec(), options).await.unwrap();
    }
    let page = store.list(&path("/staging/job"), None, 2).await.unwrap();
    assert_eq!((page.entries.len(), page.next.is_some()), (2, true));
    assert_eq!(store.list_all(&path("/staging/job"), 3).await.unwrap().len(), 3);
    let too_much = store.list_all(&path("/staging/job"), 2).await;
    assert!(matches!(too_much, Err(StoreError::TooMuch { limit: 2, .. })));
    let winner = |staged: &str, published: &str| Winner {
        staged: staged.to_owned(),
        published: published.to_owned(),
    };
    let winners = [winner("a", "part-r-00000"), winner("c", "part-r-00001")];
    let (staging, out) = (path("/staging/job"), path("/out/x"));
    store.publish(&staging, &winners, &out, "_SUCCESS").await.unwrap();
    assert!(!store.exists(&staging).await.unwrap());
    assert_eq!(store.read_all(&path("/out/x/part-r-00001"), 10).await.unwrap(), b"c");
    assert!(store.read_all(&path("/out/x/_SUCCESS"), 10).await.unwrap().is_empty());
    store.rename(&out, &path("/out/y")).await.unwrap();
    let taken = store.write_all(&path("/out/y/_SUCCESS"), vec![], options).await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists { .. })));
    let full = store.delete(&path("/out"), false).await;
    assert!(matches!(full, Err(StoreError::FolderNotEmpty { .. })));
    let orphan = store.write_all(&path("/no/such/folder"), vec![1], options).await;
    assert!(matches!(orphan, Err(StoreError::NotFound { .. })), "{orphan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_read_and_the_checksum_of_the_same_bytes_is_the_same_however_they_are_cut() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    let data = bytes(3_300_000);
    let options = CreateOptions::default();
    store.write_all(&path("/a"), data.clone(), options).await.unwrap();
    let small = CreateOptions { chunk_bytes: Some(192 << 10), ..options };
    store.write_all(&path("/b"), data.clone(), small).await.unwrap();
    store.write_all(&path("/empty"), vec![], options).await.unwrap();
    let expected = chunkstore_client::checksum::crc32c(&data);
    assert_eq!(store.checksum(&path("/a")).await.unwrap(), expected);
    assert_eq!(store.checksum(&path("/b")).await.unwrap(), expected);
    assert_eq!(store.checksum(&path("/empty")).await.unwrap(), 0);
    let n_files = cluster.n_chunk_files();
    let copy = store.copy(&path("/a"), &path("/new/c"), Replace::Never, true).await.unwrap();
    assert_eq!(store.stat(&path("/new/c")).await.unwrap(), copy);
    assert_eq!(cluster.n_chunk_files(), n_files, "no byte is written");
    let other = Replace::Only(FileId(u64::MAX));
    let changed = store.rename_over(&path("/b"), &path("/a"), other).await;
    assert!(matches!(changed, Err(StoreError::Changed { .. })), "{changed:?}");
    store.rename_over(&path("/b"), &path("/a"), Replace::Always).await.unwrap();
    assert!(store.read_all(&path("/a"), 1 << 30).await.unwrap() == data);
    assert!(store.read_all(&path("/new/c"), 1 << 30).await.unwrap() == data);
    let counted = store.count(&path("/")).await.unwrap();
    let bytes = 2 * data.len() as u64;
    let expected = Counted { folders: 2, files: 3, bytes, replica_bytes: 2 * bytes };
    assert_eq!(counted, expected);
    let below = store.list_recursive(&path("/"), Some("a".to_owned()), 2).await.unwrap();
    let names: Vec<_> = below.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!((names, below.next.as_deref()), (vec!["/empty", "/new"], Some("new")));
    store.delete_for_good(&path("/new/c"), false).await.unwrap();
    store.delete_for_good(&path("/a"), false).await.unwrap();
    until("the chunks go with their last file", || cluster.n_chunk_files() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_appended_to_while_others_read_it_as_it_was() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    let data = bytes(3_300_000);
    let (before, at) = (1_500_000, path("/f"));
    store.write_all(&at, data[..before].to_vec(), CreateOptions::default()).await.unwrap();
    let mut writer = store.append(&at).await.unwrap();
    writer.write(Bytes::copy_from_slice(&data[before..])).await.unwrap();
    assert!(store.read_all(&at, 1 << 30).await.unwrap() == data[..before]);
    let refused = store.append(&at).await.unwrap_err();
    assert!(matches!(refused, StoreError::StillOpen { .. }), "{refused}");
    assert!(refused.to_string().contains("wait until its writer has closed it"), "{refused}");
    writer.close().await.unwrap();
    assert!(store.read_all(&at, 1 << 30).await.unwrap() == data);
    let n_files = cluster.n_chunk_files();
    let mut writer = store.append(&at).await.unwrap();
    writer.write(bytes(2_500_000).into()).await.unwrap();
    let so_far = store.locate_so_far(&at, 0, None).await.unwrap();
    let grown = data.len() as u64 + (1 << 20);
    assert!(so_far.length >= grown, "whole chunks are there for who asks: {}", so_far.length);
    assert_eq!(store.locate(&at, 0, None).await.unwrap().length, data.len() as u64);
    writer.abandon().await.unwrap();
    assert!(store.read_all(&at, 1 << 30).await.unwrap() == data, "as it was");
    until("what was appended is deleted", || cluster.n_chunk_files() == n_files).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_a_file_whose_folder_moves_is_told_where_it_is() {
    let cluster = RealCluster::start(2);
    let store = cluster.store();
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    let mut writer = store.create(&path("/par/f"), options).await.unwrap();
    writer.write(bytes(1_500_000).into()).await.unwrap();
    store.rename(&path("/par"), &path("/moved")).await.unwrap();
    let closed = writer.close().await.unwrap_err();
    let expected = path("/moved/f");
    assert!(matches!(&closed, StoreError::Moved { now, .. } if *now == expected), "{closed}");
    assert!(store.read_all(&expected, 1 << 30).await.unwrap() == bytes(1_500_000));

    let mut writer = store.append(&expected).await.unwrap();
    writer.write(bytes(5).into()).await.unwrap();
    store.rename(&path("/moved"), &path("/again")).await.unwrap();
    let closed = writer.close().await.unwrap_err();
    let expected = path("/again/f");
    assert!(matches!(&closed, StoreError::Moved { now, .. } if *now == expected), "{closed}");
    assert_eq!(store.read_all(&expected, 1 << 30).await.unwrap().len(), 1_500_005);
}

/// Bytes of the largest chunk being written in a server's folder.
fn open_bytes(dir: &tempfile::TempDir) -> u64 {
    let folders = std::fs::read_dir(dir.path().join("chunks")).into_iter().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let open = files.map(|file| file.unwrap().path()).filter(|path| is_open(path));
    open.filter_map(|path| Some(path.metadata().ok()?.len())).max().unwrap_or(0)
}

/// Whether the server has its cluster's id from the master.
fn is_joined(dir: &tempfile::TempDir) -> bool {
    let identity = std::fs::read_to_string(dir.path().join("identity.json"));
    identity.is_ok_and(|text| !text.contains("null"))
}

fn is_open(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_goes_on_behind_what_the_survivors_of_a_killed_server_have() {
    const MIB: usize = 1 << 20;
    // Head, middle and end of the pipeline; then two of four, one after the other.
    for (n_servers, killed) in [(3, vec![0]), (3, vec![1]), (3, vec![2]), (4, vec![0, 1])] {
        let mut cluster = RealCluster::start(0);
        cluster.server_dirs = (0..n_servers).map(|_| tempfile::tempdir().unwrap()).collect();
        let dirs = &cluster.server_dirs;
        let mut servers: BTreeMap<usize, _> =
            (1..=n_servers).map(|n| (n, cluster.start_mortal(n, dirs[n - 1].path()))).collect();
        let store = cluster.store();
        let data = bytes(40 * MIB);
        let options = CreateOptions {
            chunk_bytes: Some(16 << 20),
            replication: Some(3),
            ..CreateOptions::default()
        };
        until("all servers have registered", || dirs.iter().all(is_joined)).await;
        let mut writer = store.create(&path("/f"), options).await.unwrap();
        let mut at = 0;
        for (round, place) in killed.iter().enumerate() {
            let until_byte = (20 + 8 * round) * MIB;
            writer.write(Bytes::copy_from_slice(&data[at..until_byte])).await.unwrap();
            at = until_byte;
            until("some MiB of a chunk are on three disks", || {
                servers.keys().filter(|n| open_bytes(&dirs[**n - 1]) >= 2 << 20).count() == 3
            })
            .await;
            let victim = writer.pipeline().nth(*place).unwrap().as_str();
            let number = victim.strip_prefix("host-").unwrap().parse().unwrap();
            servers.remove(&number).unwrap().shutdown_background();
        }
        for piece in data[at..].chunks(MIB) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.close().await.unwrap();
        let located = store.locate(&path("/f"), 0, None).await.unwrap();
        let lengths: Vec<_> = located.chunks.iter().map(|chunk| chunk.length).collect();
        assert_eq!(lengths.iter().sum::<u64>(), data.len() as u64, "{killed:?}: {lengths:?}");
        // The others go on without the last one.
        let broken = killed != [2];
        let shorter = lengths[..lengths.len() - 1].iter().filter(|n| **n < 16 << 20).count();
        assert_eq!(shorter > 0, broken, "{killed:?}: sealed where it broke off: {lengths:?}");
        assert!(store.read_all(&path("/f"), 1 << 30).await.unwrap() == data, "{killed:?}");
        servers.into_values().for_each(tokio::runtime::Runtime::shutdown_background);
    }
}

/// Passes on what comes to it to `target`; says when a client has asked for `needle`.
async fn pass_on(listener: TcpListener, target: String, needle: &'static str, seen: Shutdown) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let (target, seen) = (target.clone(), seen.clone());
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            let (mut from_near, mut to_near) = near.split();
            let (mut from_far, mut to_far) = far.split();
            let up = async {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(n @ 1..) = from_near.read(&mut bytes).await {
                    to_far.write_all(&bytes[..n]).await.unwrap();
                    if bytes[..n].windows(needle.len()).any(|part| part == needle.as_bytes()) {
                        seen.trigger();
                    }
                }
            };
            // Either end closes both.
            tokio::select! {
                () = up => {}
                _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_killed_writers_file_is_free_again_in_a_moment() {
    let cluster = RealCluster::start(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap().to_string();
    let renewed = Shutdown::default();
    tokio::spawn(pass_on(listener, cluster.address.clone(), "/v1/files/renew", renewed.clone()));
    let (store, doomed) = (cluster.store(), cluster.store_through(&between));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let writing = runtime.spawn(async move {
        let mut writer = doomed.create(&path("/f"), CreateOptions::default()).await.unwrap();
        writer.write(bytes(2_500_000).into()).await.unwrap();
        writer
    });
    let writer = writing.await.unwrap();
    renewed.wait().await;
    let taken = store.create(&path("/f"), CreateOptions::default()).await.unwrap_err();
    assert!(matches!(taken, StoreError::AlreadyExists { .. }), "{taken}");
    runtime.shutdown_background();
    let free_again = async {
        while store.exists(&path("/f")).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    // Its lease would last for a minute.
    let limit = Duration::from_secs(20);
    assert!(tokio::time::timeout(limit, free_again).await.is_ok(), "the name is still taken");
    store.write_all(&path("/f"), vec![1], CreateOptions::default()).await.unwrap();
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_and_an_idle_appender_live_through_a_restart_of_the_master() {
    let mut cluster = RealCluster::start(2);
    let store = cluster.store();
    let data = bytes(7_300_000);
    let before = 5_500_000;
    let at = path("/f");
    store.write_all(&at, data[..before].to_vec(), CreateOptions::default()).await.unwrap();
    let mut writer = store.append(&at).await.unwrap();
    let mut reader = store.open(&at).await.unwrap();
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    cluster.stop_master().await;
    while got.len() < before / 2 {
        got.extend_from_slice(&reader.next().await.unwrap().unwrap());
    }
    cluster.start_master();
    while let Some(piece) = reader.next().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == data[..before], "as the file was when it was opened");
    writer.write(Bytes::copy_from_slice(&data[before..])).await.unwrap();
    writer.close().await.unwrap();
    assert!(store.read_all(&at, 1 << 30).await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_flushed_is_on_its_servers_and_read_by_those_who_ask_for_what_there_is() {
    let cluster = RealCluster::start(3);
    let store = cluster.store();
    let (data, file) = (bytes(1_200_000), path("/f"));
    let mut writer = store.create(&file, CreateOptions::default()).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(cluster.n_chunk_files(), 0, "nothing was written");
    let (mut written, mut n_chunks) = (0, 0);
    // Within a block, within a chunk, at a chunk's end, and over one.
    for (to, more_chunks) in [(5, 1), (200_000, 1), (1_200_000, 1)] {
        writer.write(Bytes::copy_from_slice(&data[written..to])).await.unwrap();
        for _again in 0..2 {
            writer.flush().await.unwrap();
        }
        (written, n_chunks) = (to, n_chunks + more_chunks);
        assert_eq!(cluster.n_chunk_files(), 2 * n_chunks, "up to {to}");
        let mut reader = store.open_unfinished(&file, 0, u64::MAX).await.unwrap();
        let mut read = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        assert!(read == data[..to], "{} of {to} bytes", read.len());
        assert!(matches!(store.open(&file).await, Err(StoreError::StillOpen { .. })));
    }
    // It can be closed after a flush, and written on before.
    writer.write(Bytes::from_static(b"end")).await.unwrap();
    writer.flush().await.unwrap();
    writer.close().await.unwrap();
    let whole = store.read_all(&file, 1 << 30).await.unwrap();
    assert!(whole == [&data[..], b"end"].concat());
}
