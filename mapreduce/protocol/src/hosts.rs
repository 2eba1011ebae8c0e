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
    /// Its rack.
    pub rack: RackName,
    /// `host:port` of its TaskTracker.
    pub address: String,
    /// Whether it is there.
    pub state: HostState,
    /// Attempts that it runs at once.
    pub slots: u32,
    /// Attempts that run there, or were told to end and have not yet.
    pub running: u32,
    /// Finished map outputs there that unfinished jobs may still want.
    pub map_outputs: u32,
    /// How long ago it was heard of last, milliseconds.
    pub last_heartbeat_ms: u64,
}

/// Whether a host is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    /// Its TaskTracker sends heartbeats.
    Live,
    /// It has been silent for too long: what it ran and held is made elsewhere.
    Lost,
}

impl HostState {
    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Lost => "LOST",
        }
    }
}
