//! What a record of the input is (`input_format` of a job), and how it is written in a job file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length limit of a record that is held in memory as a whole, bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// What a record of the input is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InputFormat {
    /// A line (Hadoop: `TextInputFormat`).
    #[default]
    Text,
    /// A line, cut at the first separator into key and value; one without is all key (Hadoop: `KeyValueTextInputFormat`).
    KeyValue {
        /// Never empty, and without a line feed.
        separator: String,
    },
    /// A line; each map reads so many of them (Hadoop: `NLineInputFormat`).
    Lines {
        /// At least one.
        per_split: u32,
    },
    /// A whole file.
    WholeFile,
    /// So many bytes (Hadoop: `FixedLengthInputFormat`).
    FixedLength {
        /// At least one.
        bytes: u32,
    },
    /// A record of RFC 4180.
    Csv(Csv),
    /// A line that is a JSON value; lines of white space are none.
    JsonLines,
}

/// How CSV files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csv {
    /// What stands between fields: a character of ASCII.
    pub delimiter: u8,
    /// Whether quoted fields may hold ends of lines. Only a file without them can be read from its middle on.
    pub multiline: bool,
    /// Whether a file's first record is a header, which is no record of the job's.
    pub header: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: b',', multiline: true, header: false }
    }
}

impl InputFormat {
    /// The names by which job files call them.
    pub const NAMES: [&str; 7] =
        ["text", "key-value", "lines", "whole-file", "fixed-length", "csv", "json-lines"];

    /// Its name in job files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::KeyValue { .. } => "key-value",
            Self::Lines { .. } => "lines",
            Self::WholeFile => "whole-file",
            Self::FixedLength { .. } => "fixed-length",
            Self::Csv(_) => "csv",
            Self::JsonLines => "json-lines",
        }
    }

    /// Whether a file of it, uncompressed, can be read from its middle on.
    #[must_use]
    pub fn splits(&self) -> bool {
        match self {
            Self::WholeFile => false,
            Self::Csv(csv) => !csv.multiline,
            Self::Text
            | Self::KeyValue { .. }
            | Self::Lines { .. }
            | Self::FixedLength { .. }
            | Self::JsonLines => true,
        }
    }

    fn key_value() -> Self {
        Self::KeyValue { separator: "\t".to_owned() }
    }
}

/// The options of those that have some.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "InputFormatOptions", extend("minProperties" = 1, "maxProperties" = 1))]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_value: Option<WrittenKeyValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<u32>,
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
    #[serde(default = "comma")]
    delimiter: String,
    #[serde(default = "yes")]
    multiline: bool,
    #[serde(default)]
    header: bool,
}

fn comma() -> String {
    ",".to_owned()
}

fn yes() -> bool {
    true
}

impl Written {
    fn check(self) -> Result<InputFormat, String> {
        let Self { key_value, lines, fixed_length, csv } = self;
        match (key_value, lines, fixed_length, csv) {
            (Some(WrittenKeyValue { separator }), None, None, None) => {
                if separator.is_empty() || separator.contains('\n') {
                    return Err("the separator of 'key-value' is empty, or has a line feed".to_owned());
                }
                Ok(InputFormat::KeyValue { separator })
            }
            (None, Some(per_split), None, None) if per_split > 0 => {
                Ok(InputFormat::Lines { per_split })
            }
            (None, None, Some(bytes), None) if (1..=RECORD_BYTES_MAX).contains(&(bytes as usize)) => {
                Ok(InputFormat::FixedLength { bytes })
            }
            (None, None, None, Some(csv)) => csv.check(),
            (None, Some(_), None, None) => Err("'lines' is 0: give 1 or more".to_owned()),
            (None, None, Some(given), None) => {
                Err(format!("'fixed-length' is {given} bytes: give 1 to {RECORD_BYTES_MAX}"))
            }
            _ => Err("an input format is exactly one of 'key-value', 'lines', 'fixed-length' and 'csv' with its options, \
                      or a name alone"
                .to_owned()),
        }
    }
}

impl WrittenCsv {
    fn check(self) -> Result<InputFormat, String> {
        let Self { delimiter, multiline, header } = self;
        match delimiter.as_bytes() {
            [delimiter] if !matches!(delimiter, b'"' | b'\r' | b'\n') => {
                Ok(InputFormat::Csv(Csv { delimiter: *delimiter, multiline, header }))
            }
            _ => Err(format!(
                "the delimiter of 'csv' is {delimiter:?}: give one character of ASCII that is no quote and no end of a line"
            )),
        }
    }
}

impl JsonSchema for InputFormat {
    fn schema_name() -> Cow<'static, str> {
        "InputFormat".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Its name, or its options by name.",
            "anyOf": [{"enum": Self::NAMES}, generator.subschema_for::<Written>()],
        })
    }
}

impl Serialize for InputFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = Written::default();
        let written = match self {
            Self::KeyValue { separator } if separator != "\t" => {
                let separator = separator.clone();
                Written { key_value: Some(WrittenKeyValue { separator }), ..nothing }
            }
            Self::Lines { per_split } => Written { lines: Some(*per_split), ..nothing },
            Self::FixedLength { bytes } => Written { fixed_length: Some(*bytes), ..nothing },
            Self::Csv(csv) if *csv != Csv::default() => {
                let delimiter = char::from(csv.delimiter).to_string();
                let Csv { multiline, header, .. } = *csv;
                Written { csv: Some(WrittenCsv { delimiter, multiline, header }), ..nothing }
            }
            named => return serializer.serialize_str(named.name()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for InputFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrOptions)
    }
}

struct NameOrOptions;

impl<'de> Visitor<'de> for NameOrOptions {
    type Value = InputFormat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", InputFormat::NAMES.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<InputFormat, E> {
        match name {
            "text" => Ok(InputFormat::Text),
            "key-value" => Ok(InputFormat::key_value()),
            "whole-file" => Ok(InputFormat::WholeFile),
            "csv" => Ok(InputFormat::Csv(Csv::default())),
            "json-lines" => Ok(InputFormat::JsonLines),
            "lines" => Err(E::custom("'lines' needs how many each map reads: write {lines: 100}")),
            "fixed-length" => Err(E::custom(
                "'fixed-length' needs the length of a record: write {fixed-length: 100}",
            )),
            other => Err(E::unknown_variant(other, &InputFormat::NAMES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InputFormat, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        written.check().map_err(de::Error::custom)
    }
}

/// Why the compressed file `path` is not read by `lines`.
#[must_use]
pub fn no_lines_of_compressed(path: &str) -> String {
    format!(
        "input {path} is compressed, and 'input_format: lines' can't cut it: decompress it, or let one map read all of it \
         as 'text'"
    )
}

/// Finds where splits of so many lines each end.
#[derive(Clone, Debug)]
pub struct LineCuts {
    per_split: u32,
    /// Lines since the last cut.
    lines: u32,
    at: u64,
}

impl LineCuts {
    /// From the beginning of a file on.
    #[must_use]
    pub fn new(per_split: u32) -> Self {
        Self { per_split: per_split.max(1), lines: 0, at: 0 }
    }

    /// Calls `cut` with the place behind each last line of a split in the file's next bytes.
    pub fn pass(&mut self, block: &[u8], mut cut: impl FnMut(u64)) {
        for (n, _) in block.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.lines += 1;
            if self.lines == self.per_split {
                self.lines = 0;
                cut(self.at + n as u64 + 1);
            }
        }
        self.at += block.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<InputFormat, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_is_read_as_it_is_written() {
        let semicolons = Csv { delimiter: b';', multiline: false, header: true };
        for (json, format) in [
            (r#""text""#, InputFormat::Text),
            (r#""key-value""#, InputFormat::key_value()),
            (
                r#"{"key-value":{"separator":", "}}"#,
                InputFormat::KeyValue { separator: ", ".to_owned() },
            ),
            (r#"{"lines":100}"#, InputFormat::Lines { per_split: 100 }),
            (r#""whole-file""#, InputFormat::WholeFile),
            (r#"{"fixed-length":100}"#, InputFormat::FixedLength { bytes: 100 }),
            (r#""csv""#, InputFormat::Csv(Csv::default())),
            (
                r#"{"csv":{"delimiter":";","multiline":false,"header":true}}"#,
                InputFormat::Csv(semicolons),
            ),
            (r#""json-lines""#, InputFormat::JsonLines),
        ] {
            assert_eq!(read(json).unwrap(), format);
            assert_eq!(serde_json::to_string(&format).unwrap(), json);
            assert!(InputFormat::NAMES.contains(&format.name()));
        }
        let header = Csv { header: true, ..Csv::default() };
        assert_eq!(read(r#"{"csv":{"header":true}}"#).unwrap(), InputFormat::Csv(header));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_do() {
        for (json, needle) in [
            (r#""txt""#, "`text`"),
            (r#""lines""#, "{lines: 100}"),
            (r#""fixed-length""#, "{fixed-length: 100}"),
            (r#"{"lines":0}"#, "1 or more"),
            (r#"{"fixed-length":0}"#, "1 to "),
            (r#"{"fixed-length":2000000000}"#, "1 to "),
            (r#"{"key-value":{"separator":""}}"#, "empty"),
            (r#"{"key-value":{}}"#, "separator"),
            (r#"{"csv":{"delimiter":"::"}}"#, "one character"),
            (r#"{"csv":{"quote":"'"}}"#, "delimiter"),
            (r#"{"lines":1,"csv":{}}"#, "exactly one"),
            (r#"{}"#, "exactly one"),
            (r#"{"sequence":1}"#, "unknown field"),
            ("7", "one of text"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(needle), "{json}: {error}");
        }
    }

    #[test]
    fn cuts_stand_behind_every_nth_line_whatever_the_blocks() {
        let text = b"a\nbb\n\nccc\nd\n";
        for block in 1..=text.len() {
            for (per_split, expected) in
                [(1, vec![2, 5, 6, 10, 12]), (2, vec![5, 10]), (3, vec![6]), (9, vec![])]
            {
                let mut cuts = LineCuts::new(per_split);
                let mut found = Vec::new();
                text.chunks(block).for_each(|block| cuts.pass(block, |at| found.push(at)));
                assert_eq!(found, expected, "{per_split} in blocks of {block}");
            }
        }
    }
}
