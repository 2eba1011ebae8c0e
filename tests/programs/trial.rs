//! The job's program of the tests of kills. Its tasks need little of a processor, and take a while all the same, so that
//! there is time to kill something, and several run at once on any machine. Arguments: what it does, and how long a task of
//! it takes, in milliseconds.

use std::process::ExitCode;
use std::time::Duration;

use mapreduce::{Bytes, Job, Mapper, Output, Record, Reducer, UserError, Values, words};

/// Records of each map that says who made them: more than there are reduces, so that each reduce has some.
const RECORDS: u64 = 64;
/// How many times longer a first attempt of such a map takes, now and then.
const SLOWNESS: u32 = 12;

/// What it does.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Counts words.
    Count,
    /// Sorts lines.
    Sort,
    /// Writes lines in capitals, without reduces.
    Shout,
    /// Says of each map which attempt made its records: no two attempts make the same.
    Who,
}

struct Trial {
    kind: Kind,
    time: Duration,
}

/// A fact of the attempt that this process runs.
fn own(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

impl Mapper for Trial {
    type Key = Bytes;
    type Value = Bytes;

    fn setup(&mut self, _: &mut Output<'_, Bytes, Bytes>) -> Result<(), UserError> {
        let attempt = own("HOWDAH_ATTEMPT_ID");
        let is_slow = self.kind == Kind::Who && attempt.ends_with("3_0");
        std::thread::sleep(self.time * if is_slow { SLOWNESS } else { 1 });
        Ok(())
    }

    fn map(
        &mut self,
        line: Record<'_>,
        out: &mut Output<'_, Bytes, Bytes>,
    ) -> Result<(), UserError> {
        match self.kind {
            Kind::Count => words(line.value).for_each(|word| out.emit(word, b"")),
            Kind::Sort => out.emit(line.value, b""),
            Kind::Shout => out.emit(&line.value.to_ascii_uppercase(), b""),
            Kind::Who => {}
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Bytes, Bytes>) -> Result<(), UserError> {
        if self.kind == Kind::Who {
            let who = format!("{} {}", own("HOWDAH_TASK_ID"), own("HOWDAH_ATTEMPT_ID"));
            for record in 0..RECORDS {
                out.emit(record.to_string().as_bytes(), who.as_bytes());
            }
        }
        Ok(())
    }
}

impl Reducer for Trial {
    type InKey = Bytes;
    type InValue = Bytes;
    type OutKey = Bytes;
    type OutValue = Bytes;

    fn setup(&mut self, _: &mut Output<'_, Bytes, Bytes>) -> Result<(), UserError> {
        std::thread::sleep(self.time);
        Ok(())
    }

    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut Values<'_, Bytes, Bytes>,
        out: &mut Output<'_, Bytes, Bytes>,
    ) -> Result<(), UserError> {
        let mut n = 0_u64;
        while let Some(value) = values.next() {
            n += 1;
            if self.kind != Kind::Count {
                out.emit(key, value);
            }
        }
        if self.kind == Kind::Count {
            out.emit(key, n.to_string().as_bytes());
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    mapreduce::main(|arguments| {
        let [kind, millis] = arguments else { return Err("two arguments: what, how long".into()) };
        let kind = match kind.as_str() {
            "count" => Kind::Count,
            "sort" => Kind::Sort,
            "shout" => Kind::Shout,
            "who" => Kind::Who,
            other => return Err(format!("there is no trial {other:?}").into()),
        };
        let time = Duration::from_millis(millis.parse()?);
        let maps = Job::new(move || Trial { kind, time });
        Ok(match kind {
            Kind::Shout => Job::from(maps),
            Kind::Count | Kind::Sort | Kind::Who => {
                Job::from(maps.reducer(move || Trial { kind, time }))
            }
        })
    })
}
