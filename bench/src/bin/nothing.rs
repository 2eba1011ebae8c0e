//! What the tasks of `bench tasks` run: a map that does nothing. With `--bare` it ends at once, as a process that is no task.

use std::process::ExitCode;

use mapreduce::{Job, Text};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--bare") {
        return ExitCode::SUCCESS;
    }
    mapreduce::main(|_| Ok(Job::map::<Text, Text>(|_, _| Ok(()))))
}
