//! The chunkserver's one wiring function: disks, core, loop, what runs beside it, HTTP.

use std::sync::Arc;
use std::time::Duration;

use chunkstore_core::replica::{Identity, Replicas, StopReason};
use daemon::{Asked, Health, Metrics, Owner, Reached, Requests, Shutdown};
use net::{Client, Guard, Role};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::background::Background;
use super::copy::Rates;
use super::data_dir::DataDirError;
use super::descriptor::{self, Descriptors};
use super::disk_watch;
use super::disks::{DiskLimits, Disks, Holdings};
use super::download::Footers;
use super::event_loop::{self, LoopError, ReplicaLoop, Shell};
use super::give_way::Clients;
use super::logs::Logs;
use super::metrics::{METRICS, REQUESTS};
use super::seal::Unfinished;
use super::{READS_MAX, Server, ServerSettings, UPLOADS_MAX, http, scrub, trash};

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
        idle_log_timeout: settings.idle_log_timeout,
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
    let mut background = start_background(&server, settings.scrub_rate, settings.trash_interval);
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

/// Starts what goes on beside requests, until the result is dropped.
fn start_background(server: &Arc<Server>, scrub_rate: u64, keep: Duration) -> JoinSet<()> {
    let mut background = scrub::start(server, scrub_rate);
    for dir in server.disks.open_dirs() {
        background.spawn(disk_watch::watch(Arc::clone(dir)));
        background.spawn(disk_watch::measure(Arc::clone(dir)));
        background.spawn(trash::purge_expired(Arc::clone(dir), keep));
    }
    background.spawn(trash::release_broken(Arc::clone(server), keep));
    background
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
    let limits =
        DiskLimits { reserve_bytes: settings.reserve_bytes, timeout: settings.disk_timeout };
    let opened = Disks::open(&settings.data_dirs, &owner, limits).await?;
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
