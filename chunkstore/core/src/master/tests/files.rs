//! A file under its writer: create, allocate, close, abandon, leases.

use chunkstore_protocol::LOCATE_MANY_CHUNKS_MAX;

use super::*;

impl World {
    /// Writes a file of one chunk under the one name and closes it into the other, by a request of this stamp.
    fn close_into(
        &mut self,
        created: &Created,
        stamp: RequestStamp,
        to: &str,
        replace: Replace,
    ) -> Result<FileStatus, FsError> {
        let into = Some(CloseInto { path: path(to), replace });
        let sealed = Some(seal(&created.allocation, 5));
        let request = Close { stamp, file: created.file, sealed, abandoned: None, into };
        match self.mutate(Mutation::Close(request))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_takes_anothers_place_as_it_is_closed_and_is_never_whole_beside_it() {
    let mut world = World::with_servers(3);
    world.mkdir("/in").unwrap();
    let old = world.put("/in/f", 7);
    let created = world.create("/in/.f.new").unwrap();
    let (n_records, stamp) = (world.journal.len(), world.stamp());
    let closed = world.close_into(&created, stamp.clone(), "/in/f", Replace::Always).unwrap();
    assert_eq!(world.journal.len(), n_records + 1, "one record: all of it or nothing");
    assert_eq!(closed.path, path("/in/f"));
    assert!(
        matches!(closed.kind, FileKind::File { file, length: 5, open: false, .. } if file == created.file)
    );
    assert_eq!(world.names("/in"), ["/in/f"]);
    assert_ne!(world.stat("/in/f").unwrap(), old);
    let again = world.close_into(&created, stamp, "/in/f", Replace::Always).unwrap();
    assert_eq!(again, closed, "a retry gets the first answer");
    world.restart();
    assert_eq!(world.names("/in"), ["/in/f"]);
}

#[test]
fn a_file_that_can_not_take_the_place_stays_open() {
    let mut world = World::with_servers(3);
    world.mkdir("/in").unwrap();
    let there = world.put("/in/f", 7);
    let FileKind::File { file: old, .. } = there.kind else { panic!("{there:?}") };
    let created = world.create("/in/.f.new").unwrap();
    for (to, replace, is_refused) in [
        (
            "/in/f",
            Replace::Never,
            (|it| matches!(it, FsError::AlreadyExists { .. })) as fn(&FsError) -> bool,
        ),
        ("/in/f", Replace::Only(FileId(old.0 + 100)), |it| matches!(it, FsError::Changed { .. })),
        ("/in", Replace::Always, |it| matches!(it, FsError::IsAFolder { .. })),
        ("/none/f", Replace::Never, |it| matches!(it, FsError::ParentMissing { .. })),
        ("/", Replace::Always, |it| matches!(it, FsError::RootStays)),
    ] {
        let stamp = world.stamp();
        let refused = world.close_into(&created, stamp, to, replace).unwrap_err();
        assert!(is_refused(&refused), "{to}: {refused}");
    }
    assert_eq!(world.stat("/in/f").unwrap(), there);
    let stamp = world.stamp();
    let closed = world.close_into(&created, stamp, "/in/f", Replace::Only(old)).unwrap();
    assert_eq!(closed.path, path("/in/f"));
    // To its own name it is closed as ever.
    let created = world.create("/in/g").unwrap();
    let stamp = world.stamp();
    assert!(world.close_into(&created, stamp, "/in/g", Replace::Never).is_ok());
    assert_eq!(world.names("/in"), ["/in/f", "/in/g"]);
}

#[test]
fn a_file_of_three_chunks_is_written_closed_and_located() {
    let mut world = World::with_servers(3);
    let created = world.create("/f").unwrap();
    assert_eq!((created.replication, created.chunk_bytes, created.lease_ms), (2, CHUNK, 60_000));
    assert_eq!(created.allocation.pipeline.len(), 2);
    let open = world.stat("/f").unwrap();
    assert!(matches!(open.kind, FileKind::File { open: true, length: 0, .. }));
    assert_eq!(world.locate("/f"), Err(FsError::StillOpen { path: path("/f") }));

    let first = seal(&created.allocation, CHUNK);
    let request = Allocate { sealed: Some(first.clone()), ..allocate(world.stamp(), created.file) };
    let allocation = world.allocate(request).unwrap();
    let second = seal(&allocation, CHUNK);
    let request =
        Allocate { sealed: Some(second.clone()), ..allocate(world.stamp(), created.file) };
    let allocation = world.allocate(request).unwrap();
    let third = seal(&allocation, 5);
    let status = world.close(created.file, Some(third.clone())).unwrap();
    let length = 2 * CHUNK + 5;
    let (replication, chunk_bytes) = (2, CHUNK);
    let (file, open, cut) = (created.file, false, false);
    let kind = FileKind::File {
        file,
        length,
        replication,
        chunk_bytes,
        n_chunks: 3,
        open,
        cut,
        log: false,
    };
    assert_eq!((&status.path, &status.kind), (&path("/f"), &kind));
    assert_eq!(world.stat("/f").unwrap(), status);

    let located = world.locate("/f").unwrap();
    assert_eq!(located.length, length);
    let offsets: Vec<_> = located.chunks.iter().map(|c| (c.chunk, c.offset, c.length)).collect();
    let expected =
        [(first.chunk, 0, CHUNK), (second.chunk, CHUNK, CHUNK), (third.chunk, 2 * CHUNK, 5)];
    assert_eq!(offsets, expected);
    assert_eq!(hosts_of(&located.chunks[2].servers), third.servers);
}

#[test]
fn a_range_is_located_by_the_chunks_that_cover_it() {
    let mut world = World::with_servers(2);
    world.put("/f", 3 * CHUNK);
    let table = [
        (0, None, 0..3),
        (0, Some(0), 0..0),
        (0, Some(1), 0..1),
        (CHUNK - 1, Some(2), 0..2),
        (CHUNK, Some(CHUNK), 1..2),
        (2 * CHUNK, None, 2..3),
        (3 * CHUNK, None, 3..3),
        (u64::MAX, Some(u64::MAX), 3..3),
    ];
    for (offset, length, expected) in table {
        let located = world.locate_range("/f", offset, length).unwrap();
        let chunks: Vec<_> = located.chunks.iter().map(|chunk| chunk.offset / CHUNK).collect();
        assert_eq!(chunks, expected.collect::<Vec<u64>>(), "{offset} {length:?}");
    }
}

#[test]
fn a_file_of_very_many_chunks_is_located_in_parts() {
    let mut world = World::with_servers(1);
    let mut request = create(world.stamp(), "/f");
    (request.replication, request.chunk_bytes) = (Some(1), Some(64 << 10));
    let Reply::Created(created) = world.mutate(Mutation::Create(request)).unwrap() else {
        panic!("not created")
    };
    let mut allocation = created.allocation;
    for _ in 0..READ_STEP {
        let sealed = Some(seal(&allocation, 1000));
        let request = Allocate { sealed, ..allocate(world.stamp(), created.file) };
        allocation = world.allocate(request).unwrap();
    }
    world.close(created.file, Some(seal(&allocation, 7))).unwrap();
    let first = world.locate("/f").unwrap();
    assert_eq!((first.length, first.chunks.len()), (1_000_007, READ_STEP));
    let query = Query::LocateMany { paths: [path("/f")].into(), from: 0 };
    let Reply::LocatedMany(many) = world.query(query).unwrap() else { panic!("not located") };
    let of_many = many[0].as_ref().unwrap();
    assert_eq!(of_many.chunks.len(), LOCATE_MANY_CHUNKS_MAX);
    assert_eq!(of_many.length, first.length, "so that the asker sees that there is more");
    let rest = world.locate_range("/f", 1_000_000, None).unwrap();
    assert_eq!(rest.chunks.len(), 1);
    assert_eq!(rest.chunks[0].length, 7);
}

#[test]
fn an_empty_file_needs_no_chunk() {
    let mut world = World::with_servers(2);
    let status = world.put("/empty", 0);
    let FileKind::File { file, length: 0, n_chunks: 0, open: false, .. } = status.kind else {
        panic!("{status:?}");
    };
    let empty = Located { file, ..Located::default() };
    assert_eq!(world.locate("/empty"), Ok(empty));
}

#[test]
fn what_create_asks_for_is_checked() {
    let mut world = World::with_servers(2);
    world.mkdirs("/d");
    world.put("/d/f", 1);
    let refused = |world: &mut World, at: &str, change: fn(&mut Create)| {
        let mut request = create(world.stamp(), at);
        change(&mut request);
        world.mutate(Mutation::Create(request)).unwrap_err()
    };
    let none = |_: &mut Create| {};
    let exists = |at: &str| FsError::AlreadyExists { path: path(at) };
    assert_eq!(refused(&mut world, "/d/f", none), exists("/d/f"));
    assert_eq!(refused(&mut world, "/d", none), exists("/d"));
    assert_eq!(refused(&mut world, "/", none), exists("/"));
    let below_file = FsError::NotAFolder { path: path("/d/f/g"), file: path("/d/f") };
    assert_eq!(refused(&mut world, "/d/f/g", |c| c.parents = true), below_file);
    let missing = FsError::ParentMissing { path: path("/x/y/z"), folder: path("/x/y") };
    assert_eq!(refused(&mut world, "/x/y/z", none), missing);
    let error = refused(&mut world, "/g", |c| c.replication = Some(0));
    assert_eq!(error, FsError::BadReplication { given: 0, max: 10 });
    let error = refused(&mut world, "/g", |c| c.replication = Some(11));
    assert_eq!(error, FsError::BadReplication { given: 11, max: 10 });
    for given in [0, 1024, CHUNK_BYTES_MAX - 1, 2 * CHUNK_BYTES_MAX] {
        let mut request = create(world.stamp(), "/g");
        request.chunk_bytes = Some(given);
        let error = world.mutate(Mutation::Create(request)).unwrap_err();
        assert_eq!(error, FsError::BadChunkBytes { given });
    }
    assert_eq!(world.names("/"), ["/d"]);
}

#[test]
fn with_parents_the_folders_above_are_made_with_the_file() {
    let mut world = World::with_servers(2);
    let mut request = create(world.stamp(), "/a/b/c");
    request.parents = true;
    let before = world.journal.len();
    assert!(world.mutate(Mutation::Create(request)).is_ok());
    assert_eq!(world.journal.len(), before + 1, "one request, one record");
    assert_eq!(world.names("/a/b"), ["/a/b/c"]);
}

#[test]
fn a_chunk_is_sealed_by_the_servers_it_was_allotted_on_and_by_nobody_else() {
    let mut world = World::with_servers(3);
    let created = world.create("/f").unwrap();
    let mut sealed = seal(&created.allocation, 5);
    let outsider = (1..=3).map(host).find(|host| !sealed.servers.contains(host)).unwrap();
    for stranger in [outsider, host(9)] {
        sealed.servers[1] = stranger.clone();
        let error = world.close(created.file, Some(sealed.clone())).unwrap_err();
        let chunk = sealed.chunk;
        assert_eq!(error, FsError::NotInPipeline { path: path("/f"), chunk, host: stranger });
    }
    world.restart();
    let sealed = seal(&created.allocation, 5);
    assert!(world.close(created.file, Some(sealed)).is_ok(), "the journal knows the pipeline");
}

#[test]
fn a_close_needs_two_replicas_where_two_were_asked_for() {
    let mut world = World::with_servers(3);
    for (replication, sealed_on, enough) in
        [(1, 1, true), (2, 1, false), (2, 2, true), (3, 1, false), (3, 2, true), (1, 0, false)]
    {
        let at = format!("/f-{replication}-{sealed_on}");
        let mut request = create(world.stamp(), &at);
        request.replication = Some(replication);
        let Reply::Created(created) = world.mutate(Mutation::Create(request)).unwrap() else {
            panic!("not created")
        };
        let mut sealed = seal(&created.allocation, 5);
        sealed.servers.truncate(sealed_on);
        let on = sealed.servers.clone();
        // The same server named twice is still one replica.
        sealed.servers.extend(on.first().cloned());
        let result = world.close(created.file, Some(sealed.clone()));
        if enough {
            assert!(result.is_ok(), "{at}");
            continue;
        }
        let needed = replication.min(2);
        let error = FsError::TooFewReplicas { path: path(&at), chunk: sealed.chunk, on, needed };
        assert_eq!(result, Err(error.clone()), "{at}");
        let request = Allocate { sealed: Some(sealed), ..allocate(world.stamp(), created.file) };
        assert_eq!(world.allocate(request), Err(error), "an allocate seals by the same rule");
        let abandoned = Some(created.allocation.chunk);
        let request = Allocate { abandoned, ..allocate(world.stamp(), created.file) };
        let again = world.allocate(request).unwrap();
        assert_ne!(again.chunk, created.allocation.chunk);
        assert!(world.close(created.file, Some(seal(&again, 5))).is_ok());
    }
}

#[test]
fn only_the_open_chunk_can_be_sealed_and_only_once() {
    let mut world = World::with_servers(2);
    let other = world.create("/other").unwrap();
    let created = world.create("/f").unwrap();
    let good = seal(&created.allocation, 5);
    let not_allotted = |chunk| Err(FsError::NotAllotted { path: path("/f"), chunk });

    let foreign = seal(&other.allocation, 5);
    assert_eq!(world.close(created.file, Some(foreign.clone())), not_allotted(foreign.chunk));
    let mut wrong_version = good.clone();
    wrong_version.version = Version(2);
    assert_eq!(world.close(created.file, Some(wrong_version)), not_allotted(good.chunk));
    for length in [0, CHUNK + 1] {
        let mut sealed = good.clone();
        sealed.length = length;
        let (path, chunk, max) = (path("/f"), good.chunk, CHUNK);
        let error = FsError::BadChunkLength { path, chunk, length, max };
        assert_eq!(world.close(created.file, Some(sealed)), Err(error));
    }
    let request = allocate(world.stamp(), created.file);
    let error = FsError::ChunkStillOpen { path: path("/f"), chunk: good.chunk };
    assert_eq!(world.allocate(request), Err(error));
    let mut request = allocate(world.stamp(), created.file);
    (request.sealed, request.abandoned) = (Some(good.clone()), Some(good.chunk));
    assert_eq!(world.allocate(request).map(drop), not_allotted(good.chunk).map(drop));

    let request = Allocate { sealed: Some(good.clone()), ..allocate(world.stamp(), created.file) };
    world.allocate(request).unwrap();
    assert_eq!(world.close(created.file, Some(good.clone())), not_allotted(good.chunk));
    assert!(world.close(created.file, None).is_ok(), "the unused chunk is given up");
}

#[test]
fn a_writer_that_holds_no_lease_is_told_so() {
    let mut world = World::with_servers(2);
    let file = world.create("/f").unwrap().file;
    let lost = FsError::LeaseLost { file };
    let mut foreign = allocate(world.stamp(), file);
    foreign.stamp.client = "client-2".parse().unwrap();
    assert_eq!(world.allocate(foreign).unwrap_err(), lost);
    assert!(world.close(file, None).is_ok());
    assert_eq!(world.close(file, None).unwrap_err(), lost, "closed");

    let file = world.create("/g").unwrap().file;
    let request = Abandon { stamp: world.stamp(), file };
    assert_eq!(world.mutate(Mutation::Abandon(request)), Ok(Reply::Done));
    assert!(matches!(world.stat("/g"), Err(FsError::NotFound { .. })));
    assert_eq!(world.close(file, None).unwrap_err(), FsError::LeaseLost { file }, "abandoned");

    let file = world.create("/h").unwrap().file;
    world.delete("/h", false).unwrap();
    assert_eq!(world.close(file, None).unwrap_err(), FsError::LeaseLost { file }, "deleted");
    let unknown = FileId(999);
    let error = world.close(unknown, None).unwrap_err();
    assert_eq!(error, FsError::LeaseLost { file: unknown });
}

#[test]
fn a_zombie_cannot_create_in_its_deleted_folder_nor_finish_there() {
    let mut world = World::with_servers(2);
    world.mkdirs("/staging/job");
    let file = world.create("/staging/job/attempt").unwrap().file;
    world.delete("/staging/job", true).unwrap();
    assert_eq!(world.close(file, None).unwrap_err(), FsError::LeaseLost { file });
    let again = world.create("/staging/job/attempt");
    assert!(matches!(again, Err(FsError::ParentMissing { .. })));
}

#[test]
fn a_silent_writers_file_is_removed_and_a_renewed_one_stays() {
    let mut world = World::with_servers(2);
    let silent = world.create("/silent").unwrap().file;
    let alive = world.create("/alive").unwrap().file;
    for _ in 0..4 {
        world.pass(Duration::from_secs(20));
        let request = Renew { client: client(), files: vec![alive], wait_ms: 0 };
        assert_eq!(world.query(Query::Renew(request)), Ok(Reply::Done));
    }
    assert!(world.notices.contains(&Notice::LeaseExpired { path: path("/silent") }));
    assert_eq!(world.names("/"), ["/alive"]);
    assert_eq!(world.close(silent, None).unwrap_err(), FsError::LeaseLost { file: silent });
    let both = Renew { client: client(), files: vec![silent, alive], wait_ms: 0 };
    assert_eq!(world.query(Query::Renew(both)), Ok(Reply::Done), "one of them is held");
    let lost = Renew { client: client(), files: vec![silent], wait_ms: 0 };
    let error = FsError::LeaseLost { file: silent };
    assert_eq!(world.query(Query::Renew(lost)), Err(error));
    assert!(world.close(alive, None).is_ok());
    world.pass(Duration::from_secs(1000));
    assert_eq!(world.names("/"), ["/alive"], "a closed file has no lease to lose");
}

#[test]
fn an_allocate_renews_the_lease_and_a_restart_grants_a_new_one() {
    let mut world = World::with_servers(2);
    let created = world.create("/f").unwrap();
    world.pass(Duration::from_secs(59));
    world.restart();
    world.register(1);
    world.register(2);
    world.pass(Duration::from_secs(5));
    let sealed = Some(seal(&created.allocation, CHUNK));
    let request = Allocate { sealed, ..allocate(world.stamp(), created.file) };
    world.allocate(request).unwrap();
    world.pass(Duration::from_secs(59));
    assert!(world.stat("/f").is_ok());
    world.pass(Duration::from_secs(1));
    assert!(world.stat("/f").is_err());
}

#[test]
fn a_master_that_stood_still_takes_no_lease_away_before_its_writer_could_speak() {
    let mut world = World::with_servers(2);
    let file = world.create("/f").unwrap().file;
    world.pass(Duration::from_secs(59));
    let time = Duration::from_secs(100);
    world.pause(time);
    let renew = Renew { client: client(), files: vec![file], wait_ms: 0 };
    assert_eq!(world.query(Query::Renew(renew)), Ok(Reply::Done));
    assert_eq!(world.notices.iter().filter(|n| matches!(n, Notice::Paused { .. })).count(), 1);
    // Paused again, but now the writer is gone: it has the rest of its lease and no more.
    world.pause(time);
    world.pass(Duration::from_secs(59));
    assert!(world.stat("/f").is_ok());
    world.pass(Duration::from_secs(1));
    assert!(world.stat("/f").is_err());
}

#[test]
fn a_lease_that_ran_out_is_gone_even_if_nobody_looked() {
    let mut world = World::with_servers(2);
    let file = world.create("/f").unwrap().file;
    world.pass(Duration::from_secs(59));
    world.pause(Duration::from_secs(1));
    assert_eq!(world.close(file, None).unwrap_err(), FsError::LeaseLost { file });
    assert!(world.stat("/f").is_err());
}
