//! Ranges of numbers as lines of a job's input, `FIRST COUNT`: for programs that make up what they work on.

use super::arguments::text_of;
use crate::{Record, UserError, words};

/// The numbers that a line names.
pub(super) fn of(record: Record<'_>) -> Result<std::ops::Range<u64>, UserError> {
    let mut numbers = words(text_of(record)).map(|word| str::from_utf8(word).ok()?.parse().ok());
    let range = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Some(first)), Some(Some(count)), None) => {
            u64::checked_add(first, count).map(|end| first..end)
        }
        _ => None,
    };
    range.ok_or_else(|| {
        format!(
            "the line at offset {} of {} is no range: write FIRST COUNT, two whole numbers, as in `0 1000000`",
            record.offset, record.path
        )
        .into()
    })
}
