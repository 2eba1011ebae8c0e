//! Chunks with only broken replicas, each broken in another place: what their servers are told.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LENGTH: u64 = 5;

/// A master with one file of one chunk, and servers that report what a test has them report.
struct Ward {
    world: World,
    servers: Vec<Voice>,
    chunk: ChunkId,
}

/// One server's side of its registration.
struct Voice {
    registered: ServerRegistered,
    number: u64,
    events: ids::Outbox<ReplicaEvent>,
    commands: ids::Inbox,
}

impl Ward {
    /// `n` servers, which all hold the chunk.
    fn new(n: usize) -> Self {
        let mut world = World::empty();
        let registered: Vec<_> = (1..=n).map(|n| world.register(n)).collect();
        let mut request = create(world.stamp(), "/f");
        request.replication = u8::try_from(n).ok();
        let Reply::Created(created) = world.mutate(Mutation::Create(request)).unwrap() else {
            panic!("not created")
        };
        world.close(created.file, Some(seal(&created.allocation, LENGTH))).unwrap();
        let servers = registered.into_iter().map(Voice::new).collect();
        Self { world, servers, chunk: created.allocation.chunk }
    }

    /// Server `n`, from 1, reports these events; returns its commands.
    fn says(&mut self, n: usize, events: Vec<ReplicaEvent>) -> Vec<(u64, ServerCommand)> {
        let voice = &mut self.servers[n - 1];
        voice.number += 1;
        for event in events {
            voice.events.push(event);
        }
        let mut message = heartbeat(n, &voice.registered, voice.number, Vec::new());
        message.events = voice.events.pending(usize::MAX).cloned().collect();
        message.commands_done = voice.commands.received();
        let reply = self.world.beat(message).unwrap();
        voice.events.acknowledge(reply.events_received);
        let first = voice.commands.received() + 1;
        (first..).zip(voice.commands.accept(reply.commands)).collect()
    }

    fn lost(&self) -> ReplicaEvent {
        ReplicaEvent::Lost { chunk: self.chunk, version: Version(1) }
    }

    fn broken(&self) -> ReplicaEvent {
        ReplicaEvent::Broken { chunk: self.chunk, version: Version(1) }
    }

    /// The commands that server `n` gets within this many seconds while all servers have nothing to
    /// report.
    fn told_within(&mut self, n: usize, seconds: u64) -> Vec<(u64, ServerCommand)> {
        let mut told = Vec::new();
        for _ in 0..seconds {
            self.world.pass(SECOND);
            for other in 1..=self.servers.len() {
                let orders = self.says(other, Vec::new());
                match other == n {
                    true => told.extend(orders),
                    false => assert_eq!(orders, [], "server {other}"),
                }
            }
        }
        told
    }

    fn readable_from(&mut self) -> Vec<HostName> {
        let located = self.world.locate("/f").unwrap();
        located.chunks[0].servers.iter().map(|server| server.host.clone()).collect()
    }
}

impl Voice {
    fn new(registered: ServerRegistered) -> Self {
        let (events, commands) = (ids::Outbox::default(), ids::Inbox::default());
        Self { registered, number: 0, events, commands }
    }
}

fn assemble(ward: &Ward, from: &[usize]) -> ServerCommand {
    let address = |n: &usize| ServerAddress {
        host: host(*n),
        rack: RackName::default_rack(),
        address: format!("127.0.0.1:{n}"),
    };
    ServerCommand::Assemble {
        chunk: ward.chunk,
        version: Version(1),
        length: LENGTH,
        checksum: 7,
        from: from.iter().map(address).collect(),
    }
}

#[test]
fn one_of_those_that_have_only_broken_ones_makes_a_good_one_and_the_others_get_copies() {
    let mut ward = Ward::new(2);
    let lost = ward.lost();
    assert_eq!(ward.says(1, vec![lost.clone()]), [], "the other has all of it");
    let told = ward.says(2, vec![lost]);
    assert_eq!(told, [(1, assemble(&ward, &[1]))]);
    assert_eq!(ward.told_within(1, 5), [], "one makes it");
    let summary = ward.world.summary();
    assert_eq!((summary.repairs_running, summary.chunks_missing), (1, 1));
    let chunk = ward.chunk;
    let ended = ReplicaEvent::CopyEnded { chunk, command: 1, done: true };
    let told = ward.says(2, vec![held(chunk, LENGTH), ended]);
    assert!(
        matches!(&told[..], [(2, ServerCommand::Copy { to, .. })] if to.host == host(1)),
        "{told:?}"
    );
    assert_eq!(ward.readable_from(), [host(2)]);
    assert_eq!(ward.world.summary().chunks_missing, 0);
}

#[test]
fn a_single_broken_replica_is_not_enough() {
    let mut ward = Ward::new(1);
    let lost = ward.lost();
    assert_eq!(ward.says(1, vec![lost]), []);
    assert_eq!(ward.told_within(1, 30), []);
    assert_eq!(ward.world.summary().repairs_waiting, 0);
}

#[test]
fn what_was_tried_in_vain_is_tried_ever_more_rarely_and_at_once_when_one_more_is_found() {
    let mut ward = Ward::new(2);
    let lost = ward.lost();
    let _ = ward.says(1, vec![lost.clone()]);
    let mut told = ward.says(2, vec![lost]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let [(command, ServerCommand::Assemble { chunk, .. })] = told[..] else {
            panic!("{told:?}")
        };
        let ended = ReplicaEvent::CopyEnded { chunk, command, done: false };
        assert_eq!(ward.says(2, vec![ended]), []);
        let mut seconds = 0;
        told = Vec::new();
        while told.is_empty() {
            ward.world.pass(SECOND);
            seconds += 1;
            // The command goes to the first server that sends a heartbeat after the pause.
            told = ward.says(2, Vec::new());
            assert_eq!(ward.says(1, Vec::new()), []);
        }
        pauses.push(seconds);
    }
    assert!(pauses.windows(2).all(|two| two[1] >= 2 * two[0] - 1), "{pauses:?}");
    assert!((60..=62).contains(&pauses[0]), "{pauses:?}");
    let [(command, ServerCommand::Assemble { chunk, .. })] = told[..] else { panic!("{told:?}") };
    let ended = ReplicaEvent::CopyEnded { chunk, command, done: false };
    assert_eq!(ward.says(2, vec![ended]), []);
    let registered = ward.world.register(3);
    ward.servers.push(Voice::new(registered));
    let broken = ward.broken();
    let told = ward.says(3, vec![broken]);
    assert_eq!(told, [(1, assemble(&ward, &[1, 2]))]);
}

/// The servers' reports only list their good replicas.
#[test]
fn a_master_that_restarts_learns_who_keeps_broken_ones() {
    let mut ward = Ward::new(2);
    let (lost, broken) = (ward.lost(), ward.broken());
    let _ = ward.says(1, vec![lost.clone()]);
    let _ = ward.says(2, vec![lost]);
    ward.world.restart_in_safe_mode();
    ward.servers = (1..=2).map(|n| Voice::new(ward.world.register(n))).collect();
    assert_eq!(ward.says(1, vec![broken.clone()]), []);
    assert_eq!(ward.says(2, vec![broken.clone()]), []);
    assert_eq!(ward.readable_from(), [host(1), host(2)]);
    assert_eq!(ward.told_within(1, 1), [(1, assemble(&ward, &[2]))]);
    let chunk = ward.chunk;
    let _ = ward.says(1, vec![held(chunk, LENGTH), broken]);
    assert_eq!(ward.readable_from(), [host(1)], "what it keeps besides does not count against it");
}
