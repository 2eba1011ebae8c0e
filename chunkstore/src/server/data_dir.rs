//! A chunkserver's data folder: which files it holds under which names, and what is found in it at start.
//! Whose it is, `daemon` knows; the bytes behind a chunk are `footer`'s, writing and reading chunks `open_chunk`'s and
//! `download`'s.
//!
//! ```text
//! lock, identity.json                   see `daemon::DataFolder`
//! chunks/2a/000000000000002a_1.chunk    sealed: chunk id, version; the folder is the id's last two digits
//! chunks/2a/000000000000002a_1.open     being written; removed at start
//! chunks/2a/000000000000002a_1.bad      set aside: found corrupt; never served, removed by hand
//! ```

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use chunkstore_core::replica::{ReplicaKey, Sealed, Space};
use chunkstore_protocol::Version;
use daemon::{DataFolder, FolderError};
use ids::ClusterId;
use rustix::io::Errno;

use super::footer::{FOOTER_BYTES_MAX, Footer, FooterError};

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is another's, or can't be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It has chunks of nobody knows which cluster.
    #[error(
        "the data folder {} holds chunks, and nothing says of which cluster: restore its identity.json, or \
         move the chunks away",
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

/// A data folder in use.
#[derive(Debug)]
pub(super) struct DataDir {
    own: DataFolder,
    reserve_bytes: u64,
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
    /// Makes what is missing in the folder.
    pub(super) fn open(own: DataFolder, reserve_bytes: u64) -> Result<Self, DataDirError> {
        let chunks = own.root().join("chunks");
        // Chunks hold what tokens guard: they are for the daemon alone, whatever the umask.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&chunks);
        made.and_then(|()| sync_folder(own.root())).map_err(io_error(&chunks))?;
        Ok(Self { own, reserve_bytes })
    }

    /// The cluster that this folder belongs to; `None`: nobody's yet.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.own.cluster()
    }

    /// Keeps the cluster that this folder belongs to from now on, durably.
    pub(super) fn keep_cluster(&self, cluster: &ClusterId) -> Result<(), DataDirError> {
        Ok(self.own.join(cluster)?)
    }

    /// Lists the sealed replicas, removes unfinished ones, and sets broken ones aside.
    pub(super) fn scan(&self) -> Result<Found, DataDirError> {
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
        if self.cluster().is_none() && !found.sealed.is_empty() {
            return Err(DataDirError::NoIdentity { path: self.root().to_owned() });
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
                sync_folder(&self.root().join("chunks"))?;
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
        let stat = rustix::fs::statvfs(self.root())?;
        let unit = stat.f_frsize;
        let free = stat.f_bavail.saturating_mul(unit).saturating_sub(self.reserve_bytes);
        Ok(Space { capacity: stat.f_blocks.saturating_mul(unit), free })
    }

    /// Where the folder is.
    pub(super) fn root(&self) -> &Path {
        self.own.root()
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
        self.root().join("chunks").join(format!("{prefix:02x}"))
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

fn io_error(path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let named = FolderError::io(path);
    move |source| named(source).into()
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::ChunkId;

    use super::*;

    fn open(folder: &tempfile::TempDir) -> DataDir {
        let owner = daemon::Owner::new("chunkserver", "host-1".parse().unwrap());
        DataDir::open(DataFolder::open(folder.path(), owner).unwrap(), 0).unwrap()
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
    fn a_scan_lists_the_sealed_removes_the_unfinished_and_sets_the_broken_aside() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(&folder);
        dir.keep_cluster(&"cluster-1".parse().unwrap()).unwrap();
        put(&dir, replica(1), b"good");
        let torn = put(&dir, replica(2), b"torn");
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
        fs::rename(put(&dir, replica(3), b"other"), dir.sealed_path(replica(0x0103))).unwrap();
        dir.create_file(replica(4)).unwrap();
        fs::write(dir.root().join("chunks/01/notes.txt"), b"somebody's").unwrap();
        let found = dir.scan().unwrap();
        let listed: Vec<_> = found.sealed.iter().map(|(replica, s)| (*replica, s.length)).collect();
        assert_eq!(listed, [(replica(1), 4)]);
        assert_eq!((found.n_removed, found.n_bad), (1, 2));
        assert!(torn.with_extension("bad").exists() && !torn.exists());
        assert!(!dir.open_path(replica(4)).exists());
        assert!(dir.root().join("chunks/01/notes.txt").exists());
        let again = dir.scan().unwrap();
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
        let dir = open(&folder);
        assert!(dir.scan().unwrap().sealed.is_empty());
        put(&dir, replica(1), b"whose?");
        assert!(matches!(dir.scan(), Err(DataDirError::NoIdentity { .. })));
    }
}
