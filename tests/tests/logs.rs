//! Many command lines append to one log while its chunkservers are killed, and then everything: what was
//! acknowledged is in the log once, whole, in each one's order.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::cluster::PATIENCE;
use tests::command::howdah;
use tests::replicas::log_files;
use tests::{Dev, DevOptions, long, wait};

const WRITERS: usize = 8;
/// Lines of one append.
const LINES: usize = 20;

/// What one append was to add: lines that nobody else adds.
#[derive(Clone, Debug)]
struct Append {
    name: String,
    acknowledged: bool,
}

impl Append {
    fn lines(&self) -> Vec<String> {
        // Of all lengths, so that half a line would show.
        (0..LINES).map(|n| format!("{} {n} {}", self.name, "x".repeat(n * 37 % 500))).collect()
    }
}

/// What all writers did.
#[derive(Debug, Default)]
struct Appends {
    all: Mutex<Vec<Append>>,
    n_acknowledged: AtomicUsize,
}

impl Appends {
    fn push(&self, append: Append) {
        if append.acknowledged {
            self.n_acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(append);
    }

    /// Waits until so many more succeeded.
    fn await_more(&self, n: usize) {
        let enough = self.n_acknowledged.load(Ordering::Relaxed) + n;
        wait::until("records are acknowledged", PATIENCE, || {
            (self.n_acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

/// Appends, each time by a process of its own, until told to stop.
fn append_on(config: &Path, (round, writer): (usize, usize), appends: &Appends, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut append = Append { name: format!("{round}-{writer}-{number}"), acknowledged: false };
        let mut client = howdah();
        let client = client.args(["fs", "append", "--lines", "-", "/log", "--config"]).arg(config);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = client.spawn().expect("the binary starts");
        let text = append.lines().join("\n");
        // One that has failed already reads nothing.
        let _ = client.stdin.take().expect("piped").write_all(text.as_bytes());
        append.acknowledged = client.wait().expect("it ends").success();
        appends.push(append);
    }
}

/// Every line is one that was appended, none is there twice, those of one append are in order without a gap before the last
/// one that is there, and those of one that was acknowledged are all there.
fn check(dev: &Dev, appends: &[Append]) {
    let cat = dev.run(&["fs", "cat", "/log"]);
    assert_eq!(cat.code, Some(0), "{}", cat.stderr);
    let text = String::from_utf8(cat.stdout).expect("lines are text");
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let (name, _) = line.split_once(' ').expect("a whole line");
        found.entry(name).or_default().push(line);
    }
    for append in appends {
        let lines = append.lines();
        let there = found.remove(append.name.as_str()).unwrap_or_default();
        let wanted = if append.acknowledged { lines.len() } else { there.len() };
        assert_eq!(there, lines[..wanted], "acknowledged: {}", append.acknowledged);
    }
    assert!(found.is_empty(), "nobody appended {found:?}");
}

#[test]
fn records_outlive_kills_of_each_chunkserver_and_of_all_daemons() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.replication=3")
        .set("chunkmaster.chunk_bytes=256KiB")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=2s")
        .set("client.retry_for=10s");
    let mut dev = Dev::start(&options);
    let _made = dev.run(&["fs", "touch", "--log", "/log"]).success();
    let mut all = Vec::new();
    for round in 0..if long() { 10 } else { 1 } {
        let (appends, stop) = (Appends::default(), AtomicBool::new(false));
        let config = dev.config_file();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (config, appends, stop) = (&config, &appends, &stop);
                scope.spawn(move || append_on(config, (round, writer), appends, stop));
            }
            // Each is the primary of some chunk, and follows in others.
            for n in 1..=3 {
                let server = format!("chunkserver-{n}");
                appends.await_more(WRITERS);
                dev.kill(&server);
                appends.await_more(WRITERS);
                dev.restart(&server);
            }
            appends.await_more(WRITERS);
            dev.kill_all();
            stop.store(true, Ordering::Relaxed);
        });
        dev.stop();
        dev.start_again(&DevOptions::default());
        all.extend(appends.all.into_inner().unwrap_or_else(PoisonError::into_inner));
        check(&dev, &all);
        let fsck = dev.run(&["fs", "fsck"]);
        assert_eq!(fsck.code, Some(0), "round {round}: {} {}", fsck.text(), fsck.stderr);
        let more = Append { name: format!("{round}-after"), acknowledged: true };
        let lines = dev.scratch().join("lines");
        std::fs::write(&lines, more.lines().join("\n")).expect("the scratch folder takes it");
        let _appended =
            dev.run(&["fs", "append", "--lines", &lines.to_string_lossy(), "/log"]).success();
        all.push(more);
        check(&dev, &all);
    }
}

/// Empties the files of open logs on the disks of this server, which is down.
fn empty_logs(dev: &Dev, n: usize) {
    let config = dev.config();
    let host = config.all_hosts().nth(n - 1).expect("there are so many");
    let files: Vec<_> = host.chunkserver_dirs.iter().flat_map(|disk| log_files(disk)).collect();
    assert!(!files.is_empty(), "chunkserver-{n} has nothing of a log");
    for file in files {
        std::fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|file| file.set_len(0))
            .expect("it is there");
    }
}

#[test]
fn an_emptied_replica_of_an_open_log_costs_no_record() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.replication=3")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=2s");
    let mut dev = Dev::start(&options);
    let _made = dev.run(&["fs", "touch", "--log", "/log"]).success();
    let mut all = Vec::new();
    let mut append = |dev: &Dev, name: &str| {
        let append = Append { name: name.to_owned(), acknowledged: true };
        let lines = dev.scratch().join("lines");
        std::fs::write(&lines, append.lines().join("\n")).expect("the scratch folder takes it");
        let lines = lines.to_string_lossy().into_owned();
        let _appended = dev.run(&["fs", "append", "--lines", &lines, "/log"]).success();
        all.push(append);
        all.clone()
    };

    // The others were there all the time.
    let appended = append(&dev, "one");
    dev.kill("chunkserver-3");
    empty_logs(&dev, 3);
    dev.restart("chunkserver-3");
    check(&dev, &appended);

    // Nobody was.
    let appended = append(&dev, "two");
    dev.kill_all();
    dev.stop();
    empty_logs(&dev, 1);
    dev.start_again(&DevOptions::default());
    wait::until("the log's chunk has ended", PATIENCE, || {
        let config = dev.config();
        let mut disks = config.all_hosts().flat_map(|host| host.chunkserver_dirs);
        disks.all(|disk| log_files(&disk).is_empty()).then_some(())
    });
    check(&dev, &appended);
    check(&dev, &append(&dev, "three"));
}

/// The disk of a chunkserver that is down is replaced by an empty one.
fn replace_disk(dev: &Dev, server: &str) {
    let disk = dev.data_dir(server);
    std::fs::remove_dir_all(&disk).expect("a folder can be removed");
    std::fs::create_dir(&disk).expect("and made again");
}

/// Appends a few lines; what came of it.
fn append(dev: &Dev, log: &str, name: &str) -> (Append, tests::Finished) {
    let append = Append { name: name.to_owned(), acknowledged: true };
    let lines = dev.scratch().join("lines");
    std::fs::write(&lines, append.lines().join("\n")).expect("the scratch folder takes it");
    let lines = lines.to_string_lossy().into_owned();
    let done = dev.run(&["fs", "append", "--lines", &lines, log]);
    (append, done)
}

fn options_of_logs() -> DevOptions {
    DevOptions::trackers(3)
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=2s")
        .set("client.retry_for=3s")
}

#[test]
fn a_log_goes_on_when_the_disk_of_one_of_its_servers_was_replaced() {
    let mut dev = Dev::start(&options_of_logs().set("chunkmaster.replication=3"));
    let _made = dev.run(&["fs", "touch", "--log", "/log"]).success();
    let mut all = Vec::new();
    let mut append = |dev: &Dev, name: &str| {
        let (append, done) = append(dev, "/log", name);
        let _appended = done.success();
        all.push(append);
        check(dev, &all);
    };
    // Else what was sealed would be lost with the third disk.
    let await_whole = |dev: &Dev| {
        let is_whole = || (dev.run(&["fs", "fsck"]).code == Some(0)).then_some(());
        wait::until("all is on three servers", PATIENCE, is_whole);
    };
    append(&dev, "first");
    for n in 1..=3 {
        await_whole(&dev);
        let server = format!("chunkserver-{n}");
        dev.kill(&server);
        replace_disk(&dev, &server);
        dev.restart(&server);
        append(&dev, &server);
    }
    await_whole(&dev);
    // None of the others remembers how much there was.
    dev.kill_all();
    dev.stop();
    replace_disk(&dev, "chunkserver-2");
    dev.start_again(&DevOptions::default());
    append(&dev, "last");
    await_whole(&dev);
}

/// The only server that had the records has lost its disk. It says so, and the log goes on once its records are given up,
/// though the server comes back at once.
#[test]
fn a_log_whose_records_are_lost_says_so_and_goes_on_when_they_are_given_up() {
    let mut dev = Dev::start(&options_of_logs().set("chunkmaster.replication=1"));
    let _made = dev.run(&["fs", "touch", "--log", "/log"]).success();
    let _appended = append(&dev, "/log", "lost").1.success();
    let disks = (1..=3).map(|n| format!("chunkserver-{n}"));
    let server = disks.into_iter().find(|server| !log_files(&dev.data_dir(server)).is_empty());
    let server = server.expect("it is somewhere");
    let host = server.replace("chunkserver-", "host-");
    dev.kill(&server);
    replace_disk(&dev, &server);
    dev.restart(&server);
    let (_, refused) = append(&dev, "/log", "refused");
    let _ = refused.refused(1, &["/log", "fs fsck /log", "fs forget --lose-records"]);
    let fsck = dev.run(&["fs", "fsck", "/log"]).refused(1, &["/log"]).text();
    assert!(fsck.contains(&host), "{fsck}");

    let _ = dev.run(&["fs", "forget", &host, "--lose-records"]).refused(1, &[&host, "is alive"]);
    dev.kill(&server);
    wait::until("it is forgotten", PATIENCE, || {
        let unasked = dev.run(&["fs", "forget", &host]);
        assert_ne!(unasked.code, Some(0), "it has records that nobody else has");
        (dev.run(&["fs", "forget", &host, "--lose-records"]).code == Some(0)).then_some(())
    });
    dev.restart(&server);
    let (append, done) = append(&dev, "/log", "next");
    let _appended = done.success();
    check(&dev, &[append]);
}
