//! Where an attempt's commands run: a folder of their own in the attempt's, with the job's files and what its archives
//! hold; and how a command is started there.
//!
//! Files are copied, not linked: what a command does to them is its own affair, and a program that looks for others
//! beside itself (Python resolves links first) finds them.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mapreduce_protocol::streaming::{Command, CommandRole};
use mapreduce_protocol::{Failure, FailureKind, Streaming};

use super::archive;
use super::environment::Environment;
use super::host_copy::HostCopy;
use super::interpreter;
use crate::task::failure::{bad_job, disk, failure};
use crate::task::progress::Progress;

const COPY_BYTES: usize = 1 << 20;

/// Whoever asks for a file may run it.
const RUNNABLE: u32 = 0o755;

/// The language of commands, on a cluster as in `howdah local`: text is UTF-8, and sorted by its bytes.
const LANGUAGE: &str = "C.UTF-8";

/// What would go before [`LANGUAGE`], or beside it, of a user's own.
const OTHER_LANGUAGES: &[&str] = &[
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
];

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
    beside: PathBuf,
}

impl Workplace {
    /// Makes it in the attempt's folder; `files` says where the job's lie. All that is copied is a sign of life.
    pub(super) fn make(
        attempt: &Path,
        about: &Streaming,
        files: &[PathBuf],
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let [folder, temporary, beside] = ["work", "tmp", "beside"].map(|name| attempt.join(name));
        let workplace = Self { folder, temporary, beside };
        for folder in [&workplace.folder, &workplace.temporary, &workplace.beside] {
            fs::create_dir(folder).map_err(|error| disk(&error, "create", folder))?;
        }
        let (plain, archives) = files.split_at(about.files.len().min(files.len()));
        for (file, path) in about.files.iter().zip(plain) {
            workplace.copy(HostCopy { kind: "file", file, path }, progress)?;
        }
        for (file, path) in about.archives.iter().zip(archives) {
            let from = HostCopy { kind: "archive", file, path };
            archive::unpack(from, &workplace.folder.join(&file.name), progress)?;
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

    /// Where commands write files that become named outputs (`beside`).
    pub(super) fn beside(&self) -> &Path {
        &self.beside
    }

    /// The same for the run of a combiner with that number; it may be there already.
    pub(super) fn beside_run(&self, number: usize) -> Result<PathBuf, Failure> {
        let folder = self.beside.with_file_name(format!("beside-{number:06}"));
        fs::create_dir_all(&folder).map_err(|error| disk(&error, "create", &folder))?;
        Ok(folder)
    }

    fn copy(&self, from: HostCopy<'_>, progress: &Progress) -> Result<(), Failure> {
        let to = self.folder.join(&from.file.name);
        let mut source = from.open()?;
        let _alone = starts();
        let created = fs::File::create_new(&to);
        let mut target = created.map_err(|error| disk(&error, "create", &to))?;
        let mut buffer = vec![0; COPY_BYTES];
        // By hand, so that it is known which of the two disks is to blame.
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(from.unreadable(&error)),
            };
            target.write_all(&buffer[..n]).map_err(|error| disk(&error, "write", &to))?;
            progress.alive();
        }
        let ended = target.set_permissions(Permissions::from_mode(RUNNABLE));
        ended.map_err(|error| disk(&error, "write", &to))
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
        for name in OTHER_LANGUAGES {
            process.env_remove(name);
        }
        process.env("LANG", LANGUAGE);
        process.envs(environment.variables());
        process.env(FOLDER_VARIABLE, &self.folder);
        process
    }

    /// What is wrong with the file of a command that has failed, if its first bytes tell.
    pub(super) fn complaint(&self, command: &Command) -> Option<String> {
        match command {
            Command::Words(words) => interpreter::complaint(&self.program(&words[0]), &words[0]),
            Command::Shell(_) => None,
        }
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

/// Words that every shell knows and no folder of programs has.
const OF_THE_SHELL: &[&str] = &[
    ".", ":", "alias", "break", "case", "cd", "continue", "eval", "exec", "exit", "export", "for",
    "if", "local", "return", "set", "shift", "source", "times", "trap", "ulimit", "umask", "unset",
    "until", "while", "{",
];

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
            return failure(FailureKind::HostUnfit, message);
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
        io::ErrorKind::NotFound if OF_THE_SHELL.contains(&shown) => {
            format!("{shown} is no program, but the shell's own word: write sh -c '{command}'")
        }
        io::ErrorKind::NotFound => format!(
            "{shown} is neither among the job's files nor in PATH on this host; name it under 'files', or install it \
             on all hosts"
        ),
        _ => "see that it is a program".to_owned(),
    };
    let message = format!("the {role} `{command}` can't be started: {error}: {hint}");
    failure(FailureKind::ProgramUnavailable, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use mapreduce_protocol::TaskKind;

    use super::*;
    use crate::api::{StatusSink, TaskContext};

    fn about(json: &str) -> Streaming {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn files_that_are_copied_and_unpacked_are_signs_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "text").unwrap();
        let archive = folder.path().join("archive");
        let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
        builder.append_path_with_name(&plain, "inside").unwrap();
        builder.into_inner().unwrap();
        for (json, from) in [
            (r#"{"mapper":"cat","files":["plain"]}"#, plain),
            (r#"{"mapper":"cat","archives":["archive"]}"#, archive),
        ] {
            let told = Arc::new(AtomicU32::new(0));
            let heard = Arc::clone(&told);
            let progress = Progress::new(move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            });
            progress.make_due();
            let attempt = tempfile::tempdir().unwrap();
            Workplace::make(attempt.path(), &about(json), &[from], &progress).unwrap();
            assert_eq!(told.load(Ordering::Relaxed), 1, "{json}");
        }
    }

    #[test]
    fn the_language_is_no_users_but_the_jobs_own() {
        let identity = || TaskContext {
            attempt: crate::local::LOCAL_JOB.task(TaskKind::Map, 0).attempt(0),
            job_name: String::new(),
            n_maps: 1,
            n_reduces: 0,
            files: Vec::new(),
            status: StatusSink::default(),
        };
        for (env, lang, all) in [
            ("{}", "C.UTF-8", None),
            (r#"{"LANG": "C"}"#, "C", None),
            (r#"{"LC_ALL": "de_DE.UTF-8"}"#, "C.UTF-8", Some("de_DE.UTF-8")),
        ] {
            let about = about(&format!(r#"{{"mapper": "sort", "env": {env}}}"#));
            let attempt = tempfile::tempdir().unwrap();
            let workplace =
                Workplace::make(attempt.path(), &about, &[], &Progress::untold()).unwrap();
            let environment = Environment::new(&identity(), &about, &workplace);
            let process = workplace.prepare(&"sort".parse().unwrap(), &environment);
            let set: std::collections::BTreeMap<_, _> = process.get_envs().collect();
            let of = |name: &str| set[std::ffi::OsStr::new(name)].and_then(std::ffi::OsStr::to_str);
            assert_eq!((of("LANG"), of("LC_ALL")), (Some(lang), all), "{env}");
            assert_eq!((of("LC_COLLATE"), of("LANGUAGE")), (None, None), "{env}");
        }
    }

    #[test]
    fn a_copy_that_can_not_be_read_is_this_hosts_fault() {
        // As a disk that fails, a folder can be opened and not be read.
        let unreadable = tempfile::tempdir().unwrap();
        for json in [r#"{"mapper":"cat","files":["x"]}"#, r#"{"mapper":"cat","archives":["x"]}"#] {
            let (attempt, files) = (tempfile::tempdir().unwrap(), [unreadable.path().to_owned()]);
            let made = Workplace::make(attempt.path(), &about(json), &files, &Progress::untold());
            let Err(failure) = made else { panic!("{json}") };
            assert_eq!(failure.kind, FailureKind::ProgramUnavailable, "{}", failure.message);
            assert!(failure.message.contains("x can't be read"), "{}", failure.message);
        }
    }
}
