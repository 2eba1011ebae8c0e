//! Errors → exit codes, in this one place. Commands return `anyhow::Result`; what kind of failure it
//! was is read from the types in its chain, never from its text.
//!
//! 0 done · 1 the cluster's answer was no · 2 decidable without the cluster · 3 no connection ·
//! 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.

use std::fmt;
use std::process::ExitCode;

use mapreduce_protocol::ProblemKind;
use net::CallError;

use crate::signals::Caught;

/// What to try when nobody answers.
const CONNECT_REMEDY: &str = "start it (`howdah dev --dir DIR` starts a whole cluster), \
     or name another cluster's file with --config or HOWDAH_CONFIG";

/// An error that shows before anybody is asked: usage, a malformed file, an unreadable executable.
#[derive(Debug)]
pub(crate) struct Early(anyhow::Error);

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sentence(&self.0))
    }
}

impl std::error::Error for Early {}

/// Marks an error as decidable without the cluster.
pub(crate) fn early(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Early(error.into()).into()
}

/// Marks a result's error as decidable without the cluster.
pub(crate) trait OrEarly<T> {
    /// See [`early`].
    fn or_early(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrEarly<T> for Result<T, E> {
    fn or_early(self) -> anyhow::Result<T> {
        self.map_err(early)
    }
}

/// Ctrl-C, or SIGTERM, ended the command.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; {remains}")]
pub(crate) struct Interrupted {
    /// The signal.
    pub(crate) by: Caught,
    /// What goes on without us, or is left, and how to look after it.
    pub(crate) remains: String,
}

/// Some of what a command was told failed, and each failure was said as it came: the code is left.
#[derive(Debug, thiserror::Error)]
#[error("some of it failed")]
pub(crate) struct SaidAlready;

/// Prints the error, if there is one, and picks the code.
pub(crate) fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let code = code_of(&error);
    if error.is::<SaidAlready>() {
        return ExitCode::from(code);
    }
    say_error(&error);
    // Somebody answers there: that they can't be reached is not what is wrong.
    let is_answered = |cause: &(dyn std::error::Error + 'static)| {
        let call = cause.downcast_ref();
        matches!(call, Some(CallError::Stranger { .. } | CallError::Untrusted { .. }))
    };
    if code == NO_CONNECTION && !error.chain().any(is_answered) {
        crate::say::say!("howdah: {CONNECT_REMEDY}");
    }
    ExitCode::from(code)
}

/// Prints an error.
pub(crate) fn say_error(error: &anyhow::Error) {
    // Names in it were chosen by others; lines are our own, or a task's.
    let lines = sentence(error).lines().map(crate::say::plain).collect::<Vec<_>>().join("\n");
    crate::say::say!("howdah: {lines}");
}

/// The chain of causes in one line. Some errors hold their cause's text, so that they read whole in
/// logs too: it is not said twice.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.as_str() {
            "" => cause,
            said if said.contains(&cause) => said.to_owned(),
            said => format!("{said}: {cause}"),
        }
    })
}

const REFUSED: u8 = 1;
const EARLY: u8 = 2;
const NO_CONNECTION: u8 = 3;

/// The exit code that the error stands for.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(REFUSED)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    let stopped = |error| matches!(error, &jobtracker::InitError::Stopped { .. });
    if let Some(interrupted) = cause.downcast_ref::<Interrupted>() {
        return Some(interrupted.by.exit_code());
    }
    if cause.downcast_ref().is_some_and(stopped) {
        return Some(Caught::Interrupt.exit_code());
    }
    if cause.is::<Early>() {
        return Some(EARLY);
    }
    if let Some(error) = cause.downcast_ref::<CallError>() {
        return Some(code_of_call(error));
    }
    own_folder_refused(cause).then_some(EARLY)
}

fn code_of_call(error: &CallError) -> u8 {
    match error {
        CallError::Connect { .. } | CallError::TimedOut { .. } | CallError::Broken { .. } => {
            NO_CONNECTION
        }
        CallError::Stranger { .. } | CallError::Untrusted { .. } => NO_CONNECTION,
        // The JobTracker answers for the chunk master, which does not.
        CallError::Problem { problem, .. }
            if ProblemKind::of(&problem.kind) == Some(ProblemKind::StoreUnavailable) =>
        {
            NO_CONNECTION
        }
        CallError::Problem { .. } | CallError::Decode { .. } => REFUSED,
    }
}

/// Whether a daemon could not start because of its own folder: in use, never initialised, unreadable.
fn own_folder_refused(cause: &(dyn std::error::Error + 'static)) -> bool {
    use chunkstore::{master, server};
    if let Some(error) = cause.downcast_ref() {
        return matches!(
            error,
            master::RunError::Recover(_) | master::RunError::NotInitialised { .. }
        );
    }
    if let Some(error) = cause.downcast_ref() {
        return matches!(
            error,
            jobtracker::RunError::Recover(_) | jobtracker::RunError::NotInitialised { .. }
        );
    }
    if let Some(error) = cause.downcast_ref() {
        return matches!(error, server::RunError::DataDir(_));
    }
    if let Some(error) = cause.downcast_ref() {
        return matches!(
            error,
            tasktracker::RunError::Folder(_) | tasktracker::RunError::Recover { .. }
        );
    }
    let opened = cause.downcast_ref().map(|error| matches!(error, master::InitError::Open(_)));
    let joined = cause.downcast_ref().map(|error| matches!(error, jobtracker::InitError::Open(_)));
    opened.or(joined).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_is_read_from_the_types_in_the_chain() {
        let address = "127.0.0.1:1".to_owned();
        let connect =
            || CallError::Connect { address: address.clone(), cause: "refused".into(), kind: None };
        let problem = || CallError::Problem {
            address: address.clone(),
            problem: net::Problem::new(409, "output-exists", "the output exists"),
        };
        let remains = "job_20261122_0001 goes on".to_owned();
        let interrupted = |by| Interrupted { by, remains: remains.clone() };
        let chunkmaster = address.clone();
        let table: [(anyhow::Error, u8); 9] = [
            (connect().into(), NO_CONNECTION),
            (Err::<(), _>(connect()).context("submitting").unwrap_err(), NO_CONNECTION),
            (problem().into(), REFUSED),
            (early(anyhow::anyhow!("bad YAML")).context("reading"), EARLY),
            (interrupted(Caught::Interrupt).into(), 130),
            (interrupted(Caught::Terminate).into(), 143),
            (interrupted(Caught::HangUp).into(), 129),
            (jobtracker::InitError::Stopped { chunkmaster }.into(), 130),
            (anyhow::anyhow!("disk full"), REFUSED),
        ];
        for (error, code) in table {
            assert_eq!(code_of(&error), code, "{error:#}");
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the chunk master: {source}")]
        struct Wrapped {
            source: CallError,
        }
        let source = CallError::TimedOut { address: "m:1".to_owned() };
        let error = anyhow::Error::from(Wrapped { source }).context("cannot list /in");
        let expected = "cannot list /in: the chunk master: no answer from m:1 in time";
        assert_eq!(sentence(&error), expected);
        assert_eq!(early(error).to_string(), expected);
        let hinted = anyhow::anyhow!("no room").context("cannot put /a: no room; make some");
        assert_eq!(sentence(&hinted), "cannot put /a: no room; make some");
    }
}
