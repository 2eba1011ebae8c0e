//! Failures of the runtime, as the scheduler's type. The words for people are written here.

use std::io;
use std::path::Path;

use mapreduce_protocol::{Failure, FailureKind};

use crate::api::{DecodeError, UserError};

/// The author's code returned an error.
pub(crate) fn user_code(error: &UserError, during: &str) -> Failure {
    failure(FailureKind::UserCode, format!("the job's {during} failed: {error}"))
}

/// The author's types can't read what they wrote.
pub(crate) fn undecodable(error: DecodeError, what: &str) -> Failure {
    let message = format!("a {what} of the map output can't be decoded: {error}");
    failure(FailureKind::UserCode, message)
}

/// A local disk refused.
pub(crate) fn disk(error: &io::Error, what: &str, path: &Path) -> Failure {
    let message = format!("can't {what} {}: {error}", path.display());
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::OutOfSpace,
        _ => FailureKind::HostUnfit,
    };
    failure(kind, message)
}

/// A run on a local disk is not what was written there.
pub(crate) fn broken_run(reason: &str, path: &Path) -> Failure {
    let message = format!("{} is broken: {reason}; the disk may be failing", path.display());
    failure(FailureKind::HostUnfit, message)
}

/// The job asks for something that its program can't do.
pub(crate) fn bad_job(message: impl Into<String>) -> Failure {
    failure(FailureKind::BadJob, message.into())
}

/// Stands in a failure's words before the end of what a command wrote to standard error.
pub(crate) const LAST_WORDS: &str = "its standard error ends: ";

/// What of a failure's words the attempt's log does not have already.
pub(crate) fn words_for_log(failure: &Failure) -> &str {
    match failure.message.split_once(LAST_WORDS) {
        Some((why, _)) => why.trim_end_matches([' ', ';']),
        None => &failure.message,
    }
}

/// Any kind with its words.
pub(crate) fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}
