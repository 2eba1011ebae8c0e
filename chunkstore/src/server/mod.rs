//! The chunkserver: keeps replicas of chunks as files on one host's disk, takes them in through
//! pipelines, hands them out, and tells the chunk master what it holds. It knows no paths. What it may
//! take and what it must tell is decided in `chunkstore_core::replica`.

mod copy;
mod data_dir;
mod download;
mod event_loop;
mod footer;
mod forward;
mod http;
mod metrics;
mod open_chunk;
mod upload;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_core::replica::{Identity, Replicas, StopReason};
use daemon::{DataFolder, FolderError, Health, Metrics, Owner, Shutdown};
use ids::{HostName, RackName};
use net::{Client, ClientSettings, Guard, Keyring};
use tokio::sync::Semaphore;

use copy::Throttle;
use data_dir::{DataDir, Found};
use download::Footers;
use event_loop::{LoopError, ReplicaLoop, Shell};

pub use data_dir::DataDirError;

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
    /// Folder of the chunks.
    pub data_dir: PathBuf,
    /// Bytes of the disk that are never given to chunks.
    pub reserve_bytes: u64,
    /// Time in which a reader takes no bytes after which it is given up; a writer after ten times as long.
    pub idle_timeout: Duration,
    /// Bytes per second that all copies to other servers together may take.
    pub repair_rate: u64,
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
    /// Its data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It must not go on.
    #[error(transparent)]
    Stop(#[from] StopReason),
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
    dir: Arc<DataDir>,
    footers: Arc<Footers>,
    replicas: ReplicaLoop,
    /// Without a token: uploads add their writer's.
    client: Client,
    reads: Arc<Semaphore>,
    throttle: Throttle,
    idle_timeout: Duration,
}

/// Runs a chunkserver until `shutdown`, or until it must stop.
///
/// # Errors
/// When its data folder can't be used, or its cluster or release is not the chunk master's.
pub async fn run(
    settings: ServerSettings,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let metrics = Metrics::install();
    metrics::describe();
    let health = Health::default();
    let (dir, core) = open_data_dir(&settings).await?;
    let dir = Arc::new(dir);
    let (replicas, inbox) = ReplicaLoop::new();
    let footers = Arc::new(Footers::default());
    let client = Client::new(settings.client);
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let throttle = Throttle::new(settings.repair_rate);
    let (host, idle_timeout) = (settings.host, settings.idle_timeout);
    let server = Server { host, dir, footers, replicas, client, reads, throttle, idle_timeout };
    let server = Arc::new(server);
    let shell = Shell {
        server: Arc::clone(&server),
        keyring: settings.keyring.clone(),
        master: settings.master.clone(),
        health: health.clone(),
    };
    let router = http::routes()
        .merge(daemon::routes(health, metrics))
        .into_router(server, Guard { keyring: settings.keyring, anonymous: None });
    let serving = net::serve(listener, router, async move { shutdown.wait().await });
    tokio::select! {
        ended = event_loop::run(core, inbox, shell) => Err(match ended {
            LoopError::Stop(reason) => reason.into(),
            LoopError::DataDir(error) => error.into(),
        }),
        served = serving => {
            served.map_err(|source| RunError::Serve { address: settings.address, source })
        }
    }
}

/// A disk whose room is all reserved takes no chunk, and nothing else would say why.
fn warn_if_full(dir: &DataDir, reserve_bytes: u64) {
    let path = dir.root().display();
    match dir.space() {
        Ok(space) if space.free == 0 => tracing::warn!(%path, reserve_bytes,
            "no room for chunks: chunkserver.reserve takes all that the disk has free; free space, or lower it"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%path, %error, "the room on the disk can't be told"),
    }
}

async fn open_data_dir(settings: &ServerSettings) -> Result<(DataDir, Replicas), DataDirError> {
    let owner = Owner::new("chunkserver", settings.host.clone());
    let own = DataFolder::open_patiently(&settings.data_dir, owner).await?;
    let reserve_bytes = settings.reserve_bytes;
    let opened = tokio::task::spawn_blocking(move || {
        let dir = DataDir::open(own, reserve_bytes)?;
        let found = dir.scan()?;
        warn_if_full(&dir, reserve_bytes);
        Ok::<_, DataDirError>((dir, found))
    });
    let panicked = |error| FolderError::io(&settings.data_dir)(std::io::Error::other(error));
    let (dir, found) = opened.await.map_err(panicked)??;
    let Found { sealed, n_removed, n_bad } = found;
    tracing::info!(path = %dir.root().display(), replicas = sealed.len(), n_removed, n_bad,
        "the data folder is open");
    let identity = Identity {
        cluster: dir.cluster(),
        host: settings.host.clone(),
        rack: settings.rack.clone(),
        address: settings.address.clone(),
        incarnation: net::random_u64(),
    };
    Ok((dir, Replicas::new(identity, UPLOADS_MAX, sealed)))
}

#[cfg(test)]
mod tests;
