//! Changes of whole files that move no bytes: renames over others, copies, replication.

use super::super::copies::REPLICATION_STEP;
use super::*;

impl World {
    pub(super) fn rename_over(
        &mut self,
        from: &str,
        to: &str,
        replace: Replace,
    ) -> Result<Reply, FsError> {
        let request = Rename { stamp: self.stamp(), from: path(from), to: path(to), replace };
        self.mutate(Mutation::Rename(request))
    }

    pub(in super::super) fn copy(
        &mut self,
        from: &str,
        to: &str,
        replace: Replace,
    ) -> Result<FileStatus, FsError> {
        let (stamp, from, to) = (self.stamp(), path(from), path(to));
        let request = Copy { stamp, from, to, replace, parents: true };
        match self.mutate(Mutation::Copy(request))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    pub(in super::super) fn set_replication(
        &mut self,
        at: &str,
        replication: u8,
    ) -> Result<Reply, FsError> {
        let request = SetReplication { stamp: self.stamp(), path: path(at), replication };
        self.mutate(Mutation::SetReplication(request))
    }

    fn chunks(&mut self, at: &str) -> Vec<ChunkId> {
        self.locate(at).unwrap().chunks.iter().map(|location| location.chunk).collect()
    }

    fn wanted(&mut self, at: &str) -> Vec<u8> {
        let chunks = self.chunks(at);
        let durable = self.master.durable();
        let wanted = chunks.into_iter().map(|chunk| match durable.chunk(chunk) {
            durable::ChunkState::Sealed(sealed) => sealed.wanted,
            other => panic!("{other:?}"),
        });
        wanted.collect()
    }
}

fn id(status: &FileStatus) -> FileId {
    match status.kind {
        FileKind::File { file, .. } => file,
        FileKind::Folder => panic!("{status:?}"),
    }
}

#[test]
fn a_file_goes_over_another_only_when_that_is_asked_for_and_only_over_the_right_one() {
    let mut world = World::with_servers(2);
    let (a, b) = (world.put("/a", 3), world.put("/b", 5));
    let taken = FsError::AlreadyExists { path: path("/b") };
    assert_eq!(world.rename_over("/a", "/b", Replace::Never), Err(taken));
    let changed = |at: &str, expected| FsError::Changed { path: path(at), expected };
    let only = Replace::Only(id(&a));
    assert_eq!(world.rename_over("/a", "/b", only), Err(changed("/b", id(&a))));
    assert_eq!(world.rename_over("/a", "/free", only), Err(changed("/free", id(&a))));
    let before = world.journal.len();
    assert_eq!(world.rename_over("/a", "/b", Replace::Only(id(&b))), Ok(Reply::Done));
    assert_eq!(world.journal.len(), before + 1, "one record");
    assert_eq!(world.names("/"), ["/b"]);
    assert_eq!(world.stat("/b").unwrap().kind, a.kind, "the same file");
    assert_eq!(world.summary().chunks, 1, "what it replaced is gone");
    assert_eq!(world.rename_over("/b", "/free", Replace::Always), Ok(Reply::Done));
    assert_eq!(world.names("/"), ["/free"]);
}

#[test]
fn a_rename_onto_itself_is_done_without_a_record() {
    let mut world = World::with_servers(2);
    let file = id(&world.put("/d", 3));
    world.mkdirs("/e/f");
    let before = world.journal.len();
    for replace in [Replace::Never, Replace::Always, Replace::Only(file)] {
        assert_eq!(world.rename_over("/d", "/d", replace), Ok(Reply::Done));
    }
    assert_eq!(world.rename("/e", "/e"), Ok(Reply::Done));
    let other = Replace::Only(FileId(77));
    let changed = FsError::Changed { path: path("/d"), expected: FileId(77) };
    assert_eq!(world.rename_over("/d", "/d", other), Err(changed));
    assert_eq!(world.journal.len(), before);
}

#[test]
fn folders_and_open_files_are_not_replaced_and_do_not_replace() {
    let mut world = World::with_servers(2);
    world.mkdirs("/folder");
    world.put("/file", 3);
    world.create("/open").unwrap();
    let before = world.master.durable().clone();
    let open = FsError::StillOpen { path: path("/open") };
    let cases = [
        ("/file", "/folder", FsError::IsAFolder { path: path("/folder") }),
        ("/folder", "/file", FsError::AlreadyExists { path: path("/file") }),
        ("/file", "/open", open.clone()),
        ("/open", "/file", open.clone()),
    ];
    for (from, to, error) in cases {
        assert_eq!(world.rename_over(from, to, Replace::Always), Err(error), "{from} {to}");
    }
    let error = FsError::IsAFolder { path: path("/folder") };
    assert_eq!(world.copy("/folder", "/x", Replace::Always), Err(error.clone()));
    assert_eq!(world.copy("/file", "/folder", Replace::Always), Err(error.clone()));
    assert_eq!(world.copy("/open", "/x", Replace::Never), Err(open.clone()));
    assert_eq!(world.copy("/file", "/open", Replace::Always), Err(open.clone()));
    assert_eq!(world.set_replication("/open", 2), Err(open));
    assert_eq!(world.set_replication("/folder", 2), Err(error));
    let error = FsError::BadReplication { given: 0, max: 10 };
    assert_eq!(world.set_replication("/file", 0), Err(error));
    assert_eq!(world.master.durable(), &before);
}

#[test]
fn a_copy_shares_the_chunks_and_the_last_file_takes_them_along() {
    let mut world = World::with_servers(2);
    let original = world.put("/a", 2 * CHUNK + 5);
    world.pass(Duration::from_secs(3));
    world.owner = "bob".to_owned();
    let copy = world.copy("/a", "/new/b", Replace::Never).unwrap();
    assert_eq!((copy.owner.as_str(), copy.created), ("bob", UnixMillis(3000)));
    assert_ne!(id(&copy), id(&original));
    assert_eq!(world.stat("/new/b").unwrap(), copy);
    world.register(1);
    world.register(2);
    let chunks = world.chunks("/a");
    assert_eq!(world.chunks("/new/b"), chunks);
    assert_eq!(world.summary().chunks, 3);
    world.restart();
    assert_eq!(world.delete("/a", false), Ok(Reply::Done));
    assert_eq!(world.chunks("/new/b"), chunks);
    assert_eq!(world.summary().chunks, 3);
    world.copy("/new/b", "/c", Replace::Never).unwrap();
    assert_eq!(world.delete("/new", true), Ok(Reply::Done));
    assert_eq!(world.chunks("/c"), chunks);
    assert_eq!(world.delete("/c", false), Ok(Reply::Done));
    assert_eq!(world.summary().chunks, 0);
}

#[test]
fn a_copy_goes_over_another_file_and_over_its_own_source() {
    let mut world = World::with_servers(2);
    let (a, b) = (world.put("/a", 3), world.put("/b", 5));
    let taken = FsError::AlreadyExists { path: path("/b") };
    assert_eq!(world.copy("/a", "/b", Replace::Never), Err(taken));
    let changed = FsError::Changed { path: path("/b"), expected: id(&a) };
    assert_eq!(world.copy("/a", "/b", Replace::Only(id(&a))), Err(changed));
    world.copy("/a", "/b", Replace::Only(id(&b))).unwrap();
    assert_eq!(world.chunks("/a"), world.chunks("/b"));
    assert_eq!(world.summary().chunks, 1);
    let again = world.copy("/a", "/a", Replace::Always).unwrap();
    assert_ne!(id(&again), id(&a), "another file, of the same chunks");
    assert_eq!(world.chunks("/a"), world.chunks("/b"));
    assert_eq!(world.summary().chunks, 1);
}

#[test]
fn shared_chunks_have_the_highest_replication_that_one_of_their_files_asks_for() {
    let mut world = World::with_servers(4);
    world.put("/a", CHUNK + 5);
    world.copy("/a", "/b", Replace::Never).unwrap();
    assert_eq!(world.set_replication("/b", 4), Ok(Reply::Done));
    assert_eq!(world.wanted("/a"), [4, 4]);
    assert!(matches!(world.stat("/a").unwrap().kind, FileKind::File { replication: 2, .. }));
    assert!(matches!(world.stat("/b").unwrap().kind, FileKind::File { replication: 4, .. }));
    assert_eq!(world.set_replication("/b", 1), Ok(Reply::Done));
    assert_eq!(world.wanted("/b"), [2, 2], "as the other asks for");
    assert_eq!(world.delete("/a", false), Ok(Reply::Done));
    world.pass(Duration::from_millis(10));
    assert_eq!(world.wanted("/b"), [1, 1], "as this one asked for before");
    for (n, asked) in [(3, 3), (4, 4)] {
        world.copy("/b", &format!("/{n}"), Replace::Never).unwrap();
        assert_eq!(world.set_replication(&format!("/{n}"), asked), Ok(Reply::Done));
    }
    assert_eq!(world.wanted("/b"), [4, 4]);
    let (stamp, parts) = (world.stamp(), vec![path("/4"), path("/b")]);
    let concat =
        Concat { stamp, parts, to: path("/whole"), replace: Replace::Never, parents: false };
    world.mutate(Mutation::Concat(concat)).unwrap();
    world.pass(Duration::from_millis(10));
    assert_eq!(world.wanted("/3"), [4, 4], "the whole has each twice");
    assert_eq!(world.set_replication("/whole", 2), Ok(Reply::Done));
    assert_eq!(world.wanted("/whole"), [3; 4]);
    world.restart();
    assert_eq!(world.delete("/3", false), Ok(Reply::Done));
    world.pass(Duration::from_millis(10));
    assert_eq!(world.wanted("/whole"), [2; 4]);
    assert_eq!(world.set_replication("/whole", 1), Ok(Reply::Done));
    assert_eq!(world.wanted("/whole"), [1; 4]);
}

/// A file of one-byte chunks, made by applying records.
fn long_file(world: &mut World, n_chunks: u64) {
    let mut durable = world.master.durable().clone();
    let stamp =
        |sequence| Stamp { client: client(), slot: 1, sequence, digest: RequestDigest(sequence) };
    let version = Version(1);
    let allotted = |chunk| Allotted { chunk: ChunkId(chunk), version, pipeline: Vec::new() };
    let sealed = |chunk| Some(Sealed { chunk: ChunkId(chunk), version, length: 1, checksum: 7 });
    let (at, file) = (UnixMillis(0), FileId(1));
    let created = Record::FileCreated {
        stamp: stamp(1),
        at,
        parent: FileId(0),
        folders: Vec::new(),
        name: "long".to_owned(),
        file,
        replication: 2,
        chunk_bytes: CHUNK,
        allotted: allotted(1),
        if_writer_dies: IfWriterDies::Remove,
        owner: OWNER.to_owned(),
    };
    let allocated = (2..=n_chunks).map(|n| {
        let (stamp, sealed) = (stamp(n), sealed(n - 1));
        Record::ChunkAllocated { stamp, at, file, sealed, allotted: allotted(n) }
    });
    let (last, sealed) = (stamp(n_chunks + 1), sealed(n_chunks));
    let closed = Record::FileClosed { stamp: last, at, file, sealed, moved: None };
    for record in std::iter::once(created).chain(allocated).chain([closed]) {
        durable.apply(&record);
        world.journal.push(record);
    }
    world.master = Master::recover(settings(), durable).unwrap();
    world.serve(false);
}

#[test]
fn a_long_files_chunks_are_told_and_taken_apart_in_steps() {
    let mut world = World::empty();
    let n_chunks = 3 * u64::from(REPLICATION_STEP);
    long_file(&mut world, n_chunks);
    let told = |world: &mut World| {
        let mut wanted = Vec::new();
        for n in 0..3 {
            let offset = n * u64::from(REPLICATION_STEP);
            let chunks = world.locate_range("/long", offset, None).unwrap().chunks;
            wanted.extend(chunks.into_iter().map(|location| location.chunk));
        }
        let durable = world.master.durable();
        let asked = |chunk: &ChunkId| match durable.chunk(*chunk) {
            durable::ChunkState::Sealed(sealed) => sealed.wanted == 5,
            other => panic!("{other:?}"),
        };
        wanted.iter().filter(|chunk| asked(chunk)).count() as u64
    };
    assert_eq!(world.set_replication("/long", 5), Ok(Reply::Done));
    assert_eq!(told(&mut world), u64::from(REPLICATION_STEP));
    world.restart();
    world.pass(Duration::from_millis(30));
    assert_eq!(told(&mut world), n_chunks, "a restart forgets none of the work");
    world.copy("/long", "/copy", Replace::Never).unwrap();
    assert_eq!(world.delete("/long", false), Ok(Reply::Done));
    world.pass(Duration::from_millis(100));
    assert_eq!((world.summary().files, world.summary().chunks), (1, n_chunks));
    assert_eq!(world.delete("/copy", false), Ok(Reply::Done));
    let left = world.summary().chunks;
    assert!((1..n_chunks).contains(&left), "{left}: in steps");
    world.pass(Duration::from_millis(100));
    assert_eq!((world.summary().files, world.summary().chunks), (0, 0));
}

#[test]
fn a_copy_of_a_file_whose_chunks_are_not_all_told_is_told_the_rest_itself() {
    let mut world = World::empty();
    let n_chunks = 3 * u64::from(REPLICATION_STEP);
    long_file(&mut world, n_chunks);
    assert_eq!(world.set_replication("/long", 5), Ok(Reply::Done));
    world.copy("/long", "/copy", Replace::Never).unwrap();
    assert_eq!(world.delete("/long", false), Ok(Reply::Done));
    world.pass(Duration::from_millis(100));
    for n in 0..3 {
        let offset = n * u64::from(REPLICATION_STEP);
        for location in world.locate_range("/copy", offset, None).unwrap().chunks {
            let durable::ChunkState::Sealed(sealed) = world.master.durable().chunk(location.chunk)
            else {
                panic!("{location:?}");
            };
            assert_eq!(sealed.wanted, 5, "{location:?}");
        }
    }
}

#[test]
fn a_file_of_too_many_chunks_is_not_copied() {
    let mut world = World::empty();
    long_file(&mut world, COPY_CHUNKS_MAX as u64 + 1);
    let before = world.journal.len();
    let error = world.copy("/long", "/copy", Replace::Never).unwrap_err();
    assert!(error.to_string().contains("at most 100000"), "{error}");
    assert_eq!(world.journal.len(), before);
}

#[test]
fn more_replicas_are_made_and_surplus_ones_go_when_a_file_asks_for_it() {
    let mut world = World::with_servers(3);
    world.put("/a", 5);
    world.pass(settings().dead_after / 2);
    (1..=3).for_each(|n| drop(world.register(n)));
    world.pass(settings().dead_after / 2 + Duration::from_secs(1));
    assert_eq!(world.summary().repairs_waiting, 0);
    let chunk = world.chunks("/a")[0];
    for n in 1..=2 {
        let registered = world.register(n);
        world.beat(heartbeat(n, &registered, 1, vec![held(chunk, 5)])).unwrap();
    }
    assert_eq!(world.summary().repairs_waiting + world.summary().repairs_running, 0);
    assert_eq!(world.set_replication("/a", 3), Ok(Reply::Done));
    assert_eq!(world.summary().repairs_waiting + world.summary().repairs_running, 1);
    assert_eq!(world.set_replication("/a", 2), Ok(Reply::Done));
    assert_eq!(world.summary().repairs_waiting + world.summary().repairs_running, 0);
}
