//! A disk whose power can be cut: ext4 in a file, of which a copy is taken at one moment while it is written.
//! The copy has what had reached the disk by then, and nothing of what the kernel still kept in memory, and it
//! was never unmounted. The file is on an XFS, another file, that copies in no time by sharing blocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::small_disk::{run, unmount};

/// Of both file systems, enough for twenty rounds of eight writers; neither takes the room before it is used.
const DISK_BYTES: u64 = 16 << 30;

/// A disk; it must be unmounted where only this thread sees it: after [`crate::small_disk::SmallDisk::may_be_mounted`].
#[derive(Debug)]
pub struct PoweredDisk {
    path: PathBuf,
    pool: PathBuf,
}

impl PoweredDisk {
    /// Makes one in files of the folder `files`, and mounts it at `path`.
    ///
    /// # Panics
    /// When it can't be made or mounted.
    #[must_use]
    pub fn mount(files: &Path, path: PathBuf) -> Self {
        let (image, pool) = (files.join("pool.xfs"), files.join("pool"));
        for folder in [&pool, &path] {
            fs::create_dir_all(folder).expect("the mount point can be made");
        }
        new_file(&image);
        run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&pool));
        let disk = Self { path, pool };
        new_file(&disk.image());
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()));
        disk.power_on();
        // What uses the disk finds it empty, as a folder is.
        fs::remove_dir(disk.path.join("lost+found")).expect("a new disk has nothing but that");
        disk
    }

    fn image(&self) -> PathBuf {
        self.pool.join("disk.ext4")
    }

    fn cut_image(&self) -> PathBuf {
        self.pool.join("cut.ext4")
    }

    fn power_on(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&self.path));
    }

    /// The moment at which the power is cut: what is on the disk now comes back with [`Self::restore`].
    ///
    /// # Panics
    /// When the copy can't be taken.
    pub fn cut(&self) {
        run(Command::new("cp").arg("--reflink=always").arg(self.image()).arg(self.cut_image()));
    }

    /// The disk as it was at [`Self::cut`], mounted again: nobody may use it any more.
    ///
    /// # Panics
    /// When it is in use, or can't be mounted.
    pub fn restore(&self) {
        run(Command::new("umount").arg(&self.path));
        fs::rename(self.cut_image(), self.image()).expect("the power was cut");
        self.power_on();
    }
}

impl Drop for PoweredDisk {
    fn drop(&mut self) {
        unmount(&self.path);
        unmount(&self.pool);
    }
}

fn new_file(path: &Path) {
    let file = fs::File::create(path).expect("a file can be made");
    file.set_len(DISK_BYTES).expect("a file with holes can be made");
}
