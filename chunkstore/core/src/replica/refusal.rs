//! Why the master refuses a server's messages, and why that may stop the daemon.

/// Why the master refused a registration or heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know this registration: it restarted, or declared this server dead.
    NotRegistered,
    /// The data folder belongs to another cluster.
    WrongCluster,
    /// It speaks another protocol version.
    WrongProtocol,
    /// A live server has this host name; for a while, this may be this server's own previous
    /// process.
    HostNameTaken,
    /// Anything else, such as a master that has only just started.
    Other,
}

/// Why the daemon must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The chunk master belongs to another cluster than the data folder.
    #[error(
        "the data folder belongs to another cluster than the chunk master: give this server the \
         data folder of its cluster, or an empty one, or correct chunkmaster.address"
    )]
    WrongCluster,
    /// The chunk master speaks another protocol version.
    #[error(
        "the chunk master speaks another version of the chunkservers' protocol: run the same \
         release of howdah on all hosts"
    )]
    WrongProtocol,
}
