//! How bad a world is: the network's weather, and a temper that makes some faults frequent and
//! others absent. The seed determines both.

use std::time::Duration;

use crate::random::Random;

/// How bad the network is; each is a probability in 1000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) slow: u64,
    pub(crate) broken: u64,
}

impl Weather {
    /// In half of all worlds each of these is absent; in the others connections break with less
    /// than `broken_max` in 1000.
    pub(crate) fn draw(random: &mut Random, broken_max: usize) -> Self {
        let mut often = |max: usize| match random.chance(500) {
            true => random.below(max) as u64,
            false => 0,
        };
        Self { lost: often(80), doubled: often(150), slow: often(60), broken: often(broken_max) }
    }
}

/// The temper of a world with `N` kinds of faults.
#[derive(Debug)]
pub(crate) struct Temper<const N: usize> {
    /// Longest pause between two faults, milliseconds.
    pause_millis: u64,
    /// Relative frequency of each fault.
    weights: [usize; N],
}

impl<const N: usize> Temper<N> {
    /// Each kind of fault occurs in `per_mille` of 1000 worlds.
    pub(crate) fn draw(random: &mut Random, per_mille: u64) -> Self {
        let weights = std::array::from_fn(|_| match random.chance(per_mille) {
            true => random.within(1..6),
            false => 0,
        });
        Self { pause_millis: *random.pick(&[300, 1000, 4000]), weights }
    }

    /// The next fault; `None` in a world without faults.
    pub(crate) fn pick<K: Copy>(&self, random: &mut Random, kinds: &[K; N]) -> Option<K> {
        let sum: usize = self.weights.iter().sum();
        let mut left = random.below(sum.max(1));
        kinds.iter().zip(self.weights).find_map(|(kind, weight)| match left < weight {
            true => Some(*kind),
            false => {
                left -= weight;
                None
            }
        })
    }

    /// Time until the next fault.
    pub(crate) fn pause(&self, random: &mut Random) -> Duration {
        random.millis(1..self.pause_millis)
    }
}
