//! The data folder: its lock, its identity, its rooms, and the cleaning up after a former process.
//!
//! ```text
//! lock                     held by the process that uses the folder
//! identity.json            cluster id and format version
//! attempts/<attempt>/      working folder of a running attempt; gone with it
//! outputs/<job>/…          map outputs, see `map_outputs`
//! programs/…               see `programs`
//! logs/<job>/…             see `logs`
//! ```

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ids::ClusterId;
use mapreduce_protocol::{AttemptId, JobId};
use serde::{Deserialize, Serialize};

use crate::map_outputs::MapOutputs;
use crate::process;

/// Version of the folder's layout.
const FORMAT_VERSION: u32 = 1;

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error(
        "another tasktracker runs on the data folder {}: stop it, or give this one a folder of its own",
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Written by another version of this program.
    #[error(
        "the data folder {} has format version {found}, this program {FORMAT_VERSION}: empty the folder (it holds no data that a job can't make again)",
        path.display()
    )]
    WrongFormat {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The identity file is damaged.
    #[error(
        "{} is damaged: remove it, and the tasktracker will join the cluster anew ({source})",
        path.display()
    )]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It can't be read or written.
    #[error("the data folder: {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FolderError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    cluster: ClusterId,
}

/// An opened data folder; it stays locked as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    root: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Locks the folder, makes its rooms and removes what attempts of a former process have left:
    /// processes first, then folders.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub(crate) fn open(root: &Path) -> Result<Self, FolderError> {
        // What jobs read and write is for nobody else on this host.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(FolderError::io(root))?;
        let root = root.canonicalize().map_err(FolderError::io(root))?;
        let lock_path = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(FolderError::io(&lock_path))?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        match rustix::fs::flock(&lock, exclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(FolderError::Locked { path: root }),
            Err(error) => return Err(FolderError::io(&lock_path)(error.into())),
        }
        let folder = Self { root, _lock: lock };
        let killed = process::kill_strays(&folder.attempts());
        if killed > 0 {
            tracing::warn!(killed, "ended task processes that a former tasktracker has left");
        }
        remove_all(&folder.attempts())?;
        for room in [folder.attempts(), folder.outputs(), folder.programs(), folder.logs()] {
            std::fs::create_dir_all(&room).map_err(FolderError::io(&room))?;
        }
        Ok(folder)
    }

    /// The cluster that this folder belongs to; `None` for a new one.
    ///
    /// # Errors
    /// When the file is damaged, or of another version.
    pub(crate) fn cluster(&self) -> Result<Option<ClusterId>, FolderError> {
        let path = self.identity();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::Io { path, source }),
        };
        let identity: Identity = serde_json::from_slice(&text)
            .map_err(|source| FolderError::BadIdentity { path, source })?;
        match identity.format {
            FORMAT_VERSION => Ok(Some(identity.cluster)),
            found => Err(FolderError::WrongFormat { path: self.root.clone(), found }),
        }
    }

    /// Makes the folder belong to a cluster, durably.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn join(&self, cluster: &ClusterId) -> Result<(), FolderError> {
        let identity = Identity { format: FORMAT_VERSION, cluster: cluster.clone() };
        let text = serde_json::to_vec(&identity).expect("an identity is plain data");
        let (path, temporary) = (self.identity(), self.root.join("identity.json.new"));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.root)?.sync_all());
        written.map_err(FolderError::io(&path))
    }

    fn identity(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    pub(crate) fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    /// The working folder of an attempt.
    pub(crate) fn attempt(&self, attempt: AttemptId) -> PathBuf {
        self.attempts().join(attempt.to_string())
    }

    fn outputs(&self) -> PathBuf {
        self.root.join("outputs")
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
        self.root.join("programs")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_data_folder_is_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("data");
        DataFolder::open(&root).unwrap();
        assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_belongs_to_one_process_and_one_cluster() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("data");
        let folder = DataFolder::open(&root).unwrap();
        assert!(matches!(DataFolder::open(&root), Err(FolderError::Locked { .. })));
        assert_eq!(folder.cluster().unwrap(), None);
        let cluster: ClusterId = "cluster-1".parse().unwrap();
        folder.join(&cluster).unwrap();
        std::fs::create_dir(folder.attempts().join("left-over")).unwrap();
        drop(folder);
        let folder = DataFolder::open(&root).unwrap();
        assert_eq!(folder.cluster().unwrap(), Some(cluster));
        assert!(!folder.attempts().join("left-over").exists());
        std::fs::write(folder.identity(), "{\"format\":2,\"cluster\":\"cluster-1\"}").unwrap();
        assert!(matches!(folder.cluster(), Err(FolderError::WrongFormat { found: 2, .. })));
        std::fs::write(folder.identity(), "{").unwrap();
        assert!(matches!(folder.cluster(), Err(FolderError::BadIdentity { .. })));
    }
}
