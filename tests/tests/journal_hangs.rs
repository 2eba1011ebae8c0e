//! The disk of a master's journal hangs: its file system is frozen, and whoever writes there waits. With a second folder
//! on another disk the master goes on; with that one alone it tells nobody of anything, says so, and can be stopped.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::{PATIENCE, end_with_this_process};
use tests::freezable_disk::FreezableDisk;
use tests::metrics::metric;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, http, wait};

fn options() -> DevOptions {
    DevOptions::trackers(1)
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("client.retry_for=1s")
        .set("client.request_timeout=3s")
}

/// A disk of its own for a cluster to be started; none where there can't be one.
fn with_disk() -> Option<(Dev, FreezableDisk)> {
    if !SmallDisk::may_be_mounted() {
        return None;
    }
    let dev = Dev::to_be_started();
    let (image, path) = (dev.scratch().join("disk.ext4"), dev.scratch().join("disk"));
    let disk = FreezableDisk::mount(&image, path)?;
    Some((dev, disk))
}

/// A master that was started by hand, to see how it ends.
struct Master {
    child: Child,
    log: std::path::PathBuf,
}

impl Master {
    /// In the place of the supervisor's.
    fn start(dev: &mut Dev, daemon: &str) -> Self {
        dev.kill(daemon);
        let log = dev.scratch().join("by-hand.log");
        let to = fs::File::create(&log).expect("a new file");
        let mut start = dev.client(&[daemon]);
        end_with_this_process(&mut start);
        let child = start.stdout(Stdio::null()).stderr(to).spawn().expect("it starts");
        let master = Self { child, log };
        wait::until("the master is ready", PATIENCE, || {
            let ready = dev.page_of(&dev.address_of(daemon), "/readyz").ok()?;
            (ready.status == 200 && master.log().contains("starting")).then_some(())
        });
        master
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a pid is positive");
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Whether all of it has ended but threads that wait for the disk, which nothing can end.
    fn is_over(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|it| it.1.starts_with('Z')))
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.child.kill().ok();
        if !thread::panicking() {
            self.child.wait().ok();
        }
    }
}

#[test]
fn a_chunk_master_goes_on_when_one_of_its_journals_two_disks_hangs() {
    let Some((mut dev, mut disk)) = with_disk() else { return };
    let mirror = disk.path().join("journal");
    let options = options()
        .set("chunkmaster.journal_timeout=2s")
        .set(&format!("chunkmaster.journal_mirror={}", mirror.display()));
    dev.start_again(&options);
    let live = |dev: &Dev| metric(dev, "chunkmaster", "howdah_chunkmaster_journal_mirrors_live ");
    dev.put_text("before\n", "/before");
    assert_eq!(live(&dev), Some(2.0));
    let master = Master::start(&mut dev, "chunkmaster");
    assert_eq!(live(&dev), Some(2.0));
    disk.freeze();
    wait::until("the hanging disk is left, and changes are taken", PATIENCE, || {
        (dev.run(&["fs", "mkdir", "/meanwhile"]).code == Some(0)).then_some(())
    });
    assert_eq!(live(&dev), Some(1.0));
    let log = master.log();
    assert!(log.contains("its disk hangs") && log.contains(&*mirror.to_string_lossy()), "{log}");
    dev.put_text("during\n", "/during");
    let ready = dev.page_of(&dev.address_of("chunkmaster"), "/readyz").expect("an answer");
    assert_eq!(ready.status, 200, "{}", ready.text);
    master.terminate();
    wait::until("it ends but for what waits for the disk", PATIENCE, || {
        master.is_over().then_some(())
    });
    dev.restart("chunkmaster");
    assert_eq!(live(&dev), Some(1.0), "a start does without it, too");
    assert_eq!(dev.run(&["fs", "cat", "/during"]).success().text(), "during");
    dev.put_text("after\n", "/after");
    disk.thaw();
    let (mut master, log) = (master, log);
    assert_eq!(master.wait().code(), Some(0), "all was told and is kept: {log}");
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    assert_eq!(live(&dev), Some(2.0), "the folder that was left is filled");
    for (path, text) in [("/before", "before"), ("/during", "during"), ("/after", "after")] {
        assert_eq!(dev.run(&["fs", "cat", path]).success().text(), text);
    }
    let _ = dev.run(&["fs", "test", "-d", "/meanwhile"]).success();
}

/// The only disk of a master's journal hangs while changes are asked for, each by a command with a number in it.
fn the_only_disk_hangs(daemon: &str, change: impl Fn(u32) -> Vec<String>, then: impl Fn(&Dev)) {
    let Some((mut dev, mut disk)) = with_disk() else { return };
    let journal = disk.path().join("journal");
    let options = options()
        .set(&format!("{daemon}.journal_timeout=1s"))
        .set(&format!("{daemon}.data_dir={}", journal.display()));
    dev.start_again(&options);
    let try_to = |dev: &Dev, n: u32| {
        let arguments = change(n);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        dev.run(&arguments)
    };
    dev.put_text("before\n", "/before");
    let mut master = Master::start(&mut dev, daemon);
    wait::until("a change is taken", PATIENCE, || (try_to(&dev, 0).code == Some(0)).then_some(()));
    disk.freeze();
    for n in 1..3 {
        let answer = try_to(&dev, n);
        assert_ne!(answer.code, Some(0), "told what is not on disk: {}", answer.text());
    }
    let address = dev.address_of(daemon);
    let page = |path: &str| dev.page_of(&address, path).ok();
    let reason = wait::until("it is not ready", PATIENCE, || {
        page("/readyz").filter(|answer| answer.status == 503)
    });
    assert!(reason.text.contains("hangs"), "{}", reason.text);
    assert_eq!(page("/healthz").map(|answer| answer.status), Some(200));
    assert_eq!(metric(&dev, daemon, &format!("howdah_{daemon}_journal_hangs ")), Some(1.0));
    let log = master.log();
    assert!(log.contains("the journal's disk hangs"), "{log}");
    master.terminate();
    wait::until("it ends but for what waits for the disk", PATIENCE, || {
        master.is_over().then_some(())
    });
    assert!(http::get(&address, "/healthz").is_err(), "nobody is served any more");
    let log = master.log();
    let told = ["did not get done", &journal.display().to_string(), "nobody was told"];
    assert!(told.iter().all(|part| log.contains(part)), "{log}");
    // What waits for the disk keeps the process from being gone, by no choice of ours.
    disk.thaw();
    assert_eq!(master.wait().code(), Some(1), "{log}");
    drop(TcpStream::connect(&address).expect_err("it is gone"));
    dev.restart(daemon);
    assert_eq!(dev.run(&["fs", "cat", "/before"]).success().text(), "before");
    then(&dev);
    wait::until("a change is taken", PATIENCE, || (try_to(&dev, 9).code == Some(0)).then_some(()));
}

#[test]
fn a_chunk_master_whose_only_disk_hangs_tells_nobody_and_ends_when_it_is_told_to() {
    let mkdir = |n| ["fs", "mkdir", &format!("/changed-{n}")].map(str::to_owned).to_vec();
    the_only_disk_hangs("chunkmaster", mkdir, |dev| {
        let _ = dev.run(&["fs", "test", "-d", "/changed-0"]).success();
    });
}

#[test]
fn a_jobtracker_whose_only_disk_hangs_tells_nobody_and_ends_when_it_is_told_to() {
    let drain = |n: u32| {
        let change = if n.is_multiple_of(2) { "drain" } else { "undrain" };
        ["host", change, "host-1"].map(str::to_owned).to_vec()
    };
    the_only_disk_hangs("jobtracker", drain, |dev| {
        let hosts = dev.run(&["host", "list"]).success().text();
        assert!(hosts.contains("host-1"), "{hosts}");
    });
}
