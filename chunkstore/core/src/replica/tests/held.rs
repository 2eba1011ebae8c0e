//! What is held: uploads that begin, deletions, corrupt replicas.

use super::*;

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
