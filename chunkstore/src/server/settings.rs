//! What the configuration says to a chunkserver, parsed.

use std::path::PathBuf;
use std::time::Duration;

use ids::{HostName, RackName};
use net::{ClientSettings, Keyring};

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
    /// A disk that gives no answer for so long hangs: it is not used any more before the next start.
    pub disk_timeout: Duration,
    /// Time in which a reader takes no bytes after which it is given up; a writer after ten times as long.
    pub idle_timeout: Duration,
    /// How long an upload that broke off is kept for its writer to go on with.
    pub keep_unfinished: Duration,
    /// How long another server of a log's chunk may take to write and sync what comes next.
    pub follow_timeout: Duration,
    /// How long nobody may append to a log before its open chunk ends; the next record begins another.
    pub idle_log_timeout: Duration,
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
