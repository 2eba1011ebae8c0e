//! Medians, spreads and ratios: machines are shared and noisy, so two things are measured in turn and
//! compared by the ratio of their medians.

use std::fmt;
use std::time::Duration;

/// Some runs of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Adds a run.
    pub(crate) fn push(&mut self, run: Duration) {
        self.0.push(run);
        self.0.sort_unstable();
    }

    /// The run in the middle; zero without runs.
    #[must_use]
    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// How often the median of `other` goes into this one's.
    #[must_use]
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64().max(f64::EPSILON)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |at: Option<&Duration>| at.map_or(0.0, |run| run.as_secs_f64() * 1e3);
        let (first, last) = (ms(self.0.first()), ms(self.0.last()));
        let median = self.median().as_secs_f64() * 1e3;
        write!(f, "{median:.0} ms ({first:.0}–{last:.0}, n={})", self.0.len())
    }
}

/// Some runs' rates, in one unit a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(Vec<f64>);

impl Rates {
    /// Adds a run.
    pub(crate) fn push(&mut self, rate: f64) {
        self.0.push(rate);
        self.0.sort_unstable_by(f64::total_cmp);
    }

    /// The rate in the middle; zero without runs.
    #[must_use]
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// How often the median of `other` goes into this one's.
    #[must_use]
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        self.median() / other.median().max(f64::EPSILON)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |at: Option<&f64>| at.copied().unwrap_or_default();
        let (first, last) = (at(self.0.first()), at(self.0.last()));
        write!(f, "{:.0}/s ({first:.0}–{last:.0}, n={})", self.median(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_run_in_the_middle_whatever_the_order() {
        let mut samples = Samples::default();
        for ms in [30, 10, 500, 20, 40] {
            samples.push(Duration::from_millis(ms));
        }
        assert_eq!(samples.median(), Duration::from_millis(30));
        assert_eq!(samples.to_string(), "30 ms (10–500, n=5)");
        let mut half = Samples::default();
        half.push(Duration::from_millis(60));
        assert!((samples.ratio_to(&half) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_rate_is_the_one_in_the_middle_too() {
        let mut rates = Rates::default();
        [3.0, 100.0, 2.0].into_iter().for_each(|rate| rates.push(rate));
        assert_eq!(rates.to_string(), "3/s (2–100, n=3)");
        let mut double = Rates::default();
        double.push(6.0);
        assert!((rates.ratio_to(&double) - 0.5).abs() < 1e-9);
    }
}
