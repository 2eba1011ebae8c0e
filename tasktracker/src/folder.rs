//! The data folder: its rooms, and the cleaning up after a former process. Whose it is, `daemon` knows.
//!
//! ```text
//! lock, identity.json      see `daemon::DataFolder`
//! attempts/<attempt>/      working folder of a running attempt; gone with it
//! outputs/<job>/…          map outputs, see `map_outputs`
//! programs/…               see `programs`
//! logs/<job>/…             see `logs`
//! ```

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use daemon::FolderError;
use ids::ClusterId;
use mapreduce_protocol::{AttemptId, JobId};

use crate::map_outputs::MapOutputs;
use crate::orphans;

/// An opened data folder; it stays locked as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    own: daemon::DataFolder,
}

impl DataFolder {
    /// Makes the folder's rooms and removes what attempts of a former process have left: processes first,
    /// then folders.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn open(own: daemon::DataFolder) -> Result<Self, FolderError> {
        let folder = Self { own };
        let killed = orphans::kill_strays(&folder.attempts());
        if killed > 0 {
            tracing::warn!(killed, "ended task processes that a former tasktracker has left");
        }
        remove_all(&folder.attempts())?;
        for room in [folder.attempts(), folder.programs()] {
            make_room(&room, PASSABLE)?;
        }
        for room in [folder.outputs(), folder.logs()] {
            make_room(&room, 0o700)?;
        }
        Ok(folder)
    }

    /// Lets other users pass through to the attempts' folders and the programs, without seeing what there
    /// is.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn let_others_pass(&self) -> Result<(), FolderError> {
        let root = self.own.root();
        let mode = std::fs::Permissions::from_mode(PASSABLE);
        std::fs::set_permissions(root, mode).map_err(FolderError::io(root))
    }

    /// The cluster that this folder belongs to; `None` for a new one.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.own.cluster()
    }

    /// Makes the folder belong to a cluster, durably.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn join(&self, cluster: &ClusterId) -> Result<(), FolderError> {
        self.own.join(cluster)
    }

    /// Where it is, without links.
    pub(crate) fn root(&self) -> &Path {
        self.own.root()
    }

    pub(crate) fn attempts(&self) -> PathBuf {
        self.own.root().join("attempts")
    }

    /// The working folder of an attempt.
    pub(crate) fn attempt(&self, attempt: AttemptId) -> PathBuf {
        self.attempts().join(attempt.to_string())
    }

    fn outputs(&self) -> PathBuf {
        self.own.root().join("outputs")
    }

    pub(crate) fn map_outputs(&self) -> MapOutputs {
        MapOutputs::new(self.outputs())
    }

    /// The folder of a job's map outputs, made if need be.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn make_outputs_of(&self, job: JobId) -> io::Result<()> {
        std::fs::create_dir_all(self.map_outputs().of_job(job))
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.own.root().join("programs")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.own.root().join("logs")
    }
}

/// Mode of folders that lead others to what is theirs.
const PASSABLE: u32 = 0o711;

fn make_room(path: &Path, mode: u32) -> Result<(), FolderError> {
    let made = std::fs::create_dir_all(path);
    let mode = std::fs::Permissions::from_mode(mode);
    made.and_then(|()| std::fs::set_permissions(path, mode)).map_err(FolderError::io(path))
}

/// Removes a file or folder, if it is there.
fn remove_all(path: &Path) -> Result<(), FolderError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_former_process_was_at_is_cleaned_up() {
        let place = tempfile::tempdir().unwrap();
        let open = async || {
            let owner = daemon::Owner::new("tasktracker", "host-1".parse().unwrap());
            // A child that another test is just starting may hold a copy of the lock.
            let own = daemon::DataFolder::open_patiently(place.path(), owner).await;
            DataFolder::open(own.unwrap()).unwrap()
        };
        let folder = open().await;
        let (left_over, kept) = (folder.attempts().join("left-over"), folder.logs().join("kept"));
        std::fs::create_dir(&left_over).unwrap();
        std::fs::create_dir(&kept).unwrap();
        drop(folder);
        open().await;
        assert!(!left_over.exists() && kept.exists());
    }
}
