//! The only place that chooses HTTP statuses and problem types of the chunkserver.

use chunkstore_client::blocks::BlockError;
use chunkstore_protocol::{ChunkIdError, ProblemKind};
use net::Problem;

use crate::server::download::DownloadError;
use crate::server::logs::LogError;
use crate::server::open_chunk::DiskError;
use crate::server::seal::SealError;
use crate::server::upload::UploadError;

/// What a request says wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRequest {
    /// The path's last part.
    #[error(transparent)]
    Chunk(ChunkIdError),
    /// The pipeline header isn't text.
    #[error("the header x-howdah-pipeline is not text")]
    PipelineText,
    /// The pipeline header isn't a list of servers.
    #[error("the header x-howdah-pipeline must be a JSON array of server addresses: {0}")]
    Pipeline(serde_json::Error),
    /// The body is longer than anything that is wanted, or broke off.
    #[error("the body did not arrive whole within {bytes_max} bytes: {reason}")]
    Body {
        /// The limit.
        bytes_max: usize,
        /// What is wrong.
        reason: String,
    },
    /// The pipeline is absurdly long.
    #[error("a pipeline of {servers} more servers is too long")]
    PipelineLength {
        /// Servers downstream.
        servers: usize,
    },
}

impl From<BadRequest> for Problem {
    fn from(error: BadRequest) -> Self {
        problem(400, ProblemKind::InvalidRequest, &error)
    }
}

/// Of a failed `PUT`.
pub(super) fn problem_of_upload(error: &UploadError) -> Problem {
    let (status, kind) = match error {
        UploadError::Busy(_) | UploadError::Stale { .. } | UploadError::Differs(_) => {
            (409, ProblemKind::AlreadyExists)
        }
        UploadError::TooMany { .. } | UploadError::Stopped(_) => (503, ProblemKind::Unavailable),
        UploadError::Blocks(
            BlockError::Checksum { .. }
            | BlockError::EndMark { .. }
            | BlockError::CutShort { .. }
            | BlockError::AfterEnd,
        ) => (400, ProblemKind::ChecksumMismatch),
        UploadError::Blocks(
            BlockError::BadHeader { .. }
            | BlockError::AfterShortBlock { .. }
            | BlockError::TooLong { .. },
        )
        | UploadError::Empty => (400, ProblemKind::InvalidRequest),
        UploadError::Frozen => (409, ProblemKind::Unavailable),
        UploadError::NextFailed(_) => (503, ProblemKind::NextServerFailed),
        UploadError::Broken(_) => (400, ProblemKind::ChecksumMismatch),
        UploadError::Idle { .. } => (408, ProblemKind::Unavailable),
        UploadError::Disk(disk) => of_disk(disk),
    };
    problem(status, kind, error)
}

/// Of records that were not taken, or not given.
pub(super) fn problem_of_log(error: &LogError) -> Problem {
    let (status, kind) = match error {
        LogError::Ended(_) => (409, ProblemKind::LogEnded),
        LogError::TooMany { .. } | LogError::Stopped(_) => (503, ProblemKind::Unavailable),
        LogError::BadRecords { .. } => (400, ProblemKind::ChecksumMismatch),
        LogError::NoRecordAt { .. } => (400, ProblemKind::InvalidRequest),
        LogError::OutOfOrder(_) | LogError::Gap(_) => (409, ProblemKind::InvalidRequest),
        LogError::Disk(disk) => of_disk(disk),
    };
    problem(status, kind, error)
}

/// Of a failed freeze or seal.
pub(super) fn problem_of_seal(error: &SealError) -> Problem {
    let (status, kind) = match error {
        SealError::Unknown(_) => (404, ProblemKind::UnknownChunk),
        SealError::Open(_) | SealError::Differs { .. } => (409, ProblemKind::AlreadyExists),
        SealError::NoLength => (400, ProblemKind::InvalidRequest),
        SealError::Disk(disk) => of_disk(disk),
        SealError::Stopped(_) => (503, ProblemKind::Unavailable),
    };
    problem(status, kind, error)
}

fn of_disk(error: &DiskError) -> (u16, ProblemKind) {
    match error {
        DiskError::OutOfSpace { .. } => (507, ProblemKind::OutOfSpace),
        DiskError::Io { .. }
        | DiskError::Failed { .. }
        | DiskError::NoAnswer { .. }
        | DiskError::NoneWorks => (500, ProblemKind::Internal),
    }
}

/// Of a failed `GET`.
pub(super) fn problem_of_download(error: &DownloadError) -> Problem {
    let (status, kind) = match error {
        DownloadError::Unknown(_) => (404, ProblemKind::UnknownChunk),
        DownloadError::BehindEnd { .. } => (400, ProblemKind::InvalidRequest),
        DownloadError::Broken { .. } => (500, ProblemKind::ChecksumMismatch),
        DownloadError::Failed { .. } => (500, ProblemKind::Internal),
        DownloadError::Idle { .. } => (408, ProblemKind::Unavailable),
        DownloadError::TooMany { .. } => (503, ProblemKind::Unavailable),
    };
    problem(status, kind, error)
}

/// A request that its caller may not make.
pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(403, ProblemKind::Forbidden.as_str(), detail)
}

fn problem(status: u16, kind: ProblemKind, error: &dyn std::error::Error) -> Problem {
    Problem::new(status, kind.as_str(), error.to_string())
}
