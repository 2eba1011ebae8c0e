//! Trees of files that tasks make: removed and measured by descriptors, however deep they are and whatever modes their
//! folders have, and without following links. A tracker that is no superuser is bound by the modes that its tasks give
//! their folders; since it is their owner, it may change them.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// Of `stat`, whatever the disk's blocks are.
const BLOCK_BYTES: u64 = 512;

/// A path from an open folder that is longer begins anew at the folder that it leads to.
const PATH_BYTES_MAX: usize = 2048;

/// What the owner needs to look into a folder, and to change it.
const READABLE: u32 = 0o500;
const WRITABLE: u32 = 0o700;

/// Removes a file, or a folder with all below it, if it is there. What can't be removed stays; the rest goes all the same.
///
/// # Errors
/// Why the first of what stays can't be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_folder(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    let top = open(CWD, path, WRITABLE)?;
    let mut flattening = Flattening { n_moved: 0, first_error: None };
    let mut waiting: VecDeque<CString> = flattening.without_files(&top)?.into();
    while let Some(name) = waiting.pop_front() {
        flattening.take_apart(&top, &name, &mut waiting);
    }
    drop(top);
    match (flattening.first_error, std::fs::remove_dir(path)) {
        (Some(error), _) => Err(error.into()),
        (None, removed) => removed,
    }
}

/// The removal of one folder: what is in a folder in it is moved up into it, so that no depth takes more descriptors.
struct Flattening {
    n_moved: u64,
    first_error: Option<Errno>,
}

impl Flattening {
    fn note<T>(&mut self, done: Result<T, Errno>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                // What is gone is gone.
                if error != Errno::NOENT {
                    self.first_error.get_or_insert(error);
                }
                None
            }
        }
    }

    /// Removes all from an open folder but folders that are not empty; their names.
    fn without_files(&mut self, folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
        let mut folders = Vec::new();
        for (name, is_folder) in entries(folder)? {
            let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match rustix::fs::unlinkat(folder, &name, flags) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => folders.push(name),
                removed => drop(self.note(removed)),
            }
        }
        Ok(folders)
    }

    /// Removes the folder `name` in `top`; what folders were in it are in `top` then, and wait.
    fn take_apart(&mut self, top: &OwnedFd, name: &CString, waiting: &mut VecDeque<CString>) {
        let opened = open(top, &**name, WRITABLE);
        let Some(folder) = self.note(opened) else { return };
        let below = self.without_files(&folder);
        for below in self.note(below).unwrap_or_default() {
            // Its way up changes with the move: that, too, takes the right to write.
            let opened = open(&folder, &*below, WRITABLE);
            if self.note(opened).is_none() {
                continue;
            }
            let moved = self.move_up(&folder, &below, top);
            waiting.extend(self.note(moved));
        }
        let removed = rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR);
        self.note(removed);
    }

    fn move_up(&mut self, from: &OwnedFd, name: &CString, to: &OwnedFd) -> Result<CString, Errno> {
        loop {
            self.n_moved += 1;
            let free = CString::new(format!(".removed-{}", self.n_moved)).expect("it has no NUL");
            match rustix::fs::renameat(from, name, to, &free) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                moved => return moved.map(|()| free),
            }
        }
    }
}

/// Bytes that a folder takes on its disk with all below it. What vanishes meanwhile does not count. A folder that its
/// owner may not read is made readable: what is in it takes room all the same.
pub(crate) fn bytes_of(folder: &Path) -> u64 {
    let Ok(root) = open(CWD, folder, READABLE) else { return 0 };
    let mut bytes = 0;
    let mut waiting = vec![(Rc::new(root), PathBuf::from("."))];
    while let Some((base, path)) = waiting.pop() {
        let Ok(folder) = open_below(&base, &path).map(Rc::new) else { continue };
        let is_long = path.as_os_str().len() > PATH_BYTES_MAX;
        for (name, is_folder) in entries(&folder).unwrap_or_default() {
            if is_folder {
                // One that was replaced meanwhile is not opened below.
                let _ = make(&*folder, &name, READABLE);
                let name = OsStr::from_bytes(name.as_bytes());
                waiting.push(match is_long {
                    true => (Rc::clone(&folder), name.into()),
                    false => (Rc::clone(&base), path.join(name)),
                });
            } else if let Ok(file) = statat(&*folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                bytes += u64::try_from(file.st_blocks).unwrap_or_default() * BLOCK_BYTES;
            }
        }
    }
    bytes
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a folder, which has at least the rights `least` for its owner then.
fn open(at: impl AsFd + Copy, name: impl Arg + Copy, least: u32) -> Result<OwnedFd, Errno> {
    make(at, name, least)?;
    openat(at, name, FOLDER, Mode::empty())
}

/// Opens a folder at the end of a path of which nothing is a link.
fn open_below(base: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let no_way_out = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(base, path, FOLDER, Mode::empty(), no_way_out) {
        // Not known before Linux 5.6, or to a sandbox.
        Err(Errno::NOSYS | Errno::PERM) => openat(base, path, FOLDER, Mode::empty()),
        opened => opened,
    }
}

/// Gives the folder's owner the rights `least`, if this is the owner, and it has them not.
fn make(at: impl AsFd, name: impl Arg, least: u32) -> Result<(), Errno> {
    let folder = openat(at, name, FOLDER | OFlags::PATH, Mode::empty())?;
    let about = rustix::fs::fstat(&folder)?;
    if about.st_mode & least != least && about.st_uid == rustix::process::geteuid().as_raw() {
        // A descriptor of a path alone can't be used itself. What is not allowed shows when it is needed.
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let mode = about.st_mode & 0o7777 | least;
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    }
    Ok(())
}

/// The names in an open folder, and which are folders'.
fn entries(folder: &OwnedFd) -> Result<Vec<(CString, bool)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Unknown => statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|it| FileType::from_raw_mode(it.st_mode).is_dir()),
            kind => kind.is_dir(),
        };
        found.push((name.to_owned(), is_folder));
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::{create_dir, create_dir_all, set_permissions, write};

    use rustix::process::Uid;

    use super::*;

    /// Runs something as a user who is bound by modes, in a folder of that user.
    pub(crate) fn as_nobody(run: impl FnOnce(&Path) + Send + 'static) {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join("own");
        create_dir(&own).unwrap();
        if rustix::process::geteuid().is_root() {
            set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
        }
        let within = own.clone();
        let thread = std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                let nobody = Uid::from_raw(65534);
                // Of this thread alone.
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            run(&within);
        });
        thread.join().unwrap();
        remove(place.path()).unwrap();
    }

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn folders_that_may_not_be_changed_or_read_are_removed_with_all_below_them() {
        as_nobody(|place| {
            let cache = place.join("cache");
            for (name, mode) in [("read-only", 0o555), ("closed", 0), ("blind", 0o333)] {
                let below = cache.join(name).join("a/b");
                create_dir_all(&below).unwrap();
                write(below.join("file"), "x").unwrap();
                chmod(&below.join("file"), 0o444);
                for folder in below.ancestors().take(3) {
                    chmod(folder, mode);
                }
            }
            chmod(&cache, 0o555);
            assert!(std::fs::remove_dir_all(&cache).is_err(), "the library can't");
            remove(&cache).unwrap();
            assert!(!cache.exists());
            remove(&cache).unwrap();
        });
    }

    #[test]
    fn links_are_removed_and_what_they_lead_to_stays_as_it_is() {
        as_nobody(|place| {
            let (tree, other) = (place.join("tree"), place.join("other"));
            create_dir_all(tree.join("a")).unwrap();
            create_dir(&other).unwrap();
            write(other.join("file"), [1; 50_000]).unwrap();
            chmod(&other, 0o500);
            for link in [tree.join("link"), tree.join("a/link")] {
                std::os::unix::fs::symlink(&other, link).unwrap();
            }
            write(tree.join("file"), "x").unwrap();
            assert!(bytes_of(&tree) < 50_000);
            remove(&tree).unwrap();
            assert!(!tree.exists() && other.join("file").exists());
            assert_eq!(other.metadata().unwrap().permissions().mode() & 0o777, 0o500);
            let link = place.join("link");
            std::os::unix::fs::symlink(&other, &link).unwrap();
            remove(&link).unwrap();
            assert!(other.join("file").exists());
        });
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_measured_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        create_dir(&top).unwrap();
        let mut at = openat(CWD, &top, FOLDER, Mode::empty()).unwrap();
        for _ in 0..6000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", FOLDER, Mode::empty()).unwrap();
        }
        let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
        let mut file = std::fs::File::from(file);
        io::Write::write_all(&mut file, &[1; 100_000]).unwrap();
        file.sync_all().unwrap();
        let used = bytes_of(&top);
        assert!((100_000..200_000).contains(&used), "{used}");
        remove(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_folder_takes_what_its_files_take_whoever_may_read_it() {
        as_nobody(|place| {
            let below = place.join("a/b");
            create_dir_all(&below).unwrap();
            assert_eq!(bytes_of(place), 0);
            write(below.join("file"), [1; 100_000]).unwrap();
            std::os::unix::fs::symlink("/", below.join("root")).unwrap();
            let sparse = std::fs::File::create(place.join("sparse")).unwrap();
            sparse.set_len(1 << 40).unwrap();
            sparse.sync_all().unwrap();
            std::fs::File::open(below.join("file")).unwrap().sync_all().unwrap();
            for mode in [0o700, 0o333, 0o444, 0] {
                chmod(&below, mode);
                let used = bytes_of(place);
                assert!((100_000..200_000).contains(&used), "{used} with mode {mode:o}");
            }
            assert_eq!(bytes_of(Path::new("/no/such")), 0);
        });
    }

    #[test]
    fn what_cannot_be_removed_stays_and_the_rest_goes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().to_owned();
        chmod(&tree, 0o755);
        create_dir(tree.join("theirs")).unwrap();
        write(tree.join("theirs/kept"), "x").unwrap();
        std::os::unix::fs::chown(&tree, Some(65534), Some(65534)).unwrap();
        as_nobody(move |_| {
            create_dir_all(tree.join("gone/below")).unwrap();
            write(tree.join("gone/below/file"), "x").unwrap();
            assert!(remove(&tree).is_err());
            assert!(!tree.join("gone").exists() && tree.join("theirs/kept").exists());
        });
    }
}
