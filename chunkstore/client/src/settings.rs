//! What a client of the chunk store is told about itself.

use std::time::Duration;

use ids::{HostName, RackName};

/// Where the chunk store is, and where its client stands.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `host:port` of the chunk master.
    pub master: String,
    /// The client's host, if a chunkserver may run there too.
    pub host: Option<HostName>,
    /// Its rack.
    pub rack: RackName,
    /// How long to go on while the master, or all replicas of a chunk, cannot be reached.
    pub retry_for: Duration,
    /// How files are read.
    pub reads: ReadSettings,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSettings {
    /// Silence of a replica, in the middle of a read, after which a second one is asked for the same bytes
    /// (longer where the reader is used to longer waits); zero: never.
    pub hedge_after: Duration,
    /// Which replicas are read by the descriptor that their chunkserver hands over, where it does.
    pub descriptors: Descriptors,
    /// How long the locations of a file that was opened are good for opening it again without asking the
    /// master; zero: never. Meanwhile a file that others have removed or replaced is opened as it was, and
    /// reading it may fail with [`crate::StoreError::Replaced`]. What this client itself changes, and a
    /// replica that fails, end it at once.
    pub locations_for: Duration,
}

/// Whose descriptors a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// Nobody's.
    Never,
    /// Of the chunkserver with the client's own host name.
    #[default]
    OwnHost,
    /// Of those that are reached by loopback too: they are on this machine, whatever their hosts are called,
    /// and whether the client has a host's name (a command line has none).
    Loopback,
}

impl ReadSettings {
    /// With another one of `hedge_after`.
    #[must_use]
    pub fn hedged_after(hedge_after: Duration) -> Self {
        Self { hedge_after, ..Self::default() }
    }
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            hedge_after: Duration::from_millis(500),
            descriptors: Descriptors::default(),
            locations_for: Duration::ZERO,
        }
    }
}
