//! `main` of an author's executable: the task runtime, the local runner, or a word on how to use it.

use std::process::ExitCode;

use mapreduce_protocol::{
    CHANNEL_ARGUMENT, Failure, FailureKind, LOCAL_ARGUMENT, LocalJob, LocalResult, Program,
};

use crate::runtime::{run_local, task_main};
use crate::{Job, UserError};

/// Exit status of a wrong use.
const USAGE: u8 = 2;

/// Runs an executable that holds one job. `program` makes the job from the arguments in the job file
/// (`program: {native: {executable, args}}`); its error fails the job.
///
/// Started by a TaskTracker (`--howdah-task-channel=FD`) it is a task process; started by `howdah local`
/// (`--howdah-local-job=-`) it runs the whole job that standard input describes on local files. Otherwise it says how it is
/// used.
pub fn main<J, F>(program: F) -> ExitCode
where
    J: Into<Job>,
    F: FnOnce(&[String]) -> Result<J, UserError>,
{
    let make = |written: &Program| match written {
        Program::Native(native) => match program(&native.args) {
            Ok(job) => Ok(job.into()),
            Err(error) => Err(failure(
                FailureKind::BadJob,
                format!("the program can't make its job: {error}"),
            )),
        },
        Program::Builtin(builtin) => Err(failure(
            FailureKind::BadJob,
            format!("builtin {:?} was asked of an executable with a job of its own", builtin.name),
        )),
        Program::Streaming(_) => Err(failure(
            FailureKind::BadJob,
            "a streaming program was asked of an executable with a job of its own".to_owned(),
        )),
    };
    let argument = std::env::args().nth(1).unwrap_or_default();
    if let Some(fd) = argument.strip_prefix(CHANNEL_ARGUMENT).and_then(|fd| fd.parse().ok()) {
        return task_main(fd, |description| make(&description.job.program));
    }
    if argument == LOCAL_ARGUMENT { local_main(make) } else { usage() }
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}

fn local_main(make: impl FnOnce(&Program) -> Result<Job, Failure>) -> ExitCode {
    let local: LocalJob = match serde_json::from_reader(std::io::stdin().lock()) {
        Ok(local) => local,
        Err(error) => {
            eprintln!("standard input has no job of this version: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let result = match make(&local.spec.program) {
        Ok(job) => run_local(&job, &local),
        Err(failure) => LocalResult { outcome: Err(failure) },
    };
    match serde_json::to_string(&result) {
        // The author's code may have begun a line.
        Ok(line) => println!("\n{line}"),
        Err(error) => eprintln!("the result can't be written: {error}"),
    }
    if result.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    let name = std::env::args().next().unwrap_or_else(|| "this executable".to_owned());
    eprintln!(
        "{name} holds a MapReduce job and is run by howdah. Write a job file, for example job.yaml:

    name: my job
    input: [/in]
    output: /out
    program:
      native: {{executable: {name}}}
    reduces: 1

and run it on a cluster with 'howdah job submit job.yaml --wait',
or on local files with 'howdah local job.yaml'."
    );
    ExitCode::from(USAGE)
}
