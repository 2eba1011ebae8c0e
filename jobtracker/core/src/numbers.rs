//! Hosts and racks by number. Names are what others say and what records keep; in here a host is compared thousands of times
//! for each task that is placed, and a split has three of them. A number is given when a name is heard first, and stays as long
//! as the process: some 100 bytes for each host that ever registered or held a replica.

use std::collections::BTreeMap;

use ids::{HostName, RackName};

use crate::records::{Home, PlannedSplit};

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostNumber(pub(crate) u32);

/// A rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RackNumber(pub(crate) u32);

impl HostNumber {
    /// Where it is in a list that has a place for each host.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a replica is: a [`Home`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: HostNumber,
    pub(crate) rack: RackNumber,
}

/// Who has which number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    hosts: BTreeMap<HostName, HostNumber>,
    racks: BTreeMap<RackName, RackNumber>,
}

impl Numbers {
    /// The host's number; a new one if it was never heard of.
    pub(crate) fn host(&mut self, name: &HostName) -> HostNumber {
        if let Some(known) = self.hosts.get(name) {
            return *known;
        }
        let number = HostNumber(next(self.hosts.len()));
        self.hosts.insert(name.clone(), number);
        number
    }

    /// The same of a rack.
    pub(crate) fn rack(&mut self, name: &RackName) -> RackNumber {
        if let Some(known) = self.racks.get(name) {
            return *known;
        }
        let number = RackNumber(next(self.racks.len()));
        self.racks.insert(name.clone(), number);
        number
    }

    /// The host's number, if it was heard of.
    pub(crate) fn known(&self, name: &HostName) -> Option<HostNumber> {
        self.hosts.get(name).copied()
    }

    /// The name of a rack.
    pub(crate) fn rack_name(&self, number: RackNumber) -> Option<&RackName> {
        self.racks.iter().find(|(_, it)| **it == number).map(|(name, _)| name)
    }

    fn place(&mut self, home: &Home) -> Place {
        Place { host: self.host(&home.host), rack: self.rack(&home.rack) }
    }
}

fn next(n_known: usize) -> u32 {
    u32::try_from(n_known)
        .expect("a name takes more memory than there are bytes for u32::MAX of them")
}

/// Where the replicas of all splits of a job are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Vec<Place>,
    /// Where those of each split end.
    ends: Vec<u32>,
}

impl Places {
    /// Those of these splits.
    pub(crate) fn of_splits(splits: &[PlannedSplit], numbers: &mut Numbers) -> Self {
        let mut places = Self { all: Vec::new(), ends: Vec::with_capacity(splits.len()) };
        for planned in splits {
            places.all.extend(planned.homes.iter().map(|home| numbers.place(home)));
            places.ends.push(u32::try_from(places.all.len()).unwrap_or(u32::MAX));
        }
        places.all.shrink_to_fit();
        places
    }

    /// Those of one split, in the order of its homes.
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

    fn home(host: &str, rack: &str) -> Home {
        Home { host: host.parse().unwrap(), rack: rack.parse().unwrap() }
    }

    #[test]
    fn a_name_keeps_the_number_that_it_was_given_first() {
        let mut numbers = Numbers::default();
        let (a, b) = (home("a", "/r"), home("b", "/r"));
        assert_eq!(numbers.known(&a.host), None);
        let (first, second) = (numbers.place(&a), numbers.place(&b));
        assert_ne!(first.host, second.host);
        assert_eq!(first.rack, second.rack);
        assert_eq!(numbers.place(&a), first);
        assert_eq!(numbers.known(&b.host), Some(second.host));
    }

    #[test]
    fn each_split_has_its_own_places_and_one_beyond_the_list_none() {
        let homes = [vec![home("a", "/r"), home("b", "/s")], vec![], vec![home("b", "/s")]];
        let split = |homes| PlannedSplit { split: Split { pieces: Vec::new() }, homes };
        let splits: Vec<_> = homes.into_iter().map(split).collect();
        let mut numbers = Numbers::default();
        let places = Places::of_splits(&splits, &mut numbers);
        let (a, b) = (numbers.place(&home("a", "/r")), numbers.place(&home("b", "/s")));
        assert_eq!(places.of(0), [a, b]);
        assert_eq!(places.of(1), []);
        assert_eq!(places.of(2), [b]);
        assert_eq!(places.of(3), []);
    }
}
