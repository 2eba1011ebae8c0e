//! What the JobTracker is told at its start.

use std::time::Duration;

use chunkstore_client::ReadSettings;
use chunkstore_client::stores::StoreAccess;
use daemon::Topology;
use event_loop::Folders;
use ids::ClusterId;
use net::{Capability, ClientSettings, Keyring};

/// Settings of one JobTracker.
#[derive(Clone, Debug)]
pub struct JobtrackerSettings {
    /// The configuration's section.
    pub jobtracker: config::Jobtracker,
    /// The pools that it names.
    pub pools: Vec<config::Pool>,
    /// Start with one of the journal's two folders, which may lack what the other one has.
    pub accepts_one_folder: bool,
    /// `host:port` of the chunk master.
    pub chunkmaster: String,
    /// Who stands where.
    pub topology: Topology,
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
        crate::rules(&self.jobtracker, &self.pools, cluster)
    }

    /// Where the journal is kept.
    pub(crate) fn folders(&self) -> Folders {
        let config::Jobtracker { data_dir, journal_mirror, .. } = &self.jobtracker;
        let (main, mirror) = (data_dir.clone(), journal_mirror.clone());
        Folders { main, mirror, accepts_one: self.accepts_one_folder }
    }

    /// How the journal is kept.
    pub(crate) fn journal(&self) -> journal::Options {
        journal::Options { segment_bytes: self.jobtracker.journal_segment.0 }
    }
}
