//! Chunkservers over real sockets and real disks, with a fake chunk master; and through them the client:
//! its writer and reader need servers that fail in their own ways.

mod assembly;
mod bad_requests;
mod descriptors;
mod disks;
mod fake_master;
mod files;
mod gate;
mod hanging_disks;
mod hedged_reads;
mod idle_readers;
mod logs;
mod long_reads;
mod real_master;
mod transfers;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use chunkstore_client::{ChunkStore, Descriptors, ReadSettings, StoreSettings};
use chunkstore_protocol::{ChunkId, ServerAddress};
use daemon::Shutdown;
use ids::{RackName, UnixMillis};
use net::{Capability, Client, ClientSettings, Keyring, Right, Role, Secret};
use tokio::task::JoinHandle;

use super::disks::DiskLimits;
use super::{RunError, ServerSettings};
use fake_master::FakeMaster;

const DEADLINE: Duration = Duration::from_secs(20);
const DISK_TIMEOUT: Duration = Duration::from_secs(30);
const DISK_LIMITS: DiskLimits = DiskLimits { reserve_bytes: 0, timeout: DISK_TIMEOUT };

fn client_settings() -> ClientSettings {
    ClientSettings {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(3),
        tls: None,
    }
}

/// Deterministic bytes without a period that blocks could share.
fn bytes(n: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Reads through sockets alone.
const OVER_HTTP: ReadSettings = ReadSettings {
    hedge_after: Duration::from_millis(500),
    descriptors: Descriptors::Never,
    locations_for: Duration::ZERO,
};

/// Bytes per second of copies: more than any test sends.
const REPAIR_RATE: u64 = 1 << 30;

/// How long uploads that broke off are kept: many tests wait for their end.
const KEEP_UNFINISHED: Duration = Duration::from_secs(3);

/// Waits until `is_so`, or fails after the deadline.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let reached = async {
        while !is_so() {
            ticks.tick().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, reached).await.is_ok(), "never: {what}");
}

struct RunningServer {
    address: ServerAddress,
    settings: ServerSettings,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
    folder: tempfile::TempDir,
}

impl RunningServer {
    fn chunk_files(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.folder.path().join("chunks")).unwrap();
        let mut files: Vec<_> = folders
            .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files
    }

    fn file_of(&self, chunk: ChunkId) -> Option<PathBuf> {
        let name = format!("{chunk}_1.chunk");
        self.chunk_files().into_iter().find(|path| path.ends_with(&name))
    }

    /// Ends it, and waits until its listener and lock are free.
    async fn stop(self) -> (ServerSettings, tempfile::TempDir) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
        (self.settings, self.folder)
    }
}

struct Cluster {
    master: FakeMaster,
    servers: Vec<RunningServer>,
    keep_unfinished: Duration,
}

impl Cluster {
    /// A master and `n` registered servers, `host-1` and so on.
    async fn start(n: usize) -> Self {
        Self::keeping_unfinished(KEEP_UNFINISHED, n).await
    }

    /// The same, with servers that keep uploads that broke off for so long.
    async fn keeping_unfinished(keep_unfinished: Duration, n: usize) -> Self {
        let keyring = Keyring::new(&Secret::random());
        let master = FakeMaster::start(keyring);
        let mut cluster = Self { master, servers: Vec::new(), keep_unfinished };
        for number in 1..=n {
            cluster.add_server(&format!("host-{number}"), 0);
        }
        cluster.registered(n).await;
        cluster
    }

    async fn registered(&self, n: usize) {
        until("all servers have reported", || {
            let book = self.master.book();
            book.servers.values().filter(|known| known.report_complete).count() >= n
        })
        .await;
    }

    fn add_server(&mut self, host: &str, reserve_bytes: u64) {
        let folder = tempfile::tempdir().unwrap();
        let settings = ServerSettings {
            host: host.parse().unwrap(),
            rack: RackName::default_rack(),
            address: String::new(),
            data_dirs: vec![folder.path().to_owned()],
            reserve_bytes,
            disk_timeout: DISK_TIMEOUT,
            idle_timeout: Duration::from_secs(60),
            keep_unfinished: self.keep_unfinished,
            follow_timeout: Duration::from_secs(2),
            idle_log_timeout: Duration::from_hours(1),
            repair_rate: REPAIR_RATE,
            balance_rate: REPAIR_RATE,
            scrub_rate: 0,
            trash_interval: Duration::from_hours(24),
            master: self.master.address.clone(),
            keyring: self.master.keyring.clone(),
            client: client_settings(),
        };
        self.start_server(settings, folder);
    }

    fn start_server(&mut self, mut settings: ServerSettings, folder: tempfile::TempDir) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        settings.address = listener.local_addr().unwrap().to_string();
        let address = ServerAddress {
            host: settings.host.clone(),
            rack: settings.rack.clone(),
            address: settings.address.clone(),
        };
        let shutdown = Shutdown::default();
        let task = tokio::spawn(super::run(settings.clone(), listener, shutdown.clone()));
        self.servers.push(RunningServer { address, settings, shutdown, task, folder });
    }

    fn store(&self) -> ChunkStore {
        self.store_retrying(Duration::from_secs(10), None)
    }

    fn store_retrying(&self, retry_for: Duration, host: Option<&str>) -> ChunkStore {
        self.store_reading(retry_for, host, ReadSettings::default())
    }

    fn store_reading(
        &self,
        retry_for: Duration,
        host: Option<&str>,
        reads: ReadSettings,
    ) -> ChunkStore {
        let token = self.master.keyring.mint(&Capability::unlimited(
            "tester",
            Role::User,
            UnixMillis(u64::MAX),
        ));
        let settings = StoreSettings {
            master: self.master.address.clone(),
            host: host.map(|host| host.parse().unwrap()),
            rack: RackName::default_rack(),
            retry_for,
            reads,
        };
        ChunkStore::new(Client::new(client_settings()).with_token(token), settings)
    }

    /// A client with a token for `resource`.
    fn client(&self, rights: &[Right], resource: &str) -> Client {
        Client::new(client_settings()).with_token(self.master.token(rights, resource))
    }
}

/// An address where nobody listens.
fn dead_server(host: &str) -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ServerAddress {
        host: host.parse().unwrap(),
        rack: RackName::default_rack(),
        address: listener.local_addr().unwrap().to_string(),
    }
}

/// Changes one byte of a file.
fn flip_byte(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}
