//! What is left of attempts: processes that lost their parent. A task process is the subreaper of what
//! it starts, and this process is the subreaper of task processes: whatever an attempt leaves when its
//! process ends, under whatever session, group and environment, becomes a child of this process, and is
//! ended here. This process has no other children than tasks and such orphans.
//!
//! Where a cgroup holds the attempt, `cgroup` has ended all of it before; here the last are buried.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::process::FOLDER_VARIABLE;

/// Task processes that are not waited for yet: all others of this process' children are orphans. There
/// is one for the process, as there is one list of children.
static TASKS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Held while orphans are ended, so that no id is signalled after another thread has waited for it.
static ENDING: Mutex<()> = Mutex::new(());

/// How often orphans are looked for and killed before it is given up: they may be born faster, or hang
/// in the system.
const ROUNDS_MAX: u32 = 2000;
/// How long the end of a killed process is waited for in one of them.
const ROUND_MS: libc::c_int = 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes what tasks leave behind this process' children.
///
/// # Errors
/// When the system does not know of subreapers.
pub(crate) fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Starts a task process.
pub(crate) fn bear(start: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
    let mut tasks = lock(&TASKS);
    let pid = start()?;
    tasks.push(pid);
    Ok(pid)
}

/// Waits for a task process; does not block if it has ended.
pub(crate) fn bury(pid: Pid) -> io::Result<ExitStatus> {
    let mut tasks = lock(&TASKS);
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    tasks.retain(|task| *task != pid);
    let (_, status) = status?.ok_or(io::ErrorKind::NotFound)?;
    Ok(ExitStatus::from_raw(status.as_raw()))
}

/// Kills all orphans with their descendants and waits for them. How many there were.
pub(crate) fn end_all() -> usize {
    let _turn = lock(&ENDING);
    let mut ended = 0;
    for _ in 0..ROUNDS_MAX {
        let orphans = orphans();
        if orphans.is_empty() {
            return ended;
        }
        // A descendant is an orphan as soon as its parent is gone, and one of the next round.
        for orphan in family(orphans.clone()) {
            // ESRCH: gone already.
            let _ = rustix::process::kill_process(orphan, Signal::KILL);
        }
        let gone = |pid: &Pid| {
            let waited = rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG);
            matches!(waited, Ok(Some(_)))
        };
        let left: Vec<_> = orphans.iter().filter(|pid| !gone(pid)).collect();
        ended += orphans.len() - left.len();
        if let Some(pid) = left.first() {
            await_end(**pid);
        }
    }
    tracing::error!(left = orphans().len(), "processes of attempts that are over can't be ended");
    ended
}

/// Returns when a process has ended, or soon.
pub(crate) fn await_end(pid: Pid) {
    // ESRCH: gone already.
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut end = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: it is one entry, of a descriptor that is open as long as the call lasts.
    unsafe { libc::poll(&raw mut end, 1, ROUND_MS) };
}

fn orphans() -> Vec<Pid> {
    let tasks = lock(&TASKS);
    let mut children = children(rustix::process::getpid());
    children.retain(|child| !tasks.contains(child));
    children
}

/// These and all their descendants.
pub(crate) fn family(mut all: Vec<Pid>) -> Vec<Pid> {
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children(*pid));
        next += 1;
    }
    all
}

/// What the threads of a process have started or adopted; empty if it is gone.
fn children(pid: Pid) -> Vec<Pid> {
    let threads = format!("/proc/{}/task", pid.as_raw_nonzero());
    let Ok(threads) = std::fs::read_dir(threads) else { return Vec::new() };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| -> Vec<Pid> {
        list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    };
    lists.flat_map(pids).collect()
}

/// Kills every process whose environment says that it belongs to an attempt below `folder`: left over
/// by a TaskTracker that was killed. The number of processes killed.
pub(crate) fn kill_strays(folder: &Path) -> usize {
    let mark = format!("{FOLDER_VARIABLE}={}", folder.display());
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let mut killed = 0;
    for entry in processes.flatten() {
        let pid =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) else { continue };
        // Another user's process can't be read, and is none of ours.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let ours = environment.split(|byte| *byte == 0).any(|variable| {
            variable
                .strip_prefix(mark.as_bytes())
                .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        });
        if ours && rustix::process::kill_process(pid, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    killed
}
