//! Why a configuration is refused: each error says where, which key, what was given, and what would
//! be accepted. The binary prints it and ends with exit code 2.

use std::fmt;
use std::path::PathBuf;

/// Where a refused value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A position of the file, both from 1.
    Position {
        /// The file, as it was named.
        file: PathBuf,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// The file, where no single position is to blame.
    File(PathBuf),
    /// A `--set KEY=VALUE` of the command line.
    Override(String),
    /// The `--key KEY` of one who asks for a value.
    Asked(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position { file, line, column } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Override(text) => write!(f, "--set {text}"),
            Self::Asked(key) => write!(f, "--key {key}"),
        }
    }
}

/// A configuration that is refused. Nothing has been started when it is returned.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error(
        "cannot read the configuration {}: {source}; name it with --config FILE or HOWDAH_CONFIG",
        file.display()
    )]
    Unreadable {
        /// The file, as it was named.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{} is larger than {limit}: not a configuration of Howdah", file.display())]
    TooLarge {
        /// The file, as it was named.
        file: PathBuf,
        /// The limit, with its unit.
        limit: crate::Bytes,
    },
    /// The file holds a byte that is not UTF-8.
    #[error("{place}: not UTF-8 text; save the file as UTF-8")]
    NotUtf8 {
        /// The first such byte.
        place: Place,
    },
    /// The text is not YAML.
    #[error("{place}: not YAML: {problem}")]
    Syntax {
        /// Where the parser stopped.
        place: Place,
        /// What it said.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key '{key}'{}", suggestion(nearest, known))]
    UnknownKey {
        /// The key itself.
        place: Place,
        /// Its whole path.
        key: String,
        /// The existing key that was probably meant.
        nearest: Option<String>,
        /// The keys of that section.
        known: Vec<String>,
    },
    /// A key that stands twice in one section.
    #[error("{place}: key '{key}' stands twice; remove one of the two")]
    DuplicateKey {
        /// The second one.
        place: Place,
        /// Its whole path.
        key: String,
    },
    /// A value that is not of the accepted form.
    #[error("{place}: {key}: {problem}; accepted: {accepted}")]
    BadValue {
        /// The value.
        place: Place,
        /// The key's whole path.
        key: String,
        /// What is wrong with it.
        problem: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A section was given where one of its keys was meant.
    #[error("{place}: '{key}' is a section; set one of its keys: {}", known.join(", "))]
    Section {
        /// The override.
        place: Place,
        /// The section.
        key: String,
        /// Its keys.
        known: Vec<String>,
    },
    /// An override without `=`.
    #[error("--set {given}: not of the form KEY=VALUE, like chunkmaster.replication=2")]
    NotKeyValue {
        /// What was given.
        given: String,
    },
    /// A daemon would listen beyond loopback without a secret.
    #[error(
        "{place}: {key}: {address} is not a loopback address, so cluster.secret_file is needed: \
         make one with `howdah secret new FILE`, copy it to every host and name it there"
    )]
    SecretNeeded {
        /// The address.
        place: Place,
        /// Its key.
        key: String,
        /// What it says.
        address: String,
    },
    /// Two keys hold what must differ.
    #[error("{place}: {key} and {other} are both {value}; {remedy}")]
    Twice {
        /// The second one.
        place: Place,
        /// Its key.
        key: String,
        /// The key of the first one.
        other: Box<str>,
        /// What both say.
        value: Box<str>,
        /// What to do.
        remedy: &'static str,
    },
}

fn suggestion(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean '{nearest}'?"),
        None => format!("; the keys here are: {}", known.join(", ")),
    }
}
