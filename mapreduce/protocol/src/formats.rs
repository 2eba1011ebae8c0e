//! How a job's files are read: what their names say of their compression. Planner, tasks, local runner and oracle ask the
//! same functions.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::InputFormat;

/// A compression that files can have.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 1952; members one after the other are one file.
    Gzip,
    /// Streams one after the other are one file.
    Bzip2,
    /// RFC 8878; frames one after the other are one file.
    Zstd,
    /// The frame format, or the blocks that Hadoop writes.
    Lz4,
    /// The framing format, or the blocks that Hadoop writes.
    Snappy,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Bzip2, Self::Zstd, Self::Lz4, Self::Snappy];

    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }

    /// What names of files that it wrote end with, behind a point.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Bzip2 => "bz2",
            Self::Zstd => "zst",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }

    /// Whether files of it can be read from their middle on: it has blocks, or frames, that need nothing of what is before.
    #[must_use]
    pub fn splits(self) -> bool {
        match self {
            Self::Bzip2 | Self::Zstd => true,
            Self::Gzip | Self::Lz4 | Self::Snappy => false,
        }
    }

    /// The one that the end of a file's name tells, whatever its case.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "bz2" => Some(Self::Bzip2),
            "zst" => Some(Self::Zstd),
            "lz4" => Some(Self::Lz4),
            "snappy" | "sz" => Some(Self::Snappy),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether compressed inputs are read as what they hold (`input_compression`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputCompression {
    /// As the ends of their names say: [`Codec::of_path`].
    Auto,
    /// All files are read as they are; so were those of jobs and tasks that say nothing, which are older than codecs.
    #[default]
    None,
}

/// How all files of a job are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Formats {
    /// What a record of the input is.
    pub input: InputFormat,
    /// Whether compressed inputs are read as what they hold.
    pub input_compression: InputCompression,
}

impl Formats {
    /// How the input file `path` is compressed.
    #[must_use]
    pub fn codec_of(&self, path: &str) -> Option<Codec> {
        match self.input_compression {
            InputCompression::Auto => Codec::of_path(path),
            InputCompression::None => None,
        }
    }

    /// Whether the file `path` can be read from its middle on: otherwise one map reads all of it. Of compressed ones those
    /// can of which a codec begins anew now and then, if records are lines.
    #[must_use]
    pub fn splits(&self, path: &str) -> bool {
        let is_counted = matches!(self.input, InputFormat::Lines { .. });
        let is_fixed = matches!(self.input, InputFormat::FixedLength { .. });
        self.input.splits()
            && match self.codec_of(path) {
                None => true,
                Some(codec) => codec.splits() && !is_counted && !is_fixed,
            }
    }

    /// Whether the lines of the file `path`, as they stand there, are its records.
    #[must_use]
    pub fn has_plain_lines(&self, path: &str) -> bool {
        let is_lines = matches!(
            self.input,
            InputFormat::Text | InputFormat::Lines { .. } | InputFormat::JsonLines
        );
        is_lines && self.codec_of(path).is_none()
    }

    /// Whether lines of files as they are: what counts where a task says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_tells_the_codec() {
        for (path, expected) in [
            ("/in/a.gz", Some(Codec::Gzip)),
            ("/in/a.txt.BZ2", Some(Codec::Bzip2)),
            ("s3://bucket/a.zst", Some(Codec::Zstd)),
            ("/in/a.lz4", Some(Codec::Lz4)),
            ("/in/a.snappy", Some(Codec::Snappy)),
            ("/in/a.sz", Some(Codec::Snappy)),
            ("/in.gz/a", None),
            ("/in/gz", None),
            ("/in/a.gz.old", None),
        ] {
            assert_eq!(Codec::of_path(path), expected, "{path}");
        }
        let auto = Formats { input_compression: InputCompression::Auto, ..Formats::default() };
        assert_eq!(Formats::default().codec_of("/in/a.gz"), None);
        assert!(Formats::default().splits("/in/a.gz") && !auto.splits("/in/a.gz"));
        assert!(auto.splits("/in/a.bz2") && auto.splits("/in/a.zst"));
        for input in [InputFormat::FixedLength { bytes: 2 }, InputFormat::WholeFile] {
            assert!(!Formats { input, ..auto.clone() }.splits("/in/a.bz2"));
        }
    }

    #[test]
    fn the_name_of_a_codec_is_its_wire_form() {
        for codec in Codec::ALL {
            assert_eq!(serde_json::to_value(codec).unwrap(), codec.as_str());
        }
    }
}
