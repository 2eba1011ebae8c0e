//! Why the chunk store did not do what its caller wanted, in a form that programs can act on. The
//! sentences come from whoever knows best: the chunk master's problem document, or the list of what
//! each chunkserver said.

use std::path::PathBuf;

use chunkstore_core::writer::{GaveUp, ServerFailure, show};
use chunkstore_protocol::path::TRASH_FOLDER;
use chunkstore_protocol::{ChunkId, ProblemKind, StorePath};
use net::{CallError, Problem};

/// Why an operation of the chunk store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file or folder of that name.
    #[error("{problem}")]
    NotFound {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The name is taken.
    #[error("{problem}")]
    AlreadyExists {
        /// The path to be made.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// A folder was needed, but this is a file.
    #[error("{problem}")]
    NotAFolder {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// A file was needed, but this is a folder.
    #[error("{problem}")]
    IsAFolder {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The folder has entries.
    #[error("{problem}")]
    FolderNotEmpty {
        /// The folder to be removed.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The file is still being written.
    #[error("{problem}")]
    StillOpen {
        /// The file.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The file is a log and must not be one, or the other way round.
    #[error("{problem}")]
    LogOrNot {
        /// The file.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// A record that no chunk of the log can hold.
    #[error(
        "a record of {bytes} bytes is too long for the log {path}: at most {limit} fit; cut it into several"
    )]
    RecordTooLong {
        /// The log.
        path: StorePath,
        /// Its bytes.
        bytes: usize,
        /// The log's limit.
        limit: usize,
    },
    /// Records could not be appended for as long as retries go on. Some of them may still be in the
    /// log.
    #[error(
        "records can't be appended to the log {path}: {reason}; some may be in it, append them again to be sure. If that goes \
         on, `howdah fs fsck {path}` says which servers' records its end waits for: start those, or give them up \
         (`howdah fs forget --lose-records`)"
    )]
    NotAppended {
        /// The log.
        path: StorePath,
        /// What the primary of the last chunk said.
        reason: String,
    },
    /// The end of a log can't be read.
    #[error(
        "the log {path} can't be read from byte {offset} on: {reason}; look after the chunkservers (howdah fs report)"
    )]
    LogUnreadable {
        /// The log.
        path: StorePath,
        /// Where the next record begins.
        offset: u64,
        /// The last failure.
        reason: String,
    },
    /// The writer has lost its lease: the file was removed, or the writer was cut off for too long.
    #[error("the file {path} can't be written any more: its lease is lost; write it again")]
    LeaseLost {
        /// The file.
        path: StorePath,
    },
    /// The file was moved, or removed into the trash, before its writer closed it. It is complete,
    /// at another path.
    #[error(
        "the file {path} was {} while it was written: all of it is there, now at {now}",
        moved_how(.now)
    )]
    Moved {
        /// Its expected path.
        path: StorePath,
        /// Its current path.
        now: StorePath,
    },
    /// No chunkserver can take a chunk.
    #[error("{problem}")]
    NoServers {
        /// The file to be written.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// A chunk could not be written to enough chunkservers.
    #[error("the file {path} can't be written: {gave_up}")]
    TooFewReplicas {
        /// The file.
        path: StorePath,
        /// The chunk, and what each server said.
        gave_up: GaveUp,
    },
    /// No replica of a chunk could be read.
    #[error(
        "the file {path} can't be read at byte {offset}: chunk {chunk} has no readable replica ({}); {}",
        show(.failures, "no live chunkserver holds one"),
        unreadable_remedy(.failures)
    )]
    Unreadable {
        /// The file.
        path: StorePath,
        /// First byte that could not be read.
        offset: u64,
        /// The chunk it lies in.
        chunk: ChunkId,
        /// What each server said.
        failures: Vec<ServerFailure>,
    },
    /// The path now has another file than the one that was opened.
    #[error("the file {path} was replaced while it was read: open it again")]
    Replaced {
        /// The file.
        path: StorePath,
    },
    /// More than the caller's limit.
    #[error("{path} has more than {limit} {what}")]
    TooMuch {
        /// The file or folder.
        path: StorePath,
        /// `bytes` or `entries`.
        what: &'static str,
        /// The caller's limit.
        limit: u64,
    },
    /// Another file took its place while it was being read in parts.
    #[error("{path} was replaced by another file meanwhile: try again")]
    ChangedMeanwhile {
        /// The file.
        path: StorePath,
    },
    /// The path does not have the file that was to be replaced.
    #[error("{problem}")]
    Changed {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The capability does not allow this.
    #[error("{problem}")]
    Forbidden {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The master, or a disk, has no room.
    #[error("{problem}")]
    OutOfSpace {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The master refused for another reason.
    #[error("{problem}")]
    Refused {
        /// The path in the request.
        path: StorePath,
        /// The master's problem.
        problem: Problem,
    },
    /// The chunk master could not be reached, or its answer did not arrive.
    #[error("{}{source}", whose(source))]
    Call {
        /// The path in the request.
        path: StorePath,
        /// The failure.
        source: CallError,
    },
    /// A failure with a file on this machine.
    #[error("{}: {source}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// The error about another server says itself what was expected.
fn whose(source: &CallError) -> &'static str {
    match source {
        CallError::Stranger { .. } => "",
        _ => "the chunk master: ",
    }
}

fn moved_how(now: &StorePath) -> &'static str {
    let trash: StorePath = TRASH_FOLDER.parse().expect("the constant is a path");
    if now.is_within(&trash) { "removed, into the trash," } else { "moved" }
}

fn unreadable_remedy(failures: &[ServerFailure]) -> &'static str {
    match failures {
        [] => "start the chunkservers that do",
        _ => "look after these chunkservers (their logs say more), or write the file again",
    }
}

impl StoreError {
    /// The chunk master's problem, if it answered.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::NotFound { problem, .. }
            | Self::AlreadyExists { problem, .. }
            | Self::NotAFolder { problem, .. }
            | Self::IsAFolder { problem, .. }
            | Self::FolderNotEmpty { problem, .. }
            | Self::StillOpen { problem, .. }
            | Self::LogOrNot { problem, .. }
            | Self::NoServers { problem, .. }
            | Self::Changed { problem, .. }
            | Self::Forbidden { problem, .. }
            | Self::OutOfSpace { problem, .. }
            | Self::Refused { problem, .. } => Some(problem),
            Self::Call { source, .. } => source.problem(),
            _ => None,
        }
    }

    /// Classifies the failure of a call about `path`.
    #[must_use]
    pub fn from_call(path: &StorePath, source: CallError) -> Self {
        let path = path.clone();
        let problem = match source {
            CallError::Problem { problem, .. } => problem,
            source => {
                let source = source.expecting("a chunk master", "chunkmaster.address");
                return Self::Call { path, source };
            }
        };
        match ProblemKind::of(&problem.kind) {
            Some(ProblemKind::NotFound) => Self::NotFound { path, problem },
            Some(ProblemKind::AlreadyExists) => Self::AlreadyExists { path, problem },
            Some(ProblemKind::NotAFolder) => Self::NotAFolder { path, problem },
            Some(ProblemKind::IsAFolder) => Self::IsAFolder { path, problem },
            Some(ProblemKind::FolderNotEmpty) => Self::FolderNotEmpty { path, problem },
            Some(ProblemKind::StillOpen) => Self::StillOpen { path, problem },
            Some(ProblemKind::LogOrNot) => Self::LogOrNot { path, problem },
            Some(ProblemKind::Changed) => Self::Changed { path, problem },
            Some(ProblemKind::LeaseLost) => Self::LeaseLost { path },
            Some(ProblemKind::NoServers | ProblemKind::Starting) => {
                Self::NoServers { path, problem }
            }
            Some(ProblemKind::Forbidden) => Self::Forbidden { path, problem },
            Some(ProblemKind::OutOfSpace) => Self::OutOfSpace { path, problem },
            _ => Self::Refused { path, problem },
        }
    }

    /// Whether nobody listens at the master's address.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.is_connect())
    }

    /// Whether there are servers, but none with room. What they said before then means the same.
    pub(crate) fn is_out_of_room(&self) -> bool {
        matches!(self, Self::NoServers { problem, .. } if problem.status == 507)
    }

    /// Whether the same operation may succeed in a moment, without anybody's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call { source, .. } => source.is_transient(),
            Self::Refused { problem, .. } => problem.status == 503,
            Self::NoServers { .. }
            | Self::TooFewReplicas { .. }
            | Self::Unreadable { .. }
            | Self::NotAppended { .. }
            | Self::LogUnreadable { .. } => true,
            _ => false,
        }
    }
}

/// Whether the master still expects servers to register.
pub(crate) fn is_starting(problem: &Problem) -> bool {
    ProblemKind::of(&problem.kind) == Some(ProblemKind::Starting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_a_file_that_is_elsewhere_now_is_told_where() {
        let moved = |now: &str| {
            let (path, now) = ("/par/f".parse().unwrap(), now.parse().unwrap());
            StoreError::Moved { path, now }.to_string()
        };
        assert_eq!(
            moved("/new/f"),
            "the file /par/f was moved while it was written: all of it is there, now at /new/f"
        );
        let removed = moved("/.howdah/trash/20261122T100000042Z-7/par/f");
        assert!(removed.contains("removed, into the trash, while"), "{removed}");
        assert!(
            removed.ends_with("now at /.howdah/trash/20261122T100000042Z-7/par/f"),
            "{removed}"
        );
    }

    #[test]
    fn problems_are_sorted_by_their_type_and_keep_their_sentence() {
        let path: StorePath = "/a".parse().unwrap();
        let sort = |kind: &str| {
            let problem = Problem::new(404, kind, "no file /a: list / to see what there is");
            StoreError::from_call(&path, CallError::Problem { address: "m:1".into(), problem })
        };
        assert!(matches!(sort("not-found"), StoreError::NotFound { .. }));
        assert!(matches!(sort("already-exists"), StoreError::AlreadyExists { .. }));
        assert!(matches!(sort("lease-lost"), StoreError::LeaseLost { .. }));
        assert!(matches!(sort("made-of-cheese"), StoreError::Refused { .. }));
        assert_eq!(sort("not-found").to_string(), "no file /a: list / to see what there is");
        let connect =
            CallError::Connect { address: "m:1".into(), cause: "refused".into(), kind: None };
        let error = StoreError::from_call(&path, connect);
        assert!(error.is_connect() && error.is_transient());
        assert!(error.to_string().contains("m:1"), "{error}");
    }
}
