//! Local files and folders that appear whole or not at all: made under a temporary name in the same
//! folder, then renamed. `gen`, `fs get` and `demo --output` call it.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What the names of unfinished files and folders begin with.
pub(crate) const UNFINISHED: &str = ".howdah-";
/// And those of folders.
const UNFINISHED_FOLDER: &str = ".howdah-unfinished-";
const BUFFER_BYTES: usize = 1 << 20;
/// Tries to remove a folder in which other threads made something when it was taken from them.
const REMOVALS: usize = 8;

/// Why a local path can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalFileError {
    /// There is something already.
    #[error("{path} exists: remove it first, or choose another name")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// What stands there is more than its bytes.
    #[error(
        "{path} is a device, a pipe or a link, and nothing takes its place: name another file, or write into it with \
         `howdah fs cat`"
    )]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// There is no folder to make it in.
    #[error("cannot write {path}: there is no folder {folder}; make it first (mkdir -p)")]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// The folder above it.
        folder: PathBuf,
    },
    /// The folder can't be written to.
    #[error("cannot write {path}: {cause}")]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A local file that is being written.
pub(crate) struct LocalFile {
    target: PathBuf,
    out: BufWriter<Out>,
}

enum Out {
    /// To be renamed at the end.
    Temporary(NamedTempFile),
    /// A pipe or device: there is nothing to rename.
    Direct(File),
}

/// Whether a pipe, a device or an open descriptor (`/dev/stdout` may be a file) stands at `path`: it is
/// written to, not replaced.
pub(crate) fn is_special(path: &Path) -> bool {
    let open = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];
    let is_open = open.iter().any(|open| path.starts_with(open));
    fs::metadata(path).is_ok_and(|found| !found.is_dir() && (!found.is_file() || is_open))
}

impl LocalFile {
    /// A file that replaces what stands at `path`; a pipe or device there is written to.
    pub(crate) fn replace(path: &Path) -> Result<Self, LocalFileError> {
        let out = if is_special(path) {
            fs::OpenOptions::new().append(true).open(path).map(Out::Direct)
        } else {
            temporary_beside(path)
        };
        let unwritable = |cause| LocalFileError::Unwritable { path: path.to_owned(), cause };
        let out = BufWriter::with_capacity(BUFFER_BYTES, out.map_err(unwritable)?);
        Ok(Self { target: path.to_owned(), out })
    }

    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        match self.out.get_ref() {
            Out::Direct(_) => Ok(()),
            Out::Temporary(file) => file.as_file().sync_all(),
        }
    }

    /// Gives the file its name. Without this call nothing stays.
    pub(crate) fn persist(self) -> io::Result<()> {
        match self.out.into_inner().map_err(io::IntoInnerError::into_error)? {
            Out::Direct(_) => Ok(()),
            Out::Temporary(file) => {
                file.persist(self.target).map(drop).map_err(|error| error.error)
            }
        }
    }
}

/// A folder for what is not yet whole, on the same disk as its target. Dropping it removes it with all
/// that is in it, also while other threads still write there.
pub(crate) struct UnfinishedFolder {
    path: PathBuf,
    /// Held while its owner lives.
    _lock: File,
}

impl UnfinishedFolder {
    /// Makes one beside `target`; what others left there that were killed goes.
    pub(crate) fn beside(target: &Path) -> Result<Self, LocalFileError> {
        remove_left(target);
        loop {
            let path = target.with_file_name(format!("{UNFINISHED_FOLDER}{}", net::random_hex(6)));
            match Self::make(&path) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                // It passed for a dead one's.
                Ok(None) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    let folder = target.parent().unwrap_or(target).to_owned();
                    return Err(LocalFileError::NoFolder { path: target.to_owned(), folder });
                }
                Err(cause) => {
                    return Err(LocalFileError::Unwritable { path: target.to_owned(), cause });
                }
            }
        }
    }

    /// Makes the folder and its lock; `None` if somebody removed it before it was locked.
    fn make(path: &Path) -> io::Result<Option<File>> {
        fs::create_dir(path)?;
        let lock = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Where nothing can be locked, nothing is taken for a dead one's.
        let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        Ok((!is_taken && path.exists()).then_some(lock))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the unfinished folders beside `target` whose owners are dead; best effort.
fn remove_left(target: &Path) {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let is_one = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED_FOLDER))
    };
    for left in entries.filter(is_one).map(|entry| entry.path()) {
        if File::open(&left).is_ok_and(|lock| lock.try_lock().is_ok() && left.is_dir()) {
            let _ = fs::remove_dir_all(&left);
        }
    }
}

impl Drop for UnfinishedFolder {
    fn drop(&mut self) {
        // Under its new name nobody finds it any more to make something in it: it can be emptied.
        let doomed = self.path.with_extension("removed");
        let there = if fs::rename(&self.path, &doomed).is_ok() { &doomed } else { &self.path };
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(there) {
                // What was on its way in came in.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => return,
            }
        }
    }
}

/// Gives the file or folder at `from` a name that nothing has yet, on the same disk. What appears there
/// meanwhile stays as it is.
pub(crate) fn move_new(from: &Path, to: &Path) -> Result<(), LocalFileError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    let moved = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A filesystem that can't: a second name for a file is refused where something stands.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if from.is_file() => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        // A folder moves over no file, and over no folder with something in it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to),
        moved => moved.map_err(io::Error::from),
    };
    moved.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => LocalFileError::Exists { path: to.to_owned() },
        _ => LocalFileError::Unwritable { path: to.to_owned(), cause },
    })
}

/// Replaces what stands at `path` by `bytes`, at once, and so that a power cut undoes nothing of it.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = LocalFile::replace(path).map_err(io::Error::other)?;
    file.write_all(bytes)?;
    file.sync()?;
    file.persist()?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Temporary(file) => file.write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Temporary(file) => file.flush(),
            Self::Direct(file) => file.flush(),
        }
    }
}

fn temporary_beside(path: &Path) -> io::Result<Out> {
    use std::os::unix::fs::PermissionsExt;
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        // Files of the user's, not secrets: what the umask leaves of the usual mode.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map(Out::Temporary)
        // Without the temporary name: nobody has asked for that.
        .map_err(|error| match error.to_string().split_once(" at path ") {
            Some((cause, _)) => io::Error::new(error.kind(), cause.to_owned()),
            None => error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_a_new_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "new").unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("taken"), "old").unwrap();
        fs::create_dir(path("taken-folder")).unwrap();
        for from in ["file", "folder"] {
            for taken in ["taken", "taken-folder"] {
                let moved = move_new(&path(from), &path(taken));
                assert!(matches!(moved, Err(LocalFileError::Exists { .. })), "{from} {taken}");
            }
            move_new(&path(from), &path("moved").with_extension(from)).unwrap();
        }
        assert_eq!(fs::read(path("taken")).unwrap(), b"old");
        assert_eq!(fs::read(path("moved.file")).unwrap(), b"new");
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut given_up = LocalFile::replace(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let mut file = LocalFile::replace(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        file.persist().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");

        let mut again = LocalFile::replace(&path).unwrap();
        again.write_all(b"new").unwrap();
        again.persist().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(LocalFile::replace(folder.path()).is_err(), "a folder is not replaced");
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_live_one_makes_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let names = || {
            let entries = fs::read_dir(root.path()).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect::<std::collections::BTreeSet<_>>()
        };
        // Nobody holds its lock any more.
        let left = root.path().join(format!("{UNFINISHED_FOLDER}0123456789ab"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("0"), "half").unwrap();
        let own = root.path().join(".howdah-mine");
        fs::create_dir(&own).unwrap();
        let first = UnfinishedFolder::beside(&target).unwrap();
        let second = UnfinishedFolder::beside(&target).unwrap();
        let expected = [own.clone(), first.path().to_owned(), second.path().to_owned()];
        assert_eq!(names(), expected.into());
        drop((first, second));
        assert_eq!(names(), [own].into());
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let refused = UnfinishedFolder::beside(&root.path().join("no/f")).err().unwrap();
        let folder = root.path().join("no").display().to_string();
        assert!(refused.to_string().contains(&format!("no folder {folder}; make it")), "{refused}");
    }
}
