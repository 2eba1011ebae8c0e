//! Task processes: how one is started, waited for and killed with all its descendants. What runs, and
//! when it ends, is decided elsewhere.
//!
//! All children are spawned from one thread that lives as long as the [`Spawner`]: the parent-death
//! signal fires when the *thread* that spawned ends, and no task outlives its TaskTracker.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::oneshot;

use crate::cgroup::Group;
use crate::orphans;
use crate::vfork::{self, Start};

/// The descriptor under which a child finds its channel.
pub(crate) const CHANNEL_FD: i32 = 3;

/// Names the attempt's folder in the environment of its processes: what a later TaskTracker process
/// recognizes left-over ones by.
pub(crate) const FOLDER_VARIABLE: &str = "HOWDAH_ATTEMPT_FOLDER";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    /// To be kept as long as the child may run.
    pub(crate) leash: Leash,
}

/// Kills its process with the group when dropped: whoever waits for a child may stop to at any moment,
/// even while the child is on its way to them.
#[derive(Debug)]
pub(crate) struct Leash(Killer);

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

    /// Blocks until the process ends, then ends all that it has left.
    fn wait(&self, group: Option<Group>) -> io::Result<ExitStatus> {
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(self.pid), exited) {}
        let status = {
            let mut reaped = self.lock();
            kill_group(self.pid);
            *reaped = true;
            orphans::bury(self.pid)
        };
        drop(group);
        let ended = orphans::end_all();
        if ended > 0 {
            tracing::debug!(ended, "ended processes that an attempt has left");
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
    reply: oneshot::Sender<io::Result<Process>>,
}

/// Starts children from its own thread. When the last clone is dropped, the thread ends and with it
/// every child.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread. From here on, no descriptor that this process has inherited is passed on to
    /// its children.
    pub(crate) fn start() -> io::Result<Self> {
        close_all_on_exec()?;
        orphans::adopt()?;
        let null = File::open("/dev/null")?;
        let (requests, incoming) = mpsc::channel::<Request>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for Request { executable, reply } in incoming {
                // If nobody waits for it any more, its leash ends it.
                drop(reply.send(spawn(executable, &null)));
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts a child; it runs when this returns.
    ///
    /// # Errors
    /// When it can't be executed, or the system has no resources for it.
    pub(crate) async fn spawn(&self, executable: Executable) -> io::Result<Process> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spawning thread has ended");
        self.requests.send(Request { executable, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn spawn(executable: Executable, null: &File) -> io::Result<Process> {
    let (channel, childs_end) = UnixStream::pair()?;
    channel.set_nonblocking(true)?;
    let (log, log_writer) = io::pipe()?;
    let child = Start {
        path: &executable.path,
        arguments: &executable.arguments,
        environment: environment(&executable)?,
        folder: &executable.folder,
        entrances: executable.group.as_ref().map_or_else(Vec::new, Group::entrances),
        stdin: null.as_fd(),
        stdout: log_writer.as_fd(),
        channel: childs_end.as_fd(),
        channel_number: CHANNEL_FD,
    };
    let pid = orphans::bear(|| vfork::start(&child))?;
    let killer = Killer { pid, reaped: Arc::new(Mutex::new(false)) };
    let exit = wait_on_thread(&killer, executable.group)?;
    let leash = Leash(killer.clone());
    Ok(Process { channel, log, exit, killer, leash })
}

fn environment(executable: &Executable) -> io::Result<Vec<CString>> {
    let folder = executable.folder.as_os_str().as_bytes();
    let mut variables = vec![vfork::c_string(PATH)?, vfork::c_string("LANG=C.UTF-8")?];
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
    group: Option<Group>,
) -> io::Result<oneshot::Receiver<ExitStatus>> {
    let (done, exit) = oneshot::channel();
    let waiting = killer.clone();
    let wait = move || match waiting.wait(group) {
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
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;

    use super::*;
    use crate::cgroup::{Cgroups, Controller};

    fn shell(script: &str, folder: &Path) -> Executable {
        Executable {
            path: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            folder: folder.to_owned(),
            environment: vec![("HOWDAH_JOB_ID", "job_20261122_0001".to_owned())],
            group: None,
        }
    }

    /// Everything written to the log: returns when all processes that hold it are gone.
    async fn log_to_its_end(mut log: io::PipeReader) -> String {
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            text
        });
        tokio::time::timeout(std::time::Duration::from_secs(20), read).await.unwrap().unwrap()
    }

    fn first_line(log: &mut io::PipeReader) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while log.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    #[tokio::test]
    async fn a_child_has_its_channel_a_clean_environment_and_no_other_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let script = "echo ready; pwd; env; exec cat <&3";
        let mut child = spawner.spawn(shell(script, folder.path())).await.unwrap();
        assert_eq!(first_line(&mut child.log), "ready");
        let descriptors = format!("/proc/{}/fd", child.killer.pid.as_raw_nonzero());
        let descriptors = std::fs::read_dir(descriptors).unwrap();
        let mut descriptors: Vec<_> = descriptors.map(|fd| fd.unwrap().file_name()).collect();
        descriptors.sort();
        assert_eq!(descriptors, ["0", "1", "2", "3"]);
        let mut channel = child.channel;
        channel.set_nonblocking(false).unwrap();
        channel.write_all(b"hello\n").unwrap();
        channel.shutdown(std::net::Shutdown::Write).unwrap();
        let log = log_to_its_end(child.log).await;
        assert!(child.exit.await.unwrap().success());
        let folder = folder.path().display();
        for line in [
            "hello".to_owned(),
            folder.to_string(),
            format!("HOME={folder}"),
            format!("TMPDIR={folder}"),
            "HOWDAH_JOB_ID=job_20261122_0001".to_owned(),
            "LANG=C.UTF-8".to_owned(),
        ] {
            assert!(log.lines().any(|found| found == line), "no {line} in {log}");
        }
        assert!(!log.contains("CARGO"), "{log}");
    }

    #[tokio::test]
    async fn a_child_ignores_and_blocks_no_signal() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let arguments = vec!["/proc/self/status".to_owned()];
        let cat = Executable { path: "/bin/cat".into(), arguments, ..shell("", folder.path()) };
        let status = log_to_its_end(spawner.spawn(cat).await.unwrap().log).await;
        // Two signals belong to glibc: nobody can set them, and nobody can be sent them.
        let settable = !(0b11 << 31);
        for signals in ["SigBlk:\t", "SigIgn:\t", "SigCgt:\t"] {
            let set = status.lines().find_map(|line| line.strip_prefix(signals)).unwrap();
            let set = u64::from_str_radix(set, 16).unwrap();
            assert_eq!(set & settable, 0, "{signals} {set:x}");
        }
    }

    #[tokio::test]
    async fn a_kill_ends_the_whole_group_with_grandchildren() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let script = "(sleep 1000; echo late) & echo ready; sleep 1000";
        let mut child = spawner.spawn(shell(script, folder.path())).await.unwrap();
        assert_eq!(first_line(&mut child.log), "ready");
        child.killer.kill();
        assert_eq!(child.exit.await.unwrap().signal(), Some(9));
        assert_eq!(log_to_its_end(child.log).await, "");
        child.killer.kill();
    }

    #[tokio::test]
    async fn a_child_that_nobody_takes_over_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let spawner = Spawner::start().unwrap();
        let (reply, answer) = oneshot::channel();
        let executable = shell("exec sleep 1000 >fifo", folder.path());
        spawner.requests.send(Request { executable, reply }).unwrap();
        // Open only when the child has opened its end, which nothing but its death closes.
        let opening = tokio::task::spawn_blocking(move || File::open(fifo).unwrap());
        let limit = std::time::Duration::from_secs(20);
        let mut childs_life = tokio::time::timeout(limit, opening).await.unwrap().unwrap();
        // One after the other: when the second is there, the first has been handed over.
        let second = spawner.spawn(shell("exit 0", folder.path())).await.unwrap();
        assert!(second.exit.await.unwrap().success());
        drop(answer);
        let end = tokio::task::spawn_blocking(move || childs_life.read(&mut [0]).unwrap());
        assert_eq!(tokio::time::timeout(limit, end).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_process_leaves_in_its_group_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let script = "sleep 1000 & exit 7";
        let child = spawner.spawn(shell(script, folder.path())).await.unwrap();
        assert_eq!(child.exit.await.unwrap().code(), Some(7));
        assert_eq!(log_to_its_end(child.log).await, "");
    }

    #[tokio::test]
    async fn children_die_with_the_thread_that_spawned_them() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let child = spawner.spawn(shell("exec sleep 1000", folder.path())).await.unwrap();
        drop(spawner);
        let status = tokio::time::timeout(std::time::Duration::from_secs(20), child.exit).await;
        assert_eq!(status.unwrap().unwrap().signal(), Some(9));
    }

    /// Writes its id, and is neither in its attempt's process group, nor session, nor environment.
    const RUNAWAY: &str = "env -i setsid sh -c 'echo $$; exec sleep 1000'";

    fn cgroups(of: &Path) -> Vec<Cgroups> {
        let real = Cgroups::open(of);
        if !real.controls(Controller::Pids) {
            eprintln!("skipped: this needs cgroups with the controller pids that may be written");
            return vec![Cgroups::none()];
        }
        vec![Cgroups::none(), real]
    }

    #[tokio::test]
    async fn what_leaves_group_session_and_environment_ends_with_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        for cgroups in cgroups(folder.path()) {
            for end in ["exec sleep 1000", "exit 1"] {
                let group = cgroups.make("runaway", 64).unwrap();
                let script = format!("{RUNAWAY} & read -r line <&3; {end}");
                let child = Executable { group, ..shell(&script, folder.path()) };
                let mut child = spawner.spawn(child).await.unwrap();
                let pid = first_line(&mut child.log);
                let runaway = Path::new("/proc").join(pid);
                assert!(runaway.exists());
                child.channel.write_all(b"on\n").unwrap();
                if end != "exit 1" {
                    child.killer.kill();
                }
                child.exit.await.unwrap();
                assert!(!runaway.exists(), "{end}, {}", cgroups.described());
                assert_eq!(log_to_its_end(child.log).await, "");
            }
        }
    }

    #[tokio::test]
    async fn a_daemon_of_one_attempt_lives_on_when_another_ends() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let script = format!("({RUNAWAY} &); sleep 1000");
        let mut long = spawner.spawn(shell(&script, folder.path())).await.unwrap();
        let daemon = Path::new("/proc").join(first_line(&mut long.log));
        let short = spawner.spawn(shell(":", folder.path())).await.unwrap();
        assert!(short.exit.await.unwrap().success());
        assert!(daemon.exists(), "its parent is gone, its attempt is not");
        long.killer.kill();
        long.exit.await.unwrap();
        assert!(!daemon.exists());
    }

    #[tokio::test]
    async fn a_fork_bomb_is_held_by_its_cgroup_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let Some(group) = cgroups(folder.path()).pop().unwrap().make("bomb", 32).unwrap() else {
            return;
        };
        let events = group.file("pids.events").unwrap();
        let script = "trap '' TERM; f() { f | f & }; echo ready; (f) & exec sleep 1000";
        let child = Executable { group: Some(group), ..shell(script, folder.path()) };
        let mut child = spawner.spawn(child).await.unwrap();
        assert_eq!(first_line(&mut child.log), "ready");
        let reader =
            tokio::task::spawn_blocking(move || std::io::copy(&mut child.log, &mut io::sink()));
        let limit = std::time::Duration::from_secs(20);
        let full = async {
            while std::fs::read_to_string(&events).unwrap().trim() == "max 0" {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(limit, full).await.unwrap();
        child.killer.kill();
        tokio::time::timeout(limit, child.exit).await.unwrap().unwrap();
        assert!(!events.exists(), "the group is gone, and so are all that were in it");
        tokio::time::timeout(limit, reader).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn strays_are_found_by_the_folder_in_their_environment() {
        let place = tempfile::tempdir().unwrap();
        let (ours, others) = (place.path().join("a"), place.path().join("ab"));
        std::fs::create_dir_all(ours.join("attempt")).unwrap();
        std::fs::create_dir_all(&others).unwrap();
        let spawner = Spawner::start().unwrap();
        let script = "echo ready; sleep 1000";
        let mut stray = spawner.spawn(shell(script, &ours.join("attempt"))).await.unwrap();
        let mut other = spawner.spawn(shell(script, &others)).await.unwrap();
        assert_eq!(first_line(&mut stray.log), "ready");
        assert_eq!(first_line(&mut other.log), "ready");
        assert!(orphans::kill_strays(&ours) >= 1);
        assert_eq!(stray.exit.await.unwrap().signal(), Some(9));
        assert!(other.exit.try_recv().is_err(), "another folder's process goes on");
        other.killer.kill();
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let missing = Executable { path: "/no/such".into(), ..shell("", folder.path()) };
        let error = spawner.spawn(missing).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
