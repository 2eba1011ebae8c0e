//! What the configuration says to the JobTracker, parsed.

use std::path::PathBuf;
use std::time::Duration;

use chunkstore_client::ReadSettings;
use chunkstore_client::stores::StoreAccess;
use event_loop::Folders;
use ids::ClusterId;
use jobtracker_core::{PoolRule, recovery_grace};
use net::{Capability, ClientSettings, Keyring};

/// Settings of one JobTracker.
#[derive(Clone, Debug)]
pub struct JobtrackerSettings {
    /// Folder of the journal.
    pub data_dir: PathBuf,
    /// A second folder of the journal, on another disk.
    pub journal_mirror: Option<PathBuf>,
    /// `host:port` of the chunk master.
    pub chunkmaster: String,
    /// How long a heartbeat may stay parked, at least.
    pub heartbeat_interval: Duration,
    /// Heartbeats of all TaskTrackers in a second: the more of them, the longer each may stay parked.
    pub heartbeats_per_second: u32,
    /// Silence after which a TaskTracker counts as dead.
    pub dead_after: Duration,
    /// Tries of one task, where a job does not say.
    pub max_attempts: u32,
    /// How long a map waits for a better place, per level of locality.
    pub locality_wait: Duration,
    /// Length limit of a split, bytes.
    pub split_bytes: u64,
    /// Share of a job's maps that must be done before its reduces start.
    pub reduce_slowstart: f64,
    /// The pools that share the slots, one of them named [`jobtracker_core::DEFAULT_POOL`].
    pub pools: Vec<PoolRule>,
    /// How long a pool waits for its share before attempts of others give way; absent: for ever.
    pub preempt_after: Option<Duration>,
    /// Whether late attempts get backups, where a job does not say.
    pub speculative: bool,
    /// Share of all slots that backups may hold; one of them in any case.
    pub speculative_share: f64,
    /// Reduces that can't fetch a map output for `dead_after`, after which that map runs again.
    pub fetch_failures_max: u32,
    /// Tasks of a job that fail on a host before the job leaves it alone; 0: never.
    pub host_failures_max: u32,
    /// What speaks against a host, so many times, before all jobs leave it alone; 0: never.
    pub host_strikes_max: u32,
    /// How long what speaks against a host counts.
    pub host_forgiven_after: Duration,
    /// Share of the live hosts that may be left alone at once.
    pub set_aside_share: f64,
    /// Jobs that are kept after their end.
    pub finished_jobs_max: u32,
    /// How long what is known of ended jobs is kept in the chunk store; zero: not at all.
    pub history_keep: Duration,
    /// Length of a journal segment, zero-filled in advance; at least 2 MiB, so that every record fits.
    pub journal_segment_bytes: u64,
    /// Closed journal segments that make a new snapshot.
    pub snapshot_after_segments: u32,
    /// Time limits of calls to the chunk store.
    pub client: ClientSettings,
    /// How long calls to the chunk store are retried while it restarts.
    pub retry_for: Duration,
    /// How it reads files.
    pub reads: ReadSettings,
    /// Other stores that jobs may name.
    pub stores: Vec<StoreAccess>,
    /// Verifies callers' tokens, and mints this daemon's own.
    pub keyring: Keyring,
    /// What requests without a token may do.
    pub anonymous: Option<Capability>,
}

impl JobtrackerSettings {
    /// What the state machine is told.
    pub(crate) fn core(&self, cluster: ClusterId) -> jobtracker_core::Settings {
        jobtracker_core::Settings {
            cluster,
            heartbeat_interval: self.heartbeat_interval,
            heartbeats_per_second: self.heartbeats_per_second,
            dead_after: self.dead_after,
            max_attempts: self.max_attempts,
            locality_wait: self.locality_wait,
            reduce_slowstart: self.reduce_slowstart,
            pools: self.pools.clone(),
            preempt_after: self.preempt_after,
            speculative: self.speculative,
            speculative_share: self.speculative_share,
            fetch_failures_max: self.fetch_failures_max,
            host_failures_max: self.host_failures_max,
            host_strikes_max: self.host_strikes_max,
            host_forgiven_after: self.host_forgiven_after,
            set_aside_share: self.set_aside_share,
            finished_jobs_max: self.finished_jobs_max.max(1) as usize,
            keeps_history: !self.history_keep.is_zero(),
            recovery_grace: recovery_grace(self.heartbeat_interval, self.dead_after),
        }
    }

    /// Where the journal is kept.
    pub(crate) fn folders(&self) -> Folders {
        Folders { main: self.data_dir.clone(), mirror: self.journal_mirror.clone() }
    }

    /// How the journal is kept.
    pub(crate) fn journal(&self) -> journal::Options {
        journal::Options { segment_bytes: self.journal_segment_bytes }
    }
}
