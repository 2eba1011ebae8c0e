//! Settings that the JobTracker gets at its start.

use std::time::Duration;

use chunkstore_client::ReadSettings;
use chunkstore_client::stores::StoreAccess;
use daemon::Topology;
use event_loop::Folders;
use ids::ClusterId;
use net::{ClientSettings, Keyring};

/// Limit on the inputs queued for the loop; beyond that, requests wait before it.
const QUEUE: usize = 1024;

/// Settings of one JobTracker.
#[derive(Clone, Debug)]
pub struct JobtrackerSettings {
    /// The configuration's section.
    pub jobtracker: config::Jobtracker,
    /// The pools that it names.
    pub pools: Vec<config::Pool>,
    /// Whether to start with only one of the journal's two folders, which may lack what the other
    /// one has.
    pub accepts_one_folder: bool,
    /// `host:port` of the chunk master.
    pub chunkmaster: String,
    /// The racks of hosts.
    pub topology: Topology,
    /// Time limits of calls to the chunk store.
    pub client: ClientSettings,
    /// How long calls to the chunk store are retried while it restarts.
    pub retry_for: Duration,
    /// How files are read.
    pub reads: ReadSettings,
    /// Other stores that jobs may use.
    pub stores: Vec<StoreAccess>,
    /// Verifies callers' tokens, and mints this daemon's own.
    pub keyring: Keyring,
}

impl JobtrackerSettings {
    /// The settings of the core.
    pub(crate) fn core(&self, cluster: ClusterId) -> jobtracker_core::Settings {
        crate::rules(&self.jobtracker, &self.pools, cluster)
    }

    /// Where the journal is kept.
    pub(crate) fn folders(&self) -> Folders {
        let config::Jobtracker { data_dir, journal_mirror, .. } = &self.jobtracker;
        let (main, mirror) = (data_dir.clone(), journal_mirror.clone());
        Folders { main, mirror, accepts_one: self.accepts_one_folder }
    }

    /// The settings of the core's event loop.
    pub(crate) fn event_loop(&self) -> event_loop::Settings {
        event_loop::Settings {
            queue: QUEUE,
            snapshot_after_segments: self.jobtracker.snapshot_after_segments,
            stop_patience: event_loop::stop_patience(self.jobtracker.journal_timeout.0),
        }
    }

    /// The settings of the journal.
    pub(crate) fn journal(&self) -> journal::Options {
        let config::Jobtracker { journal_segment, journal_timeout, .. } = &self.jobtracker;
        journal::Options { segment_bytes: journal_segment.0, timeout: journal_timeout.0 }
    }
}
