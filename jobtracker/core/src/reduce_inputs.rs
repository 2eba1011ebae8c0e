//! Where the input of a job's reduces is, as reported by its maps: an estimate in little memory,
//! however many maps, reduces and hosts there are. Soft state: what maps reported to an earlier
//! process is lost. `waiting_reduces` decides which reduce waits for which slot because of it.

use std::collections::BTreeMap;

use mapreduce_protocol::{HEAVY_PARTITIONS_MAX, OutputSizes};

use crate::locality::Locality;
use crate::numbers::{HostNumber, Place, RackNumber};

/// The share of its input that a place must hold to be a reduce's home. If two hosts share it
/// evenly, each has half, and one is as good as the other.
const HOME_SHARE: f64 = 0.6;
/// Number of places counted per partition. A place that is not counted has at most an eighth of the
/// bytes, and the count of one that is may be too high by at most as much (Metwally et al.,
/// "Efficient computation of frequent and top-k elements in data streams", ICDT 2005).
const PLACES_MAX: usize = 8;

/// The nearest place with most of a reduce's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReduceHome {
    pub(crate) at: HomePlace,
    /// Share of the input that is there, 0 to 1.
    pub(crate) share: f64,
    /// Bytes that are there.
    pub(crate) bytes: f64,
}

impl ReduceHome {
    /// How near a host is to it.
    pub(crate) fn seen_from(&self, host: HostNumber, rack: Option<RackNumber>) -> Locality {
        let (home, homes_rack) = match self.at {
            HomePlace::Host(place) => (Some(place.host), place.rack),
            HomePlace::Rack(rack) => (None, rack),
        };
        if home == Some(host) {
            Locality::NodeLocal
        } else if rack == Some(homes_rack) {
            Locality::RackLocal
        } else {
            Locality::OffRack
        }
    }
}

/// A reduce's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HomePlace {
    /// One host.
    Host(Place),
    /// Several hosts of one rack.
    Rack(RackNumber),
}

/// Bytes by place, for the heaviest places.
#[derive(Clone, Debug)]
struct Counted<P>(Vec<(P, f64)>);

impl<P> Default for Counted<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Copy + PartialEq> Counted<P> {
    fn add(&mut self, place: P, bytes: f64) {
        if let Some((_, counted)) = self.0.iter_mut().find(|(known, _)| *known == place) {
            *counted += bytes;
        } else if self.0.len() < PLACES_MAX {
            self.0.push((place, bytes));
        } else if let Some(least) = self.0.iter_mut().min_by(|a, b| a.1.total_cmp(&b.1)) {
            *least = (place, least.1 + bytes);
        }
    }

    fn of(&self, place: P) -> f64 {
        self.0.iter().find(|(known, _)| *known == place).map_or(0.0, |(_, bytes)| *bytes)
    }

    fn forget(&mut self, is_gone: impl Fn(P) -> bool) {
        self.0.retain(|(place, _)| !is_gone(*place));
    }

    /// The place with the most bytes in this count and `other` together.
    fn most_with(&self, other: &Self) -> Option<(P, f64)> {
        let places = self.0.iter().chain(&other.0).map(|(place, _)| *place);
        let both = places.map(|place| (place, self.of(place) + other.of(place)));
        both.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// A number of bytes, and where they are.
#[derive(Clone, Debug, Default)]
struct Spread {
    bytes: f64,
    hosts: Counted<Place>,
    racks: Counted<RackNumber>,
}

impl Spread {
    fn add(&mut self, place: Place, bytes: f64) {
        self.bytes += bytes;
        self.hosts.add(place, bytes);
        self.racks.add(place.rack, bytes);
    }
}

/// The input of all reduces of one job.
#[derive(Debug, Default)]
pub(crate) struct ReduceInputs {
    n_maps: f64,
    n_reduces: f64,
    /// Number of reports from maps; one that ran again counts again.
    n_told: u32,
    /// Bytes of all partitions that they reported.
    bytes: f64,
    /// The part that each partition has if no map names it as heavy.
    even: Spread,
    /// What heavy partitions have beyond that.
    named: BTreeMap<u32, Spread>,
}

impl ReduceInputs {
    /// The inputs of a job before any map has reported.
    pub(crate) fn new(n_maps: usize, n_reduces: usize) -> Self {
        Self { n_maps: n_maps as f64, n_reduces: n_reduces as f64, ..Self::default() }
    }

    /// Number of reports from maps.
    pub(crate) fn n_told(&self) -> u32 {
        self.n_told
    }

    /// A map has left its output at `place`. The sizes come from the task: impossible values are
    /// ignored.
    pub(crate) fn add(&mut self, place: Place, sizes: &OutputSizes) {
        let bytes = sizes.bytes as f64;
        let is_one = |(partition, of_it): &&(u32, u64)| {
            f64::from(*partition) < self.n_reduces && *of_it <= sizes.bytes
        };
        let heavy: BTreeMap<u32, u64> =
            sizes.heavy.iter().take(HEAVY_PARTITIONS_MAX).filter(is_one).copied().collect();
        let of_heavy: f64 = heavy.values().map(|of_it| *of_it as f64).sum();
        let n_others = (self.n_reduces - heavy.len() as f64).max(1.0);
        let of_each_other = (bytes - of_heavy).max(0.0) / n_others;
        self.n_told = self.n_told.saturating_add(1);
        self.bytes += bytes;
        self.even.add(place, of_each_other);
        for (partition, of_it) in heavy {
            let more = (of_it as f64 - of_each_other).max(0.0);
            self.named.entry(partition).or_default().add(place, more);
        }
    }

    /// Bytes of a partition in the reported map outputs; a map that ran again counts twice.
    pub(crate) fn bytes(&self, partition: u32) -> u64 {
        let beside = self.named.get(&partition).map_or(0.0, |spread| spread.bytes);
        (self.even.bytes + beside) as u64
    }

    /// Data on `host` is lost; what is made again will be reported again.
    pub(crate) fn forget(&mut self, host: HostNumber) {
        for spread in self.named.values_mut().chain([&mut self.even]) {
            spread.hosts.forget(|place| place.host == host);
        }
    }

    /// Where most of a reduce's input is, if one place has much more of it than others.
    pub(crate) fn home(&self, partition: u32) -> Option<ReduceHome> {
        let heaviest = self.heaviest(partition).into_iter().flatten();
        heaviest.into_iter().find(|home| home.share >= HOME_SHARE)
    }

    /// The host with most of a reduce's input, and the rack with most.
    pub(crate) fn heaviest(&self, partition: u32) -> [Option<ReduceHome>; 2] {
        let nothing = Spread::default();
        let beside = self.named.get(&partition).unwrap_or(&nothing);
        let known = self.even.bytes + beside.bytes;
        // Its expected size if the other maps make as much; where that will be is unknown.
        let to_come = self.bytes / f64::from(self.n_told.max(1)) * self.n_maps / self.n_reduces;
        let expected = known.max(to_come);
        let at = |at: HomePlace, bytes: f64| {
            (bytes > 0.0).then(|| ReduceHome { at, bytes, share: (bytes / expected).min(1.0) })
        };
        let host = self.even.hosts.most_with(&beside.hosts);
        let rack = self.even.racks.most_with(&beside.racks);
        [
            host.and_then(|(place, bytes)| at(HomePlace::Host(place), bytes)),
            rack.and_then(|(rack, bytes)| at(HomePlace::Rack(rack), bytes)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: u32) -> Place {
        Place { host: HostNumber(host), rack: RackNumber(host / 100) }
    }

    /// A map's host, what it made, and its heavy partitions.
    type Told<'a> = (u32, u64, &'a [(u32, u64)]);

    /// Numbers of maps and reduces, and the reports of maps.
    fn inputs((n_maps, n_reduces): (usize, usize), maps: &[Told<'_>]) -> ReduceInputs {
        let mut inputs = ReduceInputs::new(n_maps, n_reduces);
        for (host, bytes, heavy) in maps {
            inputs.add(place(*host), &OutputSizes { bytes: *bytes, heavy: heavy.to_vec() });
        }
        inputs
    }

    fn home(inputs: &ReduceInputs, partition: u32) -> Option<HomePlace> {
        inputs.home(partition).map(|home| home.at)
    }

    fn host(n: u32) -> Option<HomePlace> {
        Some(HomePlace::Host(place(n)))
    }

    #[test]
    fn one_host_that_made_all_is_home_of_all() {
        let all = inputs((2, 3), &[(7, 300, &[]), (7, 300, &[])]);
        assert!((0..3).all(|reduce| home(&all, reduce) == host(7)));
        assert_eq!(all.home(0).map(|home| (home.share, home.bytes)), Some((1.0, 200.0)));
    }

    #[test]
    fn hosts_that_share_evenly_are_nobodys_home() {
        for n_hosts in 2..20 {
            let maps: Vec<_> = (0..n_hosts).map(|n| (100 * n, 300, &[][..])).collect();
            let even = inputs((maps.len(), 3), &maps);
            assert_eq!(home(&even, 0), None, "{n_hosts} hosts, each in a rack of its own");
        }
        let more =
            inputs((5, 1), &[(1, 59, &[]), (200, 41, &[]), (1, 0, &[]), (1, 0, &[]), (1, 0, &[])]);
        assert_eq!(home(&more, 0), None, "one has a little more than the other");
    }

    #[test]
    fn a_rack_is_home_where_no_host_of_it_is() {
        let maps: Vec<_> = (0..4).map(|n| (n, 100, &[][..])).chain([(250, 100, &[][..])]).collect();
        let inputs = inputs((5, 1), &maps);
        assert_eq!(home(&inputs, 0), Some(HomePlace::Rack(RackNumber(0))));
    }

    #[test]
    fn sorted_input_gives_each_reduce_the_host_of_its_part() {
        let heavy: Vec<[(u32, u64); 1]> = (0..9).map(|n| [(n, 100)]).collect();
        let maps: Vec<_> = (0..9).map(|n| (100 * n, 100, &heavy[n as usize][..])).collect();
        let sorted = inputs((9, 9), &maps);
        assert!((0..9).all(|reduce| home(&sorted, reduce) == host(100 * reduce)));
        // A reduce whose partition was reported is not expected to get more; others are not known
        // yet.
        let early = inputs((9, 9), &maps[..2]);
        assert_eq!((home(&early, 1), home(&early, 2)), (host(100), None));
    }

    #[test]
    fn what_the_first_maps_say_is_weighed_by_those_that_have_not_told() {
        let first = [(1, 300, &[][..]), (1, 300, &[][..])];
        assert_eq!(home(&inputs((20, 3), &first), 0), None);
        assert_eq!(home(&inputs((3, 3), &first), 0), host(1), "two thirds of all");
    }

    #[test]
    fn what_lay_on_a_lost_host_is_made_elsewhere() {
        let mut inputs = inputs((2, 1), &[(1, 900, &[(0, 900)]), (200, 100, &[])]);
        assert_eq!(home(&inputs, 0), host(1));
        inputs.forget(HostNumber(1));
        assert_ne!(home(&inputs, 0), host(1));
    }

    #[test]
    fn a_heavy_place_is_found_among_many_whatever_their_order() {
        for heavy_at in [0, 1, 150, 299] {
            let maps: Vec<_> = (0..300).map(|n| 100 * (n + 1)).collect();
            let mut inputs = ReduceInputs::new(301, 1);
            for (n, light) in (0..).zip(&maps) {
                if n == heavy_at {
                    inputs.add(place(7), &OutputSizes { bytes: 700, heavy: vec![] });
                }
                inputs.add(place(*light), &OutputSizes { bytes: 1, heavy: vec![] });
            }
            assert_eq!(home(&inputs, 0), host(7), "told as number {heavy_at}");
        }
    }

    #[test]
    fn a_task_that_tells_what_can_not_be_changes_nothing_else() {
        let nonsense: Vec<(u32, u64)> =
            (0..40).map(|n| (n * 1000, u64::MAX - u64::from(n))).collect();
        let inputs = inputs((1, 2), &[(1, 10, &nonsense)]);
        assert_eq!(inputs.home(0).map(|home| home.bytes), Some(5.0));
        assert!(inputs.named.is_empty());
    }
}
