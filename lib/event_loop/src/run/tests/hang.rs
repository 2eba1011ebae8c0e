//! A loop whose journal's disk hangs, or is full in the middle of a step: it blocks nobody, reports
//! it, and can be stopped.
//!
//! The hang is made by a named pipe in place of the next file that the journal creates: opening it
//! for writing blocks until somebody reads from it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::UnsettledBy;

/// Room for more batches than may wait for the journal's thread.
const LARGE: Options = Options { segment_bytes: 64 << 10, timeout: Duration::from_millis(300) };
const PATIENCE: Duration = Duration::from_millis(700);
const O_NONBLOCK: i32 = 0o4000;

/// A file whose creation blocks until this is dropped.
struct Pipe(PathBuf);

impl Pipe {
    fn lay(path: PathBuf) -> Self {
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is installed");
        assert!(made.success());
        Self(path)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let reader = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.0);
        // Later attempts find no pipe any more.
        std::fs::remove_file(&self.0).ok();
        drop(reader);
    }
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A toy with the next segment prepared, and a pipe or folder in place of the one after it.
async fn with_two_segments(dir: &Path, options: Options, settings: Settings) -> Toys {
    Journal::create(dir, options).unwrap();
    let recovered = recover::<Totals>(dir, options).unwrap();
    let toys = Toys::start(recovered.durable, recovered.log, settings);
    wait_until("the next segment", || dir.join("prepared.log").exists()).await;
    toys
}

/// Adds until the disk hangs and that is noticed; returns the last total that was told.
async fn add_until_it_hangs(dir: &Path, toys: &mut Toys) -> u64 {
    let mut told = 0;
    // Once the prepared segment is in use, the next one is created, which hangs.
    let is_in_use = || !dir.join("prepared.log").exists();
    while !is_in_use() {
        toys.ask(Ask::AddOften(50)).await;
        tokio::select! {
            biased;
            tell = toys.told.recv() => match tell {
                Some(Tell::Total(total)) => told = total,
                other => panic!("{other:?}"),
            },
            () = wait_until("an answer or the hang", is_in_use) => {}
        }
    }
    wait_until("the hang is noticed", || toys.hangs.load(Ordering::SeqCst)).await;
    told
}

/// Runs everything in one thread, as on a host with one processor: whatever blocks it blocks
/// everything.
fn in_one_thread<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
        let _gave_up = done.send(());
    });
    let done = is_done.recv_timeout(2 * DEADLINE);
    done.expect("the test has failed, or its only thread is held up by a disk that hangs");
}

#[test]
fn a_disk_that_hangs_holds_up_nothing_is_said_and_the_loop_can_be_stopped() {
    in_one_thread(async || {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { queue: 2000, stop_patience: PATIENCE, ..SETTINGS };
        let mut toys = with_two_segments(dir.path(), LARGE, settings).await;
        let pipe = Pipe::lay(dir.path().join("prepared.tmp"));
        let told = add_until_it_hangs(dir.path(), &mut toys).await;
        assert!(told > 0);
        let mut sent = 0;
        // One at a time, so that each is a batch of its own for the journal.
        for _ in 0..1000 {
            toys.running.handle.try_send(Ask::Add(1)).unwrap();
            sent += 1;
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
        let waiting = settings.queue - toys.running.handle.free();
        assert!(waiting > 100 && waiting < sent, "{waiting} of {sent} wait");
        assert!(toys.told.try_recv().is_err(), "told of what is not on disk");
        let handle = toys.running.handle.clone();
        let unsettled = tokio::time::timeout(DEADLINE, toys.running.stop()).await;
        let unsettled = unsettled.expect("it ends in time").unwrap_err();
        assert_eq!(unsettled.cause, UnsettledBy::Slow(PATIENCE));
        assert_eq!(unsettled.folders, [dir.path()]);
        assert_eq!(unsettled.inputs, waiting, "{unsettled}");
        let handled = sent - waiting;
        assert!(unsettled.records >= handled as u64 && unsettled.steps >= handled, "{unsettled}");
        assert!(unsettled.to_string().contains(&dir.path().display().to_string()), "{unsettled}");
        assert!(toys.told.try_recv().is_err(), "told of what is not on disk");
        assert_eq!(handle.send(Ask::Read).await, Err(crate::Stopped));
        drop(pipe);
        let next = recover_async::<Totals>(dir.path(), LARGE).await.unwrap();
        assert!(next.durable.0["total"] >= told, "what was told is there");
    });
}

#[test]
fn a_disk_that_answers_again_is_gone_on_with() {
    in_one_thread(async || {
        let dir = tempfile::tempdir().unwrap();
        let mut toys = with_two_segments(dir.path(), LARGE, SETTINGS).await;
        let pipe = Pipe::lay(dir.path().join("prepared.tmp"));
        add_until_it_hangs(dir.path(), &mut toys).await;
        toys.ask(Ask::Add(0)).await;
        drop(pipe);
        wait_until("it is said that the disk answers", || !toys.hangs.load(Ordering::SeqCst)).await;
        let mut last = 0;
        toys.running.stop().await.unwrap();
        while let Some(tell) = toys.told.recv().await {
            // There is no room for the next segment, as it can't be made from the pipe.
            match tell {
                Tell::Total(total) => last = total,
                Tell::Refused => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(recover::<Totals>(dir.path(), LARGE).unwrap().durable.0["total"], last);
    });
}

#[test]
fn a_loop_on_a_full_disk_with_half_a_step_in_its_hands_can_be_stopped() {
    in_one_thread(async || {
        let dir = tempfile::tempdir().unwrap();
        let mut toys = with_two_segments(dir.path(), SMALL, SETTINGS).await;
        std::fs::create_dir(dir.path().join("prepared.tmp")).unwrap();
        toys.ask(Ask::Add(7)).await;
        assert_eq!(toys.next().await, Tell::Total(7));
        // More than fits into two segments.
        toys.ask(Ask::AddOften(1000)).await;
        toys.ask(Ask::Read).await;
        wait_until("both segments are in use", || !dir.path().join("prepared.log").exists()).await;
        let unsettled = tokio::time::timeout(DEADLINE, toys.running.stop()).await;
        let unsettled = unsettled.expect("it ends in time").unwrap_err();
        assert_eq!((unsettled.cause, unsettled.steps), (UnsettledBy::Full, 1), "{unsettled}");
        assert_eq!(unsettled.inputs, 1, "the read, which would tell of what there is not");
        assert_eq!(toys.told.recv().await, None);
        std::fs::remove_dir(dir.path().join("prepared.tmp")).unwrap();
        let total = recover::<Totals>(dir.path(), SMALL).unwrap().durable.0["total"];
        assert!((7..1007).contains(&total), "{total}");
    });
}

#[test]
fn a_snapshot_that_hangs_keeps_no_loop_from_its_end() {
    in_one_thread(async || {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { snapshot_after_segments: 1, stop_patience: PATIENCE, ..SETTINGS };
        let mut toys = with_two_segments(dir.path(), SMALL, settings).await;
        let snapshot = dir.path().join("snapshot.tmp");
        std::fs::remove_file(&snapshot).unwrap();
        let pipe = Pipe::lay(snapshot);
        for total in 1..=300 {
            toys.ask(Ask::Add(1)).await;
            assert_eq!(toys.next().await, Tell::Total(total));
        }
        let stopped = tokio::time::timeout(DEADLINE, toys.running.stop()).await;
        stopped.expect("it ends in time").unwrap();
        drop(pipe);
        let total = recover_async::<Totals>(dir.path(), SMALL).await.unwrap().durable.0["total"];
        assert_eq!(total, 300);
    });
}
