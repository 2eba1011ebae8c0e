//! What the configuration says to the chunk master, parsed.

use std::path::PathBuf;
use std::time::Duration;

use chunkstore_core::master::Settings;
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
    /// What the state machine is told.
    pub core: Settings,
    /// Length of a journal segment, zero-filled in advance; at least 2 MiB, so that every record fits.
    pub journal_segment_bytes: u64,
    /// How long a disk of the journal may take over one write or sync before it counts as hanging.
    pub journal_timeout: Duration,
    /// Closed journal segments, at least, that make a new snapshot.
    pub snapshot_after_segments: u32,
    /// Who stands where.
    pub topology: Topology,
    /// Time limits of its calls.
    pub client: ClientSettings,
    /// Verifies callers' tokens and mints those for chunks.
    pub keyring: Keyring,
}

impl MasterSettings {
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
