//! What the reduces of one job fetch: maps' outputs in the order in which they came, each reduce at its own rate. Reduces are
//! brought up to date when somebody asks, so that thousands of them and thousands of maps cost no event each.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;

/// One map's output that has come.
#[derive(Clone, Debug)]
struct Arrival {
    map: u32,
    /// The host that serves it.
    host: usize,
    at: Monotonic,
    bytes: f64,
    /// Whether no other output of the same map came before it: others are fetched only by who has missed those.
    is_first: bool,
    /// Whether it can be fetched; if not, it never will be: what comes back comes anew.
    is_there: bool,
}

/// The outputs of a job's maps.
#[derive(Debug)]
pub(crate) struct Shuffle {
    arrivals: Vec<Arrival>,
    /// Outputs of each map that can be fetched.
    n_there: Vec<u32>,
    has_come: Vec<bool>,
    /// Maps of which none can be.
    n_missing: usize,
}

/// How far one reduce is.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    /// Seconds that it takes for a byte of a map's output.
    pace: f64,
    at: Monotonic,
    /// The next arrival that it looks at, and how long it has worked on it already.
    next: usize,
    spent: Duration,
    /// Maps whose outputs it passed by because they were not there.
    missed: BTreeSet<u32>,
    n_fetched: usize,
}

impl Fetch {
    /// One that begins.
    pub(crate) fn new(at: Monotonic, pace: f64) -> Self {
        Self { pace, at, next: 0, spent: Duration::ZERO, missed: BTreeSet::new(), n_fetched: 0 }
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

    /// Whether every map's output is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.n_missing == 0
    }

    /// Whether some output of a map has come before.
    pub(crate) fn has_come(&self, map: u32) -> bool {
        self.has_come[map as usize]
    }

    /// A map's output has come; all that fetch must be up to date if it is not the map's first one.
    pub(crate) fn arrive(&mut self, at: Monotonic, map: u32, host: usize, bytes: f64) {
        let n = map as usize;
        let is_first = !std::mem::replace(&mut self.has_come[n], true);
        self.n_missing -= usize::from(self.n_there[n] == 0);
        self.n_there[n] += 1;
        let is_there = true;
        self.arrivals.push(Arrival { map, host, at, bytes, is_first, is_there });
    }

    /// Nothing can be fetched from a host any more; all that fetch must be up to date. The maps whose outputs it served.
    pub(crate) fn lose(&mut self, host: usize) -> Vec<(u32, f64)> {
        let mut lost = Vec::new();
        for it in self.arrivals.iter_mut().filter(|it| it.host == host && it.is_there) {
            it.is_there = false;
            let n_there = &mut self.n_there[it.map as usize];
            *n_there -= 1;
            self.n_missing += usize::from(*n_there == 0);
            lost.push((it.map, it.bytes));
        }
        lost
    }

    /// Brings a reduce up to date.
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

    /// When a reduce that is up to date will have everything, if nothing gets lost until then.
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

    /// Whether a reduce fetches what comes next; if not, it passes by.
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
    Duration::from_secs_f64(it.bytes * fetch.pace).saturating_sub(fetch.spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    /// Maps 0 to 3 come at 10, 20, 30, 40 from hosts of the same numbers; each takes 5 seconds.
    fn four_maps() -> Shuffle {
        let mut shuffle = Shuffle::new(4);
        for map in 0..4 {
            assert!(!shuffle.is_complete());
            shuffle.arrive(at(10 * (u64::from(map) + 1)), map, map as usize, 5.0);
        }
        shuffle
    }

    #[test]
    fn a_reduce_waits_for_maps_or_they_for_it() {
        let shuffle = four_maps();
        for (begins, ends) in [(0, 45), (30, 50), (100, 120)] {
            assert_eq!(shuffle.ends(&Fetch::new(at(begins), 1.0)), Some(at(ends)));
        }
        let mut fetch = Fetch::new(at(0), 1.0);
        for (now, fetched) in [(9, 0), (14, 0), (15, 1), (27, 2), (44, 3), (46, 4)] {
            shuffle.advance(&mut fetch, at(now));
            assert_eq!(fetch.n_fetched(), fetched, "at {now}");
        }
        assert_eq!(shuffle.ends(&fetch), Some(at(46)), "it has all");
        let mut fetch = Fetch::new(at(0), 1.0);
        shuffle.advance(&mut fetch, at(12));
        shuffle.advance(&mut fetch, at(13));
        assert_eq!(shuffle.ends(&fetch), Some(at(45)), "what it has spent is not lost");
    }

    #[test]
    fn what_is_lost_before_it_is_fetched_is_fetched_when_it_comes_again_and_nothing_twice() {
        let mut shuffle = four_maps();
        let (mut early, mut late) = (Fetch::new(at(0), 1.0), Fetch::new(at(41), 1.0));
        for fetch in [&mut early, &mut late] {
            shuffle.advance(fetch, at(42));
        }
        assert_eq!(shuffle.lose(0), [(0, 5.0)]);
        assert!(!shuffle.is_complete());
        assert_eq!(shuffle.ends(&early), None);
        shuffle.advance(&mut early, at(60));
        assert_eq!(early.n_fetched(), 4, "it had map 0 already");
        shuffle.arrive(at(60), 0, 3, 5.0);
        shuffle.advance(&mut late, at(60));
        assert_eq!(shuffle.ends(&early), Some(at(60)));
        assert_eq!(shuffle.ends(&late), Some(at(65)));
        assert_eq!(shuffle.lose(3).len(), 2, "both maps that it served");
    }
}
