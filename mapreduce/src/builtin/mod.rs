//! The programs that every cluster has, written as any author would write them. Their names and what
//! they need are also in `mapreduce_protocol`, for who must judge a job without running it.

mod aggregate;
mod arguments;
mod decimal;
mod distinct;
mod grep;
mod identity;
mod index;
mod join;
mod pi;
mod range;
mod sort;
mod tera;
mod topn;
mod wordcount;

use std::collections::BTreeMap;

use mapreduce_protocol::builtins::{self, ProgramError, SPLIT_POINTS};
use mapreduce_protocol::{Builtin, JobSpec, Program};

use crate::{Job, RangesError};
use aggregate::Aggregate;
use arguments::Arguments;

pub use tera::{TERA_RECORD_BYTES, tera_record};

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
    /// An argument is not what it must be.
    #[error("the argument '{argument}' of {builtin} is {given:?}: give {wanted}")]
    Argument {
        /// The program.
        builtin: String,
        /// The argument.
        argument: String,
        /// As given, cut to 80 characters.
        given: String,
        /// What it must be.
        wanted: String,
    },
    /// The split points are none.
    #[error("the split_points of {builtin}: {cause}")]
    SplitPoints {
        /// The program.
        builtin: String,
        /// What is wrong with them.
        cause: RangesError,
    },
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
    let arguments = Arguments { builtin: name, args };
    let ranges = || {
        let points = args.get(SPLIT_POINTS).map(|points| points.parse()).transpose();
        points.map_err(|cause| BuiltinError::SplitPoints { builtin: name.to_owned(), cause })
    };
    match name {
        "distinct" => distinct::job(arguments),
        "grep" => grep::job(args.get("pattern").map_or("", String::as_str)),
        "identity" => Ok(identity::job()),
        "index" => index::job(arguments),
        "join" => join::job(arguments),
        "max" => aggregate::job(Aggregate::Max, arguments),
        "mean" => aggregate::job(Aggregate::Mean, arguments),
        "min" => aggregate::job(Aggregate::Min, arguments),
        "pi" => Ok(pi::job()),
        "sort" => Ok(sort::job(ranges()?)),
        "sum" => aggregate::job(Aggregate::Sum, arguments),
        "teragen" => Ok(tera::generate(arguments.number("seed", 42, (0, u64::MAX))?)),
        "terasort" => Ok(tera::sort(ranges()?)),
        "teravalidate" => Ok(tera::validate()),
        "topn" => topn::job(arguments),
        "wordcount" => Ok(wordcount::job()),
        _ => Err(BuiltinError::NotHere { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::builtins::{BUILTINS, ReducesRule};

    use super::*;

    fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_table_of_builtins_and_the_programs_agree() {
        for rule in BUILTINS {
            let job = builtin(rule.name, &args(rule.example)).unwrap();
            let needs_one = matches!(rule.reduces, ReducesRule::AtLeastOne | ReducesRule::One);
            let name = rule.name;
            assert_eq!(job.has_reducer(), needs_one, "{name} has a reducer where it needs one");
        }
        let names: Vec<_> = BUILTINS.iter().map(|rule| rule.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn wrong_names_arguments_and_patterns_are_refused() {
        for (name, given, needle) in [
            ("nope", args(&[]), "nope"),
            ("grep", args(&[]), "pattern"),
            ("wordcount", args(&[("x", "1")]), "howdah builtins wordcount"),
            ("grep", args(&[("pattern", "(")]), "regular expression"),
            ("topn", args(&[]), "'n'"),
            (
                "topn",
                args(&[("n", "0")]),
                "'n' of topn is \"0\": give a whole number from 1 to 1000000",
            ),
            ("topn", args(&[("n", "3"), ("order", "up")]), "one of largest, smallest"),
            ("sum", args(&[("value_field", "0")]), "from 1 to 10000"),
            ("mean", args(&[("separator", "")]), "'separator' of mean"),
            ("max", args(&[("bad_lines", "ignore")]), "one of fail, skip"),
            ("distinct", args(&[("fields", "1,0")]), "as in 3,1"),
            ("index", args(&[("case", "upper")]), "one of keep, lower"),
            ("index", args(&[("names", "url")]), "one of file, path"),
            ("teragen", args(&[("seed", "x")]), "whole number"),
            ("terasort", args(&[("split_points", "6")]), "split_points of terasort"),
            ("join", args(&[("left", "a")]), "'right'"),
            ("join", args(&[("left", "a"), ("right", "/a/")]), "another one"),
            ("join", args(&[("left", "a"), ("right", "b"), ("kind", "outer")]), "inner, left"),
        ] {
            let error = builtin(name, &given).err().unwrap().to_string();
            assert!(error.contains(needle), "{name}: {error}");
        }
    }
}
