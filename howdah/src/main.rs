//! The one binary of Howdah: all daemons, the client, and the supervisor of `demo` and `dev`. Here:
//! parse the command line, run it, turn its error into an exit code.

mod cli;
mod daemons;
mod exit;
mod generate;
mod local_file;
mod supervise;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit::report(cli::run(cli::Cli::parse()))
}
