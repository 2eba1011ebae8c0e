//! Requests that no client of ours sends: each is refused with a reason, and nothing on disk changes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use chunkstore_client::checksum::crc32c;
use chunkstore_client::transfer::{PIPELINE_HEADER, put_chunk};
use chunkstore_protocol::block::{BLOCK_BYTES, BlockHeader};
use chunkstore_protocol::{CHUNK_BYTES_MAX, ChunkId, ReplicaKey, ServerAddress, Version};
use futures_util::stream;
use ids::UnixMillis;
use net::reqwest::{Body, Method};
use net::{Capability, Client, Grant, Role};

use super::transfers::{BOTH, frames};
use super::{Cluster, bytes, client_settings};

const HELD: ChunkId = ChunkId(0x2a);

/// One server that holds version 2 of a chunk.
async fn server_with_a_chunk(data: &[u8]) -> Cluster {
    let cluster = Cluster::start(1).await;
    let client = cluster.client(BOTH, &HELD.resource());
    let body = stream::iter(frames(data).into_iter().map(Ok));
    let head = &cluster.servers[0].address;
    put_chunk(&client, head, &[], ReplicaKey { chunk: HELD, version: Version(2) }, body)
        .await
        .unwrap();
    cluster
}

/// Every file of the chunks and of the trash, with its bytes.
fn on_disk(cluster: &Cluster) -> BTreeMap<PathBuf, Vec<u8>> {
    let trash = std::fs::read_dir(cluster.servers[0].folder.path().join("trash")).unwrap();
    let files = cluster.servers[0].chunk_files().into_iter();
    let files = files.chain(trash.map(|entry| entry.unwrap().path()));
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn header(length: usize, checksum: u32) -> Bytes {
    let length = u32::try_from(length).unwrap();
    Bytes::copy_from_slice(&BlockHeader { length, checksum }.encode())
}

/// What can be wrong with the bytes, and what is said of it.
fn bad_bodies(data: &[u8]) -> Vec<(&'static str, Vec<Bytes>, u16, &'static str)> {
    let whole = frames(data);
    let with = |at: usize, frame: Bytes| {
        let mut frames = whole.clone();
        frames[at] = frame;
        frames
    };
    let block = Bytes::from(bytes(BLOCK_BYTES));
    let one = [header(BLOCK_BYTES, crc32c(&block)), block];
    let n_blocks = CHUNK_BYTES_MAX as usize / BLOCK_BYTES + 1;
    let too_long = one.iter().cycle().take(2 * n_blocks).cloned().collect();
    let mut short_in_the_middle = vec![header(1, crc32c(b"x")), Bytes::from_static(b"x")];
    short_in_the_middle.extend(whole.iter().cloned());
    let mut more = whole.clone();
    more.push(Bytes::from_static(b"and more"));
    let last = whole.len() - 1;
    vec![
        ("a wrong checksum", with(0, header(BLOCK_BYTES, 7)), 400, "checksum"),
        ("a wrong checksum of all", with(last, header(0, 7)), 400, "checksum"),
        ("a block that is too long", with(0, header(BLOCK_BYTES + 1, 7)), 400, "block"),
        ("a short block in the middle", short_in_the_middle, 400, "block"),
        ("more bytes than a chunk has", too_long, 400, "block"),
        ("bytes behind the end", more, 400, "end"),
        ("nothing", frames(&[]), 400, "empty"),
        ("no stream", vec![Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")], 400, "block"),
        ("other bytes than are sealed", frames(&data[1..]), 409, "other bytes"),
    ]
}

#[tokio::test]
async fn a_bad_body_is_refused_with_a_reason_and_nothing_on_disk_changes() {
    let data = bytes(2 * BLOCK_BYTES + 5);
    let cluster = server_with_a_chunk(&data).await;
    let before = on_disk(&cluster);
    assert_eq!(before.len(), 1);
    let address = &cluster.servers[0].address.address;
    for (what, frames, status, said) in bad_bodies(&data) {
        // To a new name, and to that of the chunk that is held, where the first thing wrong may be another.
        let is_of_the_name = status == 409;
        for (chunk, version) in [(ChunkId(0x2b), 1), (HELD, 2)] {
            if is_of_the_name && chunk != HELD {
                continue;
            }
            let client = cluster.client(BOTH, &chunk.resource());
            let path = format!("{}?version={version}", chunk.route());
            let body = Body::wrap_stream(stream::iter(
                frames.clone().into_iter().map(Ok::<_, std::io::Error>),
            ));
            let request = client.request(Method::PUT, address, &path).body(body);
            let answer = request.send().await.unwrap();
            let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            if chunk != HELD || is_of_the_name {
                assert_eq!(got, status, "{what}: {text}");
                assert!(text.contains(said), "{what}: {text}");
            }
            assert!((400..500).contains(&got) && text.contains("\"type\""), "{what}: {text}");
            assert!(on_disk(&cluster) == before, "{what}, to {chunk}");
        }
    }
}

#[tokio::test]
async fn a_bad_request_is_refused_with_a_reason_and_nothing_on_disk_changes() {
    let data = bytes(2 * BLOCK_BYTES + 5);
    let cluster = server_with_a_chunk(&data).await;
    let before = on_disk(&cluster);
    let address = &cluster.servers[0].address.address;
    let client = cluster.client(BOTH, &HELD.resource());
    let server =
        ServerAddress { address: "127.0.0.1:1".into(), ..cluster.servers[0].address.clone() };
    let long = serde_json::to_string(&vec![server; 16]).unwrap();
    let end = data.len() + 1;
    for (method, query, pipeline, status, said) in [
        (Method::PUT, "?version=1", "[]", 409, "version 2 of chunk 000000000000002a is held"),
        (Method::PUT, "", "[]", 400, "missing field `version`"),
        (Method::PUT, "?version=-1", "[]", 400, "query string"),
        (Method::PUT, "?version=4294967296", "[]", 400, "query string"),
        (Method::PUT, "?version=3", "not json", 400, "JSON array"),
        (Method::PUT, "?version=3", "{}", 400, "JSON array"),
        (Method::PUT, "?version=3", &long, 400, "16 more servers is too long"),
        (Method::GET, "?version=1", "[]", 404, "not held here"),
        (Method::GET, "?version=3", "[]", 404, "not held here"),
        (Method::GET, "?version=two", "[]", 400, "query string"),
        (Method::GET, "?version=2&offset=-1", "[]", 400, "query string"),
        (Method::GET, &format!("?version=2&offset={end}"), "[]", 400, "there are none from"),
        (Method::GET, "?version=2&offset=18446744073709551615", "[]", 400, "there are none from"),
        (Method::GET, "?version=2&length=many", "[]", 400, "query string"),
        (Method::DELETE, "?version=2", "[]", 405, ""),
        (Method::POST, "?version=2", "[]", 405, ""),
    ] {
        let what = format!("{method} {query} {pipeline}");
        let path = format!("{}{query}", HELD.route());
        let request = client.request(method, address, &path).header(PIPELINE_HEADER, pipeline);
        let answer = request.body(frames(&data).concat()).send().await.unwrap();
        let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{what}: {text}");
        assert!(text.contains(said), "{what}: {text}");
        assert!(on_disk(&cluster) == before, "{what}");
    }
}

/// The writer's token says where a chunk goes on to; were it the request, whoever may write a file could have
/// servers send to any address that they reach, a log's primary with its own token.
#[tokio::test]
async fn a_server_that_the_token_does_not_name_is_not_sent_to() {
    let data = bytes(2 * BLOCK_BYTES + 5);
    let cluster = server_with_a_chunk(&data).await;
    let before = on_disk(&cluster);
    let own = &cluster.servers[0].address;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let stranger =
        ServerAddress { address: listener.local_addr().unwrap().to_string(), ..own.clone() };
    let chunk = ChunkId(0x2b);
    let token = cluster.master.keyring.mint(&Capability {
        subject: "forger".to_owned(),
        role: Role::Task,
        grants: vec![Grant::all(chunk.resource()), Grant::write(own.resource())],
        expires: UnixMillis(u64::MAX),
    });
    let client = Client::new(client_settings()).with_token(token);
    for pipeline in [vec![stranger.clone()], vec![own.clone(), stranger.clone()]] {
        let pipeline = serde_json::to_string(&pipeline).unwrap();
        for (method, route) in [(Method::PUT, ""), (Method::POST, "/records")] {
            let path = format!("{}{route}?version=1", chunk.route());
            let request = client.request(method.clone(), &own.address, &path);
            let request = request.header(PIPELINE_HEADER, &pipeline);
            let answer = request.body(frames(&data).concat()).send().await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert_eq!(status, 403, "{method}{route}: {text}");
            assert!(text.contains(&stranger.address), "{method}{route}: {text}");
        }
    }
    let called = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "the stranger was called");
    assert!(on_disk(&cluster) == before);
}
