//! Joining several files into one.

use super::*;

impl World {
    pub(in super::super) fn concat(
        &mut self,
        parts: &[&str],
        to: &str,
        replace: Replace,
    ) -> Result<FileStatus, FsError> {
        let parts = parts.iter().map(|part| path(part)).collect();
        self.concat_paths(parts, to, replace)
    }

    fn concat_paths(
        &mut self,
        parts: Vec<StorePath>,
        to: &str,
        replace: Replace,
    ) -> Result<FileStatus, FsError> {
        let request = Concat { stamp: self.stamp(), parts, to: path(to), replace, parents: true };
        match self.mutate(Mutation::Concat(request))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    fn layout(&mut self, at: &str) -> Vec<(ChunkId, u64)> {
        let located = self.locate(at).unwrap();
        located.chunks.iter().map(|location| (location.chunk, location.length)).collect()
    }
}

fn file_id(status: &FileStatus) -> FileId {
    match status.kind {
        FileKind::File { file, .. } => file,
        FileKind::Folder => panic!("{status:?}"),
    }
}

#[test]
fn parts_become_one_file_of_their_chunks_in_their_order_and_are_gone() {
    let mut world = World::with_servers(2);
    world.mkdirs("/d");
    let old = world.put("/d/b", CHUNK + 5);
    world.put("/d/a", 3);
    world.put("/d/empty", 0);
    let expected = [world.layout("/d/b"), world.layout("/d/a")].concat();
    world.owner = "bob".to_owned();
    let before = world.journal.len();
    let whole = world.concat(&["/d/b", "/d/empty", "/d/a"], "/new/whole", Replace::Never).unwrap();
    assert_eq!(world.journal.len(), before + 1, "one record");
    assert_ne!(file_id(&whole), file_id(&old));
    assert_eq!(whole.owner, "bob");
    let FileKind::File { length, n_chunks, open, .. } = whole.kind else { panic!("{whole:?}") };
    assert_eq!((length, n_chunks, open), (CHUNK + 8, 3, false));
    assert_eq!(world.layout("/new/whole"), expected);
    assert_eq!(world.names("/d"), Vec::<String>::new());
    assert_eq!(world.summary().chunks, 3);
    world.restart();
    assert_eq!(world.stat("/new/whole").unwrap(), whole);
    assert_eq!(world.delete("/new", true), Ok(Reply::Done));
    assert_eq!(world.summary().chunks, 0);
}

#[test]
fn a_copy_of_a_part_keeps_its_chunks_and_what_is_replaced_goes() {
    let mut world = World::with_servers(2);
    world.put("/a", 3);
    world.put("/b", 4);
    let there = file_id(&world.put("/there", CHUNK + 7));
    let copied = world.layout("/a");
    world.copy("/a", "/copy", Replace::Never).unwrap();
    let taken = FsError::AlreadyExists { path: path("/there") };
    assert_eq!(world.concat(&["/a", "/b"], "/there", Replace::Never), Err(taken));
    let other = FileId(there.0 + 1);
    let changed = FsError::Changed { path: path("/there"), expected: other };
    assert_eq!(world.concat(&["/a", "/b"], "/there", Replace::Only(other)), Err(changed));
    world.concat(&["/a", "/b"], "/there", Replace::Only(there)).unwrap();
    assert_eq!(world.summary().chunks, 2, "those of what stood there are gone");
    assert_eq!(world.names("/"), ["/copy", "/there"]);
    assert_eq!(world.delete("/there", false), Ok(Reply::Done));
    assert_eq!(world.layout("/copy"), copied);
}

#[test]
fn what_is_no_file_or_comes_twice_is_not_put_together() {
    let mut world = World::with_servers(2);
    world.put("/a", 3);
    world.put("/b", 3);
    world.mkdirs("/folder");
    world.create("/open").unwrap();
    let before = world.master.durable().clone();
    let twice = |at: &str| FsError::from(ConcatError::PartTwice { path: path(at) });
    for (parts, to, error) in [
        (&["/a", "/folder"][..], "/to", FsError::IsAFolder { path: path("/folder") }),
        (&["/open", "/a"], "/to", FsError::StillOpen { path: path("/open") }),
        (&["/a", "/b", "/a"], "/to", twice("/a")),
        (&["/a", "/b"], "/b", twice("/b")),
        (&[], "/to", ConcatError::OutOfBounds { to: path("/to"), parts: 0, chunks: 0 }.into()),
    ] {
        assert_eq!(world.concat(parts, to, Replace::Always), Err(error), "{parts:?}");
    }
    assert_eq!(world.master.durable(), &before);
}

#[test]
fn the_highest_replication_of_the_parts_is_asked_for_all_of_their_chunks() {
    let mut world = World::with_servers(4);
    for name in ["/a", "/b", "/c"] {
        world.put(name, 3);
    }
    assert_eq!(world.set_replication("/b", 4), Ok(Reply::Done));
    let whole = world.concat(&["/a", "/b", "/c"], "/whole", Replace::Never).unwrap();
    assert!(matches!(whole.kind, FileKind::File { replication: 4, .. }), "{whole:?}");
    world.restart();
    world.pass(Duration::from_millis(30));
    let durable = world.master.durable().clone();
    for (chunk, _) in world.layout("/whole") {
        let durable::ChunkState::Sealed(sealed) = durable.chunk(chunk) else { panic!("{chunk}") };
        assert_eq!(sealed.wanted, 4, "{chunk}");
    }
}

#[test]
fn a_thousand_parts_are_the_most_and_are_taken_apart_in_steps() {
    let mut world = World::with_servers(2);
    world.mkdirs("/up");
    let parts: Vec<_> = (0..=CONCAT_PARTS_MAX).map(|n| format!("/up/{n}")).collect();
    let paths = |n: usize| parts[..n].iter().map(|part| path(part)).collect::<Vec<_>>();
    parts.iter().for_each(|part| drop(world.put(part, 1)));
    let (given, max) = (CONCAT_PARTS_MAX + 1, CONCAT_PARTS_MAX);
    let error = ConcatError::OutOfBounds { to: path("/to"), parts: given, chunks: 0 }.into();
    assert_eq!(world.concat_paths(paths(given), "/to", Replace::Never), Err(error));
    world.concat_paths(paths(max), "/to", Replace::Never).unwrap();
    assert_eq!(world.names("/up"), [format!("/up/{CONCAT_PARTS_MAX}")]);
    let files = world.summary().files;
    assert!((3..1000).contains(&files), "{files}: in steps");
    world.pass(Duration::from_millis(100));
    assert_eq!((world.summary().files, world.summary().chunks), (2, given as u64));
}
