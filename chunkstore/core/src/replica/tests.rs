//! Tables and loops over one server's replicas and its exchange with a master.

mod assembly;
mod cuts;
mod held;
mod link;
mod logs;

use std::time::Duration;

use chunkstore_protocol::{
    ChunkId, EVENTS_PER_HEARTBEAT_MAX, ReplicaEvent, ServerCommand, Term, Version,
};
use ids::{Epoch, Numbered, UnixMillis};

use super::*;

const INTERVAL_MS: u64 = 1000;

fn at(millis: u64) -> Now {
    Now { monotonic: Monotonic(Duration::from_millis(millis)), wall: UnixMillis(millis) }
}

fn key(chunk: u64, version: u32) -> ReplicaKey {
    ReplicaKey { chunk: ChunkId(chunk), version: Version(version) }
}

fn sealed(length: u64) -> Sealed {
    Sealed { length, checksum: 1 }
}

fn held(chunk: u64, length: u64) -> ReplicaEvent {
    ReplicaEvent::Held { chunk: ChunkId(chunk), version: Version(1), length, checksum: 1 }
}

fn lost(chunk: u64) -> ReplicaEvent {
    ReplicaEvent::Lost { chunk: ChunkId(chunk), version: Version(1) }
}

fn cluster(name: &str) -> ClusterId {
    name.parse().unwrap()
}

fn identity(cluster_of_folder: Option<&str>) -> Identity {
    Identity {
        cluster: cluster_of_folder.map(cluster),
        term: None,
        host: "host-1".parse().unwrap(),
        rack: ids::RackName::default_rack(),
        address: "127.0.0.1:7871".into(),
        incarnation: 5,
    }
}

fn server(chunks: u64) -> Replicas {
    Replicas::new(identity(Some("cluster-1")), 2, (1..=chunks).map(|n| (key(n, 1), sealed(n))))
}

fn registered(epoch: u64, session: u64) -> Input {
    Input::Registered(ServerRegistered {
        cluster: cluster("cluster-1"),
        epoch: Epoch(epoch),
        session,
        heartbeat_interval_ms: INTERVAL_MS,
    })
}

fn reply(events_received: u64, commands: Vec<(u64, u64)>) -> Input {
    let delete = |(number, chunk)| Numbered {
        number,
        item: ServerCommand::Delete { chunk: ChunkId(chunk), version: Version(1), orphan: false },
    };
    Input::HeartbeatReplied(ServerHeartbeatReply {
        epoch: Epoch(1),
        term_id: None,
        last_record: 0,
        events_received,
        commands: commands.into_iter().map(delete).collect(),
    })
}

fn heartbeat(effects: &[Effect]) -> ServerHeartbeat {
    let mut heartbeats = effects.iter().filter_map(|effect| match effect {
        Effect::Heartbeat(heartbeat) => Some(heartbeat.as_ref().clone()),
        _ => None,
    });
    let first = heartbeats.next().expect("a heartbeat is sent");
    assert_eq!(heartbeats.next(), None, "one message in flight at a time");
    first
}

fn items(heartbeat: &ServerHeartbeat) -> Vec<ReplicaEvent> {
    heartbeat.events.iter().map(|numbered| numbered.item.clone()).collect()
}

/// A server that has registered at 0 ms and whose report of `chunks` replicas is acknowledged.
fn known_server(chunks: u64) -> Replicas {
    let mut server = server(chunks);
    server.handle_timeout(at(0));
    let first = heartbeat(&server.handle(at(0), registered(1, 1)));
    assert!(first.report_complete);
    assert!(server.handle(at(0), reply(chunks, vec![])).is_empty());
    server
}

fn open(server: &mut Replicas, replica: ReplicaKey) -> OpenAnswer {
    let request = Input::OpenRequested { to: ReplyTo(7), replica, is_copy: false };
    match server.handle(at(1), request).as_slice() {
        [Effect::Reply { to: ReplyTo(7), answer }] => *answer,
        other => panic!("{other:?}"),
    }
}

fn freeze(server: &mut Replicas, replica: ReplicaKey) -> Vec<Effect> {
    server.handle(at(2), Input::FreezeRequested { to: ReplyTo(8), replica })
}

fn is_frozen(length: u64, sealed: bool) -> FreezeAnswer {
    FreezeAnswer::Frozen(chunkstore_protocol::Frozen {
        length,
        sealed,
        damaged: false,
        found: false,
    })
}

fn sealed_already(length: u64) -> Vec<Effect> {
    vec![Effect::ReplyFrozen { to: ReplyTo(8), answer: is_frozen(length, true) }]
}

fn frozen(length: u64) -> Vec<Effect> {
    vec![Effect::ReplyFrozen { to: ReplyTo(8), answer: is_frozen(length, false) }]
}

fn seal_at(server: &mut Replicas, replica: ReplicaKey, length: u64) -> SealAnswer {
    let request = Input::SealRequested { to: ReplyTo(9), replica, length };
    match server.handle(at(3), request).as_slice() {
        [Effect::ReplySeal { to: ReplyTo(9), answer }] => *answer,
        other => panic!("{other:?}"),
    }
}

const BLOCK: u64 = chunkstore_protocol::block::BLOCK_BYTES as u64;
