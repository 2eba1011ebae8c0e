//! Words that many splits of a job have in common, each kept once: names of hosts, racks and files. A million splits name a
//! few thousand of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ids::{HostName, RackName};

use crate::records::PlannedSplit;

/// The same splits, with each word in memory once, and no room to grow.
pub(crate) fn shared(splits: Vec<PlannedSplit>) -> Arc<[PlannedSplit]> {
    let mut hosts: BTreeSet<HostName> = BTreeSet::new();
    let mut racks: BTreeSet<RackName> = BTreeSet::new();
    let mut paths: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut splits = splits;
    for planned in &mut splits {
        for home in &mut planned.homes {
            share(&mut hosts, &mut home.host);
            share(&mut racks, &mut home.rack);
        }
        for piece in &mut planned.split.pieces {
            share(&mut paths, &mut piece.path);
        }
        planned.homes.shrink_to_fit();
        planned.split.pieces.shrink_to_fit();
    }
    splits.into()
}

fn share<T: Ord + Clone>(known: &mut BTreeSet<T>, word: &mut T) {
    match known.get(word) {
        Some(same) => *word = same.clone(),
        None => drop(known.insert(word.clone())),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{Split, SplitPiece};

    use super::*;
    use crate::records::Home;

    #[test]
    fn equal_words_are_the_same_afterwards() {
        let planned = || {
            let piece = SplitPiece {
                path: "/in".into(),
                offset: 0,
                length: 1,
                file_length: 1,
                e_tag: None,
            };
            let home = Home { host: "h".parse().unwrap(), rack: "/r".parse().unwrap() };
            PlannedSplit { split: Split { pieces: vec![piece] }, homes: vec![home] }
        };
        let splits = shared(vec![planned(), planned()]);
        assert_eq!(splits[..], [planned(), planned()]);
        let of = |at: usize| (&splits[at].split.pieces[0].path, splits[at].homes[0].host.as_str());
        assert!(Arc::ptr_eq(of(0).0, of(1).0));
        assert!(std::ptr::eq(of(0).1, of(1).1));
    }
}
