//! The chunk master with real HTTP and a real journal in a temporary folder.

mod access;
mod files;
mod restarts;
mod starts;

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

    /// Registers a server and completes its report with nothing in it: a master that has just
    /// started waits for that.
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
