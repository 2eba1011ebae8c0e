//! The chunkserver: keeps replicas of chunks as files on one host's disks, takes them in through
//! pipelines, hands them out, and tells the chunk master what it holds. It knows no paths. What it may
//! take and what it must tell is decided in `chunkstore_core::replica`.

mod background;
mod copy;
mod data_dir;
mod descriptor;
mod disk_health;
mod disks;
mod download;
mod event_loop;
mod forward;
mod give_way;
mod http;
mod logs;
mod lost;
mod metrics;
mod open_chunk;
mod scrub;
mod seal;
mod term_file;
mod trash;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_client::footer;
use chunkstore_core::replica::{Identity, Replicas, StopReason};
use daemon::{Asked, Health, Metrics, Owner, Reached, Requests, Shutdown};
use ids::{HostName, RackName};
use net::{Client, ClientSettings, Guard, Keyring, Role};
use tokio::sync::Semaphore;

use background::{Background, Behind};
use copy::Rates;
use descriptor::Descriptors;
use disks::{Disks, Holdings};
use download::Footers;
use event_loop::{LoopError, ReplicaLoop, Shell};
use give_way::Clients;
use logs::Logs;
use metrics::REQUESTS;
use seal::Unfinished;

pub use data_dir::DataDirError;
pub use http::access;
pub use metrics::METRICS;

/// Uploads at once; more are refused.
const UPLOADS_MAX: usize = 256;
/// Reads at once; more are refused.
const READS_MAX: usize = 512;

/// What a chunkserver must know.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Its host, which locality compares.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` where clients and other servers reach it.
    pub address: String,
    /// Folders of the chunks, one on each disk.
    pub data_dirs: Vec<PathBuf>,
    /// Bytes of each disk that are never given to chunks.
    pub reserve_bytes: u64,
    /// Time in which a reader takes no bytes after which it is given up; a writer after ten times as long.
    pub idle_timeout: Duration,
    /// How long an upload that broke off is kept for its writer to go on with.
    pub keep_unfinished: Duration,
    /// How long another server of a log's chunk may take to write and sync what comes next.
    pub follow_timeout: Duration,
    /// Bytes per second that all copies to other servers together may take, those for balance apart.
    pub repair_rate: u64,
    /// Bytes per second that those may take.
    pub balance_rate: u64,
    /// Bytes per second and disk that are read again and verified; 0: none.
    pub scrub_rate: u64,
    /// How long orphans and broken replicas stay in the trash.
    pub trash_interval: Duration,
    /// `host:port` of the chunk master.
    pub master: String,
    /// Verifies its callers' tokens, and mints its own.
    pub keyring: Keyring,
    /// Time limits of its calls.
    pub client: ClientSettings,
}

/// Why a chunkserver ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its data folders.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It must not go on.
    #[error(transparent)]
    Stop(#[from] StopReason),
    /// Its threads.
    #[error("the chunkserver can't start its background threads: {0}")]
    Threads(std::io::Error),
    /// Its listener.
    #[error("the chunkserver can't serve at {address}: {source}")]
    Serve {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// What the routes share.
#[derive(Debug)]
struct Server {
    host: HostName,
    rack: RackName,
    /// `host:port` where others reach it.
    address: String,
    /// `host:port` of the chunk master.
    master: String,
    keyring: Keyring,
    disks: Arc<Disks>,
    footers: Arc<Footers>,
    replicas: ReplicaLoop,
    unfinished: Unfinished,
    logs: Logs,
    /// Without a token: uploads add their writer's.
    client: Client,
    /// The same for copies: its connections are served behind.
    copy_client: Client,
    behind: Behind,
    clients: Clients,
    reads: Arc<Semaphore>,
    /// One replica at a time is read because the master says so.
    verifying: Semaphore,
    rates: Rates,
    idle_timeout: Duration,
    follow_timeout: Duration,
    /// Where readers of this host get descriptors, if they do.
    socket: Option<String>,
}

/// Runs a chunkserver until `shutdown`, or until it must stop.
///
/// # Errors
/// When its data folders can't be used, or its cluster or release is not the chunk master's.
pub async fn run(
    settings: ServerSettings,
    listener: impl Into<net::Listener>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let metrics = Metrics::install(METRICS);
    let health = Health::default();
    let (disks, core, logs) = open_disks(&settings).await?;
    let disks = Arc::new(disks);
    let (replicas, inbox) = ReplicaLoop::new();
    let footers = Arc::new(Footers::default());
    let client = Client::new(settings.client.clone());
    let copy_client = Client::without_kept_connections(settings.client.clone());
    let background_threads = Background::start().map_err(RunError::Threads)?;
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let rates = Rates::new(settings.repair_rate, settings.balance_rate);
    let descriptors = Descriptors::listen();
    let socket = descriptors.as_ref().map(|descriptors| descriptors.name().to_owned());
    let asked = asked(&settings);
    let (host, idle_timeout) = (settings.host, settings.idle_timeout);
    let reached = Reached::new("chunkserver", host.clone(), settings.address.clone());
    let server = Arc::new(Server {
        host,
        rack: settings.rack,
        address: settings.address.clone(),
        master: settings.master.clone(),
        keyring: settings.keyring.clone(),
        disks,
        footers,
        replicas,
        unfinished: Unfinished::default(),
        logs,
        client,
        copy_client,
        behind: background_threads.behind(),
        clients: Clients::default(),
        reads,
        verifying: Semaphore::new(1),
        rates,
        idle_timeout,
        follow_timeout: settings.follow_timeout,
        socket,
    });
    let handing_over =
        descriptor::serve(descriptors, Arc::clone(&server), settings.keyring.clone());
    let shell = Shell {
        server: Arc::clone(&server),
        keyring: settings.keyring.clone(),
        master: settings.master.clone(),
        health: health.clone(),
        reached: reached.clone(),
    };
    // They end with this function.
    let mut background = scrub::start(&server, settings.scrub_rate);
    background.spawn(trash::purge_expired(Arc::clone(&server), settings.trash_interval));
    background.spawn(trash::release_broken(Arc::clone(&server), settings.trash_interval));
    let routes = http::routes().merge(reached.routes());
    background.spawn(reached.ask_after_registrations(asked));
    let guard = Guard { keyring: settings.keyring, anonymous: None };
    let probes = daemon::probe_routes(Client::new(settings.client));
    let routes = routes.merge(probes).merge(daemon::routes(health, metrics));
    let router = routes.into_observed_router(server, guard, Requests::new(REQUESTS).observer());
    let serving = net::serve(listener, router, async move { shutdown.wait().await });
    tokio::select! {
        ended = event_loop::run(core, inbox, shell) => Err(match ended {
            LoopError::Stop(reason) => reason.into(),
            LoopError::DataDir(error) => error.into(),
        }),
        () = handing_over => Ok(()), // Never.
        served = serving => {
            served.map_err(|source| RunError::Serve { address: settings.address, source })
        }
    }
}

/// Who says whether this server is reached.
fn asked(settings: &ServerSettings) -> Asked {
    Asked {
        name: "chunk master",
        address: settings.master.clone(),
        path: "/v1/servers/reach",
        role: Role::Server,
        client: Client::new(settings.client.clone()),
        keyring: settings.keyring.clone(),
    }
}

async fn open_disks(settings: &ServerSettings) -> Result<(Disks, Replicas, Logs), DataDirError> {
    let owner = Owner::new("chunkserver", settings.host.clone());
    let opened = Disks::open(&settings.data_dirs, &owner, settings.reserve_bytes).await?;
    let (disks, Holdings { sealed, logs }) = opened;
    let identity = Identity {
        cluster: disks.cluster(),
        term: disks.term(),
        host: settings.host.clone(),
        rack: settings.rack.clone(),
        address: settings.address.clone(),
        incarnation: net::random_u64(),
    };
    let ended: Vec<_> = logs.iter().map(|(_, log)| (log.replica, log.ended)).collect();
    let replicas = Replicas::new(identity, UPLOADS_MAX, sealed).with_logs(ended);
    Ok((disks, replicas.keeping_cuts_for(settings.keep_unfinished), Logs::new(logs)))
}

#[cfg(test)]
mod tests;
