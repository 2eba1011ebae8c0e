//! Daemons of the cluster that somebody has started again by hand: they are no children of the supervisor, and would
//! outlive it. Their pid files, which running daemons hold locked, name them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Time between asking a daemon to stop and ending it.
const STOP_GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Stops those whose pid files are in `folder`, the last to be started first.
pub(super) async fn stop_all(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "pid"));
    // By their names they stand in the order in which they are started.
    files.sort();
    for file in files.iter().rev() {
        stop(file, STOP_GRACE).await;
    }
}

async fn stop(file: &Path, grace: Duration) {
    let Some(pid) = running(file) else { return };
    crate::say::say!("stopping {}, which was started by hand", name_of(file));
    let asked = clock::Stopwatch::start();
    // It may have ended in between: then there is nobody to tell.
    kill_process(pid, Signal::TERM).ok();
    while running(file) == Some(pid) {
        if asked.elapsed() > grace {
            crate::say::say!("{} does not stop; ending it", name_of(file));
            kill_process(pid, Signal::KILL).ok();
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The process that holds a pid file.
fn running(file: &Path) -> Option<Pid> {
    let opened = File::open(file).ok()?;
    match flock(&opened, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
            Pid::from_raw(pid)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn now(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work);
    }

    /// A process that holds a pid file as a daemon does.
    fn daemon(file: &Path, command: &str) -> Child {
        let script = format!("{command} echo $$ > {0}; exec sleep 600", file.display());
        let mut holder = Command::new("flock");
        let child = holder.arg("-x").arg(file).args(["sh", "-c", &script]).spawn().unwrap();
        while running(file).is_none() {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn daemons_that_run_are_stopped_and_left_pid_files_stop_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tasktracker-1.pid");
        let mut child = daemon(&file, "");
        // Of a killed daemon: the number may be somebody else's by now.
        let left = folder.path().join("jobtracker.pid");
        fs::write(&left, format!("{}\n", std::process::id())).unwrap();
        now(stop_all(folder.path()));
        assert!(running(&file).is_none() && !child.wait().unwrap().success());
        assert!(left.exists());
    }

    #[test]
    fn one_that_does_not_stop_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobtracker.pid");
        let mut child = daemon(&file, "trap '' TERM;");
        now(stop(&file, Duration::ZERO));
        assert!(!child.wait().unwrap().success());
    }
}
