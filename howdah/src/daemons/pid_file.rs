//! The file that names a running daemon's process, where the configuration asks for one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::DaemonName;
use crate::predecessor::patiently;

/// Present, and locked, while its daemon runs. A killed daemon leaves its file, and its successor renews
/// it; one that comes too early, while the daemon runs, changes nothing.
pub(super) struct PidFile {
    path: PathBuf,
    _locked: File,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// It can't be written.
    #[error("cannot write the pid file {path} (cluster.pid_dir): {cause}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is that of a running daemon.
    #[error(
        "the {daemon} runs already, as process {pid} ({path}): stop that one first; a second cluster on \
         this machine needs its own cluster.pid_dir, data folders and ports"
    )]
    Running {
        /// The daemon.
        daemon: String,
        /// The file.
        path: PathBuf,
        /// What stands in it.
        pid: String,
    },
}

impl PidFile {
    /// Writes this process' id to `<folder>/<daemon>.pid`; a predecessor that is just ending is waited
    /// for.
    pub(super) fn write(folder: &Path, daemon: &DaemonName) -> Result<Self, PidFileError> {
        let path = folder.join(format!("{daemon}.pid"));
        let locked = patiently(|| lock(&path), |error| *error == Errno::WOULDBLOCK);
        let written = match locked {
            Err(Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(PidFileError::Running { daemon: daemon.to_string(), path, pid });
            }
            locked => locked.map_err(io::Error::from).and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(own_pid().as_bytes())?;
                Ok(file)
            }),
        };
        match written {
            Ok(locked) => Ok(Self { path, _locked: locked }),
            Err(cause) => Err(PidFileError::Unwritable { path, cause }),
        }
    }
}

/// The file, made if missing, and locked; busy too if its daemon removed it in between.
fn lock(path: &Path) -> Result<File, Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(errno)?;
    }
    let open = File::options().create(true).truncate(false).write(true).open(path);
    let file = open.map_err(errno)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let locked = file.metadata().map_err(errno)?.ino();
    match fs::metadata(path) {
        Ok(there) if there.ino() == locked => Ok(file),
        _ => Err(Errno::WOULDBLOCK),
    }
}

impl Drop for PidFile {
    /// Removes it, if it is still ours.
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == own_pid()) {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn own_pid() -> String {
    format!("{}\n", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_lives_with_its_daemon_and_never_removes_its_successors() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("run/pids");
        let path = pids.join("chunkserver-2.pid");
        let mine = PidFile::write(&pids, &DaemonName::Chunkserver(2)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), own_pid());
        drop(mine);
        assert!(!path.exists());
        fs::write(&path, "a killed predecessor's\n").unwrap();
        let mine = PidFile::write(&pids, &DaemonName::Chunkserver(2)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), own_pid());
        fs::write(&path, "1\n").unwrap();
        drop(mine);
        assert!(path.exists());
    }

    #[test]
    fn the_pid_file_of_a_running_daemon_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunkmaster.pid");
        fs::write(&path, "17\n").unwrap();
        let _running = lock(&path).unwrap();
        let refused = PidFile::write(folder.path(), &DaemonName::Chunkmaster).map(drop);
        let refused = refused.unwrap_err().to_string();
        for part in ["the chunkmaster runs", "process 17", path.to_str().unwrap()] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "17\n");
    }
}
