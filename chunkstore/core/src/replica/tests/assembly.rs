//! Broken replicas that are kept, and sound ones made of several.

use super::*;

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
