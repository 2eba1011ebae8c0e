//! The chunk master's state machine: the namespace, chunks, leases, chunkservers and placement (GFS
//! 2003, sections 2.6, 3 and 4). [`Master::handle`] takes one input at a time, and returns records
//! to journal and effects to carry out once those are durable. No I/O, no clock, no tokens, no
//! HTTP. Called by the daemon `chunkmaster` and by tests.

mod append;
mod balance;
mod broken;
mod children;
mod concat;
mod copies;
mod deadlines;
mod drain;
mod durable;
mod error;
mod error_words;
mod files;
mod fsck;
mod garbage;
mod known;
mod layout;
mod logs;
mod missing;
mod moved;
mod mutation;
mod namespace;
mod notice;
mod owners;
mod paged;
mod placement;
mod queue;
mod reads;
mod record;
mod repair;
mod replicas;
mod replies;
mod report;
mod reports;
mod rights;
mod room;
mod safe_mode;
mod server_error;
mod servers;
mod settings;
mod stamp;
mod streams;
mod subtree;
mod summary;
mod surplus;
mod terms;
mod trash;
mod tree;

#[cfg(test)]
mod tests;

pub use concat::{CONCAT_CHUNKS_MAX, ConcatError};
pub use copies::COPY_CHUNKS_MAX;
pub use durable::{Dropped, Durable, NotInitialised};
pub use error::{ForgetError, FsError, Refusal, ServerError, Unfit, UnfitReason};
pub use logs::LogRequest;
pub use mutation::{Asker, Mutation};
pub use notice::Notice;
pub use reads::{CountedPart, READ_STEP};
pub use record::{Adopted, Allotted, Moved, NewFolder, Record, RequestDigest, Sealed, Stamp};
pub use rights::{Authority, Intent, NotYours};
pub use settings::Settings;
pub use summary::Summary;
pub use terms::{Outdated, OutdatedBy, Start};
pub use trash::TrashReason;
pub use tree::WINNERS_MAX;

use std::sync::Arc;
use std::time::Duration;

use chunkstore_protocol::{
    Allocation, BegunLog, BrokenChunks, ClusterReport, Created, DeleteOrphans, FileId, FileStatus,
    Fsck, FsckPage, List, Listing, Locate, Located, OpenedLog, OrphansDeleted, Purgeable,
    RegisterServer, Renew, Report, ServerHeartbeat, ServerHeartbeatReply, ServerRegistered, Stat,
    StorePath,
};
use ids::{ClientId, ClusterId, Monotonic, Now, Room};

use balance::Balance;
use copies::REPLICATION_STEP;
use deadlines::Deadlines;
use drain::Drains;
use durable::RECLAIM_STEP;
use garbage::Orphans;
use logs::Ends;
use repair::Repairs;
use replicas::Replicas;
use safe_mode::SafeMode;
use servers::Servers;
use surplus::Verifying;

/// Pause between two steps of reclaiming a large removed folder, or of applying a new replication
/// to a long file's chunks: requests are handled in between.
const RECLAIM_PAUSE: Duration = Duration::from_millis(5);

/// Leases that expire in one call at most: each costs a record, and a file to be reclaimed.
const EXPIRIES_PER_CALL: usize = 500;

/// While the master waits for anybody, it wants to be called at least this often, or once a
/// heartbeat interval if that is longer. If it was not called for [`PAUSED_AFTER_TICKS`] of these,
/// it was itself stopped.
const TICK_MIN: Duration = Duration::from_secs(1);
const PAUSED_AFTER_TICKS: u32 = 2;

/// Identifies the caller that waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What happens to the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process begins to serve: the first input after recovery.
    Start(Start),
    /// A client asks for a change.
    Mutate(ReplyTo, Asker, Mutation),
    /// A client reads something, or renews its leases.
    Query(ReplyTo, Query),
    /// A client or a chunkserver asks something about a log.
    Log(ReplyTo, LogRequest),
    /// A chunkserver registers.
    Register(ReplyTo, RegisterServer),
    /// A chunkserver's heartbeat.
    Heartbeat(ReplyTo, ServerHeartbeat),
    /// The connection on which a writer kept its leases has ended. Nobody waits for an answer.
    WriterGone(ClientId, Vec<FileId>),
    /// A caller wants the gauges.
    Summarise(ReplyTo),
}

/// A request that leaves no record.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is its request's name; the protocol documents those")]
pub enum Query {
    Stat(Stat),
    List(List),
    /// Counts what comes after a place, given as a path relative to this one.
    Count {
        path: StorePath,
        after: Option<String>,
    },
    Locate(Locate),
    /// Locates as many of these files as one step allows; the list is shared between the steps.
    LocateMany {
        paths: Arc<[StorePath]>,
        /// How many of them are done.
        from: usize,
    },
    Renew(Renew),
    Fsck(Fsck),
    Report(Report),
    DeleteOrphans(DeleteOrphans),
    Broken(BrokenChunks),
    /// Whether ownership would forbid a change.
    May(Asker, Intent, StorePath),
}

/// What is to be done outside, once all records that came before are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a caller.
    Reply(ReplyTo, Box<Result<Reply, Refusal>>),
    /// Write a notice to the daemon's log.
    Tell(Notice),
}

/// The answer to a granted request. Tokens in it are empty: the holder of the key mints them.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is its reply's name; the protocol documents those")]
pub enum Reply {
    Created(Created),
    Allocated(Allocation),
    Status(FileStatus),
    Done,
    Listing(Listing),
    Counted(CountedPart),
    Located(Located),
    LocatedMany(Vec<Result<Located, FsError>>),
    Registered(ServerRegistered),
    Heartbeat(ServerHeartbeatReply),
    OpenedLog(OpenedLog),
    BegunLog(BegunLog),
    Summary(Summary),
    Fsck(FsckPage),
    Report(ClusterReport),
    OrphansDeleted(OrphansDeleted),
    Purgeable(Purgeable),
}

/// The outcome of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// To be journaled, in order, before the effects are carried out.
    pub records: Vec<Record>,
    /// To be done after that.
    pub effects: Vec<Effect>,
}

/// The chunk master.
#[derive(Clone, Debug)]
pub struct Master {
    settings: Settings,
    cluster: ClusterId,
    durable: Durable,
    servers: Servers,
    replicas: Replicas,
    leases: Deadlines<FileId>,
    repairs: Repairs,
    balance: Balance,
    verifying: Verifying,
    drains: Drains,
    orphans: Orphans,
    ends: Ends,
    reclaim_at: Option<Monotonic>,
    /// When to look into the trash; `None` if nothing is there.
    trash_at: Option<Monotonic>,
    /// Space that was freed from the trash but does not show yet in what servers report.
    freed: trash::Freed,
    room: Room,
    safe_mode: SafeMode,
    /// How it was noticed that the journal is an older copy; `None` if it was not.
    outdated: Option<Outdated>,
    /// The number of the last record made.
    last_record: u64,
    started: Monotonic,
    /// The time of the last call.
    called: Monotonic,
}

impl Master {
    /// Builds the master from its recovered state. [`Input::Start`] must be its first input.
    ///
    /// # Errors
    /// When the journal holds no cluster.
    pub fn recover(settings: Settings, durable: Durable) -> Result<Self, NotInitialised> {
        let cluster = durable.cluster().cloned().ok_or(NotInitialised)?;
        Ok(Self {
            settings,
            cluster,
            durable,
            servers: Servers::new(settings.dead_after),
            replicas: Replicas::default(),
            leases: Deadlines::default(),
            repairs: Repairs::default(),
            balance: Balance::default(),
            verifying: Verifying::default(),
            drains: Drains::default(),
            orphans: Orphans::default(),
            ends: Ends::default(),
            reclaim_at: None,
            trash_at: None,
            freed: trash::Freed::default(),
            room: Room::default(),
            safe_mode: SafeMode::default(),
            outdated: None,
            last_record: 0,
            started: Monotonic::default(),
            called: Monotonic::default(),
        })
    }

    /// Which cluster this is.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The durable state, which recovery must reproduce.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Takes one input; deadlines that have passed are handled first. Listings and locations are
    /// answered in parts of at most [`READ_STEP`].
    pub fn handle(&mut self, now: Now, input: Input) -> Output {
        let mut out = Output::default();
        self.pass_deadlines(now, &mut out);
        let (to, answer) = match input {
            Input::Start(start) => {
                self.start(now, start, &mut out);
                return out;
            }
            Input::WriterGone(client, files) => {
                self.writer_gone(now.monotonic, &client, &files);
                return out;
            }
            Input::Mutate(to, asker, request) => {
                (to, self.mutate(now, &asker, &request, &mut out).map_err(Refusal::Files))
            }
            Input::Query(to, request) => (to, self.query(now, &request).map_err(Refusal::Files)),
            Input::Log(to, request) => {
                (to, self.log_request(now, &request, &mut out).map_err(Refusal::Files))
            }
            Input::Register(to, request) => {
                (to, self.register(now, request, &mut out).map_err(Refusal::Servers))
            }
            Input::Heartbeat(to, heartbeat) => {
                (to, self.heartbeat(now, heartbeat, &mut out).map_err(Refusal::Servers))
            }
            Input::Summarise(to) => (to, Ok(Reply::Summary(self.summary(now.monotonic)))),
        };
        out.effects.push(Effect::Reply(to, Box::new(answer)));
        out
    }

    /// Handles the deadlines that have passed: expired leases, silent servers, removed folders to
    /// reclaim. Call it when the time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) -> Output {
        let mut out = Output::default();
        self.pass_deadlines(now, &mut out);
        out
    }

    /// When [`Self::handle_timeout`] is to be called next; ask again after every input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let due = self.next_deadline();
        let tick = due.map(|_| self.called + self.tick());
        let cleaning = [self.reclaim_at, self.trash_at].into_iter().flatten().min();
        let cleaning = cleaning.filter(|_| self.may_expire());
        [due, tick, cleaning].into_iter().flatten().min()
    }

    /// When the next deadline passes.
    fn next_deadline(&self) -> Option<Monotonic> {
        let may_expire = self.may_expire();
        let lease = self.leases.next().filter(|_| may_expire);
        let ends = self.ends.next().filter(|_| may_expire);
        let safe_mode = self.safe_mode.until().filter(|_| self.outdated.is_none());
        [lease, ends, safe_mode, self.servers.next_death(), self.repairs.due(), self.balance.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether leases may expire and removed folders be reclaimed.
    fn may_expire(&self) -> bool {
        self.room != Room::None && !self.in_safe_mode()
    }

    fn tick(&self) -> Duration {
        self.settings.heartbeat_interval.max(TICK_MIN)
    }

    /// If the master itself was stopped, extends all deadlines: the silence of others counts only
    /// while they could be heard, and what they sent meanwhile is queued behind this call.
    fn pass_pause(&mut self, now: Now, out: &mut Output) {
        let time = now.monotonic.since(self.called);
        self.called = now.monotonic;
        if time > self.tick() * PAUSED_AFTER_TICKS && self.next_deadline().is_some() {
            self.leases.postpone(time);
            self.servers.postpone_deaths(time);
            self.safe_mode.postpone(time);
            out.effects.push(Effect::Tell(Notice::Paused { time }));
        }
    }

    fn pass_deadlines(&mut self, now: Now, out: &mut Output) {
        self.pass_pause(now, out);
        while let Some(server) = self.servers.pop_dead(now.monotonic) {
            let host = self.servers.host(server).clone();
            self.end_logs_on(&host, now.monotonic);
            out.effects.push(Effect::Tell(Notice::ServerDied { host }));
            self.server_changed(server, now.monotonic);
        }
        self.pass_safe_mode(now.monotonic, out);
        self.pass_moves(now.monotonic);
        self.repair(now.monotonic);
        if !self.may_expire() {
            return;
        }
        for _ in 0..EXPIRIES_PER_CALL {
            let Some(file) = self.leases.pop_passed(now.monotonic) else { break };
            if let Some((record, notice)) = self.plan_writer_death(now.wall, file) {
                self.commit(now, record, out);
                out.effects.push(Effect::Tell(notice));
            }
        }
        self.pass_ends(now, out);
        self.empty_trash(now, out);
        if self.reclaim_at.is_some_and(|at| at <= now.monotonic) {
            self.reclaim_at = None;
            if self.durable.is_spreading() {
                self.commit(now, Record::ReplicationSpread { chunks: REPLICATION_STEP }, out);
            }
            if self.durable.is_reclaiming() {
                self.commit(now, Record::Reclaimed { entries: RECLAIM_STEP }, out);
            }
        }
    }

    /// The only way for a record: applies it, updates the soft state accordingly, and adds it to
    /// the output.
    fn commit(&mut self, now: Now, record: Record, out: &mut Output) {
        let told = match &record {
            Record::ReplicationSpread { chunks } => self.durable.to_spread(*chunks),
            _ => Vec::new(),
        };
        let unfinished = self.given_up(&record);
        for dropped in self.durable.apply(&record) {
            self.drains.drop_chunk(dropped.chunk);
            self.balance.drop_chunk(dropped.chunk);
            self.verifying.drop_chunk(dropped.chunk);
            self.repairs.drop_chunk(dropped.chunk);
            self.replicas.drop_chunk(dropped, &mut self.servers);
        }
        self.discard(unfinished);
        match &record {
            Record::FileCreated { file, .. }
            | Record::FileReopened { file, .. }
            | Record::ChunkAllocated { file, .. } => {
                self.leases.set(*file, now.monotonic + self.settings.lease);
            }
            Record::FileClosed { file, .. }
            | Record::FileAbandoned { file, .. }
            | Record::AppendAbandoned { file, .. } => self.leases.remove(*file),
            Record::ServerForgotten { host, .. } => {
                self.end_logs_on(host, now.monotonic);
                self.servers.forget(host);
            }
            Record::LogChunkEnded { file, .. } => self.ends.remove(*file),
            Record::ServerDraining { host, on, .. } => {
                self.servers.set_draining(host, *on);
                if *on {
                    self.end_logs_on(host, now.monotonic);
                }
                if let Some(by) = self.servers.by_host(host) {
                    self.drains.clear(by.server);
                }
                self.sweep(now.monotonic);
            }
            Record::Started { .. } | Record::Trashed { .. } | Record::OldJournalAccepted { .. } => {
                self.trash_at.get_or_insert(now.monotonic);
            }
            Record::ClusterInitialised { .. }
            | Record::ServerJoined { .. }
            | Record::TrashEmptied { .. }
            | Record::LeaseExpired { .. }
            | Record::WriterDied { .. }
            | Record::AppendLapsed { .. }
            | Record::LogCreated { .. }
            | Record::LogChunkAllotted { .. }
            | Record::LogChunkBegun { .. }
            | Record::FoldersMade { .. }
            | Record::Renamed { .. }
            | Record::Copied { .. }
            | Record::Concatenated { .. }
            | Record::ReplicationSet { .. }
            | Record::OwnerSet { .. }
            | Record::Deleted { .. }
            | Record::WinnersGathered { .. }
            | Record::Published { .. }
            | Record::ReplicationSpread { .. }
            | Record::Reclaimed { .. } => {}
        }
        for (_, chunk) in told {
            self.inspect(chunk, now.monotonic);
        }
        let goes_on = self.durable.is_reclaiming() || self.durable.is_spreading();
        if goes_on && self.reclaim_at.is_none() {
            self.reclaim_at = Some(now.monotonic + RECLAIM_PAUSE);
        }
        self.last_record += 1;
        out.records.push(record);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
