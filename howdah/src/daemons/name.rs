//! What a daemon is called: in pid files, logs, data folders and messages.

use std::fmt;

/// One daemon of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DaemonName {
    /// The master of the chunk store.
    Chunkmaster,
    /// The chunkserver of the host at this position of `hosts`, from 1.
    Chunkserver(usize),
    /// The scheduler.
    Jobtracker,
    /// The TaskTracker of the host at this position of `hosts`, from 1.
    Tasktracker(usize),
}

impl DaemonName {
    /// The command that runs it.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Chunkmaster => "chunkmaster",
            Self::Chunkserver(_) => "chunkserver",
            Self::Jobtracker => "jobtracker",
            Self::Tasktracker(_) => "tasktracker",
        }
    }

    /// The host it belongs to, by position from 1; none for the masters.
    pub(crate) fn host_number(&self) -> Option<usize> {
        match self {
            Self::Chunkmaster | Self::Jobtracker => None,
            Self::Chunkserver(number) | Self::Tasktracker(number) => Some(*number),
        }
    }
}

impl fmt::Display for DaemonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command())?;
        match self.host_number() {
            Some(number) => write!(f, "-{number}"),
            None => Ok(()),
        }
    }
}
