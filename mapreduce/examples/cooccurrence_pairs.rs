//! Co-occurrence by pairs: how often two words stand beside one another in a line. A key for each pair: many
//! small records, and never more than one of them in memory.

use std::process::ExitCode;

use mapreduce::{Bytes, Job, UserError, words};

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<(Bytes, Bytes), u64>(|line, out| {
        for (word, next) in words(line.value).zip(words(line.value).skip(1)) {
            out.emit((word, next), 1);
            out.emit((next, word), 1);
        }
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier + later))
    .reduce::<(Bytes, Bytes), u64>(|pair, counts, out| {
        out.emit(pair, counts.sum());
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
