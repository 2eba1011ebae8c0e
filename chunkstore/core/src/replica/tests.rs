//! Tables and loops over one server's replicas and its exchange with a master.

use std::time::Duration;

use chunkstore_protocol::{
    ChunkId, EVENTS_PER_HEARTBEAT_MAX, ReplicaEvent, ServerCommand, Term, Version,
};
use ids::{Epoch, Numbered, UnixMillis};

use super::*;

const INTERVAL_MS: u64 = 1000;

fn at(millis: u64) -> Now {
    Now { monotonic: Monotonic(Duration::from_millis(millis)), wall: UnixMillis(millis) }
}

fn key(chunk: u64, version: u32) -> ReplicaKey {
    ReplicaKey { chunk: ChunkId(chunk), version: Version(version) }
}

fn sealed(length: u64) -> Sealed {
    Sealed { length, checksum: 1 }
}

fn held(chunk: u64, length: u64) -> ReplicaEvent {
    ReplicaEvent::Held { chunk: ChunkId(chunk), version: Version(1), length, checksum: 1 }
}

fn lost(chunk: u64) -> ReplicaEvent {
    ReplicaEvent::Lost { chunk: ChunkId(chunk), version: Version(1) }
}

fn cluster(name: &str) -> ClusterId {
    name.parse().unwrap()
}

fn identity(cluster_of_folder: Option<&str>) -> Identity {
    Identity {
        cluster: cluster_of_folder.map(cluster),
        term: None,
        host: "host-1".parse().unwrap(),
        rack: ids::RackName::default_rack(),
        address: "127.0.0.1:7871".into(),
        incarnation: 5,
    }
}

fn server(chunks: u64) -> Replicas {
    Replicas::new(identity(Some("cluster-1")), 2, (1..=chunks).map(|n| (key(n, 1), sealed(n))))
}

fn registered(epoch: u64, session: u64) -> Input {
    Input::Registered(ServerRegistered {
        cluster: cluster("cluster-1"),
        epoch: Epoch(epoch),
        session,
        heartbeat_interval_ms: INTERVAL_MS,
    })
}

fn reply(events_received: u64, commands: Vec<(u64, u64)>) -> Input {
    let delete = |(number, chunk)| Numbered {
        number,
        item: ServerCommand::Delete { chunk: ChunkId(chunk), version: Version(1), orphan: false },
    };
    Input::HeartbeatReplied(ServerHeartbeatReply {
        epoch: Epoch(1),
        term_id: None,
        last_record: 0,
        events_received,
        commands: commands.into_iter().map(delete).collect(),
    })
}

fn heartbeat(effects: &[Effect]) -> ServerHeartbeat {
    let mut heartbeats = effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat(heartbeat) => Some(heartbeat.as_ref().clone()),
        _ => None,
    });
    let first = heartbeats.next().expect("a heartbeat is sent");
    assert_eq!(heartbeats.next(), None, "one message in flight at a time");
    first
}

fn items(heartbeat: &ServerHeartbeat) -> Vec<ReplicaEvent> {
    heartbeat.events.iter().map(|numbered| numbered.item.clone()).collect()
}

/// A server that has registered at 0 ms and whose report of `chunks` replicas is acknowledged.
fn known_server(chunks: u64) -> Replicas {
    let mut server = server(chunks);
    server.handle_timeout(at(0));
    let first = heartbeat(&server.handle(at(0), registered(1, 1)));
    assert!(first.report_complete);
    assert!(server.handle(at(0), reply(chunks, vec![])).is_empty());
    server
}

fn open(server: &mut Replicas, replica: ReplicaKey) -> OpenAnswer {
    let request = Input::OpenRequested { to: ReplyTo(7), replica, is_copy: false };
    match server.handle(at(1), request).as_slice() {
        [Effect::Reply { to: ReplyTo(7), answer }] => *answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn registering_reports_everything_held_first() {
    let mut server = server(3);
    let effects = server.handle_timeout(at(0));
    assert!(matches!(effects.as_slice(), [Effect::Register(_)]), "{effects:?}");
    assert_eq!(server.poll_timeout(), None, "one message in flight");
    let first = heartbeat(&server.handle(at(3), registered(1, 4)));
    assert_eq!(items(&first), [held(1, 1), held(2, 2), held(3, 3)]);
    assert_eq!((first.number.0, first.session, first.epoch), (1, 4, Epoch(1)));
    assert!(first.report_complete);
    let _ = server.handle(at(4), reply(3, vec![]));
    assert_eq!(server.poll_timeout(), Some(at(4 + INTERVAL_MS).monotonic));
    let second = heartbeat(&server.handle_timeout(at(4 + INTERVAL_MS)));
    assert_eq!((second.number.0, second.events.len()), (2, 0));
}

#[test]
fn what_is_lost_while_a_registration_is_in_flight_is_told_before_what_is_held() {
    let mut server = server(2);
    server.handle_timeout(at(0));
    // The master may know that registration, and writers may have told it of these replicas.
    for chunk in [1, 2] {
        assert!(server.handle(at(1), Input::Lost { replica: key(chunk, 1) }).is_empty());
    }
    assert_eq!(open(&mut server, key(2, 1)), OpenAnswer::Write);
    let _ = server.handle(at(2), Input::Sealed { replica: key(2, 1), sealed: sealed(2) });
    let first = heartbeat(&server.handle(at(3), registered(1, 4)));
    assert_eq!(items(&first), [lost(1), lost(2), held(2, 2)]);
    assert!(first.report_complete);
}

#[test]
fn a_long_report_is_complete_only_with_its_last_heartbeat() {
    let limit = EVENTS_PER_HEARTBEAT_MAX as u64;
    for (chunks, beats) in [(0, 1), (1, 1), (limit, 1), (limit + 1, 2), (3 * limit, 3)] {
        let mut server = server(chunks);
        server.handle_timeout(at(0));
        let mut effects = server.handle(at(0), registered(1, 1));
        let mut seen = Vec::new();
        let mut n_beats = 0;
        loop {
            let message = heartbeat(&effects);
            n_beats += 1;
            let last = message.events.last().map_or(0, |event| event.number);
            seen.extend(items(&message));
            assert_eq!(message.report_complete, seen.len() as u64 >= chunks);
            if message.report_complete {
                break;
            }
            effects = server.handle(at(0), reply(last, vec![]));
        }
        assert_eq!((n_beats, seen.len() as u64), (beats, chunks));
    }
}

#[test]
fn a_sealed_chunk_is_told_at_once_and_until_acknowledged() {
    let mut server = known_server(0);
    assert_eq!(open(&mut server, key(5, 1)), OpenAnswer::Write);
    let effects = server.handle(at(50), Input::Sealed { replica: key(5, 1), sealed: sealed(10) });
    let first = heartbeat(&effects);
    assert_eq!(items(&first), [held(5, 10)]);
    // The answer is lost; meanwhile another event joins the first one.
    assert_eq!(open(&mut server, key(6, 1)), OpenAnswer::Write);
    assert!(
        server.handle(at(51), Input::Sealed { replica: key(6, 1), sealed: sealed(20) }).is_empty(),
        "a message is in flight"
    );
    let _ = server.handle(at(60), Input::MasterSilent);
    let due = server.poll_timeout().unwrap();
    assert!(due > at(60).monotonic && due <= at(80).monotonic);
    let again = heartbeat(&server.handle_timeout(at(80)));
    assert_eq!(items(&again), [held(5, 10), held(6, 20)]);
    assert_eq!(again.number.0, first.number.0 + 1);
    let _ = server.handle(at(81), reply(2, vec![]));
    assert_eq!(server.summary().n_events_pending, 0);
}

#[test]
fn an_upload_may_begin_only_where_nothing_stands_in_its_way() {
    let mut server = known_server(1);
    assert_eq!(open(&mut server, key(1, 1)), OpenAnswer::AlreadySealed(sealed(1)));
    assert_eq!(open(&mut server, key(1, 0)), OpenAnswer::Stale { held: Version(1) });
    assert_eq!(open(&mut server, key(1, 2)), OpenAnswer::Write, "a newer version");
    assert_eq!(open(&mut server, key(1, 2)), OpenAnswer::Busy);
    assert_eq!(open(&mut server, key(2, 1)), OpenAnswer::Write);
    assert_eq!(open(&mut server, key(3, 1)), OpenAnswer::TooMany { uploads_max: 2 });
    let _ = server.handle(at(2), Input::Aborted { replica: key(2, 1) });
    assert_eq!(open(&mut server, key(3, 1)), OpenAnswer::Write, "an ended upload makes room");
    assert_eq!(server.sealed(key(2, 1)), None);
}

#[test]
fn a_deleted_replica_is_done_and_told_once_its_file_is_gone() {
    let mut server = known_server(2);
    server.handle_timeout(at(1000));
    let effects = server.handle(at(1001), reply(2, vec![(1, 1), (2, 2)]));
    let deletes: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Delete { command, replica, .. } => Some((*command, *replica)),
            _ => None,
        })
        .collect();
    assert_eq!(deletes.iter().map(|(_, r)| *r).collect::<Vec<_>>(), [key(1, 1), key(2, 1)]);
    assert_eq!(server.sealed(key(1, 1)), None, "not served any more");
    assert_eq!(open(&mut server, key(1, 1)), OpenAnswer::Busy);
    // The second replica is gone first, but the first command still holds the acknowledgement back.
    let (command, replica) = deletes[1];
    let told = heartbeat(&server.handle(at(1002), Input::Deleted { command, replica }));
    assert_eq!((items(&told), told.commands_done), (vec![lost(2)], 0));
    let (command, replica) = deletes[0];
    let _ = server.handle(at(1003), Input::Deleted { command, replica });
    let told = heartbeat(&server.handle(at(1004), reply(3, vec![(1, 1), (2, 2)])));
    assert_eq!((items(&told), told.commands_done), (vec![lost(1)], 2));
}

#[test]
fn deleting_what_is_not_held_is_done_at_once_and_another_version_stays() {
    let mut server = known_server(0);
    open(&mut server, key(4, 2));
    let _ = server.handle(at(1), Input::Sealed { replica: key(4, 2), sealed: sealed(1) });
    let told = heartbeat(&server.handle(at(2), reply(1, vec![(1, 4)])));
    assert_eq!((items(&told), told.commands_done), (vec![lost(4)], 1));
    assert_eq!(server.sealed(key(4, 2)), Some(sealed(1)));
}

#[test]
fn a_replica_given_up_during_its_upload_is_removed_when_the_upload_ends() {
    let mut server = known_server(0);
    assert_eq!(open(&mut server, key(3, 1)), OpenAnswer::Write);
    server.handle_timeout(at(1000));
    let _ = server.handle(at(1001), reply(0, vec![(1, 3)]));
    let effects = server.handle(at(1002), Input::Sealed { replica: key(3, 1), sealed: sealed(1) });
    let [Effect::Delete { command, replica, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((*replica, server.sealed(key(3, 1))), (key(3, 1), None));
    let _ = server.handle(at(1003), Input::Deleted { command: *command, replica: *replica });
    assert_eq!(open(&mut server, key(3, 1)), OpenAnswer::Write);
}

#[test]
fn a_corrupt_replica_is_lost_once_however_many_readers_find_it() {
    let mut server = known_server(1);
    let told = heartbeat(&server.handle(at(5), Input::Lost { replica: key(1, 1) }));
    assert_eq!(items(&told), [lost(1)]);
    assert!(server.handle(at(6), Input::Lost { replica: key(1, 1) }).is_empty());
    let _ = server.handle(at(7), reply(2, vec![]));
    assert_eq!(server.summary().n_events_pending, 0);
}

#[test]
fn a_restarted_master_gets_a_new_registration_with_all_that_is_held_by_then() {
    for restarted in [
        Input::MasterRefused(Refusal::NotRegistered),
        Input::HeartbeatReplied(ServerHeartbeatReply {
            term_id: None,
            last_record: 0,
            epoch: Epoch(2),
            events_received: 9,
            commands: vec![],
        }),
    ] {
        let mut server = known_server(2);
        let _ = server.handle(at(1), Input::Lost { replica: key(1, 1) });
        open(&mut server, key(7, 1));
        let effects = server.handle(at(2), restarted);
        assert!(matches!(effects.as_slice(), [Effect::Register(_)]), "{effects:?}");
        // Sealed while there is no registration: it is in the report, without an event of its own.
        let _ = server.handle(at(3), Input::Sealed { replica: key(7, 1), sealed: sealed(7) });
        let report = heartbeat(&server.handle(at(4), registered(2, 1)));
        assert_eq!(items(&report), [held(2, 2), held(7, 7)]);
        assert_eq!((report.number.0, report.events[0].number), (1, 1));
        assert_eq!((report.epoch, report.commands_done), (Epoch(2), 0));
    }
}

#[test]
fn a_removal_of_an_older_registration_does_not_acknowledge_a_newer_command() {
    let mut server = known_server(2);
    server.handle_timeout(at(1000));
    let effects = server.handle(at(1001), reply(2, vec![(1, 1)]));
    let Some(Effect::Delete { command: old, .. }) = effects.first().cloned() else {
        panic!("{effects:?}")
    };
    server.handle_timeout(at(3000));
    let _ = server.handle(at(3000), Input::MasterRefused(Refusal::NotRegistered));
    let _ = server.handle(at(3001), registered(1, 2));
    let effects = server.handle(at(3002), reply(1, vec![(1, 2)]));
    assert!(matches!(effects.as_slice(), [Effect::Delete { .. }]), "{effects:?}");
    let told = server.handle(at(3003), Input::Deleted { command: old, replica: key(1, 1) });
    assert_eq!(heartbeat(&told).commands_done, 0, "the newer one is still running");
}

#[test]
fn a_new_data_folder_joins_the_cluster_before_the_first_heartbeat() {
    let mut server = Replicas::new(identity(None), 2, []);
    server.handle_timeout(at(0));
    let effects = server.handle(at(1), registered(1, 1));
    assert_eq!(effects, [Effect::KeepCluster(cluster("cluster-1"))]);
    assert!(server.handle_timeout(at(5000)).is_empty());
    heartbeat(&server.handle(at(5001), Input::ClusterKept));
    // From then on it belongs to that cluster.
    let _ = server.handle(at(5002), Input::MasterRefused(Refusal::NotRegistered));
    let other = ServerRegistered {
        cluster: cluster("cluster-2"),
        epoch: Epoch(1),
        session: 1,
        heartbeat_interval_ms: INTERVAL_MS,
    };
    let effects = server.handle(at(5003), Input::Registered(other));
    assert_eq!(effects, [Effect::Stop(StopReason::WrongCluster)]);
    assert_eq!(server.poll_timeout(), None, "nothing is sent any more");
}

#[test]
fn nothing_is_done_in_a_term_before_it_is_kept_and_it_is_told_from_then_on() {
    let mut server = known_server(2);
    server.handle_timeout(at(1000));
    let Input::HeartbeatReplied(said) = reply(2, vec![(1, 1)]) else { unreachable!() };
    let said =
        Input::HeartbeatReplied(ServerHeartbeatReply { term_id: Some(7), last_record: 20, ..said });
    let term = Term { epoch: Epoch(1), id: 7 };
    let kept = KeptTerm { term, last_record: 20 };
    assert_eq!(server.handle(at(1001), said.clone()), [Effect::KeepTerm(kept)]);
    assert!(server.handle_timeout(at(9000)).is_empty(), "the disk is waited for");
    heartbeat(&server.handle(at(9001), Input::TermKept(kept)));
    let effects = server.handle(at(9002), said);
    assert!(matches!(effects.as_slice(), [Effect::Delete { .. }]), "{effects:?}");
    server.handle_timeout(at(20_000));
    let effects = server.handle(at(20_001), Input::MasterRefused(Refusal::NotRegistered));
    let [Effect::Register(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((request.term, request.last_record), (Some(term), 20));
}

#[test]
fn the_masters_last_record_is_kept_with_the_term_now_and_then_and_nobody_waits_for_it() {
    let mut server = known_server(2);
    let term = Term { epoch: Epoch(1), id: 7 };
    let kept = |last_record| KeptTerm { term, last_record };
    let mut told = Vec::new();
    let mut confirmed = None;
    for step in 1..=20 {
        // A new record every second; the disk also takes a second.
        let second = step * 1000;
        if let Some(last) = confirmed.take() {
            let effects = server.handle(at(second), Input::TermKept(kept(last)));
            assert_eq!(effects.is_empty(), told.len() > 1, "only the first is waited for");
        }
        server.handle_timeout(at(second));
        let Input::HeartbeatReplied(said) = reply(2, vec![]) else { unreachable!() };
        let said = ServerHeartbeatReply { term_id: Some(7), last_record: step, ..said };
        for effect in server.handle(at(second + 1), Input::HeartbeatReplied(said)) {
            if let Effect::KeepTerm(kept) = effect {
                assert_eq!(kept.term, term);
                told.push((step, kept.last_record));
                confirmed = Some(kept.last_record);
            }
        }
    }
    let each = |(step, record): &(u64, u64)| step == record;
    assert!(told.len() == 4 && told.iter().all(each), "{told:?}");
    // A late confirmation, for an earlier master, changes nothing.
    let next = KeptTerm { term: Term { epoch: Epoch(2), id: 8 }, last_record: 30 };
    let _ = server.handle(at(30_000), Input::TermKept(next));
    let _ = server.handle(at(30_001), Input::TermKept(kept(25)));
    server.handle_timeout(at(40_000));
    let effects = server.handle(at(40_001), Input::MasterRefused(Refusal::NotRegistered));
    let [Effect::Register(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((request.term, request.last_record), (Some(next.term), 30));
}

#[test]
fn refusals_stop_or_are_retried_with_growing_pauses() {
    for (refusal, stop) in [
        (Refusal::WrongCluster, Some(StopReason::WrongCluster)),
        (Refusal::WrongProtocol, Some(StopReason::WrongProtocol)),
        (Refusal::HostNameTaken, None),
        (Refusal::Other, None),
        (Refusal::NotRegistered, None),
    ] {
        let mut server = server(0);
        server.handle_timeout(at(0));
        let effects = server.handle(at(0), Input::MasterRefused(refusal));
        match stop {
            Some(reason) => assert_eq!(effects, [Effect::Stop(reason)]),
            None => assert!(effects.is_empty() && server.poll_timeout().is_some()),
        }
    }
    let mut server = server(0);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..12 {
        server.handle_timeout(at(now));
        let _ = server.handle(at(now), Input::MasterSilent);
        let due = u64::try_from(server.poll_timeout().unwrap().0.as_millis()).unwrap() + 1;
        pauses.push(due - now);
        now = due;
    }
    assert!(pauses[0] <= 21 && pauses[11] >= 500 && pauses[11] <= 1001, "{pauses:?}");
}

/// Whatever messages are lost or duplicated, a master that acknowledges what it got ends up knowing
/// exactly what the server holds.
#[test]
fn the_masters_view_follows_whatever_messages_are_lost() {
    for seed in 1..200_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut server = server(3);
        let mut view = std::collections::BTreeSet::new();
        let mut inbox = ids::Inbox::default();
        let (mut now, mut session) = (0, 0);
        for step in 0..120_u64 {
            now += 200;
            let chunk = 1 + dice(5);
            let mut effects = match dice(4) {
                0 if open(&mut server, key(chunk, 1)) == OpenAnswer::Write => server
                    .handle(at(now), Input::Sealed { replica: key(chunk, 1), sealed: sealed(1) }),
                1 => server.handle(at(now), Input::Lost { replica: key(chunk, 1) }),
                _ => server.handle_timeout(at(now)),
            };
            while let Some(effect) = effects.pop() {
                let lossy = if step < 100 { dice(10) } else { 9 };
                let answer = match effect {
                    Effect::Register(_) if lossy == 0 => Input::MasterSilent,
                    Effect::Register(_) => {
                        session += 1;
                        (view, inbox) = Default::default();
                        registered(1, session)
                    }
                    Effect::Heartbeat(_) if lossy == 0 => Input::MasterSilent,
                    Effect::Heartbeat(_) if lossy == 1 => {
                        Input::MasterRefused(Refusal::NotRegistered)
                    }
                    Effect::Heartbeat(message) => {
                        for event in inbox.accept(message.events) {
                            match event {
                                ReplicaEvent::Held { chunk, .. } => view.insert(chunk),
                                ReplicaEvent::Lost { chunk, .. } => view.remove(&chunk),
                                ReplicaEvent::LogHeld { .. } => panic!("no log is written"),
                                ReplicaEvent::Verified { .. } => panic!("nothing is verified"),
                                ReplicaEvent::CopyEnded { .. } => panic!("nothing is copied"),
                                ReplicaEvent::Broken { .. } => panic!("nothing is broken"),
                            };
                        }
                        let lost_answer = lossy == 2;
                        if lost_answer {
                            Input::MasterSilent
                        } else {
                            reply(inbox.received(), vec![])
                        }
                    }
                    Effect::Reply { .. } => continue,
                    other => panic!("{other:?}"),
                };
                effects.extend(server.handle(at(now), answer));
            }
        }
        let holds = (1..=5).filter(|n| server.sealed(key(*n, 1)).is_some()).map(ChunkId);
        assert_eq!(server.summary().n_events_pending, 0, "seed {seed}");
        assert_eq!(view, holds.collect(), "seed {seed}");
        let summary = server.summary();
        assert_eq!((summary.n_sealed, summary.n_open), (view.len() as u64, 0), "seed {seed}");
    }
}

fn freeze(server: &mut Replicas, replica: ReplicaKey) -> Vec<Effect> {
    server.handle(at(2), Input::FreezeRequested { to: ReplyTo(8), replica })
}

fn is_frozen(length: u64, sealed: bool) -> FreezeAnswer {
    FreezeAnswer::Frozen(chunkstore_protocol::Frozen {
        length,
        sealed,
        damaged: false,
        found: false,
    })
}

fn sealed_already(length: u64) -> Vec<Effect> {
    vec![Effect::ReplyFrozen { to: ReplyTo(8), answer: is_frozen(length, true) }]
}

fn frozen(length: u64) -> Vec<Effect> {
    vec![Effect::ReplyFrozen { to: ReplyTo(8), answer: is_frozen(length, false) }]
}

fn seal_at(server: &mut Replicas, replica: ReplicaKey, length: u64) -> SealAnswer {
    let request = Input::SealRequested { to: ReplyTo(9), replica, length };
    match server.handle(at(3), request).as_slice() {
        [Effect::ReplySeal { to: ReplyTo(9), answer }] => *answer,
        other => panic!("{other:?}"),
    }
}

const BLOCK: u64 = chunkstore_protocol::block::BLOCK_BYTES as u64;

#[test]
fn an_upload_that_broke_off_is_frozen_and_sealed_where_its_writer_says() {
    for (held, length, expected) in [
        (3 * BLOCK, 3 * BLOCK, SealAnswer::Seal),
        (3 * BLOCK, BLOCK, SealAnswer::Seal),
        (BLOCK + 5, BLOCK + 5, SealAnswer::Seal),
        (BLOCK + 5, BLOCK, SealAnswer::Seal),
        (3 * BLOCK, BLOCK + 1, SealAnswer::Differs { held: 3 * BLOCK }),
        (3 * BLOCK, 4 * BLOCK, SealAnswer::Differs { held: 3 * BLOCK }),
        (3 * BLOCK, 0, SealAnswer::Differs { held: 3 * BLOCK }),
    ] {
        let mut server = known_server(0);
        let replica = key(4, 1);
        assert_eq!(open(&mut server, replica), OpenAnswer::Write);
        assert_eq!(seal_at(&mut server, replica, length), SealAnswer::Open);
        assert!(server.handle(at(2), Input::Cut { replica, length: held }).is_empty());
        assert_eq!((server.summary().n_open, server.summary().n_cut), (0, 1));
        assert_eq!(open(&mut server, replica), OpenAnswer::Busy, "nothing is added");
        assert_eq!(freeze(&mut server, replica), frozen(held));
        assert_eq!(seal_at(&mut server, replica, length), expected, "{held} {length}");
        if expected != SealAnswer::Seal {
            continue;
        }
        let told =
            heartbeat(&server.handle(at(4), Input::Sealed { replica, sealed: sealed(length) }));
        assert_eq!(
            items(&told),
            [ReplicaEvent::Held { chunk: ChunkId(4), version: Version(1), length, checksum: 1 }]
        );
        let again = SealAnswer::AlreadySealed(sealed(length));
        assert_eq!(seal_at(&mut server, replica, length), again);
        let other = SealAnswer::Differs { held: length };
        assert_eq!(seal_at(&mut server, replica, 9 * BLOCK), other);
        assert_eq!(freeze(&mut server, replica), sealed_already(length));
        assert!(server.handle_timeout(at(1_000_000)).is_empty(), "a sealed one does not time out");
    }
}

#[test]
fn who_freezes_a_running_upload_ends_it_and_hears_what_it_came_to() {
    let replica = key(4, 1);
    let ends = [
        (Input::Cut { replica, length: BLOCK }, is_frozen(BLOCK, false)),
        (Input::Aborted { replica }, FreezeAnswer::Unknown),
        (Input::Sealed { replica, sealed: sealed(7) }, is_frozen(7, true)),
    ];
    for (end, answer) in ends {
        let mut server = server(0);
        open(&mut server, replica);
        assert_eq!(freeze(&mut server, replica), [Effect::EndUpload { replica }]);
        let effects = server.handle(at(3), end);
        assert_eq!(effects, [Effect::ReplyFrozen { to: ReplyTo(8), answer }]);
    }
    let unknown = Effect::ReplyFrozen { to: ReplyTo(8), answer: FreezeAnswer::Unknown };
    assert_eq!(freeze(&mut server(0), replica), [unknown], "nothing was ever there");
}

#[test]
fn what_broke_off_goes_when_nobody_comes_when_it_is_deleted_and_when_there_are_too_many() {
    let mut server = server(0).keeping_cuts_for(Duration::from_secs(5));
    for chunk in 1..=3 {
        open(&mut server, key(chunk, 1));
        let effects = server.handle(at(1000), Input::Cut { replica: key(chunk, 1), length: BLOCK });
        let dropped: Vec<_> = effects.iter().map(|e| matches!(e, Effect::Delete { .. })).collect();
        assert_eq!(dropped, vec![true; usize::from(chunk == 3)], "two at most");
    }
    server.handle_timeout(at(1000));
    let _ = server.handle(at(1000), registered(1, 1));
    let effects = server.handle(at(1000), reply(0, vec![(1, 1)]));
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Delete { replica, .. } if replica.chunk == ChunkId(1)))
    );
    let effects = server.handle_timeout(at(6000));
    let gone =
        |e: &Effect| matches!(e, Effect::Delete { replica, .. } if replica.chunk == ChunkId(2));
    assert_eq!(effects.iter().filter(|e| gone(e)).count(), 1, "{effects:?}");
    assert_eq!(server.summary().n_cut, 0);
    assert_eq!(seal_at(&mut server, key(2, 1), BLOCK), SealAnswer::Unknown);
}

/// A server was silent while the others of its pipeline sealed the chunk. The copy that completes
/// its replica must not wait for a writer that has gone on.
#[test]
fn a_copy_takes_the_place_of_what_broke_off_and_waits_for_nothing_else() {
    let mut server = known_server(0);
    let (cut, open_one) = (key(1, 1), key(2, 1));
    open(&mut server, cut);
    open(&mut server, open_one);
    assert!(server.handle(at(2), Input::Cut { replica: cut, length: BLOCK }).is_empty());
    let offer = |server: &mut Replicas, replica| {
        server.handle(at(3), Input::OpenRequested { to: ReplyTo(7), replica, is_copy: true })
    };
    let reply = |answer| Effect::Reply { to: ReplyTo(7), answer };
    assert_eq!(offer(&mut server, open_one), [reply(OpenAnswer::Busy)], "its writer is at it");
    let effects = offer(&mut server, cut);
    let [answer, Effect::Delete { command, replica, orphan: false }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!((answer, *replica), (&reply(OpenAnswer::Busy), cut));
    assert_eq!(server.summary().n_cut, 0);
    let _ = server.handle(at(4), Input::Deleted { command: *command, replica: cut });
    assert_eq!(offer(&mut server, cut), [reply(OpenAnswer::Write)], "the next try");
}

#[test]
fn a_logs_replica_takes_no_more_once_frozen_and_is_sealed_where_its_servers_agree() {
    let replica = key(4, 1);
    let mut server = known_server(0);
    let requested = Input::LogRequested { to: ReplyTo(1), replica };
    let reply = |answer| [Effect::Reply { to: ReplyTo(1), answer }];
    assert_eq!(server.handle(at(2), requested.clone()), reply(OpenAnswer::Write));
    assert_eq!(server.handle(at(2), requested), reply(OpenAnswer::Busy), "one primary alone");
    assert_eq!(server.summary().n_logs, 1);
    assert_eq!(seal_at(&mut server, replica, 10), SealAnswer::Open);
    assert_eq!(freeze(&mut server, replica), [Effect::EndUpload { replica }]);
    let ended = Ended { length: 100, damaged: false, found: false };
    let told = server.handle(at(3), Input::LogEnded { replica, ended });
    let answer = is_frozen(100, false);
    assert_eq!(told, [Effect::ReplyFrozen { to: ReplyTo(8), answer }]);
    assert_eq!(seal_at(&mut server, replica, 101), SealAnswer::Differs { held: 100 });
    assert_eq!(seal_at(&mut server, replica, 0), SealAnswer::Differs { held: 100 });
    assert_eq!(seal_at(&mut server, replica, 60), SealAnswer::SealLog);
    assert_eq!(seal_at(&mut server, replica, 60), SealAnswer::Sealing);
    let damaged = Ended { length: 40, damaged: true, found: false };
    let _ = server.handle(at(4), Input::LogEnded { replica, ended: damaged });
    assert_eq!(seal_at(&mut server, replica, 60), SealAnswer::Differs { held: 40 });
    server.handle_timeout(at(1_000_000));
    assert_eq!(seal_at(&mut server, replica, 40), SealAnswer::SealLog, "it does not time out");
    let _ = server.handle(at(5), Input::Sealed { replica, sealed: sealed(40) });
    assert_eq!((server.summary().n_logs, server.summary().n_sealed), (0, 1));
}

#[test]
fn logs_that_the_last_process_left_are_reported_ended_and_open_ones_open() {
    let (left, open) = (key(4, 1), key(5, 1));
    let ended = Ended { length: 7, damaged: false, found: true };
    let mut server = server(0).with_logs([(left, ended)]);
    let _ = server.handle(at(1), Input::LogRequested { to: ReplyTo(1), replica: open });
    server.handle_timeout(at(2));
    let told = heartbeat(&server.handle(at(2), registered(1, 1)));
    let held =
        |chunk, ended| ReplicaEvent::LogHeld { chunk: ChunkId(chunk), version: Version(1), ended };
    assert_eq!(items(&told), [held(4, true), held(5, false)]);
    let as_it_was =
        chunkstore_protocol::Frozen { length: 7, sealed: false, damaged: false, found: true };
    let told = Effect::ReplyFrozen { to: ReplyTo(8), answer: FreezeAnswer::Frozen(as_it_was) };
    assert_eq!(freeze(&mut server, left), [told], "nobody remembers whether there was more");
    let effects = server.handle(at(3), reply(2, vec![(1, 5)]));
    assert!(
        matches!(effects[..], [Effect::Delete { replica, .. }] if replica == open),
        "{effects:?}"
    );
}

#[test]
fn broken_replicas_that_are_kept_are_told_once_behind_the_report_unless_a_good_one_is_held() {
    let mut server = server(1);
    server.handle_timeout(at(0));
    assert!(server.handle(at(0), Input::BrokenKept(vec![key(1, 1), key(7, 2)])).is_empty());
    let first = heartbeat(&server.handle(at(0), registered(1, 1)));
    let broken = ReplicaEvent::Broken { chunk: ChunkId(7), version: Version(2) };
    assert_eq!(items(&first), [held(1, 1), broken]);
    assert!(first.report_complete);
    assert!(server.handle(at(0), reply(2, vec![])).is_empty());
    let refused = server.handle(at(1), Input::MasterRefused(Refusal::NotRegistered));
    assert!(matches!(refused[..], [Effect::Register(_)]));
    let again = heartbeat(&server.handle(at(1), registered(2, 1)));
    assert_eq!(items(&again), [held(1, 1)], "they are looked for at each registration");
}

#[test]
fn a_replica_that_is_to_be_put_together_is_made_or_was_held_all_along() {
    let mut server = known_server(1);
    let assemble = |number, chunk| {
        let (version, length, checksum, from) = (Version(1), 1, 1, Vec::new());
        let chunk = ChunkId(chunk);
        Numbered {
            number,
            item: ServerCommand::Assemble { chunk, version, length, checksum, from },
        }
    };
    let due = heartbeat(&server.handle_timeout(at(INTERVAL_MS)));
    assert_eq!(items(&due), []);
    let told = Input::HeartbeatReplied(ServerHeartbeatReply {
        epoch: Epoch(1),
        term_id: None,
        last_record: 0,
        events_received: 1,
        commands: vec![assemble(1, 1), assemble(2, 9)],
    });
    let effects = server.handle(at(INTERVAL_MS), told);
    let ended = |chunk, command, done| ReplicaEvent::CopyEnded { chunk, command, done };
    let [Effect::Assemble { command, replica, sealed: wanted, .. }, Effect::Heartbeat(next)] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*replica, *wanted), (key(9, 1), sealed(1)));
    assert_eq!(items(next), [ended(ChunkId(1), 1, true)]);
    assert_eq!(next.commands_done, 1);
    let (command, replica) = (*command, *replica);
    assert!(server.handle(at(1001), reply(2, vec![])).is_empty());
    assert_eq!(open(&mut server, replica), OpenAnswer::Write);
    let first = heartbeat(&server.handle(at(1002), Input::Sealed { replica, sealed: sealed(1) }));
    assert_eq!(items(&first), [held(9, 1)]);
    let none = server.handle(at(1003), Input::CopyEnded { command, replica, done: true });
    assert!(none.is_empty(), "a message is in flight");
    let second = heartbeat(&server.handle(at(1004), reply(3, vec![])));
    assert_eq!((items(&second), second.commands_done), (vec![ended(ChunkId(9), 2, true)], 2));
}
