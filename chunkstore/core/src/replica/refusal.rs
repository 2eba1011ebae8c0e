//! What a server hears from a master that does not take it, and what that means for it.

/// Why the master refused a registration or heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know this registration (it restarted, or gave this server up).
    NotRegistered,
    /// The data folder belongs to another cluster.
    WrongCluster,
    /// It speaks another protocol version.
    WrongProtocol,
    /// A live server has this host name: perhaps the process before this one, for a while.
    HostNameTaken,
    /// Anything else, such as a master that is just starting.
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
