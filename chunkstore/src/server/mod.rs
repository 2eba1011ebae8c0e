//! The chunkserver: keeps replicas of chunks as files on one host's disks, takes them in through
//! pipelines, hands them out, and tells the chunk master what it holds. It knows no paths. What it may
//! take and what it must tell is decided in `chunkstore_core::replica`.

mod assembly;
mod background;
mod copy;
mod data_dir;
mod descriptor;
mod disk_calls;
mod disk_health;
mod disk_watch;
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
mod opening;
mod other_disk;
mod removal;
mod run;
mod scrub;
mod seal;
mod settings;
mod syncs;
mod term_file;
mod trash;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use chunkstore_client::footer;
use ids::{HostName, RackName};
use net::{Client, Keyring};
use tokio::sync::Semaphore;

use background::Behind;
use copy::Rates;
use disks::Disks;
use download::Footers;
use event_loop::ReplicaLoop;
use give_way::Clients;
use logs::Logs;
use seal::Unfinished;

pub use data_dir::DataDirError;
pub use disk_calls::threads_max;
pub use http::access;
pub use metrics::METRICS;
pub use run::{RunError, run};
pub use settings::ServerSettings;

/// Uploads at once; more are refused.
const UPLOADS_MAX: usize = 256;
/// Reads at once; more are refused.
const READS_MAX: usize = 512;

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
    idle_log_timeout: Duration,
    /// Where readers of this host get descriptors, if they do.
    socket: Option<String>,
}

#[cfg(test)]
mod tests;
