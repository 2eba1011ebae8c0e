//! The chunk master's parsed configuration.

use std::path::PathBuf;
use std::time::Duration;

use chunkstore_core::master::Settings;
use daemon::Topology;
use event_loop::Folders;
use net::{ClientSettings, Keyring};

/// Inputs that may be queued for the loop; beyond that, requests wait.
const QUEUE: usize = 1024;

/// Settings of one chunk master.
#[derive(Clone, Debug)]
pub struct MasterSettings {
    /// `host:port` at which others reach it.
    pub address: String,
    /// The folder of its journal.
    pub data_dir: PathBuf,
    /// The journal's second folder, on another disk.
    pub journal_mirror: Option<PathBuf>,
    /// Whether to start with one of the two folders, which may lack records of the other one.
    pub accepts_one_folder: bool,
    /// Whether to start although the journal may be older than the cluster, giving up what only a
    /// newer one knew.
    pub accept_old_journal: bool,
    /// Settings of the state machine.
    pub core: Settings,
    /// Length of a journal segment, zero-filled in advance; at least 2 MiB, so that every record fits.
    pub journal_segment_bytes: u64,
    /// How long a disk of the journal may take over one write or sync before it counts as hanging.
    pub journal_timeout: Duration,
    /// Minimum number of closed journal segments for a new snapshot.
    pub snapshot_after_segments: u32,
    /// The racks of hosts.
    pub topology: Topology,
    /// Time limits of its calls.
    pub client: ClientSettings,
    /// Verifies callers' tokens and mints those for chunks.
    pub keyring: Keyring,
}

impl MasterSettings {
    /// The folders of the journal.
    #[must_use]
    pub fn folders(&self) -> Folders {
        let (main, mirror) = (self.data_dir.clone(), self.journal_mirror.clone());
        Folders { main, mirror, accepts_one: self.accepts_one_folder }
    }

    /// Settings of the state machine's loop.
    pub(super) fn event_loop(&self) -> event_loop::Settings {
        event_loop::Settings {
            queue: QUEUE,
            snapshot_after_segments: self.snapshot_after_segments,
            stop_patience: event_loop::stop_patience(self.journal_timeout),
        }
    }

    /// Options of the journal.
    pub(super) fn journal(&self) -> journal::Options {
        let (segment_bytes, timeout) = (self.journal_segment_bytes, self.journal_timeout);
        journal::Options { segment_bytes, timeout }
    }
}
