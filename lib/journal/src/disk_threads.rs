//! Threads for operations that may never return, such as those on a disk that hangs: a caller that
//! waits for one can give up, and leave the thread behind. Called by `mirror`, and by `reunite`
//! before there is one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A folder's disk has not answered for this long.
#[derive(Debug, thiserror::Error)]
#[error("its disk hangs: no answer for {0:?} after the other folder's")]
pub(crate) struct Hangs(pub(crate) Duration);

impl From<Hangs> for io::Error {
    fn from(hangs: Hangs) -> Self {
        Self::new(io::ErrorKind::TimedOut, hangs)
    }
}

/// Asks the disks of both folders at once. `None` for a disk that has not answered within `limit`
/// after the other one.
pub(crate) fn ask_both<T: Send + 'static>(
    folders: &[PathBuf; 2],
    limit: Duration,
    ask: fn(&Path) -> T,
) -> [Option<T>; 2] {
    let (tell, answers) = channel();
    for (side, folder) in folders.iter().enumerate() {
        let (folder, own) = (folder.clone(), tell.clone());
        let answer = move || {
            let _left = own.send((side, ask(&folder)));
        };
        if std::thread::Builder::new().spawn(answer).is_err() {
            let _received_below = tell.send((side, ask(&folders[side])));
        }
    }
    drop(tell);
    let mut found = [None, None];
    let Ok((first, answer)) = answers.recv() else { return found };
    found[first] = Some(answer);
    if let Ok((second, answer)) = answers.recv_timeout(limit) {
        found[second] = Some(answer);
    }
    found
}

/// An operation for a thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The idle threads of one folder. There are as many threads as operations were ever under way
/// there at once.
#[derive(Default)]
pub(crate) struct DiskThreads(Mutex<Vec<DiskThread>>);

/// A thread that does one job after another. It ends when this is dropped and its job is done.
pub(crate) struct DiskThread(Sender<Job>);

impl DiskThreads {
    /// Takes an idle thread, or a new one. The caller gives it back when its job is done, or else
    /// drops it, so that it ends after the job.
    ///
    /// # Errors
    /// The system can't start another thread.
    pub(crate) fn take(&self) -> io::Result<DiskThread> {
        if let Some(disk_thread) = self.free().pop() {
            return Ok(disk_thread);
        }
        let (jobs, queue) = channel::<Job>();
        let work = move || queue.iter().for_each(|job| job());
        std::thread::Builder::new().name("journal-disk".to_owned()).spawn(work)?;
        Ok(DiskThread(jobs))
    }

    pub(crate) fn give_back(&self, disk_thread: DiskThread) {
        self.free().push(disk_thread);
    }

    fn free(&self) -> MutexGuard<'_, Vec<DiskThread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskThread {
    pub(crate) fn start(&self, job: Job) {
        // If the thread has panicked, the job is dropped, and its caller finds that there is no
        // answer.
        let _panicked = self.0.send(job);
    }
}
