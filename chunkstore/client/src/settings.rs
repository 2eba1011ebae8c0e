//! A chunk store client's settings.

use std::time::Duration;

use ids::{HostName, RackName};

/// The chunk store's address, and the client's position in the network.
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

/// How a client reads files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSettings {
    /// How long a replica may be silent in the middle of a read before a second one is asked for
    /// the same bytes (longer if the reader is used to longer waits); zero: never ask.
    pub hedge_after: Duration,
    /// Which replicas are read through the descriptor that their chunkserver hands over, if it
    /// does.
    pub descriptors: Descriptors,
    /// How long the locations of an opened file may be used to open it again without asking the
    /// master; zero: never. Meanwhile a file that others have removed or replaced is opened as it
    /// was, and reading it may fail with [`crate::StoreError::Replaced`]. Changes made by this
    /// client, and failing replicas, end this at once.
    pub locations_for: Duration,
}

/// The chunkservers that a client asks for descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// None.
    Never,
    /// The chunkserver with the client's own host name.
    #[default]
    OwnHost,
    /// Also those reached by loopback: they are on this machine, whatever their hosts' names are,
    /// and whether or not the client has a host name (a command line has none).
    Loopback,
}

impl ReadSettings {
    /// The default settings with another `hedge_after`.
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
