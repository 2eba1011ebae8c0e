//! A simulated attempt: how long its work takes on its host, and how far it has got. The world
//! decides what it does when.

use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::Locality;

use crate::cluster::scenario::{MapPlan, Rates, ReducePlan};
use crate::cluster::shuffle::{Fetch, Shuffle};
use crate::random::Random;

/// The smallest share of its usual time that an attempt takes, however lucky it is.
const LUCK_MAX: f64 = 0.3;
/// The least that is left of a measured time if the map reads from nearer now than it did then.
const MEASURED_MIN: Duration = Duration::from_millis(1);

/// What an attempt is doing.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Its process is being started.
    Starting,
    /// A map reads and computes; a reduce merges and reduces what it has fetched.
    Working { began: Monotonic, ends: Monotonic },
    /// A reduce fetches maps' outputs.
    Fetching(Fetch),
    /// It is being killed.
    Dying,
}

/// One simulated attempt on one host.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) job: usize,
    pub(crate) is_reduce: bool,
    pub(crate) index: usize,
    /// When it took its slot.
    pub(crate) since: Monotonic,
    pub(crate) stage: Stage,
    /// The number of the step planned next: steps planned earlier are obsolete.
    pub(crate) step: u64,
    /// How many times longer than usual everything takes it.
    pub(crate) slowness: f64,
}

impl Attempt {
    /// The progress it reports: of a map the share that it has read; of a reduce one half for the
    /// maps fetched, and the other half for what it has merged.
    pub(crate) fn progress(
        &mut self,
        now: Monotonic,
        shuffle: Option<&Shuffle>,
        n_maps: usize,
    ) -> f32 {
        let share = match &mut self.stage {
            Stage::Starting | Stage::Dying => 0.0,
            Stage::Working { began, ends } => {
                let whole = ends.since(*began).as_secs_f64();
                let done = now.since(*began).as_secs_f64();
                let done = if whole > 0.0 { (done / whole).min(1.0) } else { 1.0 };
                if self.is_reduce { 0.5 + done / 2.0 } else { done }
            }
            Stage::Fetching(fetch) => {
                shuffle.into_iter().for_each(|it| it.advance(fetch, now));
                fetch.n_fetched() as f64 / (2 * n_maps.max(1)) as f64
            }
        };
        share as f32
    }
}

/// How much longer or shorter an attempt takes than others of its kind; the same for the same
/// attempt in every run of a seed.
pub(crate) fn luck(
    seed: u64,
    spread: f64,
    (job, is_reduce, index, number): (usize, bool, usize, u32),
) -> f64 {
    let mut mixed = seed;
    for part in [job as u64, u64::from(is_reduce), index as u64, u64::from(number)] {
        mixed = Random::new(mixed ^ part).next();
    }
    let mut random = Random::new(mixed);
    // The sum of twelve uniform numbers from 0 to 1 is nearly normal, with a standard deviation of
    // 1.
    let sum: f64 = (0..12).map(|_| random.share()).sum();
    (1.0 + spread * (sum - 6.0)).max(LUCK_MAX)
}

/// How long a map works that runs at this distance from its data; with `writes` it writes the job's
/// output itself, as there are no reduces.
pub(crate) fn map_time(rates: &Rates, map: &MapPlan, place: Locality, writes: bool) -> Duration {
    let reading = |place| {
        let rate = match place {
            Locality::NodeLocal => rates.read_local,
            Locality::RackLocal => rates.read_rack,
            Locality::OffRack => rates.read_remote,
        };
        seconds(map.input as f64 / rate)
    };
    match map.took {
        Some(took) => {
            let (now, then) = (reading(place), reading(took.place));
            (took.time + now).saturating_sub(then).max(MEASURED_MIN)
        }
        None => {
            let written = if writes { map.output as f64 / rates.write } else { 0.0 };
            reading(place) + seconds(map.input as f64 / rates.map + written)
        }
    }
}

/// How long a reduce works that has fetched this many bytes.
pub(crate) fn reduce_time(rates: &Rates, reduce: &ReducePlan, fetched: f64) -> Duration {
    match reduce.took {
        Some(time) => time,
        None => seconds(fetched / rates.reduce + reduce.output as f64 / rates.write),
    }
}

/// A duration of this many seconds; the longest duration if they are too many.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates {
            read_local: 100.0,
            read_rack: 50.0,
            read_remote: 25.0,
            map: 100.0,
            fetch: 100.0,
            reduce: 100.0,
            write: 50.0,
            start: Duration::ZERO,
            spread: 0.1,
        }
    }

    #[test]
    fn attempts_differ_as_much_as_they_are_told_to_and_the_same_one_never() {
        let draw = |index| luck(7, 0.1, (0, false, index, 0));
        let all: Vec<f64> = (0..10_000).map(draw).collect();
        let mean = all.iter().sum::<f64>() / 1e4;
        let deviation = (all.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 1e4).sqrt();
        assert!(
            (mean - 1.0).abs() < 0.005 && (deviation - 0.1).abs() < 0.005,
            "{mean} {deviation}"
        );
        assert_eq!(luck(7, 0.1, (0, false, 3, 0)).to_bits(), all[3].to_bits());
        assert_ne!(luck(7, 0.1, (0, false, 3, 1)).to_bits(), all[3].to_bits(), "another attempt");
        assert_eq!(luck(7, 0.0, (1, true, 9, 2)).to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn times_follow_bytes_and_places() {
        let map = MapPlan { input: 200, output: 100, partition: None, took: None };
        for (place, writes, expected) in [
            (Locality::NodeLocal, false, 4),
            (Locality::RackLocal, false, 6),
            (Locality::OffRack, false, 10),
            (Locality::NodeLocal, true, 6),
        ] {
            let time = map_time(&rates(), &map, place, writes);
            assert_eq!(time, Duration::from_secs(expected), "{place:?}, {writes}");
        }
        let reduce = ReducePlan { share: 1.0, output: 100, took: None };
        assert_eq!(reduce_time(&rates(), &reduce, 300.0), Duration::from_secs(5));
    }

    #[test]
    fn a_measured_map_takes_what_it_took_but_for_where_it_reads() {
        let took = Took { time: Duration::from_secs(7), place: Locality::RackLocal };
        let map = MapPlan { input: 200, output: 0, partition: None, took: Some(took) };
        for (place, expected) in
            [(Locality::NodeLocal, 5), (Locality::RackLocal, 7), (Locality::OffRack, 11)]
        {
            let time = map_time(&rates(), &map, place, true);
            assert_eq!(time, Duration::from_secs(expected), "{place:?}");
        }
    }

    use crate::cluster::scenario::Took;
}
