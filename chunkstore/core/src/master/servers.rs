//! The chunkservers as the master knows them: registrations, heartbeats, deaths, commands to
//! deliver. All soft: after a restart every server registers again. Which replicas they hold is
//! kept in `replicas.rs`; which of them gets a chunk is decided in `choice.rs`; how full they are
//! is in `levels.rs`, and what they are about to delete in `doomed.rs`.

mod choice;
mod doomed;
mod levels;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chunkstore_protocol::{
    DISKS_MAX, PROTOCOL_VERSION, RegisterServer, ReplicaEvent, ServerAddress, ServerCommand,
    ServerHeartbeat,
};
use ids::{
    ClusterId, Epoch, HeartbeatNumber, HostName, Inbox, Monotonic, Numbered, Outbox, RackName,
};

use super::deadlines::Deadlines;
use super::error::ServerError;

use doomed::Doomed;
pub(crate) use levels::Shortage;
pub(crate) use levels::{Level, WHOLE};

/// Servers known at once, including dead ones.
pub(crate) const SERVERS_MAX: usize = 10_000;
/// Length limit of a server's address.
const ADDRESS_BYTES_MAX: usize = 300;
/// Commands in one heartbeat's reply.
const COMMANDS_PER_REPLY_MAX: usize = 1000;
/// Replica events taken from one heartbeat, to keep the loop free; the server repeats the others.
const EVENTS_PER_STEP: usize = 4096;
/// Upper bound of what a replica's file takes on its disk besides the chunk's bytes: the footer,
/// padding to whole blocks, and the file system's metadata.
const BESIDE_BYTES: u64 = 64 << 10;
/// What one replica adds to the load of the server with the most free space. For a server with
/// less, it adds up to [`FULLNESS_WEIGHT_MAX`] times as much, so that it gets fewer.
const LOAD_PER_REPLICA: u64 = 1000;
const FULLNESS_WEIGHT_MAX: u64 = 4;

/// A server's position in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerId(u32);

/// A registration; numbered uniquely within a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session(u32);

impl Session {
    /// The number that servers are told.
    pub(crate) fn told(self) -> u64 {
        u64::from(self.0)
    }
}

/// A server in one of its registrations, as the holder of a replica that it reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) server: ServerId,
    pub(crate) session: Session,
}

/// All servers that registered in this term.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    dead_after: Duration,
    all: Vec<Server>,
    by_host: BTreeMap<HostName, ServerId>,
    /// Free slots of forgotten servers: nothing reported in their sessions is ever believed again.
    free: Vec<ServerId>,
    /// When each of the live servers counts as dead.
    lives: Deadlines<ServerId>,
    last_session: Session,
    /// Chunks placed so far.
    n_placed: u64,
    roster: Roster,
}

#[derive(Clone, Debug)]
struct Server {
    told: RegisterServer,
    /// Its address as registered, for answers on where chunks are.
    address: Arc<ServerAddress>,
    session: Session,
    /// The previous registration, whose report counts until the new one is complete.
    previous: Option<Session>,
    report_complete: bool,
    heartbeat: HeartbeatNumber,
    capacity_bytes: u64,
    free_bytes: u64,
    /// When it was last declared dead.
    died: Option<Monotonic>,
    /// Whether it is to be emptied: then it gets no new replicas.
    draining: bool,
    /// Bytes allotted to it since `free_bytes` was reported.
    promised_bytes: u64,
    load: u64,
    inbox: Inbox,
    outbox: Outbox<ServerCommand>,
    doomed: Doomed,
}

/// The live servers in numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Roster {
    serving: usize,
    draining: usize,
    racks: usize,
}

/// What a heartbeat brought.
pub(crate) struct Heard {
    pub(crate) server: ServerId,
    pub(crate) events: Vec<ReplicaEvent>,
    /// Whether these complete its report of what it held when it registered.
    pub(crate) completed: bool,
    /// Whether the server had nothing left to report.
    pub(crate) is_all: bool,
}

/// What is known of a server, for reports.
pub(crate) struct Facts<'a> {
    pub(crate) by: Holder,
    pub(crate) told: &'a RegisterServer,
    pub(crate) is_live: bool,
    pub(crate) died: Option<Monotonic>,
    pub(crate) report_complete: bool,
    pub(crate) capacity_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) commands_pending: u64,
}

/// Sums over the servers, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) live: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) commands_pending: u64,
}

impl Servers {
    pub(crate) fn new(dead_after: Duration) -> Self {
        let (all, by_host, free) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (lives, last_session) = (Deadlines::default(), Session::default());
        let (n_placed, roster) = (0, Roster::default());
        Self { dead_after, all, by_host, free, lives, last_session, n_placed, roster }
    }

    /// A server joins, or rejoins with its report still to come. Returns its session.
    pub(crate) fn register(
        &mut self,
        now: Monotonic,
        mut request: RegisterServer,
        ours: &ClusterId,
    ) -> Result<u64, ServerError> {
        self.admit(&request, ours)?;
        request.disks.truncate(DISKS_MAX);
        let known = self.by_host.get(&request.host).copied();
        let new = ServerId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let id = known.or_else(|| self.free.pop()).unwrap_or(new);
        // A newcomer starts level with the others, or it would get every new chunk for a while.
        let least = self.live().map(|(_, server)| server.load).min().unwrap_or(0);
        self.last_session.0 += 1;
        let before = known.map(|id| self.server(id));
        let RegisterServer { host, rack, address, .. } = request.clone();
        let server = Server {
            address: Arc::new(ServerAddress { host, rack, address }),
            session: self.last_session,
            previous: before.map(|server| server.session),
            report_complete: false,
            heartbeat: HeartbeatNumber(0),
            capacity_bytes: request.capacity_bytes,
            free_bytes: request.free_bytes,
            died: None,
            draining: before.is_some_and(|server| server.draining),
            promised_bytes: 0,
            load: before.map_or(least, |server| server.load.max(least)),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            doomed: Doomed::default(),
            told: request,
        };
        self.by_host.insert(server.told.host.clone(), id);
        match self.all.get_mut(id.0 as usize) {
            Some(place) => *place = server,
            None => self.all.push(server),
        }
        self.lives.set(id, now + self.dead_after);
        self.roster = self.call_roll();
        Ok(self.last_session.told())
    }

    fn admit(&self, request: &RegisterServer, ours: &ClusterId) -> Result<(), ServerError> {
        let host = request.host.clone();
        if request.protocol != PROTOCOL_VERSION {
            return Err(ServerError::WrongProtocol { host, theirs: request.protocol });
        }
        if let Some(theirs) = request.cluster.clone().filter(|theirs| theirs != ours) {
            return Err(ServerError::WrongCluster { host, theirs, ours: ours.clone() });
        }
        let address = &request.address;
        let port = address.rsplit_once(':').filter(|(name, _)| !name.is_empty());
        let well_formed = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if address.len() > ADDRESS_BYTES_MAX || !well_formed {
            return Err(ServerError::BadAddress { host, max: ADDRESS_BYTES_MAX });
        }
        match self.by_host.get(&host) {
            Some(&id) if self.is_taken(id, request) => {
                let address = self.server(id).told.address.clone();
                Err(ServerError::HostNameTaken { host, address })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether another process has the name; a new incarnation at the same address is a restart.
    fn is_taken(&self, id: ServerId, request: &RegisterServer) -> bool {
        let told = &self.server(id).told;
        self.is_live(id)
            && told.incarnation != request.incarnation
            && told.address != request.address
    }

    /// Takes a heartbeat of the current registration. A repeated or older one has no effect and is
    /// no sign of life, but is answered like a new one.
    pub(crate) fn hear(
        &mut self,
        now: Monotonic,
        heartbeat: ServerHeartbeat,
        ours: Epoch,
    ) -> Result<Heard, ServerError> {
        let ServerHeartbeat { host, epoch, session, .. } = &heartbeat;
        let id = self.by_host.get(host).copied().filter(|&id| {
            *epoch == ours && self.is_live(id) && self.server(id).session.told() == *session
        });
        let Some(id) = id else {
            let ServerHeartbeat { host, epoch: theirs, session, .. } = heartbeat;
            return Err(ServerError::NotRegistered { host, theirs, session, ours });
        };
        let (mut events, mut is_all) = (Vec::new(), false);
        let before = self.server(id).report_complete;
        if heartbeat.number > self.server(id).heartbeat {
            is_all = heartbeat.report_complete && heartbeat.events.len() < EVENTS_PER_STEP;
            self.lives.set(id, now + self.dead_after);
            events = self.server_mut(id).take(heartbeat);
        }
        let completed = !before && self.server(id).report_complete;
        Ok(Heard { server: id, events, completed, is_all })
    }

    /// The first server that has been silent for too long, which is then no longer live.
    pub(crate) fn pop_dead(&mut self, now: Monotonic) -> Option<ServerId> {
        let id = self.lives.pop_passed(now)?;
        let server = self.server_mut(id);
        // When it registers again, it will be told again what to delete.
        server.outbox = Outbox::default();
        server.doomed = Doomed::default();
        server.died = Some(now);
        self.roster = self.call_roll();
        Some(id)
    }

    /// Forgets a server that is not live.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.free.extend(self.by_host.remove(host));
    }

    /// Extends the deadline of every live server.
    pub(crate) fn postpone_deaths(&mut self, by: Duration) {
        self.lives.postpone(by);
    }

    /// When the next server counts as dead.
    pub(crate) fn next_death(&self) -> Option<Monotonic> {
        self.lives.next()
    }

    /// The number of the last event received, and the commands to send: none unless `may_act`.
    pub(crate) fn deliver(
        &self,
        id: ServerId,
        may_act: bool,
    ) -> (u64, Vec<Numbered<ServerCommand>>) {
        let server = self.server(id);
        let limit = if may_act { COMMANDS_PER_REPLY_MAX } else { 0 };
        let commands = server.outbox.pending(limit).cloned().collect();
        (server.inbox.received(), commands)
    }

    /// Queues a command for a live server; it is repeated until the server has carried it out.
    /// Returns its number, or 0 if the server is dead: then it will be told again what to delete.
    pub(crate) fn command(&mut self, id: ServerId, command: ServerCommand) -> u64 {
        if self.is_live(id) { self.server_mut(id).outbox.push(command) } else { 0 }
    }

    /// The server of that name in its current registration.
    pub(crate) fn by_host(&self, host: &HostName) -> Option<Holder> {
        let id = *self.by_host.get(host)?;
        Some(Holder { server: id, session: self.server(id).session })
    }

    pub(crate) fn session(&self, id: ServerId) -> Session {
        self.server(id).session
    }

    pub(crate) fn host(&self, id: ServerId) -> &HostName {
        &self.server(id).told.host
    }

    /// Whether what was reported in `session` is known to hold now.
    pub(crate) fn is_current(&self, id: ServerId, session: Session) -> bool {
        self.is_live(id) && self.server(id).session == session
    }

    /// Whether `session` holds the latest report of a server that was not forgotten, dead or not.
    pub(crate) fn is_latest(&self, id: ServerId, session: Session) -> bool {
        let server = self.server(id);
        let is_known = self.by_host.get(&server.told.host) == Some(&id);
        let before = !server.report_complete && server.previous == Some(session);
        is_known && (server.session == session || before)
    }

    /// Whether readers may be told what was reported in `session`: it is the current registration,
    /// or the previous one while the report of the current one is incomplete.
    pub(crate) fn is_believed(&self, id: ServerId, session: Session) -> bool {
        let server = self.server(id);
        let before = !server.report_complete && server.previous == Some(session);
        self.is_live(id) && (server.session == session || before)
    }

    pub(crate) fn address(&self, id: ServerId) -> ServerAddress {
        ServerAddress::clone(self.shared_address(id))
    }

    pub(crate) fn shared_address(&self, id: ServerId) -> &Arc<ServerAddress> {
        &self.server(id).address
    }

    /// Live servers that are not to be emptied.
    pub(crate) fn n_serving(&self) -> usize {
        self.roster.serving
    }

    /// Racks with a live server that is not to be emptied.
    pub(crate) fn n_racks(&self) -> usize {
        self.roster.racks
    }

    /// Starts or stops emptying a server.
    pub(crate) fn set_draining(&mut self, host: &HostName, on: bool) {
        if let Some(&id) = self.by_host.get(host) {
            self.server_mut(id).draining = on;
            self.roster = self.call_roll();
        }
    }

    pub(crate) fn is_draining(&self, id: ServerId) -> bool {
        self.server(id).draining
    }

    /// Whether any live server is to be emptied.
    pub(crate) fn any_draining(&self) -> bool {
        self.roster.draining > 0
    }

    /// The live servers that are to be emptied.
    pub(crate) fn draining(&self) -> impl Iterator<Item = ServerId> {
        self.live().filter(|(_, server)| server.draining).map(|(id, _)| id)
    }

    pub(crate) fn rack(&self, id: ServerId) -> &RackName {
        &self.server(id).told.rack
    }

    /// Counts the live servers; called whenever they change.
    fn call_roll(&self) -> Roster {
        let racks: BTreeSet<_> = self.serving().map(|(_, server)| &server.told.rack).collect();
        let draining = self.draining().count();
        Roster { serving: self.serving().count(), draining, racks: racks.len() }
    }

    fn serving(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        self.live().filter(|(_, server)| !server.draining)
    }

    pub(crate) fn live_hosts(&self) -> Vec<HostName> {
        self.live().map(|(_, server)| server.told.host.clone()).collect()
    }

    /// What is known of a server that has registered in this term.
    pub(crate) fn facts(&self, host: &HostName) -> Option<Facts<'_>> {
        let by = self.by_host(host)?;
        let server = self.server(by.server);
        Some(Facts {
            by,
            told: &server.told,
            is_live: self.is_live(by.server),
            died: server.died,
            report_complete: server.report_complete,
            capacity_bytes: server.capacity_bytes,
            free_bytes: server.free_bytes,
            commands_pending: server.outbox.len() as u64,
        })
    }

    /// Whether the server has completed the report of what it held when it registered.
    pub(crate) fn is_report_complete(&self, id: ServerId) -> bool {
        self.server(id).report_complete
    }

    /// How many events the server has sent since it registered.
    pub(crate) fn n_told(&self, id: ServerId) -> u64 {
        self.server(id).inbox.received()
    }

    /// Since when a server has been dead; `None` if it lives.
    pub(crate) fn died(&self, id: ServerId) -> Option<Monotonic> {
        self.server(id).died
    }

    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, server) in self.live() {
            census.live += 1;
            census.capacity_bytes += server.capacity_bytes;
            census.free_bytes += server.free_bytes;
            census.commands_pending += server.outbox.len() as u64;
        }
        census
    }

    /// Whether the server was heard from within the last `since`.
    pub(crate) fn is_fresh(&self, id: ServerId, since: Duration, now: Monotonic) -> bool {
        let heard = self.lives.get(id).map(|dead_at| dead_at.since(now) + since);
        heard.is_some_and(|left| left >= self.dead_after)
    }

    pub(crate) fn is_live_host(&self, host: &HostName) -> bool {
        self.by_host.get(host).is_some_and(|&id| self.is_live(id))
    }

    fn is_live(&self, id: ServerId) -> bool {
        self.lives.contains(id)
    }

    fn live(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        (0..).map(ServerId).zip(&self.all).filter(|(id, _)| self.is_live(*id))
    }

    fn server(&self, ServerId(at): ServerId) -> &Server {
        &self.all[at as usize]
    }

    fn server_mut(&mut self, ServerId(at): ServerId) -> &mut Server {
        &mut self.all[at as usize]
    }
}

impl Server {
    /// Takes a new heartbeat in; returns the replica events that are new.
    fn take(&mut self, mut heartbeat: ServerHeartbeat) -> Vec<ReplicaEvent> {
        self.heartbeat = heartbeat.number;
        self.capacity_bytes = heartbeat.capacity_bytes;
        self.free_bytes = heartbeat.free_bytes;
        self.told.disks = heartbeat.disks;
        self.told.disks.truncate(DISKS_MAX);
        self.promised_bytes = 0;
        self.outbox.acknowledge(heartbeat.commands_done);
        self.doomed.done(heartbeat.commands_done);
        let last = heartbeat.events.last().map_or(0, |event| event.number);
        let received = self.inbox.received();
        heartbeat.events.retain(|event| event.number > received);
        heartbeat.events.truncate(EVENTS_PER_STEP);
        let events = self.inbox.accept(heartbeat.events);
        self.report_complete |= heartbeat.report_complete && self.inbox.received() >= last;
        events
    }

    fn room(&self) -> u64 {
        self.free_bytes.saturating_sub(self.promised_bytes)
    }

    /// Whether there is room for a replica of this many bytes.
    fn takes(&self, bytes: u64) -> bool {
        self.room() >= bytes.saturating_add(BESIDE_BYTES)
    }

    fn book(&mut self, chunk_bytes: u64, most_free: u64) {
        self.promised_bytes = self.promised_bytes.saturating_add(chunk_bytes);
        let scaled = u128::from(LOAD_PER_REPLICA) * u128::from(most_free);
        let step = u64::try_from(scaled / u128::from(self.free_bytes.max(1))).unwrap_or(u64::MAX);
        let most = LOAD_PER_REPLICA * FULLNESS_WEIGHT_MAX;
        self.load = self.load.saturating_add(step.clamp(LOAD_PER_REPLICA, most));
    }
}
