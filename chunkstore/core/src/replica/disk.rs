//! Which disk of a server a new replica goes to.

/// Room on one disk, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskRoom {
    /// Free for chunks, as measured just now: less what is reserved.
    pub free: u64,
    /// What the uploads under way may still take of it.
    pub promised: u64,
}

/// The disk with the most free space, what is promised taken off; of equal ones, that whose `turn` it is.
/// `None`: no disk has any.
#[must_use]
pub fn choose_disk(disks: &[DiskRoom], turn: usize) -> Option<usize> {
    let room = |at: usize| disks[at].free.saturating_sub(disks[at].promised);
    let in_turn = (0..disks.len()).map(|nth| (turn + nth) % disks.len());
    // Of the last bytes, promised or not, whoever writes first takes them.
    let takes_it = in_turn.filter(|&at| disks[at].free > 0);
    // The first of equal ones.
    takes_it.reduce(|best, at| if room(at) > room(best) { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(rooms: &[(u64, u64)]) -> Vec<DiskRoom> {
        rooms.iter().map(|&(free, promised)| DiskRoom { free, promised }).collect()
    }

    #[test]
    fn a_replica_goes_where_most_is_free_and_to_equal_disks_in_turn() {
        for (disks, turns, expected) in [
            (&[(5, 0), (9, 0), (7, 0)][..], 0..3, &[1, 1, 1][..]),
            (&[(5, 0), (9, 5), (7, 1)], 0..3, &[2, 2, 2]),
            (&[(7, 0), (3, 0), (7, 0)], 0..4, &[0, 2, 2, 0]),
            (&[(0, 0), (1, 64)], 0..2, &[1, 1]),
            (&[(3, 64), (0, 0), (2, 64)], 0..3, &[0, 2, 2]),
        ] {
            let disks = rooms(disks);
            let chosen: Vec<_> = turns.map(|turn| choose_disk(&disks, turn).unwrap()).collect();
            assert_eq!(chosen, expected, "{disks:?}");
        }
        assert_eq!(choose_disk(&rooms(&[(0, 0), (0, 5)]), 7), None);
        assert_eq!(choose_disk(&[], 7), None);
    }
}
