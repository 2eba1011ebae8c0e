//! Reads of a replica on the reader's own host, by the descriptor that its chunkserver hands over.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use chunkstore_client::{ChunkStore, CreateOptions, Descriptors, ReadSettings};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::descriptor::{DescriptorAnswer, DescriptorRequest, DescriptorSocket};
use chunkstore_protocol::{ChunkId, ReplicaEvent, ReplicaKey, StorePath, Version};
use ids::UnixMillis;
use net::{Capability, Grant, Keyring, Right, Role, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Cluster, OVER_HTTP, bytes, flip_byte, until};

const N_BYTES: usize = 70 * BLOCK_BYTES + 123;

fn path() -> StorePath {
    "/f".parse().unwrap()
}

/// Two servers with a replica of the only chunk of a file each, and a client on the second one's host.
async fn with_a_file() -> (Cluster, ChunkStore, Vec<u8>) {
    let cluster = Cluster::start(2).await;
    cluster.master.book().chunk_bytes = 64 << 20;
    let data = bytes(N_BYTES);
    let store = cluster.store_retrying(Duration::from_secs(10), Some("host-2"));
    store.write_all(&path(), data.clone(), CreateOptions::default()).await.unwrap();
    until("both replicas are reported", || {
        cluster.master.book().servers.values().all(|known| known.replicas.len() == 1)
    })
    .await;
    (cluster, store, data)
}

async fn is_lost(cluster: &Cluster, host: &str) {
    until("the master hears that the replica is lost", || {
        let book = cluster.master.book();
        book.events
            .iter()
            .any(|(of, event)| of.as_str() == host && matches!(event, ReplicaEvent::Lost { .. }))
    })
    .await;
}

#[tokio::test]
async fn a_replica_on_the_own_host_is_read_by_its_descriptor_and_no_other_is() {
    let (cluster, store, data) = with_a_file().await;
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
    let n = data.len() as u64;
    let ranges = [0..1, 4_000_000..n, 70_000..2_000_000];
    let read = store.read_ranges(&path(), &ranges).await.unwrap();
    for (range, got) in ranges.iter().zip(&read) {
        assert!(got == &data[range.start as usize..range.end as usize], "{range:?}");
    }
    let counts = store.read_counts();
    assert_eq!((counts.requests, counts.descriptors), (0, 3), "{counts:?}");
    for (host, reads) in [
        (Some("host-3"), ReadSettings::default()),
        (None, ReadSettings::default()),
        (Some("host-2"), OVER_HTTP),
    ] {
        let other = cluster.store_reading(Duration::from_secs(10), host, reads);
        assert!(other.read_all(&path(), 1 << 30).await.unwrap() == data);
        assert_eq!((other.read_counts().requests, other.read_counts().descriptors), (1, 0));
    }
    let reads = ReadSettings { descriptors: Descriptors::Loopback, ..ReadSettings::default() };
    let command_line = cluster.store_reading(Duration::from_secs(10), None, reads);
    assert!(command_line.read_all(&path(), 1 << 30).await.unwrap() == data);
    let counts = command_line.read_counts();
    assert_eq!((counts.requests, counts.descriptors), (0, 1), "{counts:?}");
}

#[tokio::test]
async fn a_block_gone_bad_under_a_descriptor_is_reported_and_read_elsewhere() {
    let (cluster, store, data) = with_a_file().await;
    let file = cluster.servers[1].chunk_files().remove(0);
    flip_byte(&file, 50 * BLOCK_BYTES + 9);
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
    let counts = store.read_counts();
    assert_eq!((counts.descriptors, counts.requests), (1, 1), "{counts:?}");
    is_lost(&cluster, "host-2").await;
    assert!(!file.exists(), "set aside");
}

#[tokio::test]
async fn a_suspect_that_is_sound_stays() {
    let (cluster, store, data) = with_a_file().await;
    let file = cluster.servers[1].chunk_files().remove(0);
    let chunk = store.locate(&path(), 0, None).await.unwrap().chunks[0].chunk;
    let client = cluster.client(&[Right::Read], &chunk.resource());
    let address = &cluster.servers[1].address.address;
    let suspect = chunkstore_client::transfer::suspect_chunk;
    let replica = ReplicaKey { chunk, version: Version(1) };
    assert!(suspect(&client, address, replica).await.unwrap().sound);
    let stranger = cluster.client(&[Right::Read], &ChunkId(99).resource());
    assert!(suspect(&stranger, address, replica).await.is_err());
    flip_byte(&file, N_BYTES - 1);
    assert!(!suspect(&client, address, replica).await.unwrap().sound);
    assert!(!file.exists());
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
}

#[tokio::test]
async fn a_file_cut_short_is_found_so_by_its_server_and_read_elsewhere() {
    let (cluster, store, data) = with_a_file().await;
    let file = cluster.servers[1].chunk_files().remove(0);
    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(N_BYTES as u64 / 2).unwrap();
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
    assert_eq!(store.read_counts().descriptors, 0);
    is_lost(&cluster, "host-2").await;
}

#[tokio::test]
async fn a_restarted_server_s_new_socket_is_found() {
    let (mut cluster, store, data) = with_a_file().await;
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
    let (settings, _folder) = cluster.servers.remove(1).stop().await;
    let listener = std::net::TcpListener::bind(&settings.address).unwrap();
    tokio::spawn(crate::server::run(settings, listener, daemon::Shutdown::default()));
    until("it is back", || {
        let book = cluster.master.book();
        book.n_registrations == 3 && book.servers.values().all(|known| known.replicas.len() == 1)
    })
    .await;
    assert!(store.read_all(&path(), 1 << 30).await.unwrap() == data);
    let counts = store.read_counts();
    assert_eq!((counts.requests, counts.descriptors), (0, 2), "{counts:?}");
}

/// What the server answers to this request, and whether a descriptor came along (it can't without one).
async fn ask(socket: &str, request: &[u8]) -> Option<DescriptorAnswer> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket).unwrap());
    let stream = stream.unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::UnixStream::from_std(stream).unwrap();
    stream.write_u32_le(request.len() as u32).await.unwrap();
    // A server that reads no more of it has said no.
    let _ = stream.write_all(request).await;
    let length = stream.read_u32_le().await.ok()?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.unwrap();
    Some(serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn who_may_not_read_a_chunk_gets_no_descriptor() {
    let (cluster, store, _) = with_a_file().await;
    let chunk = store.locate(&path(), 0, None).await.unwrap().chunks[0].chunk;
    let client = cluster.client(&[Right::Read], &chunk.resource());
    let address = &cluster.servers[1].address.address;
    let named: DescriptorSocket = client.get(address, "/v1/descriptor").await.unwrap();
    let socket = named.socket.unwrap();
    let mint = |keyring: &Keyring, role, grant, expires| {
        let grants = vec![grant];
        keyring.mint(&Capability { subject: "test".into(), role, grants, expires })
    };
    let (ours, theirs) = (&cluster.master.keyring, Keyring::new(&Secret::random()));
    let (this, other) = (chunk.resource(), ChunkId(99).resource());
    let (ever, over) = (UnixMillis(u64::MAX), UnixMillis(1));
    let good = mint(ours, Role::Task, Grant::read(&this), ever);
    for (chunk, version, token, says) in [
        (chunk, 1, mint(ours, Role::Task, Grant::read(&other), ever), "may not read"),
        (chunk, 1, mint(ours, Role::Task, Grant::write(&this), ever), "may not read"),
        (chunk, 1, mint(ours, Role::User, Grant::all("/"), ever), "may not read"),
        (chunk, 1, mint(&theirs, Role::Task, Grant::read(&this), ever), "not signed"),
        (chunk, 1, mint(ours, Role::Task, Grant::read(&this), over), "expired"),
        (chunk, 2, good.clone(), "not held here"),
        (chunk, 1, String::new(), "malformed"),
    ] {
        let request = DescriptorRequest { chunk, version: Version(version), token };
        let answer = ask(&socket, &serde_json::to_vec(&request).unwrap()).await;
        let Some(DescriptorAnswer::Refused { reason }) = answer else { panic!("{answer:?}") };
        assert!(reason.contains(says), "{reason}");
    }
    assert!(matches!(ask(&socket, b"{").await, Some(DescriptorAnswer::Refused { .. })));
    assert_eq!(ask(&socket, &[b' '; 100_000]).await, None, "too long to be read");
    let request = DescriptorRequest { chunk, version: Version(1), token: good };
    let answer = ask(&socket, &serde_json::to_vec(&request).unwrap()).await;
    assert_eq!(answer, Some(DescriptorAnswer::Opened));
}
