//! One run of the binary as a user makes it: arguments in, exit code and output out.

use std::ffi::OsStr;
use std::process::{Command, Output};

use crate::binary::howdah_binary;

/// The binary, to be given arguments.
#[must_use]
pub fn howdah() -> Command {
    let mut command = Command::new(howdah_binary());
    command.env_remove("HOWDAH_CONFIG");
    command
}

/// What a command left.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the binary with `args`, to its end.
///
/// # Panics
/// When it can't be started.
pub fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Finished {
    finish(howdah().args(args))
}

/// Runs `command` to its end.
///
/// # Panics
/// When it can't be started.
pub fn finish(command: &mut Command) -> Finished {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")).into()
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    /// Standard output as text, without the last newline.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// The same, after an exit code of 0.
    ///
    /// # Panics
    /// On any other.
    #[must_use]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        self
    }

    /// The same, after this exit code and a message on standard error with all `parts`.
    ///
    /// # Panics
    /// On another code, or a message without one of them.
    #[must_use]
    pub fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in: {}", self.stderr);
        }
        self
    }
}
