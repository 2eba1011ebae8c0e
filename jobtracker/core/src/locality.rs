//! Where a map should run: near its bytes. A job's waiting maps are indexed by host and rack, so that a
//! free slot finds its map without looking at all of them; delay scheduling (Zaharia et al., EuroSys
//! 2010) makes a job decline slots far from its data for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::Monotonic;
use serde::{Deserialize, Serialize};

use crate::numbers::{HostNumber, Place, RackNumber};

/// How near a map runs to its bytes; nearer is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locality {
    /// On a host that holds a replica.
    NodeLocal,
    /// On the rack of one.
    RackLocal,
    /// Elsewhere.
    OffRack,
}

/// What makes one map a better choice for a slot than another: the least score wins, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlacementScore {
    /// Maps that ran before come first: reduces may be waiting for them, and a bad record should fail
    /// its job soon.
    pub(crate) first_run: bool,
    /// Then those near their bytes.
    pub(crate) locality: Locality,
    /// Then in the order of splits.
    pub(crate) map: u32,
    /// Whether no host that takes attempts is any nearer, so that it did not have to wait.
    pub(crate) homeless: bool,
}

impl PlacementScore {
    /// How near it is to its bytes, if it could have been nearer or farther.
    pub(crate) fn chosen(&self) -> Option<Locality> {
        (!self.homeless).then_some(self.locality)
    }
}

/// Place of a map among those equally near: in the order of [`PlacementScore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitKey {
    /// Whether it never ran.
    pub(crate) first_run: bool,
    /// Its ordinal.
    pub(crate) map: u32,
}

/// One job's waiting maps.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct WaitingMaps {
    all: BTreeSet<WaitKey>,
    /// One list each for all hosts and all racks: a list for each would take several times the room, since most have a map
    /// or two.
    by_host: BTreeSet<(HostNumber, WaitKey)>,
    by_rack: BTreeSet<(RackNumber, WaitKey)>,
    /// Those whose bytes are on no host that takes new attempts: waiting would not help them.
    homeless: BTreeSet<WaitKey>,
}

impl WaitingMaps {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn first(&self) -> Option<WaitKey> {
        self.all.first().copied()
    }

    /// Whether that map's bytes are on no host that takes attempts.
    pub(crate) fn is_homeless(&self, map: u32) -> bool {
        let is_it = |first_run| self.homeless.contains(&WaitKey { first_run, map });
        is_it(true) || is_it(false)
    }

    pub(crate) fn contains(&self, key: WaitKey) -> bool {
        self.all.contains(&key)
    }

    /// Maps that begin to wait all at once, as those of a job that was just planned: each with the places of
    /// its bytes, in the order of keys. Sorted lists become sets far faster than key by key.
    pub(crate) fn all_at_once<P: Iterator<Item = Place>>(
        maps: impl Iterator<Item = (WaitKey, P)>,
        is_open: impl Fn(HostNumber) -> bool,
    ) -> Self {
        let (mut all, mut homeless) = (Vec::new(), Vec::new());
        let (mut by_host, mut by_rack) = (Vec::new(), Vec::new());
        for (key, places) in maps {
            all.push(key);
            let mut at_home = false;
            for Place { host, rack } in places {
                at_home = at_home || is_open(host);
                by_host.push((host, key));
                by_rack.push((rack, key));
            }
            if !at_home {
                homeless.push(key);
            }
        }
        Self {
            all: all.into_iter().collect(),
            by_host: by_host.into_iter().collect(),
            by_rack: by_rack.into_iter().collect(),
            homeless: homeless.into_iter().collect(),
        }
    }

    /// Adds a map whose bytes are at `places` (without those that it avoids).
    pub(crate) fn insert(
        &mut self,
        key: WaitKey,
        places: impl Iterator<Item = Place>,
        is_open: impl Fn(HostNumber) -> bool,
    ) {
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

    /// Removes a map; `places` may be more than at the insertion.
    pub(crate) fn remove(&mut self, key: WaitKey, places: &[Place]) {
        if !self.all.remove(&key) {
            return;
        }
        self.homeless.remove(&key);
        for Place { host, rack } in places {
            self.by_host.remove(&(*host, key));
            self.by_rack.remove(&(*rack, key));
        }
    }

    /// `host` takes new attempts from now on: what has bytes there is at home again.
    pub(crate) fn on_host_open(&mut self, host: HostNumber) {
        for key in at(&self.by_host, host) {
            self.homeless.remove(key);
        }
    }

    /// `host` takes no new attempts any more; `at_home` says whether a map has another home that does.
    pub(crate) fn on_host_closed(&mut self, host: HostNumber, at_home: impl Fn(u32) -> bool) {
        let here = at(&self.by_host, host).filter(|key| !at_home(key.map));
        self.homeless.extend(here);
    }

    /// The best map for a slot on `host`, no farther from its bytes than `limit` unless no nearer
    /// tracker lives; none that `avoids` this host.
    pub(crate) fn choose(
        &self,
        host: HostNumber,
        rack: RackNumber,
        limit: Locality,
        avoids: impl Fn(u32) -> bool,
    ) -> Option<PlacementScore> {
        let score = |locality, homeless| {
            move |key: &WaitKey| {
                let WaitKey { first_run, map } = *key;
                PlacementScore { first_run, locality, map, homeless }
            }
        };
        let welcome = |key: &&WaitKey| !avoids(key.map);
        let local = at(&self.by_host, host).next();
        let homeless = self.homeless.iter().find(welcome).map(|key| {
            let near = self.by_rack.contains(&(rack, *key));
            score(if near { Locality::RackLocal } else { Locality::OffRack }, true)(key)
        });
        let mut in_rack =
            (limit >= Locality::RackLocal).then(|| at(&self.by_rack, rack)).into_iter();
        let any = Some(&self.all).filter(|_| limit >= Locality::OffRack).into_iter().flatten();
        [
            local.map(score(Locality::NodeLocal, false)),
            homeless,
            in_rack
                .next()
                .and_then(|mut keys| keys.find(welcome))
                .map(score(Locality::RackLocal, false)),
            any.into_iter().find(welcome).map(score(Locality::OffRack, false)),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// The maps at one place.
fn at<K: Ord + Copy>(index: &BTreeSet<(K, WaitKey)>, place: K) -> impl Iterator<Item = &WaitKey> {
    let first = (place, WaitKey { first_run: false, map: 0 });
    index.range(first..).take_while(move |(other, _)| *other == place).map(|(_, key)| key)
}

/// A job's patience: how far from its bytes its maps may run now.
///
/// It begins at node-local. From the first slot declined since the last launch at that level it waits
/// one `locality_wait`, then takes rack-local slots; after another wait any. A launch at a nearer level
/// brings it back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Locality,
    /// When the first slot was declined at this level.
    declined_at: Option<Monotonic>,
    /// The farthest level at which slots that lie idle have been offered.
    offered: Locality,
    /// Whether a timer is set to look whether it is over.
    watched: bool,
}

/// What has become of a patience when somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether slots are wanted now that have been declined before.
    pub(crate) wants_more: bool,
    /// When to look again.
    pub(crate) again: Option<Monotonic>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: Locality::NodeLocal,
            declined_at: None,
            offered: Locality::NodeLocal,
            watched: false,
        }
    }
}

impl Patience {
    /// The farthest level allowed at `now`.
    pub(crate) fn limit(&mut self, now: Monotonic, wait: Duration) -> Locality {
        while let Some(over) = self.declined_at.map(|at| at + wait).filter(|over| *over <= now) {
            (self.limit, self.declined_at) = match self.limit {
                Locality::NodeLocal => (Locality::RackLocal, Some(over)),
                Locality::RackLocal | Locality::OffRack => (Locality::OffRack, None),
            };
        }
        self.limit
    }

    /// The farthest level allowed at `now`, and when that ends, if somebody has been declined there.
    pub(crate) fn now(&self, now: Monotonic, wait: Duration) -> (Locality, Option<Monotonic>) {
        let mut then = *self;
        let limit = then.limit(now, wait);
        (limit, then.declined_at.map(|at| at + wait))
    }

    /// A slot was declined; when to [`Self::look`], unless that was told before.
    pub(crate) fn decline(&mut self, now: Monotonic, wait: Duration) -> Option<Monotonic> {
        match self.limit {
            Locality::OffRack => None,
            Locality::NodeLocal | Locality::RackLocal => {
                let at = *self.declined_at.get_or_insert(now) + wait;
                (!std::mem::replace(&mut self.watched, true)).then_some(at)
            }
        }
    }

    /// To be called when [`Self::decline`] said so, or this did. A launch in between has begun it anew: so there is one
    /// timer for many launches.
    pub(crate) fn look(&mut self, now: Monotonic, wait: Duration) -> Look {
        let limit = self.limit(now, wait);
        let wants_more = limit > self.offered;
        self.offered = limit;
        let again = self.declined_at.map(|at| at + wait);
        self.watched = again.is_some();
        Look { wants_more, again }
    }

    /// A task was launched so near to its bytes. (`None`: it had no nearer choice, which says nothing of the others.)
    pub(crate) fn launched(&mut self, locality: Option<Locality>) {
        if let Some(limit) = locality {
            let offered = self.offered.min(limit);
            *self = Self { limit, declined_at: None, offered, ..*self };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

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

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    /// Map 0 lives on a/r1, map 1 on b/r1, map 2 on c/r2, map 3 on z/r9; a, b and c take attempts.
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

    #[test]
    fn maps_that_wait_all_at_once_are_indexed_as_one_by_one() {
        let place = |n: u32| place(HostNumber(n % 5), RackNumber(n % 3));
        let places = |map: u32| match map % 4 {
            0 => vec![],
            1 => vec![place(map)],
            _ => vec![place(map), place(map * 7 + 1), place(map * 7 + 1)],
        };
        let all: Vec<_> = (0..100).map(|map| (key(map), places(map))).collect();
        let is_open = |host: HostNumber| host != HostNumber(3);
        let mut one_by_one = WaitingMaps::default();
        for (key, places) in &all {
            one_by_one.insert(*key, places.iter().copied(), is_open);
        }
        let maps = all.iter().map(|(key, places)| (*key, places.iter().copied()));
        assert_eq!(WaitingMaps::all_at_once(maps, is_open), one_by_one);
        for (key, places) in &all {
            one_by_one.remove(*key, places);
        }
        assert_eq!(one_by_one, WaitingMaps::default());
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

    #[test]
    fn one_timer_sees_to_many_launches() {
        let mut patience = Patience::default();
        assert_eq!(patience.decline(at(1000), WAIT), Some(at(2000)));
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.decline(at(1500), WAIT), None, "a timer is set");
        let look = |wants_more, again: Option<u64>| Look { wants_more, again: again.map(at) };
        assert_eq!(patience.look(at(2000), WAIT), look(false, Some(2500)));
        assert_eq!(patience.look(at(2500), WAIT), look(true, Some(3500)), "the rack will do");
        // Somebody asks before the next look.
        assert_eq!(patience.limit(at(3500), WAIT), Locality::OffRack);
        assert_eq!(
            patience.look(at(3500), WAIT),
            look(true, None),
            "whoever was declined has not been asked"
        );
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.decline(at(3600), WAIT), Some(at(4600)));
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.look(at(4600), WAIT), look(false, None));
    }

    #[test]
    fn patience_ends_level_by_level_and_comes_back_with_a_nearer_launch() {
        let mut patience = Patience::default();
        assert_eq!(patience.limit(at(9000), WAIT), Locality::NodeLocal, "nothing was declined");
        assert_eq!(patience.decline(at(9000), WAIT), Some(at(10_000)));
        assert_eq!(patience.decline(at(9500), WAIT), None, "the first one counts");
        assert_eq!(patience.limit(at(9999), WAIT), Locality::NodeLocal);
        assert_eq!(patience.limit(at(10_000), WAIT), Locality::RackLocal);
        assert_eq!(patience.limit(at(11_000), WAIT), Locality::OffRack);
        assert_eq!(patience.decline(at(11_000), WAIT), None);
        patience.launched(None);
        assert_eq!(patience.limit(at(11_000), WAIT), Locality::OffRack);
        patience.launched(Some(Locality::RackLocal));
        assert_eq!(patience.limit(at(99_000), WAIT), Locality::RackLocal);
    }
}
