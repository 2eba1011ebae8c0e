//! A folder's entries in the order of their names, as ids: the names are in the entries themselves,
//! so that each is stored once. The ids are in rows of bounded length, so that no insertion moves
//! more than one row. With each id is a key of four bytes of its name that tell it from its
//! neighbours: otherwise a search among a million files would wait for memory twice at each step,
//! for the entry and for its name.

use chunkstore_protocol::FileId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ids in one row.
const ROW_MAX: usize = 512;

/// The ids of a folder's entries, ordered by the bytes of their names. Serialised as one sequence;
/// after deserialising, it must be [indexed](Children::index) before any search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    rows: Vec<Row>,
}

/// A run of ids in order, with what a search needs of their names. Never empty.
#[derive(Clone, Debug)]
struct Row {
    ids: Vec<FileId>,
    /// The key of each id's name.
    keys: Vec<Key>,
    /// The name of the first id.
    first: Box<str>,
    /// All names of this row share this many leading bytes with the first one.
    n_common: usize,
}

/// The first bytes of a name after those that its whole row has in common. Keys are in the same
/// order as the names (which have no NUL), except for ties. A number, as comparing bytes would take
/// a call.
type Key = u32;

fn key(name: &str, n_common: usize) -> Key {
    let rest = name.as_bytes().get(n_common..).unwrap_or(&[]);
    let bytes = std::array::from_fn(|at| rest.get(at).copied().unwrap_or(0));
    Key::from_be_bytes(bytes)
}

/// How many leading bytes two names have in common.
fn n_common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

impl Row {
    /// A row of ids that are in order; at least one.
    fn new<'a>(ids: Vec<FileId>, name_of: &impl Fn(FileId) -> &'a str) -> Self {
        let mut row =
            Self { keys: Vec::with_capacity(ids.len()), first: "".into(), n_common: 0, ids };
        row.index(name_of);
        row
    }

    /// Rebuilds the keys from the names of its ids.
    fn index<'a>(&mut self, name_of: &impl Fn(FileId) -> &'a str) {
        let first = name_of(self.ids[0]);
        // The names between have what the first and the last have in common.
        self.n_common = n_common(first, name_of(self.ids[self.ids.len() - 1]));
        self.first = first.into();
        self.index_keys(name_of);
    }

    fn index_keys<'a>(&mut self, name_of: &impl Fn(FileId) -> &'a str) {
        self.keys.clear();
        self.keys.extend(self.ids.iter().map(|id| key(name_of(*id), self.n_common)));
    }

    fn find<'a>(&self, name: &str, name_of: &impl Fn(FileId) -> &'a str) -> Result<usize, usize> {
        let common = &self.first.as_bytes()[..self.n_common];
        let begins = &name.as_bytes()[..name.len().min(self.n_common)];
        match begins.cmp(common) {
            std::cmp::Ordering::Less => return Err(0),
            std::cmp::Ordering::Greater => return Err(self.ids.len()),
            std::cmp::Ordering::Equal => {}
        }
        let key = key(name, self.n_common);
        let from = self.keys.partition_point(|other| *other < key);
        let n_tied = self.keys[from..].iter().take_while(|other| **other == key).count();
        let tied = self.ids[from..from + n_tied].binary_search_by(|id| name_of(*id).cmp(name));
        tied.map(|at| from + at).map_err(|at| from + at)
    }

    fn insert<'a>(
        &mut self,
        at: usize,
        (id, name): (FileId, &str),
        name_of: &impl Fn(FileId) -> &'a str,
    ) {
        let n_common = n_common(&self.first, name).min(self.n_common);
        if n_common < self.n_common {
            self.n_common = n_common;
            self.index_keys(name_of);
        }
        if at == 0 {
            self.first = name.into();
        }
        self.ids.insert(at, id);
        self.keys.insert(at, key(name, n_common));
    }

    fn remove<'a>(&mut self, at: usize, name_of: &impl Fn(FileId) -> &'a str) {
        self.ids.remove(at);
        self.keys.remove(at);
        if at == 0
            && let Some(first) = self.ids.first()
        {
            self.first = name_of(*first).into();
        }
        if self.ids.len() * 4 < self.ids.capacity() {
            self.ids.shrink_to(self.ids.len() * 2);
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

/// Where an id stands, or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    row: usize,
    at: usize,
}

impl Place {
    /// The place of the first id.
    pub(crate) const FIRST: Self = Self { row: 0, at: 0 };

    /// The place after this one.
    pub(crate) fn next(self) -> Self {
        Self { at: self.at + 1, ..self }
    }
}

impl Children {
    /// Built from ids that are in order.
    pub(crate) fn from_sorted<'a>(ids: &[FileId], name_of: impl Fn(FileId) -> &'a str) -> Self {
        Self { rows: ids.chunks(ROW_MAX).map(|ids| Row::new(ids.to_vec(), &name_of)).collect() }
    }

    /// Rebuilds the keys of all rows.
    pub(crate) fn index<'a>(&mut self, name_of: impl Fn(FileId) -> &'a str) {
        self.rows.iter_mut().for_each(|row| row.index(&name_of));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the entry called `name` stands.
    ///
    /// # Errors
    /// The place where it would stand, when there is none.
    pub(crate) fn find<'a>(
        &self,
        name: &str,
        name_of: impl Fn(FileId) -> &'a str,
    ) -> Result<Place, Place> {
        let after = self.rows.partition_point(|row| *row.first <= *name);
        let row = after.saturating_sub(1);
        let Some(ids) = self.rows.get(row) else { return Err(Place::FIRST) };
        ids.find(name, &name_of).map(|at| Place { row, at }).map_err(|at| Place { row, at })
    }

    pub(crate) fn get(&self, place: Place) -> FileId {
        self.rows[place.row].ids[place.at]
    }

    /// Inserts an id at the place that [`Self::find`] returned for its name.
    pub(crate) fn insert<'a>(
        &mut self,
        place: Place,
        (id, name): (FileId, &str),
        name_of: impl Fn(FileId) -> &'a str,
    ) {
        let Place { row, at } = place;
        let one = |name: &str| Row {
            ids: vec![id],
            keys: vec![key(name, name.len())],
            first: name.into(),
            n_common: name.len(),
        };
        let Some(ids) = self.rows.get_mut(row) else {
            self.rows.push(one(name));
            return;
        };
        if ids.ids.len() < ROW_MAX {
            ids.insert(at, (id, name), &name_of);
        } else if at == ROW_MAX {
            // Names often come in order: starting a new row after a full one keeps rows full.
            self.rows.insert(row + 1, one(name));
        } else {
            let mut upper = Row::new(ids.ids.split_off(ROW_MAX / 2), &name_of);
            ids.index(&name_of);
            match at.checked_sub(ROW_MAX / 2) {
                Some(at) => upper.insert(at, (id, name), &name_of),
                None => ids.insert(at, (id, name), &name_of),
            }
            self.rows.insert(row + 1, upper);
        }
    }

    /// Removes the id at a place.
    pub(crate) fn remove<'a>(&mut self, place: Place, name_of: impl Fn(FileId) -> &'a str) {
        let row = &mut self.rows[place.row];
        row.remove(place.at, &name_of);
        if row.ids.is_empty() {
            self.rows.remove(place.row);
        }
    }

    /// Removes any one id.
    pub(crate) fn pop(&mut self) -> Option<FileId> {
        let row = self.rows.last_mut()?;
        let id = row.ids.pop();
        row.keys.pop();
        if row.ids.is_empty() {
            self.rows.pop();
        }
        id
    }

    /// All ids in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = FileId> {
        self.iter_from(Place::FIRST)
    }

    /// The ids from a place on.
    pub(crate) fn iter_from(&self, place: Place) -> impl Iterator<Item = FileId> {
        let first = self.rows.get(place.row).and_then(|row| row.ids.get(place.at..)).unwrap_or(&[]);
        let rest = self.rows.iter().skip(place.row + 1).flat_map(|row| &row.ids);
        first.iter().chain(rest).copied()
    }
}

/// Compares the ids only; how they are split into rows does not matter.
impl PartialEq for Children {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Children {}

impl Serialize for Children {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().flat_map(|row| &row.ids))
    }
}

impl<'de> Deserialize<'de> for Children {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids = Vec::<FileId>::deserialize(deserializer)?;
        Ok(Self::from_sorted(&ids, |_| ""))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(names: &[String], id: FileId) -> &str {
        &names[usize::try_from(id.0).unwrap()]
    }

    proptest! {
        #[test]
        fn it_is_the_sorted_map_that_it_stands_for(
            steps in prop::collection::vec((0..10_u8, 0_u64..3000), 1..4000),
            shape in 0..4_u8,
        ) {
            let in_order = shape < 2;
            let names: Vec<String> = (0..3000).map(|n: u32| match shape {
                0 => format!("{n:05}"),
                // Long common prefixes, names that are prefixes of others, and differences beyond a
                // key's length.
                1 => "x".repeat(n as usize % 7) + &format!("{:b}", n / 7),
                2 => format!("{}{n}", "part-".repeat(n as usize % 3)),
                _ => format!("{:08x}", n.wrapping_mul(0x9e37_79b9)),
            }).collect();
            let name_of = |id| name(&names, id);
            let (mut children, mut model) = (Children::default(), BTreeMap::new());
            for (nth, (kind, id)) in steps.iter().enumerate() {
                let id = if in_order && *kind > 1 { nth as u64 % 3000 } else { *id };
                match children.find(name_of(FileId(id)), name_of) {
                    Ok(place) => {
                        prop_assert_eq!(children.get(place), FileId(id));
                        if *kind == 0 {
                            children.remove(place, name_of);
                            prop_assert!(model.remove(name_of(FileId(id))).is_some());
                        }
                    }
                    Err(place) => {
                        prop_assert!(!model.contains_key(name_of(FileId(id))));
                        children.insert(place, (FileId(id), name_of(FileId(id))), name_of);
                        model.insert(name_of(FileId(id)), id);
                    }
                }
            }
            let ids: Vec<u64> = children.iter().map(|id| id.0).collect();
            prop_assert_eq!(&ids, &model.values().copied().collect::<Vec<_>>());
            prop_assert!(children.rows.iter().all(|row| (1..=ROW_MAX).contains(&row.ids.len())));
            for row in &children.rows {
                let (names, keys) = (row.ids.iter().map(|id| name_of(*id)), row.keys.iter());
                prop_assert!(names.zip(keys).all(|(name, of)| key(name, row.n_common) == *of));
                prop_assert_eq!(&*row.first, name_of(row.ids[0]));
            }
            let mut read = Children::from_sorted(&children.iter().collect::<Vec<_>>(), |_| "");
            read.index(name_of);
            for (name, id) in &model {
                prop_assert_eq!(read.find(name, name_of).map(|place| read.get(place).0), Ok(*id));
            }
            if let Ok(place) = children.find(&names[7], name_of) {
                let rest: Vec<&str> =
                    children.iter_from(place.next()).map(name_of).collect();
                let expected = model.range(names[7].as_str()..).skip(1).map(|(name, _)| *name);
                prop_assert_eq!(rest, expected.collect::<Vec<_>>());
            }
            let mut n_popped = 0;
            while children.pop().is_some() {
                n_popped += 1;
            }
            prop_assert_eq!(n_popped, model.len());
        }
    }
}
