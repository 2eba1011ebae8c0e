//! Where the chunks of jobs' inputs lie: where the chunk store places the chunks of a client
//! outside the cluster, which is the first replica on one of the hosts that hold least, the second
//! on another rack, and the third on the second's rack (`chunkstore/core`, `placement`).

use std::collections::BTreeSet;

use crate::random::Random;

/// Replicas of each chunk, if there are enough hosts.
const REPLICAS: usize = 3;

/// A host's place in the order: by how much it holds, equal ones in random order.
type Turn = (u32, u64, usize);

/// The hosts, ordered by how much they hold.
pub(crate) struct Shelves {
    random: Random,
    racks: Vec<usize>,
    turns: Vec<Turn>,
    all: BTreeSet<Turn>,
    by_rack: Vec<BTreeSet<Turn>>,
}

impl Shelves {
    /// Hosts that hold nothing yet; `racks` has the rack of each.
    pub(crate) fn new(racks: Vec<usize>, mut random: Random) -> Self {
        let turns: Vec<Turn> = (0..racks.len()).map(|host| (0, random.next(), host)).collect();
        let n_racks = racks.iter().max().map_or(0, |last| last + 1);
        let mut by_rack = vec![BTreeSet::new(); n_racks];
        for turn in &turns {
            by_rack[racks[turn.2]].insert(*turn);
        }
        Self { random, racks, all: turns.iter().copied().collect(), turns, by_rack }
    }

    /// The hosts of a new chunk.
    pub(crate) fn place(&mut self) -> Vec<usize> {
        let mut homes: Vec<usize> = Vec::with_capacity(REPLICAS);
        while homes.len() < REPLICAS.min(self.racks.len()) {
            let is_new = |turn: &&Turn| !homes.contains(&turn.2);
            let wish = match homes.as_slice() {
                [first] => {
                    let mut others = self.all.iter();
                    others.find(|turn| self.racks[turn.2] != self.racks[*first])
                }
                [_, second] => self.by_rack[self.racks[*second]].iter().find(is_new),
                _ => None,
            };
            let any = || self.all.iter().find(is_new);
            let Some(&(_, _, host)) = wish.or_else(any) else { break };
            self.give(host);
            homes.push(host);
        }
        homes
    }

    fn give(&mut self, host: usize) {
        let old = self.turns[host];
        let new = (old.0 + 1, self.random.next(), host);
        self.turns[host] = new;
        for set in [&mut self.all, &mut self.by_rack[self.racks[host]]] {
            set.remove(&old);
            set.insert(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_on_three_hosts_of_two_racks_and_all_hosts_hold_alike() {
        let racks: Vec<usize> = (0..20).map(|host| host % 4).collect();
        let mut shelves = Shelves::new(racks.clone(), Random::new(1));
        let mut held = [0; 20];
        for _ in 0..2000 {
            let homes = shelves.place();
            let rack = |nth: usize| racks[homes[nth]];
            assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 3, "{homes:?}");
            assert_ne!(rack(0), rack(1), "{homes:?}");
            assert_eq!(rack(1), rack(2), "{homes:?}");
            homes.iter().for_each(|host| held[*host] += 1);
        }
        assert!(held.iter().all(|held| (280..320).contains(held)), "{held:?}");
    }

    #[test]
    fn few_hosts_and_one_rack_will_do() {
        assert_eq!(Shelves::new(vec![0], Random::new(1)).place(), [0]);
        let mut three = Shelves::new(vec![0, 0, 0], Random::new(1)).place();
        three.sort_unstable();
        assert_eq!(three, [0, 1, 2]);
    }
}
