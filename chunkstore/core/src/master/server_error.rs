//! Why the chunk master says no to a chunkserver. Every text names the server and the remedy.

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
    /// Its data belongs elsewhere.
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
    /// Another process lives under that name.
    #[error(
        "host name {host} is taken by the live chunkserver at {address}: name each host once, or stop that one and wait until it counts as dead"
    )]
    HostNameTaken {
        /// The name.
        host: HostName,
        /// Where the other one serves.
        address: String,
    },
    /// An address that can't be told to clients.
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
    /// A server that is not known yet, and no room to write its name down.
    #[error(
        "{host} can't join: the chunk master's journal has no room; free space on its disk (chunkmaster.data_dir)"
    )]
    JournalFull {
        /// The server.
        host: HostName,
    },
    /// The message is of another term or registration, or the sender was declared dead.
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
