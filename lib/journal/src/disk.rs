//! The file operations that change a journal, behind one small trait, so that tests can let each of them
//! fail. Reading is not here: a read that fails is an error like any other. Called by `segment`,
//! `snapshot` and `recover`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// What a journal does to its folder.
pub(crate) trait Disk: Send + Sync {
    /// A new, empty file; what was there before is gone.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to write into.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Where that which is done to `folder` is done, and so where it can be read: one place at least.
    fn places(&self, folder: &Path) -> Vec<PathBuf> {
        vec![folder.to_owned()]
    }
}

/// What a journal does to one file.
pub(crate) trait DiskFile: Send + Sync {
    /// Claims the blocks, so that a full disk shows now. A file system that cannot is not an error.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with a hole.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The bytes, and the length, are on the disk.
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

/// Says when a sync begins and ends, to who wants to know what waits for which (`log.filter: info,sync=trace`).
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
        // What is on disk under no name is lost with this process.
        match self.metadata()?.nlink() {
            0 => Err(io::Error::other("it was removed while this process writes into it")),
            _ => Ok(()),
        }
    }
}
