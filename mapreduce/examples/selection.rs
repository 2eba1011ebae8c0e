//! Selection (SQL: `WHERE`): the lines whose field COLUMN, from 1, is at least MINIMUM; `args: [COLUMN, MINIMUM]`.
//! Nothing is sorted: run it with `reduces: 0`.

use std::process::ExitCode;

use mapreduce::{Bytes, Job, UserError};

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let [column, minimum] = arguments else {
        return Err("give two args: a column, and the least number to select".into());
    };
    let (column, minimum): (usize, f64) = (column.parse()?, minimum.parse()?);
    let job = Job::map::<Bytes, ()>(move |line, out| {
        let field = str::from_utf8(line.value)?.split('\t').nth(column.saturating_sub(1));
        let Some(number) = field.and_then(|field| field.parse::<f64>().ok()) else {
            out.count("selection", "NO_NUMBER", 1);
            return Ok(());
        };
        if number >= minimum {
            out.emit(line.value, ());
        }
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
