//! The lines with the largest, or smallest, numbers.

use std::collections::BinaryHeap;

use super::BuiltinError;
use super::arguments::{Arguments, Lines};
use super::decimal::Decimal;
use crate::{Bytes, Job, Mapper, Output, Record, Reducer, UserError, Values};

/// Lines that a job can be asked for.
const LINES_MAX: u64 = 1_000_000;

/// Bytes of the lines that a map keeps, at most, with what the heap holds of each.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// What is written first is the smallest: the number, turned where the largest are wanted, then the line.
type Place = (i128, Bytes);

/// Each map sends its own first lines alone, when it has seen all.
struct First {
    lines: Lines,
    field: usize,
    n: usize,
    turned: bool,
    /// The last of them on top.
    found: BinaryHeap<(i128, Vec<u8>)>,
    /// Memory that they take.
    bytes: usize,
    bytes_max: usize,
}

impl First {
    fn keep(&mut self, number: i128, line: &[u8]) -> Result<(), UserError> {
        self.bytes += kept_bytes(line);
        if self.bytes > self.bytes_max {
            let (n, max) = (self.n, self.bytes_max >> 20);
            return Err(format!(
                "the first {n} lines have more than {max} MiB: ask for fewer ('n'), or shorten the lines by a job before"
            )
            .into());
        }
        self.found.push((number, line.to_vec()));
        Ok(())
    }
}

/// Memory that a line takes in the heap.
fn kept_bytes(line: &[u8]) -> usize {
    line.len() + size_of::<(i128, Vec<u8>)>()
}

impl Mapper for First {
    type Key = Place;
    type Value = ();

    fn map(
        &mut self,
        record: Record<'_>,
        out: &mut Output<'_, Place, ()>,
    ) -> Result<(), UserError> {
        let number = self.lines.field(record, self.field);
        let number = number.and_then(|text| Decimal::parse(text)?.units());
        let Some(number) = self.lines.unless_bad(number, record, out)? else { return Ok(()) };
        let number = if self.turned { -number } else { number };
        let is_last = |(last, line): &(i128, Vec<u8>)| (*last, &line[..]) <= (number, record.value);
        if self.found.len() < self.n {
            return self.keep(number, record.value);
        }
        if !self.found.peek().is_some_and(is_last) {
            if let Some((_, last)) = self.found.pop() {
                self.bytes -= kept_bytes(&last);
            }
            return self.keep(number, record.value);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Place, ()>) -> Result<(), UserError> {
        let found = std::mem::take(&mut self.found).into_sorted_vec();
        found.iter().for_each(|(number, line)| out.emit((*number, line), ()));
        Ok(())
    }
}

/// The first of all.
struct Rest {
    n: usize,
}

impl Reducer for Rest {
    type InKey = Place;
    type InValue = ();
    type OutKey = Bytes;
    type OutValue = ();

    fn reduce(
        &mut self,
        (_, line): (i128, &[u8]),
        values: &mut Values<'_, Place, ()>,
        out: &mut Output<'_, Bytes, ()>,
    ) -> Result<(), UserError> {
        while self.n > 0 && values.next().is_some() {
            self.n -= 1;
            out.emit(line, ());
        }
        Ok(())
    }
}

/// Of equal numbers the lines whose bytes come first.
pub(super) fn job(arguments: Arguments<'_>) -> Result<Job, BuiltinError> {
    let n = arguments.number("n", 1, (1, LINES_MAX))? as usize;
    let field = arguments.field("field", 2)?;
    let turned = arguments.choice("order", &[("largest", true), ("smallest", false)])?;
    let lines = arguments.lines()?;
    let mapper = move || First {
        lines: lines.clone(),
        field,
        n,
        turned,
        found: BinaryHeap::new(),
        bytes: 0,
        bytes_max: KEPT_BYTES_MAX,
    };
    Ok(Job::new(mapper).reducer(move || Rest { n }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_kept_have_a_bound() {
        let lines = Lines::default();
        let (found, bytes_max) = (BinaryHeap::new(), 2 * kept_bytes(b"12345678"));
        let mut first = First { lines, field: 1, n: 3, turned: false, found, bytes: 0, bytes_max };
        first.keep(1, b"12345678").unwrap();
        first.keep(2, b"").unwrap();
        let refused = first.keep(3, b"123456789").unwrap_err().to_string();
        assert!(refused.contains("the first 3 lines") && refused.contains("'n'"), "{refused}");
    }
}
