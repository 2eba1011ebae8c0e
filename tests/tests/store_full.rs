//! Disks that fill: what was acknowledged stays, what has no room is refused with the remedy, and with room all
//! goes on, without a restart.

use chunkstore_client::{CreateOptions, StoreError};
use tests::cluster::PATIENCE;
use tests::contents::content;
use tests::replicas::chunk_files;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, wait};

const FILE_BYTES: usize = 6 << 20;
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

#[test]
fn with_the_masters_disk_full_nothing_is_acknowledged_or_lost_and_it_recovers() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::to_be_started();
    let disk = SmallDisk::mount(dev.scratch().join("disk"), 24);
    let journal = disk.path().join("journal");
    dev.start_again(&options().set(&format!("chunkmaster.data_dir={}", journal.display())));
    let _ = put(&dev, 0).success();
    let hog = disk.fill_but(0);
    // Folders of long names fill what the journal has in advance.
    let folder = |nth: u32| format!("/{}-{nth}", "n".repeat(240));
    let mut n_made = 0;
    let refused = loop {
        let names: Vec<String> = (0..100).map(|nth| folder(n_made * 100 + nth)).collect();
        let mut arguments = vec!["fs", "mkdir"];
        arguments.extend(names.iter().map(String::as_str));
        let made = dev.run(&arguments);
        if made.code != Some(0) {
            break made;
        }
        n_made += 1;
        assert!(n_made < 1000, "the journal never fills");
    };
    let _ = refused.refused(1, &["free"]);
    let _ = dev.put_bytes(b"x", "/refused", &[]).refused(1, &["free"]);
    assert_eq!(status_of_a_put(&dev, "/refused"), Some(507));
    check(&dev, [0]);
    let last = (n_made > 0).then(|| folder(n_made * 100 - 1));
    let made = |dev: &Dev| {
        if let Some(path) = &last {
            let _ = dev.run(&["fs", "test", "-d", path]).success();
        }
        let _ = dev.run(&["fs", "test", "-e", "/refused"]).refused(1, &[]);
    };
    made(&dev);

    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    check(&dev, [0]);
    made(&dev);
    drop(hog);
    wait::until("changes are taken again", PATIENCE, || {
        (put(&dev, 1).code == Some(0)).then_some(())
    });
    check(&dev, [0, 1]);
    made(&dev);
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    check(&dev, [0, 1]);
    made(&dev);
}
