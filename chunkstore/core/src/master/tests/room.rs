//! The master while its journal's disk is full.

use super::*;

impl World {
    /// Sends a mutation as the loop does while the room is not ample.
    fn mutate_if_admitted(&mut self, request: Mutation) -> Result<Reply, FsError> {
        let input = Input::Mutate(ReplyTo(0), asker(&request, OWNER), request);
        match self.master.refuse(input) {
            Ok(input) => fs(self.run(input)),
            Err(Effect::Reply(_, answer)) => fs(Some(*answer)),
            Err(effect) => panic!("{effect:?}"),
        }
    }

    fn mkdir_request(&mut self, at: &str) -> Mutation {
        Mutation::Mkdir(Mkdir { stamp: self.stamp(), path: path(at), parents: false })
    }

    fn delete_request(&mut self, at: &str) -> Mutation {
        Mutation::Delete(Delete {
            stamp: self.stamp(),
            path: path(at),
            recursive: true,
            skip_trash: false,
        })
    }
}

#[test]
fn while_the_journal_is_full_reads_and_heartbeats_and_what_makes_space_go_on() {
    let mut world = World::with_servers(2);
    world.put("/f", 10);
    let open = world.create("/open").unwrap();
    world.master.set_room(Room::Reserve);
    let created = Mutation::Create(create(world.stamp(), "/g"));
    assert_eq!(world.mutate_if_admitted(created), Err(FsError::JournalFull));
    let read = Input::Query(ReplyTo(2), Query::Stat(Stat { path: path("/") }));
    assert_eq!(world.master.refuse(read.clone()), Ok(read));
    assert!(world.master.refuse(Input::Register(ReplyTo(3), registration(1))).is_ok());
    let delete = world.delete_request("/f");
    assert_eq!(world.mutate_if_admitted(delete), Ok(Reply::Done));
    let abandon = Mutation::Abandon(Abandon { stamp: world.stamp(), file: open.file });
    assert_eq!(world.mutate_if_admitted(abandon), Ok(Reply::Done));
    assert!(world.names("/").is_empty());
    world.master.set_room(Room::Ample);
    world.put("/g", 10);
}

#[test]
fn without_a_reserve_nothing_is_written_and_a_retry_still_gets_its_answer() {
    let mut world = World::with_servers(2);
    let first = world.mkdir_request("/a");
    assert_eq!(world.mutate(first.clone()), Ok(Reply::Done));
    world.master.set_room(Room::None);
    assert_eq!(world.mutate_if_admitted(first), Ok(Reply::Done), "it was carried out before");
    for request in [world.mkdir_request("/b"), world.delete_request("/a")] {
        assert_eq!(world.mutate_if_admitted(request), Err(FsError::JournalFull));
    }
    assert_eq!(world.names("/"), ["/a"]);
}

#[test]
fn leases_that_expire_while_the_journal_takes_nothing_are_ended_when_it_does() {
    let mut world = World::with_servers(2);
    world.create("/open").unwrap();
    world.master.set_room(Room::None);
    let n_records = world.journal.len();
    world.pass(settings().lease * 2);
    assert_eq!(world.names("/"), ["/open"]);
    assert_eq!(world.journal.len(), n_records, "nothing can be journaled");
    world.master.set_room(Room::Reserve);
    world.pass(Duration::from_secs(1));
    assert!(world.names("/").is_empty());
}

#[test]
fn very_many_leases_expire_in_several_calls() {
    let mut world = World::with_servers(2);
    for n in 0..=EXPIRIES_PER_CALL {
        world.create(&format!("/{n}")).unwrap();
    }
    world.pass(settings().lease - Duration::from_millis(1));
    world.pause(Duration::from_millis(1));
    for expected in [EXPIRIES_PER_CALL, 1] {
        let due = world.master.poll_timeout().unwrap() <= world.now.monotonic;
        assert!(due, "the master wants to be called again at once");
        let out = world.master.handle_timeout(world.now);
        let expired = out.records.iter().filter(|r| matches!(r, Record::LeaseExpired { .. }));
        assert_eq!(expired.count(), expected);
        world.take(out);
    }
    assert!(world.names("/").is_empty());
}
