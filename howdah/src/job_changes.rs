//! What the command line changes of a job file: `--name`, `--output`, `--set`. `job submit` and `local` take them.

use mapreduce_protocol::is_argument;
use net::Rewritten;
use serde_json::Value;

/// The flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct JobChanges {
    /// Another name than the job file's
    #[arg(long)]
    name: Option<String>,
    /// Another output than the job file's
    #[arg(long, value_name = "PATH")]
    output: Option<String>,
    /// Set a key of the job, like reduces=4, limits.memory=2GiB or program.streaming.env.LEVEL=high; nothing behind
    /// the = takes the key away; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A change that can't be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobChangeError {
    /// It has no `=`.
    #[error("--set {given}: write KEY=VALUE, as in reduces=4")]
    NotKeyValue {
        /// As given.
        given: String,
    },
    /// What is above the key has no keys.
    #[error("--set {key}: {above} has no keys: set that itself")]
    NoKeys {
        /// The key.
        key: String,
        /// What is above it.
        above: String,
    },
    /// An argument would not stay as it is written.
    #[error("--set {rewritten}")]
    Argument {
        /// Which, and what it would become.
        rewritten: Rewritten,
    },
}

impl JobChanges {
    /// Whether nothing is changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.output.is_none() && self.set.is_empty()
    }

    /// Makes the changes.
    pub(crate) fn apply(&self, job: &mut Value) -> Result<(), JobChangeError> {
        for text in &self.set {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| JobChangeError::NotKeyValue { given: text.clone() })?;
            let value = read(key.trim(), value)?;
            set(job, key.trim(), value)?;
        }
        let texts = [("name", &self.name), ("output", &self.output)];
        for (key, text) in texts {
            if let Some(text) = text {
                set(job, key, text.as_str().into())?;
            }
        }
        Ok(())
    }
}

/// A value as it would stand in the job file; what is no YAML is text.
fn read(key: &str, text: &str) -> Result<Value, JobChangeError> {
    let Ok(value) = serde_yaml::from_str(text) else { return Ok(text.into()) };
    let rewritten = net::rewritten(&value, serde_yaml::Deserializer::from_str(text));
    let keys: Vec<String> = parts(key).map(|(_, part)| part.to_owned()).collect();
    let with_keys = |it: Rewritten| Rewritten { path: [&keys[..], &it.path].concat(), ..it };
    let mut rewritten = rewritten.unwrap_or_default().into_iter().map(with_keys);
    match rewritten.find(|it| is_argument(&it.path)) {
        None => Ok(value),
        Some(rewritten) => Err(JobChangeError::Argument { rewritten }),
    }
}

/// Sets what a key with dots names.
fn set(job: &mut Value, key: &str, value: Value) -> Result<(), JobChangeError> {
    let mut place = job;
    for (at, part) in parts(key) {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let no_keys = || JobChangeError::NoKeys {
            key: key.to_owned(),
            above: if at == 0 { "the job".to_owned() } else { key[..at - 1].to_owned() },
        };
        place = place.as_object_mut().ok_or_else(no_keys)?.entry(part).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

/// The parts of a key, and where each begins.
fn parts(key: &str) -> impl Iterator<Item = (usize, &str)> {
    key.split('.').scan(0, |at, part| {
        let begin = *at;
        *at += part.len() + 1;
        Some((begin, part))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(set: &[&str]) -> Result<Value, JobChangeError> {
        let mut job = json!({"name": "n", "reduces": 2, "input": ["/in"], "pool": "etl"});
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        let changes = JobChanges { name: None, output: Some("/07".to_owned()), set };
        changes.apply(&mut job).map(|()| job)
    }

    #[test]
    fn keys_are_set_as_they_would_stand_in_the_file() {
        let job = changed(&[
            "reduces=4",
            "limits.memory=2GiB",
            "input=[/a, /b]",
            "program.streaming.env.A=x=y",
            "program.streaming.mapper=awk '{print: [",
            "pool=",
        ]);
        let expected = json!({
            "name": "n", "reduces": 4, "input": ["/a", "/b"], "output": "/07", "pool": null, "limits": {"memory": "2GiB"},
            "program": {"streaming": {"env": {"A": "x=y"}, "mapper": "awk '{print: ["}}
        });
        assert_eq!(job.unwrap(), expected);
    }

    #[test]
    fn what_can_not_be_set_is_said() {
        for (text, expected) in [
            ("reduces", "--set reduces: write KEY=VALUE, as in reduces=4"),
            ("=4", "--set =4: write KEY=VALUE, as in reduces=4"),
            (
                "program.native.args=[a, 0x1F]",
                "--set program.native.args.1: 0x1F would become 31: write it in quotes, so that it stays as written",
            ),
            ("input.first=4", "--set input.first: input has no keys: set that itself"),
        ] {
            assert_eq!(changed(&[text]).unwrap_err().to_string(), expected);
        }
    }
}
