//! `howdah task`: a builtin or streaming program as a child: one attempt for a TaskTracker, or a whole job on local
//! files for `howdah local`; or what makes the namespace of attempts. Not for people.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser};
use mapreduce::Job;
use mapreduce_protocol::{Failure, FailureKind, LocalJob, LocalResult, Program};

/// Arguments of `task`; see `mapreduce_protocol::CHANNEL_ARGUMENT` and `LOCAL_ARGUMENT`.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// The channel to the TaskTracker
    #[arg(
        long = "howdah-task-channel",
        value_name = "FD",
        required_unless_present_any = ["local_job", "namespace"]
    )]
    channel: Option<RawFd>,
    /// What namespace to make for the TaskTracker's attempts, as JSON
    #[arg(long = "howdah-namespace", value_name = "ORDER", requires = "channel")]
    namespace: Option<String>,
    /// A job on local files, as JSON on standard input
    #[arg(long = "howdah-local-job", value_name = "-", value_parser = ["-"])]
    local_job: Option<String>,
}

/// `task` alone.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    args: TaskArgs,
}

/// Parses a correct command line of `task` alone: building the parser of all commands costs as much as the rest of a small
/// task. `None` for any other line, and for a wrong one, whose error the parser of all commands tells.
pub(crate) fn told(line: impl Iterator<Item = OsString>) -> Option<TaskArgs> {
    let mut words = line.skip(1).peekable();
    if words.peek()? != "task" {
        return None;
    }
    Alone::try_parse_from(words).ok().map(|alone| alone.args)
}

/// Runs the attempt that the TaskTracker describes, or the job that standard input does.
pub(crate) fn run(args: &TaskArgs) -> anyhow::Result<ExitCode> {
    match (&args.namespace, args.channel) {
        (Some(order), Some(channel)) => {
            tasktracker::make_namespace(order, channel).context("cannot make a namespace")?;
            Ok(ExitCode::SUCCESS)
        }
        (_, Some(channel)) => Ok(mapreduce::runtime::task_main(channel, |it| {
            job_of(&it.job.program, || it.files.clone())
        })),
        (_, None) => run_local(),
    }
}

fn run_local() -> anyhow::Result<ExitCode> {
    let local: LocalJob =
        serde_json::from_reader(std::io::stdin().lock()).context("standard input is no job")?;
    // Under `local` they are where the job says.
    let files = || local.spec.program.shipped().map(|it| it.path.clone()).collect();
    let result = match job_of(&local.spec.program, files) {
        Ok(job) => mapreduce::runtime::run_local(&job, &local),
        Err(failure) => LocalResult { outcome: Err(failure) },
    };
    crate::say::tell!("{}", serde_json::to_string(&result).context("cannot encode the result")?);
    Ok(if result.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `files` says where those of a streaming program lie.
fn job_of(program: &Program, files: impl FnOnce() -> Vec<String>) -> Result<Job, Failure> {
    match program {
        Program::Builtin(builtin) => mapreduce::runtime::builtin(&builtin.name, &builtin.args)
            .map_err(|error| bad_job(error.to_string())),
        Program::Streaming(streaming) => mapreduce::runtime::streaming(streaming, &files())
            .map_err(|error| bad_job(error.to_string())),
        Program::Native(_) => Err(bad_job("a native program brings its own executable".to_owned())),
    }
}

fn bad_job(message: String) -> Failure {
    Failure { kind: FailureKind::BadJob, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_task_is_read_alone_and_every_other_one_with_all_commands() {
        let told = |words: &[&str]| told(words.iter().map(OsString::from));
        let channel = told(&["howdah", "task", "--howdah-task-channel=3"]).expect("it is right");
        assert_eq!((channel.channel, channel.local_job), (Some(3), None));
        assert!(told(&["howdah", "task", "--howdah-local-job=-"]).is_some());
        for other in [&["howdah"][..], &["howdah", "task"], &["howdah", "task", "--help"]] {
            assert!(told(other).is_none(), "{other:?}");
        }
        assert!(told(&["howdah", "job", "task", "--howdah-task-channel=3"]).is_none());
    }
}
