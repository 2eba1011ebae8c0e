//! The sections and keys. Every field's default stands in `Default` below its struct; the sample file
//! `config/howdah.yaml` holds each with a comment, and a test compares the two.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Bytes, Host, Log, Percent, Pool, Store, Time, UidRange, User};

const MIB: u64 = 1 << 20;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all daemons and clients share.
    #[serde(deserialize_with = "null_is_default")]
    pub cluster: Cluster,
    /// How daemons and clients speak: by TLS, or in plain text.
    #[serde(deserialize_with = "null_is_default")]
    pub tls: Tls,
    /// The master of the chunk store.
    #[serde(deserialize_with = "null_is_default")]
    pub chunkmaster: Chunkmaster,
    /// Every chunkserver.
    #[serde(deserialize_with = "null_is_default")]
    pub chunkserver: Chunkserver,
    /// The JobTracker.
    #[serde(deserialize_with = "null_is_default")]
    pub jobtracker: Jobtracker,
    /// Every TaskTracker.
    #[serde(deserialize_with = "null_is_default")]
    pub tasktracker: Tasktracker,
    /// Every task process.
    #[serde(deserialize_with = "null_is_default")]
    pub task: Task,
    /// Command-line clients, and the daemons as clients of one another.
    #[serde(deserialize_with = "null_is_default")]
    pub client: Client,
    /// Logs of all daemons.
    #[serde(deserialize_with = "null_is_default")]
    pub log: Log,
    /// Who uses the cluster; whoever has a token if empty.
    #[serde(deserialize_with = "null_is_default")]
    pub users: Vec<User>,
    /// Who shares the slots with whom.
    #[serde(deserialize_with = "null_is_default")]
    pub pools: Vec<Pool>,
    /// The object stores beside the chunk store that URLs may name.
    #[serde(deserialize_with = "null_is_default")]
    pub stores: Vec<Store>,
    /// The worker hosts.
    #[serde(deserialize_with = "null_is_default")]
    pub hosts: Vec<Host>,
}

/// Section `cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// File with the cluster's secret, at least 32 bytes, readable by its owner alone. Daemons need it
    /// to start; here it is required as soon as one listens on another address than loopback.
    pub secret_file: Option<PathBuf>,
    /// File with the racks of hosts, which both masters read, and read again when it changes; none if null.
    pub topology_file: Option<PathBuf>,
    /// On loopback: whether requests without a token may do what a user may (submit, read, write
    /// files). Daemons' own routes always need one.
    pub anonymous_loopback: bool,
    /// Folder in which each daemon keeps a `<daemon>.pid` file while it runs, made if missing; none if
    /// null.
    pub pid_dir: Option<PathBuf>,
}

/// Section `tls`: all null for plain text. Daemons need all three, clients the authority alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// File with the certificates of the cluster's authorities, in PEM.
    pub ca: Option<PathBuf>,
    /// File with this host's certificate, in PEM.
    pub cert: Option<PathBuf>,
    /// File with its private key, in PEM, readable by its owner alone.
    pub key: Option<PathBuf>,
}

/// Section `chunkmaster`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chunkmaster {
    /// `host:port` where all others connect.
    pub address: String,
    /// `host:port` to listen on, where that is another one; `address` if null.
    pub listen: Option<String>,
    /// Folder of the journal.
    pub data_dir: PathBuf,
    /// A second folder of the journal, on another disk; none if null.
    pub journal_mirror: Option<PathBuf>,
    /// Replicas asked for, where a client does not say.
    pub replication: u8,
    /// Length limit of chunks, at most 64MiB, where a client does not say.
    pub chunk_bytes: Bytes,
    /// How long a chunkserver parks between heartbeats.
    pub heartbeat_interval: Time,
    /// Silence after which a chunkserver counts as dead.
    pub dead_after: Time,
    /// How long a writer's lease lasts without a renewal.
    pub lease: Time,
    /// How long it lasts once the writer's connection has ended.
    pub lease_grace: Time,
    /// Copies that one chunkserver sends, and receives, at once to make lost replicas again.
    pub repair_streams: u32,
    /// How far from the mean the used share of a chunkserver's space may lie before chunks move to others.
    pub balance_threshold: Percent,
    /// How long what users remove stays in the trash; 0s for none.
    pub trash_interval: Time,
    /// Where less than this share of the live chunkservers' space is free, the trash is emptied early.
    pub trash_free_min: Percent,
    /// Length of a journal segment, zero-filled in advance.
    pub journal_segment: Bytes,
    /// How long a disk of the journal may take over one write or sync before it counts as hanging.
    pub journal_timeout: Time,
    /// Closed journal segments, at least, that make a new snapshot; more while the last one was longer than they are.
    pub snapshot_after_segments: u32,
}

impl Default for Chunkmaster {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7870".to_owned(),
            listen: None,
            data_dir: "/var/lib/howdah/chunkmaster".into(),
            journal_mirror: None,
            replication: 3,
            chunk_bytes: Bytes(64 * MIB),
            heartbeat_interval: Time(Duration::from_secs(1)),
            dead_after: Time(Duration::from_secs(10)),
            lease: Time(Duration::from_secs(60)),
            lease_grace: Time(Duration::from_secs(5)),
            repair_streams: 2,
            balance_threshold: Percent(10),
            trash_interval: Time(Duration::from_hours(24)),
            trash_free_min: Percent(10),
            journal_segment: Bytes(8 * MIB),
            journal_timeout: Time(Duration::from_secs(10)),
            snapshot_after_segments: 4,
        }
    }
}

/// Section `chunkserver`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chunkserver {
    /// `host:port` where all others connect, where the host names none.
    pub address: String,
    /// `host:port` to listen on, where the host names none; its address if null.
    pub listen: Option<String>,
    /// Folders of the chunks, one on each disk, where the host names none.
    pub data_dirs: Vec<PathBuf>,
    /// Space of each disk that is never given to chunks.
    pub reserve: Bytes,
    /// A disk that gives no answer for so long hangs, and is not used any more before the next start.
    pub disk_timeout: Time,
    /// Time in which a reader takes no bytes after which it is given up; a writer after ten times as long.
    pub idle_timeout: Time,
    /// How long an upload that broke off is kept for its writer to go on with.
    pub keep_unfinished: Time,
    /// How long another server of a log's chunk may take to write and sync what comes next, before the log goes on in a
    /// chunk without it.
    pub follow_timeout: Time,
    /// How long nobody may append to a log before its open chunk ends.
    pub idle_log_timeout: Time,
    /// Bytes per second that it sends at most to make lost replicas again on other servers; while clients are busy
    /// at most 32 MiB.
    pub repair_rate: Bytes,
    /// Bytes per second that it sends at most to even out how full the servers are.
    pub balance_rate: Bytes,
    /// Bytes per second and disk that are read again and verified; 0B: none.
    pub scrub_rate: Bytes,
    /// How long orphans and broken replicas stay in a disk's trash, where there is room.
    pub trash_interval: Time,
}

impl Default for Chunkserver {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7871".to_owned(),
            listen: None,
            data_dirs: vec!["/var/lib/howdah/chunkserver".into()],
            reserve: Bytes(256 * MIB),
            disk_timeout: Time(Duration::from_secs(30)),
            idle_timeout: Time(Duration::from_mins(1)),
            keep_unfinished: Time(Duration::from_mins(2)),
            follow_timeout: Time(Duration::from_secs(2)),
            idle_log_timeout: Time(Duration::from_mins(10)),
            repair_rate: Bytes(128 * MIB),
            balance_rate: Bytes(32 * MIB),
            scrub_rate: Bytes(8 * MIB),
            trash_interval: Time(Duration::from_hours(24)),
        }
    }
}

/// Section `jobtracker`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobtracker {
    /// `host:port` where all others connect.
    pub address: String,
    /// `host:port` to listen on, where that is another one; `address` if null.
    pub listen: Option<String>,
    /// Folder of the journal.
    pub data_dir: PathBuf,
    /// A second folder of the journal, on another disk; none if null.
    pub journal_mirror: Option<PathBuf>,
    /// How long a heartbeat may stay parked, at least.
    pub heartbeat_interval: Time,
    /// Heartbeats of all TaskTrackers in a second: the more trackers, the longer each may stay parked.
    pub heartbeats_per_second: u32,
    /// Silence after which a TaskTracker counts as dead; three heartbeats, if that is longer.
    pub dead_after: Time,
    /// Tries of one task, where a job does not say.
    pub max_attempts: u32,
    /// How long a map waits for a slot on a host with its data before its rack will do, and again
    /// before any host will do. A reduce waits half as long for the place that holds most of its input.
    pub locality_wait: Time,
    /// Length limit of a split; splits never span two chunks.
    pub split_bytes: Bytes,
    /// Share of a job's maps that must be done before its reduces start.
    pub reduce_slowstart: f64,
    /// How unfinished jobs share the slots.
    pub sharing: JobSharing,
    /// How long a pool waits for its share before attempts of others give way; 0: for ever.
    pub preempt_after: Time,
    /// Whether an attempt that is late gets a backup, where a job does not say.
    pub speculative: bool,
    /// Share of all slots that backups may hold at once; one of them in any case.
    pub speculative_share: f64,
    /// Reduces that can't fetch a map output for `dead_after`, after which that map runs again.
    pub fetch_failures_max: u32,
    /// Tasks of a job that fail on a host before the job leaves it alone for a while; 0: never.
    pub host_failures_max: u32,
    /// What speaks against a host, so many times, before all jobs leave it alone; 0: never.
    pub host_strikes_max: u32,
    /// How long what speaks against a host counts.
    pub host_forgiven_after: Time,
    /// Share of the live hosts that may be left alone at once, by one job or by all.
    pub set_aside_share: f64,
    /// Jobs that are kept after their end.
    pub finished_jobs_max: u32,
    /// How long what is known of ended jobs is kept in the chunk store; 0s: not at all.
    pub history_keep: Time,
    /// Length of a journal segment, zero-filled in advance.
    pub journal_segment: Bytes,
    /// How long a disk of the journal may take over one write or sync before it counts as hanging.
    pub journal_timeout: Time,
    /// Closed journal segments, at least, that make a new snapshot; more while the last one was longer than they are.
    pub snapshot_after_segments: u32,
}

impl Default for Jobtracker {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7880".to_owned(),
            listen: None,
            data_dir: "/var/lib/howdah/jobtracker".into(),
            journal_mirror: None,
            heartbeat_interval: Time(Duration::from_secs(1)),
            heartbeats_per_second: 3000,
            dead_after: Time(Duration::from_secs(10)),
            max_attempts: 4,
            locality_wait: Time(Duration::from_secs(1)),
            split_bytes: Bytes(64 * MIB),
            reduce_slowstart: 0.05,
            sharing: JobSharing::Fair,
            preempt_after: Time(Duration::from_secs(15)),
            speculative: true,
            speculative_share: 0.25,
            fetch_failures_max: 3,
            host_failures_max: 3,
            host_strikes_max: 3,
            host_forgiven_after: Time(Duration::from_hours(1)),
            set_aside_share: 0.25,
            finished_jobs_max: 1000,
            history_keep: Time(Duration::from_hours(30 * 24)),
            journal_segment: Bytes(8 * MIB),
            journal_timeout: Time(Duration::from_secs(10)),
            snapshot_after_segments: 4,
        }
    }
}

/// Section `tasktracker`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tasktracker {
    /// `host:port` where all others connect, where the host names none.
    pub address: String,
    /// `host:port` to listen on, where the host names none; its address if null.
    pub listen: Option<String>,
    /// Folder of programs and logs, and of attempts and map outputs unless `local_dirs` says otherwise, where the host
    /// names none.
    pub data_dir: PathBuf,
    /// Folders of attempts and map outputs, one on each disk, where the host names none; empty: `data_dir`.
    pub local_dirs: Vec<PathBuf>,
    /// Task processes at once; 0: one per processor.
    pub slots: u32,
    /// Time without a sign of life after which an attempt is ended.
    pub task_timeout: Time,
    /// Silence of the JobTracker after which all attempts are ended.
    pub cut_off_timeout: Time,
    /// Bytes kept of an attempt's log.
    pub log_bytes_max: Bytes,
    /// Memory of an attempt's processes; half of the host's if null.
    pub task_memory: Option<Bytes>,
    /// Processes and threads of one attempt at most.
    pub task_processes: u32,
    /// Bytes of an attempt's folder on the local disk; half of the disk if null.
    pub task_disk: Option<Bytes>,
    /// Files and sockets that a process of an attempt has open at once.
    pub task_open_files: u32,
    /// User ids that attempts run as; the daemon's own if null.
    pub task_uids: Option<UidRange>,
    /// Whether a TaskTracker starts only where tasks can be kept from the cluster's secret, chunks and journals.
    pub require_isolation: bool,
    /// Bytes that must be free on a local disk for new attempts there, and on that of the data folder for any.
    pub disk_free_min: Bytes,
    /// Bytes of memory that must be available for new attempts.
    pub memory_free_min: Bytes,
    /// Time between two looks at disk and memory.
    pub health_interval: Time,
    /// Command that says whether the host is well; none if null. What it leaves running is killed at its end.
    pub health_command: Option<String>,
    /// Time between two runs of it.
    pub health_command_interval: Time,
    /// How long the disk and the command may take to answer.
    pub health_timeout: Time,
    /// Shuffle requests that read from one disk at once.
    pub shuffle_requests_max: u32,
}

impl Default for Tasktracker {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7881".to_owned(),
            listen: None,
            data_dir: "/var/lib/howdah/tasktracker".into(),
            local_dirs: Vec::new(),
            slots: 0,
            task_timeout: Time(Duration::from_mins(10)),
            cut_off_timeout: Time(Duration::from_mins(10)),
            log_bytes_max: Bytes(10 * MIB),
            task_memory: None,
            task_processes: 1024,
            task_disk: None,
            task_open_files: 16_384,
            task_uids: None,
            require_isolation: false,
            disk_free_min: Bytes(256 * MIB),
            memory_free_min: Bytes(64 * MIB),
            health_interval: Time(Duration::from_secs(10)),
            health_command: None,
            health_command_interval: Time(Duration::from_mins(1)),
            health_timeout: Time(Duration::from_mins(1)),
            shuffle_requests_max: 64,
        }
    }
}

/// Section `task`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Task {
    /// Memory of a map's sort buffer.
    pub sort_buffer: Bytes,
    /// Memory of a reduce's fetched segments.
    pub fetch_buffer: Bytes,
    /// Fetches of a reduce at once.
    pub parallel_fetches: u32,
    /// Runs merged at once.
    pub merge_factor: u32,
    /// Time before a fetch is tried again first; it doubles, with jitter, up to 10s.
    pub fetch_retry: Time,
    /// A TaskTracker that sends nothing of a map output for so long is given up for now.
    pub fetch_stall: Time,
    /// Replicas asked for a job's output; the chunk master's default if null.
    pub output_replication: Option<u8>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            sort_buffer: Bytes(128 * MIB),
            fetch_buffer: Bytes(128 * MIB),
            parallel_fetches: 5,
            merge_factor: 64,
            fetch_retry: Time(Duration::from_millis(200)),
            fetch_stall: Time(Duration::from_secs(30)),
            output_replication: None,
        }
    }
}

/// Section `client`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// Time to connect.
    pub connect_timeout: Time,
    /// Time for the answer to a small request.
    pub request_timeout: Time,
    /// How long the other end of any connection may acknowledge nothing before it is given up.
    pub silence_timeout: Time,
    /// How long daemons and tasks retry while a master restarts.
    pub retry_for: Time,
    /// How long a command asks on where nobody listens at a master's address, which it says at once; 0s: not at all.
    pub wait_for_masters: Time,
    /// Silence of a chunkserver in the middle of a read after which another one is asked for the same
    /// bytes; 0s: never.
    pub hedge_after: Time,
    /// File with the token of whoever gives commands; none if null: then they need the secret.
    pub token_file: Option<PathBuf>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            connect_timeout: Time(Duration::from_secs(2)),
            request_timeout: Time(Duration::from_secs(30)),
            silence_timeout: Time(Duration::from_secs(3)),
            retry_for: Time(Duration::from_mins(1)),
            wait_for_masters: Time(Duration::from_secs(10)),
            hedge_after: Time(Duration::from_millis(500)),
            token_file: None,
        }
    }
}

/// How unfinished jobs share the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSharing {
    /// By priority, then by age.
    Fifo,
    /// Evenly, by the weights of their priorities.
    Fair,
}

/// A section with all of its keys commented out is `null` to YAML; it means the defaults.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
