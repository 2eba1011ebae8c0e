//! What a child does to itself between `clone` and `exec` so that it can't reach what is not its own: it joins a
//! namespace and leaves all but its own folder there, gives rights up, and takes the rules of a Landlock domain. It
//! shares all memory with the parent: system calls alone. Called by `vfork`.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use rustix::thread::CapabilitySet;

use super::{Confinement, Namespace};

/// Of the file system that an attempt's folder stands in, beside nothing.
const AROUND: &CStr = c"mode=0711,size=64k,nr_inodes=4";
const TMPFS: &CStr = c"tmpfs";
const EMPTY: &CStr = c"";

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What [`Self::apply`] reads, made before.
pub(crate) struct Walls {
    entry: Option<Entry>,
    /// Capabilities that can't be had again.
    dropped: Vec<c_int>,
    kept: [CapabilityData; 2],
    landlock: Option<RawFd>,
}

struct Entry {
    user: Option<RawFd>,
    mounts: RawFd,
    /// Where the disks' attempts are in the namespace as it was made.
    disks: CString,
    /// The attempt's folder among them.
    among_all: CString,
    /// Where it is to be: in this one, alone.
    around: CString,
    folder: CString,
    /// What in it takes the place of a folder that others share.
    private: Vec<(CString, CString)>,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Entry {
    fn new(namespace: &Namespace, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            user: namespace.user.as_ref().map(AsRawFd::as_raw_fd),
            mounts: namespace.mounts.as_raw_fd(),
            disks: c_path(&namespace.layout.disks())?,
            among_all: c_path(&namespace.layout.among_all(folder)?)?,
            around: c_path(folder.parent().unwrap_or(folder))?,
            folder: c_path(folder)?,
            private: namespace
                .layout
                .private()
                .iter()
                .map(|it| Ok((c_path(&folder.join(&it.name))?, c_path(&it.place)?)))
                .collect::<io::Result<_>>()?,
        })
    }

    /// # Safety
    /// As [`Walls::apply`].
    unsafe fn go_in(&self) -> bool {
        const NO_TEXT: *const libc::c_char = ptr::null();
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: system calls on descriptors that are open and on NUL-terminated strings that live.
        unsafe {
            let may = |user| libc::setns(user, libc::CLONE_NEWUSER) == 0;
            if !self.user.is_none_or(may)
                || libc::setns(self.mounts, libc::CLONE_NEWNS) != 0
                // What follows is this child's alone. What else processes of one user may leave for one another is only
                // in a system that has no namespaces of that kind, or has too many of them just now.
                || libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWIPC) != 0
                    && libc::unshare(libc::CLONE_NEWNS) != 0
            {
                return false;
            }
            let clone = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned();
            let at = libc::AT_FDCWD;
            let tree = libc::syscall(libc::SYS_open_tree, at, self.among_all.as_ptr(), clone);
            let Ok(tree @ 0..) = c_int::try_from(tree) else { return false };
            let (around, disks) = (self.around.as_ptr(), self.disks.as_ptr());
            let tmpfs = TMPFS.as_ptr();
            libc::mount(tmpfs, around, tmpfs, flags, AROUND.as_ptr().cast()) == 0
                // To take the disks away would wait for all processors.
                && libc::mount(around, disks, NO_TEXT, libc::MS_BIND, ptr::null()) == 0
                && libc::mkdir(self.folder.as_ptr(), 0o700) == 0
                && libc::syscall(
                    libc::SYS_move_mount,
                    tree,
                    EMPTY.as_ptr(),
                    at,
                    self.folder.as_ptr(),
                    libc::MOVE_MOUNT_F_EMPTY_PATH,
                ) == 0
                && libc::mount(
                    NO_TEXT,
                    around,
                    NO_TEXT,
                    flags | libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY,
                    ptr::null(),
                ) == 0
                && libc::close(tree) == 0
                && self.private.iter().all(|(own, place)| {
                    let (own, place) = (own.as_ptr(), place.as_ptr());
                    libc::mount(own, place, NO_TEXT, libc::MS_BIND, ptr::null()) == 0
                })
        }
    }
}

impl Walls {
    /// Those of `confinement`, around a child that works in `folder`.
    ///
    /// # Errors
    /// When the folder is no attempt's.
    pub(crate) fn new(confinement: &Confinement, folder: &Path) -> io::Result<Self> {
        let namespace = confinement.namespace.as_ref();
        let entry = namespace.map(|it| Entry::new(it.lent(), folder)).transpose()?;
        let kept = confinement.capabilities.kept.bits();
        let half = |bits: u64| {
            let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
            CapabilityData { effective: bits, permitted: bits, inheritable: 0 }
        };
        Ok(Self {
            entry,
            dropped: numbers(confinement.capabilities.dropped),
            kept: [half(kept), half(kept >> 32)],
            landlock: confinement.landlock.as_ref().map(AsRawFd::as_raw_fd),
        })
    }

    /// The descriptors that it needs, in their order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let entry = self.entry.as_ref();
        let of_entry = entry.into_iter().flat_map(|it| it.user.into_iter().chain([it.mounts]));
        let mut all: Vec<_> = of_entry.chain(self.landlock).collect();
        all.sort_unstable();
        all
    }

    /// Joins the namespace, if there is one: before the working directory is entered.
    ///
    /// # Safety
    /// Only in a child that is to call exec, and has no other thread.
    pub(crate) unsafe fn go_in(&self) -> bool {
        // SAFETY: as promised.
        self.entry.as_ref().is_none_or(|entry| unsafe { entry.go_in() })
    }

    /// Gives up what the superuser has beyond files, for good: after [`Self::go_in`], and only as long as the child
    /// is root.
    ///
    /// # Safety
    /// As [`Self::go_in`].
    pub(crate) unsafe fn give_up_rights(&self) -> bool {
        if self.dropped.is_empty() {
            return true;
        }
        let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
        // SAFETY: system calls; the structures are the system's and live for the call.
        unsafe {
            let drop =
                |it: &c_int| libc::prctl(libc::PR_CAPBSET_DROP, *it as libc::c_ulong, 0, 0, 0) == 0;
            self.dropped.iter().all(drop)
                && libc::syscall(libc::SYS_capset, &raw const header, self.kept.as_ptr()) == 0
        }
    }

    /// Takes the rules, if there are any: after the child has renounced to gain privileges.
    ///
    /// # Safety
    /// As [`Self::go_in`].
    pub(crate) unsafe fn take_rules(&self) -> bool {
        // SAFETY: a system call on a descriptor that is open.
        self.landlock.is_none_or(|rules| unsafe {
            libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) == 0
        })
    }
}

fn numbers(set: CapabilitySet) -> Vec<c_int> {
    (0..64).filter(|number| set.bits() & (1 << number) != 0).collect()
}
