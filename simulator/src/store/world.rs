//! The world: one master, a few servers and clients, and what happens to them in the order of time.
//! First there is a time with faults; then all of them are mended, and the world must come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_core::master::{Effect, Input, Reply, ReplyTo, Settings, Summary};
use ids::Monotonic;

use crate::Violation;
use crate::store::client::Client;
use crate::store::content::UNIT_BYTES;
use crate::store::disk::Disk;
use crate::store::faults::{self, Temper};
use crate::store::ground::{Event, Ground, Who};
use crate::store::invariants::Watch;
use crate::store::master::MasterShell;
use crate::store::sabotage::Sabotage;
use crate::store::server::Server;

pub(crate) const SERVERS: usize = 5;
pub(crate) const CLIENTS: usize = 4;
const RACKS: usize = 2;
/// The units of a chunk: the smallest size that the store takes.
const CHUNK_UNITS: u64 = 16;
/// The time that the world has to come to rest.
const REST_LIMIT: Duration = Duration::from_secs(180);
/// How often the world is checked for being at rest.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The number of events between two comparisons of all state.
const CHECK_EVERY: u64 = 200;

/// How the run of a world ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The invariant that was broken, if any.
    pub violation: Option<Violation>,
    /// The number of events that happened.
    pub n_events: u64,
    /// The number of things that clients finished.
    pub n_done: u64,
    /// The number of chunks that readers got.
    pub n_reads: u64,
    /// The number of logs that readers read to their end.
    pub n_logs_read: u64,
    /// How long it lasted, in its own time.
    pub time: Duration,
}

/// The simulated world.
pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) temper: Temper,
    pub(crate) watch: Watch,
    pub(crate) master: MasterShell,
    pub(crate) servers: Vec<Server>,
    pub(crate) clients: Vec<Client>,
    /// Processes that are paused, and until when.
    pub(crate) paused: BTreeMap<Who, Monotonic>,
    mended: Option<Monotonic>,
    look_at: Monotonic,
    n_events: u64,
}

fn settings() -> Settings {
    Settings {
        replication: 2,
        chunk_bytes: CHUNK_UNITS * UNIT_BYTES,
        heartbeat_interval: Duration::from_millis(500),
        dead_after: Duration::from_secs(3),
        lease: Duration::from_secs(8),
        lease_grace: Duration::from_secs(1),
        repair_streams: 2,
        balance_threshold_percent: 10,
        trash_interval: Duration::from_secs(6),
        trash_free_min_percent: 10,
    }
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, traced: bool) -> Self {
        let mut ground = Ground::new(seed, traced);
        let temper = faults::draw(&mut ground);
        let weather = ground.weather;
        ground.say(format_args!("seed {seed}, {temper:?}, {weather:?}"));
        let mut watch = Watch::default();
        let mut master = MasterShell::new(settings(), sabotage, &mut watch);
        master.sync_millis = *ground.random.pick(&[1, 5, 200]);
        let server = |n: usize| {
            let capacity = ground.random.within(600..2200) as u64 * UNIT_BYTES;
            Server::new(n, n % RACKS, Disk::new(capacity), sabotage)
        };
        let servers: Vec<Server> = (0..SERVERS).map(server).collect();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|n| Client::new(n, sabotage)).collect();
        let servers_start = (0..SERVERS).map(Who::Server);
        for who in std::iter::once(Who::Master).chain(servers_start) {
            let pause = ground.random.millis(0..100);
            ground.after(pause, Event::Started(who));
        }
        clients.iter_mut().for_each(|client| client.rest(&mut ground));
        faults::schedule(&temper, &mut ground);
        let (paused, look_at) = (BTreeMap::new(), Monotonic::default());
        let (mended, n_events) = (None, 0);
        Self { ground, temper, watch, master, servers, clients, paused, mended, look_at, n_events }
    }

    /// Runs the world.
    pub(crate) fn run(&mut self) -> Outcome {
        let storm = self.ground.random.millis(5_000..40_000);
        let mend_at = self.ground.now().monotonic + storm;
        while let Some(event) = self.ground.next() {
            let now = self.ground.now().monotonic;
            if self.mended.is_none() && now >= mend_at {
                self.mended = Some(now);
                self.mend();
            }
            self.happen(event);
            self.check();
            if self.watch.violation().is_some() || self.is_at_rest() {
                break;
            }
        }
        let n_done = self.clients.iter().map(|client| client.n_done).sum();
        let Monotonic(time) = self.ground.now().monotonic;
        let (n_events, n_reads) = (self.n_events, self.watch.n_reads);
        let n_logs_read = self.watch.logs.n_read;
        let violation = self.watch.violation().cloned();
        Outcome { violation, n_events, n_done, n_reads, n_logs_read, time }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.mended.is_some()
    }

    /// The process is paused, and continues later with everything that arrived in the meantime.
    pub(crate) fn pause(&mut self, who: Who, time: Duration) {
        self.ground.say(format_args!("{who:?} stands still for {time:?}"));
        let until = self.ground.now().monotonic + time;
        self.paused.insert(who, until);
    }

    fn happen(&mut self, event: Event) {
        self.n_events += 1;
        let now = self.ground.now().monotonic;
        let still = event.whose().and_then(|who| self.paused.get(&who)).filter(|at| **at > now);
        if let Some(until) = still.copied() {
            return self.ground.put_off(until, event);
        }
        let Self { ground, watch, master, servers, clients, .. } = self;
        match event {
            Event::Asked { to: Who::Master, from, call, ask } => {
                master.receive(ground, watch, (from, call), *ask);
            }
            Event::Asked { to: Who::Server(n), from, call, ask } => {
                servers[n].receive(ground, watch, (from, call), &ask);
            }
            Event::Answered { to: Who::Server(n), call, answer } => {
                servers[n].answered(ground, watch, call, Some(*answer));
            }
            Event::Answered { to: Who::Client(n), call, answer } => {
                clients[n].answered(ground, watch, call, Some(*answer));
            }
            Event::CallFailed { to: Who::Server(n), call } => {
                servers[n].answered(ground, watch, call, None);
            }
            Event::CallFailed { to: Who::Client(n), call } => {
                clients[n].answered(ground, watch, call, None);
            }
            Event::Streamed { to: Who::Server(n), stream, item } => {
                servers[n].streamed(ground, watch, stream, item);
            }
            Event::Streamed { to: Who::Client(n), stream, item } => {
                clients[n].streamed(ground, watch, stream, item);
            }
            Event::Woken { who, life, timer } => match who {
                Who::Master if life == master.life => master.wake(ground, watch, timer),
                Who::Server(n) if life == servers[n].life => {
                    servers[n].wake(ground, watch, timer);
                }
                Who::Client(n) if life == clients[n].life => {
                    clients[n].wake(ground, watch, timer);
                }
                Who::Master | Who::Server(_) | Who::Client(_) => {}
            },
            Event::Started(Who::Master) => master.start(ground, watch),
            Event::Started(Who::Server(n)) => servers[n].start(ground, watch),
            Event::Begun(fault) => self.begin(fault),
            Event::Asked { to: Who::Client(_), .. }
            | Event::Answered { to: Who::Master, .. }
            | Event::CallFailed { to: Who::Master, .. }
            | Event::Streamed { to: Who::Master, .. }
            | Event::Started(Who::Client(_)) => {}
        }
    }

    fn check(&mut self) {
        let disks: Vec<&Disk> = self.servers.iter().map(|server| &server.disk).collect();
        self.watch.check_removed(&disks);
        if self.n_events.is_multiple_of(CHECK_EVERY) {
            self.watch.check_copies(&disks);
            self.watch.check_events(self.ground.n_waiting());
            if let Some(master) = &self.master.core {
                self.watch.check_fold(master);
            }
            if let Some(summary) = self.summary() {
                self.watch.check_pending("commands", summary.commands_pending);
            }
        }
    }

    /// The master's summary; `None` while it is down.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let mut master = self.master.core.clone()?;
        let out = master.handle(self.ground.now(), Input::Summarise(ReplyTo(0)));
        match reply_of(out.effects) {
            Some(Reply::Summary(summary)) => Some(summary),
            _ => None,
        }
    }

    /// After the faults: whether everything has ended well. If it has not in good time, that is a
    /// violation.
    fn is_at_rest(&mut self) -> bool {
        let now = self.ground.now().monotonic;
        let Some(mended) = self.mended.filter(|_| now >= self.look_at) else { return false };
        self.look_at = now + LOOK_INTERVAL;
        let Some(unrest) = self.unrest() else {
            self.check_whole();
            return true;
        };
        if now.since(mended) > REST_LIMIT {
            self.watch.broken("liveness", format!("after {REST_LIMIT:?} without faults {unrest}"));
        }
        false
    }
}

/// The successful answer among a master's effects.
pub(crate) fn reply_of(effects: Vec<Effect>) -> Option<Reply> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, answer) => answer.ok(),
        Effect::Tell(_) => None,
    })
}
