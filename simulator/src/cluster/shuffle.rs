//! What the reduces of one job fetch: maps' outputs in the order in which they arrived, each reduce
//! at its own rate. A reduce is brought up to date only when somebody asks, so that thousands of
//! reduces and thousands of maps do not cost one event for each pair.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;

use crate::cluster::scenario::MapPlan;

/// One map's output that has arrived.
#[derive(Clone, Debug)]
struct Arrival {
    map: u32,
    /// The host that serves it.
    host: usize,
    at: Monotonic,
    output: MapPlan,
    /// Whether this is the first output of its map; later ones are fetched only by reduces that
    /// missed the earlier ones.
    is_first: bool,
    /// Whether it can be fetched. Once it cannot, it never can again: an output that comes back is
    /// a new arrival.
    is_there: bool,
}

/// The outputs of a job's maps.
#[derive(Debug)]
pub(crate) struct Shuffle {
    arrivals: Vec<Arrival>,
    /// The number of each map's outputs that can be fetched.
    n_there: Vec<u32>,
    has_come: Vec<bool>,
    /// The number of maps none of whose outputs can be fetched.
    n_missing: usize,
}

/// The reduce that fetches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetcher {
    /// Its number.
    pub(crate) reduce: usize,
    /// Its share of outputs that serve all reduces.
    pub(crate) share: f64,
    /// The host on which it runs.
    pub(crate) host: usize,
    /// Seconds that it takes for a byte from another host.
    pub(crate) pace: f64,
    /// Seconds that it takes for a byte from its own host.
    pub(crate) own_pace: f64,
}

impl Fetcher {
    /// The bytes of a map's output that are for this reduce.
    pub(crate) fn part_of(&self, map: &MapPlan) -> f64 {
        match map.partition {
            Some(reduce) if reduce == self.reduce => map.output as f64,
            Some(_) => 0.0,
            None => map.output as f64 * self.share,
        }
    }
}

/// How far one reduce has got.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    by: Fetcher,
    at: Monotonic,
    /// The next arrival that it considers; `spent` is the time that it has already spent on it.
    next: usize,
    spent: Duration,
    /// Maps whose outputs it skipped because they could not be fetched.
    missed: BTreeSet<u32>,
    n_fetched: usize,
}

impl Fetch {
    /// A fetch that has just begun.
    pub(crate) fn new(at: Monotonic, by: Fetcher) -> Self {
        Self { by, at, next: 0, spent: Duration::ZERO, missed: BTreeSet::new(), n_fetched: 0 }
    }

    pub(crate) fn by(&self) -> Fetcher {
        self.by
    }

    pub(crate) fn n_fetched(&self) -> usize {
        self.n_fetched
    }
}

impl Shuffle {
    pub(crate) fn new(n_maps: usize) -> Self {
        Self {
            arrivals: Vec::new(),
            n_there: vec![0; n_maps],
            has_come: vec![false; n_maps],
            n_missing: n_maps,
        }
    }

    /// Whether every map has an output that can be fetched.
    pub(crate) fn is_complete(&self) -> bool {
        self.n_missing == 0
    }

    /// Whether any output of a map has arrived so far.
    pub(crate) fn has_come(&self, map: u32) -> bool {
        self.has_come[map as usize]
    }

    /// A map's output arrives. If it is not the map's first one, all fetches must be up to date.
    pub(crate) fn arrive(&mut self, at: Monotonic, map: u32, host: usize, output: MapPlan) {
        let n = map as usize;
        let is_first = !std::mem::replace(&mut self.has_come[n], true);
        self.n_missing -= usize::from(self.n_there[n] == 0);
        self.n_there[n] += 1;
        let is_there = true;
        self.arrivals.push(Arrival { map, host, at, output, is_first, is_there });
    }

    /// Nothing can be fetched from a host any more; all fetches must be up to date. Returns the
    /// maps whose outputs it served.
    pub(crate) fn lose(&mut self, host: usize) -> Vec<(u32, MapPlan)> {
        let mut lost = Vec::new();
        for it in self.arrivals.iter_mut().filter(|it| it.host == host && it.is_there) {
            it.is_there = false;
            let n_there = &mut self.n_there[it.map as usize];
            *n_there -= 1;
            self.n_missing += usize::from(*n_there == 0);
            lost.push((it.map, it.output));
        }
        lost
    }

    /// Brings a reduce's fetch up to date.
    pub(crate) fn advance(&self, fetch: &mut Fetch, to: Monotonic) {
        while fetch.at < to {
            let Some(it) = self.arrivals.get(fetch.next) else { break };
            if !self.wants(fetch, it) {
                continue;
            }
            let begins = fetch.at.max(it.at);
            if begins >= to {
                break;
            }
            let ends = begins + left(fetch, it);
            if ends > to {
                fetch.spent += to.since(begins);
                break;
            }
            fetch.at = ends;
            fetch.next += 1;
            fetch.spent = Duration::ZERO;
            fetch.missed.remove(&it.map);
            fetch.n_fetched += 1;
        }
        fetch.at = fetch.at.max(to);
    }

    /// When a reduce whose fetch is up to date will have everything, if nothing is lost until then.
    pub(crate) fn ends(&self, fetch: &Fetch) -> Option<Monotonic> {
        if !self.is_complete() {
            return None;
        }
        let mut fetch = fetch.clone();
        while let Some(it) = self.arrivals.get(fetch.next) {
            if self.wants(&mut fetch, it) {
                fetch.at = fetch.at.max(it.at) + left(&fetch, it);
                fetch.next += 1;
                fetch.spent = Duration::ZERO;
                fetch.missed.remove(&it.map);
            }
        }
        Some(fetch.at)
    }

    /// The bytes that a reduce which has everything got from its own host, and from others.
    pub(crate) fn own_and_others(&self, fetch: &Fetch) -> [f64; 2] {
        let mut bytes = [0.0; 2];
        for it in self.arrivals.iter().filter(|it| it.is_there) {
            bytes[usize::from(it.host != fetch.by.host)] += fetch.by.part_of(&it.output);
        }
        bytes
    }

    /// Whether a reduce fetches the next arrival; if not, it skips it.
    fn wants(&self, fetch: &mut Fetch, it: &Arrival) -> bool {
        let wants = it.is_there && (it.is_first || fetch.missed.contains(&it.map));
        if !wants {
            if it.is_first {
                fetch.missed.insert(it.map);
            }
            fetch.next += 1;
            fetch.spent = Duration::ZERO;
        }
        wants
    }
}

fn left(fetch: &Fetch, it: &Arrival) -> Duration {
    let by = &fetch.by;
    let pace = if it.host == by.host { by.own_pace } else { by.pace };
    Duration::from_secs_f64(by.part_of(&it.output) * pace).saturating_sub(fetch.spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    /// A reduce for which 1 byte takes 1 second.
    fn by(share: f64) -> Fetcher {
        Fetcher { reduce: 0, share, host: 9, pace: 1.0, own_pace: 0.25 }
    }

    fn output(bytes: u64) -> MapPlan {
        MapPlan { input: 0, output: bytes, partition: None, took: None }
    }

    /// Maps 0 to 3 arrive at 10, 20, 30 and 40 from hosts of the same numbers; each takes 5
    /// seconds.
    fn four_maps() -> Shuffle {
        let mut shuffle = Shuffle::new(4);
        for map in 0..4 {
            assert!(!shuffle.is_complete());
            shuffle.arrive(at(10 * (u64::from(map) + 1)), map, map as usize, output(5));
        }
        shuffle
    }

    #[test]
    fn a_reduce_waits_for_maps_or_they_for_it() {
        let shuffle = four_maps();
        for (begins, ends) in [(0, 45), (30, 50), (100, 120)] {
            assert_eq!(shuffle.ends(&Fetch::new(at(begins), by(1.0))), Some(at(ends)));
        }
        let mut fetch = Fetch::new(at(0), by(1.0));
        for (now, fetched) in [(9, 0), (14, 0), (15, 1), (27, 2), (44, 3), (46, 4)] {
            shuffle.advance(&mut fetch, at(now));
            assert_eq!(fetch.n_fetched(), fetched, "at {now}");
        }
        assert_eq!(shuffle.ends(&fetch), Some(at(46)), "it has all");
        let mut fetch = Fetch::new(at(0), by(1.0));
        shuffle.advance(&mut fetch, at(12));
        shuffle.advance(&mut fetch, at(13));
        assert_eq!(shuffle.ends(&fetch), Some(at(45)), "what it has spent is not lost");
    }

    #[test]
    fn what_is_lost_before_it_is_fetched_is_fetched_when_it_comes_again_and_nothing_twice() {
        let mut shuffle = four_maps();
        let (mut early, mut late) = (Fetch::new(at(0), by(1.0)), Fetch::new(at(41), by(1.0)));
        for fetch in [&mut early, &mut late] {
            shuffle.advance(fetch, at(42));
        }
        assert_eq!(shuffle.lose(0), [(0, output(5))]);
        assert!(!shuffle.is_complete());
        assert_eq!(shuffle.ends(&early), None);
        shuffle.advance(&mut early, at(60));
        assert_eq!(early.n_fetched(), 4, "it had map 0 already");
        shuffle.arrive(at(60), 0, 3, output(5));
        shuffle.advance(&mut late, at(60));
        assert_eq!(shuffle.ends(&early), Some(at(60)));
        assert_eq!(shuffle.ends(&late), Some(at(65)));
        assert_eq!(shuffle.lose(3).len(), 2, "both maps that it served");
    }

    #[test]
    fn a_reduce_has_its_part_and_reads_what_its_own_host_has() {
        let mut shuffle = Shuffle::new(3);
        shuffle.arrive(at(0), 0, 1, output(40));
        shuffle.arrive(at(0), 1, 9, output(40));
        shuffle.arrive(at(0), 2, 1, MapPlan { partition: Some(7), ..output(40) });
        let mut fetch = Fetch::new(at(0), by(0.5));
        assert_eq!(shuffle.ends(&fetch), Some(at(25)), "20 from another host, 20 from its own");
        shuffle.advance(&mut fetch, at(25));
        assert_eq!(shuffle.own_and_others(&fetch), [20.0, 20.0]);
        let seventh = Fetch::new(at(0), Fetcher { reduce: 7, ..by(0.0) });
        assert_eq!(shuffle.own_and_others(&seventh), [0.0, 40.0]);
    }
}
