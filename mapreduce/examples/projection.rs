//! Projection with duplicates removed (SQL: `SELECT DISTINCT`): some fields of each line, each combination
//! once; `args: [COLUMN, …]`, from 1. The combiner removes most duplicates before they are sent.

use std::process::ExitCode;

use mapreduce::{Job, Text, UserError};

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let columns = arguments.iter().map(|it| it.parse()).collect::<Result<Vec<usize>, _>>()?;
    let job = Job::map::<Text, ()>(move |line, out| {
        let fields: Vec<&str> = str::from_utf8(line.value)?.split('\t').collect();
        let field = |column: &usize| fields.get(column.saturating_sub(1)).copied();
        let chosen: Option<Vec<&str>> = columns.iter().map(field).collect();
        out.emit(&chosen.ok_or("a line has too few fields")?.join("\t"), ());
        Ok(())
    })
    .combine(|(), (), one| one.set(()))
    .reduce::<Text, ()>(|fields, _, out| {
        out.emit(fields, ());
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
