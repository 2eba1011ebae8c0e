//! The only reader of the environment. Everything else gets a typed answer from [`Env`]; tests put a
//! [`Source`] of their own below it, so that no test changes the process' real environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where variables come from.
pub trait Source {
    /// The value of the variable `name`; `None` where it is not set.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// This process' environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Source for Process {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// Variables of a test.
impl<const N: usize> Source for [(&str, &str); N] {
    fn var(&self, name: &str) -> Option<OsString> {
        self.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into())
    }
}

/// A variable that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} is {given:?}; accepted: {accepted}")]
pub struct EnvError {
    name: &'static str,
    given: OsString,
    accepted: &'static str,
}

/// What the variables mean. An empty one counts as not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env<S = Process>(pub S);

/// The process' own.
#[must_use]
pub fn process() -> Env {
    Env(Process)
}

impl<S: Source> Env<S> {
    /// `HOWDAH_CONFIG`: the configuration file, where no `--config` names one.
    pub fn config_file(&self) -> Option<PathBuf> {
        self.filled("HOWDAH_CONFIG").map(PathBuf::from)
    }

    /// `HOWDAH_LISTEN_FD`: the number of an open, listening socket that the parent process hands down,
    /// so that the port is bound before the daemon is started.
    ///
    /// # Errors
    /// When it is not a number from 3 up.
    pub fn listen_fd(&self) -> Result<Option<i32>, EnvError> {
        const NAME: &str = "HOWDAH_LISTEN_FD";
        let Some(given) = self.filled(NAME) else { return Ok(None) };
        match given.to_str().and_then(|text| text.parse().ok()) {
            Some(fd) if fd >= 3 => Ok(Some(fd)),
            _ => {
                Err(EnvError { name: NAME, given, accepted: "the number of a descriptor, from 3" })
            }
        }
    }

    /// `NOTIFY_SOCKET`: where a service manager wants to hear that the daemon is ready (`sd_notify(3)`).
    pub fn notify_socket(&self) -> Option<OsString> {
        self.filled("NOTIFY_SOCKET")
    }

    /// `HOWDAH_TOKEN_FILE`: the file with the token of whoever gives commands.
    pub fn token_file(&self) -> Option<PathBuf> {
        self.filled("HOWDAH_TOKEN_FILE").map(PathBuf::from)
    }

    /// `PATH`: the folders in which whoever gives commands has programs.
    pub fn program_folders(&self) -> Vec<PathBuf> {
        let path = self.filled("PATH").unwrap_or_default();
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
    }

    /// The variable that an entry of `stores` names with `secret_env`.
    pub fn store_secret(&self, name: &str) -> Option<OsString> {
        self.filled(name)
    }

    /// Whether output may be coloured: `NO_COLOR` is not set, and `TERM` is not `dumb`.
    pub fn color(&self) -> bool {
        self.filled("NO_COLOR").is_none() && self.filled("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether a panic's backtrace is asked for: `RUST_BACKTRACE` is set to anything but `0`.
    pub fn backtrace(&self) -> bool {
        self.filled("RUST_BACKTRACE").is_some_and(|value| value != "0")
    }

    /// `HOWDAH_BIN`: the release binary that the end-to-end tests drive.
    pub fn howdah_bin(&self) -> Option<PathBuf> {
        self.filled("HOWDAH_BIN").map(PathBuf::from)
    }

    /// `HOWDAH_FORMER_BIN`: a binary of a former build, which the end-to-end tests take a cluster over from.
    pub fn former_bin(&self) -> Option<PathBuf> {
        self.filled("HOWDAH_FORMER_BIN").map(PathBuf::from)
    }

    /// `HOWDAH_LONG`: whether tests run at full size.
    pub fn long(&self) -> bool {
        self.filled("HOWDAH_LONG").is_some_and(|value| value != "0")
    }

    /// `HOWDAH_SEED`: the one world that the simulator's tests show.
    pub fn seed(&self) -> Option<u64> {
        self.filled("HOWDAH_SEED")?.to_str()?.parse().ok()
    }

    fn filled(&self, name: &str) -> Option<OsString> {
        self.0.var(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_what_they_mean_and_an_empty_one_is_none() {
        let env = Env([
            ("HOWDAH_CONFIG", "/etc/howdah.yaml"),
            ("HOWDAH_TOKEN_FILE", "/home/ann/token"),
            ("HOWDAH_LISTEN_FD", "3"),
            ("NOTIFY_SOCKET", "@notify"),
            ("NO_COLOR", ""),
            ("RUST_BACKTRACE", "0"),
            ("HOWDAH_LONG", "1"),
            ("HOWDAH_SEED", "7"),
            ("PATH", "/home/ann/bin::/bin:."),
        ]);
        assert_eq!(env.program_folders(), ["/home/ann/bin", "/bin"].map(PathBuf::from));
        assert_eq!(env.config_file(), Some("/etc/howdah.yaml".into()));
        assert_eq!(env.token_file(), Some("/home/ann/token".into()));
        assert_eq!(env.listen_fd(), Ok(Some(3)));
        assert_eq!(env.notify_socket(), Some("@notify".into()));
        assert!(env.color() && env.long() && !env.backtrace());
        assert_eq!((env.seed(), Env([("HOWDAH_SEED", "x")]).seed()), (Some(7), None));
        assert_eq!((env.howdah_bin(), Env([]).listen_fd()), (None, Ok(None)));
        assert!(!Env([("NO_COLOR", "1")]).color());
    }

    #[test]
    fn a_wrong_descriptor_is_refused_with_its_variable() {
        for bad in ["x", "-1", "2", "99999999999", "3 "] {
            let error = Env([("HOWDAH_LISTEN_FD", bad)]).listen_fd().unwrap_err().to_string();
            assert!(error.contains("HOWDAH_LISTEN_FD") && error.contains("descriptor"), "{error}");
        }
    }
}
