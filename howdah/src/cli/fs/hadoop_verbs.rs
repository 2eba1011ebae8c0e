//! `hadoop fs`'s words → this command's: `-ls` for `ls`, `hdfs://` paths, `head -2`, verbs that are called otherwise or that
//! there are none of. It rewrites arguments before they are parsed, and decides nothing else.

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
    ("rmdir", "write `howdah fs rm -r`; what was removed can be had back from the trash"),
    ("find", "write `howdah fs ls -d` with a pattern, as in '/in/**/*.txt'"),
    ("chmod", NO_RIGHTS),
    ("chgrp", NO_RIGHTS),
];

const NO_RIGHTS: &str = "files have owners (`howdah fs chown`) and no rights beside: tokens say who may do what where (`howdah token --path`)";

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
    let Some(fs) = position_of_command(&all).filter(|at| all[*at] == "fs") else { return Ok(all) };
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
        ] {
            let refused = said(line).unwrap_err();
            assert!(
                refused.starts_with("there is no `fs ") && refused.contains(expected),
                "{refused}"
            );
        }
    }
}
