//! Whether the disk of a data folder still works. Once it has failed it is not used any more until the next
//! start: a disk that comes and goes would lose more than one that stays away.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

/// A disk that takes fewer files has no room for chunks: the server's own small files need some.
const FILES_LEFT_MIN: u64 = 16;

/// Whether a write, or a look at a folder, failed for good: the disk is gone, or takes nothing any more. A
/// full disk, or a process without descriptors, works again by itself.
fn is_disk_failure(error: &io::Error) -> bool {
    const FAILURES: [Errno; 7] = [
        Errno::IO,
        Errno::ROFS,
        Errno::NODEV,
        Errno::NXIO,
        Errno::UCLEAN,
        Errno::NOTDIR,
        Errno::STALE,
    ];
    error.raw_os_error().is_some_and(|code| FAILURES.iter().any(|e| e.raw_os_error() == code))
}

/// Whether a read failed for what is on the disk.
pub(super) fn is_media_error(error: &io::Error) -> bool {
    let media = [Errno::IO, Errno::UCLEAN, Errno::BADMSG].map(Errno::raw_os_error);
    error.kind() == io::ErrorKind::UnexpectedEof
        || error.raw_os_error().is_some_and(|code| media.contains(&code))
}

/// Whether there was no space, or no more files could be made: a disk that is full works again by itself.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The health of one disk, as a folder on it shows it.
#[derive(Debug)]
pub(super) struct DiskHealth {
    folder: PathBuf,
    /// Device and inode of the folder: another in its place is not ours.
    identity: (u64, u64),
    /// Why it counts as failed.
    failed: OnceLock<String>,
    /// Whether no more files could be made when this was last looked at.
    out_of_files: AtomicBool,
}

impl DiskHealth {
    /// Of a disk that works, with this folder on it.
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        let identity = identity_of(&folder)?;
        Ok(Self { folder, identity, failed: OnceLock::new(), out_of_files: AtomicBool::new(false) })
    }

    /// Why the disk counts as failed, if it does.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// From now on the disk counts as failed.
    pub(super) fn fail(&self, reason: &dyn fmt::Display) {
        if self.failed.set(reason.to_string()).is_ok() {
            tracing::error!(path = %self.folder.display(), %reason,
                "a disk has failed: its replicas are reported as lost, and it is not used before the next \
                 start; replace it, or take it out of chunkserver.data_dirs");
        }
    }

    /// Takes note of an error of a write; whether the disk has failed.
    pub(super) fn blame(&self, error: &io::Error) -> bool {
        if is_disk_failure(error) {
            self.fail(error);
        } else {
            self.check();
        }
        self.failed().is_some()
    }

    /// Looks whether the folder is still there.
    pub(super) fn check(&self) {
        match identity_of(&self.folder) {
            Ok(identity) if identity == self.identity => {}
            Ok(_) => self.fail(&"another folder has taken its place"),
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Size of the disk, and what is available: nothing where no more files can be made. Notices when it takes no writes
    /// any more.
    pub(super) fn look(&self) -> io::Result<(u64, u64)> {
        let stat = statvfs(&self.folder)?;
        if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            self.fail(&io::Error::from(Errno::ROFS));
        }
        // Some file systems make as many as there is space for, and count none.
        let out_of_files = stat.f_files > 0 && stat.f_favail < FILES_LEFT_MIN;
        if out_of_files && !self.out_of_files.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %self.folder.display(), files_left = stat.f_favail,
                "no room for chunks: the disk takes no more files (its inodes are used up, see df -i), whatever space it has");
        } else if !out_of_files && self.out_of_files.swap(false, Ordering::Relaxed) {
            tracing::info!(path = %self.folder.display(), "the disk takes files again");
        }
        let available = if out_of_files { 0 } else { stat.f_bavail.saturating_mul(stat.f_frsize) };
        Ok((stat.f_blocks.saturating_mul(stat.f_frsize), available))
    }

    /// The device.
    pub(super) fn device(&self) -> u64 {
        self.identity.0
    }
}

fn identity_of(folder: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(folder).map(|metadata| (metadata.dev(), metadata.ino()))
}
