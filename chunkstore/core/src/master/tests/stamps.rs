//! Retries: the same request gives the same answer, across restarts too.

use super::*;

#[test]
fn every_mutation_asked_twice_is_carried_out_once_and_answered_alike() {
    let mut world = World::with_servers(3);
    world.mkdirs("/staging/job");
    let created = world.create("/staging/job/a").unwrap();
    let (file, sealed) = (created.file, Some(seal(&created.allocation, CHUNK)));
    let gone = world.create("/gone").unwrap().file;
    let mut requests = vec![
        Mutation::Create(create(world.stamp(), "/new")),
        Mutation::Allocate(Allocate { sealed, ..allocate(world.stamp(), file) }),
        Mutation::Close(Close {
            stamp: world.stamp(),
            file,
            sealed: None,
            abandoned: None,
            into: None,
        }),
        Mutation::Abandon(Abandon { stamp: world.stamp(), file: gone }),
        Mutation::Mkdir(Mkdir { stamp: world.stamp(), path: path("/d"), parents: false }),
        Mutation::Rename(Rename {
            stamp: world.stamp(),
            from: path("/d"),
            to: path("/e"),
            replace: Replace::Never,
        }),
        Mutation::Delete(Delete {
            stamp: world.stamp(),
            path: path("/e"),
            recursive: false,
            skip_trash: false,
        }),
    ];
    requests.push(Mutation::Publish(Publish {
        stamp: world.stamp(),
        staging: path("/staging/job"),
        winners: vec![Winner { staged: "a".to_owned(), published: "p".to_owned() }],
        target: path("/out"),
        marker: "_SUCCESS".to_owned(),
        owner: None,
    }));
    for request in requests {
        let first = world.mutate(request.clone()).unwrap();
        let (records, durable) = (world.journal.len(), world.master.durable().clone());
        assert_eq!(world.mutate(request.clone()).unwrap(), first, "{request:?}");
        assert_eq!(world.journal.len(), records, "{request:?}");
        assert_eq!(world.master.durable(), &durable, "{request:?}");
        world.restart();
        assert_eq!(world.mutate(request.clone()).unwrap(), first, "after a restart: {request:?}");
        for n in 1..=3 {
            world.register(n);
        }
    }
}

#[test]
fn a_stray_copy_of_an_earlier_request_is_refused() {
    let mut world = World::empty();
    let early = Mkdir { stamp: world.stamp(), path: path("/a"), parents: false };
    world.mutate(Mutation::Mkdir(early.clone())).unwrap();
    world.mkdirs("/b");
    world.delete("/a", false).unwrap();
    let stray = world.mutate(Mutation::Mkdir(early)).unwrap_err();
    assert_eq!(stray, FsError::StaleRequest { sequence: 1, last: 3 });
    assert_eq!(world.names("/"), ["/b"]);
}

#[test]
fn a_stamp_that_comes_again_with_another_request_is_refused_and_changes_nothing() {
    let mut world = World::with_servers(2);
    let first = Mkdir { stamp: world.stamp(), path: path("/a"), parents: false };
    world.mutate(Mutation::Mkdir(first.clone())).unwrap();
    let stamp = first.stamp.clone();
    let other_path = Mkdir { path: path("/b"), ..first.clone() };
    let other_kind =
        Delete { stamp: stamp.clone(), path: path("/a"), recursive: false, skip_trash: false };
    for other in [
        Mutation::Mkdir(other_path),
        Mutation::Delete(other_kind),
        Mutation::Create(create(stamp, "/f")),
    ] {
        for _ in 0..2 {
            let refused = world.mutate(other.clone());
            assert_eq!(refused, Err(FsError::StampReused { sequence: 1 }), "{other:?}");
            world.restart();
        }
    }
    assert_eq!(world.mutate(Mutation::Mkdir(first)), Ok(Reply::Done), "a retry still is one");
    assert_eq!(world.names("/"), ["/a"]);
}

#[test]
fn a_refused_request_may_be_asked_again_under_the_same_stamp() {
    let mut world = World::empty();
    let request = create(world.stamp(), "/f");
    let error = world.mutate(Mutation::Create(request.clone())).unwrap_err();
    assert!(matches!(error, FsError::NoLiveServers { .. }));
    world.register(1);
    world.register(2);
    assert!(world.mutate(Mutation::Create(request)).is_ok());
}

#[test]
fn slots_of_a_client_are_independent_chains() {
    let mut world = World::empty();
    for slot in 0..3 {
        let stamp = RequestStamp { client: client(), slot, sequence: 1 };
        let request = Mkdir { stamp, path: path(&format!("/{slot}")), parents: false };
        assert_eq!(world.mutate(Mutation::Mkdir(request)), Ok(Reply::Done));
    }
    assert_eq!(world.names("/").len(), 3);
}
