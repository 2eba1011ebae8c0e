//! Sorting by value: of lines `word<TAB>count`, as a word count writes them, `count<TAB>word`, the most frequent first. What
//! is to be sorted by must be the key, so key and value change places; `Desc` turns the order. The second job of
//! `by_frequency.yaml`; `reduces: 1` makes one list.

use std::process::ExitCode;

use mapreduce::{Desc, Job, Text, UserError};

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<(Desc<u64>, Text), ()>(|line, out| {
        let (word, count) = str::from_utf8(line.value)?.rsplit_once('\t').ok_or("no tab")?;
        out.emit((count.parse()?, word), ());
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
