//! What `run` is told: made from the configuration by the `howdah` binary.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chunkstore_client::stores::StoreAccess;
use ids::{HostName, RackName};
use mapreduce_protocol::TaskSettings;
use net::{ClientSettings, Keyring};

use crate::health::HealthSettings;
use crate::isolation::IsolationSettings;

/// Settings of one TaskTracker.
#[derive(Clone, Debug)]
pub struct TasktrackerSettings {
    /// The host's name: what locality compares.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` where reduces on other hosts reach this tracker.
    pub address: String,
    /// `host:port` of the JobTracker.
    pub jobtracker: String,
    /// `host:port` of the chunk master.
    pub chunkmaster: String,
    /// The data folder; made if it is missing.
    pub data_dir: PathBuf,
    /// Folders of attempts and map outputs, one on each disk, at least one; the data folder may be one. Made if missing.
    pub local_dirs: Vec<PathBuf>,
    /// Task processes at once; 0: one per processor.
    pub slots: u32,
    /// Time without a sign of life after which an attempt is ended.
    pub task_timeout: Duration,
    /// Silence of the JobTracker after which all attempts are ended.
    pub cut_off_timeout: Duration,
    /// Bytes kept of an attempt's log.
    pub log_bytes_max: u64,
    /// Memory of an attempt's processes; absent: half of the host's.
    pub task_memory: Option<u64>,
    /// Processes and threads of one attempt at most.
    pub task_processes: u32,
    /// Bytes of an attempt's folder; absent: half of the disk.
    pub task_disk: Option<u64>,
    /// Open files of each process of an attempt.
    pub task_open_files: u32,
    /// User ids that attempts run as, one each; absent: this process' own.
    pub task_uids: Option<RangeInclusive<u32>>,
    /// How attempts are kept from what is not theirs; absent: not by namespaces.
    pub isolation: Option<IsolationSettings>,
    /// Bytes that must be free on the disk of the data folder.
    pub disk_free_min: u64,
    /// Bytes of memory that must be available.
    pub memory_free_min: u64,
    /// How the host is looked at.
    pub health: HealthSettings,
    /// Shuffle requests served at once.
    pub shuffle_requests_max: u32,
    /// Limits that task processes are told.
    pub task: TaskSettings,
    /// Other stores that jobs may name: what a task needs of them, it is told.
    pub stores: Vec<StoreAccess>,
    /// Time limits of calls to the JobTracker.
    pub client: ClientSettings,
    /// How long reads from the chunk store are retried.
    pub retry_for: Duration,
    /// Verifies callers' tokens, and mints this daemon's own and its attempts'.
    pub keyring: Keyring,
    /// The executable whose subcommand `task` runs builtin programs; this process' own if absent.
    pub task_executable: Option<PathBuf>,
}
