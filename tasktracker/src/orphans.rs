//! What is left of attempts: processes that lost their parent. A task process is the subreaper of what
//! it starts, and this process is the subreaper of task processes: whatever an attempt leaves when its
//! process ends, under whatever session, group and environment, becomes a child of this process, and is
//! ended here. This process has no other children than tasks, the health command, which is started like one
//! and leaves as much behind, and such orphans.
//!
//! Where a cgroup holds the attempt, `cgroup` has ended all of it before; here the last are buried.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::num::NonZeroI32;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::process::FOLDER_VARIABLE;

/// All that this process' children may be but orphans. There is one for the process, as there is one list of children.
static TASKS: Mutex<Tasks> =
    Mutex::new(Tasks { alive: Vec::new(), births: BTreeSet::new(), mothers: BTreeSet::new() });

struct Tasks {
    /// Task processes that are not waited for yet.
    alive: Vec<Pid>,
    /// Threads that are about to start one: what such a thread has given birth to is none of the orphans.
    births: BTreeSet<NonZeroI32>,
    /// Threads that have started one, as long as they live.
    mothers: BTreeSet<NonZeroI32>,
}

impl Tasks {
    /// The children of this process, without those of threads that are just starting one. The kernel gives orphans to the
    /// first live thread, the main one. Of the other threads only those that have started a task can have children: a
    /// program may start processes with `CLONE_PARENT`. Asking every thread would cost as much as a small task.
    fn children(&mut self) -> Vec<Pid> {
        let own = rustix::process::getpid();
        let mut found = Vec::new();
        let mut ask = |thread: NonZeroI32| {
            let children = children_of(own, thread);
            let lives = children.is_some();
            found.extend(children.unwrap_or_default());
            lives
        };
        if !self.births.contains(&own.as_raw_nonzero()) {
            ask(own.as_raw_nonzero());
        }
        let births = &self.births;
        self.mothers.retain(|mother| births.contains(mother) || ask(*mother));
        found
    }
}

/// Held while orphans are ended, so that no id is signalled after another thread has waited for it.
static ENDING: Mutex<Tries> = Mutex::new(Tries(BTreeMap::new()));

/// How often orphans are looked for and killed before it is given up, for this time: they may be born faster.
/// And how often one of them is killed, in all: it hangs in the system.
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

/// Starts a task process. That may take long, where a disk hangs, and keeps nobody else waiting.
pub(crate) fn bear<E>(start: impl FnOnce() -> Result<Pid, E>) -> Result<Pid, E> {
    let thread = rustix::thread::gettid().as_raw_nonzero();
    lock(&TASKS).births.insert(thread);
    let born = start();
    let mut tasks = lock(&TASKS);
    tasks.births.remove(&thread);
    if thread != rustix::process::getpid().as_raw_nonzero() {
        tasks.mothers.insert(thread);
    }
    tasks.alive.extend(born.as_ref().ok());
    born
}

/// Waits for a task process; does not block if it has ended.
pub(crate) fn bury(pid: Pid) -> io::Result<ExitStatus> {
    let mut tasks = lock(&TASKS);
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    tasks.alive.retain(|task| *task != pid);
    let (_, status) = status?.ok_or(io::ErrorKind::NotFound)?;
    Ok(ExitStatus::from_raw(status.as_raw()))
}

/// Kills all orphans with their descendants and waits for them. How many there were. Those that hang in the
/// system, and outlived it once, are left alone.
pub(crate) fn end_all() -> usize {
    lock(&ENDING).end_all(&Children)
}

/// How often each orphan was killed in vain. As long as nobody has waited for it, its id is no other's.
#[derive(Debug, Default)]
struct Tries(BTreeMap<NonZeroI32, u32>);

impl Tries {
    fn end_all(&mut self, system: &impl System) -> usize {
        let mut ended = 0;
        for _ in 0..ROUNDS_MAX {
            let (given_up, orphans) = self.parted(system.orphans());
            for pid in given_up {
                if system.bury(pid) {
                    self.0.remove(&pid.as_raw_nonzero());
                    tracing::info!(pid = pid.as_raw_nonzero(), "a process that hung ended at last");
                }
            }
            if orphans.is_empty() {
                return ended;
            }
            // A descendant is an orphan as soon as its parent is gone, and one of the next round.
            system.kill(orphans.clone());
            let (gone, left): (Vec<_>, Vec<_>) =
                orphans.into_iter().partition(|pid| system.bury(*pid));
            ended += gone.len();
            for pid in gone {
                self.0.remove(&pid.as_raw_nonzero());
            }
            if let Some(pid) = left.first() {
                system.await_end(*pid);
            }
            for pid in left {
                self.count(pid);
            }
        }
        let (_, left) = self.parted(system.orphans());
        if !left.is_empty() {
            tracing::error!(left = left.len(), "processes are born faster than they can be ended");
        }
        ended
    }

    /// Those that are given up, and the others.
    fn parted(&self, orphans: Vec<Pid>) -> (Vec<Pid>, Vec<Pid>) {
        let is_given_up =
            |pid: &Pid| self.0.get(&pid.as_raw_nonzero()).is_some_and(|n| *n >= ROUNDS_MAX);
        orphans.into_iter().partition(is_given_up)
    }

    /// It was killed, and lives.
    fn count(&mut self, pid: Pid) {
        let tries = self.0.entry(pid.as_raw_nonzero()).or_default();
        *tries += 1;
        if *tries == ROUNDS_MAX {
            tracing::error!(
                pid = pid.as_raw_nonzero(),
                "a process that an attempt or the health command has left can't be ended: it hangs in \
                 the system, as with a disk or a server that does not answer; it is left alone until it ends"
            );
        }
    }
}

/// What is done with orphans. Tests have another one, where processes hang.
trait System {
    fn orphans(&self) -> Vec<Pid>;
    /// Kills these and all their descendants.
    fn kill(&self, orphans: Vec<Pid>);
    /// Waits for one if it has ended; whether it has.
    fn bury(&self, orphan: Pid) -> bool;
    /// Returns when it has ended, or soon.
    fn await_end(&self, orphan: Pid);
}

/// This process' own.
struct Children;

impl System for Children {
    fn orphans(&self) -> Vec<Pid> {
        let mut tasks = lock(&TASKS);
        let mut children = tasks.children();
        children.retain(|child| !tasks.alive.contains(child));
        children
    }

    fn kill(&self, orphans: Vec<Pid>) {
        for orphan in family(orphans) {
            // ESRCH: gone already.
            let _ = rustix::process::kill_process(orphan, Signal::KILL);
        }
    }

    fn bury(&self, orphan: Pid) -> bool {
        let waited = rustix::process::waitpid(Some(orphan), WaitOptions::NOHANG);
        matches!(waited, Ok(Some(_)))
    }

    fn await_end(&self, orphan: Pid) {
        await_end(orphan);
    }
}

/// Returns when a process has ended, or soon.
pub(crate) fn await_end(pid: Pid) {
    // ESRCH: gone already.
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut end = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: it is one entry, of a descriptor that is open as long as the call lasts.
    unsafe { libc::poll(&raw mut end, 1, ROUND_MS) };
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
    let number = |name: &OsStr| name.to_str().and_then(|name| name.parse().ok());
    let threads = threads.flatten().filter_map(|thread| number(&thread.file_name()));
    threads.filter_map(|thread| children_of(pid, thread)).flatten().collect()
}

/// Those of one thread; none if it is gone.
fn children_of(pid: Pid, thread: NonZeroI32) -> Option<Vec<Pid>> {
    let path = format!("/proc/{}/task/{thread}/children", pid.as_raw_nonzero());
    let list = std::fs::read_to_string(path).ok()?;
    Some(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const MORTAL: i32 = 7;
    const HUNG: i32 = 8;

    /// Where [`HUNG`] does not end, however often it is killed.
    #[derive(Default)]
    struct Hanging {
        living: RefCell<Vec<i32>>,
        zombies: RefCell<Vec<i32>>,
        kills: Cell<u32>,
    }

    impl Hanging {
        fn ends(&self, pid: i32) {
            self.living.borrow_mut().retain(|it| *it != pid);
            self.zombies.borrow_mut().push(pid);
        }
    }

    impl System for Hanging {
        fn orphans(&self) -> Vec<Pid> {
            let (living, zombies) = (self.living.borrow(), self.zombies.borrow());
            living.iter().chain(zombies.iter()).filter_map(|pid| Pid::from_raw(*pid)).collect()
        }

        fn kill(&self, orphans: Vec<Pid>) {
            for pid in orphans.into_iter().map(|pid| pid.as_raw_nonzero().get()) {
                self.kills.set(self.kills.get() + 1);
                if pid != HUNG {
                    self.ends(pid);
                }
            }
        }

        fn bury(&self, orphan: Pid) -> bool {
            let mut zombies = self.zombies.borrow_mut();
            let before = zombies.len();
            zombies.retain(|pid| *pid != orphan.as_raw_nonzero().get());
            zombies.len() < before
        }

        fn await_end(&self, _: Pid) {}
    }

    #[test]
    fn a_start_that_hangs_keeps_no_other_from_starting_and_ending() {
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        let (begin, has_begun) = std::sync::mpsc::channel();
        let hanging = std::thread::spawn(move || {
            bear(|| {
                begin.send(()).unwrap();
                hangs.recv().map_err(drop)?;
                Err::<Pid, ()>(())
            })
        });
        has_begun.recv().unwrap();
        let (done, has_ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let start = || std::process::Command::new("/bin/true").spawn();
            let pid = bear(|| start().map(|child| Pid::from_child(&child))).unwrap();
            let status = bury(pid).unwrap();
            done.send(status.success()).unwrap();
        });
        assert_eq!(has_ended.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
        go_on.send(()).unwrap();
        assert_eq!(hanging.join().unwrap(), Err(()));
    }

    #[test]
    fn what_a_thread_that_starts_tasks_has_left_is_ended_too() {
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let mother = std::thread::spawn(move || {
            let start = |path: &str| std::process::Command::new(path).arg("60").spawn();
            let task = bear(|| start("/bin/true").map(|child| Pid::from_child(&child))).unwrap();
            assert!(bury(task).unwrap().success());
            // As one that a task has started with CLONE_PARENT: it is this thread's child, and no task.
            tell.send(Pid::from_child(&start("/bin/sleep").unwrap())).unwrap();
            waits.recv().unwrap();
        });
        let stray = told.recv().unwrap();
        end_all();
        assert_eq!(rustix::process::test_kill_process(stray), Err(rustix::io::Errno::SRCH));
        go_on.send(()).unwrap();
        mother.join().unwrap();
    }

    #[test]
    fn one_that_hangs_is_waited_for_once_and_buried_when_it_ends_at_last() {
        let (system, mut tries) = (Hanging::default(), Tries::default());
        system.living.borrow_mut().extend([HUNG, MORTAL]);
        assert_eq!(tries.end_all(&system), 1);
        assert_eq!(system.kills.take(), ROUNDS_MAX + 1);
        system.living.borrow_mut().push(MORTAL);
        assert_eq!(tries.end_all(&system), 1, "the others end as ever");
        assert_eq!(system.kills.take(), 1, "it is left alone");
        system.ends(HUNG);
        assert_eq!(tries.end_all(&system), 0);
        assert!(system.orphans().is_empty(), "nothing is left unburied");
        system.living.borrow_mut().push(HUNG);
        tries.end_all(&system);
        assert_eq!(system.kills.take(), ROUNDS_MAX, "its id may be another's by now");
    }
}
