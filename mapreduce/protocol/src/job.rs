//! The job as its author writes it (YAML or JSON, the same schema) and as REST takes it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words;
use crate::{
    Formats, InputCompression, InputFormat, MapOutputCompression, OutputCompression, OutputFormat,
    OutputForms, Share, ShippedFile, Streaming, TaskLimits, TimeSpan,
};

/// A job. Under `submit` and REST, paths are chunk-store paths, or URLs of other stores; under `local`, local paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// What people call it; [`check_name`] says what it may be.
    #[serde(deserialize_with = "words::one")]
    pub name: String,
    /// Files and folders to read, absolute; a folder means its files but `_*` and `.*`.
    pub input: Vec<String>,
    /// The folder that appears when the job has succeeded; it must not exist, and in another store hold no object.
    pub output: String,
    /// What to run.
    pub program: Program,
    /// Number of reduces, one output file each. Absent: 1, or 0 for a map-only program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduces: Option<u32>,
    /// Tries of one task before the job fails. Absent: the cluster's `jobtracker.max_attempts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Records, and keys of reduces, that all its tasks together may leave out since the program fails at them each time
    /// (Hadoop: `SkipBadRecords`). Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_records: Option<u32>,
    /// Its share of the slots beside other jobs. Absent: [`Priority::Normal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The pool whose share of the slots it takes part in, one of `jobtracker.pools`. Absent: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Whether an attempt that is late gets a backup on another host, so that a task may run twice at once. Absent: the
    /// cluster's `jobtracker.speculative`. For programs whose tasks do more than write their output: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculative: Option<bool>,
    /// How long after its submission it is killed if it has not ended. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
    /// Share of its maps that must be done before its reduces start. Absent: the cluster's `jobtracker.reduce_slowstart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce_slowstart: Option<Share>,
    /// What each attempt may use of its host. What is absent here, the cluster's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TaskLimits>,
    /// What a record of the input is. Absent: a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_format: Option<InputFormat>,
    /// Whether one map may read several small files. Absent: where more than 64 of them are, but not in streaming programs, of
    /// which a task's environment names one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine_files: Option<bool>,
    /// Whether compressed inputs are read as what they hold. Absent: as the ends of their names say
    /// ([`Self::write_compression_down`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_compression: Option<InputCompression>,
    /// What a pair becomes in the output. Absent: a line of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// How parts of the output are compressed. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_compression: Option<OutputCompression>,
    /// How what goes from maps to reduces is compressed. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_output_compression: Option<MapOutputCompression>,
}

/// Characters of a job's name, at most.
pub const JOB_NAME_CHARS_MAX: usize = 200;

/// A text that can't be a job's name: empty, too long or unprintable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the job's name has {given} characters: give it 1 to {JOB_NAME_CHARS_MAX}, without line breaks or other control characters"
)]
pub struct NameError {
    /// Characters in the name as given.
    given: usize,
}

/// Checks a job's name: 1 to [`JOB_NAME_CHARS_MAX`] characters, none of them a control character.
///
/// # Errors
/// It is none.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let given = name.chars().count();
    let is_name = (1..=JOB_NAME_CHARS_MAX).contains(&given) && !name.chars().any(char::is_control);
    if is_name { Ok(()) } else { Err(NameError { given }) }
}

impl JobSpec {
    /// A job with all that is needed and nothing else.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        input: Vec<String>,
        output: impl Into<String>,
        program: Program,
    ) -> Self {
        Self {
            name: name.into(),
            input,
            output: output.into(),
            program,
            reduces: None,
            max_attempts: None,
            skip_records: None,
            priority: None,
            pool: None,
            speculative: None,
            timeout: None,
            reduce_slowstart: None,
            limits: None,
            input_format: None,
            combine_files: None,
            input_compression: None,
            output_format: None,
            output_compression: None,
            map_output_compression: None,
        }
    }

    /// Whether one map may read several small files.
    #[must_use]
    pub fn combines_files(&self) -> bool {
        let is_counted = matches!(self.input_format, Some(InputFormat::Lines { .. }));
        let is_streaming = matches!(self.program, Program::Streaming(_));
        !is_counted && self.combine_files.unwrap_or(!is_streaming)
    }

    /// Says what counts where its author says nothing of compression. A job that was accepted without that is older than
    /// codecs, and its splits may begin inside of compressed files.
    pub fn write_compression_down(&mut self) {
        self.input_compression.get_or_insert(InputCompression::Auto);
    }

    /// How its files are read, once all is written down.
    #[must_use]
    pub fn formats(&self) -> Formats {
        Formats {
            input: self.input_format.clone().unwrap_or_default(),
            input_compression: self.input_compression.unwrap_or_default(),
        }
    }

    /// Share of its maps that must be done before its reduces start, where the cluster says `otherwise`.
    #[must_use]
    pub fn slowstart(&self, otherwise: f64) -> f64 {
        self.reduce_slowstart.map_or(otherwise, Share::get)
    }

    /// Whether its tasks may leave records out.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.skip_records.is_some_and(|n| n > 0)
    }

    /// How its tasks write.
    #[must_use]
    pub fn output_forms(&self) -> OutputForms {
        OutputForms {
            format: self.output_format.clone().unwrap_or_default(),
            compression: self.output_compression.unwrap_or_default(),
            map_output: self.map_output_compression.unwrap_or_default(),
        }
    }
}

/// A job's share of the slots beside other jobs: of two neighbours the higher one gets twice as much, or, where jobs queue
/// up (`jobtracker.sharing: fifo`), all of it (Hadoop: `JobPriority`).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// A quarter of a normal share.
    VeryLow,
    /// Half of it.
    Low,
    /// The same as most.
    #[default]
    Normal,
    /// Twice as much.
    High,
    /// Four times as much.
    VeryHigh,
}

impl Priority {
    /// All of them, the lowest first.
    pub const ALL: [Self; 5] = [Self::VeryLow, Self::Low, Self::Normal, Self::High, Self::VeryHigh];

    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::VeryHigh => "very-high",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
            format!("'{text}' is no priority: give {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// `POST /v1/jobs/{id}/priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPriority {
    /// From now on.
    pub priority: Priority,
}

/// What a job runs: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ProgramAsWritten", into = "ProgramAsWritten")]
pub enum Program {
    /// A named function of this binary.
    Builtin(Builtin),
    /// The author's own executable, linked with the `mapreduce` crate.
    Native(Native),
    /// Commands that read and write lines.
    Streaming(Box<Streaming>),
}

/// `builtin: {name, args}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Builtin {
    /// One of those that `howdah builtins` lists.
    pub name: String,
    /// Its arguments by name; numbers, `true` and `false` may stand there without quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "words::map")]
    pub args: BTreeMap<String, String>,
}

/// `native: {executable, args, files}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// In a job file: a local path, relative to that file. On the wire: a chunk-store path.
    pub executable: String,
    /// Arguments, as on a command line; numbers, `true` and `false` may stand there without quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "words::list")]
    pub args: Vec<String>,
    /// SHA-256 of the executable, 64 hexadecimal digits; `job submit` fills it in. The TaskTracker
    /// refuses to run a file with another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Files that the job brings along; the program asks for them by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShippedFile>,
}

/// Length limit of each file that a job brings along, its executable too: the client holds it in memory while it is put,
/// and every host that runs the job keeps a copy.
pub const PROGRAM_FILE_BYTES_MAX: u64 = 2 << 30;

/// A file that a job brings along is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has {length} bytes, and a file that a job brings along has at most {PROGRAM_FILE_BYTES_MAX}, since each host \
     keeps a copy: read what is larger as an input, or from the chunk store"
)]
pub struct ProgramFileTooLong {
    /// Its bytes.
    pub length: u64,
}

/// Passes if a file of `length` bytes may be brought along.
///
/// # Errors
/// When it has more than [`PROGRAM_FILE_BYTES_MAX`].
pub fn check_program_file(length: u64) -> Result<(), ProgramFileTooLong> {
    match length <= PROGRAM_FILE_BYTES_MAX {
        true => Ok(()),
        false => Err(ProgramFileTooLong { length }),
    }
}

impl Program {
    /// All files that it brings along but its executable, in the order in which a task is told where they lie.
    pub fn shipped(&self) -> impl Iterator<Item = &ShippedFile> {
        let (files, archives): (&[_], &[_]) = match self {
            Self::Builtin(_) => (&[], &[]),
            Self::Native(native) => (&native.files, &[]),
            Self::Streaming(streaming) => (&streaming.files, &streaming.archives),
        };
        files.iter().chain(archives)
    }

    /// The same, to be changed.
    pub fn shipped_mut(&mut self) -> impl Iterator<Item = &mut ShippedFile> {
        let (files, archives): (&mut [_], &mut [_]) = match self {
            Self::Builtin(_) => (&mut [], &mut []),
            Self::Native(native) => (&mut native.files, &mut []),
            Self::Streaming(streaming) => (&mut streaming.files, &mut streaming.archives),
        };
        files.iter_mut().chain(archives)
    }
}

/// The keys side by side, as plain YAML has them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Program", extend("minProperties" = 1, "maxProperties" = 1))]
struct ProgramAsWritten {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    builtin: Option<Builtin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Native>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    streaming: Option<Box<Streaming>>,
}

impl TryFrom<ProgramAsWritten> for Program {
    type Error = &'static str;

    fn try_from(written: ProgramAsWritten) -> Result<Self, Self::Error> {
        match (written.builtin, written.native, written.streaming) {
            (Some(builtin), None, None) => Ok(Self::Builtin(builtin)),
            (None, Some(native), None) => Ok(Self::Native(native)),
            (None, None, Some(streaming)) => Ok(Self::Streaming(streaming)),
            (None, None, None) => Err(
                "program has none of 'builtin: {name, args}', 'native: {executable, args}' and 'streaming: {mapper, \
                 reducer}': give exactly one",
            ),
            _ => {
                Err("program has several of 'builtin', 'native' and 'streaming': give exactly one")
            }
        }
    }
}

impl From<Program> for ProgramAsWritten {
    fn from(program: Program) -> Self {
        let nothing = Self { builtin: None, native: None, streaming: None };
        match program {
            Program::Builtin(builtin) => Self { builtin: Some(builtin), ..nothing },
            Program::Native(native) => Self { native: Some(native), ..nothing },
            Program::Streaming(streaming) => Self { streaming: Some(streaming), ..nothing },
        }
    }
}

/// One split: what one map reads. Records may straddle its ends: the map that owns a record's first
/// byte reads it whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// Byte ranges of files, read one after the other; a record never spans two of them.
    pub pieces: Vec<SplitPiece>,
}

/// A byte range of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitPiece {
    /// The file. (A job's splits have few paths among them: each may be kept once.)
    pub path: Arc<str>,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Length of the whole file: where the last record must end.
    pub file_length: u64,
    /// What tells this file from a later one of the same name: in the chunk store its id, which it keeps when more is
    /// appended; in another store the object's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<Arc<str>>,
}

impl Split {
    /// Bytes of all pieces.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }
}

/// Pieces that people are shown of a split.
const PIECES_SHOWN: usize = 3;

/// The first pieces as people read them, separated by commas.
impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, piece) in self.pieces.iter().take(PIECES_SHOWN).enumerate() {
            write!(f, "{}{piece}", if n == 0 { "" } else { ", " })?;
        }
        match self.pieces.len().saturating_sub(PIECES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The file, its first byte, and the byte after its last.
impl fmt::Display for SplitPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, length, .. } = self;
        write!(f, "{path} bytes {offset}–{}", offset.saturating_add(*length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        let longest = "ü".repeat(JOB_NAME_CHARS_MAX);
        for name in ["n", "word count, 2 of 3", longest.as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, given) in [("", 0), ("a\tb", 3), ("a\nb", 3), ("\u{9b}2J", 3)] {
            assert_eq!(check_name(name), Err(NameError { given }), "{name:?}");
        }
        let refused = check_name(&format!("{longest}x")).unwrap_err().to_string();
        assert!(refused.contains("201 characters: give it 1 to 200"), "{refused}");
    }

    #[test]
    fn of_many_pieces_the_first_are_shown() {
        let piece = |n: u64| SplitPiece {
            path: format!("/in/{n}").into(),
            offset: 0,
            length: n,
            file_length: n,
            e_tag: None,
        };
        let shown = |n| Split { pieces: (1..=n).map(piece).collect() }.to_string();
        assert_eq!(shown(3), "/in/1 bytes 0–1, /in/2 bytes 0–2, /in/3 bytes 0–3");
        assert_eq!(shown(9), "/in/1 bytes 0–1, /in/2 bytes 0–2, /in/3 bytes 0–3 and 6 more");
    }

    #[test]
    fn an_accepted_job_that_says_nothing_of_compression_reads_files_as_they_are() {
        let text = r#"{"name":"n","input":["/in"],"output":"/out","program":{"builtin":{"name":"identity"}}}"#;
        let mut spec: JobSpec = serde_json::from_str(text).unwrap();
        assert!(spec.formats().splits("/in/a.gz"));
        let mut as_is = JobSpec { input_compression: Some(InputCompression::None), ..spec.clone() };
        spec.write_compression_down();
        as_is.write_compression_down();
        assert!(!spec.formats().splits("/in/a.gz"));
        assert!(as_is.formats().splits("/in/a.gz"));
        let of_task: Formats = serde_json::from_str("{}").unwrap();
        assert!(of_task.splits("/in/a.gz"));
    }

    #[test]
    fn a_program_is_exactly_one_of_the_three() {
        let parse = |program: &str| {
            serde_json::from_str::<JobSpec>(&format!(
                r#"{{"name":"n","input":["/in"],"output":"/out","program":{program}}}"#
            ))
        };
        assert!(matches!(
            parse(r#"{"builtin":{"name":"wordcount"}}"#).unwrap().program,
            Program::Builtin(_)
        ));
        for bad in [
            "{}",
            r#"{"builtin":{"name":"x"},"native":{"executable":"y"}}"#,
            r#"{"streaming":{"maper":"cat"}}"#,
            r#"{"streaming":{"mapper":"cat"},"native":{"executable":"y"}}"#,
            r#"{"builtin":{"name":"x","arg":1}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let spec = parse(r#"{"native":{"executable":"/p","args":["-x"]}}"#).unwrap();
        let again = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
        let streaming = parse(r#"{"streaming":{"mapper":"cat"}}"#).unwrap().program;
        assert!(matches!(streaming, Program::Streaming(_)));
    }
}
