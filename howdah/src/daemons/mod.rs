//! The daemons' mains: each turns the configuration into its daemon's settings and calls its `run`.
//! What is the same for all (logs, secret, listener, pid file) is in `boot`; what a daemon does is in its
//! own crate.

mod boot;
pub(crate) mod chunkmaster;
pub(crate) mod chunkserver;
pub(crate) mod jobtracker;
pub(crate) mod listen;
mod name;
mod pid_file;
pub(crate) mod tasktracker;
mod users;

use boot::Boot;

/// How a master begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With what its journal tells.
    Again,
    /// For the first time.
    First,
    /// For the first time, and only to make its journal.
    FirstOnly,
    /// With what its journal tells, though that may be older than the cluster.
    OverOldJournal,
}

impl Beginning {
    /// Whether there is no journal yet.
    pub(crate) fn is_first(self) -> bool {
        matches!(self, Self::First | Self::FirstOnly)
    }
}

pub(crate) use name::DaemonName;
