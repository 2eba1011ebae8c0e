//! What the chunk master reports to its operator; the daemon words it.

use std::time::Duration;

use chunkstore_protocol::{ChunkId, StorePath};
use ids::{ClusterId, Epoch, HostName};

use super::terms::Outdated;
use super::trash::TrashReason;

/// An event of interest to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The master serves.
    Started {
        /// Its cluster.
        cluster: ClusterId,
        /// Its term.
        epoch: Epoch,
    },
    /// The master itself was stopped, with its process or its machine: nobody could be heard
    /// meanwhile, so all deadlines are extended by that time.
    Paused {
        /// For how long.
        time: Duration,
    },
    /// What servers hold is known as well as it can be: from here on the master accepts changes.
    SafeModeLeft {
        /// Known servers that did not report what they hold in time.
        silent: Vec<HostName>,
    },
    /// A server joined, or joined again.
    ServerRegistered {
        /// Its host.
        host: HostName,
        /// Address at which it serves.
        address: String,
        /// Its registration.
        session: u64,
    },
    /// A server was silent for too long.
    ServerDied {
        /// Its host.
        host: HostName,
    },
    /// A writer was silent for too long; its file is removed.
    LeaseExpired {
        /// The file.
        path: StorePath,
    },
    /// The writer of an append was silent for too long; the file is as it was before.
    AppendLapsed {
        /// The file.
        path: StorePath,
        /// Bytes that it has.
        length: u64,
    },
    /// A writer was silent for too long; its file is closed at its last sealed chunk.
    WriterDied {
        /// The file.
        path: StorePath,
        /// Bytes that it has.
        length: u64,
    },
    /// No server of a log's open chunk belongs to the cluster any more: what was in it is lost.
    LogChunkLost {
        /// The log.
        path: StorePath,
        /// The chunk.
        chunk: ChunkId,
    },
    /// A folder of the trash was removed for good.
    TrashEmptied {
        /// The folder.
        path: StorePath,
        /// Why.
        reason: TrashReason,
    },
    /// The journal is an older copy: from here on the master changes nothing.
    JournalOutdated(Outdated),
    /// A server reported more orphans than are deleted without asking.
    OrphansHeld {
        /// The server's host.
        host: HostName,
        /// Number of orphans.
        orphans: u64,
        /// Number of all replicas that it reported.
        reported: u64,
    },
    /// A server's replica is not what was sealed.
    StaleReplica {
        /// The server's host.
        host: HostName,
        /// The chunk.
        chunk: ChunkId,
    },
}
