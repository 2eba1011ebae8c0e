//! The programs that every cluster has, written as any author would write them. Their names and what
//! they need are also in `mapreduce_protocol`, for who must judge a job without running it.

mod grep;
mod identity;
mod sort;
mod wordcount;

use std::collections::BTreeMap;

use mapreduce_protocol::builtins::{self, ProgramError, SPLIT_POINTS};
use mapreduce_protocol::{Builtin, JobSpec, Program};

use crate::{Job, RangesError};

/// Why there is no such builtin.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// Name or arguments are not those of the table.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The name is in the table, but this executable is older or newer than it.
    #[error("this executable has no builtin program {name:?}: use the same version on all hosts")]
    NotHere {
        /// As given.
        name: String,
    },
    /// The split points of `sort` are none.
    #[error("the split_points of sort: {0}")]
    SplitPoints(#[from] RangesError),
    /// The pattern is not a regular expression.
    #[error("the pattern of grep is not a regular expression: {0}")]
    Pattern(#[from] regex::Error),
}

/// The builtin program `name` with its arguments.
///
/// # Errors
/// When name or arguments are unknown, missing or wrong.
pub fn builtin(name: &str, args: &BTreeMap<String, String>) -> Result<Job, BuiltinError> {
    // The table judges whole jobs; of this one, only the program is of interest.
    let program = Program::Builtin(Builtin { name: name.to_owned(), args: args.clone() });
    let spec = JobSpec::new(String::new(), Vec::new(), String::new(), program);
    builtins::check(&spec)?;
    match name {
        "wordcount" => Ok(wordcount::job()),
        "sort" => {
            let ranges = args.get(SPLIT_POINTS).map(|points| points.parse()).transpose()?;
            Ok(sort::job(ranges))
        }
        "identity" => Ok(identity::job()),
        "grep" => {
            let pattern = args.get("pattern").map_or("", String::as_str);
            Ok(grep::job(regex::bytes::Regex::new(pattern)?))
        }
        _ => Err(BuiltinError::NotHere { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::builtins::{BUILTINS, ReducesRule};

    use super::*;

    #[test]
    fn the_table_of_builtins_and_the_programs_agree() {
        for rule in BUILTINS {
            let args = rule.arguments.iter().map(|a| ((*a).to_owned(), "x".to_owned())).collect();
            let job = builtin(rule.name, &args).unwrap();
            assert_eq!(
                job.has_reducer(),
                rule.reduces == ReducesRule::AtLeastOne,
                "{} has a reducer if and only if it needs one",
                rule.name
            );
        }
    }

    #[test]
    fn wrong_names_arguments_and_patterns_are_refused() {
        let args = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for (name, given, needle) in [
            ("nope", args(&[]), "nope"),
            ("grep", args(&[]), "pattern"),
            ("wordcount", args(&[("x", "1")]), "x"),
            ("grep", args(&[("pattern", "(")]), "regular expression"),
        ] {
            let error = builtin(name, &given).err().unwrap().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
