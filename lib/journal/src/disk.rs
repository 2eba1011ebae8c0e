//! The file operations that change a journal, behind one small trait, so that tests can make each
//! of them fail. Reading is not here: a read that fails is an ordinary error. Called by `segment`,
//! `snapshot` and `recover`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// What a journal does to its folder.
pub(crate) trait Disk: Send + Sync {
    /// Creates an empty file; what was there before is gone.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// The real folders that operations on `folder` act on, and from which its files can be read;
    /// at least one.
    fn places(&self, folder: &Path) -> Vec<PathBuf> {
        vec![folder.to_owned()]
    }
}

/// What a journal does to one file.
pub(crate) trait DiskFile: Send + Sync {
    /// Claims the blocks, so that a full disk shows now. It is no error if the file system can't.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Truncates the file, or extends it with a hole.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable.
    fn sync(&self) -> io::Result<()>;
}

/// The real one.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = File::open(folder)?;
        told(&folder, File::sync_all)
    }
}

/// Traces when a sync begins and ends, to show which ones wait for one another (`log.filter:
/// info,sync=trace`).
fn told(file: &File, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let fd = file.as_raw_fd();
    tracing::trace!(target: "sync", fd, "begins");
    let synced = sync(file);
    tracing::trace!(target: "sync", fd, "ended");
    synced
}

impl DiskFile for File {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        told(self, Self::sync_data)?;
        // A file that has no name any more is lost when this process ends.
        match self.metadata()?.nlink() {
            0 => Err(io::Error::other("it was removed while this process writes into it")),
            _ => Ok(()),
        }
    }
}
