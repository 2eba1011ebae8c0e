//! Which small files one map reads together. It depends on the files alone, in their order, so that whoever plans gets the
//! same splits, and records come in the same order as if none were packed.

use std::ops::Range;

use crate::Split;

/// Splits that a job has at least before any of its files are packed: with fewer, hosts might stand idle for it.
pub const PACKED_SPLITS_MIN: u64 = 64;

/// What it costs a map to open one more file, as bytes that it could have read meanwhile.
const FILE_COST_BYTES: u64 = 64 << 10;

/// Bytes that the names of one split's files may take in the token that lets a task read them. A token has at most 8 KiB.
const NAMES_BYTES_MAX: u64 = 5000;

/// What is around a name in a token.
const GRANT_BYTES: u64 = 34;

/// A split that may be packed: a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Small {
    cost: u64,
    name_bytes: u64,
}

impl Small {
    /// Of a split that is one whole file, shorter than `split_bytes`.
    #[must_use]
    pub fn of(split: &Split, split_bytes: u64) -> Option<Self> {
        let [piece] = &split.pieces[..] else { return None };
        let is_small = piece.length == piece.file_length && piece.length < split_bytes;
        is_small.then(|| Self {
            cost: piece.length + FILE_COST_BYTES,
            name_bytes: piece.path.escape_default().count() as u64 + GRANT_BYTES,
        })
    }
}

/// Which neighbours among a job's splits become one, none longer than `split_bytes`: all of them, in their order. `splits` says
/// which may be packed.
#[must_use]
pub fn packs(splits: &[Option<Small>], split_bytes: u64) -> Vec<Range<usize>> {
    let small = splits.iter().flatten();
    let (n, total) = small.fold((0, 0), |(n, total), it| (n + 1, total + it.cost));
    let room = if n <= PACKED_SPLITS_MIN { 0 } else { split_bytes.min(total / PACKED_SPLITS_MIN) };
    let mut packs: Vec<Range<usize>> = Vec::new();
    // What the last pack may still take.
    let (mut cost_left, mut names_left) = (0, 0);
    for (at, split) in splits.iter().enumerate() {
        let (cost, name_bytes) = split.map_or((u64::MAX, 0), |it| (it.cost, it.name_bytes));
        match packs.last_mut().filter(|_| cost <= cost_left && name_bytes <= names_left) {
            Some(pack) => pack.end = at + 1,
            None => {
                packs.push(at..at + 1);
                (cost_left, names_left) = (room, NAMES_BYTES_MAX);
                if split.is_none() {
                    (cost_left, names_left) = (0, 0);
                }
            }
        }
        cost_left = cost_left.saturating_sub(cost);
        names_left = names_left.saturating_sub(name_bytes);
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitPiece;

    const MIB: u64 = 1 << 20;

    fn split(path: &str, offset: u64, length: u64, file_length: u64) -> Split {
        let piece = SplitPiece { path: path.into(), offset, length, file_length, e_tag: None };
        Split { pieces: vec![piece] }
    }

    fn files(n: usize, length: u64) -> Vec<Option<Small>> {
        let file = |n| split(&format!("/in/part-{n:05}"), 0, length, length);
        (0..n).map(|n| Small::of(&file(n), 64 * MIB)).collect()
    }

    #[test]
    fn ten_thousand_small_files_give_few_splits_and_a_few_files_one_each() {
        for (n, length, expected) in
            [(10_000, 1000, 97), (64, 10, 64), (65, 10, 65), (200, 10, 67), (1000, 10 * MIB, 167)]
        {
            let packs = packs(&files(n, length), 64 * MIB);
            assert_eq!(packs.len(), expected, "{n} files of {length} bytes");
            assert_eq!(packs.iter().map(Range::len).sum::<usize>(), n);
            assert!(packs.windows(2).all(|two| two[0].end == two[1].start), "in their order");
        }
    }

    #[test]
    fn parts_of_files_and_long_files_stay_alone_between_packs() {
        assert!(Small::of(&split("/in/a", 0, 5, 10), 64).is_none());
        assert!(Small::of(&split("/in/a", 0, 64, 64), 64).is_none());
        let mut splits = files(1000, 10);
        splits[500] = None;
        splits[501] = None;
        let packs = packs(&splits, 64 * MIB);
        assert!(packs.contains(&(500..501)) && packs.contains(&(501..502)));
        assert!(packs.len() < 80);
    }

    #[test]
    fn a_packs_names_have_room_in_a_token() {
        let long = |n: usize| split(&format!("/in/{}{n}", "x".repeat(1000)), 0, 1, 1);
        let splits: Vec<_> = (0..1000).map(|n| Small::of(&long(n), 64 * MIB)).collect();
        assert!(packs(&splits, 64 * MIB).iter().all(|pack| pack.len() == 4));
    }
}
