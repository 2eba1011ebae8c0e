//! Logs: their open chunks, from the first client that appends to their end.

use super::*;

impl World {
    fn create_log(&mut self, at: &str) -> Result<FileStatus, FsError> {
        let (stamp, path) = (self.stamp(), path(at));
        let request =
            CreateLog { stamp, path, parents: true, replication: Some(3), chunk_bytes: None };
        match self.mutate(Mutation::CreateLog(request))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    fn log(&mut self, request: LogRequest) -> Result<Reply, FsError> {
        let to = self.reply_to();
        fs(self.run(Input::Log(to, request)))
    }

    fn open_log(&mut self, at: &str, failed: Option<ChunkId>) -> Result<Allocation, FsError> {
        let request =
            OpenLog { path: path(at), failed, exclude: Vec::new(), writer_host: Some(host(1)) };
        match self.log(LogRequest::Open(request))? {
            Reply::OpenedLog(opened) => Ok(opened.allocation),
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, chunk: ChunkId, beginning: u64) -> Result<Reply, FsError> {
        self.log(LogRequest::Begin(BeginLog { chunk, version: Version(1), beginning, made: true }))
    }

    fn end(&mut self, chunk: ChunkId, sealed: Option<SealedChunk>) -> Result<Reply, FsError> {
        self.log(LogRequest::End(EndLog { chunk, version: Version(1), sealed, failed: Vec::new() }))
    }

    fn locate_log(&mut self, at: &str) -> Located {
        let request = Locate { path: path(at), offset: 0, length: None, open: false, log: true };
        match self.query(Query::Locate(request)) {
            Ok(Reply::Located(located)) => located,
            other => panic!("{other:?}"),
        }
    }

    /// Creates a log with an open chunk whose primary has begun.
    fn begun(&mut self, at: &str) -> Allocation {
        self.create_log(at).unwrap();
        let open = self.open_log(at, None).unwrap();
        self.begin(open.chunk, 5).unwrap();
        open
    }
}

/// The registered servers, each with its events so far.
struct Fleet {
    world: World,
    sessions: Vec<(ServerRegistered, u64, Vec<ReplicaEvent>)>,
}

impl Fleet {
    fn new(n: usize) -> Self {
        let mut world = World::empty();
        let sessions = (1..=n).map(|n| (world.register(n), 0, Vec::new())).collect();
        let mut fleet = Self { world, sessions };
        (1..=n).for_each(|n| assert!(fleet.beat(n).is_empty()));
        fleet
    }

    fn tell(&mut self, n: usize, event: ReplicaEvent) {
        self.sessions[n - 1].2.push(event);
    }

    /// Sends a heartbeat of a server; returns its commands to end and to delete chunks.
    fn beat(&mut self, n: usize) -> Vec<ServerCommand> {
        let (registered, number, events) = &mut self.sessions[n - 1];
        *number += 1;
        let beat = heartbeat(n, registered, *number, events.clone());
        let reply = self.world.beat(beat).unwrap();
        reply.commands.into_iter().map(|numbered| numbered.item).collect()
    }

    /// Has every server verify what it is told to verify.
    fn read_what_is_asked(&mut self, whole: bool) {
        for n in 1..=self.sessions.len() {
            for command in self.beat(n) {
                let ServerCommand::Verify { chunk, version } = command else { continue };
                if !whole {
                    self.tell(n, ReplicaEvent::Lost { chunk, version });
                }
                self.tell(n, ReplicaEvent::Verified { chunk, version, whole });
                self.beat(n);
            }
        }
    }

    fn forget(&mut self, n: usize, lose_records: bool) -> Result<Reply, FsError> {
        let request = ForgetServer {
            stamp: self.world.stamp(),
            host: host(n),
            lose_records,
            lose_chunks: true,
        };
        self.world.mutate(Mutation::Forget(request))
    }

    /// Registers the server again, with its report still to come.
    fn register_again(&mut self, n: usize) {
        self.sessions[n - 1] = (self.world.register(n), 0, Vec::new());
    }
}

fn log_held(chunk: ChunkId, ended: bool) -> ReplicaEvent {
    ReplicaEvent::LogHeld { chunk, version: Version(1), ended }
}

fn ends(commands: &[ServerCommand]) -> Vec<ChunkId> {
    let ends = commands.iter().filter_map(|command| match command {
        ServerCommand::EndLog { chunk, servers, .. } => {
            assert_eq!(servers.len(), 3);
            Some(*chunk)
        }
        ServerCommand::Delete { .. }
        | ServerCommand::Copy { .. }
        | ServerCommand::Assemble { .. }
        | ServerCommand::Verify { .. } => None,
    });
    ends.collect()
}

#[test]
fn a_log_has_changed_when_a_chunk_of_it_begins_and_when_it_ends() {
    let mut world = World::with_servers(3);
    world.create_log("/l").unwrap();
    let made = world.stat("/l").unwrap().modified;
    world.pass(Duration::from_millis(500));
    let open = world.open_log("/l", None).unwrap();
    assert_eq!(world.stat("/l").unwrap().modified, made, "nothing is in it yet");
    world.begin(open.chunk, 5).unwrap();
    let begun = world.stat("/l").unwrap().modified;
    assert!(begun > made);
    world.pass(Duration::from_millis(500));
    assert!(world.begin(open.chunk, 5).is_ok(), "a retry");
    assert_eq!(world.stat("/l").unwrap().modified, begun);
}

#[test]
fn all_clients_are_given_the_same_open_chunk_and_after_its_end_the_next_one() {
    let mut world = World::with_servers(3);
    let made = world.create_log("/d/log").unwrap();
    assert!(matches!(made.kind, FileKind::File { log: true, open: false, length: 0, .. }));
    let empty = world.locate_log("/d/log");
    assert_eq!((empty.length, empty.chunks.len(), empty.open_log), (0, 0, None));
    let open = world.open_log("/d/log", None).unwrap();
    assert_eq!(open.pipeline.len(), 3);
    assert_eq!(open.pipeline[0].host, host(1), "the writer's own is the primary");
    let before = world.journal.len();
    assert_eq!(world.open_log("/d/log", None), Ok(open.clone()));
    assert_eq!(world.journal.len(), before);
    let told = world.locate_log("/d/log").open_log.unwrap();
    assert_eq!((told.chunk, told.primary), (open.chunk, None), "nothing can be in it");
    assert!(
        matches!(world.begin(open.chunk, 5), Ok(Reply::BegunLog(begun)) if begun.chunk_bytes == CHUNK)
    );
    assert!(world.begin(open.chunk, 5).is_ok(), "a retry");
    let forgetful = world.begin(open.chunk, 6);
    assert_eq!(forgetful, Err(FsError::LogEnded { chunk: open.chunk }), "it may have lost records");
    let told = world.locate_log("/d/log").open_log.unwrap();
    assert_eq!(told.primary.as_ref(), Some(&open.pipeline[0]));
    world.restart();
    (1..=3).for_each(|n| drop(world.register(n)));
    assert_eq!(world.open_log("/d/log", None), Ok(open.clone()), "it is in the journal");
    let mut sealed = seal(&open, 100);
    sealed.servers.truncate(1);
    assert_eq!(world.end(open.chunk, Some(sealed.clone())), Ok(Reply::Done), "one is enough");
    let late = world.end(open.chunk, Some(seal(&open, 90)));
    assert_eq!(late, Err(FsError::LogEnded { chunk: open.chunk }), "the first is believed");
    let located = world.locate_log("/d/log");
    assert_eq!((located.length, located.chunks.len(), located.open_log), (100, 1, None));
    let next = world.open_log("/d/log", Some(open.chunk)).unwrap();
    assert_ne!(next.chunk, open.chunk);
    assert!(world.begin(open.chunk, 5).is_err());
}

/// A primary whose disk was replaced remembers nothing: it must neither make an empty file nor give
/// the chunk up.
#[test]
fn a_primary_that_forgot_what_it_had_does_not_begin_again_nor_give_the_chunk_up() {
    let mut fleet = Fleet::new(3);
    fleet.world.create_log("/log").unwrap();
    let open = fleet.world.open_log("/log", None).unwrap();
    let (chunk, version) = (open.chunk, Version(1));
    let before = fleet.world.journal.len();
    let may_begin =
        |beginning| LogRequest::Begin(BeginLog { chunk, version, beginning, made: false });
    assert!(fleet.world.log(may_begin(1)).is_ok());
    assert_eq!(fleet.world.journal.len(), before, "nothing is there yet");
    fleet.world.begin(chunk, 1).unwrap();
    let ended = Err(FsError::LogEnded { chunk });
    for beginning in [1, 2] {
        assert_eq!(fleet.world.log(may_begin(beginning)), ended);
    }
    let give_up = EndLog { chunk, version, sealed: None, failed: vec![host(2)] };
    assert_eq!(fleet.world.log(LogRequest::End(give_up)), ended);
    assert_eq!(fleet.world.open_log("/log", None), Ok(open), "its servers are to settle it");
    fleet.world.pass(Duration::from_millis(1));
    let told: Vec<_> = (1..=3).flat_map(|n| ends(&fleet.beat(n))).collect();
    assert_eq!(told, [chunk]);
}

#[test]
fn nobody_waits_for_a_forgotten_server_at_the_end_of_a_chunk() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    for _ in 0..12 {
        fleet.world.pass(Duration::from_secs(1));
        drop((fleet.beat(1), fleet.beat(2)));
    }
    assert_eq!(fleet.forget(3, false), Ok(Reply::Done), "others have it");
    let mut named = Vec::new();
    for _ in 0..8 {
        fleet.world.pass(Duration::from_secs(1));
        let commands = [fleet.beat(1), fleet.beat(2)].concat();
        named.extend(commands.into_iter().filter_map(|command| match command {
            ServerCommand::EndLog { chunk, servers, .. } if chunk == open.chunk => Some(servers),
            _ => None,
        }));
    }
    let named = named.pop().expect("it is to be ended");
    assert_eq!(hosts_of(&named), [host(1), host(2)]);
}

#[test]
fn an_end_must_be_that_of_the_chunk() {
    let mut world = World::with_servers(3);
    let open = world.begun("/log");
    let good = seal(&open, 10);
    let bad = [
        SealedChunk { length: 0, ..good.clone() },
        SealedChunk { length: CHUNK + 1, ..good.clone() },
        SealedChunk { servers: Vec::new(), ..good.clone() },
        SealedChunk { servers: vec![host(9)], ..good.clone() },
        SealedChunk { chunk: ChunkId(99), ..good.clone() },
    ];
    let before = world.journal.len();
    for sealed in bad {
        assert!(world.end(open.chunk, Some(sealed.clone())).is_err(), "{sealed:?}");
    }
    assert!(world.end(ChunkId(99), None).is_err());
    assert_eq!(world.journal.len(), before);
    assert_eq!(world.end(open.chunk, Some(good)), Ok(Reply::Done));
}

#[test]
fn a_chunk_that_does_not_work_is_given_up_before_it_begins_and_ended_after() {
    let mut fleet = Fleet::new(4);
    fleet.world.create_log("/log").unwrap();
    let open = fleet.world.open_log("/log", None).unwrap();
    let stale = fleet.world.open_log("/log", Some(ChunkId(77))).unwrap();
    assert_eq!(stale, open, "the chunk that failed is not the open one");
    let next = fleet.world.open_log("/log", Some(open.chunk)).unwrap();
    assert_ne!(next.chunk, open.chunk);
    assert!(fleet.world.begin(open.chunk, 1).is_err(), "nothing is acknowledged there any more");
    fleet.world.begin(next.chunk, 1).unwrap();
    let same = fleet.world.open_log("/log", Some(next.chunk)).unwrap();
    assert_eq!(same, next, "it may hold what somebody was promised");
    fleet.world.pass(Duration::from_millis(1));
    let told: Vec<_> = (1..=4).flat_map(|n| ends(&fleet.beat(n))).collect();
    assert_eq!(told, [next.chunk], "one of its servers is to end it");
    fleet.world.pass(Duration::from_secs(4));
    let again: usize = (1..=4).map(|n| ends(&fleet.beat(n)).len()).sum();
    assert_eq!(again, 2, "and then another one");
    assert_eq!(fleet.world.end(next.chunk, Some(seal(&next, 5))), Ok(Reply::Done));
    fleet.world.pass(Duration::from_secs(5));
    let told: usize = (1..=4).map(|n| ends(&fleet.beat(n)).len()).sum();
    assert_eq!(told, 2, "nobody else is told");
}

#[test]
fn a_chunk_ends_when_one_of_its_servers_dies_restarts_loses_it_or_is_drained() {
    type Cause = fn(&mut Fleet, ChunkId);
    let causes: [(&str, Cause); 5] = [
        ("dies", |fleet, _| {
            for _ in 0..12 {
                fleet.world.pass(Duration::from_secs(1));
                drop((fleet.beat(1), fleet.beat(2)));
            }
        }),
        ("restarts", |fleet, chunk| {
            fleet.register_again(3);
            fleet.tell(3, log_held(chunk, true));
            fleet.beat(3);
        }),
        ("restarts without it", |fleet, _| {
            fleet.register_again(3);
            fleet.beat(3);
        }),
        ("loses it", |fleet, chunk| {
            fleet.tell(3, ReplicaEvent::Lost { chunk, version: Version(1) });
            fleet.beat(3);
            fleet.world.pass(Duration::from_secs(2));
        }),
        ("is drained", |fleet, _| {
            let request = DrainServer { stamp: fleet.world.stamp(), host: host(3), stop: false };
            fleet.world.mutate(Mutation::Drain(request)).unwrap();
        }),
    ];
    for (why, cause) in causes {
        let mut fleet = Fleet::new(3);
        let open = fleet.world.begun("/log");
        for n in 1..=3 {
            fleet.tell(n, log_held(open.chunk, false));
            assert_eq!(fleet.beat(n), []);
        }
        fleet.world.pass(Duration::from_secs(1));
        assert_eq!(fleet.beat(1), [], "nothing is wrong");
        cause(&mut fleet, open.chunk);
        fleet.world.pass(Duration::from_millis(1));
        let mut told: Vec<_> = ends(&fleet.beat(1));
        told.extend(ends(&fleet.beat(2)));
        if why != "dies" {
            told.extend(ends(&fleet.beat(3)));
        }
        told.dedup();
        assert_eq!(told, [open.chunk], "{why}");
    }
}

#[test]
fn a_master_that_restarts_ends_what_is_on_servers_that_do_not_come_back_and_leaves_the_others() {
    for back in [2, 3] {
        let mut fleet = Fleet::new(3);
        let open = fleet.world.begun("/log");
        fleet.world.restart_in_safe_mode();
        for n in 1..=back {
            fleet.register_again(n);
            fleet.tell(n, log_held(open.chunk, false));
            fleet.beat(n);
        }
        for _ in 0..11 {
            fleet.world.pass(Duration::from_secs(1));
            (1..=back).for_each(|n| drop(fleet.beat(n)));
        }
        let told: usize = (1..=back).map(|n| ends(&fleet.beat(n)).len()).sum();
        assert_eq!(told > 0, back == 2, "{back} are back");
    }
}

#[test]
fn replicas_that_were_not_sealed_go_and_sealed_ones_stay_however_late_their_servers_tell() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    fleet.tell(1, log_held(open.chunk, false));
    fleet.tell(2, log_held(open.chunk, false));
    drop((fleet.beat(1), fleet.beat(2)));
    // The third server has not reported yet. The first two sealed the chunk.
    let mut sealed = seal(&open, 10);
    sealed.servers.retain(|server| *server != host(2));
    fleet.world.end(open.chunk, Some(sealed)).unwrap();
    fleet.tell(3, log_held(open.chunk, false));
    let is_delete = |command: &ServerCommand| matches!(command, ServerCommand::Delete { .. });
    assert!(!fleet.beat(3).iter().any(is_delete), "it is among those that sealed it");
    assert!(!fleet.beat(2).iter().any(is_delete), "nobody has read what they sealed");
    fleet.read_what_is_asked(true);
    let gone = fleet.beat(2);
    let version = Version(1);
    let chunk = open.chunk;
    assert!(gone.contains(&ServerCommand::Delete { chunk, version, orphan: false }), "{gone:?}");
    assert_eq!(fleet.world.locate_log("/log").chunks[0].servers.len(), 2);
}

/// One of three servers sealed the chunk, and its replica is broken.
#[test]
fn what_nobody_has_sealed_any_more_is_sealed_by_those_that_still_have_it_open() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    let (chunk, version) = (open.chunk, Version(1));
    (1..=3).for_each(|n| fleet.tell(n, log_held(chunk, true)));
    (1..=3).for_each(|n| drop(fleet.beat(n)));
    let mut sealed = seal(&open, 100);
    sealed.servers.retain(|server| *server == host(1));
    fleet.world.end(chunk, Some(sealed)).unwrap();
    fleet.read_what_is_asked(false);
    let seals = |fleet: &mut Fleet| -> Vec<(usize, Vec<ServerCommand>)> {
        (2..=3).map(|n| (n, fleet.beat(n))).collect()
    };
    let told = seals(&mut fleet);
    for (n, commands) in &told {
        let [ServerCommand::EndLog { chunk: of, servers, sealed, .. }] = &commands[..] else {
            panic!("{told:?}")
        };
        assert_eq!((*of, hosts_of(servers), *sealed), (chunk, vec![host(*n)], Some(100)));
    }
    fleet.world.pass(Duration::from_secs(2));
    assert_eq!(seals(&mut fleet), told, "they are about to");
    fleet.world.pass(Duration::from_secs(2));
    assert!(seals(&mut fleet).iter().all(|(_, all)| all.len() == 2), "their disks may be full");
    fleet.tell(2, ReplicaEvent::Held { chunk, version, length: 100, checksum: 7 });
    let reads = fleet.beat(2);
    assert!(reads.contains(&ServerCommand::Verify { chunk, version }), "{reads:?}");
    let is_delete = |command: &ServerCommand| matches!(command, ServerCommand::Delete { .. });
    assert!(!fleet.beat(3).iter().any(is_delete), "that one too may be broken");
    let located = fleet.world.locate_log("/log");
    assert_eq!(hosts_of(&located.chunks[0].servers), [host(2)]);
}

#[test]
fn the_open_chunk_of_a_removed_log_goes_with_it() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    fleet.tell(1, log_held(open.chunk, false));
    fleet.beat(1);
    let status = fleet.world.stat("/log").unwrap();
    fleet.world.rename("/log", "/moved").unwrap();
    assert_eq!(fleet.world.open_log("/moved", None), Ok(open.clone()), "a log may move");
    fleet.world.delete("/moved", false).unwrap();
    let chunk = open.chunk;
    let delete = ServerCommand::Delete { chunk, version: Version(1), orphan: false };
    assert_eq!(fleet.beat(1), std::slice::from_ref(&delete));
    fleet.tell(2, log_held(chunk, false));
    assert_eq!(fleet.beat(2), [delete], "told late");
    assert!(matches!(fleet.world.open_log("/moved", None), Err(FsError::NotFound { .. })));
    let ended = fleet.world.end(chunk, Some(seal(&open, 5)));
    assert_eq!(ended, Err(FsError::LogEnded { chunk }));
    assert!(matches!(status.kind, FileKind::File { log: true, .. }));
}

#[test]
fn what_only_files_can_is_refused_for_a_log_and_what_only_logs_can_for_a_file() {
    let mut world = World::with_servers(3);
    let open = world.begun("/log");
    world.put("/file", 5);
    let is_a_log = Err(FsError::IsALog { path: path("/log") });
    let append = Append { stamp: world.stamp(), path: path("/log"), writer_host: None };
    assert_eq!(world.mutate(Mutation::Append(append)), is_a_log);
    assert_eq!(world.copy("/log", "/copy", Replace::Never).map(|_| Reply::Done), is_a_log);
    assert_eq!(
        world.concat(&["/file", "/log"], "/all", Replace::Never).map(|_| Reply::Done),
        is_a_log
    );
    assert_eq!(world.locate("/log").map(|_| Reply::Done), is_a_log);
    let paths = [path("/log"), path("/file")].into();
    let many = world.query(Query::LocateMany { paths, from: 0 });
    let Ok(Reply::LocatedMany(many)) = many else { panic!("{many:?}") };
    assert!(many[0].is_err() && many[1].is_ok());
    let not_a_log = Err(FsError::NotALog { path: path("/file") });
    assert_eq!(world.open_log("/file", None).map(|_| Reply::Done), not_a_log);
    // A log may get another number of replicas; its open chunk gets it when it ends.
    world.set_replication("/log", 2).unwrap();
    world.end(open.chunk, Some(seal(&open, 10))).unwrap();
    let wanted = match world.master.durable().chunk(open.chunk) {
        durable::ChunkState::Sealed(sealed) => sealed.wanted,
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted, 2);
    assert_eq!(world.open_log("/log", None).unwrap().pipeline.len(), 2);
    let fsck = Query::Fsck(Fsck { path: path("/log"), after: None, limit: 10 });
    assert!(matches!(world.query(fsck), Ok(Reply::Fsck(page)) if page.checked.chunks == 1));
}

#[test]
fn a_chunk_whose_servers_are_all_forgotten_is_lost_and_its_log_goes_on() {
    let mut fleet = Fleet::new(6);
    let open = fleet.world.begun("/log");
    let on: Vec<usize> =
        (1..=6).filter(|n| open.pipeline.iter().any(|s| s.host == host(*n))).collect();
    let others: Vec<usize> = (1..=6).filter(|n| !on.contains(n)).collect();
    for _ in 0..15 {
        fleet.world.pass(Duration::from_secs(1));
        others.iter().for_each(|n| drop(fleet.beat(*n)));
    }
    assert_eq!(fleet.world.open_log("/log", None), Ok(open.clone()), "they may come back");
    let [last, first @ ..] = &on[..] else { panic!("it is on some") };
    for n in first {
        assert_eq!(fleet.forget(*n, false), Ok(Reply::Done));
    }
    let last_one = ForgetError::LastWithRecords { host: host(*last), path: path("/log") };
    let refused = FsError::Forget(last_one);
    assert_eq!(fleet.forget(*last, false), Err(refused));
    fleet.world.pass(Duration::from_secs(5));
    others.iter().for_each(|n| drop(fleet.beat(*n)));
    assert_eq!(fleet.world.open_log("/log", None), Ok(open.clone()), "it may come back");
    assert_eq!(fleet.forget(*last, true), Ok(Reply::Done));
    fleet.world.pass(Duration::from_secs(5));
    let lost = Notice::LogChunkLost { path: path("/log"), chunk: open.chunk };
    assert!(fleet.world.notices.contains(&lost));
    assert_ne!(fleet.world.open_log("/log", None).unwrap().chunk, open.chunk);
}

/// The server's disk was replaced, and it comes back with an empty one before anything else
/// happens.
#[test]
fn records_that_were_given_up_are_not_waited_for_again_when_their_server_registers_at_once() {
    for restarts in [false, true] {
        let mut fleet = Fleet::new(4);
        let open = fleet.world.begun("/log");
        let on: Vec<usize> =
            (1..=4).filter(|n| open.pipeline.iter().any(|s| s.host == host(*n))).collect();
        let other = (1..=4).find(|n| !on.contains(n)).expect("it is on three");
        for _ in 0..15 {
            fleet.world.pass(Duration::from_secs(1));
            fleet.beat(other);
        }
        for n in &on {
            assert_eq!(fleet.forget(*n, true), Ok(Reply::Done));
        }
        let lost = Notice::LogChunkLost { path: path("/log"), chunk: open.chunk };
        assert!(fleet.world.notices.contains(&lost), "at once");
        if restarts {
            fleet.world.restart_in_safe_mode();
        }
        on.iter().chain([&other]).for_each(|n| fleet.register_again(*n));
        (1..=4).for_each(|n| drop(fleet.beat(n)));
        fleet.world.pass(Duration::from_secs(1));
        let next = fleet.world.open_log("/log", None).unwrap();
        assert_ne!(next.chunk, open.chunk, "restarts: {restarts}");
        // If it has the records after all, they are orphans.
        fleet.tell(on[0], log_held(open.chunk, true));
        fleet.beat(on[0]);
        assert_eq!(fleet.world.open_log("/log", None), Ok(next));
    }
}

#[test]
fn a_full_journal_takes_the_end_of_a_chunk_and_no_new_one() {
    let mut world = World::with_servers(3);
    let open = world.begun("/log");
    let to = world.reply_to();
    let request =
        OpenLog { path: path("/log"), failed: None, exclude: Vec::new(), writer_host: None };
    world.master.set_room(Room::Reserve);
    assert!(world.master.refuse(Input::Log(to, LogRequest::Open(request))).is_err());
    let sealed = Some(seal(&open, 10));
    let end = LogRequest::End(EndLog {
        chunk: open.chunk,
        version: Version(1),
        sealed,
        failed: Vec::new(),
    });
    assert!(world.master.refuse(Input::Log(to, end.clone())).is_ok());
    world.master.set_room(Room::None);
    assert!(world.master.refuse(Input::Log(to, end)).is_err());
    world.master.set_room(Room::Ample);
}

#[test]
fn servers_that_failed_a_chunk_get_no_next_one_for_a_while_if_others_can() {
    let mut world = World::with_servers(3);
    let open = world.begun("/log");
    let mut sealed = seal(&open, 10);
    sealed.servers.retain(|server| *server != host(3));
    world.end(open.chunk, Some(sealed)).unwrap();
    let next = world.open_log("/log", None).unwrap();
    assert_eq!(hosts_of(&next.pipeline), [host(1), host(2)]);
    let end = EndLog {
        chunk: next.chunk,
        version: Version(1),
        sealed: None,
        failed: vec![host(2), host(9)],
    };
    world.log(LogRequest::End(end)).unwrap();
    let next = world.open_log("/log", None).unwrap();
    assert_eq!(next.pipeline.len(), 2, "two are needed");
    assert_eq!(next.pipeline[0].host, host(1));
    world.end(next.chunk, None).unwrap();
    world.pass(Duration::from_secs(9));
    (1..=3).for_each(|n| drop(world.register(n)));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.open_log("/log", None).unwrap().pipeline.len(), 3);
}

/// A server seals its replica, finds it broken and reports that; only then is it named among those
/// that sealed it.
#[test]
fn the_late_word_that_a_server_sealed_what_it_has_lost_since_costs_no_other_its_replica() {
    let mut fleet = Fleet::new(3);
    let Allocation { chunk, pipeline, .. } = fleet.world.begun("/log");
    let on = |n: usize| pipeline[n].host.clone();
    (1..=3).for_each(|n| fleet.tell(n, log_held(chunk, false)));
    (1..=3).for_each(|n| drop(fleet.beat(n)));
    let first = (1..=3).find(|n| host(*n) == on(0)).unwrap();
    let sealed =
        SealedChunk { chunk, version: Version(1), length: 100, checksum: 7, servers: vec![on(0)] };
    fleet.tell(first, ReplicaEvent::Lost { chunk, version: Version(1) });
    fleet.beat(first);
    assert_eq!(fleet.world.end(chunk, Some(sealed)), Ok(Reply::Done));
    for n in 1..=3 {
        let told = fleet.beat(n);
        let deletes = told.iter().any(|it| matches!(it, ServerCommand::Delete { .. }));
        assert!(!deletes, "{n} is told to delete what may be the last copy: {told:?}");
    }
    // Another server that had it open seals it, and is believed.
    let second = (1..=3).find(|n| host(*n) == on(1)).unwrap();
    let held = ReplicaEvent::Held { chunk, version: Version(1), length: 100, checksum: 7 };
    fleet.tell(second, held);
    fleet.beat(second);
    let located = fleet.world.locate_log("/log");
    let hosts: Vec<_> = located.chunks[0].servers.iter().map(|server| &server.host).collect();
    assert_eq!(hosts, [&on(1)]);
}

/// A server seals its replica, finds it broken and restarts; only then is it named among those that
/// sealed it.
#[test]
fn a_server_that_never_says_that_it_has_what_it_sealed_is_soon_not_believed_to() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    fleet.world.restart();
    fleet.register_again(1);
    fleet.tell(
        1,
        ReplicaEvent::Held { chunk: open.chunk, version: Version(1), length: 9, checksum: 7 },
    );
    fleet.beat(1);
    // Its report is complete, without the chunk. That of the third server is still to come.
    fleet.register_again(2);
    fleet.beat(2);
    fleet.register_again(3);
    fleet.world.end(open.chunk, Some(seal(&open, 9))).unwrap();
    let hosts = |fleet: &mut Fleet| hosts_of(&fleet.world.locate_log("/log").chunks[0].servers);
    assert_eq!(hosts(&mut fleet).len(), 3);
    (1..=3).for_each(|n| drop(fleet.beat(n)));
    assert_eq!(hosts(&mut fleet).len(), 3, "what they have may be on its way");
    fleet.tell(
        3,
        ReplicaEvent::Held { chunk: open.chunk, version: Version(1), length: 9, checksum: 7 },
    );
    (1..=3).for_each(|n| drop(fleet.beat(n)));
    let mut left = hosts(&mut fleet);
    left.sort();
    assert_eq!(left, [host(1), host(3)]);
}

#[test]
fn the_check_tells_of_an_open_chunk_that_no_server_has_any_more() {
    let mut fleet = Fleet::new(3);
    let open = fleet.world.begun("/log");
    (1..=3).for_each(|n| fleet.tell(n, log_held(open.chunk, false)));
    (1..=3).for_each(|n| drop(fleet.beat(n)));
    let check = |fleet: &mut Fleet| {
        for _ in 0..8 {
            fleet.world.pass(Duration::from_secs(1));
            (1..=3).for_each(|n| drop(fleet.beat(n)));
        }
        let page = fleet.world.fsck("/").0;
        page.into_iter()
            .map(|(at, chunk)| (at, chunk.fault, chunk.replicas.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(check(&mut fleet), [], "it is being written");
    let lost = ReplicaEvent::Lost { chunk: open.chunk, version: Version(1) };
    (1..=2).for_each(|n| fleet.tell(n, lost.clone()));
    assert_eq!(check(&mut fleet), [], "one has it");
    fleet.tell(3, lost);
    assert_eq!(check(&mut fleet), [("/log".to_owned(), ChunkFault::Missing, 3)]);
    let sealed = SealedChunk { servers: vec![host(1)], ..seal(&open, 7) };
    assert_eq!(fleet.world.end(open.chunk, Some(sealed)), Ok(Reply::Done), "it was put back");
    fleet.tell(1, held(open.chunk, 7));
    assert!(!check(&mut fleet).iter().any(|(_, fault, _)| *fault == ChunkFault::Missing));
}
