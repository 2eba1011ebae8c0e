//! The job's program of the tests of skipping: it counts words, and dies at some lines and at some words, each time, in
//! several ways.

use std::process::ExitCode;

use mapreduce::{Bytes, Job, Mapper, Output, Record, Reducer, UserError, Values, words};

struct Poison {
    /// Time that a map waits before its first line, so that there is time to kill something.
    pause: std::time::Duration,
}

impl Mapper for Poison {
    type Key = Bytes;
    type Value = u64;

    fn setup(&mut self, _: &mut Output<'_, Bytes, u64>) -> Result<(), UserError> {
        std::thread::sleep(self.pause);
        Ok(())
    }

    fn map(&mut self, line: Record<'_>, out: &mut Output<'_, Bytes, u64>) -> Result<(), UserError> {
        if line.value.starts_with(b"panic") {
            panic!("the author has not thought of this line");
        }
        if line.value.starts_with(b"error") {
            return Err("the author refuses this line".into());
        }
        if line.value.starts_with(b"abort") {
            eprintln!("these are the last words");
            std::process::abort();
        }
        words(line.value).for_each(|word| out.emit(word, 1));
        Ok(())
    }
}

struct Sum;

impl Reducer for Sum {
    type InKey = Bytes;
    type InValue = u64;
    type OutKey = Bytes;
    type OutValue = u64;

    fn reduce(
        &mut self,
        word: &[u8],
        counts: &mut Values<'_, Bytes, u64>,
        out: &mut Output<'_, Bytes, u64>,
    ) -> Result<(), UserError> {
        let total: u64 = counts.map(|n| n).sum();
        assert_ne!(word, b"poisoned", "nobody can reduce this word");
        out.emit(word, total);
        Ok(())
    }
}

fn main() -> ExitCode {
    mapreduce::main(|arguments| {
        let [millis] = arguments else { return Err("one argument: how long a map waits".into()) };
        let pause = std::time::Duration::from_millis(millis.parse()?);
        Ok(Job::new(move || Poison { pause }).reducer(|| Sum))
    })
}
