//! Which broken replicas servers may purge.

use super::*;

impl World {
    fn purgeable(&mut self, chunks: &[ChunkId]) -> Vec<ChunkId> {
        let request = BrokenChunks { chunks: chunks.to_vec() };
        match self.query(Query::Broken(request)).unwrap() {
            Reply::Purgeable(purgeable) => purgeable.chunks,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_broken_replica_may_go_when_a_sound_one_is_there_or_nobody_wants_the_chunk() {
    let mut world = World::empty();
    let registered = [world.register(1), world.register(2)];
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
    world.beat(heartbeat(1, &registered[0], 1, vec![lost.clone()])).unwrap();
    assert_eq!(world.purgeable(&[chunk]), [chunk], "the other has it");
    world.beat(heartbeat(2, &registered[1], 1, vec![lost])).unwrap();
    assert_eq!(world.purgeable(&[chunk]), [], "what is broken is all there is");
    let mut back = heartbeat(2, &registered[1], 2, vec![held(chunk, 5)]);
    back.events[0].number = 2;
    world.beat(back).unwrap();
    assert_eq!(world.purgeable(&[chunk]), [chunk], "it was put back");
    world.pass(settings().dead_after);
    assert_eq!(world.purgeable(&[chunk]), [], "who has it is dead");
    let foreign = ChunkId(1 << 40);
    assert_eq!(world.purgeable(&[chunk, foreign]), []);
    world.delete("/f", false).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.purgeable(&[chunk, foreign]), [chunk], "no file refers to it");
    world.restart_in_safe_mode();
    assert_eq!(world.purgeable(&[chunk]), [], "before all have told what they hold nothing goes");
}

#[test]
fn who_has_only_broken_replicas_is_asked_when_nobody_has_a_sound_one() {
    let mut world = World::empty();
    let registered = [world.register(1), world.register(2)];
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
    let asked = |world: &mut World| {
        let located = world.locate("/f").unwrap();
        located.chunks[0].servers.iter().map(|server| server.host.clone()).collect::<Vec<_>>()
    };
    world.beat(heartbeat(1, &registered[0], 1, vec![lost.clone()])).unwrap();
    assert_eq!(asked(&mut world), [host(2)], "it has all of it");
    world.beat(heartbeat(2, &registered[1], 1, vec![lost])).unwrap();
    assert_eq!(asked(&mut world), [host(1), host(2)], "each may have what the other has not");
    world.pass(settings().dead_after - Duration::from_secs(1));
    world.beat(heartbeat(2, &registered[1], 2, vec![])).unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(asked(&mut world), [host(2)], "the other is dead");
}

#[test]
fn of_a_long_question_the_first_are_answered() {
    let mut world = World::with_servers(2);
    world.put("/f", 5);
    let chunk = world.locate("/f").unwrap().chunks[0].chunk;
    let many = vec![chunk; BROKEN_CHUNKS_MAX + 1];
    assert_eq!(world.purgeable(&many).len(), BROKEN_CHUNKS_MAX);
}
