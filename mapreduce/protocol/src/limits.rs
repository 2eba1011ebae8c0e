//! What one attempt of a job may use of its host: the job says it, TaskTrackers hold attempts to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::TimeSpan;

/// The least memory that a job can ask for: the runtime alone needs some.
pub const MEMORY_MIN: ByteSize = ByteSize(64 << 20);

/// The least room on the local disk: a map's output lies there.
pub const DISK_MIN: ByteSize = ByteSize(16 << 20);

/// The fewest open files: the runtime alone has some, and a merge opens many at once.
pub const OPEN_FILES_MIN: u32 = 256;

/// The fewest processes and threads: the runtime alone has some.
pub const PROCESSES_MIN: u32 = 16;

/// The shortest time without a sign of life that a job can ask for.
pub const SILENCE_MIN: TimeSpan = TimeSpan(Duration::from_secs(1));
/// The longest one.
pub const SILENCE_MAX: TimeSpan = TimeSpan(Duration::from_hours(7 * 24));

/// Limits of one attempt, each as the cluster's configuration says where the job does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskLimits {
    /// Memory of all its processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Its processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// What its folder holds on the local disk: its own files, spills, and a map's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Files and sockets that one of its processes has open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Time without a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<TimeSpan>,
}

impl TaskLimits {
    /// Whether the cluster's limits are all there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A limit that no job can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too little memory for any task.
    #[error("'limits.memory' is {given}: give at least {MEMORY_MIN}, or leave it out")]
    Memory {
        /// What was asked for.
        given: ByteSize,
    },
    /// Too little room on the disk for any task.
    #[error("'limits.disk' is {given}: give at least {DISK_MIN}, or leave it out")]
    Disk {
        /// What was asked for.
        given: ByteSize,
    },
    /// Too few open files for any task.
    #[error("'limits.open_files' is {given}: give at least {OPEN_FILES_MIN}, or leave it out")]
    OpenFiles {
        /// What was asked for.
        given: u32,
    },
    /// A time so short that each task would be ended, or so long that none would.
    #[error("'limits.silence' is {given}: give {SILENCE_MIN} to {SILENCE_MAX}, or leave it out")]
    Silence {
        /// What was asked for.
        given: TimeSpan,
    },
    /// Too few processes for any task.
    #[error("'limits.processes' is {given}: give at least {PROCESSES_MIN}, or leave it out")]
    Processes {
        /// What was asked for.
        given: u32,
    },
}

impl TaskLimits {
    /// Checks what a job asks for.
    ///
    /// # Errors
    /// The first limit below which no task could run.
    pub fn validate(&self) -> Result<(), LimitError> {
        match *self {
            Self { memory: Some(given), .. } if given < MEMORY_MIN => {
                Err(LimitError::Memory { given })
            }
            Self { processes: Some(given), .. } if given < PROCESSES_MIN => {
                Err(LimitError::Processes { given })
            }
            Self { disk: Some(given), .. } if given < DISK_MIN => Err(LimitError::Disk { given }),
            Self { open_files: Some(given), .. } if given < OPEN_FILES_MIN => {
                Err(LimitError::OpenFiles { given })
            }
            Self { silence: Some(given), .. } if !(SILENCE_MIN..=SILENCE_MAX).contains(&given) => {
                Err(LimitError::Silence { given })
            }
            _ => Ok(()),
        }
    }
}

/// A number of bytes, written with its unit: `512MiB`, or `512MB` of a thousand thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

ids::text_schema!(
    ByteSize,
    r"^\s*[0-9]+(\.[0-9]+)?\s*[KMGTPEkmgtpe]?i?[Bb]?\s*$",
    "A number of bytes with its unit, like `512MiB`."
);

/// A text that is no [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a size with a unit, like 512MiB or 2GiB")]
pub struct ByteSizeError {
    given: String,
}

/// In which sizes are written.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    /// As the configuration reads sizes: a number and a unit, which can't be left out.
    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let size = text.parse::<bytesize::ByteSize>().ok().map(|size| size.0);
        size.filter(|bytes| {
            text.ends_with(|last: char| last.is_ascii_alphabetic()) && *bytes < u64::MAX
        })
        .map(Self)
        .ok_or_else(|| ByteSizeError { given: text.to_owned() })
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit in which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole = |(_, shift): &&(&str, u32)| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        let (unit, shift) = UNITS.iter().find(is_whole).unwrap_or(&("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_their_units() {
        for (text, bytes, again) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("2048MiB", 2 << 30, "2GiB"),
            (" 3 KiB", 3 << 10, "3KiB"),
            ("1500B", 1500, "1500B"),
            ("0B", 0, "0B"),
            ("1GB", 1_000_000_000, "1000000000B"),
            ("512m", 512_000_000, "500000KiB"),
            ("2gib", 2 << 30, "2GiB"),
            ("2Gi", 2 << 30, "2GiB"),
            ("1.5GiB", 3 << 29, "1536MiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, again), "{text}");
        }
        for text in ["", "12", "MiB", "-1MiB", "+1MiB", "1 XB", "1iB", "1i", "99999999999TiB"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.to_string().contains("512MiB"), "{text}");
        }
    }

    #[test]
    fn limits_are_left_out_or_of_a_size_that_a_task_can_run_with() {
        let parse = |json: &str| serde_json::from_str::<TaskLimits>(json);
        let limits = parse(r#"{"memory":"1GiB","processes":100}"#).unwrap();
        assert_eq!(limits.memory, Some(ByteSize(1 << 30)));
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"memory":"1GiB","processes":100}"#);
        assert!(parse("{}").unwrap().is_empty());
        assert_eq!(limits.validate(), Ok(()));
        for bad in [
            r#"{"memory":"1MiB"}"#,
            r#"{"processes":3}"#,
            r#"{"disk":"1KiB"}"#,
            r#"{"open_files":3}"#,
            r#"{"silence":"1ms"}"#,
            r#"{"silence":"8days"}"#,
        ] {
            let error = parse(bad).unwrap().validate().unwrap_err().to_string();
            let told = ["at least", "give 1s to 7days"];
            assert!(told.iter().any(|it| error.contains(it)), "{error}");
        }
        assert!(parse(r#"{"memory":1024}"#).is_err() && parse(r#"{"ram":"1GiB"}"#).is_err());
    }
}
