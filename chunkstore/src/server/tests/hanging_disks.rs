//! A server one of whose disks hangs: calls to it never end, as here those that open a pipe in the place of a file, until
//! somebody comes to its other end.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunkstore_core::replica::KeptTerm;
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{ChunkId, Term};
use clock::Stopwatch;
use daemon::Owner;
use ids::Epoch;

use super::disks::{chunks_on, disk, known, start, told, two_disks};
use super::transfers::{frames, get, put, status_and_kind};
use super::{Cluster, bytes, until};
use crate::server::data_dir::DataDirError;
use crate::server::disks::{DiskLimits, Disks};

const LIMIT: Duration = Duration::from_secs(1);

/// A name that hangs whoever opens it, until this is dropped.
struct Hang(PathBuf);

impl Hang {
    /// In the place of what is there.
    fn at(path: PathBuf) -> Self {
        // There may be nothing.
        let _ = std::fs::remove_file(&path);
        let (mode, kind) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        Self(path)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        // It is both ends.
        let mut both = std::fs::File::options();
        let _ = both.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&self.0);
    }
}

/// A server with two disks, and the chunks that each of them holds.
async fn with_chunks() -> (Cluster, [BTreeSet<ChunkId>; 2]) {
    let mut cluster = two_disks().await;
    let (mut settings, folder) = cluster.servers.remove(0).stop().await;
    settings.disk_timeout = LIMIT;
    start(&mut cluster, settings, folder).await;
    for chunk in 1..=4 {
        put(&cluster, chunk, frames(&data()), &[]).await.unwrap();
    }
    let held = [1, 2].map(|n| chunks_on(&disk(&cluster, n), "_1.chunk"));
    (cluster, held)
}

fn data() -> Vec<u8> {
    bytes(3 * BLOCK_BYTES + 5)
}

fn file_of(disk: &Path, chunk: ChunkId) -> PathBuf {
    disk.join(format!("chunks/{:02x}/{chunk}_1.chunk", chunk.0))
}

#[tokio::test]
async fn a_disk_that_hangs_costs_its_replicas_alone_and_holds_up_nobody() {
    let (cluster, held) = with_chunks().await;
    let [well, sick] = [1, 2].map(|n| disk(&cluster, n));
    let (kept, stuck) = (*held[0].first().unwrap(), *held[1].first().unwrap());
    let _hangs = [Hang::at(sick.join("probe")), Hang::at(file_of(&sick, stuck))];
    let watch = Stopwatch::start();
    let reading = async {
        let refused = get(&cluster, 0, stuck.0, 0..u64::MAX).await;
        (status_and_kind(refused), watch.elapsed())
    };
    let going_on = async {
        assert_eq!(get(&cluster, 0, kept.0, 0..u64::MAX).await.unwrap().1, data());
        for chunk in 11..=14 {
            put(&cluster, chunk, frames(&data()), &[]).await.unwrap();
        }
        watch.elapsed()
    };
    let ((refused, refused_after), went_on_after) = tokio::join!(reading, going_on);
    assert_eq!(refused, (500, "internal".into()));
    assert!(refused_after < 4 * LIMIT, "{refused_after:?}");
    assert!(went_on_after < 4 * LIMIT, "{went_on_after:?}");

    until("the disk has failed", || told(&cluster)[1].failed.is_some()).await;
    let states = told(&cluster);
    assert_eq!(states[1].failed.as_deref(), Some("hangs: no answer for 1s"));
    assert!(states[0].failed.is_none(), "{states:?}");
    until("exactly its replicas are lost", || known(&cluster) == chunks_on(&well, "_1.chunk"))
        .await;
    assert_eq!(status_and_kind(get(&cluster, 0, stuck.0, 0..1).await).0, 404);
    // Made again, here of all places.
    put(&cluster, stuck.0, frames(&data()), &[]).await.unwrap();
    assert_eq!(get(&cluster, 0, stuck.0, 0..u64::MAX).await.unwrap().1, data());
}

#[tokio::test]
async fn a_call_that_hangs_on_a_disk_that_answers_others_ends_with_an_error_and_costs_nothing_else()
{
    let (cluster, held) = with_chunks().await;
    let sick = disk(&cluster, 2);
    let stuck = *held[1].first().unwrap();
    let hang = Hang::at(file_of(&sick, stuck));
    assert_eq!(
        status_and_kind(get(&cluster, 0, stuck.0, 0..u64::MAX).await),
        (500, "internal".into())
    );
    let probe = sick.join("probe");
    for _ in 0..2 {
        until("it is tried", || probe.exists()).await;
        std::fs::remove_file(&probe).unwrap();
    }
    assert!(told(&cluster).iter().all(|disk| disk.failed.is_none()));
    assert_eq!(known(&cluster).len(), 4, "nothing is lost");
    let other = *held[1].last().unwrap();
    assert_eq!(get(&cluster, 0, other.0, 0..u64::MAX).await.unwrap().1, data());
    drop(hang);
}

#[tokio::test]
async fn a_term_is_kept_where_it_can_be_and_one_disk_that_hangs_keeps_no_other_from_it() {
    let place = tempfile::tempdir().unwrap();
    let folders = ["disk-1", "disk-2"].map(|name| place.path().join(name));
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let (disks, _) = Disks::open(&folders, &owner, super::DISK_LIMITS).await.unwrap();
    let hang = Hang::at(folders[0].join("term.json.new"));
    let kept = |epoch| KeptTerm { term: Term { epoch: Epoch(epoch), id: 7 }, last_record: 1 };
    for epoch in 1..=2 {
        disks.keep_term(kept(epoch)).await.unwrap();
        assert_eq!(disks.term(), Some(kept(epoch)));
    }
    let terms: Vec<_> = disks.open_dirs().map(|dir| dir.term()).collect();
    assert_eq!(terms, [None, Some(kept(2))]);
    drop(hang);
}

#[tokio::test]
async fn a_folder_that_hangs_at_the_start_is_left_out_and_the_only_one_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let [well, sick, only] = ["well", "sick", "only"].map(|name| place.path().join(name));
    let owner = Owner::new("chunkserver", "host-1".parse().unwrap());
    let limits = DiskLimits { reserve_bytes: 0, timeout: LIMIT };
    let (both, only) = ([well, sick.clone()], [only]);
    for folders in [&both[..], &only] {
        drop(Disks::open(folders, &owner, limits).await.unwrap());
    }
    // Whoever asks whose folder it is hangs.
    let _hangs = [&sick, &only[0]].map(|folder| Hang::at(folder.join("identity.json")));
    let (opened, refused) =
        tokio::join!(Disks::open(&both, &owner, limits), Disks::open(&only, &owner, limits));
    let states = opened.unwrap().0.measured().1;
    assert!(states[0].failed.is_none());
    let reason = states[1].failed.as_deref().unwrap();
    assert!(reason.contains("its disk hangs"), "{reason}");
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(matches!(refused, DataDirError::Hangs { .. }), "{refused}");
}
