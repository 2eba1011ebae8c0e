//! Looks after a disk while the server runs: measures it again and again, off the event loop, and tries it with a small
//! write and read when a call has been at work for long. One that gives no answer is given up until the next start.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chunkstore_core::replica::DiskNews;
use rustix::fs::{Advice, fadvise};

use super::data_dir::DataDir;
use super::disk_health::is_full;
use super::syncs::sync_file;

/// Looks within the limit.
const LOOKS: u32 = 10;
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Between two measurements of a disk's room.
const MEASURE_PAUSE: Duration = Duration::from_millis(500);
/// The file that a disk is tried with.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 4096;

/// Until the disk hangs.
pub(super) async fn watch(dir: Arc<DataDir>) {
    let limit = dir.calls().limit();
    loop {
        tokio::time::sleep((limit / LOOKS).min(LOOK_PAUSE_MAX)).await;
        match dir.calls().look(dir.failed().is_some()) {
            DiskNews::Fine => {}
            DiskNews::Probe => begin_probe(&dir),
            DiskNews::Hangs => {
                // First: who is let go looks whether it has failed.
                dir.fail(&format_args!("hangs: no answer for {limit:?}"));
                dir.calls().give_up();
                return;
            }
        }
    }
}

/// Until the disk fails.
pub(super) async fn measure(dir: Arc<DataDir>) {
    while dir.failed().is_none() {
        // What was measured is kept there.
        let _ = dir.begin(DataDir::measure).end().await;
        tokio::time::sleep(MEASURE_PAUSE).await;
    }
}

/// On a thread of its own: all places may be taken by calls that hang.
fn begin_probe(dir: &Arc<DataDir>) {
    tracing::warn!(folder = %dir.root().display(), waited = ?dir.calls().oldest(),
        "a disk gives no answer: it is tried with a small write");
    let probed = Arc::clone(dir);
    let thread = thread::Builder::new().name("disk probe".to_owned());
    let started = thread.spawn(move || {
        let outcome = probe(probed.root());
        probed.calls().probe_ended();
        match outcome {
            Ok(()) => tracing::warn!(folder = %probed.root().display(), "the disk is slow, but answers"),
            // A full one answers, too.
            Err(error) if is_full(&error) => {}
            Err(error) => {
                let failed = probed.blame(&error);
                tracing::warn!(folder = %probed.root().display(), %error, failed, "the disk can't be tried");
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread to try a disk with: it is tried again later");
        dir.calls().probe_ended();
    }
}

/// Writes a little, and reads it from the disk.
fn probe(root: &Path) -> io::Result<()> {
    let path = root.join(PROBE);
    let file = File::options().write(true).create(true).truncate(false).open(&path)?;
    let mut bytes = [0; PROBE_BYTES];
    file.write_all_at(&bytes, 0)?;
    sync_file(&file)?;
    let file = File::open(&path)?;
    // What is in memory proves nothing.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    file.read_exact_at(&mut bytes, 0)
}
