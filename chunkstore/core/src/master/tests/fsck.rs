//! The check of files, and the report.

use super::repair::Farm;
use super::*;

impl World {
    fn fsck_page(&mut self, at: &str, after: Option<FsckPlace>, limit: u32) -> FsckPage {
        let request = Fsck { path: path(at), after, limit };
        match self.query(Query::Fsck(request)).unwrap() {
            Reply::Fsck(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// All pages, with at most one bad chunk each.
    pub(in super::super) fn fsck(&mut self, at: &str) -> (Vec<(String, ChunkHealth)>, FsckCount) {
        let (mut bad, mut checked, mut after) = (Vec::new(), FsckCount::default(), None);
        loop {
            let page = self.fsck_page(at, after, 1);
            for file in page.files {
                let named = file.chunks.into_iter().map(|chunk| (file.path.to_string(), chunk));
                bad.extend(named);
            }
            checked += page.checked;
            after = page.next;
            if after.is_none() {
                return (bad, checked);
            }
        }
    }
}

fn faults(bad: &[(String, ChunkHealth)]) -> Vec<(&str, ChunkFault)> {
    bad.iter().map(|(path, chunk)| (path.as_str(), chunk.fault)).collect()
}

#[test]
fn a_healthy_store_has_nothing_to_tell() {
    let mut world = World::with_servers(2);
    world.mkdirs("/a/empty");
    world.put("/a/f", 2 * CHUNK);
    world.put("/g", 5);
    world.create("/open").unwrap();
    let (bad, checked) = world.fsck("/");
    assert_eq!(bad, []);
    let expected = FsckCount { files: 3, open_files: 1, chunks: 3, bytes: 2 * CHUNK + 5 };
    assert_eq!(checked, expected);
    assert_eq!(world.fsck("/a").1.chunks, 2);
    assert_eq!(world.fsck("/g").1.chunks, 1, "of a file alone too");
}

#[test]
fn each_fault_is_told_with_its_servers_and_their_reasons() {
    let mut world = World::empty();
    let registered: Vec<_> = (1..=3).map(|n| world.register(n)).collect();
    world.beat(heartbeat(3, &registered[2], 1, vec![])).unwrap();
    for at in ["/corrupt", "/missing", "/over", "/under"] {
        world.put(at, 5);
    }
    let chunk = |world: &mut World, at| world.locate(at).unwrap().chunks[0].chunk;
    let lost = |chunk| ReplicaEvent::Lost { chunk, version: Version(1) };
    let (corrupt, under) = (chunk(&mut world, "/corrupt"), chunk(&mut world, "/under"));
    let over = chunk(&mut world, "/over");
    let mut told: Vec<Vec<ReplicaEvent>> = vec![Vec::new(); 3];
    for n in 1..=3 {
        let holds = |world: &mut World, at| {
            hosts_of(&world.locate(at).unwrap().chunks[0].servers).contains(&host(n))
        };
        if holds(&mut world, "/corrupt") {
            told[n - 1].push(lost(corrupt));
        }
        told[n - 1].push(held(over, 5));
    }
    let first = hosts_of(&world.locate("/under").unwrap().chunks[0].servers)[0].clone();
    let n = (1..=3).find(|n| host(*n) == first).unwrap();
    told[n - 1].push(lost(under));
    for (n, events) in (1..).zip(told) {
        world.beat(heartbeat(n, &registered[n - 1], 2, events)).unwrap();
    }
    let (bad, _) = world.fsck("/");
    use ChunkFault::{Corrupt, Over, Under};
    assert_eq!(faults(&bad), [("/corrupt", Corrupt), ("/over", Over), ("/under", Under)]);
    assert!(bad[0].1.replicas.iter().all(|replica| replica.state == ReplicaState::Broken));
    assert_eq!(bad[0].1.replicas.len(), 2);
    let of_first = bad[2].1.replicas.iter().find(|replica| replica.host == first).unwrap();
    assert_eq!(of_first.state, ReplicaState::Broken);
    assert!(matches!(bad[2].1.repair, RepairState::Waiting | RepairState::Copying { .. }));

    world.pass(Duration::from_secs(15));
    let (bad, _) = world.fsck("/missing");
    assert_eq!(faults(&bad), [("/missing", ChunkFault::Missing)]);
    let dead = |replica: &ReplicaHealth| matches!(replica.state, ReplicaState::Dead { seconds: 5 });
    assert!(bad[0].1.replicas.iter().all(dead), "{bad:?}");
}

#[test]
fn a_stale_replica_is_told_and_counts_for_nothing() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.restart();
    let registered = world.register(1);
    world.beat(heartbeat(1, &registered, 1, vec![held(chunk, 4)])).unwrap();
    let (bad, _) = world.fsck("/");
    assert_eq!(faults(&bad), [("/f", ChunkFault::Missing)]);
    let stale = ReplicaHealth { host: host(1), state: ReplicaState::Stale };
    assert_eq!(bad[0].1.replicas, [stale]);
}

#[test]
fn a_check_goes_on_where_it_was_though_what_stood_there_is_gone() {
    let mut world = World::with_servers(2);
    world.mkdirs("/a/b");
    for at in ["/a/b/x", "/a/b/y", "/a/c", "/d"] {
        world.put(at, 5);
    }
    world.pass(Duration::from_secs(10));
    for n in 1..=2 {
        let registered = world.register(n);
        world.beat(heartbeat(n, &registered, 1, vec![])).unwrap();
    }
    let page = world.fsck_page("/", None, 1);
    assert_eq!(page.files[0].path, path("/a/b/x"));
    world.delete("/a/b", true).unwrap();
    let page = world.fsck_page("/", page.next, 100);
    let rest: Vec<_> = page.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!((rest, page.next), (vec!["/a/c", "/d"], None));
}

#[test]
fn a_check_of_very_many_files_is_cut_into_steps() {
    let mut world = World::crowded(2 * READ_STEP);
    let (mut after, mut checked, mut steps) = (None, FsckCount::default(), 0);
    loop {
        let page = world.fsck_page("/", after, FSCK_CHUNKS_MAX);
        assert!(page.checked.chunks <= READ_STEP as u64);
        checked += page.checked;
        steps += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((checked.files, checked.chunks), (2 * READ_STEP as u64, 2 * READ_STEP as u64));
    assert!(steps >= 4, "{steps}: entries count, and chunks");
}

#[test]
fn a_check_of_nothing_and_a_page_without_bounds_are_refused() {
    let mut world = World::empty();
    let mut refused = |at: &str, limit| {
        let request = Fsck { path: path(at), after: None, limit };
        world.query(Query::Fsck(request)).unwrap_err().kind()
    };
    assert_eq!(refused("/none", 1), ProblemKind::NotFound);
    assert_eq!(refused("/", 0), ProblemKind::InvalidRequest);
    assert_eq!(refused("/", FSCK_CHUNKS_MAX + 1), ProblemKind::InvalidRequest);
}

#[test]
fn the_report_tells_who_lives_and_what_is_copied() {
    let mut farm = Farm::new(4);
    farm.put(30, 2);
    farm.die(1);
    let on_it = farm.disks[0].chunks.len() as u64;
    farm.run(11);
    let report = farm.world.report_servers();
    assert_eq!((report.totals.servers_live, report.totals.servers_dead), (3, 1));
    assert!(matches!(report.servers[0].liveness, Liveness::Dead { seconds: 0..=2 }), "{report:?}");
    for (server, disk) in report.servers.iter().zip(&farm.disks).skip(1) {
        assert_eq!(server.liveness, Liveness::Live);
        let told = disk.chunks.len() as u64;
        assert!(server.replicas.abs_diff(told) <= 2, "{server:?} has {told}");
    }
    let repairs = &report.repairs;
    assert_eq!(repairs.n_running, repairs.running.len() as u64);
    assert!(repairs.n_running > 0 && repairs.running.iter().all(|copy| copy.from != copy.to));
    let waiting: u64 = repairs.waiting.iter().map(|waiting| waiting.chunks).sum();
    assert_eq!(repairs.n_running + waiting + farm.copied.len() as u64, on_it);
    farm.run(60);
    let report = farm.world.report_servers();
    assert_eq!((report.repairs.n_running, report.repairs.waiting.len()), (0, 0));
    let told: u64 = report.servers.iter().map(|server| server.replicas).sum();
    assert_eq!(told, 60, "each replica is counted once");
}

#[test]
fn the_report_of_a_master_that_has_just_started_says_whom_it_waits_for() {
    let mut world = World::with_servers(2);
    world.restart_in_safe_mode();
    let registered = world.register(1);
    let report = world.report_servers();
    let awaited = vec![host(1), host(2)];
    assert_eq!(
        report.safe_mode,
        Some(Box::new(SafeModeReport { awaited, seconds_left: 11, journal_outdated: None }))
    );
    let states: Vec<_> = report.servers.iter().map(|server| server.liveness).collect();
    assert_eq!(states, [Liveness::Reporting, Liveness::Awaited]);
    world.beat(heartbeat(1, &registered, 1, vec![])).unwrap();
    world.pass(Duration::from_secs(12));
    let report = world.report_servers();
    assert_eq!(report.safe_mode, None);
    assert_eq!(report.servers[1].liveness, Liveness::Dead { seconds: 12 });
}
