//! The exchange with the chunk master: registrations, reports, terms, refusals, lost messages.

use super::*;

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
