//! What the configuration says to the chunk master, parsed.

use std::path::PathBuf;
use std::time::Duration;

use daemon::Topology;
use event_loop::Folders;
use net::{ClientSettings, Keyring};

/// Inputs that wait for the loop; beyond that, requests wait before it.
const QUEUE: usize = 1024;

/// Settings of one chunk master.
#[derive(Clone, Debug)]
pub struct MasterSettings {
    /// `host:port` where others reach it.
    pub address: String,
    /// Folder of the journal.
    pub data_dir: PathBuf,
    /// A second folder of the journal, on another disk.
    pub journal_mirror: Option<PathBuf>,
    /// Start with one of the two folders, which may lack what the other one has.
    pub accepts_one_folder: bool,
    /// Start though the journal may be older than the cluster: what only a newer one knew is given up.
    pub accept_old_journal: bool,
    /// Replicas asked for where a client does not say.
    pub replication: u8,
    /// Length limit of chunks where a client does not say, bytes.
    pub chunk_bytes: u64,
    /// Time between a chunkserver's heartbeats; told at registration.
    pub heartbeat_interval: Duration,
    /// Silence after which a chunkserver counts as dead.
    pub dead_after: Duration,
    /// How long a writer's lease lasts without a renewal.
    pub lease: Duration,
    /// How long it lasts once the writer's connection has ended.
    pub lease_grace: Duration,
    /// Copies that one chunkserver sends, and receives, at once; more where chunks are small.
    pub repair_streams: u32,
    /// How far from the mean the used share of a server's space may lie, percent, before chunks move.
    pub balance_threshold_percent: u8,
    /// How long what users remove stays in the trash; zero for none.
    pub trash_interval: Duration,
    /// Where less than this share of the live servers' space is free, percent, the trash is emptied early.
    pub trash_free_min_percent: u8,
    /// Length of a journal segment, zero-filled in advance; at least 2 MiB, so that every record fits.
    pub journal_segment_bytes: u64,
    /// How long a disk of the journal may take over one write or sync before it counts as hanging.
    pub journal_timeout: Duration,
    /// Closed journal segments that make a new snapshot.
    pub snapshot_after_segments: u32,
    /// Who stands where.
    pub topology: Topology,
    /// Time limits of its calls.
    pub client: ClientSettings,
    /// Verifies callers' tokens and mints those for chunks.
    pub keyring: Keyring,
}

impl MasterSettings {
    /// What the state machine is told.
    pub(super) fn core(&self) -> chunkstore_core::master::Settings {
        chunkstore_core::master::Settings {
            replication: self.replication,
            chunk_bytes: self.chunk_bytes,
            heartbeat_interval: self.heartbeat_interval,
            dead_after: self.dead_after,
            lease: self.lease,
            lease_grace: self.lease_grace,
            repair_streams: self.repair_streams,
            balance_threshold_percent: self.balance_threshold_percent,
            trash_interval: self.trash_interval,
            trash_free_min_percent: self.trash_free_min_percent,
        }
    }

    /// Where the journal is kept.
    #[must_use]
    pub fn folders(&self) -> Folders {
        let (main, mirror) = (self.data_dir.clone(), self.journal_mirror.clone());
        Folders { main, mirror, accepts_one: self.accepts_one_folder }
    }

    /// How the state machine's loop is run.
    pub(super) fn event_loop(&self) -> event_loop::Settings {
        event_loop::Settings {
            queue: QUEUE,
            snapshot_after_segments: self.snapshot_after_segments,
            stop_patience: event_loop::stop_patience(self.journal_timeout),
        }
    }

    /// How the journal is kept.
    pub(super) fn journal(&self) -> journal::Options {
        let (segment_bytes, timeout) = (self.journal_segment_bytes, self.journal_timeout);
        journal::Options { segment_bytes, timeout }
    }
}
