//! The supervised processes: one child per daemon, this same binary. A child gets its listener as an
//! open descriptor, a log file as its output, a process group of its own (so that Ctrl-C reaches the
//! supervisor alone, which stops the daemons in order), and ends when the supervisor ends.
//!
//! All children are spawned from the main thread: their parent-death signal fires when the thread
//! that spawned them ends, and that one ends last.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::layout::Layout;
use super::settings::Seat;
use crate::daemons::DaemonName;

/// Tells a daemon which descriptor is its listener (read by `config::env`).
const LISTEN_FD: &str = "HOWDAH_LISTEN_FD";
/// Time between asking a daemon to stop and ending it.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// One supervised daemon.
pub(super) struct Supervised {
    pub(super) name: DaemonName,
    pub(super) address: String,
    pid: Option<Pid>,
    ended: watch::Receiver<Option<ExitStatus>>,
    stopping: Arc<AtomicBool>,
}

/// Starts the daemon of `seat`. The supervisor's copy of its listener is closed on return: when the
/// daemon dies, its port is free for a successor.
pub(super) fn spawn(layout: &Layout, seat: Seat, init: bool) -> anyhow::Result<Supervised> {
    let Seat { name, host, address, listener } = seat;
    let log_path = layout.log_of(&name.to_string());
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write the log {}", log_path.display()))?;
    let log_too = log.try_clone().context("cannot share a log's descriptor")?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this binary")?);
    command.arg(name.command()).arg("--config").arg(layout.cluster_yaml());
    if let Some(host) = &host {
        command.args(["--host", host]);
    }
    if init {
        command.arg("--init");
    }
    command
        .env(LISTEN_FD, listener.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(log_too))
        .process_group(0);
    end_with_this_process(&mut command);
    // Inherited by this child alone: nothing else is spawned before the listener is dropped.
    rustix::io::fcntl_setfd(&listener, FdFlags::empty()).context("cannot hand down a listener")?;
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    Ok(watch_over(layout, name, host.as_deref(), address, child))
}

/// Makes the child end when the thread that spawns it, the main one, ends, however that happens.
pub(crate) fn end_with_this_process(command: &mut Command) {
    let supervisor = rustix::process::getpid();
    let in_child = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The supervisor may have ended before the call above: then no signal will come.
        match rustix::process::getppid() == Some(supervisor) {
            true => Ok(()),
            false => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe { command.pre_exec(in_child) };
}

fn watch_over(
    layout: &Layout,
    name: DaemonName,
    host: Option<&str>,
    address: String,
    mut child: Child,
) -> Supervised {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let (sender, ended) = watch::channel(None);
    let stopping = Arc::new(AtomicBool::new(false));
    let (asked, daemon, log) = (stopping.clone(), name.clone(), layout.log_of(&name.to_string()));
    let restart = restart_command(&name, host, layout);
    tokio::spawn(async move {
        let status = child.wait().await.unwrap_or_default();
        if !asked.load(Ordering::Relaxed) {
            crate::say::say!(
                "{daemon} died: {status}; its log is {}; `{restart}` starts it again",
                log.display(),
            );
        }
        sender.send_replace(Some(status));
    });
    Supervised { name, address, pid, ended, stopping }
}

fn restart_command(name: &DaemonName, host: Option<&str>, layout: &Layout) -> String {
    let host = host.map(|host| format!(" --host {host}")).unwrap_or_default();
    format!("howdah {} --config {}{host}", name.command(), layout.cluster_yaml().display())
}

impl Supervised {
    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Asks it to stop, waits, and ends it if it does not.
    pub(super) async fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.signal(Signal::TERM);
        let mut ended = self.ended.clone();
        let stopped = ended.wait_for(Option::is_some);
        if tokio::time::timeout(STOP_GRACE, stopped).await.is_err() {
            crate::say::say!("{} does not stop; ending it", self.name);
            self.signal(Signal::KILL);
            // The sender lives until the process is reaped, so this ends with it.
            self.ended.wait_for(Option::is_some).await.ok();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid
            && self.ended().is_none()
        {
            // It may have ended in between: then there is nobody to tell.
            rustix::process::kill_process(pid, signal).ok();
        }
    }
}
