//! What clients see of the TaskTrackers' hosts: `GET /v1/hosts`.

use ids::{HostName, RackName};
use serde::{Deserialize, Serialize};

/// `GET /v1/hosts`, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostList {
    /// The hosts that are known.
    pub hosts: Vec<HostStatus>,
}

/// One host and its TaskTracker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub host: HostName,
    /// Its rack; absent if it was not heard of since the JobTracker started.
    pub rack: Option<RackName>,
    /// `host:port` of its TaskTracker; absent likewise.
    pub address: Option<String>,
    /// Whether it is there, and gets work.
    pub state: HostState,
    /// Attempts that it runs at once.
    pub slots: u32,
    /// Attempts that run there, or were told to end and have not yet.
    pub running: u32,
    /// Finished map outputs there that unfinished jobs may still want.
    pub map_outputs: u32,
    /// How long ago it was heard of last, milliseconds; absent likewise.
    pub last_heartbeat_ms: Option<u64>,
}

/// Whether a host is there, and gets work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    /// Its TaskTracker sends heartbeats.
    Live,
    /// It gets no new attempts; some still run there, or what lies there is still wanted.
    Draining,
    /// It gets no new attempts, and can be stopped: nothing would be lost. (Perhaps it is stopped already.)
    Drained,
    /// It has been silent for too long: what it ran and held is made elsewhere.
    Lost,
}

impl HostState {
    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::Drained => "DRAINED",
            Self::Lost => "LOST",
        }
    }
}
