//! A command that runs: its three pipes, driven by the task's own thread with poll(2). Whatever of them is ready is
//! served; nothing is read ahead of what a pipe takes, and nothing waits in a queue.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{self, ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use clock::Stopwatch;
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
use crate::api::{Counters, StatusSink};
use crate::task::failure::{LAST_WORDS, bad_job, failure};
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

/// Time without output after which something that a command has left running, and that holds its standard output, is no
/// longer waited for.
const LEFT_SILENCE_MAX: Duration = Duration::from_secs(10);

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
    /// Bytes written to standard input.
    written: u64,
    /// Bytes that it had read when it ended badly, at most.
    consumed_at_failure: Option<u64>,
    reporter: Reporter,
    buffer: Vec<u8>,
    may_leave_input: bool,
    may_fail: bool,
    /// What is wrong with its file, if it fails: the folder may be gone by then.
    complaint: Option<String>,
    /// See [`LEFT_SILENCE_MAX`].
    left_silence_max: Duration,
}

impl Child {
    /// Starts it.
    pub(super) fn start(
        role: CommandRole,
        command: &str,
        about: &Streaming,
        (workplace, environment): (&Workplace, &Environment),
        status: StatusSink,
    ) -> Result<Self, Failure> {
        let command: Command =
            command.parse().map_err(|error| bad_job(format!("'{role}': {error}")))?;
        let mut process = workplace.prepare(&command, environment);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let complaint = workplace.complaint(&command);
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
            written: 0,
            consumed_at_failure: None,
            reporter: Reporter::new(about.reporter_prefix.as_deref(), status),
            buffer: vec![0; READ_BYTES],
            may_leave_input: about.partial_input,
            may_fail: about.nonzero_exit,
            complaint,
            left_silence_max: LEFT_SILENCE_MAX,
        };
        let opened = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        child.alive = Some(opened.map_err(|error| child.broken("watched", error))?);
        for pipe in [&child.stdin, &child.stdout, &child.stderr].into_iter().flatten() {
            prepare_pipe(pipe.as_fd()).map_err(|error| child.broken("spoken to", error))?;
        }
        Ok(child)
    }

    /// Drives it to its end: it is given `input`, and what it writes goes to `output`. All that it takes or writes is a
    /// sign of life. To be called once.
    pub(super) fn run(
        &mut self,
        input: &mut dyn Feed,
        output: &mut dyn Drain,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<(), Failure> {
        let mut pending = Bytes::new();
        let mut broke = false;
        let mut silence = Stopwatch::start();
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
                self.end(progress, counters)?;
            }
            if ready.ended || ready.stdout {
                silence = Stopwatch::start();
            }
            if self.alive.is_none() && self.stdout.is_some() {
                self.must_go_on(silence)?;
            }
        }
        self.read_last_errors(progress, counters)?;
        let left = broke
            || self.has_unread()
            || self.stdin.is_some() && (!pending.is_empty() || input.next_block()?.is_some());
        self.judge_input(left)
    }

    /// The command has ended. If badly, it fails at once: what it has left running may hold its output for ever.
    fn end(&mut self, progress: &Progress, counters: &mut Counters) -> Result<(), Failure> {
        self.alive = None;
        let status = self.process.wait().map_err(|error| self.lost(&error))?;
        let judged = self.judge_status(status);
        if judged.is_err() {
            self.consumed_at_failure = Some(self.written.saturating_sub(self.unread_bytes()));
            self.read_last_errors(progress, counters)?;
            // Once more, with all of its last words.
            return self.judge_status(status);
        }
        judged
    }

    /// The command has ended, and something still holds its standard output.
    fn must_go_on(&self, silence: Stopwatch) -> Result<(), Failure> {
        if silence.elapsed() < self.left_silence_max {
            return Ok(());
        }
        let Self { role, command, left_silence_max, .. } = self;
        let message = format!(
            "the {role} `{command}` has ended, and something that it has left running holds its standard output, and has \
             written nothing for {} s: wait for it in the command, or redirect its output, as in 'server > /dev/null &'",
            left_silence_max.as_secs()
        );
        Err(failure(FailureKind::UserCode, message))
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

    /// Waits until something can be done, or, for what a command has left running, some time has passed.
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
            if self.alive.is_none() {
                return Ok(Ready::default());
            }
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
                self.written += n as u64;
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

    /// Bytes of its input that it had read at most, if it has ended badly.
    pub(super) fn consumed_at_failure(&self) -> Option<u64> {
        self.consumed_at_failure
    }

    /// Bytes in standard input that nobody has read, as far as that is known.
    fn unread_bytes(&self) -> u64 {
        let pipe = self.stdin.as_ref().or(self.unread.as_ref());
        pipe.and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0)
    }

    /// Whether standard input holds bytes that nobody has read.
    fn has_unread(&self) -> bool {
        let Some(pipe) = &self.unread else { return false };
        rustix::io::ioctl_fionread(pipe).is_ok_and(|n| n > 0)
    }

    /// The end of what it wrote to standard error, for people.
    fn last_words(&self) -> String {
        match self.reporter.tail().as_str() {
            "" => "it wrote nothing to standard error".to_owned(),
            tail => format!("{LAST_WORDS}{tail}"),
        }
    }

    fn judge_status(&self, status: ExitStatus) -> Result<(), Failure> {
        let Self { role, command, .. } = self;
        let tail = self.last_words();
        if let Some(signal) = status.signal() {
            let kind = FailureKind::Crashed { exit_code: None, signal: Some(signal) };
            let message = format!("the {role} `{command}` was ended by signal {signal}; {tail}");
            return Err(failure(kind, message));
        }
        if let Some(code @ 1..) = status.code()
            && !self.may_fail
        {
            // As grep and diff do, which have nothing to complain of.
            let hint = match (code, self.reporter.tail().is_empty()) {
                (1, true) => {
                    ": if that is none of its failures (grep ends so where no line matches), set 'nonzero_exit: true'"
                }
                _ => "",
            };
            let complaint = self.complaint.iter().map(|it| format!("; {it}")).collect::<String>();
            let message =
                format!("the {role} `{command}` ended with status {code}; {tail}{hint}{complaint}");
            return Err(failure(FailureKind::UserCode, message));
        }
        Ok(())
    }

    fn judge_input(&self, left: bool) -> Result<(), Failure> {
        if left && !self.may_leave_input {
            let Self { role, command, .. } = self;
            let tail = self.last_words();
            let message = format!(
                "the {role} `{command}` ended well before it had read all of its input (broken pipe): if that is meant, \
                 set 'partial_input: true' (`howdah streaming`: -D howdah.streaming.partial.input=true); {tail}"
            );
            return Err(failure(FailureKind::UserCode, message));
        }
        Ok(())
    }

    fn broken(&self, what: &str, error: Errno) -> Failure {
        let Self { role, command, .. } = self;
        let message = format!("the {role} `{command}` can't be {what}: {error}");
        failure(FailureKind::HostUnfit, message)
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
#[derive(Default)]
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

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{JobId, TaskKind};

    use super::*;
    use crate::api::{StatusSink, TaskContext};

    struct Nothing;

    impl Feed for Nothing {
        fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
            Ok(None)
        }
    }

    impl Drain for Vec<u8> {
        fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
            self.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// What a command writes; what it leaves running is waited for this long.
    fn ran(command: &str, left_silence_max: Duration) -> Result<Vec<u8>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let about = Streaming { mapper: Some(command.to_owned()), ..Streaming::default() };
        let workplace = Workplace::make(folder.path(), &about, &[], &Progress::untold()).unwrap();
        let job = JobId { date: 20_261_122, ordinal: 7 };
        let attempt = job.task(TaskKind::Map, 3).attempt(1);
        let identity = TaskContext {
            attempt,
            job_name: "n".to_owned(),
            n_maps: 1,
            n_reduces: 0,
            files: Vec::new(),
            status: StatusSink::default(),
        };
        let environment = Environment::new(&identity, &about, &workplace);
        let mut child = Child::start(
            CommandRole::Mapper,
            command,
            &about,
            (&workplace, &environment),
            StatusSink::default(),
        )
        .unwrap();
        child.left_silence_max = left_silence_max;
        let (mut output, mut counters) = (Vec::new(), Counters::default());
        child.run(&mut Nothing, &mut output, &Progress::untold(), &mut counters)?;
        Ok(output)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_left_running_with_the_output_is_not_waited_for_for_ever() {
        let failure = ran("sleep 60 & echo a", Duration::from_millis(10)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::UserCode);
        let expected = "holds its standard output, and has written nothing for 0 s";
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(failure.message.contains("redirect its output"), "{}", failure.message);
    }

    #[test]
    fn what_is_left_running_with_the_output_may_write_on() {
        // The shell ends before the program that it has started gets its input's end.
        let command = "{ cat /dev/null; head -c 3000000 /dev/zero; echo end; } & exit 0";
        let output = ran(command, LONG).unwrap();
        assert_eq!((output.len(), output.ends_with(b"end\n")), (3_000_004, true));
    }

    #[test]
    fn a_bad_end_counts_at_once_whatever_is_left_running() {
        let watch = Stopwatch::start();
        let failure = ran("sleep 60 & echo why >&2; exit 3", LONG).unwrap_err();
        let expected = "ended with status 3; its standard error ends: why";
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(watch.elapsed() < LONG / 2);
    }
}
