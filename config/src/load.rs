//! From a file and `--set` overrides to a checked [`Config`]. Precedence: default, file, override.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_yaml::Value;

use crate::locate::{self, FaultyKey, KeyFault};
use crate::rules::{self, Fault};
use crate::{Bytes, Config, ConfigError, Host, Place, Pool, Store, User};

/// Length limit of a configuration file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads, parses and checks the file at `path`, with `overrides` (dotted key, YAML value) over it, the
/// later ones over the earlier ones. An empty file is all defaults.
///
/// # Errors
/// The first thing that is wrong, with its place, key and accepted form.
pub fn load(path: impl AsRef<Path>, overrides: &[(String, String)]) -> Result<Config, ConfigError> {
    let path = path.as_ref();
    parse(&text_of(path)?, path, overrides)
}

/// What stands in the file at `path`.
pub(crate) fn text_of(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { file: path.to_owned(), limit: Bytes(FILE_BYTES_MAX) });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good.chars().rev().take_while(|&c| c != '\n').count() + 1;
        ConfigError::NotUtf8 { place: Place::Position { file: path.to_owned(), line, column } }
    })
}

/// [`load`] of a text that is at hand already; `file` is what errors call it.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    file: impl AsRef<Path>,
    overrides: &[(String, String)],
) -> Result<Config, ConfigError> {
    let source = Source { text, file: file.as_ref() };
    let config = source.parse()?.overlaid(overrides)?;
    match rules::first_fault(&config) {
        None => Ok(config),
        Some(fault) => Err(fault_error(&config, fault, text, |key| source.blame(key, overrides))),
    }
}

/// Splits the `KEY=VALUE` of a `--set` at its first `=`.
///
/// # Errors
/// When there is none, or nothing before it.
pub fn parse_override(text: &str) -> Result<(String, String), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(ConfigError::NotKeyValue { given: text.to_owned() }),
    }
}

impl Config {
    /// This configuration with `overrides` over it, each value checked: for one that is being made, and
    /// that no file holds yet. That names and addresses differ is checked when it is loaded.
    ///
    /// # Errors
    /// As [`load`].
    pub fn with_overrides(self, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let config = self.overlaid(overrides)?;
        let built_in = Path::new("built-in configuration");
        match rules::first_refused(&config) {
            None => Ok(config),
            Some(fault) => Err(fault_error(&config, fault, "", |key| {
                blamed_override(key, overrides).unwrap_or_else(|| Place::File(built_in.to_owned()))
            })),
        }
    }

    /// The effective configuration as YAML: every key, defaults included. Reading it again gives the
    /// same configuration.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("all of a configuration has a form in YAML")
    }

    /// The effective value of `key`, as in `jobtracker.address`, `hosts[0].name`, or of a whole section.
    ///
    /// # Errors
    /// When there is no such key, with those that there are.
    pub fn value(&self, key: &str) -> Result<Value, ConfigError> {
        let tree = value_of(self);
        if let Some(value) = rules::at(&tree, key).filter(|_| !key.is_empty()) {
            return Ok(value.clone());
        }
        let (mut section, mut name) = key.rsplit_once('.').unwrap_or(("", key));
        while rules::at(&tree, section).is_none() {
            (section, name) = section.rsplit_once('.').unwrap_or(("", section));
        }
        let known = rules::at(&tree, section).map(keys_of).unwrap_or_default();
        Err(unknown_key(Place::Asked(key.to_owned()), section, name, known))
    }

    fn overlaid(self, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        if overrides.is_empty() {
            return Ok(self);
        }
        overrides.iter().try_fold(self, |config, (key, value)| config.with_one(key, value))
    }

    fn with_one(&self, key: &str, value: &str) -> Result<Self, ConfigError> {
        let place = || Place::Override(format!("{key}={value}"));
        let mut tree = value_of(self);
        let slot = slot_of(&mut tree, key, &place)?;
        *slot = serde_yaml::from_str(value).map_err(|error| ConfigError::BadValue {
            place: place(),
            key: key.to_owned(),
            problem: format!("not YAML: {error}"),
            accepted: rules::accepted_form(key),
        })?;
        let given = scalar_text(slot);
        serde_yaml::from_value(tree).map_err(|error| {
            let unlocated = error.to_string();
            ConfigError::BadValue {
                place: place(),
                key: key.to_owned(),
                problem: if given.is_empty() { unlocated } else { refused(&given) },
                accepted: rules::accepted_form(key),
            }
        })
    }
}

/// The place in `tree` that the dotted `key` names.
fn slot_of<'t>(
    tree: &'t mut Value,
    key: &str,
    place: &impl Fn() -> Place,
) -> Result<&'t mut Value, ConfigError> {
    let mut slot = tree;
    let mut section = String::new();
    for part in key.split('.') {
        let known = keys_of(slot);
        if !known.iter().any(|name| name == part) {
            return Err(unknown_key(place(), &section, part, known));
        }
        section = locate::join(&section, part);
        slot = &mut slot[part];
    }
    if slot.is_mapping() {
        return Err(ConfigError::Section { place: place(), key: section, known: keys_of(slot) });
    }
    Ok(slot)
}

/// A text with the name of the file it came from.
struct Source<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Source<'_> {
    fn place(&self, position: Option<locate::Position>) -> Place {
        let file = self.file.to_owned();
        match position {
            Some((line, column)) => Place::Position { file, line, column },
            None => Place::File(file),
        }
    }

    fn parse(&self) -> Result<Config, ConfigError> {
        if let Some(faulty) = locate::faulty_key(self.text, &schema()) {
            return Err(self.key_error(&faulty));
        }
        match serde_yaml::from_str::<Option<Config>>(self.text) {
            Ok(config) => Ok(config.unwrap_or_default()),
            Err(error) => Err(self.typed_error(&error)),
        }
    }

    fn key_error(&self, faulty: &FaultyKey) -> ConfigError {
        let place = self.place(faulty.position);
        match faulty.fault {
            KeyFault::Unknown => {
                let known = keys_at(&faulty.section);
                unknown_key(place, &faulty.section, &faulty.name, known)
            }
            KeyFault::Doubled => ConfigError::DuplicateKey {
                place,
                key: locate::join(&faulty.section, &faulty.name),
            },
        }
    }

    /// The parser writes `KEY: PROBLEM at line L column C`; it has no other way to tell the key.
    fn typed_error(&self, error: &serde_yaml::Error) -> ConfigError {
        let position = locate::position_of(error);
        let mut problem = error.to_string();
        if let Some((line, column)) = position {
            let suffix = format!(" at line {line} column {column}");
            problem = problem.strip_suffix(&suffix).map_or(problem.clone(), str::to_owned);
        }
        let place = self.place(position);
        match problem.split_once(": ") {
            Some((key, rest)) if exists(key) => ConfigError::BadValue {
                place,
                key: key.to_owned(),
                problem: without_types(rest).to_owned(),
                accepted: rules::accepted_form(key),
            },
            _ if without_types(&problem) != problem => ConfigError::BadValue {
                place,
                key: "the file".to_owned(),
                problem: without_types(&problem).to_owned(),
                accepted: rules::accepted_form(""),
            },
            _ => ConfigError::Syntax { place, problem },
        }
    }

    /// Who gave `key` its value: the last override of it, else the file.
    fn blame(&self, key: &str, overrides: &[(String, String)]) -> Place {
        blamed_override(key, overrides)
            .unwrap_or_else(|| self.place(locate::value_position(self.text, key)))
    }
}

/// What serde expected is a type of ours; what is accepted is said in the words of the file.
fn without_types(problem: &str) -> &str {
    match problem.rsplit_once(", expected ") {
        Some((found, _)) if problem.starts_with("invalid ") => found,
        _ => problem,
    }
}

fn blamed_override(key: &str, overrides: &[(String, String)]) -> Option<Place> {
    let is_of = |set: &str| {
        key.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let (set, value) = overrides.iter().rev().find(|(set, _)| is_of(set))?;
    Some(Place::Override(format!("{set}={value}")))
}

/// A size or time as its author wrote it, not as we would.
fn as_written(place: &Place, text: &str, given: &str) -> Option<String> {
    let written = match place {
        Place::Override(set) => set.split_once('=')?.1,
        Place::Position { line, column, .. } => {
            let start = text.lines().nth(line - 1)?.char_indices().nth(column - 1)?.0;
            let rest = &text.lines().nth(line - 1)?[start..];
            rest.split([',', '}', '#']).next()?
        }
        Place::File(_) | Place::Asked(_) => return None,
    };
    let written = written.trim().trim_matches(['"', '\'']);
    let same_size = || Some(written.parse::<Bytes>().ok()? == given.parse().ok()?);
    let same_time = || Some(written.parse::<crate::Time>().ok()? == given.parse().ok()?);
    same_size().or_else(same_time)?.then(|| written.to_owned())
}

fn fault_error(
    config: &Config,
    fault: Fault,
    text: &str,
    blame: impl Fn(&str) -> Place,
) -> ConfigError {
    match fault {
        Fault::Refused { key } => {
            let given = rules::at(&value_of(config), &key).map(scalar_text).unwrap_or_default();
            let place = blame(&key);
            let given = as_written(&place, text, &given).unwrap_or(given);
            ConfigError::BadValue {
                place,
                problem: refused(&given),
                accepted: rules::accepted_form(&key),
                key,
            }
        }
        Fault::Twice { key, other, value, remedy } => {
            let (other, value) = (other.into(), value.into());
            ConfigError::Twice { place: blame(&key), key, other, value, remedy }
        }
        Fault::SecretNeeded { key, address } => {
            ConfigError::SecretNeeded { place: blame(&key), key, address }
        }
    }
}

fn refused(given: &str) -> String {
    format!("{given:?} is refused")
}

pub(crate) fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim().to_owned(),
    }
}

pub(crate) fn value_of(config: &Config) -> Value {
    serde_yaml::to_value(config).expect("all of a configuration has a form in YAML")
}

/// All keys there are: the default configuration with one host, one pool and one store.
pub(crate) fn schema() -> Value {
    let mut host = Host::named("host-1");
    host.chunkserver.data_dirs = Some(Config::default().chunkserver.data_dirs);
    host.tasktracker.local_dirs = Some(vec![Config::default().tasktracker.data_dir]);
    let stores = vec![Store::named("s3://bucket")];
    let pools = vec![Pool::named("default")];
    let users = vec![User::named("ann")];
    value_of(&Config { hosts: vec![host], users, pools, stores, ..Config::default() })
}

fn keys_of(value: &Value) -> Vec<String> {
    let keys = value.as_mapping().into_iter().flat_map(|section| section.keys());
    keys.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn keys_at(section: &str) -> Vec<String> {
    let schema = schema();
    rules::at(&schema, &rules::first_of_list(section)).map(keys_of).unwrap_or_default()
}

fn exists(key: &str) -> bool {
    rules::at(&schema(), &rules::first_of_list(key)).is_some()
}

fn unknown_key(place: Place, section: &str, name: &str, known: Vec<String>) -> ConfigError {
    let nearest = rules::nearest(section, name, &known);
    ConfigError::UnknownKey { place, key: locate::join(section, name), nearest, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, "c.yaml", &[]).unwrap_err().to_string()
    }

    fn set(key: &str, value: &str) -> Result<Config, String> {
        let given = [(key.to_owned(), value.to_owned())];
        parse("chunkmaster:\n  dead_after: 9s\n", "c.yaml", &given).map_err(|e| e.to_string())
    }

    #[test]
    fn sizes_and_times_are_refused_as_they_were_written() {
        for (text, written) in [
            ("chunkmaster: {chunk_bytes: 1000KB}", "\"1000KB\" is refused"),
            ("chunkmaster:\n  chunk_bytes: '131072 KiB' # much", "\"131072 KiB\" is refused"),
        ] {
            assert!(error(text).contains(written), "{}", error(text));
        }
        let set = set("chunkmaster.chunk_bytes", "1000KB").unwrap_err();
        assert!(set.contains("\"1000KB\" is refused"), "{set}");
    }

    #[test]
    fn each_value_is_told_by_its_key_and_a_wrong_key_with_the_one_that_was_meant() {
        let hosts = ["a", "b"].map(Host::named).into();
        let config = Config { hosts, ..Config::default() };
        let told = |key: &str| config.value(key).map(|value| scalar_text(&value));
        assert_eq!(told("jobtracker.address").unwrap(), config.jobtracker.address);
        assert_eq!(told("hosts[1].name").unwrap(), "b");
        assert!(told("chunkmaster").unwrap().contains("replication: 3"));
        for (key, parts) in [
            ("jobtracker.adress", "--key jobtracker.adress: unknown key 'jobtracker.adress'"),
            ("jobtracker.adress", "did you mean 'jobtracker.address'?"),
            ("jobtraker.address.port", "unknown key 'jobtraker'; did you mean 'jobtracker'?"),
            ("hosts[2].name", "unknown key 'hosts[2]'"),
            ("", "unknown key ''"),
        ] {
            let error = told(key).unwrap_err().to_string();
            assert!(error.contains(parts), "{key:?} gave {error:?}, which lacks {parts:?}");
        }
    }

    #[test]
    fn a_file_that_says_nothing_is_all_defaults() {
        for text in ["", "\n", "# nothing\n", "---\n", "{}", "jobtracker:\nhosts:\n", "null"] {
            assert_eq!(parse(text, "c.yaml", &[]).unwrap(), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_column_key_and_accepted_form() {
        for (text, expected) in [
            (
                "chunkmaster:\n  adress: x:1\n",
                &["c.yaml:2:3: unknown key 'chunkmaster.adress'", "mean 'chunkmaster.address'"][..],
            ),
            ("hots: []", &["c.yaml:1:1: unknown key 'hots'", "did you mean 'hosts'?"]),
            ("max_attempts: 3", &["unknown key 'max_attempts'", "'jobtracker.max_attempts'"]),
            ("log:\n  colour: 1", &["unknown key 'log.colour'", "are: format, filter"]),
            ("hosts:\n- name: a\n  slots: 1", &["c.yaml:3:3: unknown key 'hosts[0].slots'"]),
            ("1: 2", &["c.yaml:1:1: unknown key '1'"]),
            ("log:\n  filter: a\n  filter: b", &["c.yaml:3:3: key 'log.filter' stands twice"]),
            ("chunkmaster:\n  replication: 300", &["c.yaml:2:16", "replication", "1 to 10"]),
            ("chunkmaster:\n  replication: 0", &["c.yaml:2:16", "\"0\" is refused", "1 to 10"]),
            ("chunkmaster:\n  replication: 1.5", &["c.yaml:2:16", "1.5", "1 to 10"]),
            ("chunkmaster: {replication: 11}", &["c.yaml:1:28", "from 1 to 10"]),
            ("task: {output_replication: 11}", &["1:28: task.output_replication", "1 to 10"]),
            ("task: {sort_buffer: 2049MiB}", &["1:21: task.sort_buffer", "1MiB to 2GiB"]),
            ("chunkmaster: {lease: 5}", &["c.yaml:1:22: chunkmaster.lease", "from 1s to 1h"]),
            ("chunkmaster: {lease: 5 parsecs}", &["c.yaml:1:22: chunkmaster.lease", "1s to 1h"]),
            ("chunkmaster: {chunk_bytes: 100KiB}", &["c.yaml:1:28", "multiple of 64KiB"]),
            ("chunkmaster: {chunk_bytes: 128MiB}", &["c.yaml:1:28", "64KiB to 64MiB"]),
            ("chunkmaster: {address: 7870}", &["c.yaml:1:24: chunkmaster.address", "host:port"]),
            ("chunkmaster: {address: '0.0.0.0:1'}", &["\"0.0.0.0:1\" is refused", "connect to"]),
            ("jobtracker: {dead_after: 1s}", &["1:26: jobtracker.dead_after", "longer than"]),
            ("jobtracker: {reduce_slowstart: .nan}", &["1:32", "a number from 0 to 1"]),
            ("chunkserver: {data_dir: /a}", &["1:15: unknown key", "mean 'chunkserver.data_dirs'"]),
            ("chunkserver: {data_dirs: /a}", &["1:26: chunkserver.data_dirs", "a list of 1 to 64"]),
            ("chunkserver: {data_dirs: []}", &["1:26: chunkserver.data_dirs", "a list of 1 to 64"]),
            ("chunkserver: {data_dirs: [a]}", &["chunkserver.data_dirs", "absolute folders"]),
            ("chunkserver: {data_dirs: [{}]}", &["chunkserver.data_dirs[0]", "absolute folders"]),
            (
                "hosts: [{name: a, chunkserver: {data_dir: /a}}]",
                &["hosts[0].chunkserver.data_dirs"],
            ),
            ("tasktracker: {local_dirs: /a}", &["1:27: tasktracker.local_dirs", "up to 64"]),
            ("tasktracker: {local_dirs: [a]}", &["tasktracker.local_dirs", "absolute folders"]),
            ("jobtracker: {data_dir: here}", &["c.yaml:1:24", "absolute folder"]),
            ("jobtracker: {journal_mirror: /var/lib/howdah/jobtracker/m}", &["1:30", "neither in"]),
            ("chunkmaster: {journal_mirror: /var/lib}", &["1:31", "nor above"]),
            ("tasktracker: {slots: -1}", &["c.yaml:1:22: tasktracker.slots", "0 (one per"]),
            ("log: {format: xml}", &["c.yaml:1:15: log.format", "text or json"]),
            ("log: {format: text", &["c.yaml:", "not YAML"]),
            ("log:\n\tformat: text", &["c.yaml:2:1: not YAML"]),
            ("a: {b: c", &["c.yaml:1:1: unknown key 'a'"]),
            ("- log", &["c.yaml:1:1: the file: invalid type: sequence; accepted: keys and values"]),
            ("log: 7", &["c.yaml:1:6: log: invalid type: integer `7`; accepted: keys and values"]),
            ("--- {}\n--- {}\n", &["c.yaml: not YAML", "more than one document"]),
            ("hosts: [{rack: /r}]", &["c.yaml:1:9: hosts[0]", "missing field `name`", "a host"]),
            ("hosts: [{name: 'a b'}]", &["c.yaml:1:16: hosts[0].name", "letters"]),
            ("jobtracker: {listen: '*:1'}", &["c.yaml:1:22: jobtracker.listen", "0.0.0.0:7870"]),
            ("hosts: [{name: a, rack: r}]", &["c.yaml:1:25: hosts[0].rack", "'/' and then"]),
        ] {
            let told = error(text);
            for part in expected {
                assert!(told.contains(part), "{text:?} gave {told:?}, which lacks {part:?}");
            }
        }
    }

    #[test]
    fn the_largest_allowed_values_are_allowed() {
        let text = "chunkmaster: {replication: 10}\n\
                    task: {output_replication: 10, sort_buffer: 2GiB, fetch_buffer: 3GiB}";
        assert_eq!(parse(text, "c.yaml", &[]).unwrap().task.output_replication, Some(10));
    }

    #[test]
    fn what_must_differ_does() {
        let two = "hosts:\n- name: a\n- name: a\n";
        assert!(error(two).contains("c.yaml:3:9: hosts[1].name and hosts[0].name are both a"));
        let same = error("hosts:\n- name: a\n- name: b\n");
        assert!(same.contains("c.yaml:3:3: hosts[1].chunkserver.address and hosts[0]"), "{same}");
        let masters = error("jobtracker: {address: '127.0.0.1:7870'}");
        assert!(masters.contains("c.yaml:1:23: jobtracker.address and chunkmaster.address"));
        let listeners = "cluster: {secret_file: /s}\nchunkserver: {listen: '0.0.0.0:1'}\n\
                         tasktracker: {listen: '0.0.0.0:1'}\nhosts: [{name: a}]";
        let listeners = error(listeners);
        assert!(listeners.contains("hosts[0].tasktracker.listen and hosts[0]"), "{listeners}");
        let folders = error("jobtracker: {data_dir: /var/lib/howdah/chunkmaster}");
        assert!(folders.contains("a folder of its own"), "{folders}");
        let mirrors = error("jobtracker: {journal_mirror: /var/lib/howdah/chunkmaster}");
        assert!(
            mirrors.contains("jobtracker.journal_mirror and chunkmaster.data_dir"),
            "{mirrors}"
        );
        let host =
            error("tasktracker: {data_dir: /var/lib/howdah/chunkserver}\nhosts: [{name: a}]");
        assert!(host.contains("hosts[0].tasktracker.data_dir and hosts[0].chunkserver"), "{host}");
        let disks = error("hosts: [{name: a, chunkserver: {data_dirs: [/b, /c, /b]}}]");
        for dirs in ["[/b, /c/../b]", "[/b, /./b]"] {
            let same = error(&format!("hosts: [{{name: a, chunkserver: {{data_dirs: {dirs}}}}}]"));
            assert!(same.contains("data_dirs[0] are both /b"), "{same}");
        }
        let nested = error("chunkserver: {data_dirs: [/b/x, /b]}");
        assert!(nested.contains("none in another"), "{nested}");
        let mirror = error("chunkmaster: {data_dir: /a, journal_mirror: /b/../a}");
        assert!(mirror.contains("neither in data_dir"), "{mirror}");
        let beside =
            error("chunkserver: {data_dirs: [/var/lib/howdah/chunkmaster]}\nhosts: [{name: a}]");
        assert!(beside.contains("data_dirs[0] and chunkmaster.data_dir"), "{beside}");
        for wrong in ["foo=bar=baz", "verbose", "'info,verbose'", "chunkstore=loud", "''"] {
            let filter = error(&format!("log: {{filter: {wrong}}}"));
            assert!(filter.contains("log.filter"), "{filter}");
        }
        let local =
            error("hosts: [{name: a, tasktracker: {data_dir: /t, local_dirs: [/b, /t, /b]}}]");
        assert!(local.contains("local_dirs[2] and hosts[0].tasktracker.local_dirs[0] are both /b"));
        for part in ["data_dirs[2] and hosts[0].chunkserver.data_dirs[0] are both /b", "each disk"]
        {
            assert!(disks.contains(part), "{disks}");
        }
    }

    #[test]
    fn an_address_beyond_loopback_needs_the_secret() {
        let bare = error("jobtracker: {address: 'host-1:7880'}");
        for part in [
            "c.yaml:1:23: jobtracker.address: host-1:7880",
            "cluster.secret_file",
            "howdah secret new",
        ] {
            assert!(bare.contains(part), "{bare}");
        }
        let text = "cluster: {secret_file: /s}\njobtracker: {address: 'host-1:7880'}";
        assert!(parse(text, "c.yaml", &[]).is_ok());
        for everywhere in [
            "jobtracker: {listen: '0.0.0.0:7880'}",
            "hosts: [{name: a, tasktracker: {listen: '[::]:7881'}}]",
        ] {
            assert!(error(everywhere).contains("cluster.secret_file"), "{everywhere}");
        }
        let host = error("hosts: [{name: a, chunkserver: {address: '10.0.0.1:7871'}}]");
        assert!(host.contains("c.yaml:1:42: hosts[0].chunkserver.address"), "{host}");
    }

    #[test]
    fn overrides_go_over_the_file_and_errors_name_them() {
        let config = set("chunkmaster.replication", "2").unwrap();
        assert_eq!(config.chunkmaster.replication, 2);
        assert_eq!(config.chunkmaster.dead_after.to_string(), "9s");
        assert_eq!(set("hosts", "[{name: a}]").unwrap().hosts, [Host::named("a")]);
        assert_eq!(set("task.output_replication", "null").unwrap().task.output_replication, None);
        for (key, value, expected) in [
            ("chunkmaster.replicaton", "2", "--set chunkmaster.replicaton=2: unknown key"),
            ("chunkmaster.replicaton", "2", "did you mean 'chunkmaster.replication'?"),
            ("replication", "2", "did you mean 'chunkmaster.replication'?"),
            ("chunkmaster.replication.x", "2", "unknown key 'chunkmaster.replication.x'"),
            ("", "2", "unknown key ''"),
            ("chunkmaster", "{}", "is a section; set one of its keys: address, "),
            ("chunkmaster.replication", "99", "\"99\" is refused; accepted: a whole number"),
            ("chunkmaster.replication", "x", "--set chunkmaster.replication=x: chunkmaster."),
            ("chunkmaster.lease", "[", "not YAML"),
            ("chunkmaster.heartbeat_interval", "10s", "chunkmaster.dead_after"),
            ("jobtracker.host_failures_max", "65", "accepted: a whole number from 0 (never) to 64"),
            ("hosts", "[{nam: a}]", "--set hosts=[{nam: a}]: hosts: "),
        ] {
            let told = set(key, value).unwrap_err();
            assert!(told.contains(expected), "{key}={value} gave {told:?}");
        }
        assert_eq!(
            set("jobtracker.host_failures_max", "64").unwrap().jobtracker.host_failures_max,
            64
        );
        let crossed = set("chunkmaster.heartbeat_interval", "10s").unwrap_err();
        assert!(crossed.starts_with("c.yaml:2:15"), "blames the file's value: {crossed}");
    }

    #[test]
    fn the_later_override_wins_and_a_built_in_configuration_takes_them_too() {
        let both = ["1", "2"].map(|n| ("chunkmaster.replication".to_owned(), n.to_owned()));
        let config = Config::default().with_overrides(&both).unwrap();
        assert_eq!(config.chunkmaster.replication, 2);
        let hosts = vec![Host::named("a"), Host::named("b")];
        let unbound = Config { hosts, ..Config::default() };
        assert!(unbound.with_overrides(&both).is_ok(), "addresses may come after overrides");
        let bad = [("jobtracker.dead_after".to_owned(), "1s".to_owned())];
        let told = Config::default().with_overrides(&bad).unwrap_err().to_string();
        assert!(told.starts_with("--set jobtracker.dead_after=1s: "), "{told}");
    }

    #[test]
    fn an_override_is_split_at_its_first_equals_sign() {
        let split = parse_override("log.filter=info,net=debug").unwrap();
        assert_eq!(split, ("log.filter".to_owned(), "info,net=debug".to_owned()));
        for bad in ["", "x", "=1", " =1"] {
            assert!(parse_override(bad).unwrap_err().to_string().contains("KEY=VALUE"), "{bad}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| load(path, &[]).unwrap_err().to_string();
        let missing = told(&folder.path().join("none.yaml"));
        for part in ["none.yaml", "No such file", "--config", "HOWDAH_CONFIG"] {
            assert!(missing.contains(part), "{missing}");
        }
        assert!(told(folder.path()).contains("directory"));
        let file = folder.path().join("latin.yaml");
        std::fs::write(&file, b"log:\n  # \xc3\xa4\xe4\n").unwrap();
        assert!(told(&file).contains("latin.yaml:2:6: not UTF-8"), "{}", told(&file));
        std::fs::write(&file, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(told(&file).contains("larger than 4MiB"));
    }

    #[test]
    fn no_text_makes_it_panic_and_what_it_prints_it_reads() {
        let seed = "chunkmaster: {lease: 5s, address: 'a:1'}\nhosts:\n- {name: b, rack: /r}\n";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..2000 {
            let mut text: Vec<char> = seed.chars().collect();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % text.len();
                text[at] = ['\n', '{', '}', ':', ' ', '&', '*', '!', '-', '\t', '"', '0', 'é']
                    [(state >> 20) as usize % 13];
            }
            let text: String = text.into_iter().collect();
            if let Ok(config) = parse(&text, "c.yaml", &[]) {
                assert_eq!(parse(&config.to_yaml(), "printed", &[]).unwrap(), config);
            }
        }
    }
}
