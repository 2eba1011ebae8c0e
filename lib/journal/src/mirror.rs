//! Two folders as one disk: what is done to the first is also done to the second, and counts as
//! done once it is done in both. Everything else in this crate writes to it as to any other disk.
//! How two folders come to hold the same beforehand is in `reunite`.
//!
//! **Durable** is what is synced in both folders; the two syncs run at once. **A folder that
//! fails**, in whatever operation, is abandoned for good: nothing more is written or synced there,
//! so its records stay a prefix of the other's. Before anything is acknowledged that only the other
//! one has, that one is durably marked as going on alone; the abandoned one is marked as behind if
//! its disk can still do that. The journal goes on with the other folder, and reports it; the next
//! start tries both again. If the other one fails too, even if only in taking its mark, nothing
//! more is acknowledged, as with a single folder, whichever operation it was.
//!
//! **A folder that hangs**, whose disk neither does what it is told nor reports an error, counts as
//! failed: once the other one has done an operation, it gets another [`crate::Options::timeout`],
//! plus a second for each MiB not yet synced. So each operation runs on a thread that can be left
//! behind (`disk_threads`). Such threads keep the folder locked until their disk answers, as their
//! writes may still happen. If both folders hang, or the last one does, the journal waits: nothing
//! could be acknowledged.
//!
//! **A full disk** is no failure. Space is claimed in both folders before a record needs it, so
//! there is as much room as on the fuller of the two disks, and the folders never diverge because
//! of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};
use crate::disk_threads::{DiskThread, DiskThreads, Hangs};
use crate::error::FileError;
use crate::folder::{self, Lock};
use crate::marks::{go_alone, mark_behind, read_id};

/// Bytes written in one operation: an operation on a hanging disk keeps a copy of them.
const PIECE_BYTES: usize = 1 << 20;
/// How often a caller that waits for one folder checks whether another has abandoned it.
const LOOK: Duration = Duration::from_millis(50);

/// What happened to the two folders of a journal, for the log. Each event is reported once.
#[derive(Debug, thiserror::Error)]
pub enum FolderNotice {
    /// One had nothing that counts: its disk is new, or it was behind.
    #[error(
        "the journal's folder {} had nothing that counts: it has been filled from {}, up to record {last}",
        dir.display(), from.display()
    )]
    Filled {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        from: PathBuf,
        /// The last record in both.
        last: u64,
    },
    /// One lacked the last records, as after a crash between two writes.
    #[error(
        "the journal's folder {} lacked the last {records} records: they have been taken from {}",
        dir.display(), from.display()
    )]
    Completed {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        from: PathBuf,
        /// How many records it lacked.
        records: u64,
    },
    /// One is not used any more until the next start.
    #[error(
        "the journal's folder {} is lost ({cause}): the journal goes on in {} alone. Mend or replace the disk, \
         then start again: the folder is filled by itself", dir.display(), other.display()
    )]
    Lost {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        other: PathBuf,
        /// What failed there.
        cause: FileError,
    },
}

/// An operation in one folder.
type Operation<T> = Box<dyn FnOnce() -> io::Result<T> + Send>;

/// The two folders together. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub(crate) struct Mirror(Arc<Pair>);

struct Pair {
    disk: Arc<dyn Disk>,
    /// The callers name files by their paths in the first one.
    folders: [PathBuf; 2],
    live: [AtomicBool; 2],
    /// Also held by operations under way in a folder; `None` if its disk failed at the start.
    locks: [Option<Lock>; 2],
    disk_threads: [DiskThreads; 2],
    /// How much longer than the other folder one may take.
    timeout: Duration,
    /// Set when one folder failed and the other one may not have taken its mark: either may then
    /// pass for the whole journal at the next start, so nothing more is written to them.
    has_failed: AtomicBool,
    /// Held while a folder is abandoned: so no two threads abandon both, and a caller that finds
    /// one abandoned finds the other one marked.
    losing: Mutex<()>,
    notices: Mutex<Vec<FolderNotice>>,
    has_notices: AtomicBool,
}

impl Mirror {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        folders: [PathBuf; 2],
        locks: [Option<Lock>; 2],
        timeout: Duration,
    ) -> Self {
        Self(Arc::new(Pair {
            disk,
            folders,
            live: [AtomicBool::new(true), AtomicBool::new(true)],
            locks,
            disk_threads: <[DiskThreads; 2]>::default(),
            timeout,
            has_failed: AtomicBool::new(false),
            losing: Mutex::default(),
            notices: Mutex::default(),
            has_notices: AtomicBool::new(false),
        }))
    }

    /// How many of the two folders are written to.
    pub(crate) fn folders_live(&self) -> usize {
        [0, 1].into_iter().filter(|&side| self.is_live(side)).count()
    }

    /// The notices since the last call.
    pub(crate) fn take_notices(&self) -> Vec<FolderNotice> {
        if !self.0.has_notices.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.notices())
    }

    pub(crate) fn notice(&self, notice: FolderNotice) {
        self.notices().push(notice);
        self.0.has_notices.store(true, Ordering::Release);
    }

    /// Abandons one folder for good, once the other one is durably marked as going on alone.
    ///
    /// # Errors
    /// It is the last one, or the other one can't be marked.
    pub(crate) fn lose(&self, side: usize, cause: FileError) -> Result<(), FileError> {
        let _one_at_a_time = self.0.losing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_live(1 - side) || self.has_failed() {
            return Err(cause);
        }
        if !self.is_live(side) {
            return Ok(());
        }
        let [dir, other] = [side, 1 - side].map(|side| self.0.folders[side].clone());
        // Until that is done, both count as live, and nothing is acknowledged that only one of them
        // has.
        if let Err(error) = go_alone(&*self.0.disk, &other) {
            self.0.has_failed.store(true, Ordering::Release);
            return Err(error);
        }
        self.0.live[side].store(false, Ordering::Release);
        self.mark_behind(side, read_id(&other).ok().flatten(), &cause);
        self.notice(FolderNotice::Lost { dir, other, cause });
        Ok(())
    }

    /// Marks the abandoned folder as behind, if its disk can: a dead disk can't, and nobody waits
    /// for one that hangs.
    fn mark_behind(&self, side: usize, id: Option<String>, cause: &FileError) {
        let (disk, dir) = (self.0.disk.clone(), self.0.folders[side].clone());
        let mark = Box::new(move || mark_behind(&*disk, &dir, id.as_deref()));
        let (tell, answers) = channel();
        let patience = if is_hang(&cause.source) { Duration::ZERO } else { self.0.timeout };
        let tell = move |_done| {
            let _nobody_waits = tell.send(());
        };
        if let Ok(disk_thread) = self.start(side, mark, tell)
            && answers.recv_timeout(patience).is_ok()
        {
            self.0.disk_threads[side].give_back(disk_thread);
        }
    }

    fn notices(&self) -> MutexGuard<'_, Vec<FolderNotice>> {
        self.0.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the two have failed together: called before each operation and after it.
    fn check(&self) -> io::Result<()> {
        if self.has_failed() {
            let words = "the journal's folders failed before, and are left as they are";
            return Err(io::Error::other(words));
        }
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    fn is_live(&self, side: usize) -> bool {
        self.0.live[side].load(Ordering::Acquire)
    }

    /// Translates a path in the first folder into one in the folder `side`.
    fn on(&self, side: usize, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.0.folders[0]) {
            Ok(name) if name.as_os_str().is_empty() => self.0.folders[side].clone(),
            Ok(name) => self.0.folders[side].join(name),
            Err(_elsewhere) => path.to_owned(),
        }
    }

    fn in_each<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &Path,
        operation: impl Fn(&dyn Disk, &Path) -> io::Result<T> + Copy + Send + 'static,
    ) -> io::Result<[Option<T>; 2]> {
        self.check()?;
        let done = self.do_in_each(self.0.timeout, |side| {
            let (disk, path) = (self.0.disk.clone(), self.on(side, path));
            Some(Box::new(move || operation(&*disk, &path)))
        });
        self.settle(action, path, done)
    }

    /// Runs an operation in the live folders, in both at once. Returns the results, and `None` for
    /// a folder that is, or meanwhile was, abandoned. Once one has finished, the other one has
    /// `limit` left.
    fn do_in_each<T: Send + 'static>(
        &self,
        limit: Duration,
        operation: impl Fn(usize) -> Option<Operation<T>>,
    ) -> [Option<io::Result<T>>; 2] {
        let live = [0, 1].map(|side| self.is_live(side).then(|| operation(side)).flatten());
        match live {
            [Some(first), Some(second)] => self.do_in_both(limit, [first, second]),
            // There is only this folder to go on with, so it is waited for, on this thread.
            last => last.map(|operation| operation.map(|operation| operation())),
        }
    }

    fn do_in_both<T: Send + 'static>(
        &self,
        limit: Duration,
        operations: [Operation<T>; 2],
    ) -> [Option<io::Result<T>>; 2] {
        let (tell, answers) = channel();
        let mut side = 0;
        let mut disk_threads = operations.map(|operation| {
            let (of, tell) = (side, tell.clone());
            side += 1;
            let disk_thread = self.start(of, operation, move |done| drop(tell.send((of, done))));
            disk_thread.ok()
        });
        drop(tell);
        let mut done = [None, None];
        // Both may hang: then there is nothing to do but wait.
        let Ok((first, answer)) = answers.recv() else { return [0, 1].map(|_| Some(panicked())) };
        let has_failed = matches!(&answer, Err(error) if !is_full(error));
        let limit = if has_failed { Duration::MAX } else { limit };
        done[first] = Some(answer);
        done[1 - first] = self.wait_for(1 - first, &answers, limit);
        for (side, disk_thread) in disk_threads.iter_mut().enumerate() {
            let is_back = match &done[side] {
                Some(Err(error)) => !is_hang(error),
                answer => answer.is_some(),
            };
            if let Some(disk_thread) = disk_thread.take().filter(|_| is_back) {
                self.0.disk_threads[side].give_back(disk_thread);
            }
        }
        done
    }

    /// Starts an operation in one folder, on one of that folder's threads, where `tell` is called
    /// with the result. If there is no thread, the operation runs here.
    fn start<T: 'static>(
        &self,
        side: usize,
        operation: Operation<T>,
        tell: impl FnOnce(io::Result<T>) + Send + 'static,
    ) -> Result<DiskThread, NoThread> {
        let lock = self.0.locks[side].clone();
        match self.0.disk_threads[side].take() {
            Ok(disk_thread) => {
                disk_thread.start(Box::new(move || {
                    let done = operation();
                    drop(lock);
                    tell(done);
                }));
                Ok(disk_thread)
            }
            Err(_too_many) => {
                tell(operation());
                Err(NoThread)
            }
        }
    }

    /// The answer of the folder `side`; `None` if another caller abandons it meanwhile.
    fn wait_for<T>(
        &self,
        side: usize,
        answers: &Receiver<(usize, io::Result<T>)>,
        limit: Duration,
    ) -> Option<io::Result<T>> {
        let mut left = limit;
        loop {
            match answers.recv_timeout(left.min(LOOK)) {
                Ok((_, answer)) => return Some(answer),
                Err(RecvTimeoutError::Disconnected) => return Some(panicked()),
                Err(RecvTimeoutError::Timeout) if !self.is_live(side) => return None,
                Err(RecvTimeoutError::Timeout) if left <= LOOK => {
                    return Some(Err(Hangs(limit).into()));
                }
                Err(RecvTimeoutError::Timeout) => left -= LOOK,
            }
        }
    }

    /// Combines the results of an operation in the live folders; abandons a folder in which it
    /// failed.
    fn settle<T>(
        &self,
        action: &'static str,
        path: &Path,
        done: [Option<io::Result<T>>; 2],
    ) -> io::Result<[Option<T>; 2]> {
        self.check()?;
        let mut results = [None, None];
        let mut failed = Vec::new();
        for (side, done) in done.into_iter().enumerate() {
            match done {
                Some(Ok(result)) => results[side] = Some(result),
                Some(Err(full)) if folder::claims_space(path) && is_full(&full) => {
                    return Err(full);
                }
                Some(Err(error)) => failed.push((side, error)),
                None => {}
            }
        }
        for (side, source) in failed {
            if results[1 - side].is_none() {
                return Err(source);
            }
            let file = self.on(side, path);
            self.lose(side, FileError { action, file, source }).map_err(|last| last.source)?;
        }
        Ok(results)
    }

    fn file(&self, path: &Path, files: [Option<Box<dyn DiskFile>>; 2]) -> Box<dyn DiskFile> {
        let (mirror, path, files) =
            (self.clone(), path.to_owned(), files.map(|it| it.map(Arc::from)));
        Box::new(MirroredFile { mirror, path, files, unsynced: AtomicU64::new(0) })
    }
}

/// There was no thread: the operation was done on the caller's.
struct NoThread;

fn panicked<T>() -> io::Result<T> {
    Err(io::Error::other("the thread that did it has panicked"))
}

fn is_hang(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(source) if source.is::<Hangs>())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Disk for Mirror {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = self.in_each("create", path, |disk, path| disk.create(path))?;
        Ok(self.file(path, files))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = self.in_each("open", path, |disk, path| disk.open(path))?;
        Ok(self.file(path, files))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        let done = self.do_in_each(self.0.timeout, |side| {
            let (disk, [from, to]) = (self.0.disk.clone(), [from, to].map(|it| self.on(side, it)));
            Some(Box::new(move || disk.rename(&from, &to)))
        });
        self.settle("rename", from, done).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.in_each("remove", path, |disk, path| match disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        });
        removed.map(drop)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.in_each("sync", folder, |disk, folder| disk.sync_folder(folder)).map(drop)
    }

    fn places(&self, folder: &Path) -> Vec<PathBuf> {
        let live = [0, 1].into_iter().filter(|&side| self.is_live(side));
        live.map(|side| self.on(side, folder)).collect()
    }
}

/// A file in each folder that was live when it was opened.
struct MirroredFile {
    mirror: Mirror,
    path: PathBuf,
    files: [Option<Arc<dyn DiskFile>>; 2],
    /// Bytes written since the last sync.
    unsynced: AtomicU64,
}

impl MirroredFile {
    fn in_each(
        &self,
        action: &'static str,
        limit: Duration,
        operation: impl Fn(&dyn DiskFile) -> io::Result<()> + Clone + Send + 'static,
    ) -> io::Result<()> {
        self.mirror.check()?;
        let done = self.mirror.do_in_each(limit, |side| {
            let (file, operation) = (self.files[side].clone()?, operation.clone());
            Some(Box::new(move || operation(&*file)))
        });
        self.mirror.settle(action, &self.path, done).map(drop)
    }

    fn timeout(&self) -> Duration {
        self.mirror.0.timeout
    }
}

impl DiskFile for MirroredFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.in_each("reserve space for", self.timeout(), move |file| file.reserve(bytes))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE_BYTES) {
            let (copy, len): (Arc<[u8]>, u64) = (piece.into(), piece.len() as u64);
            self.in_each("write", self.timeout(), move |file| file.write_all_at(&copy, at))?;
            self.unsynced.fetch_add(len, Ordering::Relaxed);
            at += len;
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.in_each("set the length of", self.timeout(), move |file| file.set_len(bytes))
    }

    /// Both at once: a commit takes as long as the slower disk, not as long as both together.
    fn sync(&self) -> io::Result<()> {
        let mib = self.unsynced.swap(0, Ordering::Relaxed) >> 20;
        let limit = self.timeout() + Duration::from_secs(mib);
        self.in_each("sync", limit, |file| file.sync())
    }
}
