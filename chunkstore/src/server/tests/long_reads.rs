//! Reads that take their time: locations asked for ahead, or not at all; masters that restart and servers
//! that come back meanwhile.

use std::time::Duration;

use chunkstore_client::{ChunkStore, CreateOptions, FileReader, ReadSettings, StoreError};
use chunkstore_protocol::StorePath;
use chunkstore_protocol::block::BLOCK_BYTES;

use super::{Cluster, OVER_HTTP, bytes, until};

const CHUNK: usize = 2 * BLOCK_BYTES;
const N_CHUNKS: usize = 12;

fn path() -> StorePath {
    "/f".parse().unwrap()
}

/// Two servers with a replica of each of the twelve chunks, and a master that tells four at a time.
async fn with_a_long_file() -> (Cluster, Vec<u8>) {
    let cluster = Cluster::start(2).await;
    {
        let mut book = cluster.master.book();
        (book.chunk_bytes, book.locate_chunks_max) = (CHUNK as u64, 4);
    }
    let data = bytes(N_CHUNKS * CHUNK);
    cluster.store().write_all(&path(), data.clone(), CreateOptions::default()).await.unwrap();
    until("all replicas are reported", || has_all(&cluster)).await;
    cluster.master.book().calls.clear();
    (cluster, data)
}

fn has_all(cluster: &Cluster) -> bool {
    let book = cluster.master.book();
    book.servers.values().all(|known| known.replicas.len() == N_CHUNKS)
}

fn n_calls(cluster: &Cluster) -> usize {
    cluster.master.book().calls.len()
}

async fn read(reader: &mut FileReader, n_bytes: usize) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::new();
    while data.len() < n_bytes
        && let Some(piece) = reader.next().await?
    {
        data.extend_from_slice(&piece);
    }
    Ok(data)
}

fn store_keeping(cluster: &Cluster, locations_for: Duration) -> ChunkStore {
    let reads = ReadSettings { locations_for, ..OVER_HTTP };
    cluster.store_reading(Duration::from_secs(10), None, reads)
}

#[tokio::test]
async fn where_the_next_chunks_are_is_asked_while_the_last_known_one_is_read() {
    let (cluster, data) = with_a_long_file().await;
    let mut reader = cluster.store().open(&path()).await.unwrap();
    let mut got = read(&mut reader, 3 * CHUNK).await.unwrap();
    assert_eq!(n_calls(&cluster), 1);
    got.extend(read(&mut reader, 1).await.unwrap());
    assert!(got.len() < 4 * CHUNK, "in the fourth chunk");
    until("the next four are asked for", || n_calls(&cluster) == 2).await;
    got.extend(read(&mut reader, usize::MAX).await.unwrap());
    assert!(got == data);
    assert_eq!(n_calls(&cluster), 3);
}

#[tokio::test]
async fn a_master_that_restarts_in_a_long_read_is_waited_for() {
    let (cluster, data) = with_a_long_file().await;
    let mut reader = cluster.store().open(&path()).await.unwrap();
    let mut got = read(&mut reader, CHUNK).await.unwrap();
    {
        // Its servers have to register again; until then it knows of no replica.
        let mut book = cluster.master.book();
        book.epoch += 1;
        book.servers.clear();
        book.unavailable = 4;
    }
    got.extend(read(&mut reader, usize::MAX).await.unwrap());
    assert!(got == data);
}

#[tokio::test]
async fn all_servers_away_in_the_middle_of_a_read_and_back_cost_no_byte() {
    let (mut cluster, data) = with_a_long_file().await;
    let store = cluster.store();
    let mut reader = store.open(&path()).await.unwrap();
    let got = read(&mut reader, 2 * CHUNK + 1).await.unwrap();
    let mut stopped = Vec::new();
    for server in std::mem::take(&mut cluster.servers) {
        stopped.push(server.stop().await);
    }
    let before = store.read_counts().requests;
    let reading = tokio::spawn(async move {
        let rest = read(&mut reader, usize::MAX).await?;
        Ok::<_, StoreError>([got, rest].concat())
    });
    until("both were asked in vain, twice", || store.read_counts().requests >= before + 4).await;
    for (settings, folder) in stopped {
        cluster.start_server(settings, folder);
    }
    assert!(reading.await.unwrap().unwrap() == data);
}

#[tokio::test]
async fn a_file_opened_again_soon_costs_no_call_if_a_client_wants_that() {
    let (cluster, data) = with_a_long_file().await;
    cluster.master.book().locate_chunks_max = usize::MAX;
    let store = store_keeping(&cluster, Duration::from_secs(600));
    for _ in 0..3 {
        assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
        let mut reader = store.open_range(&path(), 5 * CHUNK as u64, 100).await.unwrap();
        assert!(read(&mut reader, 100).await.unwrap() == data[5 * CHUNK..5 * CHUNK + 100]);
        let ranges = [7..8, 900_000..900_001];
        assert_eq!(store.read_ranges(&path(), &ranges).await.unwrap()[1], data[900_000..900_001]);
    }
    assert_eq!(cluster.master.book().calls, ["locate"]);
    let never = store_keeping(&cluster, Duration::ZERO);
    for _ in 0..2 {
        never.open(&path()).await.unwrap();
    }
    assert_eq!(n_calls(&cluster), 3);
}

#[tokio::test]
async fn what_a_client_changes_or_fails_to_read_is_asked_anew() {
    let (cluster, _) = with_a_long_file().await;
    cluster.master.book().locate_chunks_max = usize::MAX;
    let store = store_keeping(&cluster, Duration::from_secs(600));
    let mut stale = store.open(&path()).await.unwrap();
    // Others put another file there, and the first one's chunks go.
    let other = {
        let mut book = cluster.master.book();
        let file = book.files.values_mut().next().unwrap();
        file.chunks.remove(0);
        (N_CHUNKS - 1) * CHUNK
    };
    assert_eq!(store.open(&path()).await.unwrap().len(), (N_CHUNKS * CHUNK) as u64, "as it was");
    for server in &cluster.servers {
        std::fs::remove_file(&server.chunk_files()[0]).unwrap();
    }
    let error = read(&mut stale, usize::MAX).await.unwrap_err();
    assert!(matches!(error, StoreError::Replaced { .. }), "{error}");
    assert_eq!(
        store.open(&path()).await.unwrap().len(),
        other as u64,
        "forgotten with the failure"
    );
    cluster.master.book().files.clear();
    assert!(store.open(&path()).await.is_ok(), "as it was");
    store.write_all(&"/g".parse().unwrap(), vec![1], CreateOptions::default()).await.unwrap();
    let gone = store.open(&path()).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "forgotten with the change");
}
