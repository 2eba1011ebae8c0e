//! Two folders as one disk: what is done to the first is done to the second, and is done when it is in
//! both. Everything else in this crate writes to it as to any other disk. How two folders come to hold
//! the same before that is in `reunite`.
//!
//! **Durable** is what is synced in both folders; the two syncs run at once. **A folder that fails**, in
//! whatever operation, is left for good: nothing more is written or synced there, so what is in it stays a
//! beginning of what is in the other. Before anything is acknowledged that only the other one has, that one is
//! marked as going on alone, durably; the one that was left is marked as behind if its disk still takes that. The
//! journal goes on with the other, and says so; the next start tries both again. If that one fails too, if only
//! in taking its mark, it is as with a single folder: nothing more is acknowledged, whichever operation it was.
//!
//! **A full disk** is no failure. Space is claimed in both folders before a record needs it, so there is
//! as much room as on the fuller disk of the two, and the folders never part over it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::error::FileError;
use crate::folder;
use crate::marks::{go_alone, mark_behind, read_id};

/// What the two folders of a journal came to, for the log. Each is said once.
#[derive(Debug, thiserror::Error)]
pub enum FolderNotice {
    /// One had nothing that counts: a new disk, or one that was behind.
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
    /// One lacked the last records, as a crash between two writes leaves it.
    #[error(
        "the journal's folder {} lacked the last {records} records: they have been taken from {}",
        dir.display(), from.display()
    )]
    Completed {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        from: PathBuf,
        /// How many.
        records: u64,
    },
    /// One is not used any more, until the next start.
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

/// What two folders are, together. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Mirror(Arc<Pair>);

struct Pair {
    disk: Arc<dyn Disk>,
    /// All others name files by the first one.
    folders: [PathBuf; 2],
    live: [AtomicBool; 2],
    /// One failed, and the other one did not surely take its mark: it may pass for the whole journal at the next
    /// start, so nothing more is written to either.
    has_failed: AtomicBool,
    /// Held while a folder is lost: two threads don't lose both, and who finds it lost finds the other one marked.
    losing: Mutex<()>,
    notices: Mutex<Vec<FolderNotice>>,
    has_notices: AtomicBool,
}

impl Mirror {
    pub(crate) fn new(disk: Arc<dyn Disk>, folders: [PathBuf; 2]) -> Self {
        let (live, notices) = ([AtomicBool::new(true), AtomicBool::new(true)], Mutex::default());
        let (losing, has_notices) = (Mutex::default(), AtomicBool::new(false));
        let has_failed = AtomicBool::new(false);
        Self(Arc::new(Pair { disk, folders, live, has_failed, losing, notices, has_notices }))
    }

    /// How many of the two take what is written.
    pub(crate) fn folders_live(&self) -> usize {
        [0, 1].into_iter().filter(|&side| self.is_live(side)).count()
    }

    /// What has been noticed since this was last asked.
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

    /// Leaves one folder for good, once the other one says durably that it goes on alone.
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
        // While it is done both count as live, and nobody is told of what only one of them has.
        if let Err(error) = go_alone(&*self.0.disk, &other) {
            self.0.has_failed.store(true, Ordering::Release);
            return Err(error);
        }
        self.0.live[side].store(false, Ordering::Release);
        // A disk that is gone doesn't take the mark either.
        let id = read_id(&other).ok().flatten();
        let _best_effort = mark_behind(&*self.0.disk, &dir, id.as_deref());
        self.notice(FolderNotice::Lost { dir, other, cause });
        Ok(())
    }

    fn notices(&self) -> MutexGuard<'_, Vec<FolderNotice>> {
        self.0.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That the two have not failed together: asked before each operation, and after it.
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

    /// A path of the first folder, in the folder `side`.
    fn on(&self, side: usize, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.0.folders[0]) {
            Ok(name) if name.as_os_str().is_empty() => self.0.folders[side].clone(),
            Ok(name) => self.0.folders[side].join(name),
            Err(_elsewhere) => path.to_owned(),
        }
    }

    fn in_each<T>(
        &self,
        action: &'static str,
        path: &Path,
        operation: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<[Option<T>; 2]> {
        self.check()?;
        let done = [0, 1].map(|side| self.is_live(side).then(|| operation(&self.on(side, path))));
        self.settle(action, path, done)
    }

    /// What an operation came to that was tried in the live folders.
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
        Box::new(MirroredFile { mirror: self.clone(), path: path.to_owned(), files })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Disk for Mirror {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = self.in_each("create", path, |path| self.0.disk.create(path))?;
        Ok(self.file(path, files))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = self.in_each("open", path, |path| self.0.disk.open(path))?;
        Ok(self.file(path, files))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        let done = [0, 1].map(|side| {
            let rename = || self.0.disk.rename(&self.on(side, from), &self.on(side, to));
            self.is_live(side).then(rename)
        });
        self.settle("rename", from, done).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.in_each("remove", path, |path| match self.0.disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        });
        removed.map(drop)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.in_each("sync", folder, |folder| self.0.disk.sync_folder(folder)).map(drop)
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
    files: [Option<Box<dyn DiskFile>>; 2],
}

impl MirroredFile {
    fn live(&self) -> [Option<&dyn DiskFile>; 2] {
        let live = |side: usize| self.mirror.is_live(side).then_some(self.files[side].as_deref());
        [live(0).flatten(), live(1).flatten()]
    }

    fn in_each(
        &self,
        action: &'static str,
        operation: impl Fn(&dyn DiskFile) -> io::Result<()>,
    ) -> io::Result<()> {
        self.mirror.check()?;
        let done = self.live().map(|file| file.map(&operation));
        self.mirror.settle(action, &self.path, done).map(drop)
    }
}

impl DiskFile for MirroredFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.in_each("reserve space for", |file| file.reserve(bytes))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.in_each("write", |file| file.write_all_at(bytes, offset))
    }

    /// Both at once: a commit takes as long as the slower disk, not as long as both.
    fn sync(&self) -> io::Result<()> {
        self.mirror.check()?;
        let [Some(first), Some(second)] = self.live() else {
            return self.in_each("sync", |file| file.sync());
        };
        let done = std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, || second.sync());
            let first = first.sync();
            let second = match beside {
                Ok(beside) => {
                    beside.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
                }
                // No thread is to be had: one after the other.
                Err(_no_thread) => second.sync(),
            };
            [Some(first), Some(second)]
        });
        self.mirror.settle("sync", &self.path, done).map(drop)
    }
}
