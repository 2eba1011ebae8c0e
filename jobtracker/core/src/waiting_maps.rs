//! A job's waiting maps, indexed by host and rack, so that a free slot finds its map without a look
//! at all of them.

use std::collections::BTreeSet;

use crate::locality::{Locality, PlacementScore};
use crate::numbers::{HostNumber, Place, RackNumber};
use crate::planned_maps::PlannedMaps;

/// Rank of a map among equally near ones, in the order of [`PlacementScore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitKey {
    /// Whether it never ran before.
    pub(crate) first_run: bool,
    /// Its ordinal.
    pub(crate) map: u32,
}

impl WaitKey {
    /// The key of a map that never ran before.
    fn planned(map: u32) -> Self {
        Self { first_run: true, map }
    }
}

/// One job's waiting maps.
#[derive(Debug, Default)]
pub(crate) struct WaitingMaps {
    /// Maps that never ran and have waited since all maps were inserted at once.
    planned: PlannedMaps,
    /// All other waiting maps.
    all: BTreeSet<WaitKey>,
    /// One list each over all hosts and all racks: a list per host would take several times the
    /// memory, as most hosts have only a map or two.
    by_host: BTreeSet<(HostNumber, WaitKey)>,
    by_rack: BTreeSet<(RackNumber, WaitKey)>,
    /// Maps of either kind with no replica on an open host: waiting would not help them.
    homeless: BTreeSet<WaitKey>,
}

impl WaitingMaps {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.planned.len() + self.all.len()
    }

    pub(crate) fn first(&self) -> Option<WaitKey> {
        least(self.all.iter().copied(), self.planned.iter(), |_| true)
    }

    /// Whether some map could run on that host within `limit` of its bytes.
    pub(crate) fn any_within(&self, limit: Locality, host: HostNumber, rack: RackNumber) -> bool {
        let on_host = || self.planned.any_on_host(host) || at(&self.by_host, host).next().is_some();
        let in_rack = || self.planned.any_in_rack(rack) || at(&self.by_rack, rack).next().is_some();
        match limit {
            Locality::NodeLocal => on_host(),
            Locality::RackLocal => on_host() || in_rack(),
            Locality::OffRack => !self.is_empty(),
        }
    }

    /// Whether some map has no replica on an open host.
    pub(crate) fn any_homeless(&self) -> bool {
        !self.homeless.is_empty()
    }

    /// Whether that map has no replica on an open host.
    pub(crate) fn is_homeless(&self, map: u32) -> bool {
        let is_it = |first_run| self.homeless.contains(&WaitKey { first_run, map });
        is_it(true) || is_it(false)
    }

    pub(crate) fn contains(&self, key: WaitKey) -> bool {
        self.all.contains(&key) || (key.first_run && self.planned.contains(key.map))
    }

    /// Maps that start to wait all at once, such as those of a newly planned job, each with the
    /// places of its bytes.
    pub(crate) fn all_at_once<P: Iterator<Item = Place>>(
        maps: impl Iterator<Item = (WaitKey, P)>,
        is_open: impl Fn(HostNumber) -> bool,
    ) -> Self {
        let mut waiting = Self::default();
        let (mut planned, mut replicas) = (Vec::new(), Vec::new());
        for (key, places) in maps {
            if !key.first_run {
                waiting.insert(key, places, &is_open);
                continue;
            }
            planned.push(key.map);
            let n_before = replicas.len();
            replicas.extend(places.map(|place| (key.map, place)));
            if !replicas[n_before..].iter().any(|(_, place)| is_open(place.host)) {
                waiting.homeless.insert(key);
            }
        }
        waiting.planned = PlannedMaps::new(&planned, &replicas);
        waiting
    }

    /// Adds a map with bytes at `places` (except those that it avoids).
    pub(crate) fn insert(
        &mut self,
        key: WaitKey,
        places: impl Iterator<Item = Place>,
        is_open: impl Fn(HostNumber) -> bool,
    ) {
        if self.contains(key) {
            return;
        }
        let mut homeless = true;
        self.all.insert(key);
        for Place { host, rack } in places {
            homeless &= !is_open(host);
            self.by_host.insert((host, key));
            self.by_rack.insert((rack, key));
        }
        if homeless {
            self.homeless.insert(key);
        }
    }

    /// Removes a map; `places` may be a superset of those given at insertion.
    pub(crate) fn remove(&mut self, key: WaitKey, places: &[Place]) {
        let was_planned = key.first_run && self.planned.remove(key.map, places);
        if was_planned || self.all.remove(&key) {
            self.homeless.remove(&key);
        }
        if was_planned {
            return;
        }
        for Place { host, rack } in places {
            self.by_host.remove(&(*host, key));
            self.by_rack.remove(&(*rack, key));
        }
    }

    /// `host` takes new attempts from now on: maps with a replica there are no longer homeless.
    pub(crate) fn on_host_open(&mut self, host: HostNumber) {
        let planned = self.planned.on_host(host).map(WaitKey::planned);
        for key in at(&self.by_host, host).chain(planned) {
            self.homeless.remove(&key);
        }
    }

    /// `host` takes no new attempts from now on; `at_home` says whether a map has a replica on
    /// another open host.
    pub(crate) fn on_host_closed(&mut self, host: HostNumber, at_home: impl Fn(u32) -> bool) {
        let planned = self.planned.on_host(host).map(WaitKey::planned);
        let here = at(&self.by_host, host).chain(planned).filter(|key| !at_home(key.map));
        self.homeless.extend(here);
    }

    /// The best map for a slot on `host`, no farther from its bytes than `limit` unless it is
    /// homeless; none that `avoids` this host.
    pub(crate) fn choose(
        &self,
        host: HostNumber,
        rack: RackNumber,
        limit: Locality,
        avoids: impl Fn(u32) -> bool,
    ) -> Option<PlacementScore> {
        let score = |locality, homeless| {
            move |key: WaitKey| {
                let WaitKey { first_run, map } = key;
                PlacementScore { first_run, locality, map, homeless }
            }
        };
        let welcome = |key: &WaitKey| !avoids(key.map);
        let local = least(at(&self.by_host, host), self.planned.on_host(host), welcome);
        let homeless = self.homeless.iter().copied().find(welcome).map(|key| {
            let near =
                self.by_rack.contains(&(rack, key)) || self.planned.is_in_rack(key.map, rack);
            score(if near { Locality::RackLocal } else { Locality::OffRack }, true)(key)
        });
        let near = (limit >= Locality::RackLocal)
            .then(|| least(at(&self.by_rack, rack), self.planned.in_rack(rack), welcome));
        let any = (limit >= Locality::OffRack)
            .then(|| least(self.all.iter().copied(), self.planned.iter(), welcome));
        [
            local.map(score(Locality::NodeLocal, false)),
            homeless,
            near.flatten().map(score(Locality::RackLocal, false)),
            any.flatten().map(score(Locality::OffRack, false)),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// The maps at one place, except planned ones.
fn at<K: Ord + Copy>(index: &BTreeSet<(K, WaitKey)>, place: K) -> impl Iterator<Item = WaitKey> {
    let first = (place, WaitKey { first_run: false, map: 0 });
    index.range(first..).take_while(move |(other, _)| *other == place).map(|(_, key)| *key)
}

/// The first map of both lists that is welcome.
fn least(
    mut others: impl Iterator<Item = WaitKey>,
    planned: impl Iterator<Item = u32>,
    welcome: impl Fn(&WaitKey) -> bool,
) -> Option<WaitKey> {
    let other = others.find(&welcome);
    match other {
        // A map that ran before sorts first anyway.
        Some(WaitKey { first_run: false, .. }) => other,
        _ => planned.map(WaitKey::planned).find(&welcome).into_iter().chain(other).min(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const A: HostNumber = HostNumber(0);
    const B: HostNumber = HostNumber(1);
    const C: HostNumber = HostNumber(2);
    const D: HostNumber = HostNumber(3);
    const Z: HostNumber = HostNumber(25);
    const R1: RackNumber = RackNumber(1);
    const R2: RackNumber = RackNumber(2);
    const R3: RackNumber = RackNumber(3);
    const R9: RackNumber = RackNumber(9);

    fn place(host: HostNumber, rack: RackNumber) -> Place {
        Place { host, rack }
    }

    fn key(map: u32) -> WaitKey {
        WaitKey { first_run: true, map }
    }

    /// Map 0 has its bytes on a/r1, map 1 on b/r1, map 2 on c/r2, map 3 on z/r9; a, b and c take
    /// attempts.
    fn waiting() -> WaitingMaps {
        let mut waiting = WaitingMaps::default();
        let places = [place(A, R1), place(B, R1), place(C, R2), place(Z, R9)];
        for (map, place) in (0..).zip(places) {
            waiting.insert(key(map), [place].into_iter(), |host| host != Z);
        }
        waiting
    }

    fn chosen(
        waiting: &WaitingMaps,
        host: HostNumber,
        rack: RackNumber,
        limit: Locality,
    ) -> Option<u32> {
        waiting.choose(host, rack, limit, |_| false).map(|score| score.map)
    }

    /// The waiting maps without an index: where their bytes are, and whether they are homeless.
    #[derive(Default)]
    struct Plain(BTreeMap<WaitKey, (Vec<Place>, bool)>);

    impl Plain {
        fn choose(
            &self,
            host: HostNumber,
            rack: RackNumber,
            limit: Locality,
            avoids: impl Fn(u32) -> bool,
        ) -> Option<PlacementScore> {
            let welcome = || self.0.iter().filter(|(key, _)| !avoids(key.map));
            let near = |places: &[Place]| places.iter().any(|place| place.rack == rack);
            let mut scores = Vec::new();
            for (WaitKey { first_run, map }, (places, _)) in welcome() {
                let locality = match () {
                    () if places.iter().any(|place| place.host == host) => Locality::NodeLocal,
                    () if near(places) => Locality::RackLocal,
                    () => Locality::OffRack,
                };
                let (first_run, map, homeless) = (*first_run, *map, false);
                scores.push(PlacementScore { first_run, locality, map, homeless });
            }
            scores.retain(|score| score.locality <= limit);
            if let Some((key, (places, _))) = welcome().find(|(_, (_, homeless))| *homeless) {
                let locality = if near(places) { Locality::RackLocal } else { Locality::OffRack };
                let (first_run, map, homeless) = (key.first_run, key.map, true);
                scores.push(PlacementScore { first_run, locality, map, homeless });
            }
            scores.into_iter().min()
        }

        fn set_homeless(&mut self, at: HostNumber, homeless: impl Fn(u32) -> bool) {
            for (key, (places, is_homeless)) in &mut self.0 {
                if places.iter().any(|place| place.host == at) && homeless(key.map) != *is_homeless
                {
                    *is_homeless = homeless(key.map);
                }
            }
        }
    }

    /// Two indexes, one built at once and one map by map, are changed alike and must always give
    /// the same answers, and the same as a plain list of the maps.
    #[test]
    fn maps_that_wait_all_at_once_are_found_as_those_that_came_one_by_one() {
        let place = |n: u32| place(HostNumber(n % 7), RackNumber(n % 3));
        let places = |map: u32| match map % 4 {
            0 => vec![],
            1 => vec![place(map)],
            _ => vec![place(map), place(map * 7 + 1), place(map * 7 + 1), place(map * 3)],
        };
        let key = |map: u32| WaitKey { first_run: map % 10 != 9, map };
        let all: Vec<_> = (0..300).map(|map| (key(map), places(map))).collect();
        let is_open = |host: HostNumber| host != HostNumber(3);
        let mut one_by_one = WaitingMaps::default();
        for (key, places) in &all {
            one_by_one.insert(*key, places.iter().copied(), is_open);
        }
        let maps = all.iter().map(|(key, places)| (*key, places.iter().copied()));
        let mut at_once = WaitingMaps::all_at_once(maps, is_open);
        let homeless = |places: &[Place]| !places.iter().any(|place| is_open(place.host));
        let plain = all.iter().map(|(key, places)| (*key, (places.clone(), homeless(places))));
        let mut plain = Plain(plain.collect());
        // First from the front, then in scattered order; some come back as maps that ran before.
        let gone = (0..100_usize).chain((100..300).map(|n| 100 + n * 73 % 200));
        for (nth, gone) in gone.enumerate() {
            for waiting in [&mut one_by_one, &mut at_once] {
                waiting.remove(all[gone].0, &all[gone].1);
                match nth % 50 {
                    7 => waiting.insert(
                        WaitKey { first_run: false, map: all[gone].0.map },
                        all[gone].1.iter().copied(),
                        is_open,
                    ),
                    20 => waiting.on_host_closed(HostNumber(5), |map| map % 2 == 0),
                    30 => waiting.on_host_open(HostNumber(5)),
                    _ => {}
                }
            }
            plain.0.remove(&all[gone].0);
            match nth % 50 {
                7 => {
                    let (key, places) = (WaitKey { first_run: false, ..all[gone].0 }, &all[gone].1);
                    plain.0.entry(key).or_insert_with(|| (places.clone(), homeless(places)));
                }
                // A homeless map stays so; others become homeless if they have no other home.
                20 => {
                    let were: BTreeSet<u32> =
                        plain.0.iter().filter(|(_, it)| it.1).map(|(key, _)| key.map).collect();
                    plain.set_homeless(HostNumber(5), |map| map % 2 != 0 || were.contains(&map));
                }
                30 => plain.set_homeless(HostNumber(5), |_| false),
                _ => {}
            }
            assert_eq!(one_by_one.len(), at_once.len());
            assert_eq!(plain.0.len(), at_once.len());
            assert_eq!(one_by_one.first(), at_once.first());
            for (host, rack) in (0..8).flat_map(|host| (0..4).map(move |rack| (host, rack))) {
                for limit in [Locality::NodeLocal, Locality::RackLocal, Locality::OffRack] {
                    let chosen = |waiting: &WaitingMaps| {
                        let (host, rack) = (HostNumber(host), RackNumber(rack));
                        waiting.choose(host, rack, limit, |map| map % 5 == host.0)
                    };
                    let (at, within) = (HostNumber(host), RackNumber(rack));
                    let expected = plain.choose(at, within, limit, |map| map % 5 == host);
                    assert_eq!(chosen(&at_once), expected, "{nth} {host} {rack} {limit:?}");
                    assert_eq!(chosen(&one_by_one), expected, "{nth} {host} {rack} {limit:?}");
                }
            }
            for (key, _) in &all {
                assert_eq!(one_by_one.contains(*key), at_once.contains(*key));
                assert_eq!(one_by_one.is_homeless(key.map), at_once.is_homeless(key.map));
            }
        }
        assert_eq!(at_once.len(), 6, "those that came back");
    }

    #[test]
    fn a_slot_takes_the_nearest_map_within_the_limit() {
        let mut waiting = waiting();
        assert_eq!(chosen(&waiting, B, R1, Locality::NodeLocal), Some(1));
        assert_eq!(chosen(&waiting, D, R1, Locality::NodeLocal), Some(3), "the homeless one");
        waiting.remove(key(3), &[place(Z, R9)]);
        assert_eq!(chosen(&waiting, D, R2, Locality::NodeLocal), None);
        assert_eq!(chosen(&waiting, D, R2, Locality::RackLocal), Some(2));
        assert_eq!(chosen(&waiting, D, R3, Locality::RackLocal), None);
        assert_eq!(chosen(&waiting, D, R3, Locality::OffRack), Some(0));
    }

    #[test]
    fn maps_that_ran_before_come_first() {
        let mut waiting = WaitingMaps::default();
        let places = || [place(A, R1)].into_iter();
        waiting.insert(key(0), places(), |_| true);
        waiting.insert(WaitKey { first_run: false, map: 9 }, places(), |_| true);
        assert_eq!(chosen(&waiting, A, R1, Locality::NodeLocal), Some(9));
    }

    #[test]
    fn a_map_is_homeless_while_no_host_of_its_bytes_takes_attempts() {
        let mut waiting = waiting();
        waiting.on_host_closed(A, |_| false);
        assert_eq!(chosen(&waiting, D, R3, Locality::NodeLocal), Some(0));
        waiting.on_host_open(A);
        assert_eq!(chosen(&waiting, D, R3, Locality::NodeLocal), Some(3));
    }
}
