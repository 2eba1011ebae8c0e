//! The chunkservers as the master knows them: registrations, heartbeats, deaths, commands to deliver.
//! All soft: after a restart every server registers again. Which replicas they hold is `replicas.rs`',
//! which of them gets a chunk is `placement.rs`' to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunkstore_protocol::{
    ChunkId, DISKS_MAX, PROTOCOL_VERSION, RegisterServer, ReplicaEvent, ServerAddress,
    ServerCommand, ServerHeartbeat,
};
use ids::{ClusterId, Epoch, HeartbeatNumber, HostName, Inbox, Monotonic, Numbered, Outbox};

use super::deadlines::Deadlines;
use super::error::{ServerError, Unfit, UnfitReason};
use super::placement::{Candidate, Wish, choose};

/// Servers known at once, dead ones included.
pub(crate) const SERVERS_MAX: usize = 10_000;
/// Length limit of a server's address.
const ADDRESS_BYTES_MAX: usize = 300;
/// Commands in one heartbeat's reply.
const COMMANDS_PER_REPLY_MAX: usize = 1000;
/// Replica events taken from one heartbeat; the server repeats the others. Keeps the loop free.
const EVENTS_PER_STEP: usize = 4096;
/// What one replica adds to the load of the server with the most free space; one with less is given
/// up to [`FULLNESS_WEIGHT_MAX`] times as much, and so gets fewer.
const LOAD_PER_REPLICA: u64 = 1000;
const FULLNESS_WEIGHT_MAX: u64 = 4;

/// A server's position in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerId(u32);

/// A registration: each has another number within a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session(u32);

impl Session {
    /// As servers are told.
    pub(crate) fn told(self) -> u64 {
        u64::from(self.0)
    }
}

/// A server in one of its registrations: who said that it holds a replica.
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
    /// Places of forgotten servers: nothing that was told in their sessions is believed again.
    free: Vec<ServerId>,
    /// The live ones: when each counts as dead.
    lives: Deadlines<ServerId>,
    last_session: Session,
}

#[derive(Clone, Debug)]
struct Server {
    told: RegisterServer,
    session: Session,
    /// The registration before, whose report counts until the new one is complete.
    previous: Option<Session>,
    report_complete: bool,
    heartbeat: HeartbeatNumber,
    capacity_bytes: u64,
    free_bytes: u64,
    /// When it counted as dead last.
    died: Option<Monotonic>,
    /// Given away since `free_bytes` was told.
    promised_bytes: u64,
    load: u64,
    inbox: Inbox,
    outbox: Outbox<ServerCommand>,
}

/// What a heartbeat brought.
pub(crate) struct Heard {
    pub(crate) server: ServerId,
    pub(crate) events: Vec<ReplicaEvent>,
    /// With these, the server has told all that it held when it registered.
    pub(crate) completed: bool,
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
        Self { dead_after, all, by_host, free, lives, last_session }
    }

    /// A server joins, or joins again with all that it holds still to be told. Returns its session.
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
        // A newcomer starts level with the others, or it would get every new chunk until it has caught up.
        let least = self.live().map(|(_, server)| server.load).min().unwrap_or(0);
        self.last_session.0 += 1;
        let before = known.map(|id| self.server(id));
        let server = Server {
            session: self.last_session,
            previous: before.map(|server| server.session),
            report_complete: false,
            heartbeat: HeartbeatNumber(0),
            capacity_bytes: request.capacity_bytes,
            free_bytes: request.free_bytes,
            died: None,
            promised_bytes: 0,
            load: before.map_or(least, |server| server.load.max(least)),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            told: request,
        };
        self.by_host.insert(server.told.host.clone(), id);
        match self.all.get_mut(id.0 as usize) {
            Some(place) => *place = server,
            None => self.all.push(server),
        }
        self.lives.set(id, now + self.dead_after);
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

    /// Two processes cannot listen on one address: there, a new incarnation is a restart.
    fn is_taken(&self, id: ServerId, request: &RegisterServer) -> bool {
        let told = &self.server(id).told;
        self.is_live(id)
            && told.incarnation != request.incarnation
            && told.address != request.address
    }

    /// Takes a heartbeat of the present registration. A repeated or older one brings nothing, and is
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
        let mut events = Vec::new();
        let before = self.server(id).report_complete;
        if heartbeat.number > self.server(id).heartbeat {
            self.lives.set(id, now + self.dead_after);
            events = self.server_mut(id).take(heartbeat);
        }
        let completed = !before && self.server(id).report_complete;
        Ok(Heard { server: id, events, completed })
    }

    /// The first server that has been silent for too long; it no longer counts as live.
    pub(crate) fn pop_dead(&mut self, now: Monotonic) -> Option<ServerId> {
        let id = self.lives.pop_passed(now)?;
        let server = self.server_mut(id);
        // It will register again and be told anew what to delete.
        server.outbox = Outbox::default();
        server.died = Some(now);
        Some(id)
    }

    /// Forgets a server that is not live.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.free.extend(self.by_host.remove(host));
    }

    /// Gives every live server so much longer.
    pub(crate) fn postpone_deaths(&mut self, by: Duration) {
        self.lives.postpone(by);
    }

    /// When the next server counts as dead.
    pub(crate) fn next_death(&self) -> Option<Monotonic> {
        self.lives.next()
    }

    /// Up to which number its events arrived, and what it must be told; no command leaves unless `may_act`.
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

    /// Queues a command for a live server; repeated until the server has carried it out. Returns its
    /// number, which is 0 if the server is dead: it will be told anew what to delete.
    pub(crate) fn command(&mut self, id: ServerId, command: ServerCommand) -> u64 {
        if self.is_live(id) { self.server_mut(id).outbox.push(command) } else { 0 }
    }

    /// The server and its present session, by name.
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

    /// Whether what was told in `session` is known to hold now.
    pub(crate) fn is_current(&self, id: ServerId, session: Session) -> bool {
        self.is_live(id) && self.server(id).session == session
    }

    /// Whether what was told in `session` may be told to readers: it is current, or of the registration
    /// before while the new one's report is on its way.
    pub(crate) fn is_believed(&self, id: ServerId, session: Session) -> bool {
        let server = self.server(id);
        let before = !server.report_complete && server.previous == Some(session);
        self.is_live(id) && (server.session == session || before)
    }

    pub(crate) fn address(&self, id: ServerId) -> ServerAddress {
        let RegisterServer { host, rack, address, .. } = &self.server(id).told;
        ServerAddress { host: host.clone(), rack: rack.clone(), address: address.clone() }
    }

    /// Chooses the servers of a new chunk and books it on them.
    ///
    /// # Errors
    /// With every server's reason when fewer than `wish.needed` can take it.
    pub(crate) fn place(
        &mut self,
        now: Monotonic,
        wish: Wish<'_>,
        chunk_bytes: u64,
        exclude: &[HostName],
    ) -> Result<Vec<ServerAddress>, Vec<Unfit>> {
        let fit: Vec<ServerId> =
            self.live().filter(|(_, s)| s.room() >= chunk_bytes).map(|(id, _)| id).collect();
        let candidates: Vec<Candidate<'_>> = fit
            .iter()
            .map(|&id| {
                let Server { told: RegisterServer { host, rack, .. }, load, .. } = self.server(id);
                Candidate { host, rack, load: *load, excluded: exclude.contains(host) }
            })
            .collect();
        let chosen = choose(&candidates, wish);
        if chosen.len() < usize::from(wish.needed) {
            return Err(self.unfit(now, &fit));
        }
        let most_free = fit.iter().map(|&id| self.server(id).free_bytes).max().unwrap_or(0);
        let pipeline: Vec<ServerId> = chosen.into_iter().map(|at| fit[at]).collect();
        for &id in &pipeline {
            self.server_mut(id).book(chunk_bytes, most_free);
        }
        Ok(pipeline.into_iter().map(|id| self.address(id)).collect())
    }

    /// The server for one more replica of a chunk that `holders` hold: on a rack of its own if they share
    /// one, then the least loaded.
    pub(crate) fn copy_target(
        &self,
        holders: &[ServerId],
        length: u64,
        is_free: impl Fn(ServerId) -> bool,
    ) -> Option<Holder> {
        let racks: BTreeSet<_> = holders.iter().map(|&id| &self.server(id).told.rack).collect();
        let suits = |id: ServerId, server: &Server| {
            !holders.contains(&id) && server.room() >= length && is_free(id)
        };
        let fit = self.live().filter(|(id, server)| suits(*id, server));
        let score = |server: &Server| {
            let crowded = racks.len() == 1 && racks.contains(&server.told.rack);
            (crowded, server.load)
        };
        let (id, server) = fit.min_by_key(|(id, server)| (score(server), *id))?;
        Some(Holder { server: id, session: server.session })
    }

    /// A copy of that length goes to the server.
    pub(crate) fn book_copy(&mut self, id: ServerId, length: u64) {
        let most_free = self.live().map(|(_, server)| server.free_bytes).max().unwrap_or(0);
        self.server_mut(id).book(length, most_free);
    }

    /// Which of the holders of a chunk can best do without it: one whose rack has another, on the
    /// fullest disk. Where all is equal, the chunks take turns.
    pub(crate) fn least_needed(&self, chunk: ChunkId, holders: &[Holder]) -> Option<ServerId> {
        let rack = |by: &Holder| &self.server(by.server).told.rack;
        let beside = |by: &Holder| holders.iter().filter(|other| rack(other) == rack(by)).count();
        let turn = |at: usize| (at as u64 + chunk.0) % holders.len().max(1) as u64;
        let score = |(at, by): &(usize, &Holder)| {
            (beside(by) < 2, self.server(by.server).free_bytes, turn(*at))
        };
        holders.iter().enumerate().min_by_key(score).map(|(_, by)| by.server)
    }

    fn unfit(&self, now: Monotonic, fit: &[ServerId]) -> Vec<Unfit> {
        let dead_for = |id| self.server(id).died.map_or(0, |died| now.since(died).as_secs());
        let reason = |id: ServerId| match self.is_live(id) {
            true => UnfitReason::NoRoom { free_bytes: self.server(id).room() },
            false => UnfitReason::Dead { seconds: dead_for(id) },
        };
        let others = self.by_host.iter().filter(|(_, id)| !fit.contains(id));
        others.map(|(host, &id)| Unfit { host: host.clone(), why: reason(id) }).collect()
    }

    pub(crate) fn n_live(&self) -> usize {
        self.live().count()
    }

    pub(crate) fn live_hosts(&self) -> Vec<HostName> {
        self.live().map(|(_, server)| server.told.host.clone()).collect()
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

    /// Whether the server spoke within the last `since`.
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

    fn book(&mut self, chunk_bytes: u64, most_free: u64) {
        self.promised_bytes = self.promised_bytes.saturating_add(chunk_bytes);
        let scaled = u128::from(LOAD_PER_REPLICA) * u128::from(most_free);
        let step = u64::try_from(scaled / u128::from(self.free_bytes.max(1))).unwrap_or(u64::MAX);
        let most = LOAD_PER_REPLICA * FULLNESS_WEIGHT_MAX;
        self.load = self.load.saturating_add(step.clamp(LOAD_PER_REPLICA, most));
    }
}
