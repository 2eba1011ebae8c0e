//! What the machine itself can do, measured in the same run: without that, a rate says nothing. Each rate is the best of some
//! tries: what disturbs it only ever makes it less.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clock::Stopwatch;

use super::usage::Usage;

/// Tries of each.
const TRIES: usize = 3;
/// Bytes of a try.
const BYTES: usize = 256 << 20;
/// Bytes of a call.
const PIECE: usize = 1 << 20;

/// Bytes a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// From the page cache, by one thread.
    read: f64,
    /// From memory to memory, by one thread.
    copy: f64,
    /// Into the page cache, by one thread.
    write: f64,
    /// Into a file that is synced at the end.
    disk: f64,
    /// Through a TCP connection of loopback, by two threads.
    loopback: f64,
}

impl Rates {
    /// Measures them with a file in `folder`.
    ///
    /// # Errors
    /// When the file or the connection fails.
    pub(super) fn measure(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("rates");
        let bytes = vec![7_u8; BYTES];
        let mut into = vec![0_u8; BYTES];
        let (mut write, mut disk) = (0.0, 0.0);
        for _ in 0..TRIES {
            let (written, synced) = write_and_sync(&path, &bytes)?;
            write = rate(written).max(write);
            disk = rate(synced).max(disk);
        }
        let read = best(|| read(&path, &mut into))?;
        std::fs::remove_file(&path)?;
        let copy = best(|| {
            let watch = Stopwatch::start();
            into.copy_from_slice(&bytes);
            Ok(watch.elapsed())
        })?;
        let loopback = best(|| through_loopback(&bytes))?;
        Ok(Self { read, copy, write, disk, loopback })
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let mib = |rate: f64| rate / f64::from(1 << 20);
        format!(
            "{:.0} MiB/s read from the page cache, {:.0} copied in memory, {:.0} written into the page cache, {:.0} with a sync, \
             {:.0} through a connection of loopback",
            mib(self.read),
            mib(self.copy),
            mib(self.write),
            mib(self.disk),
            mib(self.loopback),
        )
    }

    /// The least time in which the machine could move what some work has moved, if that were all, with all processors
    /// busy all the time: its input is read, what it sent goes through loopback, which keeps two of them busy, and what it
    /// wrote to the disk goes into the page cache; or the disk takes longer.
    pub(super) fn limit(&self, usage: &Usage, input_bytes: u64) -> Duration {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let reading = input_bytes as f64 / self.read;
        let sending = usage.sent as f64 / self.loopback * 2.0_f64.min(processors);
        let writing = usage.disk_written as f64 / self.write;
        let disk = usage.disk_written as f64 / self.disk;
        Duration::from_secs_f64(((reading + sending + writing) / processors).max(disk))
    }
}

fn rate(took: Duration) -> f64 {
    BYTES as f64 / took.as_secs_f64().max(f64::EPSILON)
}

/// The best rate of some tries that say how long they took.
fn best(mut attempt: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<f64> {
    let mut best = 0.0;
    for _ in 0..TRIES {
        best = rate(attempt()?).max(best);
    }
    Ok(best)
}

/// How long it takes until all is in the page cache, and until it is on the disk.
fn write_and_sync(path: &Path, bytes: &[u8]) -> anyhow::Result<(Duration, Duration)> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    // What lies there from the try before is not overwritten in place.
    file.sync_all()?;
    let watch = Stopwatch::start();
    for piece in bytes.chunks(PIECE) {
        file.write_all(piece)?;
    }
    let written = watch.elapsed();
    file.sync_data()?;
    Ok((written, watch.elapsed()))
}

fn read(path: &Path, into: &mut [u8]) -> anyhow::Result<Duration> {
    let file = File::open(path)?;
    // Into one place, as a reader does who is quicker than what it reads.
    let into = &mut into[..PIECE];
    let watch = Stopwatch::start();
    for nth in 0..BYTES / PIECE {
        file.read_exact_at(into, (nth * PIECE) as u64)?;
    }
    Ok(watch.elapsed())
}

fn through_loopback(bytes: &[u8]) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        let sending =
            scope.spawn(move || bytes.chunks(PIECE).try_for_each(|it| sender.write_all(it)));
        let mut piece = vec![0; PIECE];
        let mut left = bytes.len();
        while left > 0 {
            let n = receiver.read(&mut piece)?;
            anyhow::ensure!(n > 0, "the connection ended");
            left -= n;
        }
        sending.join().ok().context("the sender panicked")??;
        Ok(watch.elapsed())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_disk_s_or_the_processors() {
        let rates = Rates { read: 1e9, copy: 1e9, write: 1e9, disk: 1e8, loopback: 1e9 };
        let written = Usage { disk_written: 100_000_000, ..Usage::default() };
        assert_eq!(rates.limit(&written, 0), Duration::from_secs(1));
        let sent = Usage { sent: 3_000_000_000, ..Usage::default() };
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let expected = 3.0 * processors.min(2) as f64 / processors as f64;
        assert!((rates.limit(&sent, 0).as_secs_f64() - expected).abs() < 1e-6);
    }
}
