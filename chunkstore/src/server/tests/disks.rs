//! A server on several disks: where replicas go, and what is left when a disk fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::checksum::crc32c;
use chunkstore_client::transfer::put_chunk;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{ChunkId, DiskState, ReplicaEvent, ServerCommand, Version};
use daemon::Owner;
use futures_util::stream;
use rustix::fs::FallocateFlags;

use super::transfers::{BOTH, frames, get, put, status_and_kind};
use super::{Cluster, DISK_LIMITS, bytes, flip_byte, until};
use crate::server::data_dir::{DataDirError, read_footer};
use crate::server::disks::Disks;
use crate::server::open_chunk::OpenChunk;
use crate::server::trash::Why;

/// A cluster of one server with two data folders, `disk-1` and `disk-2`.
pub(super) async fn two_disks() -> Cluster {
    let mut cluster = Cluster::start(1).await;
    let (mut settings, folder) = cluster.servers.remove(0).stop().await;
    settings.data_dirs = ["disk-1", "disk-2"].map(|disk| folder.path().join(disk)).to_vec();
    start(&mut cluster, settings, folder).await;
    cluster
}

pub(super) async fn start(
    cluster: &mut Cluster,
    settings: crate::server::ServerSettings,
    folder: tempfile::TempDir,
) {
    cluster.master.book().servers.clear();
    cluster.start_server(settings, folder);
    cluster.registered(1).await;
}

pub(super) fn disk(cluster: &Cluster, n: usize) -> PathBuf {
    cluster.servers[0].folder.path().join(format!("disk-{n}"))
}

/// The chunks whose files in a data folder end so.
pub(super) fn chunks_on(disk: &Path, suffix: &str) -> BTreeSet<ChunkId> {
    let folders = std::fs::read_dir(disk.join("chunks")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = names.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned));
    names.map(|name| name.parse().unwrap()).collect()
}

/// What the master knows to be held.
pub(super) fn known(cluster: &Cluster) -> BTreeSet<ChunkId> {
    let book = cluster.master.book();
    book.servers.values().flat_map(|known| known.replicas.keys().copied()).collect()
}

pub(super) fn told(cluster: &Cluster) -> Vec<DiskState> {
    cluster.master.book().servers.values().next().unwrap().disks.clone()
}

/// As a disk that is pulled: there is something else where the folder was.
fn pull(disk: &Path) {
    std::fs::rename(disk, disk.with_extension("away")).unwrap();
    std::fs::write(disk, "").unwrap();
}

fn put_back(disk: &Path) {
    std::fs::remove_file(disk).unwrap();
    std::fs::rename(disk.with_extension("away"), disk).unwrap();
}

#[tokio::test]
async fn a_disk_that_is_pulled_costs_its_replicas_alone_and_is_left_out_until_it_is_back() {
    let mut cluster = two_disks().await;
    let data = bytes(BLOCK_BYTES + 5);
    for chunk in 1..=8 {
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
    }
    let held = [1, 2].map(|n| chunks_on(&disk(&cluster, n), "_1.chunk"));
    assert_eq!(held.each_ref().map(BTreeSet::len), [4, 4], "equal disks take turns");
    until("all are known", || known(&cluster).len() == 8).await;
    until("each disk is told of", || told(&cluster).iter().all(|disk| disk.replicas == 4)).await;
    let capacity = cluster.master.book().servers.values().next().unwrap().free_bytes;
    assert!(told(&cluster).iter().all(|disk| disk.free_bytes.abs_diff(capacity) < 1 << 30));

    pull(&disk(&cluster, 2));
    until("exactly its replicas are lost", || known(&cluster) == held[0]).await;
    let states = told(&cluster);
    let failed = states[1].failed.as_deref().expect("the disk has failed");
    assert!(failed.contains("Not a directory") && states[0].failed.is_none(), "{states:?}");
    let (lost, kept) = (held[1].first().unwrap().0, held[0].first().unwrap().0);
    assert_eq!(status_and_kind(get(&cluster, 0, lost, 0..1).await).0, 404);
    assert_eq!(get(&cluster, 0, kept, 0..u64::MAX).await.unwrap().1, data);
    // The master makes one again, here of all places.
    put(&cluster, lost, frames(&data), &[]).await.unwrap();
    put(&cluster, 9, frames(&data), &[]).await.unwrap();
    assert!(chunks_on(&disk(&cluster, 1), "_1.chunk").contains(&ChunkId(lost)));

    for is_back in [false, true] {
        let (settings, folder) = cluster.servers.remove(0).stop().await;
        if is_back {
            put_back(&folder.path().join("disk-2"));
        }
        start(&mut cluster, settings, folder).await;
        assert_eq!(told(&cluster)[1].failed.is_some(), !is_back);
        assert_eq!(known(&cluster).len(), if is_back { 9 } else { 6 }, "{:?}", known(&cluster));
        assert_eq!(get(&cluster, 0, lost, 0..u64::MAX).await.unwrap().1, data);
    }
}

#[tokio::test]
async fn folders_on_one_device_take_turns_whatever_others_write_there() {
    let place = tempfile::tempdir().unwrap();
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let folders = ["disk-1", "disk-2"].map(|name| place.path().join(name));
    let (disks, _) = Disks::open(&folders, &owner, DISK_LIMITS).await.unwrap();
    let other = std::fs::File::create(place.path().join("other")).unwrap();
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let ends = std::sync::Arc::clone(&is_over);
    let writing = std::thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            rustix::fs::fallocate(&other, FallocateFlags::empty(), 0, 1 << 20).unwrap();
            other.set_len(0).unwrap();
        }
    });
    let mut roots = Vec::new();
    for chunk in 0..2000 {
        let replica = ReplicaKey { chunk: ChunkId(chunk), version: Version(1) };
        for dir in disks.working() {
            dir.measure();
        }
        let made = disks.create_file(replica, &mut Vec::new()).await.unwrap();
        roots.push(made.0.root().to_owned());
    }
    is_over.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    assert_eq!(roots.iter().collect::<BTreeSet<_>>().len(), 2);
    let n_twice = roots.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(n_twice, 0, "twice in a row to the same of two equal folders");
}

#[tokio::test]
async fn an_upload_to_a_disk_that_fails_goes_on_on_another() {
    let cluster = two_disks().await;
    let data = bytes(64 * BLOCK_BYTES);
    let whole = frames(&data);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1000);
    let body = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|frame| (Ok(frame), receiver))
    });
    let client = cluster.client(BOTH, &ChunkId(1).resource());
    let head = cluster.servers[0].address.clone();
    let upload = tokio::spawn(async move {
        put_chunk(&client, &head, &[], ReplicaKey { chunk: ChunkId(1), version: Version(1) }, body)
            .await
    });
    let (first, rest) = whole.split_at(20);
    for frame in first {
        sender.send(frame.clone()).await.unwrap();
    }
    let is_on = |n: usize| !chunks_on(&disk(&cluster, n), "_1.open").is_empty();
    until("it has begun", || is_on(1) || is_on(2)).await;
    let broken = if is_on(1) { 1 } else { 2 };
    pull(&disk(&cluster, broken));
    until("the disk has failed", || told(&cluster)[broken - 1].failed.is_some()).await;
    for frame in rest {
        sender.send(frame.clone()).await.unwrap();
    }
    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().length, data.len() as u64);
    assert_eq!(chunks_on(&disk(&cluster, 3 - broken), "_1.chunk"), [ChunkId(1)].into());
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, data);
    until("the master knows it", || known(&cluster) == [ChunkId(1)].into()).await;
    assert!(lost(&cluster).is_empty());
}

/// How a disk refuses a replica.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    /// The file can't be made.
    Begin,
    /// There is no room for what is written.
    Write,
    /// The file can't get its final name.
    Seal,
}

/// Puts the obstacle where the chunk's file would be on a disk.
fn obstruct(disk: &Path, chunk: u64, obstacle: Obstacle) {
    let at = |suffix: &str| disk.join(format!("chunks/{chunk:02x}/{}_1.{suffix}", ChunkId(chunk)));
    match obstacle {
        Obstacle::Begin => std::fs::create_dir(at("open")).unwrap(),
        Obstacle::Write => std::os::unix::fs::symlink("/dev/full", at("open")).unwrap(),
        Obstacle::Seal => std::fs::create_dir_all(at("chunk").join("inside")).unwrap(),
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_more_costs_the_writer_nothing_while_another_does() {
    let cluster = two_disks().await;
    let data = bytes(40 * BLOCK_BYTES + 7);
    let obstacles = [Obstacle::Begin, Obstacle::Write, Obstacle::Seal];
    // Equal disks take turns: of each two, one is for the first disk.
    let chunks = (1..).zip(obstacles.into_iter().flat_map(|it| [it, it]));
    for (chunk, obstacle) in chunks {
        obstruct(&disk(&cluster, 1), chunk, obstacle);
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
        assert_eq!(get(&cluster, 0, chunk, 0..u64::MAX).await.unwrap().1, data, "{obstacle:?}");
    }
    let all: BTreeSet<_> = (1..=6).map(ChunkId).collect();
    assert_eq!(chunks_on(&disk(&cluster, 2), "_1.chunk"), all);
    assert_eq!(chunks_on(&disk(&cluster, 2), "_1.open"), BTreeSet::new());
    until("all are known", || known(&cluster) == all).await;
    assert!(told(&cluster).iter().all(|disk| disk.failed.is_none()));
    for (chunk, obstacle, expected) in [
        (7, Obstacle::Begin, (500, "internal")),
        (8, Obstacle::Write, (507, "out-of-space")),
        (9, Obstacle::Seal, (500, "internal")),
    ] {
        for n in [1, 2] {
            obstruct(&disk(&cluster, n), chunk, obstacle);
        }
        let refused = put(&cluster, chunk, frames(&data), &[]).await;
        let (status, kind) = expected;
        assert_eq!(status_and_kind(refused), (status, kind.into()), "{obstacle:?}");
    }
    assert_eq!(known(&cluster), all);
}

/// A replica on one of two disks, which fails behind some of the pieces; what is then sealed, if it is.
async fn sealed_behind_a_failure(
    data: &[u8],
    piece_bytes: usize,
    fails_behind: usize,
    rots: bool,
) -> Option<Vec<u8>> {
    let place = tempfile::tempdir().unwrap();
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let folders = ["disk-1", "disk-2"].map(|name| place.path().join(name));
    let (disks, _) = Disks::open(&folders, &owner, DISK_LIMITS).await.unwrap();
    let disks = std::sync::Arc::new(disks);
    let replica = ReplicaKey { chunk: ChunkId(1), version: Version(1) };
    let mut chunk = OpenChunk::create(&disks, replica).await.unwrap();
    let mut n_pieces = 0;
    for block in data.chunks(BLOCK_BYTES) {
        for piece in block.chunks(piece_bytes) {
            chunk.push(Bytes::copy_from_slice(piece));
            chunk.write_full_batch().await.ok()?;
            n_pieces += 1;
            if n_pieces == fails_behind {
                let ill = disks.working().find(|dir| dir.open_path(replica).exists()).unwrap();
                if rots {
                    chunk.cut().await.unwrap();
                    flip_byte(&ill.open_path(replica), 5);
                }
                ill.fail(&"a test");
            }
        }
        chunk.end_block(crc32c(block));
    }
    chunk.seal().await.ok()?;
    assert_eq!(disks.working().count(), 1);
    let file = disks.find(replica).unwrap().open_file(replica).unwrap();
    let footer = read_footer(&file, replica).unwrap();
    assert_eq!(footer.length, data.len() as u64);
    assert!(data.chunks(BLOCK_BYTES).map(crc32c).eq(footer.blocks.iter().copied()));
    let mut read = vec![0; data.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 0).unwrap();
    Some(read)
}

#[tokio::test]
async fn what_goes_on_on_another_disk_is_all_that_came_wherever_the_first_one_failed() {
    // Small pieces make small batches, which begin and end within a block, and several in one.
    for (n_blocks, piece_bytes) in [(3, 50), (40, 5000)] {
        let data = bytes(n_blocks * BLOCK_BYTES + 1234);
        let n_pieces = n_blocks * BLOCK_BYTES.div_ceil(piece_bytes);
        for fails_behind in [1, n_pieces / 2, n_pieces] {
            let sealed = sealed_behind_a_failure(&data, piece_bytes, fails_behind, false).await;
            assert!(sealed.as_ref() == Some(&data), "{piece_bytes} {fails_behind}");
        }
        let rotten = sealed_behind_a_failure(&data, piece_bytes, n_pieces, true).await;
        assert!(rotten.is_none(), "{piece_bytes}: what is read again is verified");
    }
}

/// What a server on these folders says at its start.
async fn refusal(folders: &[PathBuf]) -> DataDirError {
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    Disks::open(folders, &owner, DISK_LIMITS).await.map(|_| ()).unwrap_err()
}

async fn keep(folder: &Path, host: &str, cluster: &str) {
    let owner = Owner::new("chunkserver", host.parse().unwrap());
    let (disks, _) = Disks::open(&[folder.to_owned()], &owner, DISK_LIMITS).await.unwrap();
    disks.keep_cluster(&cluster.parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn folders_that_do_not_belong_together_are_refused_with_both_named() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().canonicalize().unwrap().join(name);
    keep(&at("ours"), "host-1", "cluster-1").await;
    keep(&at("other-cluster"), "host-1", "cluster-2").await;
    keep(&at("other-host"), "host-2", "cluster-1").await;
    keep(&at("newer"), "host-1", "cluster-1").await;
    let identity = std::fs::read_to_string(at("newer/identity.json")).unwrap();
    let newer = identity.replace("\"format\":1", "\"format\":2");
    std::fs::write(at("newer/identity.json"), newer).unwrap();
    std::os::unix::fs::symlink(at("ours"), at("link")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    std::fs::write(at("file-2"), "").unwrap();
    for (folders, said) in [
        (&["ours", "other-cluster"][..], &["other-cluster belongs to", "cluster-2", "ours to"][..]),
        (&["ours", "other-host"], &["other-host belongs to the chunkserver of host-2"]),
        (&["ours", "newer"], &["newer/identity.json has format version 2"]),
        (&["ours", "ours"], &["is the same as", "chunkserver.data_dirs"]),
        (&["ours", "link"], &["link is the same as", "ours"]),
        (&["ours", "ours/chunks"], &["ours/chunks is the same as", "inside it"]),
        (&["ours", "ours/chunks/new"], &["ours/chunks/new is the same as", "inside it"]),
        (&["ours/inner", "ours"], &["ours is", "inner"]),
        (&["file"], &["file: File exists", "check that"]),
        (&["file", "file-2"], &["none of the data folders", "file: File", "file-2: File"]),
    ] {
        let folders: Vec<_> = folders.iter().map(|name| at(name)).collect();
        let error = refusal(&folders).await.to_string();
        for part in said {
            assert!(error.contains(part), "{folders:?}: {error:?} lacks {part:?}");
        }
    }
    // A new disk joins the cluster of the others; one that does not work is no reason to refuse.
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let folders = ["file", "new", "ours"].map(at);
    let (disks, _) = Disks::open(&folders, &owner, DISK_LIMITS).await.unwrap();
    assert_eq!(disks.working().count(), 2);
    assert!(disks.working().all(|dir| dir.cluster() == "cluster-1".parse().ok()));
}

/// Starts the cluster's server again, scrubbing so much per second.
async fn scrub(cluster: &mut Cluster, rate: u64) {
    let (mut settings, folder) = cluster.servers.remove(0).stop().await;
    settings.scrub_rate = rate;
    start(cluster, settings, folder).await;
}

fn lost(cluster: &Cluster) -> BTreeSet<ChunkId> {
    let lost = |event: &ReplicaEvent| match event {
        ReplicaEvent::Lost { chunk, .. } => Some(*chunk),
        _ => None,
    };
    cluster.master.book().events.iter().filter_map(|(_, event)| lost(event)).collect()
}

#[tokio::test]
async fn the_scrubber_finds_what_rots_is_cut_short_or_deleted_and_nothing_else() {
    let mut cluster = two_disks().await;
    let data = bytes(20 * BLOCK_BYTES);
    for chunk in 1..=12 {
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
    }
    scrub(&mut cluster, 64 << 20).await;
    let file = |chunk: u64| {
        let folder = format!("chunks/{chunk:02x}/{}_1.chunk", ChunkId(chunk));
        let paths = [1, 2].map(|n| disk(&cluster, n).join(&folder));
        paths.into_iter().find(|path| path.exists()).unwrap()
    };
    flip_byte(&file(2), 19 * BLOCK_BYTES + 100);
    let cut = std::fs::File::options().write(true).open(file(5)).unwrap();
    cut.set_len(3 * BLOCK_BYTES as u64).unwrap();
    std::fs::remove_file(file(8)).unwrap();
    let bad = [2, 5, 8].map(ChunkId).into();
    until("all three are reported", || lost(&cluster) == bad).await;
    assert_eq!(known(&cluster).len(), 9);
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, data);
    put(&cluster, 8, frames(&data), &[]).await.unwrap();
    assert_eq!(get(&cluster, 0, 8, 0..u64::MAX).await.unwrap().1, data);
}

#[tokio::test]
async fn a_scrubber_that_is_killed_goes_on_where_it_was() {
    let mut cluster = Cluster::start(1).await;
    for chunk in 1..=20 {
        put(&cluster, chunk, frames(&bytes(3 * BLOCK_BYTES)), &[]).await.unwrap();
    }
    // Each counts as 256 KiB: the round takes 10 s, and its place is kept after five.
    scrub(&mut cluster, 512 << 10).await;
    let place = cluster.servers[0].folder.path().join("scrub.json");
    until("the place is kept", || place.exists()).await;
    let server = cluster.servers.remove(0);
    server.task.abort();
    assert!(server.task.await.unwrap_err().is_cancelled());
    cluster.master.book().servers.clear();
    cluster.start_server(server.settings, server.folder);
    for chunk in [1, 20] {
        let path = cluster.servers[0].file_of(ChunkId(chunk)).unwrap();
        flip_byte(&path, 7);
    }
    // The first is for the next round.
    until("the last is found", || !lost(&cluster).is_empty()).await;
    assert_eq!(lost(&cluster), [ChunkId(20)].into());
}

/// What lies in the trash of a data folder.
fn trash_of(disk: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(disk.join("trash")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// The master gives up a replica.
fn delete(cluster: &Cluster, chunk: u64, orphan: bool) {
    let mut book = cluster.master.book();
    let known = book.servers.values_mut().next().unwrap();
    let (chunk, version) = (ChunkId(chunk), Version(1));
    known.commands.push(ServerCommand::Delete { chunk, version, orphan });
}

#[tokio::test]
async fn an_orphan_stays_in_the_trash_for_its_time_and_can_be_put_back_by_hand() {
    let mut cluster = Cluster::start(1).await;
    let disk = cluster.servers[0].folder.path().to_owned();
    let data = bytes(BLOCK_BYTES + 1);
    for chunk in 1..=4 {
        put(&cluster, chunk, frames(&data), &[]).await.unwrap();
    }
    until("all are known", || known(&cluster).len() == 4).await;
    delete(&cluster, 1, true);
    delete(&cluster, 2, true);
    delete(&cluster, 3, false);
    until("they are gone for the master", || known(&cluster) == [ChunkId(4)].into()).await;
    let in_trash = trash_of(&disk);
    let names = ["0000000000000001_1.", "0000000000000002_1.", "0000000000000003_1."];
    assert_eq!(in_trash.len(), 3, "{in_trash:?}");
    assert!(in_trash.iter().zip(names).all(|(name, start)| name.starts_with(start)));
    assert!(in_trash.iter().all(|name| name.ends_with(".gone") == name.contains("3_1.")));
    assert_eq!(chunks_on(&disk, "_1.chunk"), [ChunkId(4)].into());
    // Who was told of them before can read them.
    for chunk in 1..=3 {
        assert_eq!(get(&cluster, 0, chunk, 0..u64::MAX).await.unwrap().1, data);
    }
    until("the master is told", || told(&cluster)[0].trash_files == 3).await;
    std::fs::remove_file(disk.join("trash").join(in_trash.last().unwrap())).unwrap();
    assert_eq!(status_and_kind(get(&cluster, 0, 3, 0..1).await).0, 404);

    let (settings, folder) = cluster.servers.remove(0).stop().await;
    let first = disk.join("trash").join(in_trash.first().unwrap());
    std::fs::rename(first, disk.join("chunks/01/0000000000000001_1.chunk")).unwrap();
    start(&mut cluster, settings, folder).await;
    assert_eq!(known(&cluster), [1, 4].map(ChunkId).into());
    assert_eq!(get(&cluster, 0, 1, 0..u64::MAX).await.unwrap().1, data);
    assert_eq!(trash_of(&disk).len(), 1);

    // Broken ones go the same way.
    flip_byte(&cluster.servers[0].file_of(ChunkId(4)).unwrap(), 5);
    assert!(get(&cluster, 0, 4, 0..1).await.is_err());
    until("the master is told", || {
        (told(&cluster)[0].trash_files, told(&cluster)[0].broken_files) == (2, 1)
    })
    .await;
    let (mut settings, folder) = cluster.servers.remove(0).stop().await;
    settings.trash_interval = Duration::ZERO;
    start(&mut cluster, settings, folder).await;
    // But not while no other server is known to have the chunk: the master was asked, and asked again.
    let n_asked = || cluster.master.book().calls.iter().filter(|call| **call == "broken").count();
    until("the time of all is over", || n_asked() >= 2 && trash_of(&disk).len() <= 1).await;
    let left = trash_of(&disk);
    assert!(left.len() == 1 && left.iter().all(|name| name.ends_with(".bad")), "{left:?}");
    cluster.master.book().purgeable.insert(ChunkId(4));
    until("it may go", || trash_of(&disk).is_empty()).await;
    assert_eq!(known(&cluster), [ChunkId(1)].into());
    until("the master is told", || told(&cluster)[0].trash_bytes == 0).await;
}

#[tokio::test]
async fn what_the_trash_can_give_up_counts_as_room() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let (disks, _) = Disks::open(&[folder.path().to_owned()], &owner, DISK_LIMITS).await.unwrap();
    let dir = disks.working().next().unwrap();
    let before = dir.space().unwrap().free;
    let replica = ReplicaKey { chunk: ChunkId(1), version: Version(1) };
    // Sparse: long, and no load for the disk.
    dir.create_file(replica).unwrap().set_len(1 << 40).unwrap();
    std::fs::rename(dir.open_path(replica), dir.sealed_path(replica)).unwrap();
    dir.set_aside(replica, Why::Orphan);
    assert!(dir.space().unwrap().free > before + (1 << 39));
}

/// As where the trash's folder needs one more block and the disk has none.
#[tokio::test]
async fn a_removed_replica_is_deleted_where_it_can_not_go_to_the_trash_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let (disks, _) = Disks::open(&[folder.path().to_owned()], &owner, DISK_LIMITS).await.unwrap();
    let dir = disks.working().next().unwrap();
    let trash = dir.root().join("trash");
    std::fs::remove_dir(&trash).unwrap();
    std::fs::write(&trash, "no folder").unwrap();
    let mut left = Vec::new();
    for (chunk, why) in [(1, Why::Removed), (2, Why::Orphan), (3, Why::Broken)] {
        let replica = ReplicaKey { chunk: ChunkId(chunk), version: Version(1) };
        drop(dir.create_file(replica).unwrap());
        std::fs::rename(dir.open_path(replica), dir.sealed_path(replica)).unwrap();
        dir.set_aside(replica, why);
        left.push(dir.sealed_path(replica).exists());
    }
    assert_eq!(left, [false, true, true]);
}

#[tokio::test]
async fn a_broken_replica_that_may_be_needed_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let (disks, _) = Disks::open(&[folder.path().to_owned()], &owner, DISK_LIMITS).await.unwrap();
    let dir = disks.working().next().unwrap();
    let before = dir.space().unwrap().free;
    let replica = ReplicaKey { chunk: ChunkId(1), version: Version(1) };
    dir.create_file(replica).unwrap().set_len(1 << 40).unwrap();
    std::fs::rename(dir.open_path(replica), dir.sealed_path(replica)).unwrap();
    dir.set_aside(replica, Why::Broken);
    assert!(dir.space().unwrap().free < before + (1 << 39));
    assert!(!dir.make_room(u64::MAX).unwrap());
    assert_eq!(trash_of(dir.root()).len(), 1);
}

/// Whoever opens a pipe waits for who writes to it, for ever.
#[tokio::test]
async fn what_is_no_file_where_a_chunk_file_should_be_costs_that_replica_alone() {
    let mut cluster = Cluster::start(1).await;
    for chunk in 1..=3 {
        put(&cluster, chunk, frames(&bytes(BLOCK_BYTES)), &[]).await.unwrap();
    }
    let server = cluster.servers.remove(0);
    let [folder, pipe] = [2, 3].map(|chunk| server.file_of(ChunkId(chunk)).unwrap());
    let (settings, data) = server.stop().await;
    for path in [&folder, &pipe] {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::create_dir(&folder).unwrap();
    let (mode, kind) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    start(&mut cluster, settings, data).await;
    assert_eq!(known(&cluster), [ChunkId(1)].into());
}
