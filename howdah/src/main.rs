//! The one binary of Howdah: all daemons, the client, and the supervisor of `demo` and `dev`. Here:
//! parse the command line, run it, turn its error into an exit code.

mod cli;
mod copy;
mod daemons;
mod doctor;
mod exit;
mod failures;
mod generate;
mod hadoop_line;
mod hadoop_names;
mod hadoop_properties;
mod hadoop_skips;
mod job_changes;
mod job_file;
mod jobs;
mod local_file;
mod made;
mod masters;
mod own_programs;
mod predecessor;
mod progress;
mod prompt_words;
mod sampling;
mod say;
mod session;
mod signals;
mod simulation;
mod stores;
mod submit;
mod supervise;
mod task_settings;
mod tls;
mod workflow;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(args) = cli::task::told(std::env::args_os()) {
        return exit::report(cli::task::run(&args));
    }
    match cli::translated(std::env::args_os()) {
        Ok(arguments) => exit::report(cli::run(cli::Cli::parse_from(arguments))),
        Err(refused) => exit::report(Err(exit::early(anyhow::anyhow!(refused)))),
    }
}
