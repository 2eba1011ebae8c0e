//! A data folder that belongs to one daemon: its lock, and the identity file that names its owner,
//! so that folders that were swapped between hosts or daemons are noticed before anything in them
//! is touched. The rest of the folder is its daemon's business. Called by chunkserver and
//! TaskTracker; the masters' folders are their journals'.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{ClusterId, HostName};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Format version of the identity file.
const FORMAT_VERSION: u32 = 1;
const IDENTITY: &str = "identity.json";
const IDENTITY_PARTIAL: &str = "identity.json.new";
const LOCK: &str = "lock";
/// A process that was just killed holds its lock until its last thread is gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The owner of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Kind of daemon, as its command is called.
    pub role: String,
    /// Its host.
    pub host: HostName,
}

impl Owner {
    /// The daemon `role` of `host`.
    pub fn new(role: impl Into<String>, host: HostName) -> Self {
        Self { role: role.into(), host }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.role, self.host)
    }
}

/// The identity file.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    #[serde(flatten)]
    owner: Owner,
    /// `None` until the first registration.
    cluster: Option<ClusterId>,
}

#[derive(Deserialize)]
struct IdentityHead {
    format: u32,
}

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error(
        "the data folder {} is in use by another process: stop that one, or give the {owner} a folder of its \
         own, in section {} of the configuration",
        path.display(), owner.role
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The daemon that wants it.
        owner: Owner,
    },
    /// It belongs to another daemon, or to another host.
    #[error(
        "the data folder {} belongs to the {found}, not to the {owner}: name the folder that the {owner} had \
         before, or an empty one, in section {} of the configuration; if the host was renamed, rename it in \
         {IDENTITY} there too",
        path.display(), owner.role
    )]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// The owner that it names.
        found: Owner,
        /// The daemon that wants it.
        owner: Owner,
    },
    /// It holds something that is not a daemon's.
    #[error(
        "{} is no data folder of the {owner}, and {} is in it: name another folder, or an empty one",
        path.display(), entry.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The name of what was found in it.
        entry: PathBuf,
        /// The daemon that wants it.
        owner: Owner,
    },
    /// Written by another release.
    #[error(
        "{} has format version {found}, this release reads {FORMAT_VERSION}: start the release that wrote it, \
         or name an empty folder",
        path.display()
    )]
    OtherFormat {
        /// The identity file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The identity file can't be read.
    #[error("{} is damaged ({source}): restore it, or empty the folder", path.display())]
    BadIdentity {
        /// The identity file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The operating system refused an operation.
    #[error("{}: {source}: check that the data folder exists, its owner, mode and free space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl FolderError {
    /// Names the file or folder in an I/O error.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

/// A data folder, locked as long as this lives, however the process ends.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    owner: Owner,
    cluster: Mutex<Option<ClusterId>>,
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if need be (accessible to its owner only, whatever the umask), locks it,
    /// and compares its owner. Blocks.
    ///
    /// # Errors
    /// See [`FolderError`]. Then nothing in the folder was touched except the lock.
    pub fn open(root: &Path, owner: Owner) -> Result<Self, FolderError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(FolderError::io(root))?;
        let root = root.canonicalize().map_err(FolderError::io(root))?;
        if !root.join(IDENTITY).exists() {
            refuse_foreign(&root, &owner)?;
        }
        let lock = lock(&root, &owner)?;
        let folder = Self { root, owner, cluster: Mutex::default(), _lock: lock };
        match folder.read_identity()? {
            Some(identity) if identity.owner == folder.owner => *folder.known() = identity.cluster,
            Some(Identity { owner: found, .. }) => {
                let (path, owner) = (folder.root, folder.owner);
                return Err(FolderError::OtherOwner { path, found, owner });
            }
            None => folder.write_identity(None)?,
        }
        Ok(folder)
    }

    /// Like [`Self::open`], but waits for a previous process that is about to end.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub async fn open_patiently(root: &Path, owner: Owner) -> Result<Self, FolderError> {
        let retries = LOCK_PATIENCE.as_millis() / LOCK_PAUSE.as_millis();
        for _ in 0..retries {
            match Self::open(root, owner.clone()) {
                Err(FolderError::InUse { .. }) => tokio::time::sleep(LOCK_PAUSE).await,
                opened => return opened,
            }
        }
        Self::open(root, owner)
    }

    /// Its path, without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cluster that it belongs to; `None` for a new one.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.known().clone()
    }

    /// Makes the folder belong to a cluster, durably. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn join(&self, cluster: &ClusterId) -> Result<(), FolderError> {
        self.write_identity(Some(cluster))?;
        *self.known() = Some(cluster.clone());
        Ok(())
    }

    /// The lock is never held across a write.
    fn known(&self) -> MutexGuard<'_, Option<ClusterId>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_identity(&self) -> Result<Option<Identity>, FolderError> {
        let path = self.root.join(IDENTITY);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FolderError::io(&path)(error)),
        };
        let bad = |source| FolderError::BadIdentity { path: path.clone(), source };
        // The version comes first: another release may write the rest differently.
        let IdentityHead { format: found } = serde_json::from_slice(&text).map_err(bad)?;
        if found != FORMAT_VERSION {
            return Err(FolderError::OtherFormat { path, found });
        }
        serde_json::from_slice(&text).map(Some).map_err(bad)
    }

    fn write_identity(&self, cluster: Option<&ClusterId>) -> Result<(), FolderError> {
        let (owner, cluster) = (self.owner.clone(), cluster.cloned());
        let identity = Identity { format: FORMAT_VERSION, owner, cluster };
        let text = serde_json::to_vec(&identity).expect("an identity is plain data");
        let (path, partial) = (self.root.join(IDENTITY), self.root.join(IDENTITY_PARTIAL));
        let written = File::create(&partial)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&partial, &path))
            .and_then(|()| File::open(&self.root)?.sync_all());
        written.map_err(FolderError::io(&path))
    }
}

/// A folder without an identity must be empty, as daemons delete files in theirs.
fn refuse_foreign(root: &Path, owner: &Owner) -> Result<(), FolderError> {
    for entry in std::fs::read_dir(root).map_err(FolderError::io(root))? {
        let entry = PathBuf::from(entry.map_err(FolderError::io(root))?.file_name());
        // An interrupted first start leaves the first two, a new file system the last one.
        if ![LOCK, IDENTITY_PARTIAL, "lost+found"].map(Path::new).contains(&entry.as_path()) {
            let (path, owner) = (root.to_owned(), owner.clone());
            return Err(FolderError::Foreign { path, entry, owner });
        }
    }
    Ok(())
}

fn lock(root: &Path, owner: &Owner) -> Result<File, FolderError> {
    let path = root.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(FolderError::io(&path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => {
            Err(FolderError::InUse { path: root.to_owned(), owner: owner.clone() })
        }
        Err(error) => Err(FolderError::io(&path)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn owner(role: &str, host: &str) -> Owner {
        Owner::new(role, host.parse().unwrap())
    }

    #[test]
    fn a_folder_with_something_of_somebody_elses_is_refused_and_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let theirs = place.path().join("programs");
        std::fs::create_dir(&theirs).unwrap();
        let refused = DataFolder::open(place.path(), owner("tasktracker", "host-1")).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("programs is in it") && said.contains("tasktracker"), "{said}");
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        std::fs::remove_dir(&theirs).unwrap();
        std::fs::create_dir(place.path().join("lost+found")).unwrap();
        DataFolder::open(place.path(), owner("tasktracker", "host-1")).unwrap();
    }

    #[test]
    fn a_new_folder_is_for_its_owner_alone_and_admits_one_process() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("a/data");
        let folder = DataFolder::open(&root, owner("chunkserver", "host-1")).unwrap();
        let mode = std::fs::metadata(&root).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{mode:o}");
        let error = DataFolder::open(&root, owner("chunkserver", "host-1")).unwrap_err();
        assert!(matches!(error, FolderError::InUse { .. }), "{error}");
        assert_eq!(folder.cluster(), None);
        let cluster: ClusterId = "cluster-1".parse().unwrap();
        folder.join(&cluster).unwrap();
        assert_eq!(folder.cluster(), Some(cluster.clone()));
        drop(folder);
        let folder = DataFolder::open(&root, owner("chunkserver", "host-1")).unwrap();
        assert_eq!(folder.cluster(), Some(cluster));
    }

    #[test]
    fn a_folder_of_another_host_or_daemon_is_refused_and_both_are_named() {
        let place = tempfile::tempdir().unwrap();
        drop(DataFolder::open(place.path(), owner("chunkserver", "host-1")).unwrap());
        for other in [owner("chunkserver", "host-2"), owner("tasktracker", "host-1")] {
            let error = DataFolder::open(place.path(), other.clone()).unwrap_err();
            assert!(matches!(error, FolderError::OtherOwner { .. }), "{error}");
            let error = error.to_string();
            for part in ["the chunkserver of host-1", &format!("not to the {other}")] {
                assert!(error.contains(part), "no {part} in {error}");
            }
        }
        DataFolder::open(place.path(), owner("chunkserver", "host-1")).unwrap();
    }

    #[test]
    fn an_identity_that_cannot_be_read_is_refused_with_a_remedy() {
        for (text, expected) in [
            (r#"{"format": 2, "shape": "new"}"#, "format version 2"),
            (r#"{"format": 1, "role": "chunkserver"}"#, "restore it"),
            ("garbage", "restore it"),
        ] {
            let place = tempfile::tempdir().unwrap();
            std::fs::write(place.path().join(IDENTITY), text).unwrap();
            let error = DataFolder::open(place.path(), owner("chunkserver", "host-1"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(IDENTITY), "{error}");
        }
    }

    #[tokio::test]
    async fn the_lock_of_a_process_that_is_about_to_end_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let former = DataFolder::open(place.path(), owner("chunkserver", "host-1")).unwrap();
        let waiting = DataFolder::open_patiently(place.path(), owner("chunkserver", "host-1"));
        let ending = async {
            tokio::task::yield_now().await;
            drop(former);
        };
        let (opened, ()) = tokio::join!(biased; waiting, ending);
        opened.unwrap();
    }
}
