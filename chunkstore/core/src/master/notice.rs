//! What the chunk master has to say to whoever runs it; the daemon puts it into words.

use std::time::Duration;

use chunkstore_protocol::{ChunkId, StorePath};
use ids::{ClusterId, Epoch, HostName};

use super::terms::Outdated;
use super::trash::TrashReason;

/// What an operator would want to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The master serves.
    Started {
        /// Its cluster.
        cluster: ClusterId,
        /// Its term.
        epoch: Epoch,
    },
    /// The master itself stood still (its process or machine was stopped): nobody could be heard
    /// meanwhile, and everybody has so much longer.
    Paused {
        /// For how long.
        time: Duration,
    },
    /// What servers hold is known as well as can be: the master takes changes from here on.
    SafeModeLeft {
        /// Known servers that did not tell what they hold in time.
        silent: Vec<HostName>,
    },
    /// A server joined, or joined again.
    ServerRegistered {
        /// Its host.
        host: HostName,
        /// Where it serves.
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
    /// Whoever appended to a file was silent for too long; the file is as it was.
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
    /// A folder of the trash is gone for good.
    TrashEmptied {
        /// The folder.
        path: StorePath,
        /// Why.
        reason: TrashReason,
    },
    /// The journal is an older copy: nothing changes from here on.
    JournalOutdated(Outdated),
    /// A server reported more replicas that no file refers to than are deleted without asking.
    OrphansHeld {
        /// The server's host.
        host: HostName,
        /// So many.
        orphans: u64,
        /// Of so many that it holds.
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
