//! Why the chunk master refuses a chunkserver's message. Every text names the server and the
//! remedy.

use chunkstore_protocol::{PROTOCOL_VERSION, ProblemKind};
use ids::{ClusterId, Epoch, HostName};

/// A refused message of a chunkserver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It speaks another protocol.
    #[error(
        "{host} speaks protocol {theirs}, this chunk master {PROTOCOL_VERSION}: run the same release on both"
    )]
    WrongProtocol {
        /// The server.
        host: HostName,
        /// Its version.
        theirs: u32,
    },
    /// Its data belongs to another cluster.
    #[error(
        "the data of {host} belongs to cluster {theirs}, this is {ours}: point it to its own chunk master, or give it an empty data folder"
    )]
    WrongCluster {
        /// The server.
        host: HostName,
        /// Its cluster.
        theirs: ClusterId,
        /// This one.
        ours: ClusterId,
    },
    /// Another live process uses this host name.
    #[error(
        "host name {host} is taken by the live chunkserver at {address}: name each host once, or stop that one and wait until it counts as dead"
    )]
    HostNameTaken {
        /// The name.
        host: HostName,
        /// Where the other one serves.
        address: String,
    },
    /// An address that is too long, or not host:port, to give to clients.
    #[error("address of {host} is not allowed: write it as host:port, at most {max} bytes")]
    BadAddress {
        /// The server.
        host: HostName,
        /// The limit.
        max: usize,
    },
    /// More servers than the bound.
    #[error(
        "{host} can't register: {max} chunkservers are known already; forget those that are gone (`howdah fs forget`)"
    )]
    TooManyServers {
        /// The server.
        host: HostName,
        /// The bound.
        max: usize,
    },
    /// The server is not known yet, and the journal has no room for its name.
    #[error(
        "{host} can't join: the chunk master's journal has no room; free space on its disk (chunkmaster.data_dir)"
    )]
    JournalFull {
        /// The server.
        host: HostName,
    },
    /// The message is of another term or registration, or its sender was declared dead.
    #[error(
        "{host} is not registered with session {session} of epoch {theirs} (this is epoch {ours}): register again"
    )]
    NotRegistered {
        /// The sender.
        host: HostName,
        /// Its epoch.
        theirs: Epoch,
        /// Its session.
        session: u64,
        /// The master's epoch.
        ours: Epoch,
    },
}

impl ServerError {
    /// The stable kind that programs act on.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::WrongProtocol { .. } => ProblemKind::WrongProtocol,
            Self::WrongCluster { .. } => ProblemKind::WrongCluster,
            Self::HostNameTaken { .. } => ProblemKind::HostNameTaken,
            Self::BadAddress { .. } => ProblemKind::InvalidRequest,
            Self::TooManyServers { .. } => ProblemKind::Unavailable,
            Self::JournalFull { .. } => ProblemKind::OutOfSpace,
            Self::NotRegistered { .. } => ProblemKind::NotRegistered,
        }
    }
}
