//! The host's local disks: which one an attempt works on, and which are done without.
//!
//! One that fails is left for good, with what lies there, until the next start; not the last one, which the host
//! is ill with instead. One that is full gets no new attempts until there is room.

use mapreduce_protocol::{AILMENT_BYTES_MAX, Ailment};

use crate::health::{is_same_sort, with_margin};
use crate::limits;

/// Which of the disks, from 0, in the order of [`crate::Settings::disks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskNumber(pub usize);

#[derive(Debug)]
struct Disk {
    path: String,
    /// As it was found last.
    free: u64,
    ailment: Option<Ailment>,
    is_left: bool,
}

/// What follows from a finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing that is not known.
    Known,
    /// Something is to be told.
    News,
    /// The disk is left.
    Left,
}

#[derive(Debug)]
pub(crate) struct Disks {
    free_min: u64,
    disks: Vec<Disk>,
    /// Whose turn it is among equal ones.
    turn: usize,
}

impl Disks {
    pub(crate) fn new(paths: Vec<String>, free_min: u64) -> Self {
        let disk = |path| Disk { path, free: 0, ailment: None, is_left: false };
        Self { free_min, disks: paths.into_iter().map(disk).collect(), turn: 0 }
    }

    /// Takes what was found of one.
    pub(crate) fn examine(&mut self, number: DiskNumber, free: Result<u64, String>) -> Verdict {
        let is_only_one = self.usable().all(|(at, _)| at == number.0);
        let free_min = self.free_min;
        let Some(disk) = self.disks.get_mut(number.0).filter(|disk| !disk.is_left) else {
            return Verdict::Known;
        };
        let path = disk.path.clone();
        let was_full = matches!(disk.ailment, Some(Ailment::DiskFull { .. }));
        let needed = with_margin(free_min, was_full);
        disk.free = *free.as_ref().unwrap_or(&0);
        let found = match free {
            Ok(free) if free >= needed => None,
            Ok(free) => Some(Ailment::DiskFull { path, free, needed }),
            Err(mut message) => {
                limits::cut(&mut message, AILMENT_BYTES_MAX);
                disk.is_left = !is_only_one;
                Some(Ailment::DiskFails { path, message })
            }
        };
        let is_news = !is_same_sort(disk.ailment.as_ref(), found.as_ref());
        disk.ailment = found;
        match (disk.is_left, is_news) {
            (true, _) => Verdict::Left,
            (false, true) => Verdict::News,
            (false, false) => Verdict::Known,
        }
    }

    /// Takes how much room one has that does not fail otherwise.
    pub(crate) fn has_room(&mut self, number: DiskNumber, free: u64) -> Verdict {
        let disk = self.disks.get(number.0);
        match disk.is_some_and(|it| matches!(it.ailment, Some(Ailment::DiskFails { .. }))) {
            true => Verdict::Known,
            false => self.examine(number, Ok(free)),
        }
    }

    /// Those that do not fail.
    fn usable(&self) -> impl Iterator<Item = (usize, &Disk)> {
        let fails = |disk: &Disk| matches!(disk.ailment, Some(Ailment::DiskFails { .. }));
        self.disks.iter().enumerate().filter(move |(_, disk)| !fails(disk))
    }

    /// The disk for a new attempt, where `n_on` attempts run on each: that with the most free space for each of them, so
    /// that a disk twice as large gets twice as many; of equal ones, that whose turn it is. If none has room, any that does
    /// not fail.
    pub(crate) fn choose(&mut self, n_on: impl Fn(DiskNumber) -> usize) -> DiskNumber {
        let n = self.disks.len().max(1);
        let rank = |at: usize| {
            let disk = &self.disks[at];
            let each = disk.free / (n_on(DiskNumber(at)) as u64 + 1);
            let fails = matches!(disk.ailment, Some(Ailment::DiskFails { .. }));
            (!disk.is_left, !fails, disk.ailment.is_none(), each)
        };
        let in_turn = (0..self.disks.len()).map(|nth| (self.turn + nth) % n);
        // The first of equal ones.
        let best = in_turn.reduce(|best, at| if rank(at) > rank(best) { at } else { best });
        let best = best.unwrap_or_default();
        self.turn = (best + 1) % n;
        DiskNumber(best)
    }

    /// What the host is ill with, if no disk is well.
    pub(crate) fn ailment(&self) -> Option<&Ailment> {
        if self.disks.iter().any(|disk| disk.ailment.is_none()) {
            return None;
        }
        let remaining = self.disks.iter().filter(|disk| !disk.is_left);
        remaining.max_by_key(|disk| disk.free)?.ailment.as_ref()
    }

    /// What is wrong with disks that the host does without.
    pub(crate) fn without(&self) -> Vec<Ailment> {
        let illness = self.ailment();
        let all = self.disks.iter().filter_map(|disk| disk.ailment.as_ref());
        all.filter(|ailment| Some(*ailment) != illness).cloned().collect()
    }

    /// How many there are, by state.
    pub(crate) fn states(&self) -> [(&'static str, usize); 3] {
        let mut states = [("ok", 0), ("full", 0), ("failed", 0)];
        for disk in &self.disks {
            let state = match disk.ailment {
                None => 0,
                Some(Ailment::DiskFails { .. }) => 2,
                Some(_) => 1,
            };
            states[state].1 += 1;
        }
        states
    }

    /// Whether it is full or fails.
    pub(crate) fn is_ill(&self, number: DiskNumber) -> bool {
        self.disks.get(number.0).is_none_or(|disk| disk.ailment.is_some())
    }

    /// Where it is.
    pub(crate) fn path(&self, number: DiskNumber) -> &str {
        self.disks.get(number.0).map_or("", |disk| &disk.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(free: &[u64]) -> Disks {
        let paths = (0..free.len()).map(|n| format!("/{n}")).collect();
        let mut disks = Disks::new(paths, 100);
        for (at, free) in free.iter().enumerate() {
            disks.examine(DiskNumber(at), Ok(*free));
        }
        disks
    }

    fn chosen(disks: &mut Disks, n: usize) -> Vec<usize> {
        let mut on = vec![0; disks.disks.len()];
        for _ in 0..n {
            let disk = disks.choose(|number| on[number.0]);
            on[disk.0] += 1;
        }
        on
    }

    #[test]
    fn attempts_are_spread_by_free_space_and_evenly_over_equal_disks() {
        assert_eq!(chosen(&mut disks(&[1000, 1000, 1000]), 6), [2, 2, 2]);
        assert_eq!(chosen(&mut disks(&[1000, 2000]), 6), [2, 4]);
        assert_eq!(chosen(&mut disks(&[99, 200]), 3), [0, 3], "not on a full one");
        assert_eq!(
            chosen(&mut disks(&[50, 99]), 2).iter().sum::<usize>(),
            2,
            "if there is no other"
        );
        let mut alike = disks(&[1000, 1000]);
        let turns: Vec<_> = (0..4).map(|_| alike.choose(|_| 0).0).collect();
        assert_eq!(turns, [0, 1, 0, 1], "one after the other has ended");
    }

    #[test]
    fn a_disk_that_fails_is_left_for_good_and_the_last_one_makes_the_host_ill() {
        let mut disks = disks(&[1000, 1000]);
        let fails = || Err("I/O error".to_owned());
        assert_eq!(disks.examine(DiskNumber(0), fails()), Verdict::Left);
        assert_eq!((disks.ailment(), disks.without().len()), (None, 1));
        assert_eq!(disks.examine(DiskNumber(0), Ok(9000)), Verdict::Known, "left is left");
        assert_eq!(chosen(&mut disks, 3), [0, 3]);
        assert_eq!(disks.examine(DiskNumber(1), fails()), Verdict::News);
        assert_eq!(disks.examine(DiskNumber(1), fails()), Verdict::Known);
        assert_eq!(disks.has_room(DiskNumber(1), 5000), Verdict::Known, "room is not all");
        assert!(matches!(disks.ailment(), Some(Ailment::DiskFails { path, .. }) if path == "/1"));
        assert_eq!(disks.states(), [("ok", 0), ("full", 0), ("failed", 2)]);
        assert_eq!(disks.examine(DiskNumber(1), Ok(1000)), Verdict::News, "it is well again");
        assert_eq!((disks.ailment(), disks.without().len()), (None, 1));
    }

    #[test]
    fn the_host_is_ill_when_all_disks_are_full_and_does_without_one_that_is() {
        let mut disks = disks(&[1000, 1000]);
        assert_eq!(disks.has_room(DiskNumber(0), 99), Verdict::News);
        assert_eq!((disks.ailment(), disks.without().len()), (None, 1));
        assert_eq!(disks.examine(DiskNumber(0), Ok(109)), Verdict::Known, "within the margin");
        assert_eq!(disks.examine(DiskNumber(1), Ok(50)), Verdict::News);
        assert!(matches!(disks.ailment(), Some(Ailment::DiskFull { free: 109, .. })));
        assert_eq!(disks.examine(DiskNumber(0), Ok(110)), Verdict::News);
        assert_eq!((disks.ailment(), disks.without().len()), (None, 1));
    }
}
