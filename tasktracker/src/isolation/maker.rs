//! The process that makes a namespace: a mount namespace in which what is not a task's is covered, and, where this is
//! no superuser, a user namespace that allows it to. It is asked for it by its arguments, says whether it has, and
//! stays until its parent has taken it. Its parent can't do that itself: it has many threads, and a process that
//! nobody may look into is not let write the users of its own namespace.

use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, move_mount, open_tree,
};
use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// What the maker answers when all went well; else it is why not.
pub(super) const READY: &str = "ready";

/// The namespace that is wanted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) layout: Layout,
    /// What is to be covered, as far as it is there.
    pub(super) hidden: Vec<PathBuf>,
    /// Whether it takes a user namespace, since this process is not the superuser.
    pub(super) with_users: bool,
}

/// Makes the namespace that `order` (JSON) describes, answers on the descriptor `channel`, and waits for its end.
///
/// # Errors
/// When nobody listens, or the order can't be understood.
pub fn make_namespace(order: &str, channel: RawFd) -> io::Result<()> {
    // SAFETY: the caller passes what this process was started with for that, and nobody else uses it.
    let mut channel = UnixStream::from(unsafe { OwnedFd::from_raw_fd(channel) });
    let order: Order = serde_json::from_str(order)?;
    let answer = match make(&order) {
        Ok(()) => READY.to_owned(),
        Err(error) => error.to_string(),
    };
    channel.write_all(answer.as_bytes())?;
    channel.shutdown(std::net::Shutdown::Write)?;
    channel.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn make(order: &Order) -> io::Result<()> {
    let say = |what: &'static str| move |error: io::Error| told(&error, what);
    enter(order.with_users).map_err(say("no namespace can be made"))?;
    let (slave, all) = (MountPropagationFlags::DOWNSTREAM, MountPropagationFlags::REC);
    mount_change("/", slave | all)?;
    let attempts = order.layout.attempts();
    let attempts: io::Result<Vec<_>> = attempts.map(|folder| taken_out(&folder)).collect();
    let (attempts, programs) = (attempts?, taken_out(&order.layout.programs())?);
    for path in &order.hidden {
        let covered = cover(path);
        covered.map_err(|error| told(&error, format!("{} can't be hidden", path.display())))?;
    }
    if !order.with_users {
        keep_devices_of_all().map_err(say("/dev can't be closed"))?;
    }
    for disk in order.layout.left() {
        let covered = cover_folder(disk);
        covered.map_err(|error| told(&error, format!("{} can't be hidden", disk.display())))?;
    }
    lay_out(&order.layout, &attempts, &programs)
        .map_err(say("the own folders can't be shown: do they lie in a hidden one?"))
}

fn told(error: &io::Error, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Leaves the namespaces of the parent.
fn enter(with_users: bool) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let users = if with_users { libc::CLONE_NEWUSER } else { 0 };
    // SAFETY: this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNS | users) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if with_users {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1", uid = uid.as_raw()))?;
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1", gid = gid.as_raw()))?;
    }
    Ok(())
}

/// A copy of what is at `path`, which nobody sees.
fn taken_out(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).map_err(|error| told(&error.into(), path.display()))
}

fn put_in(tree: &OwnedFd, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(tree.as_fd(), "", CWD, path, flags)?)
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Puts nothing in the place of what is there.
fn cover(path: &Path) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if is_nowhere(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !path.is_dir() {
        mount_bind("/dev/null", &path)?;
        // Nobody can open it then.
        return set(&open_path(&path)?, MOUNT_ATTR_NODEV);
    }
    cover_folder(&path)
}

/// The same of a folder, without a look at it: its disk may fail.
fn cover_folder(path: &Path) -> io::Result<()> {
    let nothing = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = c"mode=0,size=64k,nr_inodes=1";
    match mount("tmpfs", path, "tmpfs", nothing, options).map_err(io::Error::from) {
        // EPERM would be that it may not mount.
        Err(error) if is_nowhere(&error) && error.raw_os_error() != Some(libc::EPERM) => Ok(()),
        covered => covered,
    }
}

/// What this process can't find, no task of the same user does.
fn is_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// In the own folders, programs stay, which can't be changed, and all attempts are put where a child finds its own.
fn lay_out(layout: &Layout, attempts: &[OwnedFd], programs: &OwnedFd) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let make = |folder: &Path| DirBuilder::new().mode(0o711).create(folder);
    for disk in layout.roots() {
        mount("tmpfs", disk, "tmpfs", flags, c"mode=0711,size=256k")?;
    }
    layout.attempts().try_for_each(|folder| make(&folder))?;
    make(&layout.programs())?;
    set(programs, MOUNT_ATTR_RDONLY)?;
    put_in(programs, &layout.programs())?;
    make(&layout.disks())?;
    for (nth, tree) in attempts.iter().enumerate() {
        make(&layout.disk(nth))?;
        put_in(tree, &layout.disk(nth))?;
    }
    for disk in layout.roots() {
        set(&open_path(disk)?, MOUNT_ATTR_RDONLY)?;
    }
    Ok(())
}

/// Of the devices, those stay that anybody may open: of the others, disks above all, a superuser without capabilities
/// is still the owner.
fn keep_devices_of_all() -> io::Result<()> {
    let mut kept = Vec::new();
    for path in devices_below(Path::new("/dev"))? {
        kept.push((taken_out(&path)?, path));
    }
    // It may be no mount.
    mount_bind_recursive("/dev", "/dev")?;
    set(&open_path(Path::new("/dev"))?, MOUNT_ATTR_NODEV)?;
    kept.iter().try_for_each(|(tree, path)| put_in(tree, path))
}

/// Devices that anybody may open, in the folder and the folders in it.
fn devices_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // It may have gone.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let (kind, path) = (metadata.file_type(), entry.path());
        if kind.is_dir() && !is_file_system(&path)? {
            found.extend(devices_below(&path)?);
        }
        let is_device = kind.is_char_device() || kind.is_block_device();
        if is_device && metadata.permissions().mode() & 0o006 != 0 {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether something else is mounted there, like pseudo-terminals: it stays as it is.
fn is_file_system(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let around = path.parent().unwrap_or(path);
    Ok(path.symlink_metadata()?.dev() != around.symlink_metadata()?.dev())
}

const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NODEV: u64 = 4;

/// The system's `mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Gives a mount more attributes. (To mount it again would need all those that it has, which may not be taken away.)
fn set(mounted: &impl AsRawFd, attributes: u64) -> io::Result<()> {
    let attributes = MountAttributes { set: attributes, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: a system call on a descriptor that is open; the structure is the system's and lives for the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounted.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
