//! Reduces' reports that one map output cannot be fetched, and when they are believed. Repeats by
//! the same reduce do not count: a reduce that retries at once reports the same three times a
//! second. Kept by `job`, queried by `attempt`.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;

/// A reduce that still cannot fetch reports again within this time: it pauses for at most three
/// seconds, and each try has its time-outs.
const REPEATED_WITHIN: Duration = Duration::from_secs(30);
/// A single reduce is believed after this many times the patience for several.
const LONE_PATIENCE: u32 = 3;

/// Reports about one map output.
#[derive(Debug, Default)]
pub(crate) struct FetchReports {
    reduces: BTreeSet<u32>,
    first: Monotonic,
    last: Monotonic,
}

impl FetchReports {
    /// A reduce reports that it cannot fetch the output. Earlier reports are forgotten if they were
    /// not repeated.
    pub(crate) fn add(&mut self, now: Monotonic, reduce: u32, patience: Duration) {
        if self.reduces.is_empty() || now.since(self.last) > patience + REPEATED_WITHIN {
            (self.reduces, self.first) = (BTreeSet::new(), now);
        }
        self.last = now;
        self.reduces.insert(reduce);
    }

    /// Whether the output counts as lost: `needed` reduces have failed to fetch it for a while, or
    /// a single one for long, as only its partition may be broken.
    pub(crate) fn believed(&self, now: Monotonic, needed: u32, patience: Duration) -> bool {
        let lasted = now.since(self.first);
        let several = self.reduces.len() >= needed as usize && lasted >= patience;
        several || lasted >= patience * LONE_PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Whether the output is lost after these reports (second, reduce), where three reduces are
    /// needed.
    fn lost(said: &[(u64, u32)]) -> bool {
        let mut reports = FetchReports::default();
        let mut believed = false;
        for (second, reduce) in said {
            let now = Monotonic::default() + Duration::from_secs(100 + second);
            reports.add(now, *reduce, PATIENCE);
            believed = reports.believed(now, 3, PATIENCE);
        }
        believed
    }

    #[test]
    fn several_reduces_are_believed_after_a_while_and_one_after_long() {
        for (said, expected) in [
            (&[(0, 0), (0, 0), (1, 0), (2, 0)][..], false),
            (&[(0, 0), (1, 1), (2, 2)], false),
            (&[(0, 0), (1, 1), (2, 2), (9, 2)], false),
            (&[(0, 0), (1, 1), (10, 2)], true),
            (&[(0, 0), (1, 1), (10, 0)], false),
            (&[(0, 0), (10, 0), (20, 0), (29, 0)], false),
            (&[(0, 0), (10, 0), (20, 0), (30, 0)], true),
            (&[(0, 0), (1, 1), (100, 2)], false),
            (&[(0, 0), (1, 1), (100, 2), (110, 0), (111, 1)], true),
        ] {
            assert_eq!(lost(said), expected, "{said:?}");
        }
    }
}
