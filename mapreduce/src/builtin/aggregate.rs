//! Sum, smallest, largest and mean of each key's numbers.

use super::BuiltinError;
use super::arguments::Arguments;
use super::decimal::Decimal;
use crate::{Bytes, Combined, Combiner, Job, Text, UserError};

/// What is made of a key's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
    Mean,
}

/// Digits, scale, and of how many numbers: a mean can't be made of means.
type Partial = (i128, u8, u64);

impl Aggregate {
    /// One of two partial results.
    fn of(self, key: &[u8], earlier: Partial, later: Partial) -> Result<Partial, UserError> {
        let number = |(digits, scale, _): Partial| Decimal { digits, scale };
        let (a, b) = (number(earlier), number(later));
        let chosen = match self {
            Self::Sum | Self::Mean => {
                let key = String::from_utf8_lossy(&key[..key.len().min(80)]).into_owned();
                a.plus(b).ok_or_else(|| format!("the sum of key {key:?} has too many digits"))?
            }
            Self::Min if b.units()? < a.units()? => b,
            Self::Max if b.units()? > a.units()? => b,
            Self::Min | Self::Max => a,
        };
        Ok((chosen.digits, chosen.scale, earlier.2 + later.2))
    }

    fn text(self, (digits, scale, count): Partial) -> String {
        let number = Decimal { digits, scale };
        match self {
            Self::Mean => number.over(count).to_string(),
            Self::Sum | Self::Min | Self::Max => number.to_string(),
        }
    }
}

impl Combiner for Aggregate {
    type Key = Bytes;
    type Value = Partial;

    fn combine(
        &mut self,
        key: &[u8],
        earlier: Partial,
        later: Partial,
        out: &mut Combined<'_, Partial>,
    ) -> Result<(), UserError> {
        out.set(self.of(key, earlier, later)?);
        Ok(())
    }
}

/// Of lines with a key and a number among their fields: key, tab, result.
pub(super) fn job(aggregate: Aggregate, arguments: Arguments<'_>) -> Result<Job, BuiltinError> {
    let (key, value) = (arguments.field("key_field", 1)?, arguments.field("value_field", 2)?);
    let lines = arguments.lines()?;
    let job = Job::map::<Bytes, Partial>(move |record, out| {
        let made = lines.field(record, key).and_then(|key| {
            let number = Decimal::parse(lines.field(record, value)?)?;
            // Numbers that can't be compared are bad lines, not broken comparisons.
            number.units()?;
            Ok((key, number))
        });
        if let Some((key, number)) = lines.unless_bad(made, record, out)? {
            out.emit(key, (number.digits, number.scale, 1));
        }
        Ok(())
    })
    .combiner(move || aggregate)
    .reduce::<Bytes, Text>(move |key, partials, out| {
        let mut all = None;
        while let Some(next) = partials.next() {
            all = Some(match all {
                Some(before) => aggregate.of(key, before, next)?,
                None => next,
            });
        }
        if let Some(all) = all {
            out.emit(key, &aggregate.text(all));
        }
        Ok(())
    });
    Ok(job.into())
}
