//! Relative frequencies by order inversion: of all words behind a word, the share of each. To divide by the sum one
//! must know it first. So each pair is also counted for "any word", `None`, which is sorted before all words:
//! the reducer has the sum when the first share is due, and keeps nothing in memory.

use std::process::ExitCode;

use mapreduce::{Job, Text, UserError, words};

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<(Text, Option<Text>), u64>(|line, out| {
        for (word, next) in words(line.value).zip(words(line.value).skip(1)) {
            let (word, next) = (str::from_utf8(word)?, str::from_utf8(next)?);
            out.emit((word, None), 1);
            out.emit((word, Some(next)), 1);
        }
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier + later))
    .group_by::<1>()
    .reduce::<(Text, Text), f64>(|(word, _), counts, out| {
        let mut total = 0;
        // The word whose counts are being added up.
        let (mut next, mut count) = (String::new(), 0);
        while let Some(((_, neighbour), n)) = counts.next_pair() {
            match neighbour {
                None => total += n,
                Some(neighbour) if neighbour == next => count += n,
                Some(neighbour) => {
                    if count > 0 {
                        out.emit((word, &next), count as f64 / total as f64);
                    }
                    (next, count) = (neighbour.to_owned(), n);
                }
            }
        }
        out.emit((word, &next), count as f64 / total as f64);
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
