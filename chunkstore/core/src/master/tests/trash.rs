//! The trash: what users remove, how they get it back, and when it is removed for good.

use chunkstore_protocol::path::TRASH_FOLDER;

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn with_trash() -> Settings {
    Settings { trash_interval: DAY, ..settings() }
}

/// A cluster of two servers, past its start, that keeps removed entries for a day.
fn kept() -> World {
    let mut world = World::empty_with(with_trash());
    world.pass(settings().dead_after);
    world.register(1);
    world.register(2);
    world
}

impl World {
    fn delete_for_good(&mut self, at: &str) -> Result<Reply, FsError> {
        let (stamp, path) = (self.stamp(), path(at));
        let request = Delete { stamp, path, recursive: true, skip_trash: true };
        self.mutate(Mutation::Delete(request))
    }

    /// The folders of the trash, oldest first.
    fn trash(&mut self) -> Vec<String> {
        match self.stat(TRASH_FOLDER) {
            Ok(_) => self.names(TRASH_FOLDER),
            Err(_) => Vec::new(),
        }
    }

    fn emptied(&self) -> Vec<(String, TrashReason)> {
        let emptied = self.notices.iter().filter_map(|notice| match notice {
            Notice::TrashEmptied { path, reason } => Some((path.to_string(), *reason)),
            _ => None,
        });
        emptied.collect()
    }
}

#[test]
fn what_is_removed_lies_in_the_trash_under_its_old_path_and_comes_back_by_a_rename() {
    let mut world = kept();
    world.mkdirs("/a/b");
    let file = world.put("/a/b/f", 3);
    let before = world.journal.len();
    assert_eq!(world.delete("/a/b", true), Ok(Reply::Done));
    assert_eq!(world.journal.len(), before + 1, "one record");
    assert!(world.names("/a").is_empty());
    let [folder] = &world.trash()[..] else { panic!("{:?}", world.trash()) };
    assert!(folder.starts_with("/.howdah/trash/19700101T000010000Z-"), "{folder}");
    let kept = world.stat(&format!("{folder}/a/b/f")).unwrap();
    assert_eq!(FileStatus { path: path("/a/b/f"), ..kept }, file, "the same file");
    assert_eq!(world.stat(folder).unwrap().owner, OWNER);
    assert_eq!(world.rename(&format!("{folder}/a/b"), "/a/b"), Ok(Reply::Done));
    assert_eq!(world.stat("/a/b/f").unwrap(), file);
    assert_eq!(world.delete("/a/b/f", false), Ok(Reply::Done));
    world.put("/a/b/f", 4);
    assert_eq!(world.delete("/a/b/f", false), Ok(Reply::Done), "each has a folder of its own");
    assert_eq!(world.trash().len(), 3);
}

#[test]
fn some_things_go_at_once() {
    let mut world = kept();
    world.put("/skipped", 3);
    world.mkdirs("/.howdah/staging/job");
    let open = world.create("/open").unwrap();
    for at in ["/skipped", "/open", "/.howdah/staging"] {
        let removed = match at {
            "/skipped" => world.delete_for_good(at),
            _ => world.delete(at, true),
        };
        assert_eq!(removed, Ok(Reply::Done), "{at}");
    }
    assert_eq!(world.close(open.file, None), Err(FsError::LeaseLost { file: open.file }));
    assert!(world.trash().is_empty());
    world.put("/f", 3);
    world.delete("/f", false).unwrap();
    let folder = world.trash().remove(0);
    assert_eq!(world.delete(&format!("{folder}/f"), false), Ok(Reply::Done), "from the trash");
    assert_eq!(world.summary().files, 0);
    let mut off = World::with_servers(2);
    off.put("/f", 3);
    off.delete("/f", false).unwrap();
    assert!(off.trash().is_empty());
    assert_eq!(off.summary().files, 0);
}

#[test]
fn a_file_that_is_appended_to_is_kept_with_its_writer() {
    let mut world = kept();
    world.put("/f", 3);
    let request = Append { stamp: world.stamp(), path: path("/f"), writer_host: None };
    let reply = world.mutate(Mutation::Append(request)).unwrap();
    let Reply::Created(created) = reply else { panic!("{reply:?}") };
    world.delete("/f", false).unwrap();
    let sealed = Some(seal(&created.allocation, 4));
    let closed = world.close(created.file, sealed).unwrap();
    assert_eq!(closed.path.as_str(), format!("{}/f", world.trash()[0]));
    assert!(matches!(closed.kind, FileKind::File { length: 7, .. }));
}

#[test]
fn the_rules_of_removal_stay_and_what_the_trash_cannot_hold_is_refused() {
    let mut world = kept();
    let part = "x".repeat(255);
    let deep = format!("/{part}").repeat(15);
    world.mkdirs(&format!("{deep}/{}", "y".repeat(230)));
    let before = world.master.durable().clone();
    let at = format!("/{part}");
    assert_eq!(world.delete(&at, false), Err(FsError::FolderNotEmpty { path: path(&at) }));
    assert_eq!(world.delete("/", true), Err(FsError::RootStays));
    assert!(matches!(world.delete("/n", true), Err(FsError::NotFound { .. })));
    let too_long = FsError::TooLongForTrash { path: path(&at) };
    assert_eq!(world.delete(&at, true), Err(too_long));
    assert_eq!(world.master.durable(), &before);
    assert_eq!(world.delete_for_good(&at), Ok(Reply::Done));
}

#[test]
fn what_has_been_in_the_trash_for_long_enough_goes_the_oldest_first() {
    let mut world = kept();
    for name in ["a", "b"] {
        world.put(&format!("/{name}"), 3);
        world.delete(&format!("/{name}"), false).unwrap();
        world.pass(Duration::from_secs(1));
    }
    let [first, second] = &world.trash()[..] else { panic!("{:?}", world.trash()) };
    let left = DAY - Duration::from_secs(2);
    world.pass(left - Duration::from_millis(1));
    assert_eq!(world.trash().len(), 2);
    world.restart_in_safe_mode();
    world.pass(settings().dead_after / 2);
    assert_eq!(world.trash().len(), 2, "nothing goes in safe mode");
    world.register(1);
    world.register(2);
    world.pass(settings().dead_after);
    assert!(world.trash().is_empty());
    let expired = |folder: &String| (folder.clone(), TrashReason::Expired);
    assert_eq!(world.emptied(), [expired(first), expired(second)]);
    assert_eq!((world.summary().files, world.summary().chunks), (0, 0));
    assert_eq!(
        world.master.poll_timeout(),
        world
            .master
            .next_deadline()
            .map(|at| { at.min(world.master.called + world.master.tick()) }),
        "an empty trash is not looked into"
    );
}

#[test]
fn when_space_runs_short_the_oldest_goes_until_there_is_enough() {
    let mut world = kept();
    for name in ["a", "b", "c"] {
        world.put(&format!("/{name}"), 3);
        world.delete(&format!("/{name}"), false).unwrap();
        world.pass(Duration::from_millis(5));
    }
    let folders = world.trash();
    let registered = [world.register(1), world.register(2)];
    let beat = |world: &mut World, number, free_bytes| {
        for (n, registered) in (1..).zip(&registered) {
            let told = heartbeat(n, registered, number, Vec::new());
            world.beat(ServerHeartbeat { free_bytes, ..told }).unwrap();
        }
    };
    let (capacity_bytes, enough) = (2_u64 << 40, (1_u64 << 40) / 10 + 1);
    beat(&mut world, 1, enough);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.trash(), folders, "enough is free");
    beat(&mut world, 2, enough - 2);
    world.pass(Duration::from_millis(1500));
    beat(&mut world, 3, enough - 2);
    assert!(world.trash().len() < folders.len());
    let free_bytes = 2 * (enough - 2);
    let reason = TrashReason::Pressure { free_bytes, capacity_bytes };
    assert_eq!(world.emptied()[0], (folders[0].clone(), reason));
    beat(&mut world, 4, enough);
    let left = world.trash();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.trash(), left, "enough is free again");
    assert!(!left.is_empty() && folders.ends_with(&left), "the youngest stay: {left:?}");
}

/// A cluster with this many servers and removed files, of 6 bytes in all replicas each; and the
/// registrations.
fn with_removed(n_servers: usize, n_files: usize) -> (World, Vec<ServerRegistered>) {
    let mut world = World::empty_with(with_trash());
    world.pass(settings().dead_after);
    let registered = (1..=n_servers).map(|n| world.register(n)).collect();
    for n in 0..n_files {
        world.put(&format!("/{n}"), 3);
        world.delete(&format!("/{n}"), false).unwrap();
    }
    (world, registered)
}

fn tell_free(world: &mut World, registered: &[ServerRegistered], number: u64, free: &[u64]) {
    for ((n, registered), free_bytes) in (1..).zip(registered).zip(free) {
        let told = heartbeat(n, registered, number, Vec::new());
        world.beat(ServerHeartbeat { free_bytes: *free_bytes, ..told }).unwrap();
    }
}

/// A tenth of a server's space.
const ENOUGH: u64 = (1 << 40) / 10;

#[test]
fn as_much_goes_at_once_as_is_missing_and_more_only_when_that_did_not_help() {
    let (mut world, registered) = with_removed(2, 20);
    let left = |world: &mut World| world.trash().len();
    tell_free(&mut world, &registered, 1, &[ENOUGH - 10, ENOUGH - 10]);
    world.pass(Duration::from_millis(1200));
    assert_eq!(left(&mut world), 16, "20 bytes are missing, and each has 6");
    tell_free(&mut world, &registered, 2, &[ENOUGH - 10, ENOUGH - 10]);
    world.pass(Duration::from_secs(3));
    assert_eq!(left(&mut world), 16, "their servers may not have deleted them yet");
    tell_free(&mut world, &registered, 3, &[ENOUGH - 10, ENOUGH - 10]);
    world.pass(Duration::from_secs(4));
    assert_eq!(left(&mut world), 12);
    tell_free(&mut world, &registered, 4, &[ENOUGH, ENOUGH]);
    world.pass(Duration::from_secs(8));
    assert_eq!(left(&mut world), 12);
}

#[test]
fn one_server_with_much_room_is_not_enough_for_chunks_on_two() {
    let (mut world, registered) = with_removed(3, 5);
    let mut left = |number, free: [u64; 3]| {
        tell_free(&mut world, &registered, number, &free);
        world.pass(Duration::from_millis(1200));
        world.trash().len()
    };
    assert_eq!(left(1, [0, ENOUGH, 8 * ENOUGH]), 5, "two have room");
    assert_eq!(left(2, [0, 0, 8 * ENOUGH]), 0);
}
