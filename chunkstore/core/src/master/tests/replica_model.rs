//! Chunks, replicas and leases against the simplest possible model: for each server, the set of
//! what it reported. After every step the master must count the same live and staying replicas of
//! each chunk, have the same chunks wait for the same reasons, and have the same files open.

use std::collections::{BTreeMap, BTreeSet};

use ids::{Inbox, Outbox};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::master::servers::ServerId;

const SERVERS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Op {
    Put(u8),
    SetReplication(usize, u8),
    Remove(usize),
    Register(usize),
    /// The server completes its report.
    Complete(usize),
    Held(usize, usize),
    /// It holds bytes other than those sealed.
    Odd(usize, usize),
    Lost(usize, usize),
    CopyEnded(usize, bool),
    Drain(usize, bool),
    /// All live servers send a heartbeat.
    Beat,
    Pass(u64),
    Open,
    Renew(usize),
    WriterGone(usize),
}

fn some_op() -> impl Strategy<Value = Op> {
    let server = || 0..SERVERS;
    let nth = || 0..6_usize;
    prop_oneof![
        4 => (1..4_u8).prop_map(Op::Put),
        1 => (nth(), 1..4_u8).prop_map(|(nth, n)| Op::SetReplication(nth, n)),
        1 => nth().prop_map(Op::Remove),
        3 => server().prop_map(Op::Register),
        3 => server().prop_map(Op::Complete),
        4 => (server(), nth()).prop_map(|(n, nth)| Op::Held(n, nth)),
        1 => (server(), nth()).prop_map(|(n, nth)| Op::Odd(n, nth)),
        2 => (server(), nth()).prop_map(|(n, nth)| Op::Lost(n, nth)),
        4 => (nth(), any::<bool>()).prop_map(|(nth, done)| Op::CopyEnded(nth, done)),
        1 => (server(), any::<bool>()).prop_map(|(n, on)| Op::Drain(n, on)),
        6 => Just(Op::Beat),
        4 => prop::sample::select(vec![100, 1000, 4000, 11_000, 35_000]).prop_map(Op::Pass),
        1 => Just(Op::Open),
        2 => nth().prop_map(Op::Renew),
        1 => nth().prop_map(Op::WriterGone),
    ]
}

/// A server, and what the master can know of it.
#[derive(Default)]
struct Server {
    registered: Option<ServerRegistered>,
    heard: Option<Monotonic>,
    /// Good replicas that it reported in this registration, and in the one before.
    told: BTreeSet<ChunkId>,
    before: BTreeSet<ChunkId>,
    complete: bool,
    draining: bool,
    number: u64,
    events: Outbox<ReplicaEvent>,
    commands: Inbox,
}

/// A copy that a server was told to make.
struct Sent {
    from: usize,
    to: usize,
    chunk: ChunkId,
    command: u64,
}

#[derive(Default)]
struct Model {
    servers: [Server; SERVERS],
    /// Files of one chunk, and how many replicas they ask for.
    files: Vec<(String, ChunkId, u8)>,
    /// Open files, and when their leases end.
    open: Vec<(String, FileId, Monotonic)>,
    copies: Vec<Sent>,
    n_names: u64,
}

impl Model {
    fn is_live(&self, world: &World, n: usize) -> bool {
        let dead_after = settings().dead_after;
        self.servers[n].heard.is_some_and(|at| world.now.monotonic.since(at) < dead_after)
    }

    fn id(world: &World, n: usize) -> Option<ServerId> {
        world.master.servers.by_host(&host(n + 1)).map(|by| by.server)
    }

    fn holds(&self, world: &World, n: usize, chunk: ChunkId) -> bool {
        let Server { told, before, complete, .. } = &self.servers[n];
        let claims = told.contains(&chunk) || (!complete && before.contains(&chunk));
        self.is_live(world, n) && claims
    }

    /// A replica that a server is to remove no longer counts, whether or not the server has been told.
    fn see_dooms(&mut self, world: &World) {
        for n in 0..SERVERS {
            let pending = Self::id(world, n).map(|id| world.master.servers.deliver(id, true).1);
            for command in pending.into_iter().flatten() {
                if let ServerCommand::Delete { chunk, .. } = command.item {
                    self.forget(n, chunk);
                }
            }
        }
    }

    /// Lets time pass in steps so short that no server dies with commands that the model has not
    /// seen.
    fn pass(&mut self, world: &mut World, time: Duration) {
        let until = world.now.monotonic + time;
        while world.now.monotonic < until {
            world.pass(until.since(world.now.monotonic).min(Duration::from_millis(200)));
            self.see_dooms(world);
        }
    }

    fn name(&mut self) -> String {
        self.n_names += 1;
        format!("/f{}", self.n_names)
    }

    fn nth_chunk(&self, nth: usize) -> Option<ChunkId> {
        (!self.files.is_empty()).then(|| self.files[nth % self.files.len()].1)
    }

    /// A server sends heartbeats until it has nothing left to report.
    fn speak(&mut self, world: &mut World, n: usize) {
        for _ in 0..20 {
            if !self.is_live(world, n) {
                return;
            }
            let server = &mut self.servers[n];
            let Some(registered) = server.registered.clone() else { return };
            server.number += 1;
            let mut message = heartbeat(n + 1, &registered, server.number, Vec::new());
            message.events = server.events.pending(usize::MAX).cloned().collect();
            message.report_complete = server.complete;
            message.commands_done = server.commands.received();
            let reply = world.beat(message).unwrap();
            server.heard = Some(world.now.monotonic);
            server.events.acknowledge(reply.events_received);
            let first = server.commands.received() + 1;
            let new = server.commands.accept(reply.commands);
            let is_over = new.is_empty() && server.events.is_empty();
            for (command, told) in (first..).zip(new) {
                match told {
                    ServerCommand::Verify { chunk, version } => {
                        let whole = server.told.contains(&chunk);
                        server.events.push(ReplicaEvent::Verified { chunk, version, whole });
                    }
                    ServerCommand::EndLog { .. } => panic!("nobody writes a log here"),
                    ServerCommand::Delete { chunk, version, .. } => {
                        server.told.remove(&chunk);
                        server.before.remove(&chunk);
                        server.events.push(ReplicaEvent::Lost { chunk, version });
                    }
                    ServerCommand::Assemble { chunk, .. } => {
                        self.copies.push(Sent { from: n, to: n, chunk, command });
                    }
                    ServerCommand::Copy { chunk, to, .. } => {
                        let to = to.host.as_str().strip_prefix("host-").unwrap();
                        let to = to.parse::<usize>().unwrap() - 1;
                        self.copies.push(Sent { from: n, to, chunk, command });
                    }
                }
            }
            if is_over {
                return;
            }
        }
        panic!("a server and the master speak for ever");
    }

    fn tell(&mut self, world: &mut World, n: usize, event: ReplicaEvent) {
        if self.is_live(world, n) {
            self.servers[n].events.push(event);
            self.speak(world, n);
        }
    }

    /// A live server reports that it has no good replica of the chunk.
    fn tell_no_more(&mut self, world: &mut World, n: usize, event: ReplicaEvent, chunk: ChunkId) {
        if self.is_live(world, n) {
            self.forget(n, chunk);
            self.tell(world, n, event);
        }
    }

    fn apply(&mut self, world: &mut World, op: Op) {
        match op {
            Op::Put(replicas) => self.put(world, replicas),
            Op::SetReplication(nth, n) if !self.files.is_empty() => {
                let nth = nth % self.files.len();
                let (at, wanted) = (self.files[nth].0.clone(), n);
                let request =
                    SetReplication { stamp: world.stamp(), path: path(&at), replication: wanted };
                world.mutate(Mutation::SetReplication(request)).unwrap();
                self.files[nth].2 = wanted;
            }
            Op::Remove(nth) if !self.files.is_empty() => {
                let (at, chunk, _) = self.files.remove(nth % self.files.len());
                world.delete(&at, false).unwrap();
                for server in &mut self.servers {
                    server.told.remove(&chunk);
                    server.before.remove(&chunk);
                }
            }
            Op::Register(n) => self.register(world, n),
            Op::Complete(n) => {
                self.servers[n].complete |= self.is_live(world, n);
                self.speak(world, n);
            }
            Op::Held(n, nth) => {
                if let Some(chunk) = self.nth_chunk(nth).filter(|_| self.is_live(world, n)) {
                    self.servers[n].told.insert(chunk);
                    self.tell(world, n, held(chunk, 3));
                }
            }
            Op::Odd(n, nth) => {
                if let Some(chunk) = self.nth_chunk(nth) {
                    self.tell_no_more(world, n, held(chunk, 2), chunk);
                }
            }
            Op::Lost(n, nth) => {
                if let Some(chunk) = self.nth_chunk(nth) {
                    let lost = ReplicaEvent::Lost { chunk, version: Version(1) };
                    self.tell_no_more(world, n, lost, chunk);
                }
            }
            Op::CopyEnded(nth, done) => self.copy_ended(world, nth, done),
            Op::Drain(n, on) => {
                let request = DrainServer { stamp: world.stamp(), host: host(n + 1), stop: !on };
                if world.mutate(Mutation::Drain(request)).is_ok() {
                    self.servers[n].draining = on;
                }
            }
            Op::Beat => (0..SERVERS).for_each(|n| self.speak(world, n)),
            Op::Pass(millis) => self.pass(world, Duration::from_millis(millis)),
            Op::Open => {
                let at = self.name();
                if let Ok(created) = world.create(&at) {
                    let until = world.now.monotonic + settings().lease;
                    self.open.push((at, created.file, until));
                }
            }
            Op::Renew(nth) if !self.open.is_empty() => {
                let nth = nth % self.open.len();
                let files = vec![self.open[nth].1];
                world.query(Query::Renew(Renew { client: client(), files, wait_ms: 0 })).unwrap();
                self.open[nth].2 = world.now.monotonic + settings().lease;
            }
            Op::WriterGone(nth) if !self.open.is_empty() => {
                let nth = nth % self.open.len();
                world.run(Input::WriterGone(client(), vec![self.open[nth].1]));
                let until = world.now.monotonic + settings().lease_grace;
                self.open[nth].2 = self.open[nth].2.min(until);
            }
            Op::SetReplication(..) | Op::Remove(_) | Op::Renew(_) | Op::WriterGone(_) => {}
        }
    }

    fn put(&mut self, world: &mut World, replicas: u8) {
        let at = self.name();
        let mut request = create(world.stamp(), &at);
        request.replication = Some(replicas);
        let Ok(Reply::Created(created)) = world.mutate(Mutation::Create(request)) else { return };
        let chunk = created.allocation.chunk;
        world.close(created.file, Some(seal(&created.allocation, 3))).unwrap();
        for server in &created.allocation.pipeline {
            let n: usize = server.host.as_str().strip_prefix("host-").unwrap().parse().unwrap();
            self.servers[n - 1].told.insert(chunk);
            self.servers[n - 1].events.push(held(chunk, 3));
        }
        self.files.push((at, chunk, replicas));
    }

    fn register(&mut self, world: &mut World, n: usize) {
        let registered = world.register(n + 1);
        self.copies.retain(|sent| sent.from != n);
        let server = &mut self.servers[n];
        let before = std::mem::take(&mut server.told);
        let draining = server.draining;
        let (registered, heard) = (Some(registered), Some(world.now.monotonic));
        *server = Server { registered, heard, before, draining, ..Server::default() };
    }

    fn forget(&mut self, n: usize, chunk: ChunkId) {
        self.servers[n].told.remove(&chunk);
        self.servers[n].before.remove(&chunk);
    }

    /// Ends a copy; it counts unless it was given up meanwhile because of its target's reports or
    /// death.
    fn copy_ended(&mut self, world: &mut World, nth: usize, done: bool) {
        if self.copies.is_empty() {
            return;
        }
        let Sent { from, to, chunk, command } = self.copies.remove(nth % self.copies.len());
        if !self.is_live(world, from) {
            return;
        }
        let runs = world.master.repairs.running.get(&chunk);
        let is_it = runs.is_some_and(|copy| {
            (Some(copy.source), copy.command) == (Self::id(world, from), command)
        });
        if done && is_it && self.is_live(world, to) {
            self.servers[to].told.insert(chunk);
        }
        self.tell(world, from, ReplicaEvent::CopyEnded { chunk, command, done });
    }

    fn cause(
        &self,
        live: usize,
        staying: usize,
        wanted: u8,
        serving: usize,
    ) -> Option<RepairCause> {
        let wanted = usize::from(wanted);
        let has_place = staying < serving;
        if live == 0 || !has_place || staying >= wanted {
            None
        } else if live < wanted {
            Some(RepairCause::Under { live: live as u8 })
        } else {
            Some(RepairCause::Draining)
        }
    }

    fn check(&mut self, world: &mut World) {
        let now = world.now.monotonic;
        self.open.retain(|(_, _, until)| *until > now);
        assert_eq!(world.summary().open_files, self.open.len() as u64, "open files");
        for (at, ..) in &self.open {
            assert!(world.stat(at).is_ok(), "{at} is open");
        }
        let live: Vec<usize> = (0..SERVERS).filter(|n| self.is_live(world, *n)).collect();
        assert_eq!(world.summary().servers_live, live.len() as u64, "live servers");
        let stays = |n: &&usize| !self.servers[**n].draining;
        let serving = live.iter().filter(stays).count();
        assert_eq!(world.master.servers.n_serving(), serving, "serving servers");
        let mut waiting: BTreeMap<RepairCause, BTreeSet<ChunkId>> = BTreeMap::new();
        for (_, chunk, wanted) in &self.files {
            let holders: Vec<usize> =
                live.iter().copied().filter(|n| self.holds(world, *n, *chunk)).collect();
            let staying = holders.iter().filter(stays).count();
            let sealed = world.master.sealed(*chunk).unwrap();
            let standing = world.master.standing(*chunk, &sealed);
            let counted = (standing.live, standing.staying, standing.wanted);
            let expected = (holders.len(), staying, usize::from(*wanted));
            assert_eq!(counted, expected, "{chunk}: held by {holders:?}");
            let n_broken = world.master.broken_on(*chunk).count();
            let is_mendable = holders.is_empty() && n_broken > 1;
            assert_eq!(standing.mendable, is_mendable, "{chunk}: broken on {n_broken}");
            let is_running = world.master.repairs.running.contains_key(chunk);
            let cause = match standing.mendable {
                true => Some(RepairCause::Broken),
                false => self.cause(holders.len(), staying, *wanted, serving),
            };
            if let Some(cause) = cause.filter(|_| !is_running) {
                waiting.entry(cause).or_default().insert(*chunk);
            }
        }
        // Chunks to be looked at again wait for that, or for a copy.
        let census = world.master.repairs.census();
        if !world.master.repairs.is_sweeping() && census.retrying == 0 {
            let expected = waiting.into_iter().map(|(why, chunks)| (why, chunks.len() as u64));
            let queued = world.master.repairs.queue.census().into_iter();
            let queued: BTreeMap<_, _> = queued.map(|it| (it.why, it.chunks)).collect();
            assert_eq!(queued, expected.collect(), "chunks that wait");
        }
    }
}

proptest! {
    // Use the same cases in every run.
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2003),
        ..ProptestConfig::default()
    })]

    #[test]
    fn replicas_and_leases_are_counted_as_by_sets_of_what_servers_told(
        ops in prop::collection::vec(some_op(), 1..60),
    ) {
        let mut world = World::empty();
        let mut model = Model::default();
        for n in 0..SERVERS {
            model.register(&mut world, n);
            model.servers[n].complete = true;
            model.speak(&mut world, n);
        }
        for op in ops {
            model.apply(&mut world, op);
            // Steps of a sweep, and of applying a new replication to chunks.
            model.pass(&mut world, Duration::from_millis(20));
            model.check(&mut world);
        }
    }
}
