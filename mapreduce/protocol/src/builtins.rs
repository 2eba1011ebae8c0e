//! The rules of builtin programs: which arguments they know and how many reduces they take. The CLI and
//! the JobTracker check a job against one table (`builtin_table`); the programs themselves are in `mapreduce`.

use std::collections::BTreeMap;

pub use crate::builtin_table::BUILTINS;
use crate::streaming::{CommandRole, check_names};
use crate::{Builtin, InputFormat, JobSpec, OutputFormat, Program, Streaming, StreamingError};

/// Reduces of one job, at most: the chunk master publishes so many files in one transaction.
pub const REDUCES_MAX: u32 = 50_000;

/// Argument of `sort` and `terasort`: where the parts begin, in hexadecimal, separated by commas. `job submit` and `local` put
/// them there, from a sample of the input, if the job has several reduces and none of them.
pub const SPLIT_POINTS: &str = "split_points";

/// One builtin program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinRule {
    /// What jobs call it.
    pub name: &'static str,
    /// What it writes, in one sentence without an end.
    pub about: &'static str,
    /// How many reduces it takes.
    pub reduces: ReducesRule,
    /// The arguments that it knows; it takes no others.
    pub arguments: &'static [BuiltinArgument],
    /// Arguments that it could be given.
    pub example: &'static [(&'static str, &'static str)],
}

/// One argument of a builtin program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinArgument {
    /// What jobs call it.
    pub name: &'static str,
    /// What counts where it is not given; `None` if it must be.
    pub default: Option<&'static str>,
    /// What it says.
    pub about: &'static str,
}

/// How many reduces a program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReducesRule {
    /// At least one; one where the job does not say.
    AtLeastOne,
    /// Exactly one, which sees all that the maps send.
    One,
    /// None: its maps write the output.
    MapOnly,
    /// Any number; none where the job does not say.
    Optional,
    /// Any number; one where the job does not say.
    OptionalDefaultOne,
}

impl ReducesRule {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOne => "1 or more, 1 if left out",
            Self::One => "1",
            Self::MapOnly => "0",
            Self::Optional => "any number, 0 if left out",
            Self::OptionalDefaultOne => "any number, 1 if left out",
        }
    }
}

/// Why a program can't be run as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// No builtin of that name.
    #[error(
        "there is no builtin program {given:?}: write one of {}, or run an executable of your own as 'native'",
        known_names()
    )]
    UnknownBuiltin {
        /// The name as given, cut to 80 characters.
        given: String,
    },
    /// An argument that the builtin needs is not there.
    #[error(
        "builtin {builtin} needs the argument '{argument}': add it under 'args' (`howdah builtins {builtin}` tells all)"
    )]
    MissingArgument {
        /// The program.
        builtin: &'static str,
        /// The argument.
        argument: &'static str,
    },
    /// An argument that the builtin does not know.
    #[error(
        "builtin {builtin} has no argument {given:?}: remove it from 'args' (`howdah builtins {builtin}` tells those it has)"
    )]
    UnknownArgument {
        /// The program.
        builtin: &'static str,
        /// The argument as given, cut to 80 characters.
        given: String,
    },
    /// Zero reduces for a program that needs one.
    #[error("{program} needs at least one reduce: set 'reduces' to 1 or more, or leave it out")]
    ReducesNeeded {
        /// The program.
        program: &'static str,
    },
    /// Not one reduce for a program that needs exactly one.
    #[error(
        "builtin {program} needs exactly one reduce, which sees all that the maps send, but 'reduces' is {given}: set it to 1, or \
         leave it out"
    )]
    OneReduce {
        /// The program.
        program: &'static str,
        /// Reduces asked for.
        given: u32,
    },
    /// Reduces for a map-only program.
    #[error("{program} is map-only but 'reduces' is {given}: set it to 0, or leave it out")]
    MapOnly {
        /// The program.
        program: &'static str,
        /// Reduces asked for.
        given: u32,
    },
    /// Keys for a program that reads none.
    #[error(
        "builtin {builtin} reads records without keys, but 'input_format' is 'key-value': leave it out, or run a program of \
         your own"
    )]
    KeysUnread {
        /// The program.
        builtin: &'static str,
    },
    /// More reduces than a job may have.
    #[error("'reduces' is {given}: a job has at most {REDUCES_MAX}")]
    TooManyReduces {
        /// Reduces asked for.
        given: u32,
    },
    /// Two keys that say what stands between key and value.
    #[error(
        "the streaming program's 'output_separator' and the separator of 'output_format: key-value' say the same: leave one \
         of them out"
    )]
    TwoSeparators,
    /// Commands, files or separators that can't be.
    #[error(transparent)]
    Streaming(#[from] StreamingError),
}

/// The rule of the builtin called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltinRule> {
    BUILTINS.iter().find(|rule| rule.name == name)
}

/// Checks a job's program and number of reduces against the table; the number of reduces it runs with
/// (0: map-only).
///
/// # Errors
/// When the program is unknown, its arguments are wrong, or it does not take that many reduces.
pub fn check(spec: &JobSpec) -> Result<u32, ProgramError> {
    let (program, rule) = match &spec.program {
        Program::Builtin(builtin) => {
            let rule = rule_of(builtin)?;
            check_arguments(rule, &builtin.args)?;
            if matches!(spec.input_format, Some(InputFormat::KeyValue { .. })) {
                return Err(ProgramError::KeysUnread { builtin: rule.name });
            }
            (rule.name, rule.reduces)
        }
        Program::Native(native) => {
            check_names(native.files.iter())?;
            ("a native program", ReducesRule::OptionalDefaultOne)
        }
        Program::Streaming(streaming) => {
            let is_said = matches!(spec.output_format, Some(OutputFormat::KeyValue { .. }));
            if is_said && streaming.output_separator.is_some() {
                return Err(ProgramError::TwoSeparators);
            }
            return check_streaming(streaming, spec.reduces);
        }
    };
    check_reduces(program, rule, spec.reduces)
}

fn check_streaming(streaming: &Streaming, asked: Option<u32>) -> Result<u32, ProgramError> {
    streaming.validate()?;
    let (program, rule) = match streaming.command(CommandRole::Reducer) {
        Some(_) => ("a streaming program with a reducer", ReducesRule::AtLeastOne),
        None if streaming.is_map_only() => {
            ("a streaming program with 'reducer: NONE'", ReducesRule::MapOnly)
        }
        None => ("a streaming program", ReducesRule::Optional),
    };
    let reduces = check_reduces(program, rule, asked)?;
    if reduces == 0 {
        streaming.check_without_reduces()?;
    }
    Ok(reduces)
}

fn rule_of(builtin: &Builtin) -> Result<&'static BuiltinRule, ProgramError> {
    find(&builtin.name).ok_or_else(|| ProgramError::UnknownBuiltin { given: shown(&builtin.name) })
}

fn check_arguments(
    rule: &BuiltinRule,
    args: &BTreeMap<String, String>,
) -> Result<(), ProgramError> {
    let builtin = rule.name;
    let is_missing = |it: &&BuiltinArgument| it.default.is_none() && !args.contains_key(it.name);
    if let Some(argument) = rule.arguments.iter().find(is_missing) {
        return Err(ProgramError::MissingArgument { builtin, argument: argument.name });
    }
    let is_known = |given: &str| rule.arguments.iter().any(|known| known.name == given);
    match args.keys().find(|given| !is_known(given)) {
        Some(given) => Err(ProgramError::UnknownArgument { builtin, given: shown(given) }),
        None => Ok(()),
    }
}

fn check_reduces(
    program: &'static str,
    rule: ReducesRule,
    asked: Option<u32>,
) -> Result<u32, ProgramError> {
    match (rule, asked) {
        (_, Some(given)) if given > REDUCES_MAX => Err(ProgramError::TooManyReduces { given }),
        (ReducesRule::AtLeastOne, Some(0)) => Err(ProgramError::ReducesNeeded { program }),
        (ReducesRule::MapOnly, Some(given)) if given > 0 => {
            Err(ProgramError::MapOnly { program, given })
        }
        (ReducesRule::One, Some(given)) if given != 1 => {
            Err(ProgramError::OneReduce { program, given })
        }
        (_, Some(given)) => Ok(given),
        (ReducesRule::AtLeastOne | ReducesRule::One | ReducesRule::OptionalDefaultOne, None) => {
            Ok(1)
        }
        (ReducesRule::MapOnly | ReducesRule::Optional, None) => Ok(0),
    }
}

fn known_names() -> String {
    BUILTINS.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ")
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Native;

    fn job(program: Program, reduces: Option<u32>) -> JobSpec {
        JobSpec { reduces, ..JobSpec::new("n", vec!["/in".to_owned()], "/out", program) }
    }

    fn builtin(name: &str, args: &[&str]) -> Program {
        let args = args.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        Program::Builtin(Builtin { name: name.to_owned(), args })
    }

    fn streaming(mapper: &str, reducer: Option<&str>) -> Program {
        let (mapper, reducer) = (Some(mapper.to_owned()), reducer.map(str::to_owned));
        Program::Streaming(Box::new(Streaming { mapper, reducer, ..Streaming::default() }))
    }

    #[test]
    fn each_program_takes_the_reduces_its_rule_says() {
        let native = || {
            Program::Native(Native {
                executable: "/p".to_owned(),
                args: vec![],
                sha256: None,
                files: vec![],
            })
        };
        for (program, asked, expected) in [
            (builtin("wordcount", &[]), None, Ok(1)),
            (builtin("wordcount", &[]), Some(7), Ok(7)),
            (builtin("sort", &[]), Some(0), Err(ProgramError::ReducesNeeded { program: "sort" })),
            (builtin("grep", &["pattern"]), None, Ok(0)),
            (builtin("grep", &["pattern"]), Some(0), Ok(0)),
            (
                builtin("grep", &["pattern"]),
                Some(2),
                Err(ProgramError::MapOnly { program: "grep", given: 2 }),
            ),
            (builtin("topn", &["n"]), None, Ok(1)),
            (builtin("topn", &["n"]), Some(1), Ok(1)),
            (
                builtin("topn", &["n"]),
                Some(3),
                Err(ProgramError::OneReduce { program: "topn", given: 3 }),
            ),
            (builtin("pi", &[]), Some(0), Err(ProgramError::OneReduce { program: "pi", given: 0 })),
            (builtin("identity", &[]), None, Ok(0)),
            (builtin("identity", &[]), Some(3), Ok(3)),
            (native(), None, Ok(1)),
            (native(), Some(0), Ok(0)),
            (streaming("cat", Some("wc")), None, Ok(1)),
            (
                streaming("cat", Some("wc")),
                Some(0),
                Err(ProgramError::ReducesNeeded { program: "a streaming program with a reducer" }),
            ),
            (streaming("cat", None), None, Ok(0)),
            (streaming("cat", None), Some(2), Ok(2)),
            (
                streaming("cat", Some("NONE")),
                Some(2),
                Err(ProgramError::MapOnly {
                    program: "a streaming program with 'reducer: NONE'",
                    given: 2,
                }),
            ),
            (
                native(),
                Some(REDUCES_MAX + 1),
                Err(ProgramError::TooManyReduces { given: REDUCES_MAX + 1 }),
            ),
        ] {
            assert_eq!(check(&job(program.clone(), asked)), expected, "{program:?} {asked:?}");
        }
    }

    #[test]
    fn one_separator_of_the_output_is_enough() {
        let Program::Streaming(mut streaming) = streaming("cat", None) else { panic!() };
        streaming.output_separator = Some(";".to_owned());
        let separator = ";".to_owned();
        let format = Some(OutputFormat::KeyValue { separator });
        let twice =
            JobSpec { output_format: format, ..job(Program::Streaming(streaming), Some(1)) };
        assert_eq!(check(&twice), Err(ProgramError::TwoSeparators));
        assert_eq!(check(&JobSpec { output_format: Some(OutputFormat::Null), ..twice }), Ok(1));
    }

    #[test]
    fn unknown_builtins_and_arguments_are_named_with_what_would_do() {
        for (program, needles) in [
            (builtin("wordcuont", &[]), ["wordcuont", "mean, min, pi, sort, sum"]),
            (builtin("grep", &[]), ["grep", "'pattern'"]),
            (builtin("sort", &["numeric"]), ["sort", "\"numeric\""]),
        ] {
            let text = check(&job(program, None)).unwrap_err().to_string();
            assert!(needles.iter().all(|needle| text.contains(needle)), "{text}");
        }
    }
}
