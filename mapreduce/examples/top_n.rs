//! Top N: of lines `name<TAB>number`, the N with the largest numbers, the largest first; `args: [N]`, `reduces: 1`. Each
//! map sends its own N largest alone, when it has seen all its lines.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::process::ExitCode;

use mapreduce::{Desc, Job, Mapper, Output, Record, Reducer, Text, UserError, Values};

/// Sorted as it is to be written.
type Place = (Desc<i64>, Text);

struct Largest {
    n: usize,
    found: BTreeSet<(Reverse<i64>, String)>,
}

impl Mapper for Largest {
    type Key = Place;
    type Value = ();

    fn map(&mut self, line: Record<'_>, _: &mut Output<'_, Place, ()>) -> Result<(), UserError> {
        let (name, number) = str::from_utf8(line.value)?.split_once('\t').ok_or("no tab")?;
        self.found.insert((Reverse(number.parse()?), name.to_owned()));
        if self.found.len() > self.n {
            self.found.pop_last();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Place, ()>) -> Result<(), UserError> {
        self.found.iter().for_each(|(Reverse(number), name)| out.emit((*number, name), ()));
        Ok(())
    }
}

struct First {
    n: usize,
}

impl Reducer for First {
    type InKey = Place;
    type InValue = ();
    type OutKey = Text;
    type OutValue = i64;

    fn reduce(
        &mut self,
        (number, name): (i64, &str),
        _: &mut Values<'_, Place, ()>,
        out: &mut Output<'_, Text, i64>,
    ) -> Result<(), UserError> {
        if self.n > 0 {
            self.n -= 1;
            out.emit(name, number);
        }
        Ok(())
    }
}

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let n = arguments.first().ok_or("give N as args")?.parse()?;
    let job = Job::new(move || Largest { n, found: BTreeSet::new() }).reducer(move || First { n });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
