//! Deduplicates strings that many splits have in common: homes across all jobs, file names within
//! each. A million splits name only a few thousand of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::numbers::{Numbers, Places};
use crate::records::PlannedSplit;

/// The same splits with each home and path in memory once and no spare capacity, and the places of
/// their bytes.
pub(crate) fn shared(
    mut splits: Vec<PlannedSplit>,
    numbers: &mut Numbers,
) -> (Arc<[PlannedSplit]>, Places) {
    let homes = splits.iter_mut().map(|it| it.homes.iter_mut());
    let places = Places::of_each(homes, |home| {
        let (known, place) = numbers.home(home);
        *home = known;
        place
    });
    let mut texts: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut share = |text: &mut Arc<str>| match texts.get(text) {
        Some(same) => *text = Arc::clone(same),
        None => drop(texts.insert(Arc::clone(text))),
    };
    for planned in &mut splits {
        for piece in &mut planned.split.pieces {
            share(&mut piece.path);
            piece.e_tag.iter_mut().for_each(&mut share);
        }
        planned.homes.shrink_to_fit();
        planned.split.pieces.shrink_to_fit();
    }
    (splits.into(), places)
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
            PlannedSplit { split: Split { pieces: vec![piece] }, homes: vec![Arc::new(home)] }
        };
        let mut numbers = Numbers::default();
        let (of_one, _) = shared(vec![planned(), planned()], &mut numbers);
        assert_eq!(of_one[..], [planned(), planned()]);
        assert!(Arc::ptr_eq(&of_one[0].split.pieces[0].path, &of_one[1].split.pieces[0].path));
        let (of_another, _) = shared(vec![planned()], &mut numbers);
        for splits in [&of_one[1..], &of_another] {
            assert!(Arc::ptr_eq(&of_one[0].homes[0], &splits[0].homes[0]));
        }
    }
}
