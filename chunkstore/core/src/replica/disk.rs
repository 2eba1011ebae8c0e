//! Which disk of a server a new replica goes to.

use chunkstore_protocol::CHUNK_BYTES_MAX;

/// Room on one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes free for chunks as last measured, without the reserve.
    pub free: u64,
    /// Uploads and open log chunks, each of which may still take up to a whole chunk's bytes.
    pub n_open: u64,
}

impl DiskRoom {
    /// What is left for one more if each open one takes all that it may; where the disk has less
    /// than that, an even share, as a log's open chunk may stay small for ever.
    fn left(self) -> u64 {
        let share = self.free / (self.n_open + 1);
        if share < CHUNK_BYTES_MAX { share } else { self.free - self.n_open * CHUNK_BYTES_MAX }
    }
}

/// Size and room of a disk, or of all, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Size.
    pub capacity: u64,
    /// Free for chunks, without the reserve.
    pub free: u64,
}

/// The disk with the most space left; ties are broken by `turn`. `None`: no disk has any.
#[must_use]
pub fn choose_disk(disks: &[DiskRoom], turn: usize) -> Option<usize> {
    let in_turn = (0..disks.len()).map(|nth| (turn + nth) % disks.len());
    let takes_it = in_turn.filter(|&at| disks[at].free > 0);
    // Of equal ones, the first wins.
    takes_it.reduce(|best, at| if disks[at].left() > disks[best].left() { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(rooms: &[(u64, u64)]) -> Vec<DiskRoom> {
        rooms.iter().map(|&(free, n_open)| DiskRoom { free, n_open }).collect()
    }

    #[test]
    fn a_replica_goes_where_most_is_free_and_to_equal_disks_in_turn() {
        const CHUNK: u64 = CHUNK_BYTES_MAX;
        for (disks, turns, expected) in [
            (&[(5 * CHUNK, 0), (9 * CHUNK, 0), (7 * CHUNK, 0)][..], 0..3, &[1, 1, 1][..]),
            (&[(5 * CHUNK, 0), (9 * CHUNK, 5), (7 * CHUNK, 1)], 0..3, &[2, 2, 2]),
            (&[(7 * CHUNK, 0), (3 * CHUNK, 0), (7 * CHUNK, 0)], 0..4, &[0, 2, 2, 0]),
            (&[(0, 0), (1, 64)], 0..2, &[1, 1]),
            (&[(64, 3), (0, 0), (63, 3)], 0..3, &[0, 0, 0]),
            // An open log chunk must not make a nearly full disk look the better one.
            (&[(CHUNK / 700, 0), (CHUNK / 2, 1)], 0..2, &[1, 1]),
            (&[(CHUNK / 2, 0), (CHUNK / 2, 1)], 0..2, &[0, 0]),
        ] {
            let disks = rooms(disks);
            let chosen: Vec<_> = turns.map(|turn| choose_disk(&disks, turn).unwrap()).collect();
            assert_eq!(chosen, expected, "{disks:?}");
        }
        assert_eq!(choose_disk(&rooms(&[(0, 0), (0, 5)]), 7), None);
        assert_eq!(choose_disk(&[], 7), None);
    }
}
