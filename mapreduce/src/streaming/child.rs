//! A command that runs: its three pipes, driven by the task's own thread with poll(2). Whatever of them is ready is
//! served; nothing is read ahead of what a pipe takes, and nothing waits in a queue.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{self, ExitStatus, Stdio};

use bytes::{Buf as _, Bytes};
use mapreduce_protocol::streaming::{Command, CommandRole};
use mapreduce_protocol::{Failure, FailureKind, Streaming};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::environment::Environment;
use super::input::Feed;
use super::output::Drain;
use super::reporter::Reporter;
use super::workplace::{self, Workplace};
use crate::api::Counters;
use crate::task::failure::{bad_job, failure};
use crate::task::progress::Progress;

/// Bytes that a pipe holds, where the system allows it: the fewer times a command and its task wait for one another
/// the better.
const PIPE_BYTES: usize = 1 << 20;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// How often it is looked whether a command that neither takes nor writes anything has read from its pipe.
const LOOK_INTERVAL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Bytes of standard error that are still read when the command has ended and something that it left keeps the pipe
/// open.
const LEFT_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Child {
    role: CommandRole,
    command: Command,
    process: process::Child,
    /// Becomes readable when the process ends; `None` once it has.
    alive: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// The reading end of standard input, once all is written: what the command has not read is still there.
    unread: Option<OwnedFd>,
    /// Bytes in standard input when it was last looked.
    queued: u64,
    reporter: Reporter,
    buffer: Vec<u8>,
    may_leave_input: bool,
    may_fail: bool,
}

impl Child {
    /// Starts it.
    pub(super) fn start(
        role: CommandRole,
        command: &str,
        about: &Streaming,
        workplace: &Workplace,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let command: Command =
            command.parse().map_err(|error| bad_job(format!("'{role}': {error}")))?;
        let mut process = workplace.prepare(&command, environment);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = workplace::start(process, role, &command)?;
        let stdin = process.stdin.take().map(OwnedFd::from);
        let stdout = process.stdout.take().map(OwnedFd::from);
        let stderr = process.stderr.take().map(OwnedFd::from);
        let pid = rustix::process::Pid::from_child(&process);
        let mut child = Self {
            role,
            command,
            process,
            alive: None,
            stdin,
            stdout,
            stderr,
            unread: None,
            queued: 0,
            reporter: Reporter::new(about.reporter_prefix.as_deref()),
            buffer: vec![0; READ_BYTES],
            may_leave_input: about.partial_input,
            may_fail: about.nonzero_exit,
        };
        let opened = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        child.alive = Some(opened.map_err(|error| child.broken("watched", error))?);
        for pipe in [&child.stdin, &child.stdout, &child.stderr].into_iter().flatten() {
            prepare_pipe(pipe.as_fd()).map_err(|error| child.broken("spoken to", error))?;
        }
        Ok(child)
    }

    /// Drives it to its end: it is given `input`, and what it writes goes to `output`. All that it takes or writes is a
    /// sign of life.
    pub(super) fn run(
        mut self,
        input: &mut dyn Feed,
        output: &mut dyn Drain,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<(), Failure> {
        let mut pending = Bytes::new();
        let mut broke = false;
        while self.stdout.is_some() || self.alive.is_some() {
            if pending.is_empty() && self.stdin.is_some() {
                match input.next_block()? {
                    Some(block) => pending = block,
                    None => self.end_input(),
                }
            }
            let ready = self.wait(progress)?;
            if ready.stdin {
                broke |= self.write(&mut pending, progress)?;
            }
            if ready.stdout {
                self.read_output(output, progress)?;
            }
            if ready.stderr {
                self.read_errors(progress, counters)?;
            }
            if ready.ended {
                self.alive = None;
            }
        }
        self.read_last_errors(progress, counters)?;
        let left = broke
            || self.has_unread()
            || self.stdin.is_some() && (!pending.is_empty() || input.next_block()?.is_some());
        let status = self.process.wait().map_err(|error| self.lost(&error))?;
        self.judge(status, left)
    }

    /// Closes standard input, and keeps hold of what is in it.
    fn end_input(&mut self) {
        let Some(stdin) = self.stdin.take() else { return };
        // Opened by name it is the same pipe; not to have it only means not to know.
        let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        self.unread = opened.ok().map(OwnedFd::from);
    }

    /// Waits until something can be done.
    fn wait(&mut self, progress: &Progress) -> Result<Ready, Failure> {
        loop {
            let pipes = [
                (self.stdin.as_ref(), PollFlags::OUT),
                (self.stdout.as_ref(), PollFlags::IN),
                (self.stderr.as_ref(), PollFlags::IN),
                (self.alive.as_ref(), PollFlags::IN),
            ];
            let mut fds: Vec<PollFd<'_>> = pipes
                .iter()
                .filter_map(|(fd, flags)| Some(PollFd::new(fd.as_ref()?, *flags)))
                .collect();
            let n_ready = match rustix::event::poll(&mut fds, Some(&LOOK_INTERVAL)) {
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.broken("waited for", error)),
                Ok(n_ready) => n_ready,
            };
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            let [stdin, stdout, stderr, ended] =
                pipes.map(|(fd, _)| fd.is_some() && ready.next().unwrap_or(false));
            if n_ready > 0 {
                return Ok(Ready { stdin, stdout, stderr, ended });
            }
            drop(ready);
            drop(fds);
            self.look(progress);
        }
    }

    /// A command that has read from its pipe lives, even if there is still no room for more.
    fn look(&mut self, progress: &Progress) {
        let Some(pipe) = self.stdin.as_ref().or(self.unread.as_ref()) else { return };
        let queued = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
        if std::mem::replace(&mut self.queued, queued) > queued {
            progress.alive();
        }
    }

    /// Writes what the pipe takes; whether nobody reads it any more.
    fn write(&mut self, pending: &mut Bytes, progress: &Progress) -> Result<bool, Failure> {
        let Some(stdin) = &self.stdin else { return Ok(false) };
        match rustix::io::write(stdin, pending) {
            Ok(n) => {
                pending.advance(n);
                progress.alive();
                Ok(false)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::PIPE) => {
                self.stdin = None;
                Ok(true)
            }
            Err(error) => Err(self.broken("written to", error)),
        }
    }

    fn read_output(&mut self, output: &mut dyn Drain, progress: &Progress) -> Result<(), Failure> {
        let Some(stdout) = &self.stdout else { return Ok(()) };
        match rustix::io::read(stdout, &mut self.buffer) {
            Ok(0) => self.stdout = None,
            Ok(n) => {
                progress.alive();
                output.take(&self.buffer[..n])?;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(self.broken("read from", error)),
        }
        Ok(())
    }

    /// Reads standard error; how many bytes, or `None` if there are none now.
    fn read_errors(
        &mut self,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<Option<usize>, Failure> {
        let Some(stderr) = &self.stderr else { return Ok(None) };
        match rustix::io::read(stderr, &mut self.buffer) {
            Ok(0) => {
                self.stderr = None;
                log(self.reporter.end(counters));
                Ok(None)
            }
            Ok(n) => {
                progress.alive();
                log(self.reporter.take(&self.buffer[..n], counters));
                Ok(Some(n))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => Ok(Some(0)),
            Err(error) => Err(self.broken("read from", error)),
        }
    }

    /// What the command has left in its pipe. It has ended; what it started may live on and write there for ever.
    fn read_last_errors(
        &mut self,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<(), Failure> {
        let mut total = 0;
        while let Some(n) = self.read_errors(progress, counters)?
            && total < LEFT_BYTES_MAX
        {
            total += n;
        }
        if self.stderr.take().is_some() {
            log(self.reporter.end(counters));
        }
        Ok(())
    }

    /// Whether standard input holds bytes that nobody has read.
    fn has_unread(&self) -> bool {
        let Some(pipe) = &self.unread else { return false };
        rustix::io::ioctl_fionread(pipe).is_ok_and(|n| n > 0)
    }

    fn judge(&self, status: ExitStatus, left: bool) -> Result<(), Failure> {
        let Self { role, command, .. } = self;
        let tail = match self.reporter.tail().as_str() {
            "" => "it wrote nothing to standard error".to_owned(),
            tail => format!("its standard error ends: {tail}"),
        };
        if let Some(signal) = status.signal() {
            let kind = FailureKind::Crashed { exit_code: None, signal: Some(signal) };
            let message = format!("the {role} `{command}` was ended by signal {signal}; {tail}");
            return Err(failure(kind, message));
        }
        if let Some(code @ 1..) = status.code()
            && !self.may_fail
        {
            let message = format!("the {role} `{command}` ended with status {code}; {tail}");
            return Err(failure(FailureKind::UserCode, message));
        }
        if left && !self.may_leave_input {
            let message = format!(
                "the {role} `{command}` ended well before it had read all of its input (broken pipe): if that is meant, \
                 set 'partial_input: true'; {tail}"
            );
            return Err(failure(FailureKind::UserCode, message));
        }
        Ok(())
    }

    fn broken(&self, what: &str, error: Errno) -> Failure {
        let Self { role, command, .. } = self;
        let message = format!("the {role} `{command}` can't be {what}: {error}");
        failure(FailureKind::OutOfSpace, message)
    }

    fn lost(&self, error: &std::io::Error) -> Failure {
        let Self { role, command, .. } = self;
        let kind = FailureKind::Crashed { exit_code: None, signal: None };
        failure(kind, format!("the {role} `{command}` can't be waited for: {error}"))
    }
}

impl Drop for Child {
    /// A command whose task has failed otherwise is not needed any more.
    fn drop(&mut self) {
        // Both do nothing for one that was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What can be done without waiting.
struct Ready {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    ended: bool,
}

fn prepare_pipe(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    // The system may have given this user enough of them already: then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    Ok(())
}

/// Writes to the attempt's log, which is this process' standard error; one that has no room loses it.
fn log(text: &[u8]) {
    if !text.is_empty() {
        let _ = std::io::stderr().write_all(text);
    }
}
