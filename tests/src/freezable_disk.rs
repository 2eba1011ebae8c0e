//! A disk that hangs on command: ext4 in a file, whose file system is frozen. Whoever writes there waits in the kernel,
//! where no signal reaches it, until it is thawed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::small_disk::{run, unmount};

const DISK_BYTES: u64 = 256 << 20;

/// A disk; it must be mounted where only this thread sees it: after [`crate::small_disk::SmallDisk::may_be_mounted`].
#[derive(Debug)]
pub struct FreezableDisk {
    path: PathBuf,
    /// Thaws it when this process is gone, however it ends: what hangs there could never end.
    guard: Option<Child>,
}

impl FreezableDisk {
    /// Makes one in the file `image`, and mounts it at `path`; none, and said, where there are no loop devices.
    ///
    /// # Panics
    /// When no file system can be made.
    #[must_use]
    pub fn mount(image: &Path, path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).expect("the mount point can be made");
        let file = fs::File::create(image).expect("a file can be made");
        file.set_len(DISK_BYTES).expect("a file with holes can be made");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(&path).output();
        let mounted = mounted.expect("the tools of file systems are installed");
        if !mounted.status.success() {
            let said = String::from_utf8_lossy(&mounted.stderr);
            crate::skipped(&format!("this needs a loop device: {}", said.trim()));
            return None;
        }
        Some(Self { path, guard: None })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets whoever writes there wait from now on.
    ///
    /// # Panics
    /// When it can't be frozen.
    pub fn freeze(&mut self) {
        let thaw = "read -r _; fsfreeze -u \"$0\"";
        let mut guard = Command::new("sh");
        guard.args(["-c", thaw]).arg(&self.path).stdin(Stdio::piped()).stderr(Stdio::null());
        self.guard = Some(guard.spawn().expect("a shell starts"));
        run(Command::new("fsfreeze").arg("-f").arg(&self.path));
    }

    /// Lets them go on.
    pub fn thaw(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            guard.wait().ok();
        }
    }
}

impl Drop for FreezableDisk {
    fn drop(&mut self) {
        self.thaw();
        unmount(&self.path);
    }
}
