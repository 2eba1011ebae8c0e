//! How a child comes to run: `clone` as `vfork` does it, then `exec`. The calling thread stands still
//! until the child has another program, and no page of this process is copied: with `fork`, which the
//! standard library falls back to as soon as a child must prepare itself, a start costs milliseconds that
//! grow with the tracker's memory. (glibc's `posix_spawn` works the same way, but knows no parent-death
//! signal.)
//!
//! All the system calls between `clone` and `exec` are in [`in_child`]. Called by `process` alone.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use rustix::process::Pid;

use crate::cgroup::MYSELF;
use crate::clone3;
use crate::isolation::Walls;

/// More than [`in_child`] and `exec` need.
const STACK_BYTES: usize = 64 << 10;

/// A core would fill the disk, and its folder goes with the attempt anyway.
static NO_CORE: libc::rlimit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };

/// What a child gets.
pub(crate) struct Start<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: &'a [String],
    /// `NAME=value`.
    pub(crate) environment: Vec<CString>,
    pub(crate) folder: &'a Path,
    /// How many files it may have open, as far as this process may.
    pub(crate) open_files: u64,
    /// Who it is to run as, and how many processes and threads that user may have; as this process if absent.
    pub(crate) user: Option<(u32, u64)>,
    /// What it is confined by.
    pub(crate) walls: Option<Walls>,
    /// The groups that it is to be in.
    pub(crate) entrances: Vec<Entrance<'a>>,
    pub(crate) stdin: BorrowedFd<'a>,
    /// Also standard error.
    pub(crate) stdout: BorrowedFd<'a>,
    /// The descriptor that it finds under the number `channel_number`.
    pub(crate) channel: BorrowedFd<'a>,
    pub(crate) channel_number: c_int,
}

/// The way into a cgroup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance<'a> {
    /// A process with one thread that writes [`MYSELF`] into it joins.
    pub(crate) join: BorrowedFd<'a>,
    /// The group's folder, if a process can be born in it; in one group at most.
    pub(crate) birthplace: Option<BorrowedFd<'a>>,
}

/// What [`in_child`] reads, made before: it may not allocate.
struct Plan<'a> {
    parent: libc::pid_t,
    path: CString,
    folder: CString,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    open_files: libc::rlimit,
    user: Option<(libc::uid_t, libc::rlimit)>,
    walls: Option<&'a Walls>,
    entrances: Vec<c_int>,
    stdin: c_int,
    stdout: c_int,
    channel: c_int,
    channel_number: c_int,
    /// What else of this process' descriptors it needs, in their order.
    kept: Vec<c_int>,
    /// What the child is at.
    step: Step,
    /// Why the program could not be started; read by the parent when the child has ended.
    errno: c_int,
}

/// What a start may fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To make a process and what it is given.
    Process,
    /// To keep it from what is not its own.
    Walls,
    /// To execute the program.
    Program,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct StartError {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

impl StartError {
    pub(crate) fn at(step: Step) -> impl Fn(io::Error) -> Self {
        move |source| Self { step, source }
    }
}

/// What fails elsewhere is not the program's fault.
impl From<io::Error> for StartError {
    fn from(source: io::Error) -> Self {
        Self { step: Step::Process, source }
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        error.source
    }
}

/// A NUL-terminated copy.
///
/// # Errors
/// When the text holds a NUL.
pub(crate) fn c_string(text: impl AsRef<[u8]>) -> io::Result<CString> {
    CString::new(text.as_ref()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain(std::iter::once(ptr::null())).collect()
}

/// Starts a child in a process group of its own, which is killed when the calling thread ends. Orphans
/// among its descendants become its children, as long as it does not refuse them. All
/// signals are as they are by default. It runs the program when this returns.
///
/// # Errors
/// When the program can't be executed or kept in its walls, or the system has no room for a process.
pub(crate) fn start(child: &Start<'_>) -> Result<Pid, StartError> {
    let of_program = StartError::at(Step::Program);
    let path = c_string(child.path.as_os_str().as_bytes()).map_err(&of_program)?;
    let mut arguments = vec![path.clone()];
    for argument in child.arguments {
        arguments.push(c_string(argument).map_err(&of_program)?);
    }
    let mut plan = Plan {
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        path,
        folder: c_string(child.folder.as_os_str().as_bytes())?,
        arguments: pointers(&arguments),
        environment: pointers(&child.environment),
        open_files: at_most(child.open_files),
        user: child.user.map(|(uid, processes)| (uid, both(processes))),
        walls: child.walls.as_ref(),
        entrances: Vec::new(),
        stdin: child.stdin.as_raw_fd(),
        stdout: child.stdout.as_raw_fd(),
        channel: child.channel.as_raw_fd(),
        channel_number: child.channel_number,
        kept: child.walls.as_ref().map_or_else(Vec::new, Walls::descriptors),
        step: Step::Process,
        errno: 0,
    };
    let pid = with_signals_blocked(|| make(&mut plan, &child.entrances))?;
    // SAFETY: the child has written it, if at all, before this thread went on.
    let (step, errno) = unsafe {
        (ptr::read_volatile(&raw const plan.step), ptr::read_volatile(&raw const plan.errno))
    };
    let pid = Pid::from_raw(pid).ok_or_else(io::Error::last_os_error)?;
    if errno != 0 {
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            .map_err(io::Error::from)?;
        return Err(StartError { step, source: io::Error::from_raw_os_error(errno) });
    }
    Ok(pid)
}

/// Makes the child, in its groups: it is born in one, if that can be, and joins the others.
fn make(plan: &mut Plan<'_>, entrances: &[Entrance<'_>]) -> c_int {
    let joins = |it: &&Entrance<'_>| it.birthplace.is_none();
    plan.entrances = entrances.iter().filter(joins).map(|it| it.join.as_raw_fd()).collect();
    let all = entrances.iter().map(|it| it.join.as_raw_fd()).collect();
    let mut stack = vec![0_u8; STACK_BYTES];
    // SAFETY: the stack is ours and large enough, and its upper end is aligned for all targets. With
    // CLONE_VFORK this thread goes on only when the child has called exec or ended, so `plan`, what
    // it points to, and the stack live long enough and are not touched by two at once. The child
    // runs `in_child` alone, which only makes system calls and does not return.
    unsafe {
        let end = stack.as_mut_ptr().add(STACK_BYTES);
        let unaligned = end.addr() & 63;
        let end = end.sub(unaligned).cast::<c_void>();
        let birthplace = entrances.iter().find_map(|it| it.birthplace);
        let born = birthplace.and_then(|group| {
            let stack = (end, STACK_BYTES - unaligned);
            clone3::born_in(group, stack, in_child, ptr::from_mut(plan).cast())
        });
        if let Some(pid) = born {
            return pid;
        }
        plan.entrances = all;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(in_child, end, flags, ptr::from_mut(plan).cast())
    }
}

/// A limit of open files: nobody may give more than they have.
fn at_most(wanted: u64) -> libc::rlimit {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = own.maximum.map_or(wanted, |own| own.min(wanted));
    both(limit)
}

fn both(limit: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur: limit, rlim_max: limit }
}

/// Calls `clone` while no signal can be delivered to this thread, or to the child before it has reset
/// the handlers that it shares this memory with.
fn with_signals_blocked(clone: impl FnOnce() -> c_int) -> io::Result<c_int> {
    // SAFETY: both sets are plain data that the calls below fill.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the sets live for the whole call, and only this thread's mask is changed.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let pid = clone();
    let failed = (pid < 0).then(io::Error::last_os_error);
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    failed.map_or(Ok(pid), Err)
}

/// The child, until it is another program. It shares all memory with the parent: no allocation, no
/// lock, no panic, only system calls on what `plan` holds.
extern "C" fn in_child(plan: *mut c_void) -> c_int {
    // SAFETY: `start` passes its plan and stands still while this runs.
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        if become_program(plan) != 0 {
            ptr::write_volatile(&raw mut plan.errno, *libc::__errno_location());
        }
        libc::_exit(127)
    }
}

/// Returns only if it fails, with `errno` set and the step noted.
///
/// # Safety
/// Only in the child of `start`, with its plan.
unsafe fn become_program(plan: &mut Plan<'_>) -> c_int {
    // SAFETY: as promised; the note is for the parent, which stands still.
    unsafe {
        let step = &raw mut plan.step;
        if !take_what_is_given(plan) {
            return -1;
        }
        close_the_rest(plan);
        ptr::write_volatile(step, Step::Walls);
        if !plan.walls.is_none_or(|walls| walls.go_in()) {
            return -1;
        }
        ptr::write_volatile(step, Step::Process);
        if libc::chdir(plan.folder.as_ptr()) != 0 || !become_user(plan.user.as_ref()) {
            return -1;
        }
        ptr::write_volatile(step, Step::Walls);
        if !renounce(plan) {
            return -1;
        }
        ptr::write_volatile(step, Step::Process);
        // Changing the user takes it away.
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != plan.parent
        {
            return -1;
        }
        reset_signals();
        ptr::write_volatile(step, Step::Program);
        let path: &CStr = &plan.path;
        libc::execve(path.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr())
    }
}

/// Its group, cgroups, limits and descriptors.
///
/// # Safety
/// As [`become_program`].
unsafe fn take_what_is_given(plan: &Plan<'_>) -> bool {
    // SAFETY: plain system calls; what they read is kept alive by `start`.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64) == 0
            && libc::setpgid(0, 0) == 0
            && join(&plan.entrances)
            && libc::setrlimit(libc::RLIMIT_NOFILE, &raw const plan.open_files) == 0
            && libc::setrlimit(libc::RLIMIT_CORE, &raw const NO_CORE) == 0
            && libc::dup2(plan.stdin, 0) >= 0
            && libc::dup2(plan.stdout, 1) >= 0
            && libc::dup2(plan.stdout, 2) >= 0
            && place(plan.channel, plan.channel_number) >= 0
    }
}

/// Closes what is another child's. All of it would go with `exec`, but a child may hang before that, in a disk: the others'
/// pipes must end all the same.
///
/// # Safety
/// As [`become_program`].
unsafe fn close_the_rest(plan: &Plan<'_>) {
    let mut first = plan.channel_number + 1;
    for kept in plan.kept.iter().chain(&[c_int::MAX]) {
        if first < *kept {
            // SAFETY: a plain system call on the child's own table. Where the system does not know it, nothing is closed.
            unsafe { libc::syscall(libc::SYS_close_range, first, *kept - 1, 0) };
        }
        first = first.max(kept.saturating_add(1));
    }
}

/// Gives up rights, and the hope of more.
///
/// # Safety
/// As [`become_program`].
unsafe fn renounce(plan: &Plan<'_>) -> bool {
    // SAFETY: plain system calls.
    unsafe {
        plan.walls.is_none_or(|walls| plan.user.is_some() || walls.give_up_rights())
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) == 0
            && plan.walls.is_none_or(|walls| walls.take_rules())
    }
}

/// Before any can be delivered: a handler would run in the parent's memory.
///
/// # Safety
/// As [`become_program`].
unsafe fn reset_signals() {
    // SAFETY: plain system calls on a set that lives. SIGKILL, SIGSTOP and two of glibc's own can't be set, and have no
    // handler.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Gives up being this process' user, if there is another one.
///
/// # Safety
/// As [`become_program`].
unsafe fn become_user(user: Option<&(libc::uid_t, libc::rlimit)>) -> bool {
    let Some((uid, processes)) = user else { return true };
    // SAFETY: plain system calls; those of the C library would change the users of the parent's threads.
    // As long as the memory is the parent's, nobody else is this user, who could do it harm.
    unsafe {
        let no_groups: *const libc::gid_t = ptr::null();
        libc::setrlimit(libc::RLIMIT_NPROC, ptr::from_ref(processes)) == 0
            && libc::syscall(libc::SYS_setgroups, 0_usize, no_groups) == 0
            && libc::syscall(libc::SYS_setresgid, *uid, *uid, *uid) == 0
            && libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) == 0
    }
}

/// Goes into cgroups.
///
/// # Safety
/// As [`become_program`].
unsafe fn join(entrances: &[c_int]) -> bool {
    let entered = |entrance: &c_int| {
        // SAFETY: a system call on bytes that live for ever.
        let written = unsafe { libc::write(*entrance, MYSELF.as_ptr().cast(), MYSELF.len()) };
        written == MYSELF.len().cast_signed()
    };
    entrances.iter().all(entered)
}

/// Puts a descriptor under a number, open over exec.
///
/// # Safety
/// As [`become_program`].
unsafe fn place(descriptor: c_int, number: c_int) -> c_int {
    // SAFETY: system calls on numbers of the child's own table.
    unsafe {
        if descriptor == number {
            libc::fcntl(descriptor, libc::F_SETFD, 0)
        } else {
            libc::dup2(descriptor, number)
        }
    }
}
