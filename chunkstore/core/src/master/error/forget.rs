//! Why a chunkserver can't be forgotten or emptied.

use chunkstore_protocol::{ProblemKind, StorePath};
use ids::HostName;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// No server of that name.
    #[error(
        "no chunkserver {host} belongs to this cluster: `howdah fs report` lists those that do"
    )]
    UnknownServer {
        /// The host in the request.
        host: HostName,
    },
    /// A live server is not forgotten.
    #[error(
        "chunkserver {host} is alive and would only join again: stop it first, and wait until it counts as dead"
    )]
    ServerLives {
        /// The server.
        host: HostName,
    },
    /// Records that nobody else has are only given up on request.
    #[error(
        "chunkserver {host} is the last one that may have the newest records of {path}, which were acknowledged: start it \
         again, or, if its disk is lost, give them up with it (`howdah fs forget --lose-records {host}`)"
    )]
    LastWithRecords {
        /// The server.
        host: HostName,
        /// The log, or one of them.
        path: StorePath,
    },
    /// Chunks that no live server has are only given up on request.
    #[error(
        "chunkserver {host} may be the last one with {chunks} chunk(s) of which no live server has a replica: {named} it \
         is known to have, of the others nobody is (`howdah fs fsck` names their files). Start it again, or, if its \
         disks are lost, give them up with it (`howdah fs forget --lose-chunks {host}`)"
    )]
    LastWithChunks {
        /// The server.
        host: HostName,
        /// How many.
        chunks: u64,
        /// How many of them it has reported; of the others, it may be the last holder.
        named: u64,
    },
    /// It is not known yet what would be given up.
    #[error("what only chunkserver {host} may have is being found out: try again in a moment")]
    StillCounting {
        /// The server.
        host: HostName,
    },
}

impl ForgetError {
    /// The stable kind that programs act on.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::UnknownServer { .. } => ProblemKind::UnknownServer,
            Self::ServerLives { .. } => ProblemKind::ServerLives,
            Self::LastWithRecords { .. } => ProblemKind::LastWithRecords,
            Self::LastWithChunks { .. } => ProblemKind::LastWithChunks,
            Self::StillCounting { .. } => ProblemKind::Starting,
        }
    }
}
