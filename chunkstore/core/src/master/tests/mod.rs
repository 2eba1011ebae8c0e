//! The chunk master in a world of its own, in which the journal is a list and the tests turn the
//! clock. After every input the invariants are checked; at the end of every test a fresh state is
//! folded from the journal and compared with the live one.

mod append;
mod assembly;
mod balance;
mod broken;
mod concat;
mod copies;
mod drain;
mod files;
mod fsck;
mod logs;
mod model;
mod publish;
mod repair;
mod replica_model;
mod rights;
mod room;
mod safe_mode;
mod servers;
mod stamps;
mod terms;
mod trash;
mod tree;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chunkstore_protocol::*;
use ids::{
    ClientId, Epoch, HeartbeatNumber, HostName, Numbered, RackName, RequestStamp, UnixMillis,
};

use super::namespace::EntryKind;
use super::*;

pub(super) const CHUNK: u64 = 1 << 20;

pub(super) struct World {
    pub(super) master: Master,
    settings: Settings,
    pub(super) journal: Vec<Record>,
    pub(super) now: Now,
    pub(super) notices: Vec<Notice>,
    pub(super) sequence: u64,
    pub(super) owner: String,
    next_reply: u64,
    n_terms: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(&self.folded(), self.master.durable(), "recovery gives another state");
        }
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        replication: 2,
        chunk_bytes: CHUNK,
        heartbeat_interval: Duration::from_secs(1),
        dead_after: Duration::from_secs(10),
        lease: Duration::from_secs(60),
        lease_grace: Duration::from_secs(5),
        repair_streams: 2,
        balance_threshold_percent: 10,
        trash_interval: Duration::ZERO,
        trash_free_min_percent: 10,
    }
}

pub(super) fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

pub(super) fn host(n: usize) -> HostName {
    format!("host-{n}").parse().unwrap()
}

pub(super) const OWNER: &str = "alice";

fn asker(request: &Mutation, owner: &str) -> Asker {
    let mut hasher = DefaultHasher::new();
    format!("{request:?}").hash(&mut hasher);
    let (digest, owner) = (RequestDigest(hasher.finish()), owner.to_owned());
    Asker { digest, owner, may: Authority::All }
}

pub(super) fn client() -> ClientId {
    "client-1".parse().unwrap()
}

impl World {
    /// A cluster without servers.
    pub(super) fn empty() -> Self {
        Self::empty_with(settings())
    }

    pub(super) fn empty_with(settings: Settings) -> Self {
        let first = Record::ClusterInitialised { cluster: "cluster-1".parse().unwrap() };
        let mut durable = Durable::default();
        durable.apply(&first);
        let mut world = Self {
            master: Master::recover(settings, durable).unwrap(),
            settings,
            journal: vec![first],
            now: Now::default(),
            notices: Vec::new(),
            sequence: 0,
            owner: OWNER.to_owned(),
            next_reply: 0,
            n_terms: 0,
        };
        world.serve(false);
        world
    }

    /// A cluster of `n` servers on one rack.
    pub(super) fn with_servers(n: usize) -> Self {
        let mut world = Self::empty();
        for n in 1..=n {
            world.register(n);
        }
        world
    }

    /// A cluster without servers and with `n` files of one byte in `/staging/job`, made by applying
    /// records.
    pub(super) fn crowded(n: usize) -> Self {
        let mut world = Self::empty();
        world.mkdirs("/staging/job");
        let EntryKind::Folder(_) = &world.master.durable().namespace().entry(FileId(2)).kind else {
            panic!("ids are given out in order")
        };
        let mut durable = world.master.durable().clone();
        for n in 0..n as u64 {
            for record in one_byte_file(FileId(2), FileId(3 + n), ChunkId(1 + n), n) {
                durable.apply(&record);
                world.journal.push(record);
            }
        }
        world.master = Master::recover(settings(), durable).unwrap();
        world.serve(false);
        world
    }

    fn folded(&self) -> Durable {
        let mut folded = Durable::default();
        for record in &self.journal {
            folded.apply(record);
        }
        folded
    }

    /// Starts a new process over the same journal, and lets the time pass in which it waits for
    /// servers.
    pub(super) fn restart(&mut self) {
        self.restart_in_safe_mode();
        if self.master.in_safe_mode() {
            self.pass(settings().dead_after);
        }
    }

    /// Starts a new process over the same journal, which then waits for the servers of its cluster.
    pub(super) fn restart_in_safe_mode(&mut self) {
        let folded = self.folded();
        assert_eq!(&folded, self.master.durable());
        self.master = Master::recover(self.settings, folded).unwrap();
        self.serve(false);
    }

    /// Sends the first input of a process, with a new term number.
    pub(super) fn serve(&mut self, accept_old_journal: bool) {
        self.n_terms += 1;
        let last_record = self.journal.len() as u64;
        let start = Start { term_id: self.n_terms, accept_old_journal, last_record };
        assert!(self.run(Input::Start(start)).is_none());
    }

    pub(super) fn run(&mut self, input: Input) -> Option<Result<Reply, Refusal>> {
        let out = self.master.handle(self.now, input);
        self.take(out)
    }

    fn take(&mut self, out: Output) -> Option<Result<Reply, Refusal>> {
        self.journal.extend(out.records);
        self.master.durable().check_invariants();
        let mut reply = None;
        for effect in out.effects {
            match effect {
                Effect::Reply(_, answer) => reply = Some(*answer),
                Effect::Tell(notice) => self.notices.push(notice),
            }
        }
        reply
    }

    /// Turns the clock, and calls the master whenever it wants to be called until then.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while let Some(at) = self.master.poll_timeout().filter(|at| *at <= until) {
            self.turn(at.max(self.now.monotonic));
            let out = self.master.handle_timeout(self.now);
            assert!(self.take(out).is_none());
        }
        self.turn(until);
    }

    /// Turns the clock without calling the master.
    pub(super) fn pause(&mut self, time: Duration) {
        self.turn(self.now.monotonic + time);
    }

    fn turn(&mut self, to: Monotonic) {
        self.now.wall = self.now.wall + to.since(self.now.monotonic);
        self.now.monotonic = to;
    }

    pub(super) fn stamp(&mut self) -> RequestStamp {
        self.sequence += 1;
        RequestStamp { client: client(), slot: 0, sequence: self.sequence }
    }

    fn reply_to(&mut self) -> ReplyTo {
        self.next_reply += 1;
        ReplyTo(self.next_reply)
    }

    pub(super) fn mutate(&mut self, request: Mutation) -> Result<Reply, FsError> {
        let (to, asker) = (self.reply_to(), asker(&request, &self.owner));
        fs(self.run(Input::Mutate(to, asker, request)))
    }

    pub(super) fn query(&mut self, request: Query) -> Result<Reply, FsError> {
        let to = self.reply_to();
        let seen = self.master.look(self.now.monotonic, &request);
        let answer = self.run(Input::Query(to, request));
        if let Some(seen) = seen {
            assert_eq!(Some(&seen), answer.as_ref(), "who looks is told the same");
        }
        fs(answer)
    }

    pub(super) fn create(&mut self, at: &str) -> Result<Created, FsError> {
        let request = create(self.stamp(), at);
        match self.mutate(Mutation::Create(request))? {
            Reply::Created(created) => Ok(created),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn allocate(&mut self, request: Allocate) -> Result<Allocation, FsError> {
        match self.mutate(Mutation::Allocate(request))? {
            Reply::Allocated(allocation) => Ok(allocation),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn close(
        &mut self,
        file: FileId,
        sealed: Option<SealedChunk>,
    ) -> Result<FileStatus, FsError> {
        let request = Close { stamp: self.stamp(), file, sealed, abandoned: None, into: None };
        match self.mutate(Mutation::Close(request))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    /// Writes a file and closes it; needs servers.
    pub(super) fn put(&mut self, at: &str, bytes: u64) -> FileStatus {
        let created = self.create(at).unwrap();
        let (file, mut allocation) = (created.file, created.allocation);
        let mut left = bytes;
        while left > CHUNK {
            let sealed = Some(seal(&allocation, CHUNK));
            let request = Allocate { sealed, ..allocate(self.stamp(), file) };
            allocation = self.allocate(request).unwrap();
            left -= CHUNK;
        }
        let sealed = (left > 0).then(|| seal(&allocation, left));
        self.close(file, sealed).unwrap()
    }

    pub(super) fn mkdir(&mut self, at: &str) -> Result<Reply, FsError> {
        let request = Mkdir { stamp: self.stamp(), path: path(at), parents: false };
        self.mutate(Mutation::Mkdir(request))
    }

    pub(super) fn mkdirs(&mut self, at: &str) {
        let request = Mkdir { stamp: self.stamp(), path: path(at), parents: true };
        assert_eq!(self.mutate(Mutation::Mkdir(request)), Ok(Reply::Done));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<Reply, FsError> {
        let request =
            Rename { stamp: self.stamp(), from: path(from), to: path(to), replace: Replace::Never };
        self.mutate(Mutation::Rename(request))
    }

    pub(super) fn delete(&mut self, at: &str, recursive: bool) -> Result<Reply, FsError> {
        let request = Delete { stamp: self.stamp(), path: path(at), recursive, skip_trash: false };
        self.mutate(Mutation::Delete(request))
    }

    pub(super) fn stat(&mut self, at: &str) -> Result<FileStatus, FsError> {
        match self.query(Query::Stat(Stat { path: path(at) }))? {
            Reply::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn list(
        &mut self,
        at: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing, FsError> {
        let request =
            List { path: path(at), after: after.map(str::to_owned), limit, recursive: false };
        match self.query(Query::List(request))? {
            Reply::Listing(listing) => Ok(listing),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn names(&mut self, at: &str) -> Vec<String> {
        let listing = self.list(at, None, LIST_ENTRIES_MAX).unwrap();
        listing.entries.iter().map(|entry| entry.path.to_string()).collect()
    }

    pub(super) fn locate(&mut self, at: &str) -> Result<Located, FsError> {
        self.locate_range(at, 0, None)
    }

    pub(super) fn locate_range(
        &mut self,
        at: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Located, FsError> {
        match self.query(Query::Locate(Locate {
            path: path(at),
            offset,
            length,
            open: false,
            log: false,
        }))? {
            Reply::Located(located) => Ok(located),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn summary(&mut self) -> Summary {
        let to = self.reply_to();
        match self.run(Input::Summarise(to)) {
            Some(Ok(Reply::Summary(summary))) => summary,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn register(&mut self, n: usize) -> ServerRegistered {
        self.try_register(registration(n)).unwrap()
    }

    pub(super) fn try_register(
        &mut self,
        request: RegisterServer,
    ) -> Result<ServerRegistered, ServerError> {
        let to = self.reply_to();
        match server(self.run(Input::Register(to, request)))? {
            Reply::Registered(registered) => Ok(registered),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn beat(
        &mut self,
        heartbeat: ServerHeartbeat,
    ) -> Result<ServerHeartbeatReply, ServerError> {
        let to = self.reply_to();
        match server(self.run(Input::Heartbeat(to, heartbeat)))? {
            Reply::Heartbeat(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }
}

fn one_byte_file(parent: FileId, file: FileId, chunk: ChunkId, n: u64) -> [Record; 2] {
    let digest = RequestDigest(0);
    let stamp = |sequence| Stamp { client: client(), slot: 1, sequence, digest };
    let (at, version) = (UnixMillis(0), Version(1));
    let created = Record::FileCreated {
        stamp: stamp(2 * n + 1),
        at,
        parent,
        folders: Vec::new(),
        name: format!("{n:06}"),
        file,
        replication: 1,
        chunk_bytes: CHUNK,
        allotted: Allotted { chunk, version, pipeline: Vec::new() },
        if_writer_dies: IfWriterDies::Remove,
        owner: OWNER.to_owned(),
    };
    let sealed = Some(Sealed { chunk, version, length: 1, checksum: 7 });
    [created, Record::FileClosed { stamp: stamp(2 * n + 2), at, file, sealed, moved: None }]
}

pub(super) fn create(stamp: RequestStamp, at: &str) -> Create {
    Create {
        stamp,
        path: path(at),
        parents: false,
        replication: None,
        chunk_bytes: None,
        writer_host: None,
        if_writer_dies: IfWriterDies::Remove,
    }
}

pub(super) fn allocate(stamp: RequestStamp, file: FileId) -> Allocate {
    let (sealed, abandoned, exclude, writer_host) = (None, None, Vec::new(), None);
    Allocate { stamp, file, sealed, abandoned, exclude, writer_host }
}

/// The chunk as sealed by its whole pipeline.
pub(super) fn seal(allocation: &Allocation, length: u64) -> SealedChunk {
    SealedChunk {
        chunk: allocation.chunk,
        version: allocation.version,
        length,
        checksum: 7,
        servers: allocation.pipeline.iter().map(|server| server.host.clone()).collect(),
    }
}

pub(super) fn registration(n: usize) -> RegisterServer {
    RegisterServer {
        protocol: PROTOCOL_VERSION,
        cluster: None,
        term: None,
        last_record: 0,
        host: host(n),
        rack: RackName::default_rack(),
        address: format!("127.0.0.1:{n}"),
        incarnation: n as u64,
        capacity_bytes: 1 << 40,
        free_bytes: 1 << 39,
        disks: Vec::new(),
    }
}

/// A heartbeat with these events, numbered from 1.
pub(super) fn heartbeat(
    n: usize,
    registered: &ServerRegistered,
    number: u64,
    events: Vec<ReplicaEvent>,
) -> ServerHeartbeat {
    ServerHeartbeat {
        host: host(n),
        epoch: registered.epoch,
        session: registered.session,
        number: HeartbeatNumber(number),
        capacity_bytes: 1 << 40,
        free_bytes: 1 << 39,
        disks: Vec::new(),
        events: (1..).zip(events).map(|(number, item)| Numbered { number, item }).collect(),
        report_complete: true,
        commands_done: 0,
    }
}

pub(super) fn held(chunk: ChunkId, length: u64) -> ReplicaEvent {
    ReplicaEvent::Held { chunk, version: Version(1), length, checksum: 7 }
}

pub(super) fn hosts_of<A: std::borrow::Borrow<ServerAddress>>(servers: &[A]) -> Vec<HostName> {
    servers.iter().map(|server| server.borrow().host.clone()).collect()
}

fn fs(answer: Option<Result<Reply, Refusal>>) -> Result<Reply, FsError> {
    answer.unwrap().map_err(|refusal| match refusal {
        Refusal::Files(error) => error,
        Refusal::Servers(error) => panic!("{error}"),
    })
}

fn server(answer: Option<Result<Reply, Refusal>>) -> Result<Reply, ServerError> {
    answer.unwrap().map_err(|refusal| match refusal {
        Refusal::Servers(error) => error,
        Refusal::Files(error) => panic!("{error}"),
    })
}

#[test]
fn a_master_without_a_cluster_does_not_start() {
    assert_eq!(Master::recover(settings(), Durable::default()).err(), Some(NotInitialised));
}

#[test]
fn every_start_is_a_new_epoch_and_forgets_the_servers() {
    let mut world = World::with_servers(2);
    assert_eq!(world.summary().epoch, 1);
    assert_eq!(world.summary().servers_live, 2);
    world.restart();
    assert_eq!(world.summary().epoch, 2);
    assert_eq!(world.summary().servers_live, 0);
    let cluster = "cluster-1".parse().unwrap();
    assert!(world.notices.contains(&Notice::Started { cluster, epoch: Epoch(2) }));
}

#[test]
fn times_in_listings_are_those_of_the_wall_clock() {
    let mut world = World::with_servers(2);
    world.pass(Duration::from_secs(3));
    world.mkdirs("/d");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.stat("/d").unwrap().modified, UnixMillis(3000));
    world.register(1);
    world.register(2);
    world.put("/d/f", 10);
    assert_eq!(world.stat("/d").unwrap().modified, UnixMillis(5000));
}
