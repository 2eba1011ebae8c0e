//! Secondary sort: of lines `station<TAB>day<TAB>degrees`, each station's hottest day, the first one of equals.
//! Keys are sorted by all fields and grouped by the first: the reducer reads one value and skips the rest.

use std::process::ExitCode;

use mapreduce::{Job, Key, Text, UserError};

#[derive(Clone, Copy, Key)]
struct Reading<'a> {
    station: &'a str,
    #[key(desc)]
    degrees: i32,
    day: &'a str,
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<Reading<'_>, ()>(|line, out| {
        let mut fields = str::from_utf8(line.value)?.split('\t');
        let (Some(station), Some(day), Some(degrees)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err("a line is not station, day and degrees".into());
        };
        out.emit(Reading { station, degrees: degrees.parse()?, day }, ());
        Ok(())
    })
    .group_by::<1>()
    .reduce::<Text, (Text, i32)>(|hottest, _, out| {
        out.emit(hottest.station, (hottest.day, hottest.degrees));
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
