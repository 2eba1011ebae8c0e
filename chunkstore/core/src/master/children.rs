//! A folder's entries in the order of their names, as ids alone: the names stand in the entries, so
//! that each is kept once. Rows of bounded length, so that no insertion moves more than one.

use chunkstore_protocol::FileId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ids in one row.
const ROW_MAX: usize = 512;

/// The ids of a folder's entries, by their names' bytes. Serialised as one sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    rows: Vec<Vec<FileId>>,
}

/// Where an id stands, or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    row: usize,
    at: usize,
}

impl Place {
    /// Of the first id.
    pub(crate) const FIRST: Self = Self { row: 0, at: 0 };

    /// The one behind it.
    pub(crate) fn next(self) -> Self {
        Self { at: self.at + 1, ..self }
    }
}

impl Children {
    /// Of ids that are in order.
    pub(crate) fn from_sorted(ids: &[FileId]) -> Self {
        Self { rows: ids.chunks(ROW_MAX).map(<[FileId]>::to_vec).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the entry called `name` stands.
    ///
    /// # Errors
    /// With the place where it would stand, when there is none.
    pub(crate) fn find<'a>(
        &self,
        name: &str,
        name_of: impl Fn(FileId) -> &'a str,
    ) -> Result<Place, Place> {
        let after = self.rows.partition_point(|row| name_of(row[0]) <= name);
        let row = after.saturating_sub(1);
        let Some(ids) = self.rows.get(row) else { return Err(Place::FIRST) };
        match ids.binary_search_by(|id| name_of(*id).cmp(name)) {
            Ok(at) => Ok(Place { row, at }),
            Err(at) => Err(Place { row, at }),
        }
    }

    pub(crate) fn get(&self, place: Place) -> FileId {
        self.rows[place.row][place.at]
    }

    /// Puts an id in, at the place that [`Self::find`] told.
    pub(crate) fn insert(&mut self, place: Place, id: FileId) {
        let Place { row, at } = place;
        let Some(ids) = self.rows.get_mut(row) else {
            self.rows.push(vec![id]);
            return;
        };
        if ids.len() < ROW_MAX {
            ids.insert(at, id);
        } else if at == ROW_MAX {
            // Names often come in order: rows that are cut at their end stay full.
            self.rows.insert(row + 1, vec![id]);
        } else {
            let mut upper = ids.split_off(ROW_MAX / 2);
            match at.checked_sub(ROW_MAX / 2) {
                Some(at) => upper.insert(at, id),
                None => ids.insert(at, id),
            }
            self.rows.insert(row + 1, upper);
        }
    }

    /// Takes the id at a place out.
    pub(crate) fn remove(&mut self, place: Place) {
        let ids = &mut self.rows[place.row];
        ids.remove(place.at);
        if ids.is_empty() {
            self.rows.remove(place.row);
        } else if ids.len() * 4 < ids.capacity() {
            ids.shrink_to(ids.len() * 2);
        }
    }

    /// Takes any id out.
    pub(crate) fn pop(&mut self) -> Option<FileId> {
        let ids = self.rows.last_mut()?;
        let id = ids.pop();
        if ids.is_empty() {
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
        let first = self.rows.get(place.row).and_then(|ids| ids.get(place.at..)).unwrap_or(&[]);
        let rest = self.rows.iter().skip(place.row + 1).flatten();
        first.iter().chain(rest).copied()
    }
}

/// How they are cut into rows is nobody's concern.
impl PartialEq for Children {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Children {}

impl Serialize for Children {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().flatten())
    }
}

impl<'de> Deserialize<'de> for Children {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_sorted(&Vec::deserialize(deserializer)?))
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
            in_order in any::<bool>(),
        ) {
            let names: Vec<String> = (0..3000).map(|n: u32| match in_order {
                true => format!("{n:05}"),
                false => format!("{:08x}", n.wrapping_mul(0x9e37_79b9)),
            }).collect();
            let name_of = |id| name(&names, id);
            let (mut children, mut model) = (Children::default(), BTreeMap::new());
            for (nth, (kind, id)) in steps.iter().enumerate() {
                let id = if in_order && *kind > 1 { nth as u64 % 3000 } else { *id };
                match children.find(name_of(FileId(id)), name_of) {
                    Ok(place) => {
                        prop_assert_eq!(children.get(place), FileId(id));
                        if *kind == 0 {
                            children.remove(place);
                            prop_assert!(model.remove(name_of(FileId(id))).is_some());
                        }
                    }
                    Err(place) => {
                        prop_assert!(!model.contains_key(name_of(FileId(id))));
                        children.insert(place, FileId(id));
                        model.insert(name_of(FileId(id)), id);
                    }
                }
            }
            let ids: Vec<u64> = children.iter().map(|id| id.0).collect();
            prop_assert_eq!(&ids, &model.values().copied().collect::<Vec<_>>());
            prop_assert!(children.rows.iter().all(|row| (1..=ROW_MAX).contains(&row.len())));
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
