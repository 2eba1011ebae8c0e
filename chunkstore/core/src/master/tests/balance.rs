//! The balancer, with servers whose disks fill with the chunks they hold.

use std::collections::BTreeMap;

use super::repair::{Disk, Farm, LENGTH};
use super::*;

/// The threshold in the settings of these tests, with a margin for rounding.
const THRESHOLD: f64 = 0.1 + 1e-5;

fn disk(chunks: u64, rack: Option<&'static str>) -> Disk {
    Disk { capacity: Some(chunks * LENGTH), rack, ..Disk::default() }
}

fn shares(farm: &Farm) -> Vec<f64> {
    let share =
        |disk: &Disk| disk.chunks.values().sum::<u64>() as f64 / disk.capacity.unwrap() as f64;
    farm.disks.iter().map(share).collect()
}

/// How far from the mean the furthest server is.
fn spread(farm: &Farm) -> f64 {
    let used: u64 = farm.disks.iter().flat_map(|disk| disk.chunks.values()).sum();
    let capacity: u64 = farm.disks.iter().map(|disk| disk.capacity.unwrap()).sum();
    let mean = used as f64 / capacity as f64;
    shares(farm).into_iter().map(|share| (share - mean).abs()).fold(0.0, f64::max)
}

fn racks(farm: &Farm, chunk: ChunkId) -> usize {
    let racks = farm.holders(chunk).into_iter().map(|n| farm.disks[n - 1].rack);
    racks.collect::<std::collections::BTreeSet<_>>().len()
}

/// Runs until nothing moves any more, checking that every chunk keeps its replicas. Returns the
/// number of moves.
fn settle(farm: &mut Farm, chunks: &[ChunkId], wanted: usize) -> usize {
    let before = farm.copied.len();
    let on_racks: BTreeMap<_, _> = chunks.iter().map(|c| (*c, racks(farm, *c).min(2))).collect();
    let (mut idle, mut moved) = (0, before);
    while idle < 90 {
        farm.run(1);
        for chunk in chunks {
            assert!(farm.live_holders(*chunk) >= wanted, "{chunk} has fewer replicas");
            assert!(racks(farm, *chunk) >= on_racks[chunk], "{chunk} is on fewer racks");
        }
        idle = if farm.copied.len() == moved { idle + 1 } else { 0 };
        moved = farm.copied.len();
        assert!(moved - before < 5000, "it never ends");
    }
    for chunk in chunks {
        assert_eq!(farm.holders(*chunk).len(), wanted, "{chunk} has replicas too many");
    }
    let summary = farm.world.summary();
    assert_eq!((summary.moves_running, summary.repairs_waiting), (0, 0));
    moved - before
}

#[test]
fn a_new_server_fills_up_to_the_others_and_then_nothing_moves() {
    let mut farm = Farm::of((0..3).map(|_| disk(100, None)).collect());
    let chunks = farm.put(100, 2);
    assert_eq!(settle(&mut farm, &chunks, 2), 0, "all are alike");
    farm.disks.push(disk(100, None));
    farm.come(4);
    farm.run(2);
    let left = farm.world.summary().moves_left_bytes;
    let moved = settle(&mut farm, &chunks, 2);
    // 200 replicas on 4 servers: the new one is within the threshold with 40, and not over the mean with 50.
    assert!((40..=50).contains(&moved), "{moved} moved");
    assert!((30 * LENGTH..=40 * LENGTH).contains(&left), "{left}");
    assert_eq!(farm.disks[3].chunks.len(), moved, "only to the new one, and each but once");
    assert!(spread(&farm) <= THRESHOLD, "{:?}", shares(&farm));
    assert!(farm.most_streams <= 2, "{} at once", farm.most_streams);
    assert_eq!(farm.world.summary().moves_left_bytes, 0);
}

#[test]
fn within_the_threshold_nothing_moves() {
    let mut farm = Farm::of(vec![disk(100, None), disk(120, None), disk(150, None)]);
    let chunks = farm.put(40, 1);
    assert!(spread(&farm) < THRESHOLD);
    assert_eq!(settle(&mut farm, &chunks, 1), 0);
}

#[test]
fn while_anything_is_to_be_repaired_nothing_moves() {
    let mut farm = Farm::of((0..3).map(|_| disk(100, None)).collect());
    let chunks = farm.put(60, 2);
    farm.disks.push(disk(100, None));
    farm.come(4);
    farm.die(1);
    // The master does not know of the death yet.
    farm.run(5);
    let dead: Vec<ChunkId> =
        chunks.iter().copied().filter(|chunk| farm.live_holders(*chunk) < 2).collect();
    assert!(dead.len() > 30);
    let begun = farm.copied.len();
    farm.run(8);
    let before = farm.copied.len();
    while farm.world.summary().repairs_waiting > 0 {
        assert_eq!(farm.world.summary().moves_running, 0);
        farm.run(1);
    }
    assert!(begun < before && farm.copied.len() > before);
    farm.run(100);
    assert!(chunks.iter().all(|chunk| farm.live_holders(*chunk) == 2));
}

/// Servers of any size on any racks; some join after the files are written.
#[test]
fn whatever_the_servers_are_like_it_ends_and_makes_them_alike() {
    for seed in 0..24_u64 {
        let mut luck = seed;
        let mut dice = |from: u64, to: u64| {
            luck = luck
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            from + (luck >> 33) % (to - from)
        };
        let n_racks = [1, 1, 2, 3][(seed % 4) as usize];
        let names = ["/a", "/b", "/c"];
        let wanted = dice(1, 4);
        let mut rack = 0;
        let mut any_disk = |dice: &mut dyn FnMut(u64, u64) -> u64| {
            rack += 1;
            disk(dice(60, 200), Some(names[rack % n_racks]))
        };
        let n = dice(4, 7);
        let mut farm = Farm::of((0..n).map(|_| any_disk(&mut dice)).collect());
        let chunks = farm.put(dice(40, 80) as usize, wanted as u8);
        for _ in 0..dice(0, 4) {
            farm.disks.push(any_disk(&mut dice));
            farm.come(farm.disks.len());
        }
        let told = format!("seed {seed}: {wanted} replicas, {n_racks} racks, {:?}", shares(&farm));
        let before = spread(&farm);
        let moved = settle(&mut farm, &chunks, wanted as usize);
        assert!(moved <= chunks.len() * wanted as usize, "{told}: {moved} moved");
        // Where chunks must stay on several racks, all servers of one rack may be fuller than those
        // of another.
        let most = if n_racks == 1 { THRESHOLD } else { before.max(THRESHOLD) };
        assert!(spread(&farm) <= most, "{told}: now {:?}", shares(&farm));
    }
}

/// Servers die and come back in the middle of moves.
#[test]
fn whoever_dies_in_a_move_no_chunk_is_lost_and_it_goes_on() {
    for seed in 0..12_u64 {
        let mut farm = Farm::of((0..4).map(|_| disk(100, None)).collect());
        let chunks = farm.put(90, 2);
        farm.disks.push(disk(100, None));
        farm.come(5);
        farm.run(5 + (seed % 7) as usize);
        assert!(farm.world.summary().moves_running > 0, "seed {seed}");
        let n = 1 + (seed % 5) as usize;
        farm.die(n);
        farm.run(2 + (seed % 13) as usize);
        assert!(chunks.iter().all(|chunk| farm.live_holders(*chunk) > 0), "seed {seed}");
        farm.come(n);
        farm.run(200);
        for chunk in &chunks {
            assert_eq!(farm.holders(*chunk).len(), 2, "seed {seed}: {chunk}");
        }
        assert!(spread(&farm) <= THRESHOLD, "seed {seed}: {:?}", shares(&farm));
    }
}
