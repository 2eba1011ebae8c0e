//! How a job's output is written (`output_format`, `output_compression` and `map_output_compression` of a job), and how that
//! is written in a job file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Codec, RECORD_BYTES_MAX, TaskId, part_name, part_name_of};

/// Bytes of a separator, at most.
const SEPARATOR_BYTES_MAX: usize = 64;

/// What a pair of key and value becomes in the job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A line `key<TAB>value`; a part that is nothing leaves no tab (Hadoop: `TextOutputFormat`).
    #[default]
    Text,
    /// The same with another separator.
    KeyValue {
        /// Without a line feed; may be empty.
        separator: String,
    },
    /// Key and value, one behind the other, which together have so many bytes; no line feed.
    FixedLength {
        /// At least one.
        bytes: u32,
    },
    /// A record of RFC 4180, ended by LF: the fields of the key, then those of the value.
    Csv {
        /// What stands between fields: a character of ASCII.
        delimiter: u8,
    },
    /// A line that is a JSON value: `{"key": …, "value": …}`, or the one of them that is not nothing.
    JsonLines,
    /// Nothing at all: pairs are counted, and the output is a folder without parts (Hadoop: `NullOutputFormat`).
    Null,
}

impl OutputFormat {
    /// The names by which job files call them.
    pub const NAMES: [&str; 6] = ["text", "key-value", "fixed-length", "csv", "json-lines", "none"];

    /// Its name in job files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::KeyValue { .. } => "key-value",
            Self::FixedLength { .. } => "fixed-length",
            Self::Csv { .. } => "csv",
            Self::JsonLines => "json-lines",
            Self::Null => "none",
        }
    }

    fn key_value() -> Self {
        Self::KeyValue { separator: "\t".to_owned() }
    }

    fn csv() -> Self {
        Self::Csv { delimiter: b',' }
    }
}

/// Compression of the parts of an output; their names get the extension of the codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputCompression {
    /// As they are.
    #[default]
    None,
    /// [`Codec::Gzip`].
    Gzip,
    /// [`Codec::Bzip2`].
    Bzip2,
    /// [`Codec::Zstd`].
    Zstd,
    /// [`Codec::Lz4`], in its frame format.
    Lz4,
    /// [`Codec::Snappy`], in its framing format.
    Snappy,
}

impl OutputCompression {
    /// What compresses.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            Self::None => None,
            Self::Gzip => Some(Codec::Gzip),
            Self::Bzip2 => Some(Codec::Bzip2),
            Self::Zstd => Some(Codec::Zstd),
            Self::Lz4 => Some(Codec::Lz4),
            Self::Snappy => Some(Codec::Snappy),
        }
    }
}

/// Compression of what maps leave for reduces: of each block of their outputs, spills and merges (Hadoop:
/// `mapreduce.map.output.compress`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MapOutputCompression {
    /// As they are.
    #[default]
    None,
    /// LZ4's block format.
    Lz4,
    /// RFC 8878, at its fastest level.
    Zstd,
}

/// How all tasks of a job write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputForms {
    /// What pairs become in the job's output.
    pub format: OutputFormat,
    /// How its parts are compressed.
    pub compression: OutputCompression,
    /// How map outputs are.
    pub map_output: MapOutputCompression,
}

impl OutputForms {
    /// Whether plain text of plain map outputs: what counts where a task says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the job's output has parts at all.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        self.format != OutputFormat::Null
    }

    /// The name of the file that a task makes in the job's output.
    #[must_use]
    pub fn part_name(&self, task: TaskId) -> String {
        self.with_extension(part_name(task))
    }

    /// The name of the file that a task makes there for a named output.
    #[must_use]
    pub fn part_name_of(&self, output: &str, task: TaskId) -> String {
        self.with_extension(part_name_of(output, task))
    }

    fn with_extension(&self, name: String) -> String {
        match self.compression.codec() {
            Some(codec) => format!("{name}.{}", codec.extension()),
            None => name,
        }
    }
}

/// The options of those that have some.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "OutputFormatOptions", extend("minProperties" = 1, "maxProperties" = 1))]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_value: Option<WrittenKeyValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fixed_length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csv: Option<WrittenCsv>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct WrittenKeyValue {
    separator: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct WrittenCsv {
    delimiter: String,
}

impl Written {
    fn check(self) -> Result<OutputFormat, String> {
        let Self { key_value, fixed_length, csv } = self;
        match (key_value, fixed_length, csv) {
            (Some(WrittenKeyValue { separator }), None, None) => {
                if separator.contains('\n') || separator.len() > SEPARATOR_BYTES_MAX {
                    return Err(format!(
                        "the separator of 'key-value' has a line feed, or more than {SEPARATOR_BYTES_MAX} bytes"
                    ));
                }
                Ok(OutputFormat::KeyValue { separator })
            }
            (None, Some(bytes), None) if (1..=RECORD_BYTES_MAX).contains(&(bytes as usize)) => {
                Ok(OutputFormat::FixedLength { bytes })
            }
            (None, Some(given), None) => {
                Err(format!("'fixed-length' is {given} bytes: give 1 to {RECORD_BYTES_MAX}"))
            }
            (None, None, Some(WrittenCsv { delimiter })) => match delimiter.as_bytes() {
                [delimiter] if delimiter.is_ascii() && !matches!(delimiter, b'"' | b'\r' | b'\n') => {
                    Ok(OutputFormat::Csv { delimiter: *delimiter })
                }
                _ => Err(format!(
                    "the delimiter of 'csv' is {delimiter:?}: give one character of ASCII that is no quote and no end of a line"
                )),
            },
            _ => Err("an output format is exactly one of 'key-value', 'fixed-length' and 'csv' with its options, or a name \
                      alone"
                .to_owned()),
        }
    }
}

impl JsonSchema for OutputFormat {
    fn schema_name() -> Cow<'static, str> {
        "OutputFormat".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Its name, or its options by name.",
            "anyOf": [{"enum": Self::NAMES}, generator.subschema_for::<Written>()],
        })
    }
}

impl Serialize for OutputFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = Written::default();
        let written = match self {
            Self::KeyValue { separator } if separator != "\t" => {
                let separator = separator.clone();
                Written { key_value: Some(WrittenKeyValue { separator }), ..nothing }
            }
            Self::FixedLength { bytes } => Written { fixed_length: Some(*bytes), ..nothing },
            Self::Csv { delimiter } if *delimiter != b',' => {
                let delimiter = char::from(*delimiter).to_string();
                Written { csv: Some(WrittenCsv { delimiter }), ..nothing }
            }
            named => return serializer.serialize_str(named.name()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OutputFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrOptions)
    }
}

struct NameOrOptions;

impl<'de> Visitor<'de> for NameOrOptions {
    type Value = OutputFormat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", OutputFormat::NAMES.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<OutputFormat, E> {
        match name {
            "text" => Ok(OutputFormat::Text),
            "key-value" => Ok(OutputFormat::key_value()),
            "csv" => Ok(OutputFormat::csv()),
            "json-lines" => Ok(OutputFormat::JsonLines),
            "none" => Ok(OutputFormat::Null),
            "fixed-length" => Err(E::custom(
                "'fixed-length' needs the length of a record: write {fixed-length: 100}",
            )),
            other => Err(E::unknown_variant(other, &OutputFormat::NAMES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutputFormat, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        written.check().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, TaskKind};

    fn read(json: &str) -> Result<OutputFormat, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_is_read_as_it_is_written() {
        for (json, format) in [
            (r#""text""#, OutputFormat::Text),
            (r#""key-value""#, OutputFormat::key_value()),
            (
                r#"{"key-value":{"separator":", "}}"#,
                OutputFormat::KeyValue { separator: ", ".to_owned() },
            ),
            (r#"{"fixed-length":100}"#, OutputFormat::FixedLength { bytes: 100 }),
            (r#""csv""#, OutputFormat::csv()),
            (r#"{"csv":{"delimiter":";"}}"#, OutputFormat::Csv { delimiter: b';' }),
            (r#""json-lines""#, OutputFormat::JsonLines),
            (r#""none""#, OutputFormat::Null),
        ] {
            assert_eq!(read(json).unwrap(), format);
            assert_eq!(serde_json::to_string(&format).unwrap(), json);
            assert!(OutputFormat::NAMES.contains(&format.name()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_do() {
        for (json, needle) in [
            (r#""txt""#, "`text`"),
            (r#""whole-file""#, "`json-lines`"),
            (r#""fixed-length""#, "{fixed-length: 100}"),
            (r#"{"fixed-length":0}"#, "1 to "),
            (r#"{"key-value":{"separator":"a\n"}}"#, "line feed"),
            (r#"{"csv":{"delimiter":"::"}}"#, "one character"),
            (r#"{"csv":{"header":true}}"#, "delimiter"),
            (r#"{}"#, "exactly one"),
            ("7", "one of text"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(needle), "{json}: {error}");
        }
    }

    #[test]
    fn parts_have_the_extension_of_their_codec() {
        let task = JobId { date: 20_261_122, ordinal: 1 }.task(TaskKind::Reduce, 7);
        let name = |json: &str| {
            let compression = serde_json::from_str(json).unwrap();
            OutputForms { compression, ..OutputForms::default() }.part_name(task)
        };
        assert_eq!(name(r#""none""#), "part-r-00007");
        for codec in Codec::ALL {
            let name = name(&format!("{:?}", codec.as_str()));
            assert_eq!(Codec::of_path(&name), Some(codec), "{name}");
        }
        assert_eq!(name(r#""bzip2""#), "part-r-00007.bz2");
    }
}
