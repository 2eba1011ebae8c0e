//! A chunkserver's disk hangs: its file system is frozen, and whoever writes there waits in the kernel. Neither the server's
//! other disk nor the cluster waits with it. (What is read of a frozen file system still comes: that reads may hang, too,
//! the chunkserver's own tests show.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use clock::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::{PATIENCE, end_with_this_process};
use tests::freezable_disk::FreezableDisk;
use tests::metrics::metric;
use tests::replicas::chunk_files;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, books, wait};

const SICK: &str = "chunkserver-1";
const SERVERS: [&str; 3] = [SICK, "chunkserver-2", "chunkserver-3"];
/// How much longer than before a file may take that is written beside a disk that hangs.
const DELAY_MAX: Duration = Duration::from_secs(4);

fn options() -> DevOptions {
    DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=3")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkserver.reserve=0B")
        .set("chunkserver.disk_timeout=8s")
}

/// A cluster whose first chunkserver has so many disks, each of which can be frozen; none where there can't be any.
fn with_disks(n: usize) -> Option<(Dev, Vec<FreezableDisk>)> {
    if !SmallDisk::may_be_mounted() {
        return None;
    }
    let mut dev = Dev::to_be_started();
    let mount = |nth: usize| {
        let image = dev.scratch().join(format!("disk-{nth}.ext4"));
        FreezableDisk::mount(&image, dev.scratch().join(format!("disk-{nth}")))
    };
    let disks = (1..=n).map(mount).collect::<Option<Vec<_>>>()?;
    dev.start_again(&options());
    dev.stop();
    let mut config = dev.config();
    let folders: Vec<PathBuf> = disks.iter().map(|disk| disk.path().join("chunks")).collect();
    config.hosts[0].chunkserver.data_dirs = Some(folders);
    fs::write(dev.config_file(), config.to_yaml()).expect("its configuration can be written");
    dev.start_again(&DevOptions::default());
    Some((dev, disks))
}

/// Puts 8 MiB, and returns how long that took.
fn put(dev: &Dev, path: &str) -> Duration {
    let file = dev.scratch().join("text");
    if !file.exists() {
        books::generate(&file, "8MiB", 31);
    }
    let watch = Stopwatch::start();
    dev.put(&file, path);
    watch.elapsed()
}

fn assert_is_whole(dev: &Dev, path: &str) {
    let got = dev.scratch().join("got");
    dev.get(path, &got);
    let read = |path: &Path| fs::read(path).expect("it can be read");
    let is_same = read(&got) == read(&dev.scratch().join("text"));
    assert!(is_same, "{path}: other bytes came back");
    fs::remove_file(got).expect("it can be removed");
}

/// Waits until so many replicas are held by the chunkservers together.
fn await_replicas(dev: &Dev, n: u64) {
    wait::until(&format!("{n} replicas are held"), PATIENCE, || {
        let held = SERVERS.iter().map(|server| metric(dev, server, "howdah_chunkserver_replicas "));
        let held: f64 = held.sum::<Option<f64>>()?;
        (held as u64 == n).then_some(())
    });
}

#[test]
fn a_server_goes_on_when_one_of_its_two_disks_hangs_and_what_lay_there_is_made_again() {
    let Some((mut dev, mut disks)) = with_disks(2) else { return };
    let before = put(&dev, "/before");
    let n_chunks = fs::metadata(dev.scratch().join("text")).unwrap().len().div_ceil(1 << 20);
    await_replicas(&dev, 3 * n_chunks);
    let on_disks = disks.iter().map(|disk| chunk_files(&disk.path().join("chunks")).len());
    assert!(on_disks.clone().all(|n| n > 0), "the disks take turns");
    let registrations = |dev: &Dev| metric(dev, SICK, "howdah_chunkserver_registrations_total ");
    let registered = registrations(&dev).expect("it answers");

    disks[1].freeze();
    let during = put(&dev, "/during");
    println!(
        "8 MiB: {before:?} before, {during:?} beside the disk that hangs, {:.1} times as long",
        during.as_secs_f64() / before.as_secs_f64()
    );
    assert!(during < before + DELAY_MAX, "{during:?}, and {before:?} before");
    wait::until("the disk counts as failed", PATIENCE, || {
        let failed = r#"howdah_chunkserver_disks{state="failed"} "#;
        (metric(&dev, SICK, failed)? as u64 == 1).then_some(())
    });
    wait::until("people hear why", PATIENCE, || {
        let report = dev.run(&["fs", "report"]).success().text();
        report.contains("hangs: no answer for 8s").then_some(())
    });
    // By now the other disk holds all of it again.
    await_replicas(&dev, 2 * 3 * n_chunks);
    let after = put(&dev, "/after");
    assert!(after < before + DELAY_MAX, "{after:?}, and {before:?} before");
    assert_eq!(registrations(&dev), Some(registered), "its heartbeats went on");
    let dead = metric(&dev, "chunkmaster", "howdah_chunkmaster_servers_dead ");
    assert_eq!(dead, Some(0.0));
    await_replicas(&dev, 3 * 3 * n_chunks);
    for server in &SERVERS[1..] {
        dev.kill(server);
    }
    for path in ["/before", "/during", "/after"] {
        assert_is_whole(&dev, path);
    }
    disks[1].thaw();
}

/// The server, started by hand to see how it ends.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// In the place of the supervisor's.
    fn start(dev: &mut Dev) -> Self {
        dev.kill(SICK);
        let log = dev.scratch().join("by-hand.log");
        let to = fs::File::create(&log).expect("a new file");
        let mut start = dev.client(&["chunkserver", "--host", "host-1"]);
        end_with_this_process(&mut start);
        let child = start.stdout(Stdio::null()).stderr(to).spawn().expect("it starts");
        let server = Self { child, log };
        wait::until("the server is ready", PATIENCE, || {
            let ready = dev.page_of(&dev.address_of(SICK), "/readyz").ok()?;
            (ready.status == 200 && server.log().contains("registered with")).then_some(())
        });
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a pid is positive");
        // It may have ended by itself.
        kill_process(pid, Signal::TERM).ok();
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

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        if !thread::panicking() {
            self.child.wait().ok();
        }
    }
}

#[test]
fn a_server_whose_only_disk_hangs_holds_up_nobody_and_ends_when_it_is_told_to() {
    let Some((mut dev, mut disks)) = with_disks(1) else { return };
    let mut server = Server::start(&mut dev);
    let before = put(&dev, "/before");
    disks[0].freeze();
    let during = put(&dev, "/during");
    println!("8 MiB: {before:?} before, {during:?} beside the server whose only disk hangs");
    assert!(
        during < before + Duration::from_secs(8) + DELAY_MAX,
        "{during:?}, and {before:?} before"
    );
    assert_is_whole(&dev, "/before");
    let watch = Stopwatch::start();
    server.terminate();
    wait::until("it ends but for what waits for the disk", PATIENCE, || {
        server.is_over().then_some(())
    });
    println!("it ended after {:?}", watch.elapsed());
    assert!(watch.elapsed() < Duration::from_secs(15), "{:?}: {}", watch.elapsed(), server.log());
    disks[0].thaw();
    server.wait();
    dev.restart(SICK);
    for path in ["/before", "/during"] {
        assert_is_whole(&dev, path);
    }
    let n_chunks = fs::metadata(dev.scratch().join("text")).unwrap().len().div_ceil(1 << 20);
    await_replicas(&dev, 2 * 3 * n_chunks);
}
