//! Maps that begin to wait all at once, as all of a job do when it has been planned. None of them comes back once it is gone, so
//! that sorted lists will do: each replica takes eight bytes and each rack of it too, a third of what trees take.

use crate::numbers::{HostNumber, Place, RackNumber};

/// Those of a job that still wait, by ordinal, host and rack.
#[derive(Debug, Default)]
pub(crate) struct PlannedMaps {
    /// A bit for each map of the job: whether it is here.
    waits: Waits,
    len: usize,
    by_host: SortedMaps<HostNumber>,
    by_rack: SortedMaps<RackNumber>,
}

/// A host or rack, by which maps are found.
trait Number: Copy + Ord {
    fn number(self) -> u32;
}

impl Number for HostNumber {
    fn number(self) -> u32 {
        self.0
    }
}

impl Number for RackNumber {
    fn number(self) -> u32 {
        self.0
    }
}

impl PlannedMaps {
    /// These maps, each with the places of its bytes.
    pub(crate) fn new(maps: &[u32], places: &[(u32, Place)]) -> Self {
        let mut waits = Waits::default();
        maps.iter().for_each(|map| waits.insert(*map));
        Self {
            waits,
            len: maps.len(),
            by_host: SortedMaps::of(places.iter().map(|(map, place)| (place.host, *map))),
            by_rack: SortedMaps::of(places.iter().map(|(map, place)| (place.rack, *map))),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, map: u32) -> bool {
        self.waits.contains(map)
    }

    /// All, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.waits.iter()
    }

    /// Those with bytes on a host, in their order.
    pub(crate) fn on_host(&self, host: HostNumber) -> impl Iterator<Item = u32> {
        self.by_host.at(host, &self.waits)
    }

    /// Those with bytes in a rack, in their order.
    pub(crate) fn in_rack(&self, rack: RackNumber) -> impl Iterator<Item = u32> {
        self.by_rack.at(rack, &self.waits)
    }

    /// Whether a map, if it waits, has bytes in a rack.
    pub(crate) fn is_in_rack(&self, map: u32, rack: RackNumber) -> bool {
        self.waits.contains(map) && self.by_rack.holds(rack, map)
    }

    /// Takes a map out, whose bytes are at `places`; whether it was here.
    pub(crate) fn remove(&mut self, map: u32, places: &[Place]) -> bool {
        if !self.waits.remove(map) {
            return false;
        }
        self.len -= 1;
        if self.len == 0 {
            // The job goes on for long, and its lists would stay.
            *self = Self::default();
            return true;
        }
        for Place { host, rack } in places {
            self.by_host.settle(*host, &self.waits);
            self.by_rack.settle(*rack, &self.waits);
        }
        true
    }
}

/// A set of numbers that only gets smaller.
#[derive(Debug, Default)]
struct Waits {
    words: Vec<u64>,
    /// Words before this one are empty.
    first_word: usize,
}

impl Waits {
    fn insert(&mut self, map: u32) {
        let (word, bit) = Self::place(map);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    fn contains(&self, map: u32) -> bool {
        let (word, bit) = Self::place(map);
        self.words.get(word).is_some_and(|it| it & bit != 0)
    }

    fn remove(&mut self, map: u32) -> bool {
        let (word, bit) = Self::place(map);
        let Some(it) = self.words.get_mut(word).filter(|it| **it & bit != 0) else { return false };
        *it &= !bit;
        while self.words.get(self.first_word) == Some(&0) {
            self.first_word += 1;
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0_u32..).zip(&self.words).skip(self.first_word);
        words.flat_map(|(at, word)| {
            let after = |left: &u64| Some(left & (left - 1)).filter(|left| *left != 0);
            let lefts = std::iter::successors(Some(*word).filter(|word| *word != 0), after);
            lefts.map(move |left| at * u64::BITS + left.trailing_zeros())
        })
    }

    fn place(map: u32) -> (usize, u64) {
        ((map / u64::BITS) as usize, 1 << (map % u64::BITS))
    }
}

/// Maps by place, then by ordinal. Those that are gone stay in the list; the first entry of each place leads over those that
/// have gone before the first one that waits.
#[derive(Debug)]
struct SortedMaps<P> {
    /// Places that have one which waits. Most hosts have none of a job's maps, and every job is asked for each free slot:
    /// a bit says so sooner than a search.
    places: Waits,
    entries: Box<[(P, Link)]>,
}

/// What stands behind a place: a map, or instead of the place's first one, once that is gone, where the first one that waits stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link(u32);

/// Marks a link that leads on. No job has so many maps, nor so many replicas of them.
const LEADS_ON: u32 = 1 << 31;

impl Link {
    fn map(map: u32) -> Self {
        assert!(map < LEADS_ON, "a job has less than 2^31 maps");
        Self(map)
    }

    fn to(index: usize) -> Self {
        let index = u32::try_from(index).ok().filter(|index| *index < LEADS_ON);
        Self(index.expect("a job has less than 2^31 replicas") | LEADS_ON)
    }

    /// Where it leads, if it does.
    fn target(self) -> Option<usize> {
        (self.0 & LEADS_ON != 0).then_some((self.0 & !LEADS_ON) as usize)
    }
}

impl<P> Default for SortedMaps<P> {
    fn default() -> Self {
        Self { places: Waits::default(), entries: Box::default() }
    }
}

impl<P: Number> SortedMaps<P> {
    fn of(maps: impl Iterator<Item = (P, u32)>) -> Self {
        let mut entries: Vec<_> = maps.map(|(place, map)| (place, Link::map(map))).collect();
        entries.sort_unstable();
        entries.dedup();
        let mut places = Waits::default();
        entries.iter().for_each(|(place, _)| places.insert(place.number()));
        Self { places, entries: entries.into_boxed_slice() }
    }

    /// Where the entries of a place begin.
    fn begin(&self, place: P) -> usize {
        self.entries.partition_point(|(other, _)| *other < place)
    }

    /// Where its first one stands that may still wait.
    fn first(&self, begin: usize) -> usize {
        self.entries.get(begin).and_then(|(_, link)| link.target()).unwrap_or(begin)
    }

    /// Those of a place that wait.
    fn at(&self, place: P, waits: &Waits) -> impl Iterator<Item = u32> {
        let is_here = self.places.contains(place.number());
        let first = if is_here { self.first(self.begin(place)) } else { self.entries.len() };
        let here = self.entries[first..].iter().take_while(move |(other, _)| *other == place);
        here.map(|(_, link)| link.0).filter(|map| waits.contains(*map))
    }

    /// Whether a map that waits is one of a place's.
    fn holds(&self, place: P, map: u32) -> bool {
        if !self.places.contains(place.number()) {
            return false;
        }
        let end = self.entries.partition_point(|(other, _)| *other <= place);
        let here = self.entries.get(self.first(self.begin(place))..end).unwrap_or_default();
        here.binary_search_by_key(&Link(map), |(_, link)| *link).is_ok()
    }

    /// A map of a place is gone: its first entry leads to the first one that waits, so that nobody walks over the others again.
    fn settle(&mut self, place: P, waits: &Waits) {
        if !self.places.contains(place.number()) {
            return;
        }
        let begin = self.begin(place);
        let is_gone = |(other, link): &&(P, Link)| *other == place && !waits.contains(link.0);
        let mut first = self.first(begin);
        while self.entries.get(first).as_ref().is_some_and(is_gone) {
            first += 1;
        }
        if self.entries.get(first).is_none_or(|(other, _)| *other != place) {
            self.places.remove(place.number());
        } else if first != begin {
            self.entries[begin].1 = Link::to(first);
        }
    }
}
