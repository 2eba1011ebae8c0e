//! Files that are reopened, and files whose writers die.

use super::*;

fn append(world: &mut World, at: &str) -> Result<Created, FsError> {
    let request = Append { stamp: world.stamp(), path: path(at), writer_host: None };
    match world.mutate(Mutation::Append(request))? {
        Reply::Created(created) => Ok(created),
        other => panic!("{other:?}"),
    }
}

fn locate_open(world: &mut World, at: &str) -> Located {
    let request = Locate { path: path(at), offset: 0, length: None, open: true, log: false };
    match world.query(Query::Locate(request)) {
        Ok(Reply::Located(located)) => located,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_may_go_over_a_file_of_that_length_may_not_once_it_was_appended_to() {
    let mut world = World::with_servers(3);
    world.put("/new", 3);
    let old = world.put("/f", 5);
    let FileKind::File { file, length, .. } = old.kind else { panic!("{old:?}") };
    let created = append(&mut world, "/f").unwrap();
    world.close(created.file, Some(seal(&created.allocation, 2))).unwrap();
    let changed = FsError::Changed { path: path("/f"), expected: file };
    let over = Replace::OnlyOf { file, length };
    assert_eq!(world.rename_over("/new", "/f", over), Err(changed));
    assert_eq!(look(&mut world, "/f"), (7, false, false));
    let over = Replace::OnlyOf { file, length: 7 };
    assert_eq!(world.rename_over("/new", "/f", over), Ok(Reply::Done));
    assert_eq!(look(&mut world, "/f"), (3, false, false));
}

/// Seals the open chunk with this many bytes and gets the next one.
fn go_on(world: &mut World, file: FileId, open: &Allocation, bytes: u64) -> Allocation {
    let sealed = Some(seal(open, bytes));
    let request = Allocate { sealed, ..allocate(world.stamp(), file) };
    world.allocate(request).unwrap()
}

/// Length, whether it is open, whether it is cut.
fn look(world: &mut World, at: &str) -> (u64, bool, bool) {
    match world.stat(at).unwrap().kind {
        FileKind::File { length, open, cut, .. } => (length, open, cut),
        FileKind::Folder => panic!("a folder"),
    }
}

#[test]
fn an_appended_file_is_readable_as_it_was_until_its_close_and_grows_then() {
    let mut world = World::with_servers(3);
    world.put("/f", CHUNK + 5);
    let created = append(&mut world, "/f").unwrap();
    assert_eq!((created.replication, created.chunk_bytes), (2, CHUNK));
    let next = go_on(&mut world, created.file, &created.allocation, 7);
    for _ in 0..2 {
        assert_eq!(look(&mut world, "/f"), (CHUNK + 5, true, false));
        let located = world.locate("/f").unwrap();
        assert_eq!((located.length, located.chunks.len()), (CHUNK + 5, 2), "as it was");
        let behind = world.locate_range("/f", CHUNK + 5, Some(100)).unwrap();
        assert_eq!(behind.chunks, []);
        let open = locate_open(&mut world, "/f");
        assert_eq!((open.length, open.chunks.len()), (CHUNK + 12, 3), "who asks sees it grow");
        world.restart();
        world.register(1);
        world.register(2);
    }
    let status = world.close(created.file, Some(seal(&next, 1))).unwrap();
    assert_eq!(look(&mut world, "/f"), (CHUNK + 13, false, false));
    assert_eq!(world.stat("/f").unwrap(), status);
    let located = world.locate("/f").unwrap();
    let lengths: Vec<_> = located.chunks.iter().map(|chunk| chunk.length).collect();
    assert_eq!(lengths, [CHUNK, 5, 7, 1]);
}

#[test]
fn an_empty_file_can_be_appended_to_and_an_append_of_nothing_changes_nothing() {
    let mut world = World::with_servers(2);
    world.put("/f", 0);
    let created = append(&mut world, "/f").unwrap();
    let empty = Located { file: created.file, ..Located::default() };
    assert_eq!(world.locate("/f"), Ok(empty));
    world.close(created.file, Some(seal(&created.allocation, 3))).unwrap();
    let created = append(&mut world, "/f").unwrap();
    world.close(created.file, None).unwrap();
    assert_eq!(look(&mut world, "/f"), (3, false, false));
}

#[test]
fn a_file_has_one_writer_however_it_was_opened() {
    let mut world = World::with_servers(2);
    let writing = world.create("/f").unwrap();
    let still_open = FsError::StillOpen { path: path("/f") };
    assert_eq!(append(&mut world, "/f").unwrap_err(), still_open);
    world.close(writing.file, Some(seal(&writing.allocation, 3))).unwrap();
    assert_eq!(
        world.close(writing.file, None).unwrap_err(),
        FsError::LeaseLost { file: writing.file }
    );
    let appending = append(&mut world, "/f").unwrap();
    assert_eq!(append(&mut world, "/f").unwrap_err(), still_open);
    let mut foreign = allocate(world.stamp(), appending.file);
    foreign.stamp.client = "client-2".parse().unwrap();
    let lost = FsError::LeaseLost { file: appending.file };
    assert_eq!(world.allocate(foreign).unwrap_err(), lost);
    world.mkdirs("/d");
    assert_eq!(append(&mut world, "/d").unwrap_err(), FsError::IsAFolder { path: path("/d") });
    assert!(matches!(append(&mut world, "/g"), Err(FsError::NotFound { .. })));
}

#[test]
fn a_repeated_append_gets_the_same_chunk() {
    let mut world = World::with_servers(2);
    world.put("/f", 3);
    let request = Append { stamp: world.stamp(), path: path("/f"), writer_host: None };
    let first = world.mutate(Mutation::Append(request.clone())).unwrap();
    assert_eq!(world.mutate(Mutation::Append(request)), Ok(first));
}

#[test]
fn an_abandoned_append_leaves_the_file_as_it_was_and_its_chunks_to_be_deleted() {
    for before in [0, 3, 2 * CHUNK + 3] {
        let mut world = World::with_servers(2);
        world.put("/f", before);
        let n_before = world.summary().chunks;
        let as_it_was = world.locate("/f").unwrap();
        let created = append(&mut world, "/f").unwrap();
        let second = go_on(&mut world, created.file, &created.allocation, CHUNK);
        go_on(&mut world, created.file, &second, 9);
        assert_eq!(world.summary().chunks, n_before + 2);
        let request = Abandon { stamp: world.stamp(), file: created.file };
        assert_eq!(world.mutate(Mutation::Abandon(request)), Ok(Reply::Done));
        assert_eq!(look(&mut world, "/f"), (before, false, false));
        assert_eq!(world.locate("/f"), Ok(as_it_was));
        assert_eq!(world.summary().chunks, n_before);
        assert!(world.summary().commands_pending >= 2, "the servers are told to delete them");
        let again = append(&mut world, "/f").unwrap();
        world.close(again.file, Some(seal(&again.allocation, 1))).unwrap();
        assert_eq!(look(&mut world, "/f"), (before + 1, false, false));
    }
}

#[test]
fn a_dead_appender_leaves_the_file_as_it_was() {
    let mut world = World::with_servers(2);
    world.put("/f", 3);
    let created = append(&mut world, "/f").unwrap();
    go_on(&mut world, created.file, &created.allocation, 4);
    world.pass(Duration::from_secs(61));
    assert_eq!(look(&mut world, "/f"), (3, false, false));
    assert_eq!(world.locate("/f").unwrap().length, 3);
    assert_eq!(world.summary().chunks, 1);
    let notice = Notice::AppendLapsed { path: path("/f"), length: 3 };
    assert!(world.notices.contains(&notice));
    let lost = FsError::LeaseLost { file: created.file };
    assert_eq!(world.close(created.file, None).unwrap_err(), lost);
}

#[test]
fn a_dead_writers_file_goes_or_ends_at_its_sealed_chunks_and_says_so() {
    let mut world = World::with_servers(2);
    let gone = world.create("/gone").unwrap();
    go_on(&mut world, gone.file, &gone.allocation, 4);
    let mut request = create(world.stamp(), "/kept");
    request.if_writer_dies = IfWriterDies::Close;
    let Ok(Reply::Created(kept)) = world.mutate(Mutation::Create(request)) else {
        panic!("not created")
    };
    go_on(&mut world, kept.file, &kept.allocation, 4);
    assert_eq!(locate_open(&mut world, "/kept").length, 4);
    assert!(matches!(world.locate("/kept"), Err(FsError::StillOpen { .. })));
    world.restart();
    world.pass(Duration::from_secs(61));
    assert_eq!(world.names("/"), ["/kept"]);
    assert_eq!(look(&mut world, "/kept"), (4, false, true), "marked as cut");
    assert_eq!(world.locate("/kept").unwrap().length, 4);
    world.register(1);
    world.register(2);
    let again = append(&mut world, "/kept").unwrap();
    go_on(&mut world, again.file, &again.allocation, 1);
    world.pass(Duration::from_secs(61));
    assert_eq!(look(&mut world, "/kept"), (4, false, true), "nobody has finished it yet");
    world.register(1);
    world.register(2);
    let again = append(&mut world, "/kept").unwrap();
    world.close(again.file, Some(seal(&again.allocation, 1))).unwrap();
    assert_eq!(look(&mut world, "/kept"), (5, false, false), "whoever closes it finishes it");
}

#[test]
fn a_file_deleted_while_it_is_appended_to_goes_with_all_its_chunks() {
    let mut world = World::with_servers(2);
    world.put("/f", 3);
    let created = append(&mut world, "/f").unwrap();
    go_on(&mut world, created.file, &created.allocation, 4);
    world.delete("/f", false).unwrap();
    assert_eq!((world.summary().chunks, world.summary().open_files), (0, 0));
    let lost = FsError::LeaseLost { file: created.file };
    assert_eq!(world.close(created.file, None).unwrap_err(), lost);
}

#[test]
fn servers_forget_what_they_have_of_a_chunk_that_its_writer_gave_up() {
    let mut world = World::with_servers(2);
    let created = world.create("/f").unwrap();
    let abandoned = Some(created.allocation.chunk);
    let request = Allocate { abandoned, ..allocate(world.stamp(), created.file) };
    world.allocate(request).unwrap();
    assert_eq!(world.summary().commands_pending, 2, "each of its pipeline");
    let request = Abandon { stamp: world.stamp(), file: created.file };
    world.mutate(Mutation::Abandon(request)).unwrap();
    assert_eq!(world.summary().commands_pending, 4);
    world.put("/empty", 0);
    assert_eq!(world.summary().commands_pending, 4, "nobody began to write that one");
}

#[test]
fn a_writer_whose_connection_ended_has_a_moment_to_come_back() {
    let mut world = World::with_servers(2);
    let gone = world.create("/gone").unwrap().file;
    let back = world.create("/back").unwrap().file;
    world.pass(Duration::from_secs(1));
    let stranger: ClientId = "client-2".parse().unwrap();
    world.run(Input::WriterGone(stranger, vec![gone]));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.names("/").len(), 2, "only its own writer ends a lease");
    world.run(Input::WriterGone(client(), vec![gone, back, FileId(99)]));
    world.pass(Duration::from_secs(4));
    let renew = Renew { client: client(), files: vec![back], wait_ms: 0 };
    assert_eq!(world.query(Query::Renew(renew)), Ok(Reply::Done));
    assert_eq!(world.names("/").len(), 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.names("/"), ["/back"]);
    world.pass(Duration::from_secs(58));
    world.run(Input::WriterGone(client(), vec![back]));
    world.pass(Duration::from_secs(1));
    assert!(world.names("/").is_empty(), "a lease that ends sooner is not made longer");
}
