//! The file that names a running daemon's process, where the configuration asks for one.

use std::io;
use std::path::{Path, PathBuf};

use super::DaemonName;

/// Present while its daemon runs; a killed daemon leaves its file, and its successor renews it.
pub(super) struct PidFile {
    path: PathBuf,
}

/// A pid file that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the pid file {path} (cluster.pid_dir): {cause}")]
pub(crate) struct PidFileError {
    path: PathBuf,
    cause: io::Error,
}

impl PidFile {
    /// Writes this process' id to `<folder>/<daemon>.pid`, whole at once.
    pub(super) fn write(folder: &Path, daemon: &DaemonName) -> Result<Self, PidFileError> {
        let path = folder.join(format!("{daemon}.pid"));
        match crate::local_file::write_whole(&path, own_pid().as_bytes()) {
            Ok(()) => Ok(Self { path }),
            Err(cause) => Err(PidFileError { path, cause }),
        }
    }
}

impl Drop for PidFile {
    /// Removes it, if it is still ours.
    fn drop(&mut self) {
        if std::fs::read_to_string(&self.path).is_ok_and(|text| text == own_pid()) {
            std::fs::remove_file(&self.path).ok();
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
        let path = folder.path().join("chunkserver-2.pid");
        let mine = PidFile::write(folder.path(), &DaemonName::Chunkserver(2)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), own_pid());
        drop(mine);
        assert!(!path.exists());
        let mine = PidFile::write(folder.path(), &DaemonName::Chunkserver(2)).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(mine);
        assert!(path.exists());
    }
}
