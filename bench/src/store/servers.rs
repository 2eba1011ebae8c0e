//! Chunkservers that hold nothing: they register, report replicas that were never written, and stay alive.
//! To a chunk master they are servers like any.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chunkstore_core::master::Sealed;
use chunkstore_protocol::{
    PROTOCOL_VERSION, RegisterServer, ReplicaEvent, ServerAddress, ServerHeartbeat,
    ServerHeartbeatReply, ServerRegistered,
};
use ids::{HeartbeatNumber, Numbered};
use net::{Client, ClientSettings};

use super::population;

/// Replicas that a heartbeat of a report delivers: what the master does not take is repeated.
pub(crate) const EVENTS_AT_ONCE: u64 = 4000;
/// Space that each says it has.
const CAPACITY_BYTES: u64 = 1 << 50;

/// Servers that are alive until this is dropped.
pub(crate) struct Servers {
    over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Servers {
    /// Registers each of `servers` with a master, all of which report the files `0..files`; returns when the
    /// reports are taken.
    ///
    /// # Errors
    /// When the master refuses.
    pub(crate) async fn start(
        master: &str,
        token: &str,
        servers: &[ServerAddress],
        files: u64,
    ) -> anyhow::Result<Self> {
        let timeout = Duration::from_secs(60);
        let settings = ClientSettings {
            connect_timeout: timeout,
            request_timeout: timeout,
            silence_timeout: timeout,
            tls: None,
        };
        let client = Client::new(settings).with_token(token);
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for server in servers {
            let mut server = Server::register(&client, master, server).await?;
            server.report(files).await?;
            tasks.push(tokio::spawn(server.live(Arc::clone(&over))));
        }
        Ok(Self { over, tasks })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

struct Server {
    client: Client,
    master: String,
    address: ServerAddress,
    registered: ServerRegistered,
    number: u64,
    commands_done: u64,
}

impl Server {
    async fn register(
        client: &Client,
        master: &str,
        address: &ServerAddress,
    ) -> anyhow::Result<Self> {
        let request = RegisterServer {
            protocol: PROTOCOL_VERSION,
            cluster: None,
            term: None,
            last_record: 0,
            host: address.host.clone(),
            rack: address.rack.clone(),
            address: address.address.clone(),
            incarnation: net::random_u64(),
            capacity_bytes: CAPACITY_BYTES,
            free_bytes: CAPACITY_BYTES,
            disks: Vec::new(),
        };
        let registered = client.post(master, "/v1/servers/register", &request).await?;
        let (client, master, address) = (client.clone(), master.to_owned(), address.clone());
        Ok(Self { client, master, address, registered, number: 0, commands_done: 0 })
    }

    async fn report(&mut self, files: u64) -> anyhow::Result<()> {
        let mut received = 0;
        while received < files {
            let until = files.min(received + EVENTS_AT_ONCE);
            let heard = self.heartbeat(received..until, until == files).await?;
            anyhow::ensure!(heard > received, "the master takes no more of a report");
            received = heard;
        }
        self.heartbeat(files..files, true).await.map(drop)
    }

    /// Delivers these files' replicas; returns how many the master has taken in all.
    async fn heartbeat(&mut self, files: Range<u64>, is_whole: bool) -> anyhow::Result<u64> {
        self.number += 1;
        let heartbeat = ServerHeartbeat {
            host: self.address.host.clone(),
            epoch: self.registered.epoch,
            session: self.registered.session,
            events: events(files),
            number: HeartbeatNumber(self.number),
            capacity_bytes: CAPACITY_BYTES,
            free_bytes: CAPACITY_BYTES,
            disks: Vec::new(),
            report_complete: is_whole,
            commands_done: self.commands_done,
        };
        let reply: ServerHeartbeatReply =
            self.client.post(&self.master, "/v1/servers/heartbeat", &heartbeat).await?;
        self.commands_done =
            reply.commands.last().map_or(self.commands_done, |command| command.number);
        Ok(reply.events_received)
    }

    async fn live(mut self, over: Arc<AtomicBool>) {
        let interval = Duration::from_millis(self.registered.heartbeat_interval_ms);
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(interval).await;
            if let Err(error) = self.heartbeat(0..0, true).await {
                eprintln!("{}: {error:#}", self.address.host);
            }
        }
    }
}

/// That these files' replicas are held.
pub(crate) fn events(files: Range<u64>) -> Vec<Numbered<ReplicaEvent>> {
    files.map(|n| Numbered { number: n + 1, item: held(n) }).collect()
}

fn held(n: u64) -> ReplicaEvent {
    let Sealed { chunk, version, length, checksum } = population::sealed(n);
    ReplicaEvent::Held { chunk, version, length, checksum }
}
