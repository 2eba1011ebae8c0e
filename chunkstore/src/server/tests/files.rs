//! Whole files: the client's writer and reader against servers that fail.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileReader, StoreError};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{FileKind, ReplicaEvent, StorePath};

use super::{Cluster, bytes, dead_server, flip_byte, until};

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

async fn write(store: &ChunkStore, to: &str, data: &[u8], piece: usize) -> Result<(), StoreError> {
    let mut writer = store.create(&path(to), CreateOptions::default()).await?;
    for part in data.chunks(piece) {
        writer.write(Bytes::copy_from_slice(part)).await?;
    }
    let status = writer.close().await?;
    let FileKind::File { length, open, .. } = status.kind else { panic!("{status:?}") };
    assert_eq!((length, open), (data.len() as u64, false));
    Ok(())
}

async fn rest(reader: &mut FileReader) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty());
        data.extend_from_slice(&piece);
        assert!(reader.position() >= data.len() as u64);
    }
    Ok(data)
}

/// Waits until the master knows so many replicas in all.
async fn replicas(cluster: &Cluster, n: usize) {
    until("the replicas are reported", || {
        let book = cluster.master.book();
        book.servers.values().map(|known| known.replicas.len()).sum::<usize>() == n
    })
    .await;
}

#[tokio::test]
async fn a_server_on_the_folder_of_another_host_does_not_start() {
    let mut cluster = Cluster::start(1).await;
    let (mut settings, _folder) = cluster.servers.remove(0).stop().await;
    settings.host = "host-2".parse().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = crate::server::run(settings, listener, daemon::Shutdown::default());
    let ended = tokio::time::timeout(super::DEADLINE, started).await.expect("it ends at once");
    let error = ended.unwrap_err().to_string();
    let both = "belongs to the chunkserver of host-1, not to the chunkserver of host-2";
    assert!(error.contains(both), "{error}");
}

#[tokio::test]
async fn a_file_for_a_cluster_without_servers_is_refused_soon_in_the_masters_words() {
    let cluster = Cluster::start(0).await;
    let store = cluster.store_retrying(Duration::from_secs(600), None);
    let refused = tokio::time::timeout(super::DEADLINE, write(&store, "/f", b"x", 1)).await;
    let error = refused.expect("long before the time for retries is over").unwrap_err();
    assert!(matches!(error, StoreError::NoServers { .. }), "{error}");
    assert!(error.to_string().contains("start one"), "{error}");
}

#[tokio::test]
async fn servers_have_their_time_to_register_however_long_the_master_was_away() {
    let mut cluster = Cluster::start(0).await;
    // With the client's pauses, for longer than servers have.
    cluster.master.book().unavailable = 16;
    let store = cluster.store_retrying(Duration::from_secs(600), None);
    let writing = tokio::spawn(async move { write(&store, "/f", b"x", 1).await });
    until("the master is back, without servers", || !cluster.master.book().excluded.is_empty())
        .await;
    ["host-1", "host-2"].into_iter().for_each(|host| cluster.add_server(host, 0));
    let written = tokio::time::timeout(super::DEADLINE, writing).await;
    written.expect("in time").expect("no panic").expect("a server came");
}

#[tokio::test]
async fn a_file_of_many_chunks_is_read_back_whole_and_in_ranges() {
    let cluster = Cluster::start(2).await;
    cluster.master.book().chunk_bytes = 3 * BLOCK_BYTES as u64 + 17;
    let store = cluster.store();
    let data = bytes(1_000_000);
    write(&store, "/f", &data, 70_001).await.unwrap();
    replicas(&cluster, 12).await;
    let mut reader = store.open(&path("/f")).await.unwrap();
    assert_eq!(reader.len(), data.len() as u64);
    assert_eq!(rest(&mut reader).await.unwrap(), data);
    for (offset, length) in [(0, 1), (196_624, 3), (196_625, 1), (500_000, 400_000), (999_999, 9)] {
        reader.seek(offset, length);
        let end = (offset + length).min(1_000_000);
        let expected = &data[offset as usize..end as usize];
        assert_eq!(rest(&mut reader).await.unwrap(), expected, "{offset}+{length}");
        let mut fresh = store.open_range(&path("/f"), offset, length).await.unwrap();
        assert_eq!(rest(&mut fresh).await.unwrap(), expected);
    }
    reader.seek(2_000_000, 5);
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn many_ranges_cost_one_call_to_the_master_and_near_ones_one_read() {
    let cluster = Cluster::start(3).await;
    cluster.master.book().chunk_bytes = 8 * BLOCK_BYTES as u64;
    let store = cluster.store();
    let data = bytes(50 * BLOCK_BYTES + 321);
    write(&store, "/f", &data, 300_000).await.unwrap();
    replicas(&cluster, 14).await;
    let n = data.len() as u64;
    let ranges = [
        n - 5..n,
        0..10,
        20..30,
        5..25,
        7..7,
        1_000_000..1_000_001,
        90_000..n - 90_000,
        n - 1..n + 9,
    ];
    let calls = cluster.master.book().calls.len();
    let before = store.read_counts().requests;
    let read = store.read_ranges(&path("/f"), &ranges).await.unwrap();
    assert_eq!(cluster.master.book().calls[calls..], ["locate"]);
    // All of it hangs together: one read for each chunk.
    assert_eq!(store.read_counts().requests - before, 7);
    assert_eq!(read.len(), ranges.len());
    for (range, got) in ranges.iter().zip(&read) {
        let expected = &data[range.start as usize..range.end.min(n) as usize];
        assert!(got == expected, "{range:?}");
    }
    let apart = store.read_ranges(&path("/f"), &[0..1, 600_000..600_001, n + 1..n + 2]).await;
    assert_eq!(apart.unwrap(), [&data[..1], &data[600_000..600_001], b""]);
    assert_eq!(store.read_counts().requests - before, 9);
    assert!(store.read_ranges(&path("/f"), &[]).await.unwrap().is_empty());
    let missing = store.read_ranges(&path("/none"), &[0..1, 1..2]).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_server_that_dies_costs_ranges_no_bytes() {
    let mut cluster = Cluster::start(2).await;
    cluster.master.book().chunk_bytes = 2 * BLOCK_BYTES as u64;
    let store = cluster.store_retrying(Duration::ZERO, Some("host-2"));
    let data = bytes(20 * BLOCK_BYTES);
    write(&store, "/f", &data, 300_000).await.unwrap();
    replicas(&cluster, 20).await;
    cluster.servers.remove(1).stop().await;
    let n = data.len() as u64;
    let read = store.read_ranges(&path("/f"), &[3..n, 0..4]).await.unwrap();
    assert!(read[0] == data[3..] && read[1] == data[..4]);
    cluster.servers.remove(0).stop().await;
    let error = store.read_ranges(&path("/f"), &[3..n, 0..4]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_seek_within_what_has_arrived_asks_no_server() {
    let cluster = Cluster::start(2).await;
    let store = cluster.store();
    let data = bytes(4 * BLOCK_BYTES);
    write(&store, "/f", &data, 100_000).await.unwrap();
    replicas(&cluster, 2).await;
    let mut reader = store.open_range(&path("/f"), 10, 20).await.unwrap();
    assert_eq!(rest(&mut reader).await.unwrap(), &data[10..30]);
    // The server sent the whole block: what follows in it is there.
    for (offset, length) in [(30, 5), (40, 1000), (60_000, BLOCK_BYTES as u64 - 60_000)] {
        reader.seek(offset, length);
        let expected = &data[offset as usize..(offset + length) as usize];
        assert_eq!(rest(&mut reader).await.unwrap(), expected);
    }
    assert_eq!(store.read_counts().requests, 1);
    reader.seek(BLOCK_BYTES as u64 - 1, 2);
    assert_eq!(rest(&mut reader).await.unwrap(), &data[BLOCK_BYTES - 1..=BLOCK_BYTES]);
    reader.seek(0, 3);
    assert_eq!(rest(&mut reader).await.unwrap(), &data[..3], "backwards asks again");
    assert_eq!(store.read_counts().requests, 3);
}

#[tokio::test]
async fn a_small_file_costs_two_calls_to_the_master_and_an_empty_one_too() {
    let cluster = Cluster::start(2).await;
    let store = cluster.store();
    write(&store, "/small", b"hello", 5).await.unwrap();
    write(&store, "/empty", b"", 1).await.unwrap();
    let mut calls = cluster.master.book().calls.clone();
    // On a very slow machine no file is small.
    calls.retain(|call| *call != "renew");
    assert_eq!(calls, ["create", "close", "create", "close"]);
    let mut reader = store.open(&path("/empty")).await.unwrap();
    assert!(reader.is_empty() && reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_dead_head_costs_a_new_chunk_and_no_bytes() {
    let mut cluster = Cluster::start(2).await;
    cluster.master.book().also = vec![dead_server("dead")];
    let store = cluster.store();
    let data = bytes(2_500_000);
    write(&store, "/f", &data, 100_000).await.unwrap();
    let excluded = cluster.master.book().excluded.clone();
    assert!(excluded[0].is_empty() && excluded[1..].iter().all(|e| e[0].as_str() == "dead"));
    replicas(&cluster, 6).await;
    let mut reader = store.open(&path("/f")).await.unwrap();
    assert_eq!(rest(&mut reader).await.unwrap(), data);
    // And a full one in the middle of the chain of tries.
    cluster.add_server("a-full-one", u64::MAX);
    cluster.registered(3).await;
    write(&store, "/g", &data, 100_000).await.unwrap();
    let mut reader = store.open(&path("/g")).await.unwrap();
    assert_eq!(rest(&mut reader).await.unwrap(), data);
}

#[tokio::test]
async fn a_chunk_on_one_server_is_not_enough_where_two_were_asked_for() {
    let cluster = Cluster::start(1).await;
    let store = cluster.store_retrying(Duration::ZERO, None);
    let refused = write(&store, "/f", b"data", 4).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooFewReplicas { .. }), "{refused}");
    assert!(cluster.master.book().files.is_empty(), "taken back");
    cluster.master.book().also = vec![dead_server("dead-1"), dead_server("dead-2")];
    let refused = write(&store, "/f", b"data", 4).await.unwrap_err().to_string();
    assert!(refused.contains("dead-1: no connection to"), "{refused}");
    cluster.master.book().also.clear();
    cluster.master.book().replication = 1;
    write(&store, "/f", b"data", 4).await.unwrap();
}

#[tokio::test]
async fn a_block_gone_bad_on_disk_is_read_from_the_other_replica() {
    let cluster = Cluster::start(2).await;
    let data = bytes(40 * BLOCK_BYTES);
    cluster.master.book().chunk_bytes = 64 << 20;
    let near = cluster.store_retrying(Duration::from_secs(5), Some("host-2"));
    write(&near, "/f", &data, 1 << 20).await.unwrap();
    replicas(&cluster, 2).await;
    let broken = &cluster.servers[1];
    flip_byte(&broken.chunk_files()[0], 30 * BLOCK_BYTES + 9);
    let mut reader = near.open(&path("/f")).await.unwrap();
    assert_eq!(rest(&mut reader).await.unwrap(), data);
    until("the master hears which replica is lost", || {
        let book = cluster.master.book();
        book.events.iter().any(|(host, event)| {
            host.as_str() == "host-2" && matches!(event, ReplicaEvent::Lost { .. })
        })
    })
    .await;
}

#[tokio::test]
async fn a_reader_goes_on_when_the_nearest_server_dies_and_names_all_when_none_is_left() {
    let mut cluster = Cluster::start(2).await;
    cluster.master.book().chunk_bytes = 2 * BLOCK_BYTES as u64;
    let data = bytes(10 * BLOCK_BYTES);
    let store = cluster.store_retrying(Duration::ZERO, Some("host-2"));
    write(&store, "/f", &data, 50_000).await.unwrap();
    replicas(&cluster, 10).await;
    let mut reader = store.open(&path("/f")).await.unwrap();
    let first = reader.next().await.unwrap().unwrap();
    cluster.servers.remove(1).stop().await;
    let mut got = first.to_vec();
    got.extend(rest(&mut reader).await.unwrap());
    assert_eq!(got, data);
    cluster.servers.remove(0).stop().await;
    reader.seek(0, 10);
    let error = rest(&mut reader).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { offset: 0, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("/f") && text.contains("host-1") && text.contains("host-2"), "{text}");
}

#[tokio::test]
async fn a_reader_waits_for_replicas_while_a_restarted_master_learns_of_them() {
    let cluster = Cluster::start(1).await;
    cluster.master.book().replication = 1;
    let store = cluster.store();
    write(&store, "/f", b"patience", 3).await.unwrap();
    replicas(&cluster, 1).await;
    {
        let mut book = cluster.master.book();
        book.epoch += 1;
        book.servers.clear();
        book.unavailable = 3;
    }
    let mut reader = store.open(&path("/f")).await.unwrap();
    assert_eq!(rest(&mut reader).await.unwrap(), b"patience");
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_writer_is_idle_and_not_after_it_is_dropped() {
    let cluster = Cluster::start(2).await;
    cluster.master.book().lease_ms = 30;
    let store = cluster.store();
    let mut writer = store.create(&path("/f"), CreateOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    until("three renewals", || cluster.master.book().renewed.len() >= 3).await;
    cluster.master.book().lease_lost = true;
    let lost = loop {
        match writer.write(Bytes::from_static(b"x")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, StoreError::LeaseLost { .. }), "{lost}");
    cluster.master.book().lease_lost = false;
    let dropped = store.create(&path("/g"), CreateOptions::default()).await.unwrap();
    drop((writer, dropped));
    cluster.master.book().renewed.clear();
    let watch = store.create(&path("/h"), CreateOptions::default()).await.unwrap();
    until("ten more renewals", || cluster.master.book().renewed.len() >= 10).await;
    let renewed = cluster.master.book().renewed.clone();
    let watched = *renewed.last().unwrap();
    // One that was asked for before the drop may still have arrived.
    assert!(renewed[1..].iter().all(|file| *file == watched), "{renewed:?}");
    drop(watch);
}

#[tokio::test]
async fn an_abandoned_file_disappears_and_what_is_missing_or_taken_is_named() {
    let cluster = Cluster::start(2).await;
    let store = cluster.store();
    let mut writer = store.create(&path("/f"), CreateOptions::default()).await.unwrap();
    writer.write(bytes(300_000).into()).await.unwrap();
    assert!(matches!(store.open(&path("/f")).await, Err(StoreError::StillOpen { .. })));
    let taken = store.create(&path("/f"), CreateOptions::default()).await.unwrap_err();
    assert!(matches!(taken, StoreError::AlreadyExists { .. }));
    writer.abandon().await.unwrap();
    assert!(!store.exists(&path("/f")).await.unwrap());
    let missing = store.open(&path("/f")).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }) && missing.to_string().contains("/f"));
    until("nothing is left on disk", || cluster.servers.iter().all(|s| s.chunk_files().is_empty()))
        .await;
}

#[tokio::test]
async fn a_file_comes_out_into_a_local_one_and_a_failure_names_that() {
    let cluster = Cluster::start(2).await;
    let store = cluster.store();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let data = bytes(2_345_678);
    write(&store, "/f", &data, 300_000).await.unwrap();
    std::fs::write(&target, bytes(3_000_000)).unwrap();
    let told = std::cell::Cell::new(0);
    let n = store.get_local(&path("/f"), &target, |n| told.set(n)).await.unwrap();
    assert_eq!((n, told.get()), (data.len() as u64, data.len() as u64));
    assert_eq!(std::fs::read(&target).unwrap(), data);

    let missing = store.get_local(&path("/g"), &target, |_| {}).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    let nowhere = folder.path().join("no/such/folder");
    let error = store.get_local(&path("/f"), &nowhere, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}
