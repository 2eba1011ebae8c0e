//! Repair, with servers that obey, die and come back.

use std::collections::{BTreeMap, BTreeSet};

use ids::{Inbox, Outbox};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Length of every chunk: one of them fills a stream.
pub(super) const LENGTH: u64 = 64 << 20;

/// A server. The chunks on its disk stay there while it is away.
#[derive(Default)]
pub(super) struct Disk {
    /// Those of its chunks that would be found broken.
    pub(super) rotten: BTreeSet<ChunkId>,
    pub(super) chunks: BTreeMap<ChunkId, u64>,
    /// Its rack, if it is not the default one, and the free space that it reports, if not all.
    pub(super) rack: Option<&'static str>,
    pub(super) free: Option<u64>,
    /// Its capacity, if its chunks are to count against it.
    pub(super) capacity: Option<u64>,
    pub(super) session: Option<Session>,
}

impl Disk {
    fn free(&self) -> Option<u64> {
        let used = self.chunks.values().sum();
        self.capacity.map(|capacity| capacity.saturating_sub(used)).or(self.free)
    }
}

pub(super) struct Session {
    registered: ServerRegistered,
    number: u64,
    events: Outbox<ReplicaEvent>,
    commands: Inbox,
}

/// A copy under way.
pub(super) struct Sent {
    source: usize,
    command: u64,
    chunk: ChunkId,
    target: usize,
}

/// A master and its servers, numbered from 1.
pub(super) struct Farm {
    pub(super) world: World,
    pub(super) disks: Vec<Disk>,
    copies: Vec<Sent>,
    /// The most copies that one server has sent or received at once, and the most replicas that it
    /// had to read.
    pub(super) most_streams: usize,
    most_to_read: usize,
    /// The chunks of copies, in the order in which the copies ended.
    pub(super) copied: Vec<ChunkId>,
}

impl Farm {
    pub(super) fn new(n: usize) -> Self {
        Self::of((0..n).map(|_| Disk::default()).collect())
    }

    pub(super) fn of(disks: Vec<Disk>) -> Self {
        let n = disks.len();
        let (copies, copied) = (Vec::new(), Vec::new());
        let (world, most_streams, most_to_read) = (World::empty(), 0, 0);
        let mut farm = Self { world, disks, copies, most_streams, most_to_read, copied };
        (1..=n).for_each(|n| farm.come(n));
        farm.run(1);
        farm
    }

    pub(super) fn come(&mut self, n: usize) {
        let disk = &mut self.disks[n - 1];
        let mut request = registration(n);
        request.rack = disk.rack.map_or(request.rack, |rack| rack.parse().unwrap());
        request.capacity_bytes = disk.capacity.unwrap_or(request.capacity_bytes);
        request.free_bytes = disk.free().unwrap_or(request.free_bytes);
        let registered = self.world.try_register(request).unwrap();
        let mut events = Outbox::default();
        for (chunk, length) in &disk.chunks {
            events.push(held(*chunk, *length));
        }
        let commands = Inbox::default();
        disk.session = Some(Session { registered, number: 0, events, commands });
    }

    pub(super) fn die(&mut self, n: usize) {
        self.disks[n - 1].session = None;
        self.copies.retain(|sent| sent.source != n);
        for sent in std::mem::take(&mut self.copies) {
            match sent.target == n {
                true => self.end_copy(&sent, false),
                false => self.copies.push(sent),
            }
        }
    }

    /// Writes `n` files of one chunk; returns their chunks.
    pub(super) fn put(&mut self, n: usize, replication: u8) -> Vec<ChunkId> {
        (0..n).map(|n| self.put_one(&format!("/f{n}"), replication)).collect()
    }

    pub(super) fn put_one(&mut self, at: &str, replication: u8) -> ChunkId {
        self.put_bytes(at, replication, LENGTH)
    }

    pub(super) fn put_bytes(&mut self, at: &str, replication: u8, length: u64) -> ChunkId {
        let mut request = create(self.world.stamp(), at);
        request.replication = Some(replication);
        request.chunk_bytes = Some(LENGTH);
        let Reply::Created(created) = self.world.mutate(Mutation::Create(request)).unwrap() else {
            panic!("not created")
        };
        for server in &created.allocation.pipeline {
            let disk = &mut self.disks[number(&server.host) - 1];
            disk.chunks.insert(created.allocation.chunk, length);
            let session = disk.session.as_mut().expect("only live ones get chunks");
            session.events.push(held(created.allocation.chunk, length));
        }
        self.world.close(created.file, Some(seal(&created.allocation, length))).unwrap();
        created.allocation.chunk
    }

    /// Lets seconds pass, with a heartbeat of every server in each; what began one second ago is
    /// done.
    pub(super) fn run(&mut self, seconds: usize) {
        for _ in 0..seconds {
            self.world.pass(SECOND);
            for sent in std::mem::take(&mut self.copies) {
                let chunk = sent.chunk;
                let length = self.disks[sent.source - 1].chunks.get(&chunk).copied();
                let target = &mut self.disks[sent.target - 1];
                let done = length.filter(|_| target.session.is_some());
                if let (Some(length), Some(session)) = (done, &mut target.session) {
                    session.events.push(held(chunk, length));
                    target.chunks.insert(chunk, length);
                    self.copied.push(chunk);
                }
                self.end_copy(&sent, done.is_some());
            }
            for n in 1..=self.disks.len() {
                self.beat(n);
            }
        }
    }

    fn end_copy(&mut self, sent: &Sent, done: bool) {
        let Sent { source, command, chunk, .. } = *sent;
        if let Some(session) = &mut self.disks[source - 1].session {
            session.events.push(ReplicaEvent::CopyEnded { chunk, command, done });
        }
    }

    fn beat(&mut self, n: usize) {
        let (free, capacity) = (self.disks[n - 1].free(), self.disks[n - 1].capacity);
        let Disk { chunks, rotten, session, .. } = &mut self.disks[n - 1];
        let Some(session) = session else { return };
        session.number += 1;
        let mut message = heartbeat(n, &session.registered, session.number, Vec::new());
        message.events = session.events.pending(usize::MAX).cloned().collect();
        message.commands_done = session.commands.received();
        message.capacity_bytes = capacity.unwrap_or(message.capacity_bytes);
        message.free_bytes = free.unwrap_or(message.free_bytes);
        let Ok(reply) = self.world.beat(message) else { return self.come(n) };
        session.events.acknowledge(reply.events_received);
        let first = session.commands.received() + 1;
        let mut n_to_read = 0;
        for (number, command) in (first..).zip(session.commands.accept(reply.commands)) {
            match command {
                ServerCommand::Delete { chunk, version, .. } => {
                    chunks.remove(&chunk);
                    session.events.push(ReplicaEvent::Lost { chunk, version });
                }
                ServerCommand::Verify { chunk, version } => {
                    n_to_read += 1;
                    let whole = chunks.contains_key(&chunk) && !rotten.remove(&chunk);
                    if !whole && chunks.remove(&chunk).is_some() {
                        session.events.push(ReplicaEvent::Lost { chunk, version });
                    }
                    session.events.push(ReplicaEvent::Verified { chunk, version, whole });
                }
                ServerCommand::EndLog { .. } => panic!("nobody writes a log here"),
                ServerCommand::Assemble { .. } => panic!("a sound one is left of each"),
                ServerCommand::Copy { chunk, to, .. } => {
                    let target = self::number(&to.host);
                    self.copies.push(Sent { source: n, command: number, chunk, target });
                }
            }
        }
        self.most_to_read = self.most_to_read.max(n_to_read);
        let sent = |n: usize| self.copies.iter().filter(|sent| sent.source == n).count();
        let received = |n: usize| self.copies.iter().filter(|sent| sent.target == n).count();
        let most = (1..=self.disks.len()).map(|n| sent(n).max(received(n))).max();
        self.most_streams = self.most_streams.max(most.unwrap_or(0));
    }

    pub(super) fn holders(&self, chunk: ChunkId) -> BTreeSet<usize> {
        let holds = |n: &usize| self.disks[n - 1].chunks.contains_key(&chunk);
        (1..=self.disks.len()).filter(holds).collect()
    }

    pub(super) fn live_holders(&self, chunk: ChunkId) -> usize {
        let lives = |n: &usize| self.disks[n - 1].session.is_some();
        self.holders(chunk).iter().filter(|n| lives(n)).count()
    }
}

fn number(host: &HostName) -> usize {
    host.as_str().strip_prefix("host-").unwrap().parse().unwrap()
}

#[test]
fn what_a_dead_server_held_is_copied_to_others_and_nothing_else() {
    let mut farm = Farm::new(4);
    let chunks = farm.put(40, 2);
    let held: BTreeSet<_> = farm.disks[0].chunks.keys().copied().collect();
    farm.die(1);
    farm.run(9);
    assert_eq!(farm.copied, [], "it may only be slow");
    farm.run(60);
    assert_eq!(farm.copied.iter().copied().collect::<BTreeSet<_>>(), held);
    assert_eq!(farm.copied.len(), held.len(), "each once");
    assert!(chunks.iter().all(|chunk| farm.live_holders(*chunk) == 2));
    assert!(farm.most_streams <= 2, "{} at once", farm.most_streams);
    let summary = farm.world.summary();
    assert_eq!(
        (summary.repairs_waiting, summary.repairs_running, summary.chunks_missing),
        (0, 0, 0)
    );
}

#[test]
fn those_nearest_to_loss_are_copied_first() {
    let mut farm = Farm::new(5);
    let chunks = farm.put(60, 3);
    farm.die(1);
    farm.die(2);
    let left = |farm: &Farm, n| {
        let chunks = chunks.iter().filter(|chunk| farm.live_holders(**chunk) == n);
        chunks.copied().collect::<BTreeSet<_>>()
    };
    let one = left(&farm, 1);
    assert!(one.len() > 10 && left(&farm, 2).len() > 10);
    farm.run(200);
    // Others may go first where the servers of the rarest chunks are busy.
    let first = farm.copied[..one.len()].iter().filter(|chunk| one.contains(chunk));
    assert!(first.count() * 10 > one.len() * 9);
    assert!(chunks.iter().all(|chunk| farm.live_holders(*chunk) == 3));
}

#[test]
fn a_server_that_comes_back_makes_no_chunk_rarer_and_the_surplus_goes() {
    let mut farm = Farm::new(4);
    let chunks = farm.put(40, 2);
    farm.die(1);
    farm.run(60);
    farm.come(1);
    farm.run(30);
    assert!(chunks.iter().all(|chunk| farm.holders(*chunk).len() == 2));
    let spread: Vec<usize> = farm.disks.iter().map(|disk| disk.chunks.len()).collect();
    assert!(spread.iter().all(|n| *n > 5), "{spread:?}");
    assert!(farm.most_to_read <= 4, "{} at once", farm.most_to_read);
}

/// Whichever replica is bad, and whichever would be removed.
#[test]
fn none_of_too_many_replicas_goes_before_one_that_stays_was_read_and_is_whole() {
    for (wanted, bad) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)] {
        let mut farm = Farm::new(3);
        let chunk = farm.put_one("/f", 3);
        farm.disks[bad - 1].rotten.insert(chunk);
        farm.world.set_replication("/f", wanted).unwrap();
        farm.run(20);
        let holders = farm.holders(chunk);
        assert!(holders.len() >= usize::from(wanted), "{holders:?}");
        let sound = |n: &&usize| !farm.disks[**n - 1].rotten.contains(&chunk);
        assert!(holders.iter().filter(sound).count() > 0, "only {bad} is left, and is bad");
    }
    // All that stay are bad: they are reported broken, and the surplus one stays.
    let mut farm = Farm::new(3);
    let chunk = farm.put_one("/f", 3);
    for disk in &mut farm.disks[..2] {
        disk.rotten.insert(chunk);
    }
    farm.world.set_replication("/f", 1).unwrap();
    farm.run(20);
    assert!(farm.disks[2].chunks.contains_key(&chunk));
}

/// Otherwise it would report that it has the chunk already, and then delete it.
#[test]
fn nothing_is_copied_to_a_server_that_is_about_to_delete_it() {
    let mut farm = Farm::new(3);
    let chunk = farm.put_one("/f", 3);
    let n_known = |farm: &mut Farm| farm.world.locate("/f").unwrap().chunks[0].servers.len();
    farm.world.set_replication("/f", 1).unwrap();
    let mut reader = 0;
    while n_known(&mut farm) > 1 {
        reader = reader % 3 + 1;
        farm.world.pass(SECOND / 3);
        farm.beat(reader);
    }
    assert_eq!(farm.live_holders(chunk), 3, "the two others have not heard of it");
    farm.world.set_replication("/f", 2).unwrap();
    farm.beat(reader);
    assert_eq!(farm.copies.len(), 0);
    farm.run(20);
    assert_eq!((farm.live_holders(chunk), n_known(&mut farm)), (2, 2));
}

#[test]
fn with_too_few_servers_nothing_is_tried_until_another_comes() {
    let mut farm = Farm::new(3);
    let chunks = farm.put(6, 3);
    farm.die(3);
    farm.run(30);
    assert_eq!((farm.copied.len(), farm.world.summary().repairs_waiting), (0, 0));
    let short = farm.world.summary();
    assert_eq!(short.chunks_under_replicated, 6);
    let since_its_death = short.repair_oldest.as_secs();
    assert!((15..30).contains(&since_its_death), "{since_its_death} s");
    farm.disks.push(Disk::default());
    farm.come(4);
    farm.run(30);
    let whole = farm.world.summary();
    assert_eq!((whole.chunks_under_replicated, whole.repair_oldest), (0, Duration::ZERO));
    assert!(chunks.iter().all(|chunk| farm.live_holders(*chunk) == 3));
}

#[test]
fn a_chunk_with_no_live_replica_counts_as_missing_until_its_server_is_back() {
    let mut farm = Farm::new(2);
    let chunk = farm.put(1, 1)[0];
    let n = *farm.holders(chunk).first().unwrap();
    farm.die(n);
    farm.run(15);
    assert_eq!(farm.world.summary().chunks_missing, 1);
    farm.come(n);
    farm.run(5);
    assert_eq!(farm.world.summary().chunks_missing, 0);
    assert_eq!(farm.copied, []);
}

#[test]
fn a_master_that_has_just_started_waits_for_the_servers_reports() {
    let mut farm = Farm::new(4);
    farm.put(40, 2);
    farm.world.restart_in_safe_mode();
    farm.run(1);
    // Each server learns of the restart when its heartbeat is refused, and all report at once.
    farm.run(40);
    assert_eq!(farm.copied, []);
    assert_eq!(farm.disks.iter().map(|disk| disk.chunks.len()).sum::<usize>(), 80);
}

#[test]
fn a_corrupt_replica_is_replaced() {
    let mut farm = Farm::new(3);
    let chunk = farm.put(1, 2)[0];
    let n = *farm.holders(chunk).first().unwrap();
    farm.disks[n - 1].chunks.remove(&chunk);
    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
    farm.disks[n - 1].session.as_mut().unwrap().events.push(lost);
    farm.run(5);
    assert_eq!((farm.live_holders(chunk), farm.copied.len()), (2, 1));
}

#[test]
fn what_a_target_says_of_its_replica_counts_more_than_its_sources_late_word() {
    let mut farm = Farm::new(3);
    let chunk = farm.put(1, 2)[0];
    let (first, lost) = (farm.holders(chunk), ReplicaEvent::Lost { chunk, version: Version(1) });
    let [source, bad] = first.into_iter().collect::<Vec<_>>()[..] else { panic!("two hold it") };
    let tell = |farm: &mut Farm, n: usize, event: ReplicaEvent| {
        farm.disks[n - 1].session.as_mut().unwrap().events.push(event);
    };
    farm.disks[bad - 1].chunks.remove(&chunk);
    tell(&mut farm, bad, lost.clone());
    farm.beat(bad);
    farm.beat(source);
    let sent = farm.copies.pop().unwrap();
    // The copy arrives, and is lost again before its source reports.
    tell(&mut farm, sent.target, held(chunk, 5));
    tell(&mut farm, sent.target, lost);
    farm.beat(sent.target);
    farm.end_copy(&sent, true);
    farm.beat(source);
    farm.run(10);
    assert_eq!(farm.live_holders(chunk), 2);
}

/// Servers die and come back at random, one within three heartbeats, and always so that every chunk
/// keeps a live replica that is not about to be removed. Then no chunk is ever lost, and in the end
/// each has as many replicas as asked for.
#[test]
fn whatever_servers_do_no_last_replica_is_removed_and_all_are_whole_in_the_end() {
    for seed in 0..40_u64 {
        let mut luck = seed;
        let mut dice = |sides: u64| {
            luck = luck
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (luck >> 33) % sides
        };
        let mut farm = Farm::new(5);
        let mut chunks = farm.put(20, 2);
        let mut calm_from = Monotonic::default();
        for step in 0..120 {
            let n = usize::try_from(dice(5)).unwrap() + 1;
            match (dice(4), farm.disks[n - 1].session.is_some()) {
                (0, true) => {
                    let alone = |chunk: &ChunkId| {
                        farm.holders(*chunk).contains(&n) && farm.live_holders(*chunk) == 1
                    };
                    let lone = chunks.iter().any(alone);
                    let others = farm.disks.iter().filter(|disk| disk.session.is_some()).count();
                    let idle = farm.world.summary().commands_pending == 0;
                    let now = farm.world.now.monotonic;
                    if others > 2 && !lone && idle && now >= calm_from {
                        farm.die(n);
                        calm_from = now + 3 * SECOND;
                    }
                }
                (1, false) => farm.come(n),
                (2, _) => {
                    let at = format!("/new-{step}");
                    let live = farm.disks.iter().filter(|disk| disk.session.is_some()).count();
                    if live == 5 {
                        chunks.push(farm.put_one(&at, 2));
                    }
                }
                _ => farm.run(usize::try_from(dice(6)).unwrap()),
            }
            for chunk in &chunks {
                assert!(farm.live_holders(*chunk) > 0, "seed {seed}: {chunk} is lost");
            }
        }
        for n in 1..=5 {
            if farm.disks[n - 1].session.is_none() {
                farm.come(n);
            }
        }
        farm.run(120);
        for chunk in &chunks {
            assert_eq!(farm.holders(*chunk).len(), 2, "seed {seed}: {chunk}");
        }
        assert!(farm.most_streams <= 2, "seed {seed}");
    }
}
