//! `hadoop fs`'s and `mapred job`'s words → this command's: `-ls` for `ls`, `hdfs://` paths, `head -2`, verbs that are called
//! otherwise or that there are none of. It rewrites arguments before they are parsed, and decides nothing else.

use std::ffi::OsString;

/// Hadoop's verbs of another name here.
const RENAMED: &[(&str, &str)] = &[
    ("copyFromLocal", "put"),
    ("copyToLocal", "get"),
    ("appendToFile", "append"),
    ("touchz", "touch"),
];

/// Hadoop's verbs that there are none of, and what to write instead.
const ABSENT: &[(&str, &str)] = &[
    ("getmerge", "write `howdah fs cat '/FOLDER/part-*' > LOCAL`"),
    ("moveFromLocal", "write `howdah fs put`, and remove the local files"),
    ("moveToLocal", "write `howdah fs get`, and `howdah fs rm -r`"),
    ("rmr", "write `howdah fs rm -r`"),
    ("rmdir", "write `howdah fs rm`: without -r it removes a folder only if it is empty"),
    ("find", "write `howdah fs ls -d` with a pattern, as in '/in/**/*.txt'"),
    ("concat", "write `howdah fs append`, or `howdah fs cat` into `howdah fs put - PATH`"),
    ("truncate", "write `howdah fs head -c N PATH`, into `howdah fs put - PATH`"),
    ("createSnapshot", NO_SNAPSHOTS),
    ("deleteSnapshot", NO_SNAPSHOTS),
    ("renameSnapshot", NO_SNAPSHOTS),
    ("usage", "write `howdah fs help VERB`"),
    ("chmod", NO_RIGHTS),
    ("chgrp", NO_RIGHTS),
    ("getfacl", NO_RIGHTS),
    ("setfacl", NO_RIGHTS),
    ("getfattr", NO_ATTRIBUTES),
    ("setfattr", NO_ATTRIBUTES),
    ("lsr", "write `howdah fs ls -R`"),
    ("dus", "write `howdah fs du -s`"),
];

const NO_ATTRIBUTES: &str = "files have no attributes of their own: keep them in a file beside";
const NO_SNAPSHOTS: &str = "write `howdah fs cp -r`: a copy moves no bytes, and shares its chunks";

const NO_RIGHTS: &str = "files have owners (`howdah fs chown`) and no rights beside: tokens say who may do what where (`howdah token --path`)";

/// Verbs that `mapred job` has behind a dash.
const JOB_VERBS: &[&str] = &["list", "status", "kill", "history", "logs", "submit"];

/// Those of `mapred job` that there are none of, and what to write instead.
const ABSENT_OF_JOBS: &[(&str, &str)] = &[
    ("counter", "write `howdah job counters JOB`"),
    ("events", "write `howdah job history JOB`"),
    ("kill-task", "write `howdah attempt kill ATTEMPT`"),
    ("fail-task", "write `howdah attempt fail ATTEMPT`"),
    ("set-priority", "write `howdah job priority JOB`"),
    ("list-attempt-ids", "write `howdah attempt list JOB`"),
    ("list-active-trackers", "write `howdah host list`"),
    ("list-blacklisted-trackers", "write `howdah host list`"),
];

/// What Hadoop's shell and its clusters call the chunk store.
const HDFS: &str = "hdfs://";

/// The arguments as this command line has them.
///
/// # Errors
/// A sentence about a verb that there is none of.
pub(crate) fn translated(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    let mut all: Vec<OsString> = arguments.into_iter().collect();
    let Some(command) = position_of_command(&all) else { return Ok(all) };
    if all[command] == "job" {
        return with_job_verb(all, command + 1);
    }
    let Some(fs) = Some(command).filter(|at| all[*at] == "fs") else { return Ok(all) };
    let Some(verb) = all.get(fs + 1).and_then(|verb| verb.to_str()) else { return Ok(all) };
    let word = verb.strip_prefix('-').filter(|word| is_verb(word)).unwrap_or(verb);
    if let Some((_, instead)) = ABSENT.iter().find(|(absent, _)| *absent == word) {
        return Err(format!("there is no `fs {word}`: {instead}"));
    }
    let renamed = RENAMED.iter().find(|(old, _)| *old == word).map_or(word, |(_, new)| new);
    let renamed = renamed.to_owned();
    let mut takes_count = matches!(renamed.as_str(), "head" | "tail");
    all[fs + 1] = OsString::from(renamed);
    for argument in &mut all[fs + 2..] {
        let Some(text) = argument.to_str() else { continue };
        if text == "--" {
            break;
        }
        if let Some(path) = own_path(text) {
            *argument = OsString::from(path);
        } else if text == "-skipTrash" {
            *argument = OsString::from("--skip-trash");
        } else if takes_count && is_count(text) {
            *argument = OsString::from(format!("-n{}", &text[1..]));
            takes_count = false;
        }
    }
    Ok(all)
}

/// The same of `mapred job`: the verb stands at `at`, behind a dash.
fn with_job_verb(mut all: Vec<OsString>, at: usize) -> Result<Vec<OsString>, String> {
    let word = all.get(at).and_then(|verb| verb.to_str()).and_then(|verb| verb.strip_prefix('-'));
    let Some(word) = word else { return Ok(all) };
    if let Some((_, instead)) = ABSENT_OF_JOBS.iter().find(|(absent, _)| *absent == word) {
        return Err(format!("there is no `job {word}`: {instead}"));
    }
    if JOB_VERBS.contains(&word) {
        all[at] = OsString::from(word.to_owned());
    }
    Ok(all)
}

/// Where the command stands, behind options that all commands take.
fn position_of_command(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        match argument.to_str() {
            Some("--config" | "--format") => at += 2,
            Some(option) if option.starts_with("--") => at += 1,
            _ => return Some(at),
        }
    }
    None
}

/// A word that may be a verb: `-h` and `--help` are none.
fn is_verb(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic())
}

/// `-2` of `head -2`.
fn is_count(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|n| !n.is_empty() && n.bytes().all(|it| it.is_ascii_digit()))
}

/// The path of an `hdfs://` URL, whichever cluster it names: this command has but one.
fn own_path(text: &str) -> Option<&str> {
    let behind = text.strip_prefix(HDFS)?;
    Some(behind.find('/').map_or("/", |at| &behind[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<String, String> {
        let arguments = line.split(' ').map(OsString::from);
        let all = translated(arguments)?;
        Ok(all.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn hadoops_lines_are_understood() {
        for (line, expected) in [
            ("howdah fs -ls /", "howdah fs ls /"),
            (
                "howdah --config c.yaml fs -ls -R hdfs://nn:9000/in",
                "howdah --config c.yaml fs ls -R /in",
            ),
            (
                "howdah --format=json fs -cat hdfs:///a hdfs://nn",
                "howdah --format=json fs cat /a /",
            ),
            ("howdah fs -copyFromLocal a hdfs://nn/b", "howdah fs put a /b"),
            ("howdah fs -text /a", "howdah fs text /a"),
            ("howdah fs -rm -r -skipTrash /a", "howdah fs rm -r --skip-trash /a"),
            ("howdah fs head -2 /a", "howdah fs head -n2 /a"),
            ("howdah fs tail -20 /a", "howdah fs tail -n20 /a"),
            ("howdah job -list", "howdah job list"),
            ("howdah --config c job -history job_1", "howdah --config c job history job_1"),
        ] {
            assert_eq!(said(line).unwrap(), expected);
        }
        for same in [
            "howdah fs",
            "howdah fs --help",
            "howdah fs -h",
            "howdah fs ls -l /",
            "howdah fs rm -- -2",
            "howdah fs rm -2",
            "howdah job list",
            "howdah job -h",
            "howdah job",
            "howdah job submit fs -ls",
            "howdah",
        ] {
            assert_eq!(said(same).unwrap(), same);
        }
    }

    #[test]
    fn verbs_that_there_are_none_of_have_another_way() {
        for (line, expected) in [
            ("howdah fs -getmerge /out x", "fs cat '/FOLDER/part-*' > LOCAL"),
            ("howdah fs rmr /out", "fs rm -r"),
            ("howdah fs -chmod 644 /out", "howdah token --path"),
            ("howdah fs -createSnapshot /out", "fs cp -r"),
            ("howdah fs -truncate 5 /out", "fs head -c"),
        ] {
            let refused = said(line).unwrap_err();
            assert!(
                refused.starts_with("there is no `fs ") && refused.contains(expected),
                "{refused}"
            );
        }
        let refused = said("howdah job -kill-task attempt_1").unwrap_err();
        assert_eq!(refused, "there is no `job kill-task`: write `howdah attempt kill ATTEMPT`");
    }
}
