//! A job of commands (Hadoop: Streaming): what it says, and which of it can't be. How records reach the
//! commands and come back is in `mapreduce`; how a command becomes words is in `command.rs`.

mod command;
mod key_fields;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::words;

pub use command::{Command, CommandError, TASK_PATH};
pub use key_fields::{KeyFields, KeyFieldsError, KeyPart, Place};

/// What stands for "no reducer at all", as on Hadoop's command line.
const NO_REDUCER: &str = "NONE";

/// What variables begin with that the runtime sets, and tasks rely on.
const OWN_VARIABLES: &str = "HOWDAH_";

/// Files and archives of a job, at most.
const SHIPPED_MAX: usize = 1000;

/// Bytes of a separator, at most.
const SEPARATOR_BYTES_MAX: usize = 64;

/// Fields of a key, at most.
const KEY_FIELDS_MAX: u32 = 1000;

/// `streaming: {mapper, reducer, files, …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Streaming {
    /// The command that gets the lines of the input. Absent: they pass as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapper: Option<String>,
    /// The command that gets each full sort buffer of a map, sorted, and what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combiner: Option<String>,
    /// The command that gets all lines of a partition, sorted. Absent: they pass as they are; `NONE`: the maps write the
    /// job's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<String>,
    /// Files for the commands' working folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShippedFile>,
    /// Archives (tar, tar.gz, tar.zst, zip), each unpacked into a folder of its name there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<ShippedFile>,
    /// Variables of the commands' environment; numbers, `true` and `false` may stand there without quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "words::map")]
    pub env: BTreeMap<String, String>,
    /// What ends the key in a line of the mapper's (Hadoop: `stream.map.output.field.separator`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_output_separator: Option<String>,
    /// At which of those separators it ends (Hadoop: `stream.num.map.output.key.fields`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_output_key_fields: Option<u32>,
    /// What ends a field of a key, for `partition` and `sort` (Hadoop: `mapreduce.map.output.key.field.separator`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_separator: Option<String>,
    /// The fields that decide about a key's reduce (Hadoop: `mapreduce.partition.keypartitioner.options`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The fields that keys are sorted by (Hadoop: `mapreduce.partition.keycomparator.options`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// What stands between key and value for combiner and reducer (Hadoop: `stream.reduce.input.field.separator`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce_input_separator: Option<String>,
    /// What ends the key in a line of the reducer's, and of the combiner's (Hadoop:
    /// `stream.reduce.output.field.separator`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce_output_separator: Option<String>,
    /// At which of those separators it ends (Hadoop: `stream.num.reduce.output.key.fields`). For a combiner whose separator
    /// is the mapper's, absent means as many as the mapper's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce_output_key_fields: Option<u32>,
    /// What stands between key and value in the job's output (Hadoop: `mapreduce.output.textoutputformat.separator`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_separator: Option<String>,
    /// Whether a line of the output without a value gets a separator, too, as Hadoop's does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trailing_separator: bool,
    /// What ends a line.
    #[serde(default, skip_serializing_if = "is_default")]
    pub line_ends: LineEnds,
    /// Whether a command may end well before it has read its input.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial_input: bool,
    /// Whether a command may end with a status other than 0 (Hadoop: `stream.non.zero.exit.is.failure`, turned round).
    #[serde(default, skip_serializing_if = "is_false")]
    pub nonzero_exit: bool,
    /// What lines of standard error begin with that are for the runtime (Hadoop: `stream.stderr.reporter.prefix`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporter_prefix: Option<String>,
}

/// What ends a line of the input, and of what a command writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineEnds {
    /// LF, and a CR before it goes with it.
    #[default]
    Crlf,
    /// LF alone; a CR is a byte like any other.
    Lf,
    /// LF, CRLF and CR, as in Hadoop.
    Any,
}

/// A file that a job brings along. In a job file: its path, and after a `#` its name in the working folder, if that is
/// another. On the wire: a path in the chunk store, with name and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShippedFile {
    /// Where it is.
    pub path: String,
    /// What it is called in the working folder.
    pub name: String,
    /// SHA-256 of its bytes, 64 hexadecimal digits; `job submit` fills it in.
    pub sha256: Option<String>,
}

/// The two forms.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ShippedAsWritten {
    Short(String),
    Long(ShippedKeys),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct ShippedKeys {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl FromStr for ShippedFile {
    type Err = std::convert::Infallible;

    /// `path` or `path#name`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, name) = match text.rsplit_once('#') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (text, None),
        };
        Ok(Self::new(path.to_owned(), name, None))
    }
}

impl ShippedFile {
    fn new(path: String, name: Option<String>, sha256: Option<String>) -> Self {
        let last = || path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(last);
        Self { path, name, sha256 }
    }
}

impl JsonSchema for ShippedFile {
    fn schema_name() -> Cow<'static, str> {
        "ShippedFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_deserialize() {
            ShippedAsWritten::json_schema(generator)
        } else {
            ShippedKeys::json_schema(generator)
        }
    }
}

impl<'de> Deserialize<'de> for ShippedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ShippedAsWritten::deserialize(deserializer)? {
            ShippedAsWritten::Short(text) => Ok(text.parse().expect("every text is one")),
            ShippedAsWritten::Long(keys) => Ok(Self::new(keys.path, keys.name, keys.sha256)),
        }
    }
}

impl Serialize for ShippedFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { path, name, sha256 } = self.clone();
        ShippedKeys { path, name: Some(name), sha256 }.serialize(serializer)
    }
}

fn is_false(it: &bool) -> bool {
    !it
}

fn is_default(it: &LineEnds) -> bool {
    *it == LineEnds::default()
}

/// Which of a job's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRole {
    /// The mapper.
    Mapper,
    /// The combiner.
    Combiner,
    /// The reducer.
    Reducer,
}

impl fmt::Display for CommandRole {
    /// The key of the job.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapper => "mapper",
            Self::Combiner => "combiner",
            Self::Reducer => "reducer",
        })
    }
}

/// Why a streaming program can't be run as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamingError {
    /// Nothing to run.
    #[error(
        "the streaming program has neither 'mapper' nor 'reducer': write the command of at least one, or run the \
         builtin program sort or identity"
    )]
    NoCommand,
    /// A command that can't be read.
    #[error("'{role}': {cause}")]
    Command {
        /// Which one.
        role: CommandRole,
        /// What is wrong with it.
        cause: CommandError,
    },
    /// A combiner without anything to combine for.
    #[error(
        "'combiner' has nothing to do in a job without reduces: remove it, or set 'reduces' to 1 or more"
    )]
    CombinerWithoutReduces,
    /// A key that says how records go to reduces, of which there are none.
    #[error(
        "'{key}' has nothing to do in a job without reduces, whose maps write the output: remove it, or set 'reduces' to 1 \
         or more"
    )]
    KeyWithoutReduces {
        /// The key.
        key: &'static str,
    },
    /// A name that no file of the working folder can have.
    #[error(
        "{name:?} can't be the name of a file in the working folder: write the file as path#name, with a name without \
         slashes and control characters"
    )]
    FileName {
        /// The name.
        name: String,
    },
    /// Two files with one name.
    #[error(
        "two files would be called {name:?} in the working folder: rename one, as in path#name"
    )]
    SameName {
        /// The name.
        name: String,
    },
    /// More files than a job may have.
    #[error("the job has {given} files, at most {SHIPPED_MAX} are taken: put them into an archive")]
    TooManyFiles {
        /// How many.
        given: usize,
    },
    /// A variable that the system can't set.
    #[error(
        "'env': {name:?} can't be set: a name has no '=', name and value no NUL byte, and a name is not empty"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// A variable that is the runtime's own.
    #[error(
        "'env': {name:?} can't be set: names that begin with {OWN_VARIABLES} are the runtime's own"
    )]
    OwnVariable {
        /// Its name.
        name: String,
    },
    /// A separator that can't separate.
    #[error("'{key}' has {given} bytes: give 1 to {SEPARATOR_BYTES_MAX}, without a line feed")]
    Separator {
        /// The key.
        key: &'static str,
        /// Its bytes.
        given: usize,
    },
    /// Options that can't be read.
    #[error("'{key}': {cause}")]
    Fields {
        /// The key.
        key: &'static str,
        /// What is wrong with them.
        cause: KeyFieldsError,
    },
    /// A number of fields that no key has.
    #[error("'{key}' is {given}: give 1 to {KEY_FIELDS_MAX}")]
    KeyFields {
        /// The key.
        key: &'static str,
        /// What was asked for.
        given: u32,
    },
}

impl Streaming {
    /// The command of a part; `None` where there is none to run.
    #[must_use]
    pub fn command(&self, role: CommandRole) -> Option<&str> {
        match role {
            CommandRole::Mapper => self.mapper.as_deref(),
            CommandRole::Combiner => self.combiner.as_deref(),
            CommandRole::Reducer => self.reducer.as_deref().filter(|it| *it != NO_REDUCER),
        }
    }

    /// Whether the job says that its maps write the output.
    #[must_use]
    pub fn is_map_only(&self) -> bool {
        self.reducer.as_deref() == Some(NO_REDUCER)
    }

    /// All that is brought along, in the order in which a task is told where it lies.
    pub fn shipped(&self) -> impl Iterator<Item = &ShippedFile> + Clone {
        self.files.iter().chain(&self.archives)
    }

    /// The same, to be changed.
    pub fn shipped_mut(&mut self) -> impl Iterator<Item = &mut ShippedFile> {
        self.files.iter_mut().chain(&mut self.archives)
    }

    /// Checks everything but the files themselves.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn validate(&self) -> Result<(), StreamingError> {
        let roles = [CommandRole::Mapper, CommandRole::Combiner, CommandRole::Reducer];
        if [CommandRole::Mapper, CommandRole::Reducer].map(|it| self.command(it)) == [None, None] {
            return Err(StreamingError::NoCommand);
        }
        for role in roles {
            if let Some(text) = self.command(role) {
                let parsed = text.parse::<Command>();
                parsed.map_err(|cause| StreamingError::Command { role, cause })?;
            }
        }
        check_names(self.shipped())?;
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(StreamingError::Variable { name: name.clone() });
            }
            if name.starts_with(OWN_VARIABLES) {
                return Err(StreamingError::OwnVariable { name: name.clone() });
            }
        }
        self.check_separators()
    }

    /// Drops what is said for reduces alone, as Hadoop heeds none of it in a job without reduces.
    pub fn forget_reduces(&mut self) {
        (self.combiner, self.partition, self.sort, self.key_separator) = (None, None, None, None);
        (self.reduce_input_separator, self.reduce_output_separator) = (None, None);
        self.reduce_output_key_fields = None;
    }

    /// Checks what is said for reduces alone, in a job that has none.
    ///
    /// # Errors
    /// The first of it.
    pub(crate) fn check_without_reduces(&self) -> Result<(), StreamingError> {
        if self.combiner.is_some() {
            return Err(StreamingError::CombinerWithoutReduces);
        }
        let for_reduces = [
            ("partition", self.partition.is_some()),
            ("sort", self.sort.is_some()),
            ("key_separator", self.key_separator.is_some()),
            ("reduce_input_separator", self.reduce_input_separator.is_some()),
            ("reduce_output_separator", self.reduce_output_separator.is_some()),
            ("reduce_output_key_fields", self.reduce_output_key_fields.is_some()),
        ];
        match for_reduces.into_iter().find(|(_, is_said)| *is_said) {
            Some((key, _)) => Err(StreamingError::KeyWithoutReduces { key }),
            None => Ok(()),
        }
    }

    fn check_separators(&self) -> Result<(), StreamingError> {
        let needed = [
            ("map_output_separator", &self.map_output_separator),
            ("key_separator", &self.key_separator),
            ("reduce_output_separator", &self.reduce_output_separator),
            ("reporter_prefix", &self.reporter_prefix),
        ];
        // Between key and value there may be nothing: Hadoop's users write it so to be rid of the tab.
        let optional = [
            ("reduce_input_separator", &self.reduce_input_separator),
            ("output_separator", &self.output_separator),
        ];
        let needed = needed.iter().map(|(key, text)| (*key, text, 1));
        for (key, text, least) in needed.chain(optional.iter().map(|(key, text)| (*key, text, 0))) {
            let Some(text) = text else { continue };
            let given = text.len();
            if !(least..=SEPARATOR_BYTES_MAX).contains(&given) || text.contains('\n') {
                return Err(StreamingError::Separator { key, given });
            }
        }
        for (key, options) in [("partition", &self.partition), ("sort", &self.sort)] {
            let parsed = options.as_ref().map_or(Ok(()), |it| it.parse::<KeyFields>().map(drop));
            parsed.map_err(|cause| StreamingError::Fields { key, cause })?;
        }
        let fields = [
            ("map_output_key_fields", self.map_output_key_fields),
            ("reduce_output_key_fields", self.reduce_output_key_fields),
        ];
        for (key, fields) in fields {
            if let Some(given) = fields.filter(|given| !(1..=KEY_FIELDS_MAX).contains(given)) {
                return Err(StreamingError::KeyFields { key, given });
            }
        }
        Ok(())
    }
}

/// Checks how many files a job brings along, and that each has a name of its own.
pub(crate) fn check_names<'a>(
    files: impl Iterator<Item = &'a ShippedFile> + Clone,
) -> Result<(), StreamingError> {
    let given = files.clone().count();
    if given > SHIPPED_MAX {
        return Err(StreamingError::TooManyFiles { given });
    }
    let mut names = BTreeSet::new();
    for ShippedFile { name, .. } in files {
        let is_plain = !matches!(name.as_str(), "" | "." | "..")
            && name.len() <= 255
            && !name.contains(|c: char| c == '/' || c.is_control());
        if !is_plain {
            return Err(StreamingError::FileName { name: name.clone() });
        }
        if !names.insert(name) {
            return Err(StreamingError::SameName { name: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Streaming {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn files_are_written_short_or_long_and_travel_long() {
        let streaming = parse(
            r#"{"mapper":"cat","files":["src/map.py","words#list.txt","dir/x#",
               {"path":"/p","name":"n","sha256":"00"},{"path":"/a/b"}]}"#,
        );
        let files: Vec<_> = streaming.files.iter().map(|f| (&*f.path, &*f.name)).collect();
        let expected = [
            ("src/map.py", "map.py"),
            ("words", "list.txt"),
            ("dir/x", "x"),
            ("/p", "n"),
            ("/a/b", "b"),
        ];
        assert_eq!(files, expected);
        assert_eq!(parse(&serde_json::to_string(&streaming).unwrap()), streaming);
        assert!(
            serde_json::from_str::<Streaming>(r#"{"files":[{"path":"/p","mode":1}]}"#).is_err()
        );
        assert!(serde_json::from_str::<Streaming>(r#"{"maper":"cat"}"#).is_err());
    }

    #[test]
    fn what_can_not_be_is_said_with_its_key() {
        for (json, expected) in [
            (r#"{}"#, "neither 'mapper' nor 'reducer'"),
            (r#"{"reducer":"NONE"}"#, "neither 'mapper' nor 'reducer'"),
            (r#"{"mapper":" "}"#, "'mapper': the command is empty"),
            (r#"{"mapper":"cat","reducer":"awk 'x"}"#, "'reducer': a quote"),
            (r#"{"mapper":"cat","files":["a#b/c"]}"#, "\"b/c\""),
            (r#"{"mapper":"cat","files":["a/.."]}"#, "\"..\""),
            (r#"{"mapper":"cat","files":["a/x","b/x"]}"#, "two files would be called \"x\""),
            (
                r#"{"mapper":"cat","files":["a/x"],"archives":["y.tgz#x"]}"#,
                "two files would be called",
            ),
            (r#"{"mapper":"cat","env":{"a=b":"c"}}"#, "\"a=b\""),
            (r#"{"mapper":"cat","env":{"HOWDAH_WORK_FOLDER":"/"}}"#, "the runtime's own"),
            (r#"{"mapper":"cat","map_output_separator":""}"#, "'map_output_separator' has 0 bytes"),
            (r#"{"mapper":"cat","output_separator":"\n"}"#, "'output_separator'"),
            (r#"{"mapper":"cat","sort":"-k2,2x"}"#, "'sort': \"-k2,2x\" is not among"),
            (r#"{"mapper":"cat","map_output_key_fields":0}"#, "'map_output_key_fields' is 0"),
        ] {
            let error = parse(json).validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        for fine in [
            r#"{"mapper":"cat"}"#,
            r#"{"reducer":"wc -l"}"#,
            r#"{"mapper":"cat","env":{"MY_HOWDAH_":"x","howdah_":""}}"#,
            r#"{"mapper":"cat","output_separator":"","reduce_input_separator":"::"}"#,
        ] {
            assert_eq!(parse(fine).validate(), Ok(()), "{fine}");
        }
    }
}
