//! What is reported of an attempt that could not be started, or whose process had no last word, and whose fault that is.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use mapreduce_protocol::{CHANNEL_ARGUMENT, Failure, FailureKind};

use crate::vfork::{StartError, Step};

/// Of a process that never said a word.
const NOT_LINKED: &str = "it is no Howdah program: its process ended and has said nothing to the TaskTracker; \
     it must be linked with the `mapreduce` crate, and its main must call `mapreduce::main`; another program runs as a \
     command, by `streaming`";

/// What came from a task.
pub(super) struct Heard {
    pub(super) anything: bool,
    pub(super) has_succeeded: bool,
    /// Why it can't be understood.
    pub(super) complaint: Option<String>,
}

/// What a local disk says no with: its host's fault.
fn of_disk(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::OutOfSpace,
        _ => FailureKind::HostUnfit,
    }
}

pub(super) fn no_folder(folder: &Path, error: &io::Error) -> Failure {
    let message = format!("the attempt's folder {} can't be made: {error}", folder.display());
    Failure { kind: of_disk(error), message }
}

pub(super) fn no_channel(error: &io::Error) -> Failure {
    let message = format!("the channel to the task can't be used: {error}");
    Failure { kind: FailureKind::HostUnfit, message }
}

pub(super) fn not_confined(error: &io::Error) -> Failure {
    let message = format!("the attempt can't be kept from what is not its own: {error}");
    Failure { kind: FailureKind::HostUnfit, message }
}

/// Its map output at `left` can't be taken over. What lies there is its own doing.
pub(super) fn not_taken(left: &Path, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => FailureKind::UserCode,
        _ => of_disk(error),
    };
    let message = format!(
        "it says that it has succeeded, but its output {} can't be taken over: {error}",
        left.display()
    );
    Failure { kind, message }
}

/// It is this host's fault unless it is the program that can't be executed, and even then if there are too many
/// processes or too little memory for another one.
pub(super) fn not_run(path: &Path, error: &StartError) -> Failure {
    let kind = match (error.step, error.source.kind()) {
        (Step::Walls, _) => return not_confined(&error.source),
        (Step::Process, _) | (_, io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {
            FailureKind::HostUnfit
        }
        (Step::Program, _) => FailureKind::ProgramUnavailable,
    };
    let path = path.display();
    let message = match error.step {
        Step::Program => format!("the program {path} can't be run: {error}"),
        Step::Process | Step::Walls => format!("no process can be made for {path}: {error}"),
    };
    Failure { kind, message }
}

/// The process has ended, and its log ends with `tail`.
pub(super) fn crashed(status: Option<ExitStatus>, heard: Heard, tail: &[u8]) -> Failure {
    use std::os::unix::process::ExitStatusExt as _;
    let exit_code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    let tail = String::from_utf8_lossy(tail);
    // A program that knows nothing of tasks ends well, or complains of an option that it does not know.
    let complains = tail.contains(CHANNEL_ARGUMENT.trim_end_matches('='));
    let is_stranger = !heard.anything && (exit_code == Some(0) || exit_code.is_some() && complains);
    let ending = heard.complaint.unwrap_or_else(|| match (exit_code, signal) {
        _ if is_stranger => NOT_LINKED.to_owned(),
        (Some(code), _) => format!("the process exited with status {code} and no last word"),
        (None, Some(signal)) => format!("the process was ended by signal {signal}"),
        (None, None) => "the process ended".to_owned(),
    });
    let message = match tail.trim() {
        "" => format!("{ending}; its log is empty"),
        tail => format!("{ending}; its log ends: {tail}"),
    };
    let kind = match is_stranger {
        true => FailureKind::BadJob,
        false => FailureKind::Crashed { exit_code, signal },
    };
    Failure { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_cannot_be_executed_counts_against_its_job() {
        let program = Path::new("/bin/program");
        for (step, error, kind, words) in [
            (
                Step::Program,
                libc::ENOENT,
                FailureKind::ProgramUnavailable,
                "/bin/program can't be run",
            ),
            (Step::Program, libc::EAGAIN, FailureKind::HostUnfit, "/bin/program can't be run"),
            (Step::Process, libc::EBUSY, FailureKind::HostUnfit, "no process can be made for /bin"),
            (Step::Walls, libc::ENOENT, FailureKind::HostUnfit, "kept from what is not its own"),
        ] {
            let source = io::Error::from_raw_os_error(error);
            let failure = not_run(program, &StartError { step, source });
            assert_eq!(failure.kind, kind, "{step:?}: {}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }

    #[test]
    fn a_full_disk_is_told_from_what_else_a_host_lacks() {
        let kind = |error| no_folder(Path::new("/f"), &io::Error::from_raw_os_error(error)).kind;
        assert_eq!(kind(libc::ENOSPC), FailureKind::OutOfSpace);
        assert_eq!(kind(libc::EDQUOT), FailureKind::OutOfSpace);
        assert_eq!(kind(libc::EMFILE), FailureKind::HostUnfit);
        let taken = |error| not_taken(Path::new("/f"), &io::Error::from_raw_os_error(error)).kind;
        assert_eq!(taken(libc::ENOENT), FailureKind::UserCode);
        assert_eq!(taken(libc::ENOSPC), FailureKind::OutOfSpace);
        assert_eq!(taken(libc::EIO), FailureKind::HostUnfit);
        assert_eq!(taken(libc::ENOTDIR), FailureKind::HostUnfit, "its disk was pulled");
    }
}
