//! Chunkservers: registration, heartbeats, deaths, reports, garbage, placement as a whole.

use std::collections::BTreeMap;

use super::*;

fn deletes(reply: &ServerHeartbeatReply) -> Vec<ChunkId> {
    reply
        .commands
        .iter()
        .filter_map(|Numbered { item, .. }| match item {
            ServerCommand::Delete { chunk, .. } => Some(*chunk),
            ServerCommand::Copy { .. }
            | ServerCommand::Verify { .. }
            | ServerCommand::Assemble { .. }
            | ServerCommand::EndLog { .. } => None,
        })
        .collect()
}

#[test]
fn registration_is_checked() {
    let mut world = World::empty();
    let mut check = |change: fn(&mut RegisterServer), expected: ProblemKind| {
        let mut request = registration(1);
        change(&mut request);
        let error = world.try_register(request).unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!(world.summary().servers_live, 0);
    };
    check(|r| r.protocol += 1, ProblemKind::WrongProtocol);
    check(|r| r.cluster = Some("cluster-2".parse().unwrap()), ProblemKind::WrongCluster);
    for address in ["", "nowhere", ":7870", "host:", "host:port"] {
        let mut request = registration(1);
        request.address = address.to_owned();
        let error = world.try_register(request).unwrap_err();
        assert_eq!(error.kind(), ProblemKind::InvalidRequest, "{error}");
    }
    let mut request = registration(1);
    request.cluster = Some("cluster-1".parse().unwrap());
    let registered = world.try_register(request).unwrap();
    assert_eq!(registered.epoch, Epoch(1));
    assert_eq!(registered.heartbeat_interval_ms, 1000);
}

#[test]
fn a_host_name_is_taken_while_its_server_lives_elsewhere() {
    let mut world = World::with_servers(1);
    let mut impostor = registration(1);
    (impostor.incarnation, impostor.address) = (99, "127.0.0.1:99".to_owned());
    let error = world.try_register(impostor.clone()).unwrap_err();
    let address = "127.0.0.1:1".to_owned();
    assert_eq!(error, ServerError::HostNameTaken { host: host(1), address });
    let mut restarted = registration(1);
    restarted.incarnation = 50;
    assert!(world.try_register(restarted).is_ok(), "the same address: a restart");
    world.pass(Duration::from_secs(10));
    assert!(world.try_register(impostor).is_ok(), "the old one is dead");
}

#[test]
fn messages_of_another_epoch_session_or_of_a_dead_server_are_refused() {
    let mut world = World::empty();
    let first = world.register(1);
    let second = world.register(1);
    let refused = |world: &mut World, registered: &ServerRegistered| {
        let error = world.beat(heartbeat(1, registered, 1, vec![])).unwrap_err();
        assert_eq!(error.kind(), ProblemKind::NotRegistered, "{error}");
    };
    refused(&mut world, &first);
    assert!(world.beat(heartbeat(1, &second, 1, vec![])).is_ok());
    let unknown = heartbeat(2, &second, 1, vec![]);
    assert_eq!(world.beat(unknown).unwrap_err().kind(), ProblemKind::NotRegistered);
    world.restart();
    refused(&mut world, &second);
    let third = world.register(1);
    assert_eq!(third.epoch, Epoch(2));
    world.pass(Duration::from_secs(10));
    assert!(world.notices.contains(&Notice::ServerDied { host: host(1) }));
    refused(&mut world, &third);
    let counts = world.summary();
    assert_eq!((counts.servers_live, counts.servers_dead), (0, 1));
}

#[test]
fn heartbeats_keep_a_server_alive_and_repeated_ones_do_not() {
    let mut world = World::empty();
    let registered = world.register(1);
    for number in 1..=5 {
        world.pass(Duration::from_secs(9));
        assert!(world.beat(heartbeat(1, &registered, number, vec![])).is_ok());
    }
    world.pass(Duration::from_secs(9));
    let repeated = world.beat(heartbeat(1, &registered, 5, vec![])).unwrap();
    assert_eq!(repeated.epoch, Epoch(1));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.summary().servers_live, 0);
}

#[test]
fn a_master_that_stood_still_counts_no_server_as_dead_before_it_could_speak() {
    let mut world = World::empty();
    let registered = world.register(1);
    world.register(2);
    world.pass(Duration::from_secs(8));
    world.pause(Duration::from_secs(3600));
    // The timeout comes first; the heartbeats were queued behind it.
    world.pass(Duration::ZERO);
    assert_eq!(world.summary().servers_live, 2);
    assert!(world.beat(heartbeat(1, &registered, 1, vec![])).is_ok());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.summary().servers_live, 1, "one is silent though it could be heard");
    world.pass(Duration::from_secs(8));
    assert_eq!(world.summary().servers_live, 0, "the silence of all is not the master's own");
}

#[test]
fn readers_are_sent_to_live_servers_that_hold_the_chunk() {
    let mut world = World::empty();
    let registered: Vec<_> = (1..=3).map(|n| world.register(n)).collect();
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let holders = |world: &mut World| hosts_of(&world.locate("/f").unwrap().chunks[0].servers);
    assert_eq!(holders(&mut world), [host(1), host(2)]);

    world.beat(heartbeat(3, &registered[2], 1, vec![held(chunk, 5)])).unwrap();
    assert_eq!(holders(&mut world), [host(1), host(2), host(3)]);
    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
    world.beat(heartbeat(2, &registered[1], 1, vec![lost])).unwrap();
    assert_eq!(holders(&mut world), [host(1), host(3)]);
    world.pass(Duration::from_secs(9));
    world.beat(heartbeat(3, &registered[2], 2, vec![held(chunk, 5)])).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(holders(&mut world), [host(3)], "the first is dead");
    world.register(1);
    assert_eq!(holders(&mut world), [host(1), host(3)], "its last report counts until the new one");
    let again = world.register(1);
    world.beat(heartbeat(1, &again, 1, vec![])).unwrap();
    assert_eq!(holders(&mut world), [host(3)], "it came back empty");
}

#[test]
fn after_a_restart_replicas_are_known_as_servers_report_them() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.restart();
    assert!(world.locate("/f").unwrap().chunks[0].servers.is_empty());
    let registered = world.register(2);
    let reply = world.beat(heartbeat(2, &registered, 1, vec![held(chunk, 5)])).unwrap();
    assert_eq!((reply.events_received, reply.commands.len()), (1, 0));
    assert_eq!(hosts_of(&world.locate("/f").unwrap().chunks[0].servers), [host(2)]);
}

#[test]
fn deleted_files_chunks_are_deleted_on_every_server_until_it_is_done() {
    let mut world = World::empty();
    let registered: Vec<_> = (1..=2).map(|n| world.register(n)).collect();
    world.put("/f", 2 * CHUNK);
    let chunks: Vec<_> = world.locate("/f").unwrap().chunks.iter().map(|c| c.chunk).collect();
    world.delete("/f", false).unwrap();
    assert_eq!(world.summary().commands_pending, 4);
    for (n, registered) in (1..).zip(&registered) {
        let first = world.beat(heartbeat(n, registered, 1, vec![])).unwrap();
        assert_eq!(deletes(&first), chunks);
        let again = world.beat(heartbeat(n, registered, 2, vec![])).unwrap();
        assert_eq!(again.commands, first.commands, "told until done");
        let mut done = heartbeat(n, registered, 3, vec![]);
        done.commands_done = 2;
        assert!(world.beat(done).unwrap().commands.is_empty());
    }
}

#[test]
fn garbage_of_a_server_that_was_away_is_deleted_when_it_reports() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.pass(Duration::from_secs(10));
    world.delete("/f", false).unwrap();
    world.restart();
    let registered = world.register(1);
    let reply = world.beat(heartbeat(1, &registered, 1, vec![held(chunk, 5)])).unwrap();
    assert_eq!(deletes(&reply), [chunk]);
}

#[test]
fn a_chunk_reported_while_it_is_open_is_kept_and_deleted_when_it_is_given_up() {
    let mut world = World::empty();
    let registered = world.register(1);
    world.register(2);
    let created = world.create("/f").unwrap();
    let chunk = created.allocation.chunk;
    let reply = world.beat(heartbeat(1, &registered, 1, vec![held(chunk, 5)])).unwrap();
    assert!(reply.commands.is_empty());
    let request = Abandon { stamp: world.stamp(), file: created.file };
    world.mutate(Mutation::Abandon(request)).unwrap();
    let reply = world.beat(heartbeat(1, &registered, 2, vec![])).unwrap();
    assert_eq!(deletes(&reply), [chunk]);
}

#[test]
fn a_report_before_the_seal_counts_once_the_chunk_is_sealed() {
    let mut world = World::empty();
    let registered: Vec<_> = (1..=3).map(|n| world.register(n)).collect();
    let created = world.create("/f").unwrap();
    let chunk = created.allocation.chunk;
    world.beat(heartbeat(3, &registered[2], 1, vec![held(chunk, 5)])).unwrap();
    world.close(created.file, Some(seal(&created.allocation, 5))).unwrap();
    let holders = hosts_of(&world.locate("/f").unwrap().chunks[0].servers);
    assert_eq!(holders, [host(3), host(1), host(2)]);
}

#[test]
fn a_stale_replica_is_deleted_only_while_a_good_one_lives() {
    for (version, length, checksum) in [(0, 5, 7), (1, 4, 7), (1, 5, 8)] {
        let mut world = World::with_servers(2);
        world.put("/f", 5);
        let chunk = world.locate("/f").unwrap().chunks[0].chunk;
        world.restart();
        let bad = world.register(1);
        let event = ReplicaEvent::Held { chunk, version: Version(version), length, checksum };
        let reply = world.beat(heartbeat(1, &bad, 1, vec![event])).unwrap();
        assert!(reply.commands.is_empty(), "the last copy of anything is kept");
        assert!(world.locate("/f").unwrap().chunks[0].servers.is_empty(), "but not read");
        let notice = Notice::StaleReplica { host: host(1), chunk };
        assert!(world.notices.contains(&notice));
        let good = world.register(2);
        let mut told = vec![held(chunk, 5)];
        world.beat(heartbeat(2, &good, 1, told.clone())).unwrap();
        if version == 1 {
            // Other bytes of the same version might be the only sound ones.
            let reply = world.beat(heartbeat(1, &bad, 2, vec![])).unwrap();
            assert!(deletes(&reply).is_empty(), "nobody has read the good one");
            let whole = true;
            told.push(ReplicaEvent::Verified { chunk, version: Version(1), whole });
            world.beat(heartbeat(2, &good, 2, told)).unwrap();
        }
        let reply = world.beat(heartbeat(1, &bad, 3, vec![])).unwrap();
        assert_eq!(deletes(&reply), [chunk]);
        assert_eq!(hosts_of(&world.locate("/f").unwrap().chunks[0].servers), [host(2)]);
    }
}

#[test]
fn a_replica_newer_than_the_master_knows_is_never_deleted() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let registered = world.register(3);
    let event = ReplicaEvent::Held { chunk, version: Version(2), length: 9, checksum: 9 };
    let reply = world.beat(heartbeat(3, &registered, 1, vec![event])).unwrap();
    assert!(reply.commands.is_empty());
}

#[test]
fn a_large_report_is_taken_in_parts_and_counts_when_it_is_whole() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.register(1);
    let registered = world.register(1);
    let mut report = vec![held(ChunkId(5000), 1); EVENTS_PER_HEARTBEAT_MAX - 1];
    report.push(held(chunk, 5));
    let whole = EVENTS_PER_HEARTBEAT_MAX as u64;
    let mut received = Vec::new();
    for number in 1..=4 {
        let beat = heartbeat(1, &registered, number, report.clone());
        received.push(world.beat(beat).unwrap().events_received);
    }
    assert_eq!(received, [4096, 8192, whole, whole]);
    assert_eq!(hosts_of(&world.locate("/f").unwrap().chunks[0].servers), [host(2), host(1)]);
}

fn spread(world: &mut World, n_chunks: usize, replication: u8) -> BTreeMap<HostName, usize> {
    let mut counts = BTreeMap::new();
    let mut request = create(world.stamp(), "/spread");
    request.replication = Some(replication);
    let Reply::Created(created) = world.mutate(Mutation::Create(request)).unwrap() else {
        panic!("not created")
    };
    let mut allocation = created.allocation;
    for _ in 0..n_chunks {
        for server in &allocation.pipeline {
            *counts.entry(server.host.clone()).or_default() += 1;
        }
        let sealed = Some(seal(&allocation, CHUNK));
        let request = Allocate { sealed, ..allocate(world.stamp(), created.file) };
        allocation = world.allocate(request).unwrap();
    }
    world.close(created.file, None).unwrap();
    counts
}

#[test]
fn a_hundred_chunks_spread_evenly_over_four_servers() {
    for replication in [1, 2, 3] {
        let mut world = World::with_servers(4);
        let counts = spread(&mut world, 100, replication);
        let fair = 25 * usize::from(replication);
        for n in 1..=4 {
            assert!(counts[&host(n)].abs_diff(fair) <= 2, "{replication}: {counts:?}");
        }
    }
}

#[test]
fn servers_that_differ_a_little_in_free_space_still_share_evenly() {
    let mut world = World::empty();
    for n in 1..=4 {
        let mut request = registration(n);
        request.free_bytes -= (n as u64) << 28;
        world.try_register(request).unwrap();
    }
    let counts = spread(&mut world, 100, 1);
    assert!(counts.values().all(|count| count.abs_diff(25) <= 2), "{counts:?}");
}

#[test]
fn a_much_fuller_server_gets_less_but_not_nothing() {
    let mut world = World::with_servers(2);
    let mut small = registration(3);
    small.free_bytes = 1 << 30;
    world.try_register(small).unwrap();
    let counts = spread(&mut world, 90, 1);
    assert_eq!((counts[&host(1)], counts[&host(2)], counts[&host(3)]), (40, 40, 10));
}

#[test]
fn a_newcomer_is_not_flooded() {
    let mut world = World::with_servers(2);
    spread(&mut world, 100, 1);
    world.register(3);
    world.delete("/spread", false).unwrap();
    let counts = spread(&mut world, 30, 1);
    assert!(counts.values().all(|count| count.abs_diff(10) <= 1), "{counts:?}");
}

#[test]
fn the_writers_host_gets_the_first_replica_and_excluded_servers_none() {
    let mut world = World::with_servers(4);
    let mut request = create(world.stamp(), "/f");
    request.writer_host = Some(host(3));
    let Reply::Created(created) = world.mutate(Mutation::Create(request)).unwrap() else {
        panic!("not created")
    };
    assert_eq!(created.allocation.pipeline[0].host, host(3));
    for _ in 0..20 {
        let mut request = allocate(world.stamp(), created.file);
        request.abandoned = world.master.durable().writer(created.file).unwrap().open.map(|o| o.0);
        (request.writer_host, request.exclude) = (Some(host(3)), vec![host(3), host(1)]);
        let mut chosen = hosts_of(&world.allocate(request).unwrap().pipeline);
        chosen.sort();
        assert_eq!(chosen, [host(2), host(4)]);
    }
}

#[test]
fn a_cluster_that_starts_is_told_from_one_whose_servers_are_dead() {
    let mut world = World::empty();
    let refused = |world: &mut World| world.create("/f").unwrap_err().kind();
    world.pass(Duration::from_secs(60));
    assert_eq!(refused(&mut world), ProblemKind::Starting, "none has ever registered");
    world.register(1);
    assert_eq!(refused(&mut world), ProblemKind::NoServers, "the others are late");
    world.restart();
    assert_eq!(refused(&mut world), ProblemKind::NoServers, "one has registered once, and is dead");
}

#[test]
fn when_no_server_can_take_a_chunk_each_is_named_with_its_reason() {
    let mut world = World::with_servers(2);
    world.pass(Duration::from_secs(5));
    let registered = world.register(1);
    world.pass(Duration::from_secs(5));
    let error = world.create("/f").unwrap_err();
    assert!(matches!(error, FsError::NoLiveServers { needed: 2, .. }));
    world.pass(Duration::from_secs(2));
    world.beat(heartbeat(1, &registered, 1, vec![])).unwrap();
    let text = world.create("/f").unwrap_err().to_string();
    let says = "needs 2 live chunkserver(s) (what is to have 2 replicas or more must be on 2 from the \
                start), there is host-1: host-2 is dead for 2 s; start chunkservers, or ask for 1 replica";
    assert!(text.contains(says), "{text}");
    assert_eq!(error.kind(), ProblemKind::NoServers);

    world.register(2);
    let mut full = heartbeat(1, &registered, 2, vec![]);
    full.free_bytes = 1000;
    world.beat(full).unwrap();
    let error = world.create("/f").unwrap_err();
    assert!(matches!(error, FsError::NoRoom { needed: 2, .. }));
    assert!(
        error.to_string().contains("host-1 has 1000 bytes free beyond chunkserver.reserve"),
        "{error}"
    );
    assert!(world.stat("/f").is_err());
}

#[test]
fn chunks_given_out_since_the_last_heartbeat_count_against_the_room() {
    let mut world = World::empty();
    let mut request = registration(1);
    // Including what the last replica's file takes besides its bytes.
    let room_for_two = 2 * CHUNK + (64 << 10);
    request.free_bytes = room_for_two;
    let registered = world.try_register(request).unwrap();
    let one = |world: &mut World, at: &str| {
        let mut request = create(world.stamp(), at);
        request.replication = Some(1);
        world.mutate(Mutation::Create(request))
    };
    assert!(one(&mut world, "/a").is_ok() && one(&mut world, "/b").is_ok());
    assert!(matches!(one(&mut world, "/c"), Err(FsError::NoRoom { .. })));
    let mut beat = heartbeat(1, &registered, 1, vec![]);
    beat.free_bytes = room_for_two;
    world.beat(beat).unwrap();
    assert!(one(&mut world, "/c").is_ok(), "nothing of it was used up");
}

#[test]
fn many_orphans_in_one_report_are_kept_until_an_operator_lets_them_go() {
    for (n_orphans, is_kept) in [(100, false), (101, true)] {
        let mut world = World::with_servers(2);
        world.put("/f", n_orphans * CHUNK);
        let chunks: Vec<_> = world.locate("/f").unwrap().chunks.iter().map(|c| c.chunk).collect();
        world.pass(Duration::from_secs(10));
        world.delete("/f", false).unwrap();
        let registered = world.register(1);
        let report = || chunks.iter().map(|chunk| held(*chunk, CHUNK)).collect();
        let orphans = |reply: &ServerHeartbeatReply| {
            let is_orphan = |command: &ServerCommand| {
                matches!(command, ServerCommand::Delete { orphan: true, .. })
            };
            reply.commands.iter().filter(|command| is_orphan(&command.item)).count()
        };
        let reply = world.beat(heartbeat(1, &registered, 1, report())).unwrap();
        let held_back = if is_kept { n_orphans } else { 0 };
        assert_eq!(orphans(&reply) as u64, n_orphans - held_back);
        assert_eq!(world.report_servers().servers[0].orphans, held_back);
        let told = world.notices.iter().any(|it| matches!(it, Notice::OrphansHeld { .. }));
        assert_eq!(told, is_kept);
        if is_kept {
            let registered = world.register(1);
            let request = Query::DeleteOrphans(DeleteOrphans { host: host(1) });
            assert!(world.query(request.clone()).is_err(), "it tells them anew");
            world.beat(heartbeat(1, &registered, 1, report())).unwrap();
            assert_eq!(world.report_servers().servers[0].orphans, n_orphans, "not twice");
            let deleted = Reply::OrphansDeleted(OrphansDeleted { deleted: n_orphans });
            assert_eq!(world.query(request), Ok(deleted));
            let reply = world.beat(heartbeat(1, &registered, 2, vec![])).unwrap();
            assert_eq!(orphans(&reply) as u64, n_orphans);
        }
    }
}

#[test]
fn what_a_server_writes_after_its_report_and_nobody_wants_goes_at_once() {
    let mut world = World::with_servers(2);
    let created = world.create("/f").unwrap();
    let registered = world.register(1);
    world.beat(heartbeat(1, &registered, 1, vec![])).unwrap();
    let request = Abandon { stamp: world.stamp(), file: created.file };
    world.mutate(Mutation::Abandon(request)).unwrap();
    let chunk = created.allocation.chunk;
    let mut late = heartbeat(1, &registered, 2, vec![held(chunk, 5)]);
    late.report_complete = true;
    let reply = world.beat(late).unwrap();
    let delete = ServerCommand::Delete { chunk, version: Version(1), orphan: false };
    assert_eq!(reply.commands.last().map(|command| &command.item), Some(&delete));
}
