//! The owners of entries: each name is stored once, under a small number that its entries carry. A
//! name is kept as long as any entry has it; then its number is reused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Owners at once. Each is the subject of somebody's token: a host or a person, and no cluster has
/// more of them.
pub(crate) const OWNERS_MAX: usize = 65_536;

/// A name's number. The empty name, which means no owner, has 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerId(u32);

/// All names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owners {
    names: Vec<Name>,
    /// Numbers without a name; the last one is reused first.
    free: Vec<OwnerId>,
    by_text: BTreeMap<Box<str>, OwnerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    text: Box<str>,
    /// Entries that have it.
    n_entries: u64,
}

impl Default for Owners {
    fn default() -> Self {
        let nobody = Name { text: "".into(), n_entries: 0 };
        let by_text = BTreeMap::from([("".into(), OwnerId::default())]);
        Self { names: vec![nobody], free: Vec::new(), by_text }
    }
}

impl Owners {
    /// The name of a number.
    pub(crate) fn text(&self, owner: OwnerId) -> &str {
        &self.names[index(owner)].text
    }

    /// Whether there is room for this name.
    pub(crate) fn admit(&self, text: &str) -> bool {
        self.by_text.len() < OWNERS_MAX || self.by_text.contains_key(text)
    }

    /// The number of a name, for one more entry.
    pub(crate) fn acquire(&mut self, text: &str) -> OwnerId {
        let owner = match self.by_text.get(text) {
            Some(owner) => *owner,
            None => self.enter(text),
        };
        self.names[index(owner)].n_entries += 1;
        owner
    }

    /// An entry that had it is gone, or belongs to another owner.
    pub(crate) fn release(&mut self, owner: OwnerId) {
        let name = &mut self.names[index(owner)];
        name.n_entries = name.n_entries.saturating_sub(1);
        if name.n_entries == 0 && owner != OwnerId::default() {
            let text = std::mem::take(&mut name.text);
            self.by_text.remove(&text);
            self.free.push(owner);
        }
    }

    fn enter(&mut self, text: &str) -> OwnerId {
        let name = Name { text: text.into(), n_entries: 0 };
        let owner = match self.free.pop() {
            Some(owner) => {
                self.names[index(owner)] = name;
                owner
            }
            None => {
                let next = u32::try_from(self.names.len()).expect("owners are bounded");
                self.names.push(name);
                OwnerId(next)
            }
        };
        self.by_text.insert(text.into(), owner);
        owner
    }

    /// Asserts that the entries of each name are counted right, and that each name is under its
    /// number.
    ///
    /// # Panics
    /// When that does not hold.
    pub(crate) fn check_invariants(&self, borne: impl Iterator<Item = OwnerId>) {
        let mut counts = vec![0; self.names.len()];
        for owner in borne {
            counts[index(owner)] += 1;
        }
        for (name, counted) in self.names.iter().zip(counts).skip(1) {
            assert_eq!(name.n_entries, counted, "entries of {:?}", name.text);
        }
        for (text, owner) in &self.by_text {
            assert_eq!(self.text(*owner), &**text, "{owner:?} is two names");
        }
        assert_eq!(self.by_text.len() + self.free.len(), self.names.len(), "a number is lost");
    }
}

fn index(owner: OwnerId) -> usize {
    owner.0 as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_as_long_as_something_is_its() {
        let mut owners = Owners::default();
        let (a, b) = (owners.acquire("a"), owners.acquire("b"));
        assert_eq!(owners.acquire("a"), a);
        owners.release(a);
        assert_eq!((owners.text(a), owners.text(b)), ("a", "b"));
        owners.release(a);
        assert_eq!(owners.acquire("c"), a, "its number is free");
        assert_eq!(owners.text(OwnerId::default()), "");
        owners.check_invariants([a, b].into_iter());
    }

    #[test]
    fn there_is_a_bound_and_those_who_are_in_stay_in() {
        let mut owners = Owners::default();
        for n in 1..OWNERS_MAX {
            owners.acquire(&n.to_string());
        }
        assert!(owners.admit("1") && owners.admit("") && !owners.admit("another"));
        let first = owners.acquire("1");
        owners.release(first);
        assert!(!owners.admit("another"));
        owners.release(first);
        assert!(owners.admit("another"));
    }
}
