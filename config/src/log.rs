//! Section `log`: what daemons say, and to whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Bytes;

const MIB: u64 = 1 << 20;

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter like `info` or `info,jobtracker=debug`.
    pub filter: String,
    /// Folder of the audit log, a file for each daemon; none if null.
    pub audit_dir: Option<PathBuf>,
    /// Length at which a file of it is set aside; nine older ones are kept.
    pub audit_bytes_max: Bytes,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            audit_dir: None,
            audit_bytes_max: Bytes(64 * MIB),
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
