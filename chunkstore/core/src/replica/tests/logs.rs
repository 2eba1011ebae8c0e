//! Replicas of logs.

use super::*;

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
