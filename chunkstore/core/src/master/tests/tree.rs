//! Folders: mkdir, rename, delete, list; names and their limits.

use super::super::namespace::Entry;
use super::super::owners::OWNERS_MAX;
use super::super::{durable, replicas};
use super::*;

#[test]
fn mkdir_follows_its_rules() {
    let mut world = World::with_servers(2);
    assert_eq!(world.mkdir("/a"), Ok(Reply::Done));
    assert_eq!(world.mkdir("/a"), Err(FsError::AlreadyExists { path: path("/a") }));
    assert_eq!(world.mkdir("/"), Err(FsError::AlreadyExists { path: path("/") }));
    let missing = FsError::ParentMissing { path: path("/b/c"), folder: path("/b") };
    assert_eq!(world.mkdir("/b/c"), Err(missing));
    world.put("/a/f", 1);
    let blocked = FsError::NotAFolder { path: path("/a/f/g"), file: path("/a/f") };
    assert_eq!(world.mkdir("/a/f/g"), Err(blocked));
    let before = world.journal.len();
    world.mkdirs("/a");
    world.mkdirs("/");
    assert_eq!(world.journal.len(), before, "what is there needs no record");
    world.mkdirs("/b/c/d");
    assert_eq!(world.journal.len(), before + 1, "one request, one record");
    let request = Mkdir { stamp: world.stamp(), path: path("/a/f"), parents: true };
    let error = FsError::AlreadyExists { path: path("/a/f") };
    assert_eq!(world.mutate(Mutation::Mkdir(request)), Err(error));
}

#[test]
fn rename_follows_its_rules() {
    let mut world = World::with_servers(2);
    world.mkdirs("/a/b");
    world.put("/a/b/f", 3);
    world.put("/g", 1);
    let into = FsError::RenameIntoItself { from: path("/a"), to: path("/a/b/a") };
    assert_eq!(world.rename("/a", "/a/b/a"), Err(into));
    assert_eq!(world.rename("/a", "/g"), Err(FsError::AlreadyExists { path: path("/g") }));
    assert_eq!(world.rename("/", "/x"), Err(FsError::RootStays));
    assert_eq!(world.rename("/a", "/"), Err(FsError::RootStays));
    let (missing, folder) = ("n".to_owned(), path("/"));
    let error = FsError::NotFound { path: path("/n"), folder, missing };
    assert_eq!(world.rename("/n", "/x"), Err(error));
    let error = FsError::ParentMissing { path: path("/x/y"), folder: path("/x") };
    assert_eq!(world.rename("/a", "/x/y"), Err(error));
    let error = FsError::NotAFolder { path: path("/g/y"), file: path("/g") };
    assert_eq!(world.rename("/a", "/g/y"), Err(error));
    assert_eq!(
        world.rename("/g", "/g/y"),
        Err(FsError::NotAFolder { path: path("/g/y"), file: path("/g") })
    );

    assert_eq!(world.rename("/a/b", "/c"), Ok(Reply::Done));
    assert_eq!(world.names("/c"), ["/c/f"]);
    assert!(world.names("/a").is_empty());
    assert_eq!(world.rename("/c/f", "/a/f2"), Ok(Reply::Done));
    assert_eq!(world.locate("/a/f2").unwrap().length, 3);
}

#[test]
fn an_open_file_keeps_its_writer_when_it_is_renamed() {
    let mut world = World::with_servers(2);
    let created = world.create("/f").unwrap();
    world.mkdirs("/d");
    world.rename("/f", "/d/f").unwrap();
    let status = world.close(created.file, Some(seal(&created.allocation, 9))).unwrap();
    assert_eq!(status.path, path("/d/f"));
}

#[test]
fn delete_follows_its_rules() {
    let mut world = World::with_servers(2);
    world.mkdirs("/a/b");
    world.mkdirs("/empty");
    world.put("/a/b/f", 3);
    let error = FsError::FolderNotEmpty { path: path("/a") };
    assert_eq!(world.delete("/a", false), Err(error));
    assert_eq!(world.delete("/", true), Err(FsError::RootStays));
    assert!(matches!(world.delete("/x", true), Err(FsError::NotFound { .. })));
    assert_eq!(world.delete("/empty", false), Ok(Reply::Done));
    assert_eq!(world.delete("/a/b/f", false), Ok(Reply::Done));
    assert_eq!(world.delete("/a", true), Ok(Reply::Done));
    assert!(world.names("/").is_empty());
    let left = world.summary();
    assert_eq!((left.files, left.folders, left.chunks), (0, 1, 0));
}

#[test]
fn a_large_folder_disappears_at_once_and_is_taken_apart_in_steps() {
    let mut world = World::crowded(2500);
    world.register(1);
    world.register(2);
    world.rename("/staging/job", "/big").unwrap();
    world.delete("/staging", false).unwrap();
    let open = world.create("/big/open").unwrap().file;
    let before = world.journal.len();
    world.delete("/big", true).unwrap();
    assert_eq!(world.journal.len(), before + 1);
    assert!(world.names("/").is_empty());
    assert_eq!(world.summary().files, 2001);
    assert_eq!(world.close(open, None), Err(FsError::LeaseLost { file: open }));
    world.mkdirs("/big/002499");
    world.restart_in_safe_mode();
    assert_eq!(world.summary().files, 2001, "a restart forgets none of the work");
    world.pass(settings().dead_after);
    world.mkdirs("/other");
    world.pass(Duration::from_millis(30));
    let left = world.summary();
    assert_eq!((left.files, left.chunks, left.open_files), (0, 0, 0));
    assert_eq!(world.names("/big"), ["/big/002499"]);
}

#[test]
fn listings_are_paged_in_the_order_of_the_names_bytes() {
    let mut world = World::with_servers(2);
    for name in ["b", "a", "ä", "B", "a!", "c"] {
        world.mkdirs(&format!("/{name}"));
    }
    assert_eq!(world.names("/"), ["/B", "/a", "/a!", "/b", "/c", "/ä"]);
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let page = world.list("/", after.as_deref(), 2).unwrap();
        assert!(page.entries.len() <= 2);
        all.extend(page.entries.into_iter().map(|entry| entry.path.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(all, world.names("/"));
    assert_eq!(world.list("/", Some("ä"), 9), Ok(Listing { entries: vec![], next: None }));
    for given in [0, LIST_ENTRIES_MAX + 1] {
        let error = FsError::BadLimit { given, max: LIST_ENTRIES_MAX };
        assert_eq!(world.list("/", None, given), Err(error));
    }
    world.put("/f", 4);
    let itself = world.list("/f", None, 1).unwrap();
    assert_eq!(itself.entries, [world.stat("/f").unwrap()]);
}

#[test]
fn what_is_not_there_is_named() {
    let mut world = World::with_servers(2);
    world.mkdirs("/a/b");
    let error = world.stat("/a/b/c/d").unwrap_err();
    assert_eq!(error.to_string(), "/a/b/c/d does not exist: /a/b has no entry \"c\"");
    assert_eq!(error.kind(), ProblemKind::NotFound);
    assert_eq!(world.locate("/a"), Err(FsError::IsAFolder { path: path("/a") }));
}

#[test]
fn a_rename_never_makes_paths_beyond_the_limit() {
    let mut world = World::empty();
    let part = "x".repeat(255);
    let deep = format!("/{part}").repeat(15);
    world.mkdirs(&format!("/a{deep}"));
    world.mkdirs("/long");
    let to = format!("/long/{part}");
    assert_eq!(world.rename("/a", &to), Err(FsError::PathTooLong { to: path(&to) }));
    assert_eq!(world.rename("/a", "/long/b"), Ok(Reply::Done));
    let mut at = "/long/b".to_owned();
    for _ in 0..15 {
        at = world.names(&at).remove(0);
    }
    assert_eq!(at, format!("/long/b{deep}"));
    let error = FsError::PathTooLong { to: path(&to) };
    assert_eq!(world.rename("/long/b", &to), Err(error), "moved folders know their depth");
}

#[test]
fn everything_has_an_owner_and_two_times_and_a_file_stays_the_same_file() {
    let mut world = World::with_servers(2);
    world.pass(Duration::from_secs(3));
    world.mkdirs("/d");
    world.register(1);
    world.register(2);
    let put = world.put("/d/f", 3);
    assert_eq!((put.owner.as_str(), put.created), (OWNER, UnixMillis(3000)));
    world.pass(Duration::from_secs(2));
    world.rename("/d/f", "/f").unwrap();
    let folder = world.stat("/d").unwrap();
    assert_eq!((folder.owner.as_str(), folder.created), (OWNER, UnixMillis(3000)));
    assert_eq!(folder.modified, UnixMillis(5000));
    let moved = world.stat("/f").unwrap();
    assert_eq!(FileStatus { path: put.path.clone(), ..moved }, put, "but for its path");
    world.restart();
    assert_eq!(world.stat("/f").unwrap().created, UnixMillis(3000));
    assert_eq!(world.stat("/").unwrap().owner, "", "the root is nobody's");
}

#[test]
fn what_is_published_belongs_to_its_publisher() {
    let mut world = World::with_servers(2);
    world.mkdirs("/staging/job");
    world.owner = "task".to_owned();
    world.put("/staging/job/a", 3);
    world.owner = "publisher".to_owned();
    let winners = vec![Winner { staged: "a".to_owned(), published: "part".to_owned() }];
    let (staging, target) = (path("/staging/job"), path("/out/job"));
    let (stamp, marker) = (world.stamp(), "_SUCCESS".to_owned());
    let request = Publish { stamp, staging, winners, target, marker, owner: None };
    assert_eq!(world.mutate(Mutation::Publish(request)), Ok(Reply::Done));
    for at in ["/out", "/out/job", "/out/job/part", "/out/job/_SUCCESS"] {
        assert_eq!(world.stat(at).unwrap().owner, "publisher", "{at}");
    }
}

#[test]
fn an_owner_too_many_is_refused_until_another_has_nothing_left() {
    let mut world = World::with_servers(2);
    world.mkdirs("/d");
    let mut durable = world.master.durable().clone();
    for n in 1..OWNERS_MAX as u64 - 1 {
        let digest = RequestDigest(0);
        let stamp = Stamp { client: client(), slot: 1, sequence: n, digest };
        let folders = vec![NewFolder { id: FileId(1 + n), name: n.to_string() }];
        let (at, parent, owner) = (UnixMillis(0), FileId(1), n.to_string());
        let record = Record::FoldersMade { stamp, at, parent, folders, owner };
        durable.apply(&record);
        world.journal.push(record);
    }
    world.master = Master::recover(settings(), durable).unwrap();
    world.serve(false);
    world.pass(settings().dead_after);
    world.register(1);
    world.register(2);
    world.owner = "mallory".to_owned();
    let error = FsError::TooManyOwners { owner: "mallory".to_owned(), max: OWNERS_MAX };
    assert_eq!(world.mkdir("/m"), Err(error.clone()));
    assert_eq!(world.create("/m").unwrap_err(), error);
    assert_eq!(world.delete("/d/7", false), Ok(Reply::Done));
    assert_eq!(world.mkdir("/m"), Ok(Reply::Done));
}

/// The master's memory for a file of one chunk with three replicas and a name of ten bytes, when
/// all tables are full.
#[test]
fn a_file_of_one_chunk_costs_the_master_less_than_250_bytes() {
    const NAME_BYTES: usize = 16;
    const PAGE_BIT_BYTES: usize = 1;
    let bytes = size_of::<Entry>()
        + NAME_BYTES
        + size_of::<FileId>()
        + replicas::BYTES_PER_CHUNK
        + durable::BYTES_PER_CHUNK
        + 3 * PAGE_BIT_BYTES;
    println!("{bytes} bytes per file");
    assert!(bytes < 250, "{bytes}");
}

impl World {
    fn list_below(&mut self, at: &str, after: Option<&str>, limit: u32) -> Listing {
        let after = after.map(str::to_owned);
        let request = List { path: path(at), after, recursive: true, limit };
        match self.query(Query::List(request)).unwrap() {
            Reply::Listing(listing) => listing,
            other => panic!("{other:?}"),
        }
    }

    fn count(&mut self, at: &str) -> (Counted, usize) {
        let (mut counted, mut after, mut n_steps) = (Counted::default(), None, 0);
        loop {
            n_steps += 1;
            match self.query(Query::Count { path: path(at), after }).unwrap() {
                Reply::Counted(part) => {
                    counted += part.counted;
                    match part.next {
                        Some(next) => after = Some(next),
                        None => return (counted, n_steps),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_recursive_listing_goes_depth_first_and_on_from_anywhere() {
    let mut world = World::with_servers(2);
    for folder in ["/d/a/b", "/d/c", "/d/empty", "/other"] {
        world.mkdirs(folder);
    }
    for file in ["/d/a/b/f", "/d/a-b", "/d/a/z", "/d/c/f"] {
        world.put(file, 2);
    }
    let expected = ["/d/a", "/d/a/b", "/d/a/b/f", "/d/a/z", "/d/a-b", "/d/c", "/d/c/f", "/d/empty"];
    let paths = |listing: &Listing| -> Vec<String> {
        listing.entries.iter().map(|entry| entry.path.to_string()).collect()
    };
    let whole = world.list_below("/d", None, 100);
    assert_eq!((paths(&whole), whole.next), (expected.map(str::to_owned).to_vec(), None));
    for limit in 1..=8 {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = world.list_below("/d", after.as_deref(), limit);
            all.extend(paths(&page));
            assert!(page.entries.len() <= limit as usize);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(all, expected, "by {limit}");
    }
    for (gone, left) in [("a/bb", 3), ("a/b/f/x", 3), ("a/b/a", 2), ("zz", 8), ("a/zz/y", 4)] {
        let rest = paths(&world.list_below("/d", Some(gone), 100));
        assert_eq!(rest, expected[left..], "after {gone}, which is not there");
    }
    assert_eq!(paths(&world.list_below("/d/c/f", None, 1)), ["/d/c/f"]);
    assert_eq!(world.list_below("/", None, 1).entries.len(), 1);
}

#[test]
fn counts_are_of_a_folder_with_all_below_it_and_come_in_steps() {
    let mut world = World::with_servers(2);
    world.mkdirs("/d/e");
    world.put("/d/f", 5);
    world.put("/d/e/g", CHUNK + 1);
    world.set_replication("/d/f", 3).unwrap();
    let (bytes, replica_bytes) = (CHUNK + 6, 15 + 2 * (CHUNK + 1));
    let expected = Counted { folders: 2, files: 2, bytes, replica_bytes };
    assert_eq!(world.count("/d"), (expected, 1));
    let file = Counted { folders: 0, files: 1, bytes: 5, replica_bytes: 15 };
    assert_eq!(world.count("/d/f"), (file, 1));
    let mut crowded = World::crowded(12_000);
    let (counted, n_steps) = crowded.count("/");
    let expected = Counted { folders: 3, files: 12_000, bytes: 12_000, replica_bytes: 12_000 };
    assert_eq!(counted, expected);
    assert!(n_steps > 2, "{n_steps}");
}

#[test]
fn many_files_are_located_at_once_each_with_its_own_problem() {
    let mut world = World::with_servers(2);
    world.mkdirs("/d");
    world.put("/one", 5);
    world.put("/several", 2 * CHUNK + 5);
    world.put("/empty", 0);
    world.create("/open").unwrap();
    let paths = ["/several", "/none", "/empty", "/d", "/one", "/open"].map(path);
    let located =
        match world.query(Query::LocateMany { paths: paths.to_vec().into(), from: 0 }).unwrap() {
            Reply::LocatedMany(located) => located,
            other => panic!("{other:?}"),
        };
    let each: Vec<_> = paths.iter().map(|path| world.locate(path.as_str())).collect();
    assert_eq!(located, each);
    let chunk = &each[4].as_ref().unwrap().chunks[0];
    assert_eq!((chunk.length, chunk.checksum, chunk.servers.len()), (5, 7, 2));
}

#[test]
fn one_step_locates_no_more_than_its_bound() {
    let mut world = World::crowded(READ_STEP + 10);
    let paths: Arc<[_]> =
        (0..READ_STEP + 10).map(|n| path(&format!("/staging/job/{n:06}"))).collect();
    match world.query(Query::LocateMany { paths: Arc::clone(&paths), from: 0 }).unwrap() {
        // Each has one chunk, and its path counts as four more.
        Reply::LocatedMany(located) => assert_eq!(located.len(), READ_STEP / 5),
        other => panic!("{other:?}"),
    }
    let mut rest = |from| world.query(Query::LocateMany { paths: Arc::clone(&paths), from });
    let last = rest(READ_STEP + 9).unwrap();
    assert!(matches!(&last, Reply::LocatedMany(last) if last.len() == 1), "{last:?}");
    assert_eq!(rest(READ_STEP + 10), Ok(Reply::LocatedMany(Vec::new())));
}
