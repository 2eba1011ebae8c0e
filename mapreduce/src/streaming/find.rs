//! The search for the record at which a command fails, by bisection: the command is run again on fewer and fewer records.
//!
//! A command reads ahead, so that when it fails the record at fault is somewhere in front of the last byte that it has read,
//! mostly near. So the search begins there, with few records, and takes more of them as long as those do no harm.

use std::ops::Range;

use mapreduce_protocol::Failure;

/// By how much more records are taken each time.
const GROWTH: u64 = 8;
/// Runs of the command in one search, at most. (Of a million records 21 runs find the one.)
const RUNS_MAX: u32 = 200;

/// The first of `n` records at which a command fails: `fails` says whether it does on some of them alone. `None` if that is no
/// single record: it fails on no input at all, or on none of the records alone. As long as the command does the same each time,
/// so does this, whatever `n` was read ahead.
pub(super) fn first_bad(
    n: u64,
    mut fails: impl FnMut(Range<u64>) -> Result<bool, Failure>,
) -> Result<Option<u64>, Failure> {
    let mut runs = 0;
    let mut fails = |records: Range<u64>| {
        runs += 1;
        if runs > RUNS_MAX { Ok(None) } else { fails(records).map(Some) }
    };
    if n == 0 || fails(0..0)? != Some(false) {
        return Ok(None);
    }
    let (mut n, mut width) = (n, 1);
    let mut found = None;
    loop {
        let Some(bad) = last_few(n, width, &mut fails)? else { return Ok(found) };
        // What was read ahead of it may hold others: the first one counts.
        match fails(0..bad)? {
            None => return Ok(None),
            Some(false) => return Ok(Some(bad)),
            Some(true) => (n, width, found) = (bad, width.saturating_mul(GROWTH), Some(bad)),
        }
    }
}

/// A record of the first `n` at which it fails, from the end on, the first `width` of them at once.
fn last_few(
    n: u64,
    width: u64,
    fails: &mut impl FnMut(Range<u64>) -> Result<Option<bool>, Failure>,
) -> Result<Option<u64>, Failure> {
    let (mut end, mut width) = (n, width);
    loop {
        if end == 0 {
            return Ok(None);
        }
        let start = end.saturating_sub(width);
        match fails(start..end)? {
            None => return Ok(None),
            Some(true) => return within(start..end, fails),
            Some(false) => (end, width) = (start, width.saturating_mul(GROWTH)),
        }
    }
}

/// The first record of some on which, together, it fails.
fn within(
    records: Range<u64>,
    fails: &mut impl FnMut(Range<u64>) -> Result<Option<bool>, Failure>,
) -> Result<Option<u64>, Failure> {
    let Range { mut start, mut end } = records;
    while end - start > 1 {
        let middle = start + (end - start) / 2;
        match fails(start..middle)? {
            Some(true) => end = middle,
            Some(false) => match fails(middle..end)? {
                Some(true) => start = middle,
                // Only both together: no single record is at fault.
                Some(false) | None => return Ok(None),
            },
            None => return Ok(None),
        }
    }
    Ok(Some(start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found among `n` records, and in how many runs, where it fails at each of `bad`.
    fn search(n: u64, bad: &[u64]) -> (Option<u64>, u64) {
        let mut runs = 0;
        let found = first_bad(n, |records| {
            runs += 1;
            Ok(bad.iter().any(|bad| records.contains(bad)))
        });
        (found.unwrap(), runs)
    }

    #[test]
    fn a_bad_record_near_the_end_is_found_in_few_runs() {
        for (bad, runs_max) in [(999_999, 3), (999_990, 20), (998_000, 30), (0, 60)] {
            let (found, runs) = search(1_000_000, &[bad]);
            assert_eq!(found, Some(bad));
            assert!(runs <= runs_max, "{bad}: {runs} runs");
        }
    }

    #[test]
    fn what_is_no_single_record_is_none() {
        assert_eq!(search(0, &[]).0, None);
        assert_eq!(search(100, &[]).0, None, "it does not fail again");
        assert_eq!(first_bad(9, |_| Ok(true)).unwrap(), None, "it fails on no input");
        // It fails at the third record, whatever that is.
        let third = first_bad(9, |records| Ok(records.end - records.start >= 3)).unwrap();
        assert_eq!(third, None);
    }

    #[test]
    fn many_bad_records_cost_no_more_runs_than_allowed() {
        let all: Vec<u64> = (3..10_000).collect();
        let (found, runs) = search(10_000, &all);
        assert_eq!(found, Some(3));
        assert!(runs < 100, "{runs}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn the_first_bad_record_is_found_however_far_the_command_has_read(
            bad in prop::collection::btree_set(0..500_u64, 1..20),
            ahead in 1..500_u64,
        ) {
            let bad: Vec<u64> = bad.into_iter().collect();
            prop_assert_eq!(search(bad[0] + ahead, &bad).0, Some(bad[0]));
        }
    }
}
