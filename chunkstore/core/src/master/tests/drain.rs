//! Draining servers, chunks that are all on one rack, and how much is copied at once.

use super::repair::{Disk, Farm};
use super::*;

impl Farm {
    fn drain(&mut self, n: usize, stop: bool) {
        let request = DrainServer { stamp: self.world.stamp(), host: host(n), stop };
        assert_eq!(self.world.mutate(Mutation::Drain(request)), Ok(Reply::Done));
    }

    fn left(&mut self, n: usize) -> DrainReport {
        let report = self.world.report_servers();
        report.servers.iter().find(|server| server.host == host(n)).unwrap().drain.unwrap()
    }
}

impl World {
    pub(super) fn report_servers(&mut self) -> ClusterReport {
        match self.query(Query::Report(Report::default())).unwrap() {
            Reply::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_drained_server_gets_nothing_new_and_its_chunks_are_made_elsewhere() {
    let mut farm = Farm::new(4);
    let chunks = farm.put(40, 2);
    let on_it = farm.disks[0].chunks.clone();
    farm.drain(1, false);
    farm.world.pass(Duration::from_millis(500));
    let left = farm.left(1);
    assert_eq!((left.chunks_left, left.counted), (on_it.len() as u64, true));
    assert_eq!(left.bytes_left, on_it.values().sum::<u64>());
    farm.run(60);
    assert!(farm.left(1).is_done(), "{:?}", farm.left(1));
    assert_eq!(farm.disks[0].chunks, on_it, "it keeps what it has, and gets nothing");
    let elsewhere = |farm: &Farm, chunk: &ChunkId| {
        farm.holders(*chunk).iter().filter(|holder| **holder != 1).count()
    };
    assert!(chunks.iter().all(|chunk| elsewhere(&farm, chunk) == 2));
    let more: Vec<_> = (0..10).map(|n| farm.put_one(&format!("/more-{n}"), 3)).collect();
    assert!(more.iter().all(|chunk| !farm.holders(*chunk).contains(&1)));
    let located = farm.world.locate("/f0").unwrap().chunks[0].servers.len();
    assert_eq!(located, farm.holders(chunks[0]).len(), "it is still read from");
    farm.die(1);
    farm.run(30);
    assert_eq!(farm.copied.len(), on_it.len(), "nothing is missed when it is gone");
}

#[test]
fn a_drain_outlives_restarts_of_the_master_and_of_the_server() {
    let mut farm = Farm::new(4);
    farm.put(20, 2);
    farm.drain(1, false);
    farm.world.restart_in_safe_mode();
    assert!(!farm.left(1).counted, "nothing is known yet");
    farm.run(3);
    farm.die(1);
    farm.run(15);
    farm.come(1);
    farm.run(60);
    assert!(farm.left(1).is_done());
    let on_it = farm.disks[0].chunks.len();
    farm.put_one("/new", 3);
    assert_eq!(farm.disks[0].chunks.len(), on_it);
}

#[test]
fn a_drain_that_is_stopped_leaves_no_surplus() {
    let mut farm = Farm::new(4);
    let chunks = farm.put(30, 2);
    farm.drain(1, false);
    farm.run(40);
    let records = farm.world.journal.len();
    farm.drain(1, false);
    assert_eq!(farm.world.journal.len(), records, "it is so already");
    farm.drain(1, true);
    farm.run(20);
    assert!(chunks.iter().all(|chunk| farm.holders(*chunk).len() == 2));
    assert!(farm.world.report_servers().servers.iter().all(|server| server.drain.is_none()));
}

#[test]
fn a_drain_with_too_few_other_servers_says_what_is_left_and_ends_when_one_comes() {
    let mut farm = Farm::new(3);
    farm.put(5, 3);
    farm.drain(3, false);
    farm.run(20);
    assert_eq!((farm.left(3).chunks_left, farm.copied.len()), (5, 0));
    farm.disks.push(Disk::default());
    farm.come(4);
    farm.run(20);
    assert!(farm.left(3).is_done());
}

#[test]
fn a_server_that_nobody_knows_is_not_drained_and_one_that_is_drained_is_named() {
    let mut farm = Farm::new(2);
    let request = DrainServer { stamp: farm.world.stamp(), host: host(9), stop: false };
    let refused = farm.world.mutate(Mutation::Drain(request));
    assert_eq!(refused, Err(ForgetError::UnknownServer { host: host(9) }.into()));
    farm.drain(2, false);
    let error = farm.world.create("/f").unwrap_err().to_string();
    assert!(error.contains("host-2 is being drained"), "{error}");
}

fn on_rack(rack: &'static str) -> Disk {
    Disk { rack: Some(rack), ..Disk::default() }
}

#[test]
fn chunks_on_one_rack_alone_are_spread_when_another_rack_comes() {
    let mut farm = Farm::of(vec![on_rack("/a"), on_rack("/a"), on_rack("/a")]);
    let chunks = farm.put(12, 2);
    farm.disks.push(on_rack("/b"));
    farm.come(4);
    farm.run(40);
    assert_eq!(farm.copied.len(), chunks.len(), "one copy each");
    for chunk in chunks {
        let holders = farm.holders(chunk);
        assert!(holders.len() == 2 && holders.contains(&4), "{chunk}: {holders:?}");
    }
}

#[test]
fn chunks_stay_on_one_rack_while_the_other_has_no_room() {
    let full = Disk { free: Some(1 << 20), ..on_rack("/b") };
    let mut farm = Farm::of(vec![on_rack("/a"), on_rack("/a"), on_rack("/a"), full]);
    let chunks = farm.put(6, 2);
    farm.run(30);
    assert_eq!(farm.copied, [], "one more on the same rack would only be removed again");
    assert!(chunks.iter().all(|chunk| farm.holders(*chunk).len() == 2));
}

#[test]
fn what_is_nearest_to_loss_goes_before_what_is_drained_and_that_before_racks() {
    use RepairCause::{Draining, MisReplicated, Under};
    let mut queue = super::super::queue::Queue::default();
    for (chunk, cause) in
        [(1, MisReplicated), (2, Under { live: 2 }), (3, Draining), (4, Under { live: 1 })]
    {
        queue.wait(ChunkId(chunk), cause);
    }
    let tries = |queue: &mut super::super::queue::Queue, last, n| {
        queue.tries(last, n).iter().map(|chunk| chunk.0).collect::<Vec<_>>()
    };
    assert_eq!(tries(&mut queue, MisReplicated, 9), [4, 2, 3, 1]);
    assert_eq!(tries(&mut queue, Under { live: 1 }, 9), [4]);
    for chunk in 5..9 {
        queue.wait(ChunkId(chunk), MisReplicated);
    }
    assert_eq!(tries(&mut queue, MisReplicated, 2), [4, 2, 3, 1, 5]);
    assert_eq!(tries(&mut queue, MisReplicated, 2), [4, 2, 3, 6, 7], "the others have their turn");
    assert_eq!(tries(&mut queue, MisReplicated, 2), [4, 2, 3, 8, 1]);
}

#[test]
fn small_chunks_are_copied_in_larger_numbers_than_long_ones() {
    for (length, expected) in [(64 << 20, 2..=2), (1 << 20, 17..=32)] {
        let mut farm = Farm::new(3);
        for n in 0..200 {
            farm.put_bytes(&format!("/f{n}"), 2, length);
        }
        farm.die(1);
        farm.run(40);
        assert!(expected.contains(&farm.most_streams), "{length}: {}", farm.most_streams);
    }
}

/// A copy takes a second here, and each server may run two. What a dead server held is copied in
/// about as many seconds as the busiest of the others needs for its share.
#[test]
fn no_source_idles_while_there_is_something_for_it_to_send() {
    let mut farm = Farm::new(4);
    let chunks = farm.put(300, 2);
    farm.die(1);
    let sends = |n: usize| {
        let only = |chunk: &&ChunkId| farm.holders(**chunk) == [1, n].into();
        chunks.iter().filter(only).count()
    };
    let shares: Vec<usize> = (2..=4).map(sends).collect();
    let lost: usize = shares.iter().sum();
    assert!(shares.iter().all(|share| share * 5 > lost), "all others can help: {shares:?}");
    let ideal = shares.iter().max().unwrap().div_ceil(2);
    farm.run(10);
    farm.copied.clear();
    let mut seconds = 0;
    while farm.world.summary().repairs_waiting + farm.world.summary().repairs_running > 0 {
        farm.run(1);
        seconds += 1;
        assert!(seconds < 1000);
    }
    assert!(seconds * 9 <= ideal * 10 + 27, "{seconds} s instead of {ideal}: {shares:?}");
}
