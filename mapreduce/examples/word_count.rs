//! Counts words: the job of the MapReduce paper. Run it with `howdah`; without, it says how.

use std::process::ExitCode;

use mapreduce::{Bytes, Job, words};

fn main() -> ExitCode {
    mapreduce::main(|_arguments| {
        let job = Job::map::<Bytes, u64>(|line, out| {
            for word in words(line.value) {
                out.emit(word, 1);
            }
            Ok(())
        });
        Ok(job.combine(|earlier, later, one| one.set(earlier + later)).reduce::<Bytes, u64>(
            |word, counts, out| {
                out.emit(word, counts.sum());
                Ok(())
            },
        ))
    })
}
