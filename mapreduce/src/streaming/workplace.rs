//! Where an attempt's commands run: a folder of their own in the attempt's, with the job's files and what its archives
//! hold; and how a command is started there.
//!
//! Files are copied, not linked: what a command does to them is its own affair, and a program that looks for others
//! beside itself (Python resolves links first) finds them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mapreduce_protocol::streaming::{Command, CommandRole};
use mapreduce_protocol::{Failure, FailureKind, Streaming};

use super::archive;
use super::environment::Environment;
use crate::task::failure::{bad_job, disk, failure};

/// Whoever asks for a file may run it.
const RUNNABLE: u32 = 0o755;

/// Names the folder in the environment of commands.
const FOLDER_VARIABLE: &str = "HOWDAH_WORK_FOLDER";

/// A process that is being started holds copies of this one's descriptors for a moment, and a file that is open for
/// writing can't be executed: so files are not copied while a process is started.
static STARTS: Mutex<()> = Mutex::new(());

/// To be held while a file is written that may be executed.
pub(super) fn starts() -> MutexGuard<'static, ()> {
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub(super) struct Workplace {
    folder: PathBuf,
    temporary: PathBuf,
}

impl Workplace {
    /// Makes it in the attempt's folder; `files` says where the job's lie.
    pub(super) fn make(
        attempt: &Path,
        about: &Streaming,
        files: &[PathBuf],
    ) -> Result<Self, Failure> {
        let workplace = Self { folder: attempt.join("work"), temporary: attempt.join("tmp") };
        for folder in [&workplace.folder, &workplace.temporary] {
            fs::create_dir(folder).map_err(|error| disk(&error, "create", folder))?;
        }
        let (plain, archives) = files.split_at(about.files.len().min(files.len()));
        for (file, from) in about.files.iter().zip(plain) {
            workplace.copy(from, &file.name)?;
        }
        for (file, from) in about.archives.iter().zip(archives) {
            archive::unpack(from, &file.name, &workplace.folder.join(&file.name))?;
        }
        Ok(workplace)
    }

    /// Where commands run.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `TMPDIR` names.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    fn copy(&self, from: &Path, name: &str) -> Result<(), Failure> {
        let to = self.folder.join(name);
        let unreadable = |error: io::Error| {
            let message =
                format!("the job's file {name} can't be read from {}: {error}", from.display());
            failure(FailureKind::ProgramUnavailable, message)
        };
        // Apart, so that it is known which of the two is to blame.
        let mut source = fs::File::open(from).map_err(unreadable)?;
        let _alone = starts();
        let copied = fs::File::create_new(&to).and_then(|mut target| {
            io::copy(&mut source, &mut target)?;
            target.set_permissions(Permissions::from_mode(RUNNABLE))
        });
        copied.map_err(|error| disk(&error, "write", &to))
    }

    /// A process that will run `command` here; its standard streams are still to be said.
    pub(super) fn prepare(&self, command: &Command, environment: &Environment) -> process::Command {
        let mut process = match command {
            Command::Words(words) => {
                let mut process = process::Command::new(self.program(&words[0]));
                process.args(&words[1..]);
                process
            }
            Command::Shell(line) => {
                let mut process = process::Command::new("/bin/sh");
                // What a shell runs is looked for in the same places as what is run without one.
                process.arg("-c").arg(format!("PATH=\"${FOLDER_VARIABLE}:$PATH\"\n{line}"));
                process
            }
        };
        process.current_dir(&self.folder);
        process.envs(environment.variables());
        process.env(FOLDER_VARIABLE, &self.folder);
        process
    }

    /// One of the job's files before one of the host's.
    fn program(&self, word: &str) -> PathBuf {
        let here = self.folder.join(word);
        if word.contains('/') || here.is_file() { here } else { PathBuf::from(word) }
    }
}

/// Makes the process end when the thread that spawns it ends, however that happens: a task that is killed takes its
/// command along.
fn end_with_this_thread(process: &mut process::Command) {
    let task = rustix::process::getpid();
    let in_child = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The task may have ended before the call above: then no signal will come.
        match rustix::process::getppid() == Some(task) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe { process.pre_exec(in_child) };
}

/// Starts a prepared process.
pub(super) fn start(
    mut process: process::Command,
    role: CommandRole,
    command: &Command,
) -> Result<process::Child, Failure> {
    end_with_this_thread(&mut process);
    let spawned = {
        let _alone = starts();
        process.spawn()
    };
    spawned.map_err(|error| not_started(&error, &process, role, command))
}

/// Why a command could not be started, and what to do.
fn not_started(
    error: &io::Error,
    process: &process::Command,
    role: CommandRole,
    command: &Command,
) -> Failure {
    let program = Path::new(process.get_program());
    let shown = match command {
        Command::Words(words) => words[0].as_str(),
        Command::Shell(_) => "/bin/sh",
    };
    let hint = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            let message = format!("the {role} `{command}` can't be started: {error}");
            return failure(FailureKind::OutOfSpace, message);
        }
        io::ErrorKind::ArgumentListTooLong => {
            return bad_job(format!(
                "the {role} `{command}` can't be started: {error}; pass long arguments and variables as a file"
            ));
        }
        io::ErrorKind::NotFound if program.is_file() => format!(
            "its first line names an interpreter that is not on this host; write the interpreter in front, as in \
             'python3 {shown}' (a line end of CR LF makes such a line wrong, too)"
        ),
        io::ErrorKind::NotFound => format!(
            "{shown} is neither among the job's files nor in PATH on this host; name it under 'files', or install it \
             on all hosts"
        ),
        _ => "see that it is a program".to_owned(),
    };
    let message = format!("the {role} `{command}` can't be started: {error}: {hint}");
    failure(FailureKind::ProgramUnavailable, message)
}
