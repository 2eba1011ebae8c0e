//! What fails, when and how badly: the seed decides all of this. Each world has its own temper, in
//! which some faults are frequent and others do not occur. So bugs that need one fault alone are
//! found, and also those that need two at once.
//!
//! Nothing here may destroy the last good copy of a chunk, nor a copy of which the store cannot
//! know yet that it is the last one: such a loss would not be a bug of the store.

use std::time::Duration;

use chunkstore_core::master::{Input, Reply, ReplyTo};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::Version;
use ids::Room;

use crate::store::client::locate;
use crate::store::content::{BLOCK_UNITS, spoilt, units};
use crate::store::disk::{File, Health};
use crate::store::ground::{Event, Ground, Who};
use crate::store::server::number;
use crate::store::world::{CLIENTS, SERVERS, World, reply_of};
use crate::weather::{self, Weather};

/// A fault, or its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A random fault happens, and the next one is scheduled.
    Strike,
    /// These two hear each other again.
    Join(Who, Who),
    /// A server's disk works again.
    DiskGood(usize),
    /// The master's disk has space again.
    JournalHasRoom,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    CrashMaster,
    CrashServer,
    Pause,
    Part,
    DiskFull,
    DiskFailing,
    DiskSlow,
    JournalFull,
    Rot,
    RotAll,
    RotLog,
    Replace,
    Stale,
    KillClient,
    CrashAll,
}

const KINDS: [Kind; 15] = [
    Kind::CrashMaster,
    Kind::CrashServer,
    Kind::Pause,
    Kind::Part,
    Kind::DiskFull,
    Kind::DiskFailing,
    Kind::DiskSlow,
    Kind::JournalFull,
    Kind::Rot,
    Kind::RotAll,
    Kind::RotLog,
    Kind::Replace,
    Kind::Stale,
    Kind::KillClient,
    Kind::CrashAll,
];

/// How frequent each kind of fault is in a world.
pub(crate) type Temper = weather::Temper<{ KINDS.len() }>;

/// Chooses a random temper, and the network's weather.
pub(crate) fn draw(ground: &mut Ground) -> Temper {
    ground.weather = Weather::draw(&mut ground.random, 15);
    Temper::draw(&mut ground.random, 600)
}

/// Schedules the next fault.
pub(crate) fn schedule(temper: &Temper, ground: &mut Ground) {
    let pause = temper.pause(&mut ground.random);
    ground.after(pause, Event::Begun(Fault::Strike));
}

impl World {
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Strike if self.is_calm() => {}
            Fault::Strike => {
                if let Some(kind) = self.temper.pick(&mut self.ground.random, &KINDS) {
                    self.strike(kind);
                }
                schedule(&self.temper, &mut self.ground);
            }
            Fault::Join(a, b) => self.ground.join(a, b),
            Fault::DiskGood(n) => {
                self.servers[n].disk.health = Health::Good;
                self.servers[n].sync_millis = 5;
            }
            Fault::JournalHasRoom => self.master.set_room(&mut self.ground, Room::Ample),
        }
    }

    fn strike(&mut self, kind: Kind) {
        self.ground.say(format_args!("fault: {kind:?}"));
        let n = self.ground.random.below(SERVERS);
        match kind {
            Kind::CrashMaster => self.crash(Who::Master),
            Kind::CrashServer => self.crash(Who::Server(n)),
            Kind::CrashAll => {
                self.crash(Who::Master);
                (0..SERVERS).for_each(|n| self.crash(Who::Server(n)));
            }
            Kind::Pause => {
                let who = self.anyone();
                let time = self.ground.random.millis(50..9000);
                self.pause(who, time);
            }
            Kind::Part => {
                let (a, b) = (self.anyone(), self.anyone());
                self.ground.part(a, b);
                self.later(100..8000, Fault::Join(a, b));
            }
            Kind::DiskFull => self.hurt(n, Health::Full),
            Kind::DiskFailing => self.hurt(n, Health::Failing),
            Kind::DiskSlow => {
                self.servers[n].sync_millis = 3000;
                self.later(500..8000, Fault::DiskGood(n));
            }
            Kind::JournalFull => {
                let room = *self.ground.random.pick(&[Room::Reserve, Room::None]);
                self.master.set_room(&mut self.ground, room);
                self.later(200..5000, Fault::JournalHasRoom);
            }
            Kind::Rot => self.rot(n),
            Kind::RotAll => self.rot_all(n),
            Kind::RotLog => self.rot_log(n),
            Kind::Replace => self.replace(n),
            Kind::Stale => self.put_stale(n),
            Kind::KillClient => {
                let client = self.ground.random.below(CLIENTS);
                self.clients[client].die(&mut self.ground);
            }
        }
    }

    fn later(&mut self, millis: std::ops::Range<u64>, fault: Fault) {
        let pause = self.ground.random.millis(millis);
        self.ground.after(pause, Event::Begun(fault));
    }

    fn anyone(&mut self) -> Who {
        match self.ground.random.below(SERVERS + CLIENTS + 2) {
            n if n < SERVERS => Who::Server(n),
            n if n < SERVERS + CLIENTS => Who::Client(n - SERVERS),
            _ => Who::Master,
        }
    }

    fn crash(&mut self, who: Who) {
        match who {
            Who::Master => self.master.crash(&mut self.ground, &mut self.watch),
            Who::Server(n) => self.servers[n].crash(&mut self.ground),
            Who::Client(n) => return self.clients[n].die(&mut self.ground),
        }
        let pause = self.ground.random.millis(10..6000);
        self.ground.after(pause, Event::Started(who));
    }

    fn hurt(&mut self, n: usize, health: Health) {
        self.ground.say(format_args!("host-{n}'s disk is {health:?}"));
        self.servers[n].disk.health = health;
        self.later(500..8000, Fault::DiskGood(n));
    }

    /// One replica's bytes change on the disk.
    fn rot(&mut self, n: usize) {
        let Some(replica) = self.victim(n) else { return };
        let Some(truth) = self.watch.truth.get(&replica.chunk) else { return };
        let content = spoilt(truth, self.ground.random.below(truth.len()));
        self.ground.say(format_args!("host-{n}: {} rots", replica.chunk));
        self.servers[n].disk.rot(replica, content);
        // Sometimes, at this moment, a client wants only one copy of it.
        let path = self.watch.model.closed_with(replica.chunk).and_then(|path| path.parse().ok());
        if let Some(path) = path.filter(|_| self.ground.random.chance(300)) {
            let client = self.ground.random.below(CLIENTS);
            self.clients[client].wants_one_copy(path);
        }
    }

    /// Spoils the bytes of all replicas of a chunk, but not all in the same block.
    fn rot_all(&mut self, n: usize) {
        let all: Vec<ReplicaKey> = self.servers[n].disk.files().map(|(key, _)| key).collect();
        let Some(replica) = all.get(self.ground.random.below(all.len().max(1))).copied() else {
            return;
        };
        let Some(truth) = self.watch.truth.get(&replica.chunk).cloned() else { return };
        let n_blocks = truth.len().div_ceil(BLOCK_UNITS);
        let good = |at: &usize| self.servers[*at].disk.holds(replica, &truth);
        let holders: Vec<usize> = (0..SERVERS).filter(good).collect();
        // None of them may be one that the master is removing, or will remove as soon as it looks.
        let mut believed = self.believed(replica).unwrap_or_default();
        believed.sort_unstable();
        let wanted = self.watch.model.wanted(replica.chunk).map(usize::from);
        if n_blocks < 2 || holders.len() < 2 || believed != holders || wanted != Some(holders.len())
        {
            return;
        }
        let first = self.ground.random.below(n_blocks);
        for (nth, at) in holders.into_iter().enumerate() {
            let block = (first + nth) % n_blocks;
            let unit =
                (block * BLOCK_UNITS + self.ground.random.below(BLOCK_UNITS)).min(truth.len() - 1);
            self.ground.say(format_args!("host-{at}: {} rots in block {block}", replica.chunk));
            self.servers[at].disk.rot(replica, spoilt(&truth, unit));
        }
    }

    /// Spoils one unit of a log's replica that is not sealed, or empties it; most often the last
    /// unit.
    fn rot_log(&mut self, n: usize) {
        let all: Vec<ReplicaKey> = self.servers[n].disk.logs().map(|(key, _)| key).collect();
        let Some(replica) = all.get(self.ground.random.below(all.len().max(1))).copied() else {
            return;
        };
        let content = self.servers[n].disk.log(replica).map_or(&[][..], Vec::as_slice);
        let n_units = content.len();
        // A unit that rots twice would be sound again.
        let is_sound = self.watch.logs.records.sound(content).1 == n_units;
        if n_units == 0 || !is_sound || !self.may_lose_log(n, replica) {
            return;
        }
        // While the process lives, nobody reads the file before it is sealed.
        if !self.servers[n].is_up() && self.ground.random.chance(300) {
            self.ground.say(format_args!("host-{n}: the log's {} is emptied", replica.chunk));
            return self.servers[n].disk.empty_log(replica);
        }
        let back = *self.ground.random.pick(&[1, 1, n_units]);
        self.ground.say(format_args!("host-{n}: the log's {} rots", replica.chunk));
        self.servers[n].disk.rot_log(replica, n_units - back);
    }

    /// A server returns with an empty disk.
    fn replace(&mut self, n: usize) {
        let all: Vec<ReplicaKey> = self.servers[n].disk.files().map(|(key, _)| key).collect();
        let logs: Vec<ReplicaKey> = self.servers[n].disk.logs().map(|(key, _)| key).collect();
        let may_lose_logs = logs.iter().all(|replica| self.may_lose_log(n, *replica));
        let has_good = |replica| (0..SERVERS).any(|at| self.is_good_on(at, replica));
        let may_lose_blocks = self.servers[n]
            .disk
            .broken()
            .all(|replica| !self.watch.is_wanted(replica.chunk) || has_good(replica));
        if may_lose_logs && may_lose_blocks && all.iter().all(|replica| self.may_lose(n, *replica))
        {
            self.crash(Who::Server(n));
            self.ground.say(format_args!("host-{n} gets an empty disk"));
            self.servers[n].disk.replace();
        }
    }

    /// A server returns with less of a chunk than was sealed, or with an older version of it: sound
    /// in itself, but not what any file has.
    fn put_stale(&mut self, n: usize) {
        let Some(replica) = self.victim(n) else { return };
        let Some(truth) = self.watch.truth.get(&replica.chunk).cloned() else { return };
        self.crash(Who::Server(n));
        let disk = &mut self.servers[n].disk;
        match self.ground.random.chance(500) && truth.len() > 1 {
            true => disk.put_instead(replica, File::new(truth[..truth.len() / 2].to_vec())),
            false => {
                disk.lose(replica);
                let older = ReplicaKey { version: Version(0), ..replica };
                disk.put_instead(older, File::new(spoilt(&truth, 0)));
            }
        }
        self.ground.say(format_args!("host-{n} has a stale {}", replica.chunk));
    }

    fn victim(&mut self, n: usize) -> Option<ReplicaKey> {
        let disk = &self.servers[n].disk;
        let all: Vec<ReplicaKey> = disk.files().map(|(replica, _)| replica).collect();
        let replica = *all.get(self.ground.random.below(all.len().max(1)))?;
        self.may_lose(n, replica).then_some(replica)
    }

    /// Whether the store survives the loss of a server's replica: others have it, and the master
    /// neither counts on one that is missing nor has ordered the removal of one. It might keep the
    /// lost replica and remove another as surplus before it knows of the loss, so at least two must
    /// be wanted.
    fn may_lose(&self, n: usize, replica: ReplicaKey) -> bool {
        if self.watch.model.wanted(replica.chunk).is_none_or(|wanted| wanted < 2) {
            return false;
        }
        let Some(truth) = self.watch.truth.get(&replica.chunk) else { return false };
        let good = |at: usize| self.servers[at].disk.holds(replica, truth);
        let others = (0..SERVERS).any(|at| at != n && good(at));
        let Some(believed) = self.believed(replica) else { return false };
        others && believed.into_iter().all(good)
    }

    fn is_good_on(&self, at: usize, replica: ReplicaKey) -> bool {
        let truth = self.watch.truth.get(&replica.chunk);
        truth.is_some_and(|truth| self.servers[at].disk.holds(replica, truth))
    }

    /// Whether the store survives the loss of a replica of a log's open chunk: another server has
    /// everything that was acknowledged, and everything of it that is being sealed.
    fn may_lose_log(&self, n: usize, replica: ReplicaKey) -> bool {
        let acknowledged = units(self.watch.logs.acknowledged_bytes(replica));
        let needed = acknowledged.max(self.servers[n].disk.n_sealing(replica));
        let records = &self.watch.logs.records;
        let has = |at: &usize| {
            let disk = &self.servers[*at].disk;
            let sealed = disk.read(replica).filter(|file| file.is_whole());
            let content = disk.log(replica).or(sealed.map(|file| &file.content));
            content.is_some_and(|content| {
                let sound = records.sound(content).1;
                sound == content.len() && sound >= needed
            })
        };
        (0..SERVERS).filter(|at| *at != n).any(|at| has(&at))
    }

    /// The servers that the master believes to have a replica; `None` if it cannot be asked, or if
    /// removals are under way.
    fn believed(&self, replica: ReplicaKey) -> Option<Vec<usize>> {
        let mut master = self.master.core.clone()?;
        if self.summary()?.commands_pending > 0 {
            return None;
        }
        let path = self.watch.model.closed_with(replica.chunk)?.parse().ok()?;
        let input = Input::Query(ReplyTo(0), locate(&path));
        let out = master.handle(self.ground.now(), input);
        let Some(Reply::Located(located)) = reply_of(out.effects) else { return None };
        let location = located.chunks.into_iter().find(|it| it.chunk == replica.chunk)?;
        Some(location.servers.iter().map(|server| number(&server.host)).collect())
    }

    /// From now on everything works, and all processes run.
    pub(crate) fn mend(&mut self) {
        self.ground.say(format_args!("all is mended"));
        self.ground.weather = Weather::default();
        self.ground.join_all();
        self.paused.clear();
        self.master.set_room(&mut self.ground, Room::Ample);
        self.ground.after(Duration::ZERO, Event::Started(Who::Master));
        for n in 0..SERVERS {
            self.begin(Fault::DiskGood(n));
            self.ground.after(Duration::ZERO, Event::Started(Who::Server(n)));
        }
        for client in &mut self.clients {
            client.is_tired = true;
        }
    }
}
