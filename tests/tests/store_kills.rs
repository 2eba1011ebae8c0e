//! All daemons are killed at once while clients write: what was acknowledged is there, byte for byte.

use std::sync::{Mutex, MutexGuard};

use tests::cluster::PATIENCE;
use tests::contents::{Numbers, content};
use tests::{Dev, DevOptions, long, wait};

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
#[derive(Debug)]
struct File {
    path: String,
    /// The last content whose put succeeded.
    acknowledged: Option<Held>,
    /// One whose put did not return before the kill: it may be there, whole.
    begun: Option<Held>,
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
                files.push(File { path, acknowledged: None, begun: None });
            }
            files[at].begun = Some(held);
            (at, files[at].path.clone())
        };
        own.push(at);
        let put = dev.put_bytes(held.bytes(), &path, &["-f"]);
        if put.code != Some(0) {
            return;
        }
        let file = &mut lock(files)[at];
        (file.acknowledged, file.begun) = (file.begun, None);
    }
}

fn lock(files: &Mutex<Vec<File>>) -> MutexGuard<'_, Vec<File>> {
    files.lock().expect("no writer panics")
}

fn n_acknowledged(files: &Mutex<Vec<File>>) -> usize {
    lock(files).iter().filter(|file| file.acknowledged.is_some()).count()
}

/// Compares every file with what was acknowledged, or begun; what it holds counts as acknowledged from now on.
fn check(dev: &Dev, files: &mut [File]) {
    for File { path, acknowledged, begun } in files {
        let cat = dev.run(&["fs", "cat", path]);
        let mut found = [*acknowledged, *begun].into_iter().flatten();
        let found = found.find(|held| cat.code == Some(0) && held.bytes() == cat.stdout);
        assert!(
            found.is_some() || (acknowledged.is_none() && cat.code == Some(1)),
            "{path}: acknowledged {acknowledged:?}, begun {begun:?}, but {} bytes came, and {:?} {}",
            cat.stdout.len(),
            cat.code,
            cat.stderr
        );
        (*acknowledged, *begun) = (found, None);
    }
}

#[test]
fn eight_writers_lose_nothing_acknowledged_when_all_daemons_are_killed() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=4MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("client.retry_for=1s");
    let mut dev = Dev::start(&options);
    let mut files = Vec::new();
    for round in 0..if long() { 20 } else { 3 } {
        let mut numbers = Numbers::new(round);
        let enough = 1 + numbers.below(2 * WRITERS) as usize;
        let shared = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (dev, shared) = (&dev, &shared);
                scope.spawn(move || write_until_killed(dev, round * WRITERS + writer, shared));
            }
            wait::until("files are acknowledged", PATIENCE, || {
                (n_acknowledged(&shared) >= enough).then_some(())
            });
            dev.kill_all();
        });
        dev.stop();
        dev.start_again(&DevOptions::default());
        files.extend(shared.into_inner().unwrap());
        check(&dev, &mut files);
        let fsck = dev.run(&["fs", "fsck"]);
        assert_eq!(fsck.code, Some(0), "round {round}: {} {}", fsck.text(), fsck.stderr);
    }
    let n_read = files.iter().filter(|file| file.acknowledged.is_some()).count();
    assert!(n_read > 3, "the writers came to something");
}
