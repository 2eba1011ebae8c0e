//! One chunk at a time: `PUT` and `GET` as servers answer them.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::blocks::{BlockDecoder, BlockEncoder, Item};
use chunkstore_client::checksum::crc32c;
use chunkstore_client::transfer::{freeze_chunk, get_chunk, put_chunk, seal_chunk};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{
    ChunkId, ProblemKind, ReplicaEvent, ReplicaKey, SealedChunk, ServerAddress, ServerCommand,
    Version,
};
use futures_util::stream;
use net::reqwest::Method;
use net::{CallError, Capability, Client, Right, Role};

use super::{Cluster, bytes, client_settings, dead_server, flip_byte, until};

pub(super) const BOTH: &[Right] = &[Right::Read, Right::Write];

/// The block stream of a chunk, as one frame for each block.
pub(super) fn frames(data: &[u8]) -> Vec<Bytes> {
    let mut encoder = BlockEncoder::default();
    let mut frames = Vec::new();
    encoder.push(Bytes::copy_from_slice(data), &mut frames);
    encoder.finish(&mut frames);
    frames
}

pub(super) async fn put(
    cluster: &Cluster,
    chunk: u64,
    frames: Vec<Bytes>,
    downstream: &[ServerAddress],
) -> Result<SealedChunk, CallError> {
    let chunk = ChunkId(chunk);
    let client = cluster.client(BOTH, &chunk.resource());
    let body = stream::iter(frames.into_iter().map(Ok));
    put_chunk(
        &client,
        &cluster.servers[0].address,
        downstream,
        ReplicaKey { chunk, version: Version(1) },
        body,
    )
    .await
}

/// The bytes of a `GET` from the `n`th server, and where they begin.
pub(super) async fn get(
    cluster: &Cluster,
    n: usize,
    chunk: u64,
    range: std::ops::Range<u64>,
) -> Result<(u64, Vec<u8>), CallError> {
    let chunk = ChunkId(chunk);
    let client = cluster.client(&[Right::Read], &chunk.resource());
    let address = &cluster.servers[n].address.address;
    let length = range.end - range.start;
    let (first, mut response) =
        get_chunk(&client, address, ReplicaKey { chunk, version: Version(1) }, range.start, length)
            .await?;
    let mut decoder = BlockDecoder::new(1 << 30);
    let mut data = Vec::new();
    while let Some(frame) =
        response.chunk().await.map_err(|error| CallError::from_http(address, &error))?
    {
        decoder.feed(frame);
        while let Some(item) = decoder.next_item().unwrap() {
            if let Item::Bytes(bytes) = item {
                data.extend_from_slice(&bytes);
            }
        }
    }
    decoder.finish().unwrap();
    Ok((first, data))
}

pub(super) fn status_and_kind<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (u16, String) {
    match outcome {
        Err(CallError::Problem { problem, .. }) => (problem.status, problem.kind),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_chunk_goes_through_the_pipeline_and_comes_back_from_each_server_in_any_range() {
    let cluster = Cluster::start(3).await;
    let data = bytes(3 * BLOCK_BYTES + 1000);
    let downstream: Vec<_> = cluster.servers[1..].iter().map(|s| s.address.clone()).collect();
    let sealed = put(&cluster, 7, frames(&data), &downstream).await.unwrap();
    assert_eq!(sealed.length, data.len() as u64);
    let hosts: Vec<_> = sealed.servers.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["host-1", "host-2", "host-3"]);
    let n = data.len();
    for server in 0..3 {
        for range in [0..n, 0..1, 5..10, BLOCK_BYTES - 1..BLOCK_BYTES + 1, n - 1..n, n..n, 2..9 * n]
        {
            let wanted = range.start as u64..range.end as u64;
            let (first, got) = get(&cluster, server, 7, wanted).await.unwrap();
            let from = range.start / BLOCK_BYTES * BLOCK_BYTES;
            assert_eq!(first as usize, from.min(n / BLOCK_BYTES * BLOCK_BYTES));
            let until = range.end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(n);
            let expected = if range.is_empty() { &[][..] } else { &data[from..until] };
            assert_eq!(got, expected, "{range:?}");
        }
    }
    let behind = get(&cluster, 0, 7, (n as u64 + 1)..(n as u64 + 2)).await;
    assert_eq!(status_and_kind(behind), (400, "invalid-request".into()));
    assert_eq!(
        status_and_kind(get(&cluster, 0, 8, 0..1).await),
        (404, ProblemKind::UnknownChunk.as_str().into())
    );
    until("the master knows all three", || {
        cluster.master.book().servers.values().all(|known| known.replicas.len() == 1)
    })
    .await;
}

#[tokio::test]
async fn a_pipeline_needs_its_second_server_and_goes_on_without_those_behind() {
    let cluster = Cluster::start(2).await;
    let data = bytes(5 * BLOCK_BYTES);
    let downstream = [cluster.servers[1].address.clone(), dead_server("dead")];
    let sealed = put(&cluster, 2, frames(&data), &downstream).await.unwrap();
    let hosts: Vec<_> = sealed.servers.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["host-1", "host-2"]);
    assert_eq!(get(&cluster, 1, 2, 0..u64::MAX).await.unwrap().1, data);

    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1000);
    let body =
        stream::unfold(receiver, async |mut receiver: tokio::sync::mpsc::Receiver<Bytes>| {
            receiver.recv().await.map(|frame| (Ok(frame), receiver))
        });
    let client = cluster.client(BOTH, &ChunkId(1).resource());
    let head = cluster.servers[0].address.clone();
    let upload = tokio::spawn(async move {
        let downstream = [dead_server("dead")];
        put_chunk(
            &client,
            &head,
            &downstream,
            ReplicaKey { chunk: ChunkId(1), version: Version(1) },
            body,
        )
        .await
    });
    for frame in frames(&data).into_iter().cycle() {
        // Until the refusal is there the upload goes on.
        if sender.send(frame).await.is_err() || upload.is_finished() {
            break;
        }
    }
    let error = upload.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("dead, failed: no connection"), "{error}");
    assert_eq!(error.problem_kind(), Some(ProblemKind::NextServerFailed.as_str()));
}

#[tokio::test]
async fn what_is_cut_short_changed_or_empty_leaves_nothing_on_any_server() {
    let cluster = Cluster::start(2).await;
    let data = bytes(24 * BLOCK_BYTES);
    let whole = frames(&data);
    let mut cut = whole.clone();
    cut.pop();
    let mut changed = whole.clone();
    let mut block = changed[41].to_vec();
    block[77] ^= 1;
    changed[41] = block.into();
    let mut block_missing = whole.clone();
    block_missing.remove(3);
    let mut malformed = whole.clone();
    malformed[2] = Bytes::from_static(&[0xff; 8]);
    let cases = [
        ("cut short", cut, (400, ProblemKind::ChecksumMismatch)),
        ("changed", changed, (400, ProblemKind::ChecksumMismatch)),
        ("a block missing", block_missing, (400, ProblemKind::ChecksumMismatch)),
        ("a malformed header", malformed, (400, ProblemKind::InvalidRequest)),
        ("empty", frames(&[]), (400, ProblemKind::InvalidRequest)),
    ];
    // Each its own chunk: its file is gone a moment before its server forgets it.
    for (chunk, (what, frames, expected)) in (9..).zip(cases) {
        let refused = put(&cluster, chunk, frames, &[cluster.servers[1].address.clone()]).await;
        let (status, kind) = status_and_kind(refused);
        assert_eq!((status, kind.as_str()), (expected.0, expected.1.as_str()), "{what}");
        until("nothing is left", || {
            cluster.servers.iter().all(|server| server.chunk_files().is_empty())
        })
        .await;
    }
    put(&cluster, 9, whole, &[]).await.unwrap();
    assert_eq!(get(&cluster, 0, 9, 0..u64::MAX).await.unwrap().1, data);
}

#[tokio::test]
async fn an_upload_whose_writer_dies_leaves_nothing_and_does_not_stand_in_the_way() {
    let cluster = Cluster::start(1).await;
    let data = bytes(100 * BLOCK_BYTES);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1000);
    for frame in &frames(&data)[..150] {
        sender.send(frame.clone()).await.unwrap();
    }
    let body = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|frame| (Ok(frame), receiver))
    });
    let client = cluster.client(BOTH, &ChunkId(4).resource());
    let head = cluster.servers[0].address.clone();
    let upload = tokio::spawn(async move {
        put_chunk(&client, &head, &[], ReplicaKey { chunk: ChunkId(4), version: Version(1) }, body)
            .await
    });
    until("bytes are on disk", || {
        let files = cluster.servers[0].chunk_files();
        files.iter().any(|file| file.metadata().is_ok_and(|m| m.len() >= 2 << 20))
    })
    .await;
    let busy = put(&cluster, 4, frames(&data), &[]).await;
    assert_eq!(status_and_kind(busy), (409, "already-exists".into()));
    upload.abort();
    until("nothing is left", || cluster.servers[0].chunk_files().is_empty()).await;
    // The file goes first and the core hears of it next: the name is free a moment later.
    let mut again = put(&cluster, 4, frames(&data), &[]).await;
    while again.as_ref().is_err_and(|error| error.problem_kind() == Some("already-exists")) {
        again = put(&cluster, 4, frames(&data), &[]).await;
    }
    again.unwrap();
}

#[tokio::test]
async fn the_same_bytes_again_get_the_same_answer_and_other_bytes_none() {
    let cluster = Cluster::start(2).await;
    let data = bytes(2 * BLOCK_BYTES + 5);
    let first = put(&cluster, 3, frames(&data), &[]).await.unwrap();
    assert_eq!(put(&cluster, 3, frames(&data), &[]).await.unwrap(), first);
    let wider = put(&cluster, 3, frames(&data), &[cluster.servers[1].address.clone()]).await;
    assert_eq!(wider.unwrap().servers.len(), 2, "a repeat goes downstream as well");
    let other = put(&cluster, 3, frames(&data[1..]), &[]).await;
    assert_eq!(status_and_kind(other), (409, "already-exists".into()));
    assert_eq!(get(&cluster, 0, 3, 0..u64::MAX).await.unwrap().1, data);
}

#[tokio::test]
async fn a_token_opens_its_own_chunk_and_only_as_it_says() {
    let cluster = Cluster::start(1).await;
    put(&cluster, 1, frames(b"secret"), &[]).await.unwrap();
    let server = cluster.servers[0].address.clone();
    let (mine, other) = (ChunkId(1).resource(), ChunkId(2).resource());
    let user = cluster.master.keyring.mint(&Capability::unlimited(
        "user",
        Role::User,
        ids::UnixMillis(u64::MAX),
    ));
    let nobody = Client::new(client_settings());
    for (who, client, may_read, may_write) in [
        ("nobody", nobody.clone(), 401, 401),
        ("a forger", nobody.with_token("e30.AAAA"), 401, 401),
        ("a user", nobody.with_token(user), 403, 403),
        ("another chunk's writer", cluster.client(BOTH, &other), 403, 403),
        ("who may touch every file", cluster.client(BOTH, "/"), 403, 403),
        ("a reader", cluster.client(&[Right::Read], &mine), 200, 403),
        ("a writer", cluster.client(&[Right::Write], &mine), 403, 200),
    ] {
        let path = format!("{}?version=1", ChunkId(1).route());
        let read = client.request(Method::GET, &server.address, &path).send().await.unwrap();
        assert_eq!(read.status(), may_read, "{who} reads");
        let body = net::reqwest::Body::from(frames(b"secret").concat());
        let write = client.request(Method::PUT, &server.address, &path).body(body);
        assert_eq!(write.send().await.unwrap().status(), may_write, "{who} writes");
    }
    for path in [
        "/v1/chunks/../../etc?version=1",
        "/v1/chunks/zz?version=1",
        &ChunkId(1).route(),
        "/v1/chunks",
    ] {
        let client = cluster.client(BOTH, "/");
        let answer = client.request(Method::GET, &server.address, path).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 404), "{path}: {}", answer.status());
        assert!(answer.text().await.unwrap().contains("\"type\""), "{path}");
    }
}

#[tokio::test]
async fn a_disk_at_its_reserve_takes_no_chunk_and_goes_on_serving() {
    let mut cluster = Cluster::start(1).await;
    put(&cluster, 1, frames(b"before"), &[]).await.unwrap();
    let (mut settings, folder) = cluster.servers.remove(0).stop().await;
    settings.reserve_bytes = u64::MAX;
    cluster.start_server(settings, folder);
    let full = put(&cluster, 2, frames(&bytes(3 << 20)), &[]).await;
    assert_eq!(status_and_kind(full), (507, "out-of-space".into()));
    assert_eq!(cluster.servers[0].chunk_files().len(), 1, "nothing of it is left");
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, b"before");
    until("the master hears that there is no room", || {
        cluster.master.book().servers.values().all(|known| known.free_bytes == 0)
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_block_is_never_sent_and_its_replica_is_lost_but_for_the_other_blocks() {
    let cluster = Cluster::start(1).await;
    let data = bytes(64 * BLOCK_BYTES);
    for (chunk, at) in [(1, 10), (2, 50 * BLOCK_BYTES)] {
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
        flip_byte(&cluster.servers[0].file_of(ChunkId(chunk)).unwrap(), at);
        // In the first batch it is a refusal, behind it the answer breaks off.
        assert!(get(&cluster, 0, chunk, 0..u64::MAX).await.is_err());
        let lost = ReplicaEvent::Lost { chunk: ChunkId(chunk), version: Version(1) };
        until("the master hears of it", || {
            cluster.master.book().events.iter().any(|(_, event)| *event == lost)
        })
        .await;
        assert_eq!(cluster.servers[0].file_of(ChunkId(chunk)), None, "set aside");
        let again = get(&cluster, 0, chunk, at as u64..at as u64 + 1).await;
        assert_eq!(status_and_kind(again).0, 500);
        let sound = (63 * BLOCK_BYTES) as u64..u64::MAX;
        let last = get(&cluster, 0, chunk, sound).await.unwrap().1;
        assert_eq!(last, data[63 * BLOCK_BYTES..], "its other blocks may be the last of the chunk");
        // A sound copy may come again under the same name.
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
        assert_eq!(get(&cluster, 0, chunk, 0..u64::MAX).await.unwrap().1, data);
    }
}

#[tokio::test]
async fn who_reads_a_file_that_was_set_aside_costs_no_new_replica_in_its_place() {
    let cluster = Cluster::start(1).await;
    let data = bytes(256 * BLOCK_BYTES);
    put(&cluster, 1, frames(&data), &[]).await.unwrap();
    let client = cluster.client(&[Right::Read], &ChunkId(1).resource());
    let address = &cluster.servers[0].address.address;
    // Far more than its connection takes before it is read.
    let (_, mut slow) = get_chunk(
        &client,
        address,
        ReplicaKey { chunk: ChunkId(1), version: Version(1) },
        0,
        u64::MAX,
    )
    .await
    .unwrap();
    flip_byte(&cluster.servers[0].file_of(ChunkId(1)).unwrap(), 255 * BLOCK_BYTES);
    assert!(get(&cluster, 0, 1, 0..u64::MAX).await.is_err());
    let lost = ReplicaEvent::Lost { chunk: ChunkId(1), version: Version(1) };
    until("the bad file is set aside, and its server knows", || {
        cluster.master.book().events.iter().any(|(_, event)| *event == lost)
    })
    .await;
    assert_eq!(cluster.servers[0].file_of(ChunkId(1)), None);
    put(&cluster, 1, frames(&data), &[]).await.unwrap();
    let broken = loop {
        match slow.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "it comes to the bad block");
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, data);
    assert!(cluster.servers[0].file_of(ChunkId(1)).is_some(), "the new one is held");
}

#[tokio::test]
async fn a_restarted_server_reports_what_it_holds_and_removes_what_was_unfinished() {
    let mut cluster = Cluster::start(1).await;
    put(&cluster, 1, frames(b"one"), &[]).await.unwrap();
    put(&cluster, 2, frames(b"two"), &[]).await.unwrap();
    let leftover = cluster.servers[0].file_of(ChunkId(1)).unwrap().with_extension("open");
    let (settings, folder) = cluster.servers.remove(0).stop().await;
    std::fs::write(&leftover, b"half").unwrap();
    cluster.master.book().servers.clear();
    cluster.start_server(settings, folder);
    cluster.registered(1).await;
    {
        let book = cluster.master.book();
        let known = book.servers.values().next().unwrap();
        assert_eq!(known.replicas.keys().copied().collect::<Vec<_>>(), [ChunkId(1), ChunkId(2)]);
        let cluster = known.registration.cluster.as_ref().unwrap();
        assert_eq!(cluster.as_str(), "cluster-1", "from the data folder");
    }
    assert!(!leftover.exists());
    assert_eq!(get(&cluster, 0, 2, 0..u64::MAX).await.unwrap().1, b"two");
}

#[tokio::test]
async fn a_server_registers_again_when_the_master_has_restarted() {
    let cluster = Cluster::start(1).await;
    put(&cluster, 1, frames(b"kept"), &[]).await.unwrap();
    {
        let mut book = cluster.master.book();
        book.epoch += 1;
        book.servers.clear();
    }
    cluster.registered(1).await;
    let book = cluster.master.book();
    let known = book.servers.values().next().unwrap();
    assert!(known.replicas.contains_key(&ChunkId(1)));
}

#[tokio::test]
async fn a_deleted_replica_goes_from_disk_and_the_master_hears_of_it() {
    let cluster = Cluster::start(1).await;
    put(&cluster, 1, frames(b"gone soon"), &[]).await.unwrap();
    put(&cluster, 2, frames(b"stays"), &[]).await.unwrap();
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, b"gone soon");
    {
        let mut book = cluster.master.book();
        let known = book.servers.values_mut().next().unwrap();
        known.commands.push(ServerCommand::Delete {
            chunk: ChunkId(1),
            version: Version(1),
            orphan: false,
        });
    }
    until("the replica is gone and the command acknowledged", || {
        let book = cluster.master.book();
        let known = book.servers.values().next().unwrap();
        known.commands.is_empty() && !known.replicas.contains_key(&ChunkId(1))
    })
    .await;
    assert_eq!(cluster.servers[0].file_of(ChunkId(1)), None);
    assert_eq!(get(&cluster, 0, 2, 0..u64::MAX).await.unwrap().1, b"stays");
    // Whoever was told of it before reads it for a while.
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, b"gone soon");
}

#[tokio::test]
async fn a_server_of_another_cluster_stops_with_a_remedy() {
    let mut cluster = Cluster::start(1).await;
    let (settings, folder) = cluster.servers.remove(0).stop().await;
    cluster.master.book().cluster = "cluster-2".into();
    cluster.start_server(settings, folder);
    let stopped = cluster.servers.remove(0).task.await.unwrap().unwrap_err().to_string();
    assert!(stopped.contains("another cluster") && stopped.contains("data folder"), "{stopped}");
}

/// Sends `n_frames` of a chunk to the first server, waits until its blocks are on disk, and breaks off.
async fn break_off(cluster: &Cluster, chunk: u64, data: &[u8], n_frames: usize, on_disk: u64) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1000);
    for frame in &frames(data)[..n_frames] {
        sender.send(frame.clone()).await.unwrap();
    }
    let body =
        stream::unfold(receiver, async |mut receiver: tokio::sync::mpsc::Receiver<Bytes>| {
            receiver.recv().await.map(|frame| (Ok(frame), receiver))
        });
    let chunk = ChunkId(chunk);
    let client = cluster.client(BOTH, &chunk.resource());
    let head = cluster.servers[0].address.clone();
    let downstream = [cluster.servers[1].address.clone()];
    let upload = tokio::spawn(async move {
        put_chunk(&client, &head, &downstream, ReplicaKey { chunk, version: Version(1) }, body)
            .await
    });
    until("bytes are on both disks", || {
        cluster.servers.iter().all(|server| {
            let files = server.chunk_files();
            files.iter().any(|file| file.metadata().is_ok_and(|m| m.len() >= on_disk))
        })
    })
    .await;
    upload.abort();
}

#[tokio::test]
async fn what_survivors_of_a_broken_pipeline_have_is_sealed_at_the_length_that_is_asked_for() {
    // Longer than this test takes.
    let cluster = Cluster::keeping_unfinished(Duration::from_secs(120), 2).await;
    let data = bytes(40 * BLOCK_BYTES + 5);
    // Two frames for each block: the last of these is a header.
    break_off(&cluster, 4, &data, 79, 2 << 20).await;
    let client = cluster.client(BOTH, &ChunkId(4).resource());
    let chunk = ReplicaKey { chunk: ChunkId(4), version: Version(1) };
    let (first, second) = (&cluster.servers[0].address, &cluster.servers[1].address);
    let (a, b) =
        tokio::join!(freeze_chunk(&client, first, chunk), freeze_chunk(&client, second, chunk));
    let block = BLOCK_BYTES as u64;
    let common = a.unwrap().min(b.unwrap());
    assert!(common >= 16 * block && common <= 39 * block && common.is_multiple_of(block));
    let length = common - block;
    for (server, address) in [(0, first), (1, second)] {
        for wrong in [0, 5, length + 1, 41 * block] {
            let refused = seal_chunk(&client, address, chunk, wrong).await;
            assert_eq!(status_and_kind(refused), (409, "already-exists".into()), "{wrong}");
        }
        let sealed = seal_chunk(&client, address, chunk, length).await.unwrap();
        let expected = &data[..length as usize];
        assert_eq!((sealed.length, sealed.checksum), (length, crc32c(expected)));
        assert_eq!(sealed.servers, std::slice::from_ref(&address.host));
        assert_eq!(get(&cluster, server, 4, 0..u64::MAX).await.unwrap().1, expected);
        assert_eq!(seal_chunk(&client, address, chunk, length).await.unwrap(), sealed, "again");
        let other = seal_chunk(&client, address, chunk, length - block).await;
        assert_eq!(status_and_kind(other), (409, "already-exists".into()));
        assert_eq!(freeze_chunk(&client, address, chunk).await.unwrap(), length);
    }
    let unknown = ReplicaKey { chunk: ChunkId(5), version: Version(1) };
    let client = cluster.client(BOTH, &ChunkId(5).resource());
    assert_eq!(freeze_chunk(&client, first, unknown).await.unwrap(), 0);
    let refused = seal_chunk(&client, first, unknown, block).await;
    assert_eq!(status_and_kind(refused), (404, "unknown-chunk".into()));
    let stranger = cluster.client(&[Right::Read], &ChunkId(4).resource());
    assert_eq!(status_and_kind(freeze_chunk(&stranger, first, chunk).await).0, 403);
    assert_eq!(status_and_kind(seal_chunk(&stranger, first, chunk, length).await).0, 403);
}

#[tokio::test]
async fn a_broken_upload_that_nobody_comes_for_goes_by_itself_and_one_given_up_at_once() {
    let cluster = Cluster::start(2).await;
    let data = bytes(40 * BLOCK_BYTES);
    break_off(&cluster, 4, &data, 70, 2 << 20).await;
    let delete = ServerCommand::Delete { chunk: ChunkId(4), version: Version(1), orphan: false };
    {
        let mut book = cluster.master.book();
        let known = book.servers.values_mut().next().unwrap();
        known.commands.push(delete);
    }
    until("one is deleted as told", || cluster.servers[0].chunk_files().is_empty()).await;
    until("the other's time is over", || cluster.servers[1].chunk_files().is_empty()).await;
}
