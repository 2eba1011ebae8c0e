//! Disks of a test's own, small enough to be filled: file systems in memory, mounted where only this thread
//! and what it starts can see them, so that nothing stays of them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// One of them; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Lets this thread mount, unseen by others; false, and said, where that is not allowed.
    ///
    /// # Panics
    /// When what is mounted already can't be kept apart.
    #[must_use]
    pub fn may_be_mounted() -> bool {
        // SAFETY: only the mounts, and with them the working directory, stop to be shared with other threads.
        let own = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
        if let Err(error) = own {
            crate::skipped(&format!("this needs mounts of its own, which takes root: {error}"));
            return false;
        }
        run(Command::new("mount").args(["--make-rprivate", "/"]));
        true
    }

    /// Mounts one at `path`, after [`Self::may_be_mounted`].
    ///
    /// # Panics
    /// When it can't be mounted.
    #[must_use]
    pub fn mount(path: PathBuf, mib: u64) -> Self {
        fs::create_dir_all(&path).expect("the mount point can be made");
        Self::mount_as(path, &format!("size={mib}M,mode=700"))
    }

    /// Mounts one at `path` that takes so many files and folders, after [`Self::may_be_mounted`].
    ///
    /// # Panics
    /// When it can't be mounted.
    #[must_use]
    pub fn mount_for_files(path: PathBuf, mib: u64, n_files: u64) -> Self {
        fs::create_dir_all(&path).expect("the mount point can be made");
        Self::mount_as(path, &format!("size={mib}M,nr_inodes={n_files},mode=700"))
    }

    fn mount_as(path: PathBuf, options: &str) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path));
        Self { path }
    }

    /// Takes all files that the disk still takes, and hardly any space, until they are removed.
    ///
    /// # Panics
    /// When it never takes the last.
    #[must_use]
    pub fn fill_with_files(&self) -> Files {
        let folder = self.path.join("somebody's files");
        fs::create_dir(&folder).expect("a folder can be made");
        for nth in 0..100_000 {
            match fs::File::create(folder.join(nth.to_string())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Files(folder),
                Err(error) => panic!("file {nth}: {error}"),
            }
        }
        panic!("this disk takes any number of files")
    }

    /// Takes all room but so many bytes, as somebody else's file would, until that is removed.
    ///
    /// # Panics
    /// When the file can't be written.
    #[must_use]
    pub fn fill_but(&self, left: u64) -> Hog {
        let path = self.path.join("somebody's file");
        let mut file = fs::File::create(&path).expect("a file can be made");
        let piece = [1; 4096];
        let free = || {
            let room = statvfs(&self.path).expect("a mounted disk tells its room");
            room.f_bavail * room.f_frsize
        };
        while free() >= left + piece.len() as u64 {
            match file.write_all(&piece) {
                // Others write too.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                written => written.expect("there is room for the file"),
            }
        }
        Hog(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// A file that has filled a disk; removed when dropped.
#[derive(Debug)]
pub struct Hog(PathBuf);

impl Drop for Hog {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Files that a disk takes no more beside; removed when dropped.
#[derive(Debug)]
pub struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Daemons may still use it, and end later.
pub(crate) fn unmount(path: &Path) {
    Command::new("umount").arg("--lazy").arg(path).output().ok();
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the tools of file systems are installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}
