//! Distributed grep: the lines that hold a text, each with its file and place; `args: [TEXT]`. Map-only (`reduces: 0`): nothing
//! is sorted or sent, and each map writes its part in the order of its input.

use std::process::ExitCode;

use mapreduce::{Bytes, Job, Text, UserError};

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let wanted = arguments.first().filter(|it| !it.is_empty());
    let wanted = wanted.ok_or("give the text to look for as args")?.clone();
    let job = Job::map::<(Text, u64), Bytes>(move |line, out| {
        let wanted = wanted.as_bytes();
        if line.value.windows(wanted.len()).any(|piece| piece == wanted) {
            let file = line.path.rsplit('/').next().unwrap_or(line.path);
            out.emit((file, line.offset), line.value);
        }
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
