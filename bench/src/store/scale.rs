//! Many files in one chunk master: what each takes in memory, how long the start lasts, and how long one
//! input holds the event loop. The first two are asked of the real daemon; for the last the core is driven
//! here, input by input, and its thread's processor time is measured, which no other process disturbs.

use std::time::Duration;

use anyhow::Context as _;
use chunkstore::master::MasterFold;
use chunkstore_core::master::{
    Asker, Authority, Effect, Input, Master as Core, Mutation, Output, Query, Reply, ReplyTo,
    RequestDigest, Settings, Start,
};
use chunkstore_protocol::{
    Copy, Create, Delete, EVENTS_PER_HEARTBEAT_MAX, Fsck, IfWriterDies, LOCATE_PATHS_MAX, List,
    Locate, PROTOCOL_VERSION, RegisterServer, Rename, Replace, Report, ServerAddress,
    ServerHeartbeat, SetReplication, Stat, StorePath,
};
use ids::{Epoch, HeartbeatNumber, Monotonic, Now, RequestStamp, UnixMillis};
use journal::{Journal, Options};

use super::StoreArgs;
use super::master::{DAEMON, Master};
use super::population::{self, FOLDERS, path};
use super::servers::events;
use crate::idle::resident_bytes;
use crate::report::Report as Table;

/// Of one file of one chunk with three replicas.
const FILE_BYTES_MAX: u64 = 250;
const START_MAX: Duration = Duration::from_secs(10);
const INPUT_MAX: Duration = Duration::from_millis(5);
const CAPACITY_BYTES: u64 = 1 << 50;

/// Adds the rows of the daemon on `args.files` files.
pub(super) async fn daemon(args: &StoreArgs, table: &mut Table) -> anyhow::Result<()> {
    let resident = |master: &Master| resident_bytes(master.cluster.pid(DAEMON));
    let empty = resident(&Master::start(0).await?)?;
    let full = Master::start(args.files).await?;
    let each = resident(&full)?.saturating_sub(empty) / args.files.max(1);
    table.row(
        format!(
            "memory of a file of one chunk and 3 replicas, {} files in {FOLDERS} folders",
            args.files
        ),
        format!("{each} bytes resident"),
        format!("≤ {FILE_BYTES_MAX} bytes"),
        // With few files it is their folders that count, and the pages that reports came in.
        each <= FILE_BYTES_MAX || args.files < population::FILES_TO_JUDGE,
    );
    let started_in = full.started_in;
    table.row(
        format!("start of a chunk master on {} files, until it serves", args.files),
        format!("{:.1} s", started_in.as_secs_f64()),
        format!("≤ {} s", START_MAX.as_secs()),
        started_in <= START_MAX,
    );
    Ok(())
}

/// Adds the row of the longest input.
pub(super) fn inputs(args: &StoreArgs, table: &mut Table) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("journal");
    let segment_bytes = 8 << 20;
    chunkstore::master::init(&dir, segment_bytes)?;
    let servers = servers()?;
    population::add(&dir, args.files, &servers)?;
    let options = Options::with_segments(segment_bytes);
    let (fold, journal) = Journal::open(&dir, options, Box::new(drop))?.fold::<MasterFold>()?;
    drop(journal);
    let mut driven = Driven::new(fold)?;
    driven.report_all(&servers, args.files)?;
    driven.look(args.files)?;
    driven.change(args.files)?;
    driven.lose_a_server(&servers)?;
    let (longest, what) = driven.longest;
    table.row(
        format!("longest input of the chunk master's core on {} files", args.files),
        format!("{:.2} ms ({what}, of {} inputs)", longest.as_secs_f64() * 1e3, driven.inputs),
        format!("≤ {} ms", INPUT_MAX.as_millis()),
        longest <= INPUT_MAX,
    );
    Ok(())
}

fn servers() -> anyhow::Result<Vec<ServerAddress>> {
    let server = |n: u64| {
        let (host, rack) = (format!("host-{n}").parse()?, "/rack".parse()?);
        Ok(ServerAddress { host, rack, address: format!("127.0.0.1:{}", 7870 + n) })
    };
    (1..=3).map(server).collect()
}

/// The core, with the longest that an input took.
struct Driven {
    core: Core,
    now: Now,
    sequence: u64,
    inputs: u64,
    longest: (Duration, String),
}

impl Driven {
    fn new(fold: MasterFold) -> anyhow::Result<Self> {
        let settings = Settings {
            replication: 3,
            chunk_bytes: 64 << 20,
            heartbeat_interval: Duration::from_secs(1),
            dead_after: Duration::from_secs(10),
            lease: Duration::from_mins(1),
            lease_grace: Duration::from_secs(5),
            repair_streams: 2,
            trash_interval: Duration::from_hours(24),
            trash_free_min_percent: 10,
            balance_threshold_percent: 10,
        };
        let core = Core::recover(settings, fold.0)?;
        let wall = UnixMillis(1_800_000_000_000);
        let now = Now { monotonic: Monotonic(Duration::from_secs(1)), wall };
        let longest = (Duration::ZERO, "none".to_owned());
        let mut driven = Self { core, now, sequence: 0, inputs: 0, longest };
        driven.measured("start", |core, now| {
            core.handle(now, Input::Start(Start { term_id: 1, ..Start::default() }))
        })?;
        Ok(driven)
    }

    fn measured(
        &mut self,
        what: &str,
        step: impl FnOnce(&mut Core, Now) -> Output,
    ) -> anyhow::Result<Output> {
        let before = thread_time()?;
        let out = step(&mut self.core, self.now);
        let took = thread_time()?.saturating_sub(before);
        self.inputs += 1;
        if took > self.longest.0 {
            self.longest = (took, what.to_owned());
        }
        self.now.monotonic = self.now.monotonic + Duration::from_millis(1);
        Ok(out)
    }

    /// Gives one input and makes sure that it is granted.
    fn granted(&mut self, what: &str, input: Input) -> anyhow::Result<Option<Reply>> {
        let out = self.measured(what, |core, now| core.handle(now, input))?;
        let mut answers = out.effects.into_iter().filter_map(|effect| match effect {
            Effect::Reply(_, answer) => Some(*answer),
            Effect::Tell(_) => None,
        });
        let last = answers.next_back().transpose();
        last.with_context(|| what.to_owned())
    }

    fn report_all(&mut self, servers: &[ServerAddress], files: u64) -> anyhow::Result<()> {
        for (session, server) in (1..).zip(servers) {
            let register = RegisterServer {
                protocol: PROTOCOL_VERSION,
                cluster: None,
                term: None,
                last_record: 0,
                host: server.host.clone(),
                rack: server.rack.clone(),
                address: server.address.clone(),
                incarnation: session,
                capacity_bytes: CAPACITY_BYTES,
                free_bytes: CAPACITY_BYTES,
                disks: Vec::new(),
            };
            self.granted("registration", Input::Register(ReplyTo(0), register))?;
            // As the servers do it: as many as fit, of which the master takes what it can at once.
            let (mut received, mut number) = (0, 0);
            while received < files || number == 0 {
                let until = files.min(received + EVENTS_PER_HEARTBEAT_MAX as u64);
                number += 1;
                let heartbeat = ServerHeartbeat {
                    host: server.host.clone(),
                    epoch: Epoch(1),
                    session,
                    number: HeartbeatNumber(number),
                    capacity_bytes: CAPACITY_BYTES,
                    free_bytes: CAPACITY_BYTES,
                    disks: Vec::new(),
                    events: events(received..until),
                    report_complete: until == files,
                    commands_done: 0,
                };
                let reply =
                    self.granted("chunk report", Input::Heartbeat(ReplyTo(0), heartbeat))?;
                if let Some(Reply::Heartbeat(reply)) = reply {
                    received = reply.events_received;
                }
            }
        }
        Ok(())
    }

    fn look(&mut self, files: u64) -> anyhow::Result<()> {
        let query = |query| Input::Query(ReplyTo(0), query);
        let (root, one) = (StorePath::root(), path(files / 2).parse::<StorePath>()?);
        let paths = (0..LOCATE_PATHS_MAX as u64).map(|n| path(n * 7919 % files).parse());
        let paths: Vec<StorePath> = paths.collect::<Result<_, _>>()?;
        let list = |recursive| {
            let path = root.clone();
            query(Query::List(List { path, after: None, recursive, limit: 10_000 }))
        };
        let locate = Locate { path: one.clone(), offset: 0, length: None, open: false, log: false };
        let fsck = Fsck { path: root.clone(), after: None, limit: 1000 };
        for (what, input) in [
            ("stat", query(Query::Stat(Stat { path: one }))),
            ("list", list(false)),
            ("recursive list", list(true)),
            ("count", query(Query::Count { path: root.clone(), after: None })),
            ("locate", query(Query::Locate(locate))),
            ("locate many", query(Query::LocateMany { paths: paths.into(), from: 0 })),
            ("fsck", query(Query::Fsck(fsck))),
            ("report", query(Query::Report(Report::default()))),
            ("gauges", Input::Summarise(ReplyTo(0))),
        ] {
            self.granted(what, input)?;
        }
        Ok(())
    }

    fn stamp(&mut self) -> anyhow::Result<RequestStamp> {
        self.sequence += 1;
        Ok(RequestStamp { client: "bench-driver".parse()?, slot: 0, sequence: self.sequence })
    }

    fn mutate(&mut self, what: &str, request: Mutation) -> anyhow::Result<()> {
        let digest = RequestDigest(self.sequence);
        let asker = Asker { digest, owner: "bench".to_owned(), may: Authority::All };
        self.granted(what, Input::Mutate(ReplyTo(0), asker, request)).map(drop)
    }

    fn change(&mut self, files: u64) -> anyhow::Result<()> {
        let from = path(files / 2).parse::<StorePath>()?;
        let folder = from.parent().context("files lie in folders")?;
        for n in 0..1000 {
            let create = Create {
                stamp: self.stamp()?,
                path: format!("/new/{n}").parse()?,
                parents: true,
                replication: None,
                chunk_bytes: None,
                writer_host: None,
                if_writer_dies: IfWriterDies::Remove,
            };
            self.mutate("create", Mutation::Create(create))?;
        }
        let (replace, parents) = (Replace::Never, true);
        let (stamp, to) = (self.stamp()?, "/copies/one".parse()?);
        self.mutate(
            "copy",
            Mutation::Copy(Copy { stamp, from: from.clone(), to, replace, parents }),
        )?;
        let (stamp, replication) = (self.stamp()?, 2);
        self.mutate(
            "setrep",
            Mutation::SetReplication(SetReplication { stamp, path: from, replication }),
        )?;
        let (stamp, to) = (self.stamp()?, "/moved".parse()?);
        self.mutate("rename", Mutation::Rename(Rename { stamp, from: folder, to, replace }))?;
        for (what, text, skip_trash) in
            [("trash a folder", "/moved", false), ("delete a folder", "/d0001", true)]
        {
            let (stamp, path) = (self.stamp()?, text.parse()?);
            let delete = Delete { stamp, path, recursive: true, skip_trash };
            self.mutate(what, Mutation::Delete(delete))?;
        }
        for _ in 0..100 {
            self.now.monotonic = self.now.monotonic + Duration::from_millis(10);
            self.measured("a step of what is due", Core::handle_timeout)?;
        }
        Ok(())
    }

    /// All servers but one say that they live; that one is then dead.
    fn lose_a_server(&mut self, servers: &[ServerAddress]) -> anyhow::Result<()> {
        let number = u64::MAX / 2;
        for second in 0..12 {
            self.now.monotonic = self.now.monotonic + Duration::from_secs(1);
            for (session, server) in (1..).zip(servers).skip(1) {
                let heartbeat = ServerHeartbeat {
                    host: server.host.clone(),
                    epoch: Epoch(1),
                    session,
                    number: HeartbeatNumber(number + second),
                    capacity_bytes: CAPACITY_BYTES,
                    free_bytes: CAPACITY_BYTES,
                    disks: Vec::new(),
                    events: Vec::new(),
                    report_complete: true,
                    commands_done: 0,
                };
                self.granted("heartbeat", Input::Heartbeat(ReplyTo(0), heartbeat))?;
            }
        }
        for _ in 0..2000 {
            let Some(due) = self.core.poll_timeout() else { break };
            self.now.monotonic = self.now.monotonic.max(due);
            self.measured("a step of repair", Core::handle_timeout)?;
        }
        Ok(())
    }
}

/// What this thread has used of the processor.
fn thread_time() -> anyhow::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, to where one is.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    anyhow::ensure!(failed == 0, "no processor time: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
