//! Replicas that are put together from the sound blocks of broken ones.

use std::collections::BTreeSet;

use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{ChunkId, ReplicaEvent, SealedChunk, ServerCommand, Version};
use ids::HostName;

use super::transfers::{frames, get, put};
use super::{Cluster, bytes, flip_byte, until};

const N_SERVERS: usize = 3;

/// A chunk of so many bytes on all servers, each of which finds its own broken: at these places.
async fn broken_everywhere(
    cluster: &Cluster,
    chunk: u64,
    data: &[u8],
    places: [&[usize]; N_SERVERS],
) -> SealedChunk {
    let downstream: Vec<_> = cluster.servers[1..].iter().map(|s| s.address.clone()).collect();
    let sealed = put(cluster, chunk, frames(data), &downstream).await.unwrap();
    for (n, places) in places.into_iter().enumerate() {
        let file = cluster.servers[n].file_of(ChunkId(chunk)).unwrap();
        places.iter().for_each(|at| flip_byte(&file, *at));
        let read = get(cluster, n, chunk, 0..u64::MAX).await;
        assert!(read.is_err(), "host-{} has a whole one", n + 1);
    }
    until("all are known to be broken", || lost(cluster, chunk).len() == N_SERVERS).await;
    sealed
}

fn lost(cluster: &Cluster, chunk: u64) -> BTreeSet<HostName> {
    let version = Version(1);
    let lost = ReplicaEvent::Lost { chunk: ChunkId(chunk), version };
    let book = cluster.master.book();
    book.events.iter().filter(|(_, event)| *event == lost).map(|(host, _)| host.clone()).collect()
}

/// Tells the first server to put the chunk together with the others; whether it did.
async fn assemble(cluster: &Cluster, sealed: &SealedChunk) -> bool {
    let SealedChunk { chunk, version, length, checksum, .. } = *sealed;
    let from = cluster.servers[1..].iter().map(|server| server.address.clone()).collect();
    let host = &cluster.servers[0].address.host;
    let told = ServerCommand::Assemble { chunk, version, length, checksum, from };
    let number = cluster.master.book().servers.get_mut(host).unwrap().commands.push(told);
    let ended = |(by, event): &(HostName, ReplicaEvent)| match event {
        ReplicaEvent::CopyEnded { command, done, .. } if *command == number && by == host => {
            Some(*done)
        }
        _ => None,
    };
    let mut outcome = None;
    until("it has ended", || {
        outcome = cluster.master.book().events.iter().find_map(ended);
        outcome.is_some()
    })
    .await;
    outcome.unwrap()
}

#[tokio::test]
async fn what_no_broken_replica_has_whole_is_made_of_the_sound_blocks_of_all() {
    let cluster = Cluster::start(N_SERVERS).await;
    let data = bytes(40 * BLOCK_BYTES + 77);
    let end = 40 * BLOCK_BYTES;
    // In the first batch, in the middle, at the end; and where two of three are bad.
    let bad: [&[usize]; N_SERVERS] =
        [&[0, 20 * BLOCK_BYTES, end + 5], &[9, 3 * BLOCK_BYTES, end], &[20 * BLOCK_BYTES + 1]];
    let sealed = broken_everywhere(&cluster, 7, &data, bad).await;
    assert!(assemble(&cluster, &sealed).await);
    assert_eq!(get(&cluster, 0, 7, 0..u64::MAX).await.unwrap().1, data);
    let host = &cluster.servers[0].address.host;
    assert!(cluster.master.book().servers[host].replicas.contains_key(&sealed.chunk));
    assert!(assemble(&cluster, &sealed).await, "it is there");
}

#[tokio::test]
async fn nothing_is_made_where_a_block_is_bad_everywhere_or_the_blocks_are_not_the_chunks() {
    let cluster = Cluster::start(N_SERVERS).await;
    let data = bytes(5 * BLOCK_BYTES);
    let block = 3 * BLOCK_BYTES;
    let holed = [&[block + 1][..], &[block + 2], &[block + 3]];
    let sealed = broken_everywhere(&cluster, 7, &data, holed).await;
    assert!(!assemble(&cluster, &sealed).await);
    let bad: [&[usize]; N_SERVERS] = [&[0], &[BLOCK_BYTES], &[block]];
    let sealed = broken_everywhere(&cluster, 8, &data, bad).await;
    let others = SealedChunk { checksum: !sealed.checksum, ..sealed.clone() };
    assert!(!assemble(&cluster, &others).await, "sound blocks, of something else");
    let longer = SealedChunk { length: sealed.length + 1, ..sealed.clone() };
    assert!(!assemble(&cluster, &longer).await, "there is no more");
    assert_eq!(cluster.servers[0].chunk_files(), Vec::<std::path::PathBuf>::new());
    assert!(assemble(&cluster, &sealed).await);
    assert_eq!(get(&cluster, 0, 8, 0..u64::MAX).await.unwrap().1, data);
}

#[tokio::test]
async fn broken_replicas_that_are_kept_are_told_at_each_registration() {
    let mut cluster = Cluster::start(N_SERVERS).await;
    let data = bytes(5 * BLOCK_BYTES);
    let bad: [&[usize]; N_SERVERS] = [&[0], &[BLOCK_BYTES], &[2 * BLOCK_BYTES]];
    let sealed = broken_everywhere(&cluster, 7, &data, bad).await;
    assert!(assemble(&cluster, &sealed).await);
    cluster.master.book().events.clear();
    for _ in 0..N_SERVERS {
        let (settings, folder) = cluster.servers.remove(0).stop().await;
        cluster.start_server(settings, folder);
    }
    let told = |cluster: &Cluster| -> BTreeSet<String> {
        let book = cluster.master.book();
        let told = book.events.iter().map(|(host, event)| match event {
            ReplicaEvent::Held { .. } => format!("{host} has it"),
            ReplicaEvent::Broken { chunk, .. } if *chunk == sealed.chunk => {
                format!("{host} has some of it")
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    };
    until("all have told", || told(&cluster).len() == N_SERVERS).await;
    let expected = ["host-1 has it", "host-2 has some of it", "host-3 has some of it"];
    assert!(told(&cluster).iter().eq(expected));
}
