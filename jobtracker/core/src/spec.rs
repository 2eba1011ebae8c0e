//! Whether a job can be run as it is specified. All checks here do without the chunk store; before
//! the job comes here, the edge checks that its inputs exist and its output does not.

use mapreduce_protocol::{
    FAILURES_TO_SKIP, JobSpec, LimitError, NameError, Program, ProgramError, SKIP_RECORDS_MAX,
    TaskLimits, TimeSpan, builtins, check_name, is_url,
};

use crate::overtime::{TIMEOUT_MAX, TIMEOUT_MIN};

/// Chunk store folder with one folder per unfinished job, named by its id.
pub const STAGING_ROOT: &str = "/.howdah/staging";

/// The cluster's own chunk store folder: no job may write there.
pub const SYSTEM_ROOT: &str = "/.howdah";
const INPUTS_MAX: usize = 10_000;
const ATTEMPTS_MAX: u32 = 100;
/// Length limit of a job's JSON, bytes: it must fit into a journal record with room to spare.
const SPEC_BYTES_MAX: usize = 256 << 10;

/// Why a job cannot be run as it is specified, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJob {
    /// The name is empty, too long or unprintable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The job's JSON is too long.
    #[error(
        "the job's description has {given} bytes, at most {SPEC_BYTES_MAX} are taken: name a folder instead of its files, and pass long arguments as a file"
    )]
    TooLong {
        /// Bytes of its JSON.
        given: usize,
    },
    /// No input at all.
    #[error("the job has no input: name at least one file or folder under 'input'")]
    NoInput,
    /// More inputs than one job may name.
    #[error(
        "the job names {given} inputs: name at most {INPUTS_MAX}, or the folder that holds them"
    )]
    TooManyInputs {
        /// Inputs named.
        given: usize,
    },
    /// A path that is not absolute or not in canonical form.
    #[error(
        "{role} {path:?} is not an absolute path of the chunk store: write it like /folder/file, without empty, '.' or '..' parts"
    )]
    Path {
        /// The field with the path.
        role: &'static str,
        /// The path as given, cut to 200 characters.
        path: String,
    },
    /// A URL that is not in canonical form.
    #[error(
        "{role} {url:?} is not a URL of an object store: write it like s3://bucket/folder, without empty, '.' or '..' parts"
    )]
    Url {
        /// The field with the URL.
        role: &'static str,
        /// The URL as given, cut to 200 characters.
        url: String,
    },
    /// The timeout is too short or too long.
    #[error("'timeout' is {given}: give {TIMEOUT_MIN} to {TIMEOUT_MAX}, or leave it out")]
    Timeout {
        /// The timeout asked for.
        given: TimeSpan,
    },
    /// The output is a whole bucket.
    #[error("output {output:?} is a whole bucket: name a folder in it")]
    OutputIsBucket {
        /// The output.
        output: String,
    },
    /// The output is an input, or lies within one, or would hold one.
    #[error(
        "output {output:?} overlaps input {input:?}: choose a folder outside of the job's inputs"
    )]
    OutputOverlapsInput {
        /// The output.
        output: String,
        /// The input.
        input: String,
    },
    /// The output is the root, or in the cluster's own folder.
    #[error("output {output:?} is not free for jobs: choose a new folder outside of {SYSTEM_ROOT}")]
    OutputReservedForSystem {
        /// The output.
        output: String,
    },
    /// An input is in the folder of unfinished outputs.
    #[error(
        "input {input:?} lies in {STAGING_ROOT}, where unfinished outputs are: read a job's output when it has succeeded"
    )]
    InputInStaging {
        /// The input.
        input: String,
    },
    /// `max_attempts` is out of range.
    #[error("'max_attempts' is {given}: set it to 1 to {ATTEMPTS_MAX}, or leave it out")]
    Attempts {
        /// Attempts asked for.
        given: u32,
    },
    /// `skip_records` is out of range.
    #[error("'skip_records' is {given}: set it to 0 to {SKIP_RECORDS_MAX}, or leave it out")]
    SkipRecords {
        /// Records asked for.
        given: u32,
    },
    /// Too few attempts for skipping: a record is skipped only after several failures.
    #[error(
        "'skip_records' needs {FAILURES_TO_SKIP} attempts to tell a record at which the program fails each time, and \
         'max_attempts' is {given}: set that to {FAILURES_TO_SKIP} or more, or leave it out"
    )]
    SkipAttempts {
        /// Attempts asked for.
        given: u32,
    },
    /// A limit too low for any task.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// A native program without a well-formed digest of its executable.
    #[error(
        "native program {executable:?} has no well-formed 'sha256': give the 64 hexadecimal digits that `sha256sum` prints, or let `howdah job submit` fill them in"
    )]
    Sha256 {
        /// The executable.
        executable: String,
    },
    /// A shipped file without a well-formed digest.
    #[error(
        "the file {path:?} has no well-formed 'sha256': give the 64 hexadecimal digits that `sha256sum` prints, or let \
         `howdah job submit` ship it"
    )]
    FileSha256 {
        /// The file.
        path: String,
    },
    /// The program, its arguments or its number of reduces is invalid.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Checks `spec` and returns the number of reduces it runs with.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate(spec: &JobSpec) -> Result<u32, InvalidJob> {
    check_length(spec)?;
    check_name(&spec.name)?;
    check_inputs(&spec.input)?;
    check_output(&spec.output, &spec.input)?;
    match spec.max_attempts {
        Some(given) if !(1..=ATTEMPTS_MAX).contains(&given) => {
            return Err(InvalidJob::Attempts { given });
        }
        Some(_) | None => {}
    }
    check_skips(spec)?;
    if let Some(given) = spec.timeout.filter(|it| !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(it)) {
        return Err(InvalidJob::Timeout { given });
    }
    spec.limits.as_ref().map_or(Ok(()), TaskLimits::validate)?;
    if let Program::Native(native) = &spec.program {
        check_path("executable", &native.executable)?;
        if !native.sha256.as_ref().is_some_and(is_digest) {
            return Err(InvalidJob::Sha256 { executable: native.executable.clone() });
        }
    }
    for file in spec.program.shipped() {
        check_path("file", &file.path)?;
        if !file.sha256.as_ref().is_some_and(is_digest) {
            return Err(InvalidJob::FileSha256 { path: file.path.clone() });
        }
    }
    Ok(builtins::check(spec)?)
}

fn check_skips(spec: &JobSpec) -> Result<(), InvalidJob> {
    match (spec.skip_records, spec.max_attempts) {
        (Some(given), _) if given > SKIP_RECORDS_MAX => Err(InvalidJob::SkipRecords { given }),
        (Some(1..), Some(given)) if (given as usize) < FAILURES_TO_SKIP => {
            Err(InvalidJob::SkipAttempts { given })
        }
        _ => Ok(()),
    }
}

#[allow(clippy::ptr_arg)] // It is asked of an Option.
fn is_digest(text: &String) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_length(spec: &JobSpec) -> Result<(), InvalidJob> {
    let given = serde_json::to_vec(spec).expect("a job is plain data").len();
    if given > SPEC_BYTES_MAX {
        return Err(InvalidJob::TooLong { given });
    }
    Ok(())
}

/// Whether `path` is `folder` or lies below it, component by component.
#[must_use]
pub fn is_within(path: &str, folder: &str) -> bool {
    folder == "/"
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether one of the two paths is within the other.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

fn check_inputs(inputs: &[String]) -> Result<(), InvalidJob> {
    if inputs.is_empty() {
        return Err(InvalidJob::NoInput);
    }
    if inputs.len() > INPUTS_MAX {
        return Err(InvalidJob::TooManyInputs { given: inputs.len() });
    }
    for input in inputs {
        check_place("input", input)?;
        if is_within(input, STAGING_ROOT) {
            return Err(InvalidJob::InputInStaging { input: input.clone() });
        }
    }
    Ok(())
}

fn check_output(output: &str, inputs: &[String]) -> Result<(), InvalidJob> {
    check_place("output", output)?;
    if is_url(output) && output.split('/').count() < 4 {
        return Err(InvalidJob::OutputIsBucket { output: output.to_owned() });
    }
    if output == "/" || is_within(output, SYSTEM_ROOT) {
        return Err(InvalidJob::OutputReservedForSystem { output: output.to_owned() });
    }
    match inputs.iter().find(|input| overlap(output, input)) {
        Some(input) => {
            Err(InvalidJob::OutputOverlapsInput { output: output.to_owned(), input: input.clone() })
        }
        None => Ok(()),
    }
}

/// Checks a path of the chunk store or a URL of another store: both must be in canonical form.
fn check_place(role: &'static str, place: &str) -> Result<(), InvalidJob> {
    let Some((_, rest)) = place.split_once("://").filter(|_| is_url(place)) else {
        return check_path(role, place);
    };
    // `file:///` names no bucket.
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    match check_path(role, &format!("/{rest}")) {
        Ok(()) if !rest.is_empty() => Ok(()),
        _ => Err(InvalidJob::Url { role, url: place.chars().take(200).collect() }),
    }
}

fn check_path(role: &'static str, path: &str) -> Result<(), InvalidJob> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let fine = path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if fine {
        Ok(())
    } else {
        Err(InvalidJob::Path { role, path: path.chars().take(200).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mapreduce_protocol::{Builtin, ByteSize, Native, Streaming};

    fn good() -> JobSpec {
        JobSpec {
            reduces: Some(3),
            ..JobSpec::new(
                "count",
                vec!["/in".to_owned()],
                "/out",
                Program::Builtin(Builtin {
                    name: "wordcount".to_owned(),
                    args: Default::default(),
                }),
            )
        }
    }

    fn native(executable: &str, sha256: Option<&str>) -> Program {
        Program::Native(Native {
            executable: executable.to_owned(),
            args: vec![],
            sha256: sha256.map(str::to_owned),
            files: vec![],
        })
    }

    /// A native program that ships a file.
    fn native_with(path: &str, sha256: Option<&str>) -> Program {
        let mut file: mapreduce_protocol::ShippedFile = path.parse().expect("every text is one");
        file.sha256 = sha256.map(str::to_owned);
        match native("/bin/job", Some(&"ab".repeat(32))) {
            Program::Native(native) => Program::Native(Native { files: vec![file], ..native }),
            other => other,
        }
    }

    fn streaming(path: &str, sha256: Option<&str>) -> Program {
        let mut file: mapreduce_protocol::ShippedFile = path.parse().expect("every text is one");
        file.sha256 = sha256.map(str::to_owned);
        let mapper = Some("cat".to_owned());
        Program::Streaming(Box::new(Streaming { mapper, files: vec![file], ..Default::default() }))
    }

    fn grep(pattern: String) -> Program {
        let args = [("pattern".to_owned(), pattern)].into();
        Program::Builtin(Builtin { name: "grep".to_owned(), args })
    }

    #[test]
    fn a_good_job_passes_with_its_number_of_reduces() {
        assert_eq!(validate(&good()), Ok(3));
        let spec = JobSpec { program: native("/bin/job", Some(&"aB".repeat(32))), ..good() };
        assert_eq!(validate(&spec), Ok(3));
        assert_eq!(validate(&JobSpec { output: "/input".to_owned(), ..good() }), Ok(3));
    }

    #[test]
    fn urls_of_other_stores_pass_and_overlap_by_their_parts() {
        let job = |input: &str, output: &str| JobSpec {
            input: vec![input.to_owned()],
            output: output.to_owned(),
            ..good()
        };
        for (input, output) in [
            ("s3://b/in", "s3://b/out"),
            ("/in", "s3://b/in"),
            ("s3://b", "/out"),
            ("file:///a", "/b"),
        ] {
            assert_eq!(validate(&job(input, output)), Ok(3), "{input} {output}");
        }
        for (input, output) in [("s3://b", "s3://b/out"), ("s3://b/x/in", "s3://b/x")] {
            let error = validate(&job(input, output)).unwrap_err();
            assert!(matches!(error, InvalidJob::OutputOverlapsInput { .. }), "{error}");
        }
    }

    #[test]
    fn each_cause_has_its_own_error_that_says_what_to_do() {
        let input = |path: &str| JobSpec { input: vec![path.to_owned()], ..good() };
        let output = |path: &str| JobSpec { output: path.to_owned(), ..good() };
        let tight = TaskLimits { memory: Some(ByteSize(1 << 20)), ..TaskLimits::default() };
        for (spec, needle) in [
            (JobSpec { name: String::new(), ..good() }, "0 characters"),
            (JobSpec { name: "a\nb".to_owned(), ..good() }, "control"),
            (JobSpec { name: "n".repeat(201), ..good() }, "201 characters"),
            (JobSpec { input: vec![], ..good() }, "no input"),
            (input("in"), "input \"in\" is not an absolute path"),
            (input("/a/../b"), "without empty"),
            (input("/.howdah/staging/job_1"), "unfinished outputs"),
            (output("out"), "output \"out\" is not an absolute path"),
            (output("/in"), "overlaps"),
            (output("/in/out"), "overlaps"),
            (JobSpec { input: vec!["/out/in".to_owned()], ..good() }, "overlaps"),
            (output("s3://b"), "whole bucket"),
            (output("s3://b//x"), "not a URL"),
            (output("s3://b/../x"), "not a URL"),
            (input("s3://"), "input \"s3://\" is not a URL"),
            (output("/"), "not free"),
            (output("/.howdah/x"), "not free"),
            (JobSpec { max_attempts: Some(0), ..good() }, "max_attempts"),
            (JobSpec { max_attempts: Some(101), ..good() }, "1 to 100"),
            (JobSpec { skip_records: Some(1001), ..good() }, "0 to 1000"),
            (
                JobSpec { skip_records: Some(1), max_attempts: Some(1), ..good() },
                "set that to 2 or more",
            ),
            (JobSpec { limits: Some(tight), ..good() }, "'limits.memory' is 1MiB"),
            (JobSpec { timeout: "10ms".parse().ok(), ..good() }, "'timeout' is 10ms: give 1s to"),
            (JobSpec { program: native("/p", None), ..good() }, "sha256sum"),
            (JobSpec { program: native("/p", Some("abc")), ..good() }, "sha256sum"),
            (JobSpec { program: native("p", Some(&"a".repeat(64))), ..good() }, "executable \"p\""),
            (
                JobSpec { program: streaming("/p", None), ..good() },
                "the file \"/p\" has no well-formed",
            ),
            (
                JobSpec { program: native_with("/p", None), ..good() },
                "the file \"/p\" has no well-formed",
            ),
            (
                JobSpec { program: native_with("/p#a/b", Some(&"a".repeat(64))), ..good() },
                "can't be the name of a file",
            ),
            (
                JobSpec { program: streaming("p", Some("ab")), ..good() },
                "file \"p\" is not an absolute",
            ),
            (
                JobSpec { program: streaming("/p#a\u{7}", Some(&"a".repeat(64))), ..good() },
                "can't be the name of a file",
            ),
            (JobSpec { reduces: Some(0), ..good() }, "at least one reduce"),
            (JobSpec { program: grep("x".repeat(1_100_000)), ..good() }, "at most 262144"),
            (JobSpec { input: vec![format!("/{}", "x".repeat(30)); 9_999], ..good() }, "a folder"),
        ] {
            let error = validate(&spec).expect_err(needle).to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
