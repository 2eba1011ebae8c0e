//! Maps that start to wait all at once, as all maps of a newly planned job do. A map that was
//! removed never comes back, so sorted lists suffice: four bytes per replica and four for its rack,
//! a tenth of the memory of trees.

use crate::numbers::{HostNumber, Place, RackNumber};

/// The planned maps of a job that still wait, by ordinal, host and rack.
#[derive(Debug, Default)]
pub(crate) struct PlannedMaps {
    /// One bit per map of the job: whether it still waits.
    waits: Waits,
    len: usize,
    by_host: SortedMaps,
    by_rack: SortedMaps,
}

impl PlannedMaps {
    /// The given maps, each with the places of its bytes.
    pub(crate) fn new(maps: &[u32], places: &[(u32, Place)]) -> Self {
        let mut waits = Waits::default();
        maps.iter().for_each(|map| waits.insert(*map));
        Self {
            waits,
            len: maps.len(),
            by_host: SortedMaps::of(places.iter().map(|(map, place)| (place.host.0, *map))),
            by_rack: SortedMaps::of(places.iter().map(|(map, place)| (place.rack.0, *map))),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, map: u32) -> bool {
        self.waits.contains(map)
    }

    /// All maps, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.waits.iter()
    }

    /// Maps with bytes on a host, in order.
    pub(crate) fn on_host(&self, host: HostNumber) -> impl Iterator<Item = u32> {
        self.by_host.at(host.0, &self.waits)
    }

    /// Maps with bytes in a rack, in order.
    pub(crate) fn in_rack(&self, rack: RackNumber) -> impl Iterator<Item = u32> {
        self.by_rack.at(rack.0, &self.waits)
    }

    /// Whether some map has bytes on a host.
    pub(crate) fn any_on_host(&self, host: HostNumber) -> bool {
        self.by_host.places.contains(host.0)
    }

    /// Whether some map has bytes in a rack.
    pub(crate) fn any_in_rack(&self, rack: RackNumber) -> bool {
        self.by_rack.places.contains(rack.0)
    }

    /// Whether a map still waits and has bytes in a rack.
    pub(crate) fn is_in_rack(&self, map: u32, rack: RackNumber) -> bool {
        self.waits.contains(map) && self.by_rack.holds(rack.0, map)
    }

    /// Removes a map with bytes at `places`; returns whether it was waiting.
    pub(crate) fn remove(&mut self, map: u32, places: &[Place]) -> bool {
        if !self.waits.remove(map) {
            return false;
        }
        self.len -= 1;
        if self.len == 0 {
            // The job may go on for long, and the lists would stay in memory.
            *self = Self::default();
            return true;
        }
        for Place { host, rack } in places {
            self.by_host.settle(host.0, &self.waits);
            self.by_rack.settle(rack.0, &self.waits);
        }
        true
    }
}

/// A set of numbers that only shrinks.
#[derive(Debug, Default)]
struct Waits {
    words: Vec<u64>,
    /// All words before this one are empty.
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

/// An immutable set of numbers that can tell how many of its members are less than a given one.
#[derive(Debug, Default)]
struct Ranks(Box<[RankWord]>);

/// 64 consecutive numbers, as bits.
#[derive(Clone, Copy, Debug, Default)]
struct RankWord {
    bits: u64,
    /// Number of members in the words before.
    before: u32,
}

impl Ranks {
    /// The set of these numbers, which must come in ascending order.
    fn of(numbers: impl Iterator<Item = u32>) -> Self {
        let mut words: Vec<RankWord> = Vec::new();
        for number in numbers {
            let (word, bit) = Waits::place(number);
            if words.len() <= word {
                let before = words.last().map_or(0, |last| last.before + last.bits.count_ones());
                words.resize(word + 1, RankWord { bits: 0, before });
            }
            words[word].bits |= bit;
        }
        Self(words.into_boxed_slice())
    }

    /// How many members are less than `number`, which must be a member.
    fn rank(&self, number: u32) -> usize {
        let (word, bit) = Waits::place(number);
        let RankWord { bits, before } = self.0[word];
        (before + (bits & (bit - 1)).count_ones()) as usize
    }
}

/// Maps sorted by place, then by ordinal. Removed maps stay in the list; the first entry of each
/// place links past the removed ones to the first that still waits.
#[derive(Debug, Default)]
struct SortedMaps {
    /// Places with a waiting map. Most hosts have none of a job's maps, and every job is asked for
    /// each free slot: a bit is the fastest way to say no.
    places: Waits,
    /// Places that had a map at the start.
    ranks: Ranks,
    /// Where the entries of each of those places begin; the last element is the end.
    begins: Box<[u32]>,
    entries: Box<[Link]>,
}

/// A map; or, in a place's first entry once that map is gone, a link to the first one that still
/// waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link(u32);

/// Marks a link. No job has this many maps, nor this many replicas of them.
const LEADS_ON: u32 = 1 << 31;

impl Link {
    fn map(map: u32) -> Self {
        assert!(map < LEADS_ON, "a job has less than 2^31 maps");
        Self(map)
    }

    fn to(index: u32) -> Self {
        Self(index | LEADS_ON)
    }

    /// The target of a link; `None` for a map.
    fn target(self) -> Option<usize> {
        (self.0 & LEADS_ON != 0).then_some((self.0 & !LEADS_ON) as usize)
    }
}

/// A position in the list of entries, which must be short enough for a link.
fn position(index: usize) -> u32 {
    let index = u32::try_from(index).ok().filter(|index| *index < LEADS_ON);
    index.expect("a job has less than 2^31 replicas")
}

impl SortedMaps {
    /// Builds the list from (place, map) pairs.
    fn of(maps: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = maps.collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut places = Waits::default();
        let mut begins = Vec::new();
        let mut n_before = 0;
        for here in sorted.chunk_by(|(one, _), (other, _)| one == other) {
            places.insert(here[0].0);
            begins.push(position(n_before));
            n_before += here.len();
        }
        begins.push(position(n_before));
        let ranks = Ranks::of(places.iter());
        let entries = sorted.into_iter().map(|(_, map)| Link::map(map)).collect();
        Self { places, ranks, begins: begins.into_boxed_slice(), entries }
    }

    /// Where the entries of a place begin, where its first one is that may still wait, and where
    /// they end; `None` for a place without waiting maps.
    fn range(&self, place: u32) -> Option<(usize, usize, usize)> {
        if !self.places.contains(place) {
            return None;
        }
        let rank = self.ranks.rank(place);
        let (begin, end) = (self.begins[rank] as usize, self.begins[rank + 1] as usize);
        Some((begin, self.entries[begin].target().unwrap_or(begin), end))
    }

    /// The entries of a place from the first waiting one on; removed maps may follow it.
    fn here(&self, place: u32) -> &[Link] {
        self.range(place).map_or(&[], |(_, first, end)| &self.entries[first..end])
    }

    /// The waiting maps of a place.
    fn at(&self, place: u32, waits: &Waits) -> impl Iterator<Item = u32> {
        self.here(place).iter().map(|link| link.0).filter(|map| waits.contains(*map))
    }

    /// Whether a waiting map has bytes at a place.
    fn holds(&self, place: u32, map: u32) -> bool {
        self.here(place).binary_search(&Link(map)).is_ok()
    }

    /// A map of a place was removed: relinks its first entry, so that later searches skip the
    /// removed maps at the front.
    fn settle(&mut self, place: u32, waits: &Waits) {
        let Some((begin, first, end)) = self.range(place) else { return };
        let is_gone = |link: &&Link| !waits.contains(link.0);
        let n_gone = self.entries[first..end].iter().take_while(is_gone).count();
        if first + n_gone == end {
            self.places.remove(place);
        } else if n_gone > 0 {
            self.entries[begin] = Link::to(position(first + n_gone));
        }
    }
}
