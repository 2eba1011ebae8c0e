//! Each effective value of a configuration, with where it comes from: `howdah config explain`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_yaml::Value;

use crate::load::{scalar_text, text_of, value_of};
use crate::{Config, ConfigError, UnknownHost, locate, parse, rules};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It has no such host.
    #[error(transparent)]
    Host(#[from] UnknownHost),
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Like `jobtracker.dead_after` or `pools[0].weight`.
    pub key: String,
    /// Its effective value, as YAML on one line.
    pub value: String,
    /// Where that comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// The key is not given anywhere.
    Default,
    /// A file.
    File {
        /// Which.
        file: PathBuf,
        /// The line of the value, from 1; absent where the parser does not tell.
        line: Option<usize>,
    },
    /// A variable of the environment, which counts more.
    Environment {
        /// Its name.
        variable: &'static str,
    },
    /// It is not given, and means another key's value.
    Key {
        /// Which.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line: Some(line) } => write!(f, "{}:{line}", file.display()),
            Self::File { file, line: None } => write!(f, "{}", file.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::Key { key } => write!(f, "as {key}"),
        }
    }
}

/// All values of the configuration in `file`, or of the defaults where there is none, in the sample file's order; with `host`
/// those that the daemons of this entry of `hosts` run with. What a secret is nowhere stands in a configuration: it names files
/// and variables that hold some, which are not read.
///
/// # Errors
/// See [`ExplainError`].
pub fn explain(file: Option<&Path>, host: Option<&str>) -> Result<Vec<Explained>, ExplainError> {
    match file {
        Some(file) => explain_text(&text_of(file)?, file, host),
        None => explain_text("", Path::new("no file"), host),
    }
}

fn explain_text(
    text: &str,
    file: &Path,
    host: Option<&str>,
) -> Result<Vec<Explained>, ExplainError> {
    let config = parse(text, file, &[])?;
    // It was parsed as a configuration before.
    let written = serde_yaml::from_str(text).unwrap_or_default();
    let source = Source { text, file, written };
    let mut all = Vec::new();
    let effective = value_of(&config);
    for (section, value) in effective.as_mapping().into_iter().flatten() {
        let section = section.as_str().unwrap_or_default();
        match value {
            // As many as a cluster has; one is explained by its name.
            Value::Sequence(hosts) if section == "hosts" => {
                let names = hosts.iter().filter_map(|host| host["name"].as_str());
                let value = format!("[{}]", names.collect::<Vec<_>>().join(", "));
                all.push(source.explained("hosts", value));
            }
            _ => leaves(section, value, &mut |key, value| {
                all.push(source.explained(key, flow(value)));
            }),
        }
    }
    if let Some(name) = host {
        take_host(&mut all, &config, name, &source)?;
    }
    take_listeners(&mut all, &config);
    take_environment(&mut all);
    Ok(all)
}

/// Calls `tell` with each value that is no section.
fn leaves(key: &str, value: &Value, tell: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Mapping(section) => {
            for (name, value) in section {
                leaves(&locate::join(key, name.as_str().unwrap_or_default()), value, tell);
            }
        }
        Value::Sequence(entries) if entries.iter().any(Value::is_mapping) => {
            for (nth, value) in entries.iter().enumerate() {
                leaves(&format!("{key}[{nth}]"), value, tell);
            }
        }
        value => tell(key, value),
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Sequence(values) => {
            format!("[{}]", values.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        value => without_password(scalar_text(value)),
    }
}

/// A URL's user and password are nobody's business.
fn without_password(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{}", &rest[authority.len()..]),
        None => text,
    }
}

struct Source<'a> {
    text: &'a str,
    file: &'a Path,
    /// The text as it stands, without defaults.
    written: Value,
}

impl Source<'_> {
    fn explained(&self, key: &str, value: String) -> Explained {
        let origin = self.origin_of(key).unwrap_or(Origin::Default);
        Explained { key: key.to_owned(), value, origin }
    }

    /// Where the file gives the key, if it does.
    fn origin_of(&self, key: &str) -> Option<Origin> {
        rules::at(&self.written, key)?;
        let line = locate::value_position(self.text, key).map(|(line, _)| line);
        Some(Origin::File { file: self.file.to_owned(), line })
    }
}

/// What the host has of its own goes over the sections.
fn take_host(
    all: &mut Vec<Explained>,
    config: &Config,
    name: &str,
    source: &Source<'_>,
) -> Result<(), UnknownHost> {
    let host = config.host(name)?;
    let nth = config.hosts.iter().position(|host| host.name == name).unwrap_or_default();
    for it in &mut *all {
        let own = format!("hosts[{nth}].{}", it.key);
        let is_of_host = ["chunkserver.", "tasktracker."].iter().any(|it| own.contains(it));
        if is_of_host && let Some(origin) = source.origin_of(&own) {
            it.origin = origin;
            it.value = rules::at(&value_of(config), &own).map(flow).unwrap_or_default();
        }
    }
    all.push(source.explained(&format!("hosts[{nth}].rack"), host.rack));
    // What is not given means other keys' values.
    let listens = [
        ("chunkserver.listen", "chunkserver.address", host.chunkserver_listen),
        ("tasktracker.listen", "tasktracker.address", host.tasktracker_listen),
    ];
    for (key, other, value) in listens {
        mean(all, key, "null", other, value);
    }
    let data_dir = host.tasktracker_dir.display().to_string();
    mean(all, "tasktracker.local_dirs", "[]", "tasktracker.data_dir", format!("[{data_dir}]"));
    Ok(())
}

fn take_listeners(all: &mut [Explained], config: &Config) {
    for (key, other, value) in [
        ("chunkmaster.listen", "chunkmaster.address", config.chunkmaster_listen()),
        ("jobtracker.listen", "jobtracker.address", config.jobtracker_listen()),
    ] {
        mean(all, key, "null", other, value.to_owned());
    }
}

/// `key`, where it is `nothing`, means the value of `other`.
fn mean(all: &mut [Explained], key: &str, nothing: &str, other: &str, value: String) {
    if let Some(it) = all.iter_mut().find(|it| it.key == key && it.value == nothing) {
        it.value = value;
        it.origin = Origin::Key { key: other.to_owned() };
    }
}

fn take_environment(all: &mut [Explained]) {
    if let Some(file) = crate::env::process().token_file()
        && let Some(it) = all.iter_mut().find(|it| it.key == "client.token_file")
    {
        it.value = file.display().to_string();
        it.origin = Origin::Environment { variable: "HOWDAH_TOKEN_FILE" };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cluster:\n  secret_file: /s\njobtracker: {address: 'm:7880', dead_after: 20s}\n\
                        tasktracker:\n  slots: 7\n  local_dirs: [/a, /b]\npools:\n- name: etl\n  weight: 3\n\
                        hosts:\n- name: one\n- name: two\n  chunkserver: {address: 'two:1'}\n  tasktracker:\n    \
                        address: two:2\n    local_dirs: []\n    data_dir: /t\n";

    fn explained(host: Option<&str>) -> impl Fn(&str) -> (String, String) {
        let text = TEXT.replace(
            "- name: one\n",
            "- name: one\n  chunkserver: {address: 'one:1'}\n  tasktracker: {address: 'one:2'}\n",
        );
        let all = explain_text(&text, Path::new("c.yaml"), host).unwrap();
        move |key: &str| {
            let it = all.iter().find(|it| it.key == key).unwrap_or_else(|| panic!("no {key}"));
            (it.value.clone(), it.origin.to_string())
        }
    }

    fn is(value: &str, origin: &str) -> (String, String) {
        (value.to_owned(), origin.to_owned())
    }

    #[test]
    fn each_value_is_told_with_its_line_or_that_it_is_the_default() {
        let of = explained(None);
        assert_eq!(of("cluster.secret_file"), is("/s", "c.yaml:2"));
        assert_eq!(of("jobtracker.dead_after"), is("20s", "c.yaml:3"));
        assert_eq!(of("jobtracker.max_attempts"), is("4", "default"));
        assert_eq!(of("jobtracker.listen"), is("m:7880", "as jobtracker.address"));
        assert_eq!(of("chunkmaster.listen"), is("127.0.0.1:7870", "as chunkmaster.address"));
        assert_eq!(of("tasktracker.local_dirs"), is("[/a, /b]", "c.yaml:6"));
        assert_eq!(of("pools[0].weight"), is("3", "c.yaml:9"));
        assert_eq!(of("pools[0].slots_max"), is("null", "default"));
        assert_eq!(of("hosts"), is("[one, two]", "c.yaml:11"));
        assert_eq!(of("users"), is("[]", "default"));
    }

    #[test]
    fn a_hosts_own_values_go_over_the_sections() {
        let of = explained(Some("two"));
        assert_eq!(of("chunkserver.address"), is("two:1", "c.yaml:15"));
        assert_eq!(of("chunkserver.listen"), is("two:1", "as chunkserver.address"));
        assert_eq!(of("tasktracker.address"), is("two:2", "c.yaml:17"));
        assert_eq!(of("tasktracker.slots"), is("7", "c.yaml:5"));
        assert_eq!(of("tasktracker.local_dirs"), is("[/t]", "as tasktracker.data_dir"));
        let of = explained(Some("one"));
        assert_eq!(of("tasktracker.local_dirs"), is("[/a, /b]", "c.yaml:6"));
        let unknown =
            explain_text(TEXT.split("pools").next().unwrap(), Path::new("c.yaml"), Some("x"));
        assert!(matches!(unknown, Err(ExplainError::Host(_))));
    }

    #[test]
    fn a_password_in_a_url_is_not_told() {
        let told = |text: &str| without_password(text.to_owned());
        assert_eq!(
            told("https://ann:secret@s3.example.org:1/x@y"),
            "https://…@s3.example.org:1/x@y"
        );
        for plain in ["https://s3.example.org/x@y", "a@b", "s3://bucket"] {
            assert_eq!(told(plain), plain);
        }
    }

    #[test]
    fn every_key_is_explained_once_and_without_a_file_all_are_defaults() {
        let all = explain(None, None).unwrap();
        let keys: std::collections::BTreeSet<_> = all.iter().map(|it| &it.key).collect();
        assert_eq!(keys.len(), all.len());
        assert!(all.len() > 90, "{}", all.len());
        let is_derived =
            |it: &&Explained| !matches!(it.origin, Origin::Default | Origin::Key { .. });
        assert_eq!(all.iter().find(is_derived), None);
    }
}
