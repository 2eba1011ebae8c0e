//! One data folder of a chunkserver, on a disk of its own: which files it holds under which names, what is
//! found in it at start, and whether its disk still works. Whose it is, `daemon` knows; which folder has which
//! replica, `disks`; the bytes behind a chunk are `footer`'s, writing and reading chunks `open_chunk`'s and
//! `download`'s.
//!
//! ```text
//! lock, identity.json                   see `daemon::DataFolder`
//! term.json                             the chunk master's last term: see `term_file`
//! probe                                 what the disk is tried with: see `disk_watch`
//! scrub.json                            how far the scrubber is
//! chunks/2a/000000000000002a_1.chunk    sealed: chunk id, version; the folder is the id's last two digits
//! chunks/2a/000000000000002a_1.open     being written; removed at start
//! chunks/2a/000000000000002a_1.log      a log's open chunk; kept, and sealed when its servers have settled its end
//! trash/                                what is not served any more: see `trash`
//! ```

mod error;
mod scan;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkstore_core::replica::{KeptTerm, ReplicaKey, Space};
use daemon::{DataFolder, FolderError};
use ids::ClusterId;

use super::disk_calls::{Call, DiskCalls};
use super::disk_health::DiskHealth;
use super::footer::{FOOTER_BYTES_MAX, Footer};
use super::opening::Steps;
use super::syncs::sync_folder;
use super::term_file;
use super::trash::{Trash, Why};

pub use error::DataDirError;
pub(super) use error::OpenError;
pub(super) use scan::Found;

/// A data folder in use. Once its disk has [failed](DiskHealth), nothing is written there or read from it until
/// the next start, but what a replica that is being written has there already.
#[derive(Debug)]
pub(super) struct DataDir {
    own: DataFolder,
    reserve_bytes: u64,
    calls: Arc<DiskCalls>,
    health: DiskHealth,
    /// Size of the disk and what is available, as measured last.
    measured: Mutex<(u64, u64)>,
    trash: Trash,
    /// Sealed replicas here.
    held: Mutex<BTreeSet<ReplicaKey>>,
    /// Uploads under way to it.
    n_open: AtomicU64,
    /// The chunk master's last term here.
    term: Mutex<Option<KeptTerm>>,
    /// Held while a term is written, so that an older one is not written after a newer one.
    pub(super) keeping: Mutex<()>,
}

impl DataDir {
    /// Makes what is missing in the folder, and lists the replicas in it: see [`Self::scan`]. Blocks.
    pub(super) fn open(
        own: DataFolder,
        reserve_bytes: u64,
        calls: Arc<DiskCalls>,
        steps: &Steps,
    ) -> Result<(Self, Found), DataDirError> {
        let chunks = own.root().join("chunks");
        // All folders there will ever be, durably: an upload that found one which another has just made
        // could not know whether that would survive a power cut.
        make_folders(&chunks, steps).map_err(io_error(&chunks))?;
        sync_folder(own.root()).map_err(io_error(&chunks))?;
        let trash = Trash::open(own.root(), steps).map_err(io_error(own.root()))?;
        let health = DiskHealth::new(chunks.clone()).map_err(io_error(&chunks))?;
        let term = Mutex::new(term_file::read(own.root()));
        let dir = Self {
            own,
            reserve_bytes,
            calls,
            health,
            measured: Mutex::default(),
            trash,
            held: Mutex::default(),
            n_open: AtomicU64::new(0),
            term,
            keeping: Mutex::default(),
        };
        let found = dir.scan(steps)?;
        Ok((dir, found))
    }

    /// Runs what blocks on this disk, on a thread.
    pub(super) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Call<T> {
        let dir = Arc::clone(self);
        self.calls.begin(move || work(&dir))
    }

    /// The calls to its disk.
    pub(super) fn calls(&self) -> &Arc<DiskCalls> {
        &self.calls
    }

    /// The chunk master's last term, as this folder has it.
    pub(super) fn term(&self) -> Option<KeptTerm> {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is in the folder, durably.
    pub(super) fn has_kept(&self, term: KeptTerm) {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner) = Some(term);
    }

    /// The cluster that this folder belongs to; `None`: nobody's yet.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.own.cluster()
    }

    /// Keeps the cluster that this folder belongs to from now on, durably.
    pub(super) fn keep_cluster(&self, cluster: &ClusterId) -> Result<(), DataDirError> {
        Ok(self.own.join(cluster)?)
    }

    /// Never held across a system call.
    fn held(&self) -> MutexGuard<'_, BTreeSet<ReplicaKey>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A replica is sealed here; false if the disk has failed meanwhile, and it is as good as lost.
    pub(super) fn hold(&self, replica: ReplicaKey) -> bool {
        let mut held = self.held();
        // After the lock: whoever takes what a failed disk held finds this one too, or it is refused.
        if self.failed().is_some() {
            return false;
        }
        held.insert(replica);
        true
    }

    /// It is gone, or not to be served any more.
    pub(super) fn forget(&self, replica: ReplicaKey) {
        self.held().remove(&replica);
    }

    /// Whether a replica is here and can be read.
    pub(super) fn holds(&self, replica: ReplicaKey) -> bool {
        self.failed().is_none() && self.held().contains(&replica)
    }

    /// The first replica here behind `after`, or of all.
    pub(super) fn next_held(&self, after: Option<ReplicaKey>) -> Option<ReplicaKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.held().range((from, Bound::Unbounded)).next().copied()
    }

    /// How many are here.
    pub(super) fn n_held(&self) -> u64 {
        self.held().len() as u64
    }

    /// Takes some of what a failed disk held, at most `max`: it is lost.
    pub(super) fn take_lost(&self, max: usize) -> Vec<ReplicaKey> {
        if self.failed().is_none() {
            return Vec::new();
        }
        let mut held = self.held();
        std::iter::from_fn(|| held.pop_first()).take(max).collect()
    }

    /// Why the disk counts as failed, if it does.
    pub(super) fn failed(&self) -> Option<&str> {
        self.health.failed()
    }

    /// Its disk has failed.
    pub(super) fn fail(&self, reason: &dyn std::fmt::Display) {
        self.health.fail(reason);
    }

    /// Takes note of an error of a write here; whether the disk has failed.
    pub(super) fn blame(&self, error: &io::Error) -> bool {
        self.health.blame(error)
    }

    /// An upload to this folder, counted until what is returned is dropped.
    pub(super) fn book(self: &Arc<Self>) -> Booking {
        self.n_open.fetch_add(1, Ordering::Relaxed);
        Booking(Arc::clone(self))
    }

    /// Uploads under way.
    pub(super) fn n_open(&self) -> u64 {
        self.n_open.load(Ordering::Relaxed)
    }

    /// The device that it is on.
    pub(super) fn device(&self) -> u64 {
        self.health.device()
    }

    /// Makes the file of a replica to be written. Blocks.
    pub(super) fn create_file(&self, replica: ReplicaKey) -> io::Result<File> {
        let path = self.open_path(replica);
        let mut options = File::options();
        // What could be written of it is read again where the disk takes no more.
        options.read(true).write(true);
        match options.clone().create_new(true).open(&path) {
            // Another file in its place: a write that was given up may come to that one yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::symlink_metadata(&path)?.is_file() {
                    true => {
                        fs::remove_file(&path)?;
                        options.create_new(true).open(&path)
                    }
                    false => options.open(&path),
                }
            }
            created => created,
        }
    }

    /// Makes the file of a log's replica, empty and durable.
    pub(super) fn create_log(&self, replica: ReplicaKey) -> io::Result<File> {
        let path = self.log_path(replica);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = path.parent().map_or(Ok(()), sync_folder) {
            // Another disk gets it: of two, the next start could not tell which is the log.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    /// Opens a sealed replica's file.
    pub(super) fn open_file(&self, replica: ReplicaKey) -> Result<File, OpenError> {
        File::open(self.sealed_path(replica)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing,
            _ => OpenError::Io(error),
        })
    }

    /// Moves a replica that must not be served any more into the trash; best effort, as its disk may be
    /// failing.
    pub(super) fn set_aside(&self, replica: ReplicaKey, why: Why) {
        let from = self.sealed_path(replica);
        let taken = self.trash.take(&from, replica, why);
        // Not before: those who read it find it in one of the two places.
        self.forget(replica);
        match taken {
            Ok(to) if why == Why::Removed => {
                tracing::debug!(path = %to.display(), "a replica is removed");
            }
            Ok(to) => {
                tracing::warn!(path = %to.display(), ?why, "a replica is set aside, in the trash");
            }
            Err(_) if !from.exists() => {}
            Err(error) => {
                self.blame(&error);
                self.give_up(&from, why, &error);
            }
        }
    }

    /// What can't go to the trash, for which even a full disk may lack the room, is deleted if its end is settled, as
    /// else its space would be lost; else it stays, and is found by the next start.
    fn give_up(&self, from: &Path, why: Why, error: &io::Error) {
        let deleted = (why == Why::Removed).then(|| fs::remove_file(from));
        match deleted {
            Some(Ok(())) => tracing::warn!(path = %from.display(), %error,
                "a removed replica can't be kept in the trash for its readers: it is deleted at once"),
            Some(Err(other)) => tracing::error!(path = %from.display(), %error, %other,
                "a removed replica can neither go to the trash nor be deleted: its space is free after a restart only"),
            None => tracing::error!(path = %from.display(), %error, "a replica can't be set aside"),
        }
    }

    /// Opens a replica's file to read it: for a while even if it was removed or given up meanwhile, and if it was found
    /// broken: who reads verifies each block, and the sound ones of it may be the last of their chunk. Blocks.
    pub(super) fn open_to_read(&self, replica: ReplicaKey) -> Result<File, OpenError> {
        match self.open_file(replica) {
            Err(OpenError::Missing) => {
                let gone = self.trash.open_file(replica);
                gone.or_else(|| self.trash.open_broken(replica)).ok_or(OpenError::Missing)
            }
            opened => opened,
        }
    }

    /// Whether another file is held by now than this one, which was opened before. Blocks.
    pub(super) fn has_other(&self, replica: ReplicaKey, file: &File) -> bool {
        let number = |file: &File| file.metadata().map(|metadata| metadata.ino());
        let held = self.holds(replica).then(|| self.open_file(replica).ok()).flatten();
        let held = held.and_then(|held| number(&held).ok());
        matches!((held, number(file)), (Some(held), Ok(read)) if held != read)
    }

    /// What is not served any more.
    pub(super) fn trash(&self) -> &Trash {
        &self.trash
    }

    /// Size and room of the disk, and a look whether it still works; a failed one has neither. Blocks.
    pub(super) fn measure(&self) -> Space {
        self.health.check();
        match self.space() {
            Ok(space) if self.failed().is_none() => space,
            Ok(_) => Space::default(),
            Err(error) => {
                if !self.blame(&error) {
                    tracing::error!(path = %self.root().display(), %error,
                        "the disk's space can't be measured");
                }
                Space::default()
            }
        }
    }

    /// Size and room of the disk, what the trash can give up included. Blocks.
    pub(super) fn space(&self) -> io::Result<Space> {
        let measured = self.health.look()?;
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = measured;
        Ok(self.room(measured))
    }

    /// The same as measured last, a moment ago; a failed disk has neither.
    pub(super) fn last_space(&self) -> Space {
        if self.failed().is_some() {
            return Space::default();
        }
        self.room(*self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn room(&self, (capacity, available): (u64, u64)) -> Space {
        let room = available.saturating_add(self.trash.content().yielding_bytes);
        Space { capacity, free: room.saturating_sub(self.reserve_bytes) }
    }

    /// Whether `n` more bytes fit on the disk; the trash makes room for them. Blocks.
    pub(super) fn make_room(&self, n: u64) -> io::Result<bool> {
        self.trash.give_way(|| {
            let free = self.health.look()?.1.saturating_sub(self.reserve_bytes);
            // Whatever is free after the reserve; a disk that is too small for its reserve has nothing.
            Ok(free > 0 && free >= n)
        })
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

    /// The file of a log's replica that is not sealed.
    pub(super) fn log_path(&self, replica: ReplicaKey) -> PathBuf {
        self.path(replica, "log")
    }

    fn path(&self, ReplicaKey { chunk, version }: ReplicaKey, suffix: &str) -> PathBuf {
        let [prefix, ..] = chunk.0.to_le_bytes();
        self.folder(prefix).join(format!("{chunk}_{}.{suffix}", version.0))
    }

    fn folder(&self, prefix: u8) -> PathBuf {
        self.root().join("chunks").join(prefix_name(prefix))
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

/// Counts as an upload to a folder while it lives.
#[derive(Debug)]
pub(super) struct Booking(Arc<DataDir>);

impl std::ops::Deref for Booking {
    type Target = Arc<DataDir>;

    fn deref(&self) -> &Arc<DataDir> {
        &self.0
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.0.n_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the folder of the chunks and those in it. Chunks hold what tokens guard: they are for the daemon
/// alone, whatever the umask.
fn make_folders(chunks: &Path, steps: &Steps) -> io::Result<()> {
    let folder = |path: &Path| {
        steps.done_one();
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    };
    folder(chunks)?;
    (0..=u8::MAX).try_for_each(|prefix| folder(&chunks.join(prefix_name(prefix))))?;
    sync_folder(chunks)
}

/// By the id's last digits: ids are counted up, so that these spread evenly.
fn prefix_name(prefix: u8) -> String {
    format!("{prefix:02x}")
}

pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> DataDirError {
    let named = FolderError::io(path);
    move |source| named(source).into()
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, Version};
    use rustix::io::Errno;

    use super::*;
    use crate::server::footer::FooterError;

    fn open(folder: &tempfile::TempDir) -> DataDir {
        let owner = daemon::Owner::new("chunkserver", "host-1".parse().unwrap());
        open_at(folder.path(), owner)
    }

    fn open_at(path: &Path, owner: daemon::Owner) -> DataDir {
        let own = DataFolder::open(path, owner).unwrap();
        let calls = DiskCalls::new(1, std::time::Duration::from_secs(30));
        DataDir::open(own, 0, calls, &Steps::default()).unwrap().0
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
        let found = dir.scan(&Steps::default()).unwrap();
        let listed: Vec<_> = found.sealed.iter().map(|(replica, s)| (*replica, s.length)).collect();
        assert_eq!(listed, [(replica(1), 4)]);
        assert_eq!((found.n_removed, found.n_bad), (1, 2));
        let trash = dir.trash().content();
        assert_eq!((trash.files, trash.broken), (2, 2));
        assert!(!torn.exists());
        assert!(!dir.open_path(replica(4)).exists());
        assert!(dir.root().join("chunks/01/notes.txt").exists());
        let again = dir.scan(&Steps::default()).unwrap();
        assert_eq!((again.sealed.len(), again.n_removed, again.n_bad), (1, 0, 0));
    }

    #[test]
    fn what_somebody_has_put_into_the_wrong_folder_costs_nothing_and_is_left_there() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(&folder);
        dir.keep_cluster(&"cluster-1".parse().unwrap()).unwrap();
        let good = put(&dir, replica(1), b"good");
        let name = good.file_name().unwrap().to_owned();
        let at = |place: &str| dir.root().join("chunks").join(place);
        let strays = [
            at("02").join(&name),
            // The same replica by another spelling.
            at("01/0000000000000001_01.chunk"),
            at("03/0000000000000004_1.chunk"),
            at("03/0000000000000001_1.open"),
            at("03/0000000000000001_1.log"),
        ];
        for (bytes, is_good) in [(b"torn".to_vec(), false), (fs::read(&good).unwrap(), true)] {
            for stray in &strays {
                fs::write(stray, &bytes).unwrap();
            }
            let found = dir.scan(&Steps::default()).unwrap();
            let listed: Vec<_> = found.sealed.iter().map(|(replica, _)| *replica).collect();
            assert_eq!((listed, found.logs.len()), (vec![replica(1)], 0), "{is_good}");
            assert_eq!((found.n_removed, found.n_bad), (0, 0), "{is_good}");
            assert_eq!(dir.trash().content().files, 0, "{is_good}");
            assert!(good.exists() && strays.iter().all(|stray| stray.exists()), "{is_good}");
        }
        // The only one of its chunk is served again when it is where it belongs.
        let place = put(&dir, replica(4), b"four");
        fs::rename(&place, &strays[2]).unwrap();
        assert_eq!(dir.scan(&Steps::default()).unwrap().sealed.len(), 1);
        fs::rename(&strays[2], &place).unwrap();
        assert_eq!(dir.scan(&Steps::default()).unwrap().sealed.len(), 2);
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
    fn a_disk_fails_by_what_does_not_heal_and_a_full_one_or_a_busy_process_do() {
        for (error, fails) in [
            (Errno::IO, true),
            (Errno::ROFS, true),
            (Errno::NODEV, true),
            (Errno::NOTDIR, true),
            (Errno::NOSPC, false),
            (Errno::DQUOT, false),
            (Errno::MFILE, false),
            (Errno::ACCESS, false),
            (Errno::NOENT, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let dir = open(&folder);
            put(&dir, replica(1), b"here");
            assert!(dir.hold(replica(1)));
            assert_eq!(dir.blame(&error.into()), fails, "{error:?}");
            assert_eq!(dir.hold(replica(2)), !fails, "{error:?}");
            assert_eq!(dir.holds(replica(1)), !fails, "{error:?}");
            assert_eq!(dir.take_lost(10).len(), usize::from(fails), "{error:?}");
            assert_eq!(dir.measure() == Space::default(), fails, "{error:?}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_or_another_is_noticed_and_not_made_again() {
        for another in [true, false] {
            let place = tempfile::tempdir().unwrap();
            let (here, away) = (place.path().join("disk"), place.path().join("away"));
            let owner = daemon::Owner::new("chunkserver", "host-1".parse().unwrap());
            let dir = open_at(&here, owner);
            fs::rename(&here, away).unwrap();
            if another {
                fs::create_dir_all(here.join("chunks")).unwrap();
                dir.measure();
            } else {
                let error = dir.create_file(replica(1)).unwrap_err();
                assert!(dir.blame(&error));
                assert!(!here.exists(), "not made again on whatever lies below");
            }
            assert!(dir.failed().is_some());
        }
    }

    #[test]
    fn chunks_of_an_unknown_cluster_are_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(&folder);
        assert!(dir.scan(&Steps::default()).unwrap().sealed.is_empty());
        put(&dir, replica(1), b"whose?");
        assert!(matches!(dir.scan(&Steps::default()), Err(DataDirError::NoIdentity { .. })));
    }
}
