//! How a map's output is spread over the reduces, in short: what the JobTracker places them by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Partitions that are named of one map, at most: a job may have tens of thousands.
pub const HEAVY_PARTITIONS_MAX: usize = 16;

/// Bytes that a map left for its job's reduces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputSizes {
    /// Of all partitions.
    pub bytes: u64,
    /// Partitions that have a quarter more than an even share, each with its bytes; the heaviest first, at most
    /// [`HEAVY_PARTITIONS_MAX`]. The others are taken to have the rest in equal parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heavy: Vec<(u32, u64)>,
}

impl OutputSizes {
    /// Of an output whose partitions have so many bytes, in their order.
    #[must_use]
    pub fn of(partitions: impl ExactSizeIterator<Item = u64> + Clone) -> Self {
        let n_partitions = partitions.len() as u128;
        let bytes = partitions.clone().fold(0, u64::saturating_add);
        // In u128, since a quarter of what all have times their number may be more than a u64 holds.
        let is_heavy = |of_it: &u64| u128::from(*of_it) * n_partitions * 4 >= u128::from(bytes) * 5;
        let numbered = (0..).zip(partitions).filter(|(_, of_it)| *of_it > 0 && is_heavy(of_it));
        let mut heavy: Vec<(u32, u64)> = numbered.collect();
        heavy.sort_unstable_by_key(|(partition, of_it)| (std::cmp::Reverse(*of_it), *partition));
        heavy.truncate(HEAVY_PARTITIONS_MAX);
        Self { bytes, heavy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(partitions: &[u64]) -> OutputSizes {
        OutputSizes::of(partitions.iter().copied())
    }

    #[test]
    fn partitions_well_above_their_even_share_are_named() {
        for (partitions, heavy) in [
            (vec![], vec![]),
            (vec![7], vec![]),
            (vec![0, 0], vec![]),
            (vec![10, 10, 10, 10], vec![]),
            (vec![12, 10, 10, 9], vec![]),
            (vec![40, 60], vec![]),
            (vec![30, 70], vec![(1, 70)]),
            (vec![0, 0, 5, 0], vec![(2, 5)]),
            (vec![20, 0, 40, 0], vec![(2, 40), (0, 20)]),
            (vec![u64::MAX, 0, u64::MAX], vec![(0, u64::MAX), (2, u64::MAX)]),
        ] {
            assert_eq!(of(&partitions).heavy, heavy, "{partitions:?}");
        }
        assert_eq!(of(&[1, 2, 3]).bytes, 6);
        assert_eq!(of(&[u64::MAX, 1]).bytes, u64::MAX);
    }

    #[test]
    fn of_many_heavy_partitions_the_heaviest_are_named() {
        let partitions: Vec<u64> =
            (0..50_000).map(|n| if n % 1000 == 0 { n + 1 } else { 0 }).collect();
        let named = of(&partitions).heavy;
        assert_eq!(named.len(), HEAVY_PARTITIONS_MAX);
        assert_eq!((named[0], named[15]), ((49_000, 49_001), (34_000, 34_001)));
    }
}
