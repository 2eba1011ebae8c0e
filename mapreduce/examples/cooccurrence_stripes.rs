//! Co-occurrence by stripes: the counts of `cooccurrence_pairs`, but for each word one record with all its
//! neighbours. Fewer and longer records; the stripe of a word must fit into memory.

use std::collections::BTreeMap;
use std::process::ExitCode;

use mapreduce::{Combined, Combiner, Job, Text, UserError, words};

/// `neighbour=count`, separated by blanks, as none of the words has one.
type Stripe = Text;

/// Adds up a stripe's counts.
fn add(sums: &mut BTreeMap<String, u64>, stripe: &str) -> Result<(), UserError> {
    for entry in stripe.split(' ') {
        let (neighbour, count) = entry.rsplit_once('=').ok_or("an entry without a count")?;
        *sums.entry(neighbour.to_owned()).or_default() += count.parse::<u64>()?;
    }
    Ok(())
}

struct AddUp;

impl Combiner for AddUp {
    type Key = Text;
    type Value = Stripe;

    fn combine(
        &mut self,
        _: &str,
        earlier: &str,
        later: &str,
        out: &mut Combined<'_, Stripe>,
    ) -> Result<(), UserError> {
        let mut sums = BTreeMap::new();
        add(&mut sums, earlier)?;
        add(&mut sums, later)?;
        let entries: Vec<_> = sums.iter().map(|(word, count)| format!("{word}={count}")).collect();
        out.set(&entries.join(" "));
        Ok(())
    }
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<Text, Stripe>(|line, out| {
        for (word, next) in words(line.value).zip(words(line.value).skip(1)) {
            let (word, next) = (str::from_utf8(word)?, str::from_utf8(next)?);
            out.emit(word, &format!("{next}=1"));
            out.emit(next, &format!("{word}=1"));
        }
        Ok(())
    })
    .combiner(|| AddUp)
    .reduce::<(Text, Text), u64>(|word, stripes, out| {
        let mut sums = BTreeMap::new();
        while let Some(stripe) = stripes.next() {
            add(&mut sums, stripe)?;
        }
        sums.iter().for_each(|(neighbour, count)| out.emit((word, neighbour), *count));
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
