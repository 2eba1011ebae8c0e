//! Why a data folder can't be used, or a replica in it can't be read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon::FolderError;
use ids::ClusterId;

use crate::server::disk_health::is_media_error;
use crate::server::footer::FooterError;

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is another's, or can't be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It has chunks of nobody knows which cluster.
    #[error(
        "the data folder {} holds chunks, and nothing says of which cluster: restore its identity.json, or \
         move the chunks away",
        path.display()
    )]
    NoIdentity {
        /// The folder.
        path: PathBuf,
    },
    /// Two folders of one server have chunks of two clusters.
    #[error(
        "the data folder {} belongs to the cluster {cluster}, and {} to {other_cluster}: take the one that is \
         not of this server's cluster out of chunkserver.data_dirs",
        path.display(), other.display()
    )]
    TwoClusters {
        /// The folder.
        path: PathBuf,
        /// Its cluster.
        cluster: ClusterId,
        /// One before it in the list.
        other: PathBuf,
        /// The cluster of that one.
        other_cluster: ClusterId,
    },
    /// Two names of the list lead to one folder, or one lies in the other.
    #[error(
        "the data folder {} is the same as {} or inside it: name separate folders in chunkserver.data_dirs, \
         one on each disk",
        path.display(), other.display()
    )]
    Overlap {
        /// The folder.
        path: PathBuf,
        /// The one that it is, or is in.
        other: PathBuf,
    },
    /// Its disk gives no answer at the start.
    #[error(
        "the data folder {} can't be opened: its disk hangs, no step was done for {limit:?}: see to the disk, or take it \
         out of chunkserver.data_dirs",
        path.display()
    )]
    Hangs {
        /// The folder.
        path: PathBuf,
        /// How long nothing was done.
        limit: Duration,
    },
    /// Its disk gives no answer.
    #[error("{}: {cause}: see to the disk", path.display())]
    NoAnswer {
        /// The folder.
        path: PathBuf,
        /// How long it was waited for.
        cause: io::Error,
    },
    /// No folder of several works.
    #[error("none of the data folders can be used: {reasons}")]
    NoneWorks {
        /// Each folder's reason, with what to do.
        reasons: String,
    },
}

impl DataDirError {
    /// Whether the disk is to blame, not what is configured: then a server goes on with its others.
    pub(in crate::server) fn is_of_the_disk(&self) -> bool {
        matches!(
            self,
            Self::Hangs { .. }
                | Self::Folder(FolderError::Io { .. } | FolderError::BadIdentity { .. })
        )
    }
}

/// What stands in the way of reading a replica.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum OpenError {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It can't be opened or read.
    #[error(transparent)]
    Io(io::Error),
    /// It is not what its name says.
    #[error(transparent)]
    Footer(#[from] FooterError),
}

impl OpenError {
    /// Whether the replica itself is bad, for good: then it may be set aside. A process that has too few
    /// descriptors or rights, or a file of a later release, must not cost a replica.
    pub(in crate::server) fn is_broken(&self) -> bool {
        match self {
            Self::Missing | Self::Footer(FooterError::NewerFormat { .. }) => false,
            Self::Footer(_) => true,
            Self::Io(error) => is_media_error(error),
        }
    }
}
