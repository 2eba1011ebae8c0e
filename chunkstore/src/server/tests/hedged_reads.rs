//! Reads whose replica falls silent: another one is asked, and only then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chunkstore_client::{ChunkStore, CreateOptions, FileReader, ReadSettings, StoreError};
use chunkstore_protocol::StorePath;
use chunkstore_protocol::block::BLOCK_BYTES;
use clock::Stopwatch;

use super::gate::Gate;
use super::{Cluster, OVER_HTTP, bytes, dead_server, until};

const HEDGE_AFTER: Duration = Duration::from_millis(200);
/// Long after the hedge, and long before a silent server is given up (20 s).
const SOON: Duration = Duration::from_secs(8);

/// Index of the server behind the gate.
const GATED: usize = 1;

fn path() -> StorePath {
    "/f".parse().unwrap()
}

/// `n` servers, each with a replica of the file's only chunk; the second one
/// (or the only one) is behind a gate.
async fn gated(n: usize, data: &[u8], budget: u64) -> (Cluster, Gate) {
    let cluster = Cluster::start(n).await;
    {
        let mut book = cluster.master.book();
        book.chunk_bytes = 64 << 20;
        book.replication = n as u8;
    }
    let options = CreateOptions::default();
    cluster.store().write_all(&path(), data.to_vec(), options).await.unwrap();
    until("all replicas are reported", || {
        cluster.master.book().servers.values().all(|known| known.replicas.len() == 1)
    })
    .await;
    let gated = &cluster.servers[GATED.min(n - 1)].address;
    let gate = Gate::before(&gated.address, budget).await;
    let address = gate.address.clone();
    cluster.master.book().servers.get_mut(&gated.host).unwrap().address.address = address;
    (cluster, gate)
}

fn near_the_gate(cluster: &Cluster, hedge_after: Duration) -> ChunkStore {
    let reads = ReadSettings { hedge_after, ..OVER_HTTP };
    cluster.store_reading(Duration::from_secs(5), Some("host-2"), reads)
}

async fn rest(reader: &mut FileReader) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await? {
        data.extend_from_slice(&piece);
    }
    Ok(data)
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_a_moment_and_no_bytes() {
    let data = bytes(60 * BLOCK_BYTES + 77);
    // Nothing at all; the head of the answer; in the middle of a block; all but the end.
    for budget in [0, 400, 20 * BLOCK_BYTES as u64 + 9000, data.len() as u64] {
        let (cluster, gate) = gated(2, &data, budget).await;
        let store = near_the_gate(&cluster, HEDGE_AFTER);
        let watch = Stopwatch::start();
        let mut reader = store.open(&path()).await.unwrap();
        assert!(rest(&mut reader).await.unwrap() == data, "silent after {budget}");
        assert!(watch.elapsed() < SOON, "silent after {budget}: {:?}", watch.elapsed());
        let counts = store.read_counts();
        assert!(counts.hedges_won >= 1, "silent after {budget}");
        assert!(gate.connections.load(Ordering::SeqCst) >= 1);
        // From then on the silent server is asked last.
        reader.seek(0, u64::MAX);
        assert!(rest(&mut reader).await.unwrap() == data);
        assert_eq!(store.read_counts().hedges_won, counts.hedges_won);
    }
}

#[tokio::test]
async fn while_all_is_well_no_second_replica_is_asked() {
    let data = bytes(60 * BLOCK_BYTES);
    let (cluster, gate) = gated(2, &data, u64::MAX).await;
    let store = cluster.store_reading(
        Duration::from_secs(5),
        Some("host-1"),
        ReadSettings { hedge_after: Duration::from_secs(5), ..OVER_HTTP },
    );
    for _ in 0..5 {
        let mut reader = store.open(&path()).await.unwrap();
        assert!(rest(&mut reader).await.unwrap() == data);
    }
    assert_eq!(gate.connections.load(Ordering::SeqCst), 0);
    assert_eq!(store.read_counts().hedges, 0);
}

#[tokio::test]
async fn a_second_replica_that_fails_makes_way_for_the_third() {
    let data = bytes(3 * BLOCK_BYTES);
    let (cluster, _gate) = gated(3, &data, 0).await;
    {
        let mut book = cluster.master.book();
        let known = book.servers.get_mut(&cluster.servers[0].address.host).unwrap();
        known.address.address = dead_server("host-1").address;
    }
    let store = near_the_gate(&cluster, HEDGE_AFTER);
    let watch = Stopwatch::start();
    for _ in 0..3 {
        let mut reader = store.open(&path()).await.unwrap();
        assert!(rest(&mut reader).await.unwrap() == data);
    }
    assert!(watch.elapsed() < SOON, "{:?}", watch.elapsed());
    let counts = store.read_counts();
    // The readers begin with each of the three in turn: one of them asks the dead one first.
    assert!(counts.hedges >= 4 && counts.hedges_won >= 3, "{counts:?}");
}

#[tokio::test]
async fn a_silent_server_that_is_the_only_one_is_waited_for_and_dropped_calls_lose_nothing() {
    let data = bytes(10 * BLOCK_BYTES);
    let (cluster, gate) = gated(1, &data, 3 * BLOCK_BYTES as u64 + 9000).await;
    let store = near_the_gate(&cluster, HEDGE_AFTER);
    let mut reader = store.open(&path()).await.unwrap();
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    let patience = 2 * HEDGE_AFTER;
    while let Ok(piece) = tokio::time::timeout(patience, reader.next()).await {
        got.extend_from_slice(&piece.unwrap().unwrap());
    }
    assert!(got.len() < data.len());
    assert!(tokio::time::timeout(patience, reader.next()).await.is_err(), "silent still");
    gate.open();
    got.extend(rest(&mut reader).await.unwrap());
    assert!(got == data);
    assert_eq!(gate.connections.load(Ordering::SeqCst), 1, "asked once");
    assert_eq!(store.read_counts().hedges, 0);
}
