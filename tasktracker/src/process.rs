//! Task processes: how one is started, waited for and killed with all its descendants. What runs, and
//! when it ends, is decided elsewhere.
//!
//! Children are spawned from threads that live as long as the [`Spawner`], one for each disk that they work on: the
//! parent-death signal fires when the *thread* that spawned ends, and no task outlives its TaskTracker; and a child that
//! hangs on its way into a folder, since the disk does, keeps those on other disks from nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use mapreduce_protocol::streaming::TASK_PATH;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tasktracker_core::{DiskNumber, Limits};
use tokio::sync::oneshot;

use crate::cgroup::Group;
use crate::isolation::{Confinement, Walls};
use crate::meter::Meter;
use crate::orphans;
use crate::vfork::{self, Start, StartError, Step};

/// The descriptor under which a child finds its channel.
pub(crate) const CHANNEL_FD: i32 = 3;

/// Names the attempt's folder in the environment of its processes: what a later TaskTracker process
/// recognizes left-over ones by.
pub(crate) const FOLDER_VARIABLE: &str = "HOWDAH_ATTEMPT_FOLDER";

/// Beyond its limit: so that one that goes beyond is seen to, and ends for that.
const SPARE_PROCESSES: u32 = 8;

/// What to run.
#[derive(Debug)]
pub(crate) struct Executable {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Also its working directory.
    pub(crate) folder: PathBuf,
    /// Facts for the program, beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The cgroups that it runs in, if there are any.
    pub(crate) group: Option<Group>,
    /// What it is held to.
    pub(crate) limits: Limits,
    /// Who it runs as; as this process if absent.
    pub(crate) uid: Option<u32>,
    /// The disk that its folder is on; none for what is this daemon's own.
    pub(crate) disk: Option<DiskNumber>,
    /// What keeps it from what is not its own, if anything does.
    pub(crate) confinement: Option<Arc<Confinement>>,
}

/// A running child. Unless it is followed to its end, it ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    /// Parent's end of the channel.
    pub(crate) channel: UnixStream,
    /// What it writes to standard output and error.
    pub(crate) log: io::PipeReader,
    /// Resolves when the process and all its descendants are gone.
    pub(crate) exit: oneshot::Receiver<ExitStatus>,
    pub(crate) killer: Killer,
    pub(crate) meter: Meter,
    /// To be kept as long as the child may run.
    pub(crate) leash: Leash,
}

/// Kills its process with the group when dropped: whoever waits for a child may stop to at any moment,
/// even while the child is on its way to them.
#[derive(Debug)]
pub(crate) struct Leash(Killer);

impl Leash {
    pub(crate) fn killer(&self) -> &Killer {
        &self.0
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Kills a process with its group; harmless when they are gone.
#[derive(Clone, Debug)]
pub(crate) struct Killer {
    pid: Pid,
    /// Until the child is waited for, its id can't be another's.
    reaped: Arc<Mutex<bool>>,
}

impl Killer {
    pub(crate) fn kill(&self) {
        let reaped = self.lock();
        if !*reaped {
            kill_group(self.pid);
        }
    }

    /// Where the system shows one of its namespaces.
    pub(crate) fn namespace(&self, name: &str) -> PathBuf {
        format!("/proc/{}/ns/{name}", self.pid.as_raw_nonzero()).into()
    }

    /// Whether anything of its group lives: after its exit only what hangs in the system, where no signal arrives.
    pub(crate) fn group_lives(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid) != Err(Errno::SRCH)
    }

    /// Blocks until the process ends, then ends all that it has left.
    fn wait(&self, group: Option<&Group>) -> io::Result<ExitStatus> {
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(self.pid), exited) {}
        let status = {
            let mut reaped = self.lock();
            kill_group(self.pid);
            *reaped = true;
            orphans::bury(self.pid)
        };
        if let Some(group) = group {
            group.end();
        }
        let ended = orphans::end_all();
        if ended > 0 {
            tracing::debug!(
                ended,
                "ended processes that an attempt or the health command has left"
            );
        }
        status
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill_group(pid: Pid) {
    if let Err(error) = rustix::process::kill_process_group(pid, Signal::KILL) {
        // ESRCH: all gone already.
        tracing::debug!(pid = pid.as_raw_nonzero(), %error, "no process group to kill");
    }
}

struct Request {
    executable: Executable,
    reply: oneshot::Sender<Result<Process, StartError>>,
}

/// Starts children from its own threads. When the last clone is dropped, the threads end and with them
/// every child.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    threads: Arc<Mutex<BTreeMap<Option<DiskNumber>, mpsc::Sender<Request>>>>,
}

impl Spawner {
    /// From here on, no descriptor that this process has inherited is passed on to its children.
    pub(crate) fn start() -> io::Result<Self> {
        close_all_on_exec()?;
        orphans::adopt()?;
        let own = thread_for(None)?;
        Ok(Self { threads: Arc::new(Mutex::new(BTreeMap::from([(None, own)]))) })
    }

    /// The thread of a disk, begun when it is first wanted.
    fn of_disk(&self, disk: Option<DiskNumber>) -> io::Result<mpsc::Sender<Request>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        match threads.entry(disk) {
            Entry::Occupied(thread) => Ok(thread.get().clone()),
            Entry::Vacant(place) => Ok(place.insert(thread_for(disk)?).clone()),
        }
    }

    /// Starts a child; it runs when this returns.
    ///
    /// # Errors
    /// When it can't be executed or confined, or the system has no resources for it.
    pub(crate) async fn spawn(&self, executable: Executable) -> Result<Process, StartError> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spawning thread has ended");
        let thread = self.of_disk(executable.disk)?;
        thread.send(Request { executable, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Begins a thread that starts children as long as anybody may ask it to.
fn thread_for(disk: Option<DiskNumber>) -> io::Result<mpsc::Sender<Request>> {
    let null = File::open("/dev/null")?;
    let (requests, incoming) = mpsc::channel::<Request>();
    let name = disk.map_or_else(|| "spawner".to_owned(), |disk| format!("spawner-{}", disk.0));
    std::thread::Builder::new().name(name).spawn(move || {
        for Request { executable, reply } in incoming {
            // If nobody waits for it any more, its leash ends it.
            drop(reply.send(spawn(executable, &null)));
        }
    })?;
    Ok(requests)
}

fn spawn(executable: Executable, null: &File) -> Result<Process, StartError> {
    let (channel, childs_end) = UnixStream::pair()?;
    channel.set_nonblocking(true)?;
    let (log, log_writer) = io::pipe()?;
    if let Some(uid) = executable.uid {
        // Else it could write to its standard output, but not open it by name.
        rustix::fs::fchown(&log_writer, Some(rustix::fs::Uid::from_raw(uid)), None)
            .map_err(io::Error::from)?;
    }
    let confinement = executable.confinement.as_deref();
    let walls = confinement.map(|it| Walls::new(it, &executable.folder)).transpose();
    let child = Start {
        path: &executable.path,
        arguments: &executable.arguments,
        environment: environment(&executable)?,
        folder: &executable.folder,
        open_files: executable.limits.open_files.into(),
        user: executable
            .uid
            .map(|uid| (uid, (executable.limits.processes + SPARE_PROCESSES).into())),
        walls: walls.map_err(StartError::at(Step::Walls))?,
        entrances: executable.group.as_ref().map_or_else(Vec::new, Group::entrances),
        stdin: null.as_fd(),
        stdout: log_writer.as_fd(),
        channel: childs_end.as_fd(),
        channel_number: CHANNEL_FD,
    };
    let pid = orphans::bear(|| vfork::start(&child))?;
    let killer = Killer { pid, reaped: Arc::new(Mutex::new(false)) };
    let group = executable.group.map(Arc::new);
    let exit = wait_on_thread(&killer, group.clone())?;
    let leash = Leash(killer.clone());
    let meter = Meter::new(pid, executable.folder, group, executable.limits);
    Ok(Process { channel, log, exit, killer, meter, leash })
}

fn environment(executable: &Executable) -> io::Result<Vec<CString>> {
    let folder = executable.folder.as_os_str().as_bytes();
    let mut variables =
        vec![vfork::c_string(format!("PATH={TASK_PATH}"))?, vfork::c_string("LANG=C.UTF-8")?];
    for name in ["HOME", "TMPDIR", FOLDER_VARIABLE] {
        variables.push(vfork::c_string([name.as_bytes(), b"=", folder].concat())?);
    }
    for (name, value) in &executable.environment {
        variables.push(vfork::c_string(format!("{name}={value}"))?);
    }
    Ok(variables)
}

/// Waits for the child on a thread of its own; its process group is killed before the child's id is free
/// again.
fn wait_on_thread(
    killer: &Killer,
    group: Option<Arc<Group>>,
) -> io::Result<oneshot::Receiver<ExitStatus>> {
    let (done, exit) = oneshot::channel();
    let waiting = killer.clone();
    let wait = move || match waiting.wait(group.as_deref()) {
        // The receiver is gone only if the daemon is ending.
        Ok(status) => drop(done.send(status)),
        Err(error) => tracing::error!(%error, "a child could not be waited for"),
    };
    if let Err(error) = std::thread::Builder::new().name("waiter".to_owned()).spawn(wait) {
        killer.kill();
        killer.wait(None)?;
        return Err(error);
    }
    Ok(exit)
}

/// Marks every descriptor but the standard ones to be closed on exec: one that was inherited without
/// that mark would be passed on to user code.
fn close_all_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|number| *number > 2) else { continue };
        // SAFETY: the number is only used for one fcntl; if it was closed meanwhile, that fails.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = rustix::io::fcntl_getfd(fd) {
            // Fails only for a descriptor that is gone, like the one of this listing.
            let _ = rustix::io::fcntl_setfd(fd, flags | rustix::io::FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
