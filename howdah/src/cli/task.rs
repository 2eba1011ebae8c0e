//! `howdah task`: one attempt of a builtin program, as a TaskTracker's child. Not for people.

use std::os::fd::RawFd;
use std::process::ExitCode;

use clap::Args;
use mapreduce_protocol::{Failure, FailureKind, Program};

/// Arguments of `task`; see `mapreduce_protocol::CHANNEL_ARGUMENT`.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// The channel to the TaskTracker
    #[arg(long = "howdah-task-channel", value_name = "FD")]
    channel: RawFd,
}

/// Runs the attempt that the TaskTracker describes.
pub(crate) fn run(args: &TaskArgs) -> ExitCode {
    mapreduce::task_main(args.channel, |description| match &description.job.program {
        Program::Builtin(builtin) => mapreduce::builtin(&builtin.name, &builtin.args)
            .map_err(|error| bad_job(error.to_string())),
        Program::Native(_) => Err(bad_job("a native program brings its own executable".to_owned())),
    })
}

fn bad_job(message: String) -> Failure {
    Failure { kind: FailureKind::BadJob, message }
}
