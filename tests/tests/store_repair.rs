//! One of four chunkservers dies under real data: what is nearest to loss is copied first, as fast as the
//! configuration says and no faster; without a limit fast.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_client::ChunkStore;
use clock::Stopwatch;
use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::contents::{CONTENT_BYTES_MAX, content};
use tests::metrics::metric;
use tests::{Dev, DevOptions, long, wait};

const SERVERS: [&str; 4] = ["chunkserver-1", "chunkserver-2", "chunkserver-3", "chunkserver-4"];
/// What each server may send.
const RATE: u64 = 32 << 20;
/// For the copies of one server's chunks, at full size and on a busy machine.
const REPAIRED: Duration = Duration::from_mins(10);

/// Bytes per second that the reader beside repair takes at most.
const READ_RATE: u64 = 200_000_000;
/// Its rate is that of each such time.
const WINDOW: Duration = Duration::from_millis(250);

/// The tests measure: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn file_bytes() -> u64 {
    if long() { 10 << 30 } else { 1 << 30 }
}

fn start(repair_rate: &str) -> Dev {
    let options = DevOptions::trackers(4)
        .set("chunkmaster.chunk_bytes=8MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=500ms")
        .set("chunkmaster.dead_after=3s")
        .set("chunkserver.scrub_rate=0B")
        .set(&format!("chunkserver.repair_rate={repair_rate}"));
    Dev::start(&options)
}

/// A local file of so many bytes that no two chunks share.
fn local_file(dev: &Dev, bytes: u64) -> PathBuf {
    let path = dev.scratch().join("local");
    let mut file = fs::File::create(&path).expect("a file can be made");
    let mut left = bytes;
    while left > 0 {
        let part = left.min(CONTENT_BYTES_MAX as u64);
        file.write_all(content(left, part as usize)).expect("it can be written");
        left -= part;
    }
    path
}

fn fsck(dev: &Dev) -> Value {
    let fsck = dev.run(&["fs", "fsck", "--format", "json"]);
    serde_json::from_slice(&fsck.stdout).unwrap_or_else(|_| panic!("fsck: {}", fsck.stderr))
}

fn copied(dev: &Dev, server: &str) -> f64 {
    metric(dev, server, "howdah_chunkserver_copied_bytes_total").unwrap_or(0.0)
}

/// Waits until a file that is asked to have more replicas has them.
fn await_whole(dev: &Dev) {
    wait::until("all chunks are whole", REPAIRED, || {
        fsck(dev)["files"].as_array().filter(|files| files.is_empty()).map(|_| ())
    });
}

/// Waits until the master has copies made.
fn await_begin(dev: &Dev) {
    let _running = wait::until("repair begins", PATIENCE, || {
        metric(dev, "chunkmaster", "howdah_chunkmaster_repairs_running").filter(|n| *n > 0.0)
    });
}

/// Waits until none is under way or to be made. Looks rarely: what is measured meanwhile would feel it.
fn await_end(dev: &Dev) {
    wait::until_rarely("repair ends", REPAIRED, WINDOW, || {
        let names = ["repairs_running", "repairs_waiting", "sweeping"];
        let left = names.map(|of| metric(dev, "chunkmaster", &format!("howdah_chunkmaster_{of}")));
        (left.into_iter().sum::<Option<f64>>()? as u64 == 0).then_some(())
    });
}

fn check(dev: &Dev, path: &str, local: &Path) {
    let mut cat = dev.client(&["fs", "cat", path]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut output = cat.stdout.take().expect("its output is a pipe");
    let mut file = fs::File::open(local).expect("it is there");
    let (mut expected, mut came) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut expected).expect("it can be read");
        if n == 0 {
            break;
        }
        output.read_exact(&mut came[..n]).expect("as much comes back");
        assert!(came[..n] == expected[..n], "other bytes came back");
    }
    assert!(cat.wait().expect("it ends").success());
}

/// A chunk that lacks replicas, as the check tells of it.
struct Short<'a> {
    chunk: &'a str,
    good: Vec<&'a str>,
    waits: bool,
    copied_from: Option<&'a str>,
}

impl<'a> Short<'a> {
    fn of(chunk: &'a Value) -> Self {
        let replicas = chunk["replicas"].as_array().into_iter().flatten();
        let good = replicas.filter(|replica| replica["state"] == "good");
        Self {
            chunk: chunk["chunk"].as_str().unwrap_or_default(),
            good: good.filter_map(|replica| replica["host"].as_str()).collect(),
            waits: chunk["repair"]["state"] == "waiting",
            copied_from: chunk["repair"]["from"].as_str(),
        }
    }
}

fn shorts(fsck: &Value) -> impl Iterator<Item = Short<'_>> {
    let files = fsck["files"].as_array().into_iter().flatten();
    files.flat_map(|file| file["chunks"].as_array().into_iter().flatten()).map(Short::of)
}

/// No server sends a chunk with two live replicas while one that it alone holds waits.
fn check_order(fsck: &Value) -> bool {
    let (one, more): (Vec<_>, Vec<_>) = shorts(fsck).partition(|short| short.good.len() == 1);
    let mut waits = one.iter().filter(|short| short.waits).peekable();
    let any = waits.peek().is_some();
    for rare in waits {
        let hasty = more.iter().find(|other| other.copied_from == rare.good.first().copied());
        if let Some(hasty) = hasty {
            panic!("{} is copied before {}: {fsck:#}", hasty.chunk, rare.chunk);
        }
    }
    any
}

#[test]
fn what_has_one_copy_left_is_copied_first_and_at_the_configured_rate() {
    let _alone = alone();
    let mut dev = start("32MiB");
    let local = local_file(&dev, file_bytes());
    dev.put(&local, "/two");
    let small = local_file(&dev, file_bytes() / 4);
    dev.put(&small, "/three");
    let _ = dev.run(&["fs", "setrep", "3", "/three"]).success();
    await_end(&dev);
    await_whole(&dev);
    let survivors = &SERVERS[..3];
    let before: BTreeMap<_, _> = survivors.iter().map(|s| (*s, copied(&dev, s))).collect();

    dev.kill(SERVERS[3]);
    await_begin(&dev);
    let began = Stopwatch::start();
    let mut sent: BTreeMap<_, _> = before.iter().map(|(s, n)| (*s, (*n, Duration::ZERO))).collect();
    let mut n_waits = 0;
    wait::until("all chunks are whole", REPAIRED, || {
        let found = fsck(&dev);
        n_waits += u32::from(check_order(&found));
        for (server, (bytes, at)) in &mut sent {
            let now = copied(&dev, server);
            if now > *bytes {
                (*bytes, *at) = (now, began.elapsed());
            }
        }
        found["files"].as_array().filter(|files| files.is_empty()).map(|_| ())
    });
    assert!(n_waits > 3, "the check was not looked at while the rarest waited: {n_waits}");
    let (mut all_bytes, mut all_time) = (0.0, Duration::ZERO);
    for (server, (bytes, at)) in sent {
        let bytes = bytes - before[server];
        let ratio = bytes / at.as_secs_f64() / RATE as f64;
        println!(
            "{server} sent {:.0} MiB in {at:.1?}: {ratio:.3} of its rate",
            bytes / f64::from(1 << 20)
        );
        assert!(ratio < 1.1, "{server} sends at {ratio:.3} of its rate");
        (all_bytes, all_time) = (all_bytes + bytes, all_time + at);
    }
    // Of all together: a server that sends little ends before a late start has averaged out.
    let ratio = all_bytes / all_time.as_secs_f64() / RATE as f64;
    assert!(ratio >= 0.9, "they send at {ratio:.3} of their rate");
    check(&dev, "/three", &small);
}

#[test]
fn without_a_limit_repair_is_half_as_fast_as_put_at_least() {
    let _alone = alone();
    let mut dev = start("1TiB");
    let local = local_file(&dev, file_bytes());
    let time = Stopwatch::start();
    dev.put(&local, "/two");
    let put = file_bytes() as f64 / time.elapsed().as_secs_f64();

    dev.kill(SERVERS[3]);
    await_begin(&dev);
    let time = Stopwatch::start();
    await_end(&dev);
    let took = time.elapsed();
    let sent: f64 = SERVERS[..3].iter().map(|server| copied(&dev, server)).sum();
    let repaired = sent / took.as_secs_f64();
    println!(
        "put: {:.0} MB/s; repair: {:.0} MB in {took:.1?}, {:.0} MB/s",
        put / 1e6,
        sent / 1e6,
        repaired / 1e6
    );
    await_whole(&dev);
    assert!(repaired >= 0.5 * put, "repair is slower than half of put");

    check(&dev, "/two", &local);
}

/// Reads a file again and again, no faster than [`READ_RATE`]; each window's bytes per second.
struct CappedReader {
    rates: Arc<Mutex<Vec<f64>>>,
    task: tokio::task::JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
}

impl CappedReader {
    fn start(dev: &Dev, path: &str) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let rates = Arc::default();
        let (store, path) = (dev.store(), path.to_owned());
        let reading = read_again_and_again(store, path, Arc::clone(&rates));
        let task = runtime.spawn(reading);
        Self { rates, task, runtime }
    }

    /// Waits until there are so many windows since the last call of [`Self::median`].
    fn await_windows(&self, n: usize) {
        let rates = || self.rates.lock().expect("no reader panics there").len();
        wait::until("the reader has read for a while", PATIENCE, || (rates() >= n).then_some(()));
    }

    /// The median of the windows since the last call.
    fn median(&self) -> f64 {
        assert!(!self.task.is_finished(), "the reader has failed");
        let mut rates = std::mem::take(&mut *self.rates.lock().expect("no reader panics there"));
        rates.sort_by(f64::total_cmp);
        assert!(rates.len() >= 4, "too few windows for a median: {rates:?}");
        rates[rates.len() / 2]
    }

    fn stop(self) {
        self.task.abort();
        self.runtime.shutdown_background();
    }
}

async fn read_again_and_again(store: ChunkStore, path: String, rates: Arc<Mutex<Vec<f64>>>) {
    let path = path.parse().expect("a path");
    // A block's time, which the next one waits for; what was missed is not made up for.
    let mut free_at = Stopwatch::start().elapsed();
    let (clock, mut window, mut bytes) = (Stopwatch::start(), Stopwatch::start(), 0_u64);
    loop {
        let mut reader = store.open(&path).await.expect("it opens");
        while let Some(block) = reader.next().await.expect("it is read") {
            bytes += block.len() as u64;
            let now = clock.elapsed();
            let time = Duration::from_secs_f64(block.len() as f64 / READ_RATE as f64);
            free_at = free_at.max(now.saturating_sub(Duration::from_millis(20))) + time;
            if free_at > now {
                tokio::time::sleep(free_at - now).await;
            }
            if window.elapsed() >= WINDOW {
                let rate = bytes as f64 / window.elapsed().as_secs_f64();
                rates.lock().expect("no reader panics there").push(rate);
                (window, bytes) = (Stopwatch::start(), 0);
            }
        }
    }
}

#[test]
fn a_reader_keeps_most_of_its_rate_beside_repair_without_a_limit_which_ends_all_the_same() {
    let _alone = alone();
    let mut dev = start("1TiB");
    let local = local_file(&dev, file_bytes());
    dev.put(&local, "/two");
    let reader = CappedReader::start(&dev, "/two");
    reader.await_windows(20);
    let before = reader.median();

    dev.kill(SERVERS[3]);
    await_begin(&dev);
    let time = Stopwatch::start();
    reader.median();
    await_end(&dev);
    let took = time.elapsed();
    let beside = reader.median();
    reader.stop();
    let sent: f64 = SERVERS[..3].iter().map(|server| copied(&dev, server)).sum();
    println!(
        "the reader: {:.0} MB/s, beside repair {:.0} MB/s; repair: {:.0} MB in {took:.1?}",
        before / 1e6,
        beside / 1e6,
        sent / 1e6,
    );
    await_whole(&dev);
    assert!(beside >= 0.7 * before, "the reader keeps {:.2} of its rate", beside / before);
}
