//! Uploads that broke off: frozen, sealed where their writer says, copied over, or dropped.

use super::*;

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
