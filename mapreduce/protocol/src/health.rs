//! What keeps a host from doing good work: found by its TaskTracker, acted on by the JobTracker, shown to people.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is wrong with a host. While there is any, the host is given no new attempts; what runs there
/// goes on, and its map outputs are served. (Hadoop: `NodeHealthCheckerService`, but with the disks' and the memory's
/// state as values.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "ailment", rename_all = "snake_case")]
pub enum Ailment {
    /// The TaskTracker's data folder can't be written to.
    DiskFails {
        /// The folder.
        path: String,
        /// What the system said.
        message: String,
    },
    /// The disk of the TaskTracker's data folder has too little room for the outputs of more attempts.
    DiskFull {
        /// The folder.
        path: String,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// Too little memory is left for more attempts.
    LowMemory {
        /// Bytes that are available.
        available: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// The host's health command says so, or can't be run.
    Command {
        /// The command.
        command: String,
        /// What it said, or why it did not run.
        message: String,
    },
}

/// Length limit of one text of an [`Ailment`], bytes.
pub const AILMENT_BYTES_MAX: usize = 1024;
/// Disks of one host that are told of at most.
pub const DISKS_MAX: usize = 64;
/// Ailments of one host that are told at most.
pub const AILMENTS_MAX: usize = 8;

impl Ailment {
    /// The wire form's `ailment`, for metrics and tables.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::DiskFails { .. } => "disk_fails",
            Self::DiskFull { .. } => "disk_full",
            Self::LowMemory { .. } => "low_memory",
            Self::Command { .. } => "command",
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFails { path, message } => {
                write!(f, "{path} can't be written to: {message}; mend or replace its disk")
            }
            Self::DiskFull { path, free: 0, .. } => {
                write!(
                    f,
                    "{path} takes no more: no space is left (df), or no inodes (df -i); remove files there"
                )
            }
            Self::DiskFull { path, free, needed } => {
                let (free, needed) = (free >> 20, needed >> 20);
                write!(
                    f,
                    "{path} has {free} MiB left and needs {needed} MiB (tasktracker.disk_free_min): make space"
                )
            }
            Self::LowMemory { available, needed } => {
                let (available, needed) = (available >> 20, needed >> 20);
                write!(
                    f,
                    "{available} MiB of memory are available and {needed} MiB must be \
                     (tasktracker.memory_free_min): end other programs, or give it fewer slots"
                )
            }
            Self::Command { command, message } => write!(f, "{command}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_ailment_is_its_wire_form_and_its_text_says_what_to_do() {
        let path = "/data".to_owned();
        for (ailment, does) in [
            (Ailment::DiskFails { path: path.clone(), message: "I/O error".to_owned() }, "replace"),
            (Ailment::DiskFull { path, free: 1 << 20, needed: 9 << 20 }, "make space"),
            (Ailment::LowMemory { available: 1, needed: 5 << 20 }, "fewer slots"),
            (
                Ailment::Command {
                    command: "/bin/check".to_owned(),
                    message: "ERROR fan".to_owned(),
                },
                "/bin/check: ERROR fan",
            ),
        ] {
            let wire = serde_json::to_value(&ailment).unwrap();
            assert_eq!(wire["ailment"], ailment.as_str());
            assert!(ailment.to_string().contains(does), "{ailment}");
        }
    }
}
