//! A reader that takes nothing, seen from within: over a socket the kernel's buffers would take for it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chunkstore_client::checksum::crc32c;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{ChunkId, Version};
use daemon::Owner;
use futures_util::StreamExt as _;
use net::Client;
use tokio::sync::Semaphore;

use super::{bytes, client_settings, until};
use crate::server::Server;
use crate::server::background::Behind;
use crate::server::copy::Rates;
use crate::server::disks::Disks;
use crate::server::download::{DownloadError, Footers, Reader, send};
use crate::server::event_loop::ReplicaLoop;
use crate::server::give_way::Clients;
use crate::server::open_chunk::OpenChunk;
use crate::server::seal::Unfinished;

const REPLICA: ReplicaKey = ReplicaKey { chunk: ChunkId(7), version: Version(1) };

/// A server that serves one reader at a time, and holds a chunk of these bytes.
async fn server(folder: &tempfile::TempDir, data: &[u8], idle_timeout: Duration) -> Arc<Server> {
    let host: ids::HostName = "host-1".parse().unwrap();
    let owner = Owner::new("chunkserver", host.clone());
    let (disks, _) =
        Disks::open(&[folder.path().to_owned()], &owner, super::DISK_LIMITS).await.unwrap();
    let disks = Arc::new(disks);
    let mut chunk = OpenChunk::create(&disks, REPLICA).await.unwrap();
    for block in data.chunks(BLOCK_BYTES) {
        chunk.push(Bytes::copy_from_slice(block));
        chunk.end_block(crc32c(block));
    }
    chunk.seal().await.unwrap();
    Arc::new(Server {
        host,
        disks,
        footers: Arc::new(Footers::default()),
        replicas: ReplicaLoop::new().0,
        unfinished: Unfinished::default(),
        logs: crate::server::logs::Logs::default(),
        rack: ids::RackName::default_rack(),
        address: "127.0.0.1:1".to_owned(),
        master: "127.0.0.1:1".to_owned(),
        keyring: net::Keyring::new(&net::Secret::random()),
        client: Client::new(client_settings()),
        copy_client: Client::new(client_settings()),
        behind: Behind::here(),
        clients: Clients::default(),
        reads: Arc::new(Semaphore::new(1)),
        rates: Rates::new(1 << 30, 1 << 30),
        verifying: tokio::sync::Semaphore::new(1),
        follow_timeout: Duration::from_secs(2),
        idle_log_timeout: Duration::from_hours(1),
        idle_timeout,
        socket: None,
    })
}

async fn read(body: Body) -> Result<usize, axum::Error> {
    let mut frames = body.into_data_stream();
    let mut n_bytes = 0;
    while let Some(frame) = frames.next().await {
        n_bytes += frame?.len();
    }
    Ok(n_bytes)
}

#[tokio::test]
async fn a_reader_that_takes_nothing_gives_way_to_others_and_learns_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = bytes(40 * BLOCK_BYTES);
    let server = server(&folder, &data, Duration::from_millis(300)).await;
    let idle = send(&server, Reader::Client, REPLICA, 0, None).await.unwrap();
    let refused = send(&server, Reader::Client, REPLICA, 0, None).await.map(|_| ());
    assert!(matches!(refused, Err(DownloadError::TooMany { .. })), "{refused:?}");
    until("the idle reader has lost its permit", || server.reads.available_permits() == 1).await;
    let other = send(&server, Reader::Client, REPLICA, 0, None).await.unwrap();
    assert!(read(other.body).await.unwrap() > data.len());
    let error = read(idle.body).await.unwrap_err().to_string();
    assert!(error.contains("took no bytes"), "{error}");
}

#[tokio::test]
async fn a_reader_that_is_gone_leaves_its_permit() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &bytes(40 * BLOCK_BYTES), Duration::from_secs(600)).await;
    drop(send(&server, Reader::Client, REPLICA, 0, None).await.unwrap());
    until("its permit is back", || server.reads.available_permits() == 1).await;
}
