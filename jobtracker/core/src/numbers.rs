//! Numbers for hosts and racks. Messages and records use names; in here, hosts are compared
//! thousands of times for each task placed, and a split has three of them. A number is assigned
//! when a name is first heard and stays for the life of the process: some 250 bytes for each host
//! that ever registered or held a replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{HostName, RackName};

use crate::records::{Home, PlannedSplit};

/// The number of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostNumber(pub(crate) u32);

/// The number of a rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RackNumber(pub(crate) u32);

impl HostNumber {
    /// Index into a list with an element per host.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a replica is: a [`Home`] as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: HostNumber,
    pub(crate) rack: RackNumber,
}

/// The numbers by name.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    hosts: BTreeMap<HostName, HostNumber>,
    racks: BTreeMap<RackName, RackNumber>,
    homes: Homes,
}

impl Numbers {
    /// The number of a host, assigned now if the name is new.
    pub(crate) fn host(&mut self, name: &HostName) -> HostNumber {
        if let Some(known) = self.hosts.get(name) {
            return *known;
        }
        let number = HostNumber(next(self.hosts.len()));
        self.hosts.insert(name.clone(), number);
        number
    }

    /// The same for a rack.
    pub(crate) fn rack(&mut self, name: &RackName) -> RackNumber {
        if let Some(known) = self.racks.get(name) {
            return *known;
        }
        let number = RackNumber(next(self.racks.len()));
        self.racks.insert(name.clone(), number);
        number
    }

    /// The number of a host whose name is known.
    pub(crate) fn known(&self, name: &HostName) -> Option<HostNumber> {
        self.hosts.get(name).copied()
    }

    /// The name of a rack.
    pub(crate) fn rack_name(&self, number: RackNumber) -> Option<&RackName> {
        self.racks.iter().find(|(_, it)| **it == number).map(|(name, _)| name)
    }

    /// The copy of this home that all jobs share, and its place.
    pub(crate) fn home(&mut self, home: &Arc<Home>) -> (Arc<Home>, Place) {
        if let Some((known, place)) = self.homes.get(home) {
            return (Arc::clone(known), *place);
        }
        let place = Place { host: self.host(&home.host), rack: self.rack(&home.rack) };
        self.homes.insert(Arc::clone(home), place);
        (Arc::clone(home), place)
    }
}

/// All homes ever heard of, by a digest of their names: a job with a million maps looks up three
/// million, and each look-up in a tree of ten thousand names takes some twenty string comparisons.
#[derive(Debug, Default)]
struct Homes(BTreeMap<u64, (Arc<Home>, Place)>);

impl Homes {
    fn get(&self, home: &Home) -> Option<&(Arc<Home>, Place)> {
        let at = |key: &u64| self.0.get(key);
        // Nothing is ever removed: a free key ends the probing.
        keys(home).map_while(|key| at(&key)).find(|(known, _)| **known == *home)
    }

    fn insert(&mut self, home: Arc<Home>, place: Place) {
        let free = keys(&home).find(|key| !self.0.contains_key(key));
        self.0.insert(free.expect("2^64 homes take more memory than there is"), (home, place));
    }
}

/// The keys at which a home may be in [`Homes`]: the FNV-1a digest of its names and, in case of
/// collisions, those that follow.
fn keys(home: &Home) -> impl Iterator<Item = u64> {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    // A rack's name begins with a slash, which no host's name contains.
    let bytes = home.host.as_str().bytes().chain(home.rack.as_str().bytes());
    let digest = bytes.fold(BASIS, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(PRIME));
    (0..=u64::MAX).map(move |nth| digest.wrapping_add(nth))
}

fn next(n_known: usize) -> u32 {
    u32::try_from(n_known)
        .expect("a name takes more memory than there are bytes for u32::MAX of them")
}

/// Where the replicas of all splits of a job are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Vec<Place>,
    /// End of each split's places in `all`.
    ends: Vec<u32>,
}

impl Places {
    /// The places of these splits.
    pub(crate) fn of_splits(splits: &[PlannedSplit], numbers: &mut Numbers) -> Self {
        Self::of_each(splits.iter().map(|it| it.homes.iter()), |home| numbers.home(home).1)
    }

    /// Builds the places from each split's homes.
    pub(crate) fn of_each<H>(
        splits: impl ExactSizeIterator<Item = impl Iterator<Item = H>>,
        mut place: impl FnMut(H) -> Place,
    ) -> Self {
        let mut places = Self { all: Vec::new(), ends: Vec::with_capacity(splits.len()) };
        for homes in splits {
            places.all.extend(homes.map(&mut place));
            places.ends.push(u32::try_from(places.all.len()).unwrap_or(u32::MAX));
        }
        places.all.shrink_to_fit();
        places
    }

    /// The places of one split, in the order of its homes.
    pub(crate) fn of(&self, map: u32) -> &[Place] {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let map = map as usize;
        let begin = map.checked_sub(1).map_or(0, end);
        self.all.get(begin..end(map)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::Split;

    use super::*;

    fn home(host: &str, rack: &str) -> Arc<Home> {
        Arc::new(Home { host: host.parse().unwrap(), rack: rack.parse().unwrap() })
    }

    #[test]
    fn a_name_keeps_the_number_that_it_was_given_first() {
        let mut numbers = Numbers::default();
        let (a, b) = (home("a", "/r"), home("b", "/r"));
        assert_eq!(numbers.known(&a.host), None);
        let (first, second) = (numbers.home(&a).1, numbers.home(&b).1);
        assert_ne!(first.host, second.host);
        assert_eq!(first.rack, second.rack);
        let (known, place) = numbers.home(&home("a", "/r"));
        assert_eq!(place, first);
        assert!(Arc::ptr_eq(&known, &a), "there is one of each");
        assert_eq!(numbers.known(&b.host), Some(second.host));
    }

    /// Simulates equal digests: the keys that follow are probed.
    #[test]
    fn homes_of_one_digest_are_told_apart() {
        let all: Vec<_> = (0..3).map(|n| home(&format!("h{n}"), "/r")).collect();
        let place = |n| Place { host: HostNumber(n), rack: RackNumber(0) };
        let mut homes = Homes::default();
        let first = keys(&all[2]).next().unwrap();
        homes.0.insert(first, (Arc::clone(&all[0]), place(0)));
        homes.0.insert(first.wrapping_add(1), (Arc::clone(&all[1]), place(1)));
        assert!(homes.get(&all[2]).is_none());
        homes.insert(Arc::clone(&all[2]), place(2));
        assert_eq!(homes.get(&all[2]).map(|(_, place)| *place), Some(place(2)));
        assert_eq!(homes.0.len(), 3);
    }

    #[test]
    fn each_split_has_its_own_places_and_one_beyond_the_list_none() {
        let homes = [vec![home("a", "/r"), home("b", "/s")], vec![], vec![home("b", "/s")]];
        let split = |homes| PlannedSplit { split: Split { pieces: Vec::new() }, homes };
        let splits: Vec<_> = homes.into_iter().map(split).collect();
        let mut numbers = Numbers::default();
        let places = Places::of_splits(&splits, &mut numbers);
        let (a, b) = (numbers.home(&home("a", "/r")).1, numbers.home(&home("b", "/s")).1);
        assert_eq!(places.of(0), [a, b]);
        assert_eq!(places.of(1), []);
        assert_eq!(places.of(2), [b]);
        assert_eq!(places.of(3), []);
    }
}
