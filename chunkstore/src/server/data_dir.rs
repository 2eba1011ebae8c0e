//! A chunkserver's data folder: whose it is, which files it holds under which names, and what is found
//! in it at start. The bytes behind a chunk are `footer`'s, writing and reading chunks `open_chunk`'s and
//! `download`'s.
//!
//! ```text
//! cluster            {"format": 1, "daemon": "chunkserver", "cluster": "<id>"}
//! lock               held by the running process
//! chunks/2a/000000000000002a_1.chunk    sealed: chunk id, version; the folder is the id's last two digits
//! chunks/2a/000000000000002a_1.open     being written; removed at start
//! chunks/2a/000000000000002a_1.bad      set aside: found corrupt; never served, removed by hand
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use chunkstore_core::replica::{ReplicaKey, Sealed, Space};
use chunkstore_protocol::Version;
use ids::ClusterId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::footer::{FOOTER_BYTES_MAX, Footer, FooterError};

/// Version of the folder's layout.
const FORMAT_VERSION: u32 = 1;
const DAEMON: &str = "chunkserver";

/// The `cluster` file.
#[derive(Debug, Serialize, Deserialize)]
struct ClusterFile {
    format: u32,
    daemon: String,
    cluster: ClusterId,
}

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system says no.
    #[error("{}: {source}: check that the data folder exists, and its owner and mode", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process uses it.
    #[error(
        "the data folder {} is in use by another process: stop that one, or give this chunkserver a \
         folder of its own (chunkserver.data_dir)",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Its identity file is not readable.
    #[error(
        "{}: {source}: restore it, or empty the folder so that the chunks are copied here again",
        path.display()
    )]
    BadIdentity {
        /// The identity file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Of a later release.
    #[error(
        "the data folder {} has format version {found}, and this release reads version 1: start the \
         release that wrote it, or a later one",
        path.display()
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It belongs to another kind of daemon.
    #[error(
        "the data folder {} belongs to a {found}: give this chunkserver a folder of its own \
         (chunkserver.data_dir)",
        path.display()
    )]
    OtherDaemon {
        /// The folder.
        path: PathBuf,
        /// That kind.
        found: String,
    },
    /// It has chunks of nobody knows which cluster.
    #[error(
        "the data folder {} holds chunks but no `cluster` file: restore that file, or move the chunks \
         away",
        path.display()
    )]
    NoIdentity {
        /// The folder.
        path: PathBuf,
    },
}

/// What stands in the way of reading a replica.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It can't be opened or read.
    #[error(transparent)]
    Io(io::Error),
    /// It is not what its name says.
    #[error(transparent)]
    Footer(#[from] FooterError),
}

impl OpenError {
    /// Whether the replica itself is bad, for good: then it may be set aside. A process that has too few
    /// descriptors or rights, or a file of a later release, must not cost a replica.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Missing | Self::Footer(FooterError::NewerFormat { .. }) => false,
            Self::Footer(_) => true,
            Self::Io(error) => is_media_error(error),
        }
    }
}

/// Whether a read failed for what is on the disk.
pub(super) fn is_media_error(error: &io::Error) -> bool {
    let media = [Errno::IO, Errno::UCLEAN, Errno::BADMSG].map(Errno::raw_os_error);
    error.kind() == io::ErrorKind::UnexpectedEof
        || error.raw_os_error().is_some_and(|code| media.contains(&code))
}

/// A locked data folder.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    reserve_bytes: u64,
    /// Released by the operating system when the process ends, however it does.
    _lock: File,
}

/// What a data folder held at start.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) sealed: Vec<(ReplicaKey, Sealed)>,
    /// Uploads that the last process left unfinished, now removed.
    pub(super) n_removed: u64,
    /// Replicas set aside now.
    pub(super) n_bad: u64,
}

impl DataDir {
    /// Takes the folder, makes what is missing in it, and says whose it is (`None`: nobody's yet).
    pub(super) fn open(
        root: &Path,
        reserve_bytes: u64,
    ) -> Result<(Self, Option<ClusterId>), DataDirError> {
        // Chunks hold what tokens guard: the folder is for the daemon alone, whatever the umask.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root.join("chunks"));
        made.map_err(io_error(root))?;
        let lock_path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error(&lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(DataDirError::InUse { path: root.to_owned() });
        }
        let cluster = read_cluster(root)?;
        let dir = Self { root: root.to_owned(), reserve_bytes, _lock: lock };
        sync_folder(root).map_err(io_error(root))?;
        Ok((dir, cluster))
    }

    /// Keeps the cluster that this folder belongs to from now on, durably.
    pub(super) fn keep_cluster(&self, cluster: &ClusterId) -> Result<(), DataDirError> {
        let path = self.root.join("cluster");
        let partial = self.root.join("cluster.new");
        let file = ClusterFile {
            format: FORMAT_VERSION,
            daemon: DAEMON.to_owned(),
            cluster: cluster.clone(),
        };
        let text = serde_json::to_vec(&file).expect("an identity is plain data");
        write_synced(&partial, &text)
            .and_then(|()| fs::rename(&partial, &path))
            .and_then(|()| sync_folder(&self.root))
            .map_err(io_error(&path))
    }

    /// Lists the sealed replicas, removes unfinished ones, and sets broken ones aside. `cluster`: whose
    /// folder it is.
    pub(super) fn scan(&self, cluster: Option<&ClusterId>) -> Result<Found, DataDirError> {
        let mut found = Found::default();
        for prefix in 0..=u8::MAX {
            let folder = self.folder(prefix);
            if !folder.exists() {
                continue;
            }
            for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
                let path = entry.map_err(io_error(&folder))?.path();
                self.classify(&path, &mut found)?;
            }
        }
        if cluster.is_none() && !found.sealed.is_empty() {
            return Err(DataDirError::NoIdentity { path: self.root.clone() });
        }
        found.sealed.sort_by_key(|(replica, _)| *replica);
        Ok(found)
    }

    fn classify(&self, path: &Path, found: &mut Found) -> Result<(), DataDirError> {
        match parse_name(path) {
            Some((_, "open")) => {
                fs::remove_file(path).map_err(io_error(path))?;
                found.n_removed += 1;
            }
            Some((replica, "chunk")) => {
                match self.open_file(replica).and_then(|file| read_footer(&file, replica)) {
                    Ok(footer) => found.sealed.push((replica, footer.sealed())),
                    Err(error) if error.is_broken() => {
                        tracing::error!(path = %path.display(), %error, "a chunk file is broken");
                        self.set_aside(replica);
                        found.n_bad += 1;
                    }
                    Err(OpenError::Io(error)) => return Err(io_error(path)(error)),
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "a chunk file is not served");
                    }
                }
            }
            Some((_, "bad")) => {
                tracing::warn!(path = %path.display(), "a broken chunk file lies here, not served");
            }
            Some(_) | None => {
                tracing::warn!(path = %path.display(), "not a file of the chunkserver: left alone");
            }
        }
        Ok(())
    }

    /// Makes the file of a replica to be written, and its folder if that is its first one.
    pub(super) fn create_file(&self, replica: ReplicaKey) -> io::Result<File> {
        let path = self.open_path(replica);
        let create = || File::options().write(true).create(true).truncate(true).open(&path);
        match (create(), path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                sync_folder(&self.root.join("chunks"))?;
                create()
            }
            (created, _) => created,
        }
    }

    /// Opens a sealed replica's file.
    pub(super) fn open_file(&self, replica: ReplicaKey) -> Result<File, OpenError> {
        File::open(self.sealed_path(replica)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing,
            _ => OpenError::Io(error),
        })
    }

    /// Renames a replica that must not be served any more; best effort, as its disk may be failing.
    pub(super) fn set_aside(&self, replica: ReplicaKey) {
        let (from, to) = (self.sealed_path(replica), self.path(replica, "bad"));
        match fs::rename(&from, &to) {
            Ok(()) => tracing::warn!(path = %to.display(), "a broken replica is set aside"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(path = %from.display(), %error, "a broken replica can't be set aside");
            }
        }
    }

    /// Removes a sealed replica; a missing one counts as removed.
    pub(super) fn remove_sealed(&self, replica: ReplicaKey) -> io::Result<()> {
        match fs::remove_file(self.sealed_path(replica)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Size and room of the disk.
    pub(super) fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let unit = stat.f_frsize;
        let free = stat.f_bavail.saturating_mul(unit).saturating_sub(self.reserve_bytes);
        Ok(Space { capacity: stat.f_blocks.saturating_mul(unit), free })
    }

    /// Where the folder is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A sealed replica's file.
    pub(super) fn sealed_path(&self, replica: ReplicaKey) -> PathBuf {
        self.path(replica, "chunk")
    }

    /// A replica's file while it is written.
    pub(super) fn open_path(&self, replica: ReplicaKey) -> PathBuf {
        self.path(replica, "open")
    }

    fn path(&self, ReplicaKey { chunk, version }: ReplicaKey, suffix: &str) -> PathBuf {
        let [prefix, ..] = chunk.0.to_le_bytes();
        self.folder(prefix).join(format!("{chunk}_{}.{suffix}", version.0))
    }

    /// By the id's last digits: ids are counted up, so that these spread evenly.
    fn folder(&self, prefix: u8) -> PathBuf {
        self.root.join("chunks").join(format!("{prefix:02x}"))
    }
}

/// Reads the footer of a sealed replica from its file.
pub(super) fn read_footer(file: &File, replica: ReplicaKey) -> Result<Footer, OpenError> {
    let length = file.metadata().map_err(OpenError::Io)?.len();
    let n = usize::try_from(length).unwrap_or(usize::MAX).min(FOOTER_BYTES_MAX);
    let mut end = vec![0; n];
    file.read_exact_at(&mut end, length - n as u64).map_err(OpenError::Io)?;
    Ok(Footer::decode(replica, &end, length)?)
}

/// Makes a folder's entries durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parse_name(path: &Path) -> Option<(ReplicaKey, &str)> {
    let (name, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    let (chunk, version) = name.split_once('_')?;
    let replica =
        ReplicaKey { chunk: chunk.parse().ok()?, version: Version(version.parse().ok()?) };
    Some((replica, suffix))
}

fn read_cluster(root: &Path) -> Result<Option<ClusterId>, DataDirError> {
    let path = root.join("cluster");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path)(error)),
    };
    let bad = |source| DataDirError::BadIdentity { path: path.clone(), source };
    // The version first: a later release may write the rest otherwise.
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(bad)?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found > u64::from(FORMAT_VERSION) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(DataDirError::NewerFormat { path: root.to_owned(), found });
    }
    let file: ClusterFile = serde_json::from_value(value).map_err(bad)?;
    if file.daemon != DAEMON {
        return Err(DataDirError::OtherDaemon { path: root.to_owned(), found: file.daemon });
    }
    Ok(Some(file.cluster))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use chunkstore_protocol::ChunkId;

    fn cluster() -> ClusterId {
        "cluster-1".parse().unwrap()
    }

    fn replica(chunk: u64) -> ReplicaKey {
        ReplicaKey { chunk: ChunkId(chunk), version: Version(1) }
    }

    fn put(dir: &DataDir, replica: ReplicaKey, data: &[u8]) -> PathBuf {
        dir.create_file(replica).unwrap();
        fs::remove_file(dir.open_path(replica)).unwrap();
        let blocks = vec![chunkstore_client::checksum::crc32c(data)];
        let footer = Footer { replica, length: data.len() as u64, blocks };
        let path = dir.sealed_path(replica);
        fs::write(&path, [data, &footer.encode()].concat()).unwrap();
        path
    }

    #[test]
    fn a_new_folder_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let _dir = DataDir::open(&root, 0).unwrap();
        for made in [root.clone(), root.join("chunks")] {
            let mode = fs::metadata(&made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}: {mode:o}", made.display());
        }
    }

    #[test]
    fn a_folder_knows_its_cluster_and_admits_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, found) = DataDir::open(folder.path(), 0).unwrap();
        assert_eq!(found, None);
        assert!(matches!(DataDir::open(folder.path(), 0), Err(DataDirError::InUse { .. })));
        dir.keep_cluster(&cluster()).unwrap();
        drop(dir);
        let (_dir, found) = DataDir::open(folder.path(), 0).unwrap();
        assert_eq!(found, Some(cluster()));
    }

    #[test]
    fn folders_of_later_releases_and_of_other_daemons_are_refused_with_a_remedy() {
        for (text, expected) in [
            (r#"{"format": 2, "shape": "new"}"#, "format version 2"),
            (r#"{"format": 1, "daemon": "jobtracker", "cluster": "cluster-1"}"#, "jobtracker"),
            (r#"{"format": 1}"#, "restore it"),
            ("garbage", "restore it"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("cluster"), text).unwrap();
            let error = DataDir::open(folder.path(), 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_scan_lists_the_sealed_removes_the_unfinished_and_sets_the_broken_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, _) = DataDir::open(folder.path(), 0).unwrap();
        put(&dir, replica(1), b"good");
        let torn = put(&dir, replica(2), b"torn");
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
        fs::rename(put(&dir, replica(3), b"other"), dir.sealed_path(replica(0x0103))).unwrap();
        dir.create_file(replica(4)).unwrap();
        fs::write(dir.root().join("chunks/01/notes.txt"), b"somebody's").unwrap();
        let found = dir.scan(Some(&cluster())).unwrap();
        let listed: Vec<_> = found.sealed.iter().map(|(replica, s)| (*replica, s.length)).collect();
        assert_eq!(listed, [(replica(1), 4)]);
        assert_eq!((found.n_removed, found.n_bad), (1, 2));
        assert!(torn.with_extension("bad").exists() && !torn.exists());
        assert!(!dir.open_path(replica(4)).exists());
        assert!(dir.root().join("chunks/01/notes.txt").exists());
        let again = dir.scan(Some(&cluster())).unwrap();
        assert_eq!((again.sealed.len(), again.n_removed, again.n_bad), (1, 0, 0));
    }

    #[test]
    fn only_what_is_wrong_on_the_disk_costs_a_replica() {
        for (error, broken) in [
            (OpenError::Io(Errno::IO.into()), true),
            (OpenError::Io(io::ErrorKind::UnexpectedEof.into()), true),
            (OpenError::Footer(FooterError::Corrupt), true),
            (OpenError::Io(Errno::MFILE.into()), false),
            (OpenError::Io(Errno::ACCESS.into()), false),
            (OpenError::Io(io::Error::other("task was cancelled")), false),
            (OpenError::Footer(FooterError::NewerFormat { found: 2 }), false),
            (OpenError::Missing, false),
        ] {
            assert_eq!(error.is_broken(), broken, "{error:?}");
        }
    }

    #[test]
    fn chunks_of_an_unknown_cluster_are_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, _) = DataDir::open(folder.path(), 0).unwrap();
        assert!(dir.scan(None).unwrap().sealed.is_empty());
        put(&dir, replica(1), b"whose?");
        assert!(matches!(dir.scan(None), Err(DataDirError::NoIdentity { .. })));
    }
}
