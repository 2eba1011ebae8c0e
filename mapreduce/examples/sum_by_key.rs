//! Sum by key: of lines `key<TAB>number`, each key's sum. A sum is associative, so the map side adds up
//! what it can, and little is sent.

use std::process::ExitCode;

use mapreduce::{Job, Text, UserError};

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<Text, i64>(|line, out| {
        let (key, number) = str::from_utf8(line.value)?.split_once('\t').ok_or("no tab")?;
        out.emit(key, number.parse()?);
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier + later))
    .reduce::<Text, i64>(|key, numbers, out| {
        out.emit(key, numbers.sum());
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
