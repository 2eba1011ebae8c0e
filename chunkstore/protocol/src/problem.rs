//! The stable `type`s of the chunk store's problem documents: what programs act on.

use schemars::JsonSchema;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};

/// Why the chunk store said no. The wire form is kebab-case and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request itself is malformed (path, body, header).
    InvalidRequest,
    /// No file or folder of that name.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// A folder was needed, this is a file.
    NotAFolder,
    /// A file was needed, this is a folder.
    IsAFolder,
    /// The folder has entries and `recursive` was not asked for.
    FolderNotEmpty,
    /// A folder can't move below itself.
    RenameIntoItself,
    /// The file is still being written.
    StillOpen,
    /// The file is a log, or is none and was to be one.
    LogOrNot,
    /// The chunk takes no more records: its log goes on in another one.
    LogEnded,
    /// What stands there is not the file that the request counts on.
    Changed,
    /// The writer's lease is gone: closed, removed or expired.
    LeaseLost,
    /// Fewer replicas were sealed than a close needs.
    TooFewReplicas,
    /// No chunkserver can take a chunk (none alive, or none with room).
    NoServers,
    /// The cluster is starting: chunkservers are expected to register, and to tell what they hold.
    Starting,
    /// The chunk master's journal is an older copy: nothing changes before an operator has seen to it.
    JournalOutdated,
    /// No chunkserver of that name belongs to the cluster.
    UnknownServer,
    /// The chunkserver is alive, and must not be for this.
    ServerLives,
    /// Only that chunkserver may have records of a log.
    LastWithRecords,
    /// Only that chunkserver may have some chunks.
    LastWithChunks,
    /// The chunkserver does not hold that chunk (version).
    UnknownChunk,
    /// Bytes that do not match their checksum or length.
    ChecksumMismatch,
    /// The next server of the pipeline failed, and the chunk must not be on this one alone.
    NextServerFailed,
    /// The server's disk is full, or the master's journal has no room.
    OutOfSpace,
    /// The sender is not registered with this epoch.
    NotRegistered,
    /// The sender belongs to another cluster.
    WrongCluster,
    /// The sender speaks another protocol version.
    WrongProtocol,
    /// Another live server has registered under this host name.
    HostNameTaken,
    /// The capability does not allow this.
    Forbidden,
    /// The daemon is starting or stopping.
    Unavailable,
    /// The daemon failed; its log says more.
    Internal,
}

impl ProblemKind {
    /// What a problem document's `type` means; `None` for one that this version does not know.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<ValueError>::new(name)).ok()
    }

    /// The `type` of the problem document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::NotAFolder => "not-a-folder",
            Self::IsAFolder => "is-a-folder",
            Self::FolderNotEmpty => "folder-not-empty",
            Self::RenameIntoItself => "rename-into-itself",
            Self::StillOpen => "still-open",
            Self::LogOrNot => "log-or-not",
            Self::LogEnded => "log-ended",
            Self::Changed => "changed",
            Self::LeaseLost => "lease-lost",
            Self::TooFewReplicas => "too-few-replicas",
            Self::NoServers => "no-servers",
            Self::Starting => "starting",
            Self::JournalOutdated => "journal-outdated",
            Self::UnknownServer => "unknown-server",
            Self::ServerLives => "server-lives",
            Self::LastWithRecords => "last-with-records",
            Self::LastWithChunks => "last-with-chunks",
            Self::UnknownChunk => "unknown-chunk",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::NextServerFailed => "next-server-failed",
            Self::OutOfSpace => "out-of-space",
            Self::NotRegistered => "not-registered",
            Self::WrongCluster => "wrong-cluster",
            Self::WrongProtocol => "wrong-protocol",
            Self::HostNameTaken => "host-name-taken",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_means_what_it_is_the_name_of() {
        let schema = schemars::schema_for!(ProblemKind);
        let all = schema.get("oneOf").and_then(|all| all.as_array()).expect("a list of names");
        let names: Vec<&str> = all.iter().filter_map(|one| one.get("const")?.as_str()).collect();
        assert!(names.len() > 10 && names.len() == all.len(), "{schema:?}");
        for name in names {
            assert_eq!(ProblemKind::of(name).map(ProblemKind::as_str), Some(name));
        }
        assert_eq!(ProblemKind::of("of-a-newer-release"), None);
    }
}
