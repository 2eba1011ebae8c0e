//! A master that has just started, and what it leaves alone until servers have reported what they
//! hold.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// Registers a server and completes its report.
    fn report(&mut self, n: usize, held: Vec<ReplicaEvent>) -> ServerHeartbeatReply {
        let registered = self.register(n);
        self.beat(heartbeat(n, &registered, 1, held)).unwrap()
    }

    fn left_safe_mode(&self) -> Option<Vec<HostName>> {
        self.notices.iter().rev().find_map(|notice| match notice {
            Notice::SafeModeLeft { silent } => Some(silent.clone()),
            _ => None,
        })
    }
}

#[test]
fn a_new_cluster_waits_for_nobody() {
    let mut world = World::empty();
    assert_eq!(world.summary().safe_mode, 0);
    world.mkdirs("/a");
    world.restart_in_safe_mode();
    assert_eq!(world.summary().safe_mode, 0, "no server has ever joined");
    world.mkdirs("/b");
}

#[test]
fn until_every_server_has_reported_reads_go_on_and_nothing_changes() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let open = world.create("/open").unwrap();
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.restart_in_safe_mode();
    assert_eq!((world.summary().safe_mode, world.summary().servers_dead), (1, 0));
    assert_eq!(world.locate("/f").unwrap().chunks[0].chunk, chunk);
    let n_records = world.journal.len();
    let request = Mkdir { stamp: world.stamp(), path: path("/d"), parents: false };
    let refused = world.mutate(Mutation::Mkdir(request.clone())).unwrap_err();
    let awaited = vec![host(1), host(2)];
    assert_eq!(refused, FsError::SafeMode { awaited, seconds: 11 });
    assert_eq!(refused.kind(), ProblemKind::Starting);
    world.report(1, vec![held(chunk, 5)]);
    assert!(world.delete("/f", false).is_err());
    let renew = Renew { client: client(), files: vec![open.file], wait_ms: 0 };
    assert_eq!(world.query(Query::Renew(renew)), Ok(Reply::Done));
    assert_eq!(world.journal.len(), n_records);
    world.report(2, vec![]);
    assert_eq!(world.left_safe_mode(), Some(vec![]));
    let granted = world.mutate(Mutation::Mkdir(request));
    assert_eq!(granted, Ok(Reply::Done), "the refused request was not carried out before");
}

#[test]
fn a_request_that_was_carried_out_before_gets_its_answer_in_safe_mode_too() {
    let mut world = World::with_servers(2);
    let request = Mkdir { stamp: world.stamp(), path: path("/d"), parents: false };
    assert_eq!(world.mutate(Mutation::Mkdir(request.clone())), Ok(Reply::Done));
    world.restart_in_safe_mode();
    assert_eq!(world.mutate(Mutation::Mkdir(request)), Ok(Reply::Done));
}

#[test]
fn a_server_that_does_not_come_back_is_waited_for_no_longer_than_silence_is_allowed() {
    let mut world = World::with_servers(3);
    world.restart_in_safe_mode();
    world.report(1, vec![]);
    world.register(2);
    world.pass(9 * SECOND);
    assert_eq!(world.summary().safe_mode, 1, "one is silent, and one has not told what it holds");
    world.pass(SECOND);
    assert_eq!(world.left_safe_mode(), Some(vec![host(2), host(3)]));
    assert_eq!(world.summary().servers_dead, 3, "those that said nothing since are dead by now");
    world.mkdirs("/d");
}

#[test]
fn a_server_that_is_still_telling_what_it_holds_is_waited_for_as_long_as_it_is_heard_of() {
    let mut world = World::with_servers(3);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.restart_in_safe_mode();
    world.report(1, vec![]);
    let registered = world.register(2);
    for number in 1..=40 {
        world.pass(SECOND);
        let mut part = heartbeat(2, &registered, number, told_up_to(chunk, number));
        part.report_complete = false;
        world.beat(part).unwrap();
    }
    assert_eq!(world.summary().safe_mode, 1);
    world.beat(heartbeat(2, &registered, 41, told_up_to(chunk, 41))).unwrap();
    world.pass(SECOND);
    assert_eq!(world.left_safe_mode(), Some(vec![host(3)]));
}

/// The first events of a server's report.
fn told_up_to(chunk: ChunkId, n: u64) -> Vec<ReplicaEvent> {
    (0..n).map(|_| held(chunk, 5)).collect()
}

#[test]
fn a_server_that_begins_to_tell_again_and_again_is_not_waited_for_for_ever() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.restart_in_safe_mode();
    world.report(1, vec![]);
    for _ in 0..20 {
        let registered = world.register(2);
        world.pass(SECOND);
        let mut part = heartbeat(2, &registered, 1, told_up_to(chunk, 3));
        part.report_complete = false;
        world.beat(part).unwrap();
        world.pass(SECOND);
    }
    assert_eq!(world.left_safe_mode(), Some(vec![host(2)]));
    world.mkdirs("/d");
}

#[test]
fn a_master_that_stood_still_in_safe_mode_waits_as_long_again() {
    let mut world = World::with_servers(1);
    world.restart_in_safe_mode();
    world.pass(5 * SECOND);
    world.pause(3600 * SECOND);
    world.pass(Duration::ZERO);
    assert_eq!(world.summary().safe_mode, 1);
    world.pass(5 * SECOND);
    assert_eq!(world.summary().safe_mode, 0);
}

#[test]
fn nothing_is_deleted_in_safe_mode_and_what_is_due_goes_after_it() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    world.put("/gone", 5);
    let gone = world.locate("/gone").unwrap().chunks[0].chunk;
    let kept = world.locate("/f").unwrap().chunks[0].chunk;
    world.delete("/gone", false).unwrap();
    world.restart_in_safe_mode();
    let registered = world.register(1);
    let report = vec![held(gone, 5), held(kept, 5)];
    let reply = world.beat(heartbeat(1, &registered, 1, report)).unwrap();
    assert_eq!(reply.commands, [], "the other server has not told what it holds");
    world.report(2, vec![]);
    let reply = world.beat(heartbeat(1, &registered, 2, vec![])).unwrap();
    let commands: Vec<_> = reply.commands.iter().map(|command| &command.item).collect();
    let delete = ServerCommand::Delete { chunk: gone, version: Version(1), orphan: true };
    assert!(commands.contains(&&delete), "{commands:?}");
}

#[test]
fn leases_do_not_end_in_safe_mode() {
    let mut world = World::with_servers(2);
    let create = world.create("/open").unwrap();
    world.restart_in_safe_mode();
    // As if leases were shorter than the silence that is allowed.
    world.master.leases.set(create.file, world.now.monotonic + SECOND);
    world.pass(9 * SECOND);
    assert!(world.stat("/open").is_ok());
    world.pass(SECOND);
    assert!(world.stat("/open").is_err(), "its writer said nothing in all that time");
}

#[test]
fn a_server_joins_once_and_is_forgotten_when_it_is_dead() {
    let mut world = World::with_servers(2);
    let joined = |world: &World| {
        let joins = world.journal.iter().filter(|r| matches!(r, Record::ServerJoined { .. }));
        joins.count()
    };
    world.register(1);
    assert_eq!(joined(&world), 2);
    let forget = |world: &mut World, n| {
        let request = ForgetServer {
            stamp: world.stamp(),
            host: host(n),
            lose_records: false,
            lose_chunks: false,
        };
        world.mutate(Mutation::Forget(request))
    };
    assert_eq!(forget(&mut world, 1), Err(ForgetError::ServerLives { host: host(1) }.into()));
    assert_eq!(forget(&mut world, 9), Err(ForgetError::UnknownServer { host: host(9) }.into()));
    world.pass(14 * SECOND);
    assert_eq!(forget(&mut world, 1), Ok(Reply::Done));
    assert_eq!(world.summary().servers_dead, 1);
    world.restart_in_safe_mode();
    world.report(2, vec![]);
    assert_eq!(world.left_safe_mode(), Some(vec![]), "only the other one is waited for");
    world.register(1);
    assert_eq!(joined(&world), 3, "it joins anew");
}

#[test]
fn a_server_that_may_have_the_last_replica_of_a_chunk_is_not_forgotten_unasked() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    world.register(3);
    let forget = |world: &mut World, n, lose_chunks| {
        let (stamp, host) = (world.stamp(), host(n));
        let request = ForgetServer { stamp, host, lose_records: false, lose_chunks };
        world.mutate(Mutation::Forget(request))
    };
    let refused =
        |n, named| Err(ForgetError::LastWithChunks { host: host(n), chunks: 1, named }.into());
    world.pass(14 * SECOND);
    assert_eq!(forget(&mut world, 1, false), refused(1, 1));
    assert_eq!(forget(&mut world, 2, false), refused(2, 1));
    assert_eq!(forget(&mut world, 3, false), Ok(Reply::Done), "it never had it");
    // Nobody knows while a sweep is running.
    world.master.repairs.sweep_at(world.now.monotonic);
    let counting = Err(ForgetError::StillCounting { host: host(1) }.into());
    assert_eq!(forget(&mut world, 1, false), counting);
    world.pass(4 * SECOND);
    // It is not known what servers hold that died before the master started.
    world.register(3);
    world.restart_in_safe_mode();
    world.report(3, vec![]);
    world.pass(14 * SECOND);
    for n in [1, 2] {
        assert_eq!(forget(&mut world, n, false), refused(n, 0));
    }
    assert_eq!(forget(&mut world, 3, false), Ok(Reply::Done), "it has told all that it has");
    // One of them is back with the chunk.
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.report(1, vec![held(chunk, 5)]);
    world.pass(18 * SECOND);
    assert_eq!(forget(&mut world, 2, false), Ok(Reply::Done), "the other one is known to have it");
    assert_eq!(forget(&mut world, 1, true), Ok(Reply::Done));
}

#[test]
fn a_server_counts_as_the_last_one_until_a_known_server_is_the_last() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let forget = |world: &mut World, n, lose_chunks| {
        let (stamp, host) = (world.stamp(), host(n));
        let request = ForgetServer { stamp, host, lose_records: false, lose_chunks };
        world.mutate(Mutation::Forget(request))
    };
    world.register(3);
    world.restart_in_safe_mode();
    world.report(3, vec![]);
    world.report(1, vec![held(chunk, 5)]);
    world.pass(14 * SECOND);
    assert_eq!(forget(&mut world, 1, true), Ok(Reply::Done));
    let refused = Err(ForgetError::LastWithChunks { host: host(2), chunks: 1, named: 0 }.into());
    assert_eq!(forget(&mut world, 2, false), refused, "who had it was given up");
}

#[test]
fn what_is_lost_between_two_sweeps_is_missing_at_once() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    world.pass(14 * SECOND);
    let registered = world.register(1);
    world.beat(heartbeat(1, &registered, 1, vec![held(chunk, 5)])).unwrap();
    world.pass(4 * SECOND);
    assert!(!world.master.repairs.is_being_counted());
    assert_eq!(world.summary().chunks_missing, 0);
    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
    // Numbered from 1, so earlier events are sent again.
    let mut told = vec![held(chunk, 5), lost];
    world.beat(heartbeat(1, &registered, 2, told.clone())).unwrap();
    assert!(!world.master.repairs.is_being_counted());
    assert_eq!(world.summary().chunks_missing, 1);
    let (stamp, host) = (world.stamp(), host(2));
    let request =
        ForgetServer { stamp, host: host.clone(), lose_records: false, lose_chunks: false };
    let refused = Err(ForgetError::LastWithChunks { host, chunks: 1, named: 1 }.into());
    assert_eq!(world.mutate(Mutation::Forget(request)), refused);
    told.push(held(chunk, 5));
    world.beat(heartbeat(1, &registered, 3, told)).unwrap();
    assert_eq!(world.summary().chunks_missing, 0);
}

#[test]
fn what_a_forgotten_server_held_is_not_believed_of_another_in_its_place() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    world.pass(10 * SECOND);
    let host = host(1);
    let request =
        ForgetServer { stamp: world.stamp(), host, lose_records: false, lose_chunks: true };
    world.mutate(Mutation::Forget(request)).unwrap();
    world.register(3);
    assert!(world.locate("/f").unwrap().chunks[0].servers.is_empty());
}

#[test]
fn there_are_no_more_servers_than_the_bound() {
    let mut world = World::empty();
    for n in 1..=crate::master::servers::SERVERS_MAX {
        let record = Record::ServerJoined { host: host(n) };
        world.master.durable.apply(&record);
        world.journal.push(record);
    }
    let error =
        world.try_register(registration(crate::master::servers::SERVERS_MAX + 1)).unwrap_err();
    assert!(matches!(error, ServerError::TooManyServers { .. }), "{error}");
    assert!(world.try_register(registration(1)).is_ok());
}

#[test]
fn a_server_that_is_not_known_joins_only_while_the_journal_has_room() {
    let mut world = World::with_servers(1);
    world.master.set_room(Room::Reserve);
    assert!(world.master.refuse(Input::Register(ReplyTo(1), registration(1))).is_ok());
    let refused = world.master.refuse(Input::Register(ReplyTo(1), registration(2)));
    let Err(Effect::Reply(_, answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(answer.unwrap_err().kind(), ProblemKind::OutOfSpace);
}
