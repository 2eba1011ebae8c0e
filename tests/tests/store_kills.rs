//! All daemons are killed at once, or the power is cut, while clients write: what was acknowledged is there, byte
//! for byte.

use std::sync::{Mutex, MutexGuard};

use tests::cluster::PATIENCE;
use tests::contents::{Numbers, content};
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, PoweredDisk, long, wait};

const WRITERS: u64 = 8;
const FILE_BYTES_MAX: u64 = 20 << 20;

/// What a file holds: the number of its content, and how much of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    content: u64,
    bytes: usize,
}

impl Held {
    fn bytes(self) -> &'static [u8] {
        content(self.content, self.bytes)
    }
}

/// A file that a writer began.
#[derive(Clone, Debug)]
struct File {
    path: String,
    /// What was put there, one after the other.
    contents: Vec<Held>,
    /// Which of these was acknowledged last.
    acknowledged: Option<usize>,
}

impl File {
    /// What it may hold: what was acknowledged, or anything that came later.
    fn may_hold(&self) -> &[Held] {
        &self.contents[self.acknowledged.unwrap_or(0)..]
    }
}

/// Puts files, and replaces some, until a put fails.
fn write_until_killed(dev: &Dev, seed: u64, files: &Mutex<Vec<File>>) {
    let mut numbers = Numbers::new(seed);
    let mut own: Vec<usize> = Vec::new();
    loop {
        let bytes = numbers.below(FILE_BYTES_MAX + 1) as usize;
        let held = Held { content: numbers.number(), bytes };
        let replaced = (own.len() % 4 == 3).then(|| own[numbers.below(own.len() as u64) as usize]);
        let (at, path) = {
            let mut files = lock(files);
            let at = replaced.unwrap_or(files.len());
            if replaced.is_none() {
                let path = format!("/files/{seed}-{}", own.len());
                files.push(File { path, contents: Vec::new(), acknowledged: None });
            }
            files[at].contents.push(held);
            (at, files[at].path.clone())
        };
        own.push(at);
        let put = dev.put_bytes(held.bytes(), &path, &["-f"]);
        if put.code != Some(0) {
            return;
        }
        let file = &mut lock(files)[at];
        file.acknowledged = Some(file.contents.len() - 1);
    }
}

fn lock(files: &Mutex<Vec<File>>) -> MutexGuard<'_, Vec<File>> {
    files.lock().expect("no writer panics")
}

fn n_acknowledged(files: &Mutex<Vec<File>>) -> usize {
    lock(files).iter().filter(|file| file.acknowledged.is_some()).count()
}

/// Compares every file with what it may hold; what it does hold counts as acknowledged from now on.
fn check(dev: &Dev, files: &mut [File]) {
    for file in files {
        let cat = dev.run(&["fs", "cat", &file.path]);
        let found = file.may_hold().iter().copied();
        let found = found.clone().find(|held| cat.code == Some(0) && held.bytes() == cat.stdout);
        assert!(
            found.is_some() || (file.acknowledged.is_none() && cat.code == Some(1)),
            "{file:?}, but {} bytes came, and {:?} {}",
            cat.stdout.len(),
            cat.code,
            cat.stderr
        );
        file.contents = found.into_iter().collect();
        file.acknowledged = found.map(|_| 0);
    }
}

/// How the daemons end.
enum End {
    Killed,
    /// With what had reached this disk.
    PowerCut(PoweredDisk),
}

/// Eight writers put files until the end, which comes when so many are acknowledged; returns what they wrote.
fn write_until(end: &End, dev: &Dev, (round, enough): (u64, usize)) -> Vec<File> {
    let shared = Mutex::new(Vec::new());
    let mut then = None;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let shared = &shared;
            scope.spawn(move || write_until_killed(dev, round * WRITERS + writer, shared));
        }
        wait::until("files are acknowledged", PATIENCE, || {
            (n_acknowledged(&shared) >= enough).then_some(())
        });
        if let End::PowerCut(disk) = end {
            then = Some(lock(&shared).clone());
            disk.cut();
        }
        dev.kill_all();
    });
    let mut files = shared.into_inner().expect("no writer panics");
    // What was acknowledged after the power cut is lost, of course.
    for (at, file) in files.iter_mut().enumerate().take_while(|_| then.is_some()) {
        let then = then.as_ref().and_then(|then| then.get(at));
        file.acknowledged = then.and_then(|then| then.acknowledged);
    }
    files
}

fn eight_writers_lose_nothing_acknowledged(dev: &mut Dev, end: &End) {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=4MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("client.retry_for=1s");
    dev.start_again(&options);
    let mut files = Vec::new();
    for round in 0..if long() { 20 } else { 3 } {
        let enough = 1 + Numbers::new(round).below(2 * WRITERS) as usize;
        files.extend(write_until(end, dev, (round, enough)));
        dev.stop();
        if let End::PowerCut(disk) = end {
            disk.restore();
        }
        dev.start_again(&DevOptions::default());
        check(dev, &mut files);
        let fsck = dev.run(&["fs", "fsck"]);
        assert_eq!(fsck.code, Some(0), "round {round}: {} {}", fsck.text(), fsck.stderr);
    }
    let n_read = files.iter().filter(|file| file.acknowledged.is_some()).count();
    assert!(n_read > 3, "the writers came to something");
}

#[test]
fn eight_writers_lose_nothing_acknowledged_when_all_daemons_are_killed() {
    eight_writers_lose_nothing_acknowledged(&mut Dev::to_be_started(), &End::Killed);
}

#[test]
fn eight_writers_lose_nothing_acknowledged_by_a_power_cut() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let mut dev = Dev::to_be_started();
    // Dropped before the folder that it is in.
    let end = End::PowerCut(PoweredDisk::mount(dev.scratch(), dev.dir()));
    eight_writers_lose_nothing_acknowledged(&mut dev, &end);
}
