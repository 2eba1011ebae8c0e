//! Disks that fill: what was acknowledged stays, what has no room is refused with the remedy, and with room all
//! goes on, without a restart.

use std::time::Duration;

use chunkstore_client::{CreateOptions, StoreError};
use clock::Stopwatch;
use tests::cluster::PATIENCE;
use tests::contents::content;
use tests::replicas::chunk_files;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, wait};

const FILE_BYTES: usize = 6 << 20;
/// A journal that can make room makes it sooner.
const STAYS_FULL: Duration = Duration::from_secs(5);
const SERVERS: [&str; 3] = ["chunkserver-1", "chunkserver-2", "chunkserver-3"];

fn options() -> DevOptions {
    DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=2MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.journal_segment=2MiB")
        .set("chunkserver.reserve=0B")
}

fn path(nth: u64) -> String {
    format!("/files/{nth}")
}

fn put(dev: &Dev, nth: u64) -> tests::Finished {
    dev.put_bytes(content(nth, FILE_BYTES), &path(nth), &[])
}

/// With which status a put is refused; `None` if it is not.
fn status_of_a_put(dev: &Dev, path: &str) -> Option<u16> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bytes = content(0, FILE_BYTES).to_vec();
    let path = path.parse().expect("a path");
    let put = dev.store();
    let put = put.write_all(&path, bytes, CreateOptions::default());
    match runtime.block_on(put) {
        Ok(_) => None,
        Err(StoreError::OutOfSpace { problem, .. } | StoreError::NoServers { problem, .. }) => {
            Some(problem.status)
        }
        Err(other) => panic!("{other}: {}", dev.run(&["fs", "report"]).text()),
    }
}

fn check(dev: &Dev, files: impl IntoIterator<Item = u64>) {
    for nth in files {
        let cat = dev.run(&["fs", "cat", &path(nth)]).success();
        assert!(cat.stdout == content(nth, FILE_BYTES), "file {nth}: other bytes came back");
    }
}

#[test]
fn with_one_of_three_disks_full_files_go_to_the_others() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::start(&options());
    dev.stop();
    let disk = SmallDisk::mount(dev.data_dir(SERVERS[0]), 32);
    dev.start_again(&DevOptions::default());
    let _ = put(&dev, 0).success();
    // The chunk master can't know yet: uploads begin there, run out of room, and go elsewhere.
    let hog = disk.fill_but(1 << 20);
    for nth in 1..8 {
        let _ = put(&dev, nth).success();
    }
    check(&dev, 0..8);
    drop(hog);
    let used = || chunk_files(disk.path()).len();
    let before = used();
    let mut nth = 8;
    wait::until("files go there again", PATIENCE, || {
        let _ = put(&dev, nth).success();
        nth += 1;
        (used() > before).then_some(())
    });
    check(&dev, 0..nth);
}

#[test]
fn with_all_disks_full_reads_and_removals_work_and_then_puts_again() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::start(&options());
    dev.stop();
    let _disks = SERVERS.map(|server| SmallDisk::mount(dev.data_dir(server), 32));
    dev.start_again(&DevOptions::default());
    let pids = SERVERS.map(|server| dev.pid(server));
    let mut n_kept = 0;
    let refused = loop {
        let put = put(&dev, n_kept);
        if put.code != Some(0) {
            break put;
        }
        n_kept += 1;
        assert!(n_kept < 8, "two replicas of 8 files are more than all disks have");
    };
    assert!(n_kept >= 6, "only {n_kept} files found room");
    let _ = refused.refused(1, &[&path(n_kept), "free"]);
    check(&dev, 0..n_kept);
    let _ = put(&dev, n_kept).refused(1, &[&path(n_kept), "free"]);
    let _ = dev.run(&["fs", "test", "-e", &path(n_kept)]).refused(1, &[]);
    assert_eq!(status_of_a_put(&dev, &path(n_kept)), Some(507));

    for nth in 0..n_kept / 2 {
        let _ = dev.run(&["fs", "rm", "--skip-trash", &path(nth)]).success();
    }
    wait::until("files find room again", PATIENCE, || {
        (put(&dev, n_kept).code == Some(0)).then_some(())
    });
    check(&dev, n_kept / 2..=n_kept);
    let _ = dev.run(&["fs", "fsck"]).success();
    assert_eq!(SERVERS.map(|server| dev.pid(server)), pids, "no server was started again");
}

/// Folders of long names, which fill a journal.
#[derive(Default)]
struct Names {
    n_made: u32,
}

impl Names {
    fn path(nth: u32) -> String {
        format!("/names/{nth}-{}", "n".repeat(240))
    }

    /// Makes some more; nothing when they were made.
    fn make(&mut self, dev: &Dev) -> Option<tests::Finished> {
        let names: Vec<String> = (0..50).map(|nth| Self::path(self.n_made * 50 + nth)).collect();
        let mut arguments = vec!["fs", "mkdir", "-p"];
        arguments.extend(names.iter().map(String::as_str));
        let made = dev.run(&arguments);
        if made.code == Some(0) {
            self.n_made += 1;
            assert!(self.n_made < 1000, "the journal never fills");
            return None;
        }
        Some(made)
    }

    /// Makes them until there is no room, and none comes by itself: a snapshot takes less than the records it covers.
    fn make_until_full(&mut self, dev: &Dev) -> tests::Finished {
        loop {
            let Some(refused) = self.make(dev) else { continue };
            let full = Stopwatch::start();
            while self.make(dev).is_some() {
                if full.elapsed() > STAYS_FULL {
                    return refused;
                }
            }
        }
    }

    fn check(&self, dev: &Dev) {
        if let Some(last) = (self.n_made * 50).checked_sub(1) {
            let _ = dev.run(&["fs", "test", "-d", &Self::path(last)]).success();
        }
    }
}

/// A cluster whose chunk master has such a disk for itself, with a file.
fn with_a_disk_for_the_journal(mib: u64) -> (Dev, SmallDisk) {
    let mut dev = Dev::to_be_started();
    let disk = SmallDisk::mount(dev.scratch().join("disk"), mib);
    let journal = disk.path().join("journal");
    dev.start_again(&options().set(&format!("chunkmaster.data_dir={}", journal.display())));
    let _ = put(&dev, 0).success();
    (dev, disk)
}

#[test]
fn with_the_masters_disk_full_nothing_is_acknowledged_or_lost_and_it_recovers() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let (mut dev, disk) = with_a_disk_for_the_journal(24);
    let hog = disk.fill_but(0);
    let mut names = Names::default();
    let _ = names.make_until_full(&dev).refused(1, &["free"]);
    let _ = dev.put_bytes(b"x", "/refused", &[]).refused(1, &["free"]);
    assert_eq!(status_of_a_put(&dev, "/refused"), Some(507));
    let check = |dev: &Dev, files: &[u64]| {
        check(dev, files.iter().copied());
        names.check(dev);
        let _ = dev.run(&["fs", "test", "-e", "/refused"]).refused(1, &[]);
    };
    check(&dev, &[0]);

    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    check(&dev, &[0]);
    drop(hog);
    wait::until("changes are taken again", PATIENCE, || {
        (put(&dev, 1).code == Some(0)).then_some(())
    });
    check(&dev, &[0, 1]);
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    check(&dev, &[0, 1]);
}

/// Nobody else makes space. The removal is in the segment that is open, and no other one can follow.
#[test]
fn with_the_masters_disk_full_a_removal_makes_the_journal_shorter_and_all_goes_on() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    for restarts in [false, true] {
        let (mut dev, disk) = with_a_disk_for_the_journal(24);
        let _hog = disk.fill_but(0);
        for round in 0..2 {
            let mut names = Names::default();
            let _ = names.make_until_full(&dev).refused(1, &["free"]);
            names.check(&dev);
            if restarts {
                dev.kill("chunkmaster");
                dev.restart("chunkmaster");
                names.check(&dev);
            }
            wait::until("a removal is taken", PATIENCE, || {
                let removed = dev.run(&["fs", "rm", "-r", "--skip-trash", "/names"]);
                (removed.code == Some(0)).then_some(())
            });
            wait::until("changes are taken again", PATIENCE, || {
                (put(&dev, round + 1).code == Some(0)).then_some(())
            });
            let _ = dev.run(&["fs", "test", "-e", "/names"]).refused(1, &[]);
        }
        dev.kill("chunkmaster");
        dev.restart("chunkmaster");
        check(&dev, 0..3);
    }
}

/// Each disk that the chunk master knows of.
fn disks(dev: &Dev) -> Vec<serde_json::Value> {
    let report = dev.run(&["fs", "report", "--format", "json"]).success();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).expect("JSON");
    let servers = report["servers"].as_array().cloned().unwrap_or_default().into_iter();
    servers.flat_map(|it| it["disks"].as_array().cloned().unwrap_or_default()).collect()
}

/// The disk has all the space that is wanted, and takes no more files.
#[test]
fn a_chunkserver_whose_disk_takes_no_more_files_is_one_whose_disk_is_full() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::start(&options());
    dev.stop();
    let disk = SmallDisk::mount_for_files(dev.data_dir(SERVERS[0]), 64, 300);
    dev.start_again(&DevOptions::default());
    let mut n_put = 0;
    let mut put_next = |dev: &Dev| {
        let _ = put(dev, n_put).success();
        n_put += 1;
        n_put
    };
    wait::until("it has some of a file", PATIENCE, || {
        put_next(&dev);
        (!chunk_files(disk.path()).is_empty()).then_some(())
    });
    let files = disk.fill_with_files();
    let n_put = (0..3).map(|_| put_next(&dev)).last().expect("some are put");
    wait::until("it tells of no room", PATIENCE, || {
        disks(&dev)
            .iter()
            .any(|disk| disk["free_bytes"] == 0 && disk["failed"].is_null())
            .then_some(())
    });
    // It keeps the new term of a master that starts, and starts itself, without a new file.
    for restarted in ["chunkmaster", SERVERS[0]] {
        dev.kill(restarted);
        dev.restart(restarted);
        wait::until("all is there", PATIENCE, || {
            (dev.run(&["fs", "fsck", "/"]).code == Some(0) && disks(&dev).len() == 3).then_some(())
        });
    }
    wait::until("a put is taken", PATIENCE, || (put(&dev, n_put).code == Some(0)).then_some(()));
    check(&dev, 0..=n_put);
    assert!(
        disks(&dev).iter().all(|disk| disk["failed"].is_null()),
        "a full disk is no failed one"
    );
    drop(files);
    let held = chunk_files(disk.path()).len();
    let mut nth = n_put;
    wait::until("files go there again", PATIENCE, || {
        nth += 1;
        let _ = put(&dev, nth).success();
        (chunk_files(disk.path()).len() > held).then_some(())
    });
    check(&dev, 0..=nth);
}

#[test]
fn a_chunk_master_whose_disk_takes_no_more_files_is_one_whose_disk_is_full() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::to_be_started();
    let disk = SmallDisk::mount_for_files(dev.scratch().join("disk"), 64, 100);
    let journal = disk.path().join("journal");
    dev.start_again(&options().set(&format!("chunkmaster.data_dir={}", journal.display())));
    let _ = put(&dev, 0).success();
    let files = disk.fill_with_files();
    let mut names = Names::default();
    let _ = names.make_until_full(&dev).refused(1, &["free"]);
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    names.check(&dev);
    check(&dev, [0]);
    assert_eq!(status_of_a_put(&dev, "/refused"), Some(507));
    drop(files);
    wait::until("changes are taken again", PATIENCE, || {
        (put(&dev, 1).code == Some(0)).then_some(())
    });
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    names.check(&dev);
    check(&dev, [0, 1]);
}
