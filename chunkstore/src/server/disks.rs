//! The disks of one chunkserver, a data folder on each: which has which replica, which one a new replica goes
//! to, and what is left when one fails. A folder that can't be opened at start is left out; one whose disk
//! fails later is not used any more, and all it held is lost. The files in a folder are `data_dir`'s.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chunkstore_core::replica::{DiskRoom, KeptTerm, ReplicaKey, Sealed, Space, choose_disk};
use chunkstore_protocol::{DISK_TEXT_BYTES_MAX, DiskState};
use daemon::{DataFolder, FolderError, Owner};
use ids::{ClusterId, Epoch};

use super::data_dir::{Booking, DataDir, DataDirError, Found, OpenError};
use super::logs::FoundLog;
use super::open_chunk::DiskError;
use super::trash::Why;

/// What was found in the folders at start.
#[derive(Debug)]
pub(super) struct Holdings {
    pub(super) sealed: Vec<(ReplicaKey, Sealed)>,
    /// Replicas of logs' open chunks, each with its folder.
    pub(super) logs: Vec<(Arc<DataDir>, FoundLog)>,
}

/// All data folders, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Disks {
    all: Vec<Disk>,
    /// New replicas so far: where disks are equal, they take turns.
    turn: AtomicUsize,
    /// Held while a term is written.
    keeping: Mutex<()>,
}

#[derive(Debug)]
enum Disk {
    Open(Arc<DataDir>),
    /// It could not be opened at start.
    LeftOut {
        path: PathBuf,
        reason: String,
    },
}

impl Disks {
    /// Opens every folder, leaves out those whose disks do not work, and lists the replicas in the others.
    ///
    /// # Errors
    /// When a folder is not this server's, or none works.
    pub(super) async fn open(
        paths: &[PathBuf],
        owner: &Owner,
        reserve_bytes: u64,
    ) -> Result<(Self, Holdings), DataDirError> {
        let (mut all, mut failures, mut sealed) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut logs = Vec::new();
        for path in paths {
            refuse_overlap(path, &all)?;
            match open_one(path, owner, reserve_bytes).await {
                Ok((dir, mut found)) => {
                    refuse_two_clusters(&dir, &all)?;
                    let dir = Arc::new(dir);
                    let here = std::mem::take(&mut found.logs).into_iter();
                    logs.extend(here.map(|log| (Arc::clone(&dir), log)));
                    take(&dir, found, &mut sealed);
                    all.push(Disk::Open(dir));
                }
                Err(error) if error.is_of_the_disk() => {
                    tracing::error!(path = %path.display(), %error, "a data folder is left out");
                    all.push(Disk::LeftOut { path: path.clone(), reason: error.to_string() });
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        let disks = Self { all, turn: AtomicUsize::new(0), keeping: Mutex::default() };
        match (disks.open_dirs().next(), failures.pop()) {
            (None, Some(only)) if failures.is_empty() => return Err(only),
            (None, last) => {
                let reasons = failures.iter().chain(&last).map(ToString::to_string);
                return Err(DataDirError::NoneWorks {
                    reasons: reasons.collect::<Vec<_>>().join("; "),
                });
            }
            (Some(_), _) => {}
        }
        if let Some(cluster) = disks.cluster() {
            disks.keep_cluster(&cluster)?;
        }
        if let Some(term) = disks.term() {
            disks.keep_term(term)?;
        }
        Ok((disks, Holdings { sealed: sealed.into_iter().collect(), logs }))
    }

    /// The cluster that the folders belong to; `None`: nobody's yet.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.open_dirs().find_map(|dir| dir.cluster())
    }

    /// Keeps the cluster that all folders belong to from now on, durably. A disk that can't has failed.
    ///
    /// # Errors
    /// When no disk could.
    pub(super) fn keep_cluster(&self, cluster: &ClusterId) -> Result<(), DataDirError> {
        let others = self.open_dirs().filter(|dir| dir.cluster().as_ref() != Some(cluster));
        self.keep(others, |dir| dir.keep_cluster(cluster))
    }

    /// The newest of the chunk master's terms that a folder has.
    pub(super) fn term(&self) -> Option<KeptTerm> {
        self.open_dirs().filter_map(|dir| dir.term()).max_by_key(age)
    }

    /// Keeps the chunk master's term in all folders that have no newer one, durably. A disk that can't has failed, but
    /// for one that is full.
    ///
    /// # Errors
    /// When no disk could.
    pub(super) fn keep_term(&self, term: KeptTerm) -> Result<(), DataDirError> {
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |dir: &&Arc<DataDir>| {
            dir.term().is_none_or(|kept| kept != term && age(&kept) <= age(&term))
        };
        self.keep(self.open_dirs().filter(lacks), |dir| dir.keep_term(term))
    }

    fn keep<'a>(
        &self,
        dirs: impl Iterator<Item = &'a Arc<DataDir>>,
        write: impl Fn(&DataDir) -> Result<(), DataDirError>,
    ) -> Result<(), DataDirError> {
        let mut failure = Ok(());
        for dir in dirs {
            if let Err(error) = write(dir) {
                dir.fail(&error);
                failure = Err(error);
            }
        }
        match self.working().next() {
            Some(_) => Ok(()),
            None => failure,
        }
    }

    fn open_dirs(&self) -> impl Iterator<Item = &Arc<DataDir>> {
        self.all.iter().filter_map(|disk| match disk {
            Disk::Open(dir) => Some(dir),
            Disk::LeftOut { .. } => None,
        })
    }

    /// The folders whose disks work.
    pub(super) fn working(&self) -> impl Iterator<Item = &Arc<DataDir>> {
        self.open_dirs().filter(|dir| dir.failed().is_none())
    }

    /// Where a sealed replica is.
    pub(super) fn find(&self, replica: ReplicaKey) -> Option<&Arc<DataDir>> {
        self.open_dirs().find(|dir| dir.holds(replica))
    }

    /// Makes the file of a replica to be written, on the disk with the most room that was not given up for it yet. Blocks.
    pub(super) fn create_file(
        &self,
        replica: ReplicaKey,
        given_up: &mut Vec<PathBuf>,
    ) -> Result<(Booking, File), DiskError> {
        self.create(|dir| dir.create_file(replica), |dir| dir.open_path(replica), given_up)
    }

    /// The same, of a log's replica.
    pub(super) fn create_log(&self, replica: ReplicaKey) -> Result<(Booking, File), DiskError> {
        let path = |dir: &DataDir| dir.log_path(replica);
        self.create(|dir| dir.create_log(replica), path, &mut Vec::new())
    }

    /// Each disk is tried once: whatever is wrong with one, another may take it.
    fn create(
        &self,
        make: impl Fn(&DataDir) -> io::Result<File>,
        path: impl Fn(&DataDir) -> PathBuf,
        given_up: &mut Vec<PathBuf>,
    ) -> Result<(Booking, File), DiskError> {
        let mut failure = None;
        while let Some(dir) = self.choose(given_up) {
            let booking = dir.book();
            match make(&booking) {
                Ok(file) => return Ok((booking, file)),
                Err(error) => {
                    dir.blame(&error);
                    // There is one here, and must not be a second elsewhere.
                    let is_here = error.kind() == io::ErrorKind::AlreadyExists;
                    let error = DiskError::new(dir, &path(dir), error);
                    if is_here {
                        return Err(error);
                    }
                    tracing::warn!(folder = %dir.root().display(), %error,
                        "a disk takes no new replica: the server's other disks are tried");
                    given_up.push(dir.root().to_owned());
                    failure.get_or_insert(error);
                }
            }
        }
        let working: Vec<_> = self.working().map(|dir| dir.root().display().to_string()).collect();
        Err(failure.unwrap_or_else(|| match working.is_empty() {
            true => DiskError::NoneWorks,
            false => DiskError::OutOfSpace { folders: working.join(", ") },
        }))
    }

    fn choose(&self, given_up: &[PathBuf]) -> Option<&Arc<DataDir>> {
        let is_left = |dir: &&Arc<DataDir>| given_up.iter().all(|other| other != dir.root());
        let working: Vec<_> = self.working().filter(is_left).collect();
        let rooms = rooms(&working);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        choose_disk(&rooms, turn).map(|at| working[at])
    }

    /// Opens a sealed replica's file.
    pub(super) fn open_file(&self, replica: ReplicaKey) -> Result<File, OpenError> {
        self.find(replica).ok_or(OpenError::Missing)?.open_file(replica)
    }

    /// The same to read it: for a while even if it was removed or given up meanwhile, and if it was found broken: who reads
    /// verifies each block, and the sound ones of it may be the last of their chunk.
    pub(super) fn open_to_read(&self, replica: ReplicaKey) -> Result<File, OpenError> {
        match self.open_file(replica) {
            Err(OpenError::Missing) => {
                let gone = self.working().find_map(|dir| dir.open_gone(replica));
                let broken = || self.working().find_map(|dir| dir.open_broken(replica));
                gone.or_else(broken).ok_or(OpenError::Missing)
            }
            opened => opened,
        }
    }

    /// The replicas of which a broken one is kept.
    pub(super) fn broken(&self) -> Vec<ReplicaKey> {
        self.working().flat_map(|dir| dir.trash().broken()).collect()
    }

    /// Whether another file is held by now than this one, which was opened before.
    pub(super) fn has_other(&self, replica: ReplicaKey, file: &File) -> bool {
        let number = |file: &File| file.metadata().map(|metadata| metadata.ino());
        let held = self.open_file(replica).ok().and_then(|held| number(&held).ok());
        matches!((held, number(file)), (Some(held), Ok(read)) if held != read)
    }

    /// Moves the file of a replica that is not to be served any more into the trash: best effort, as its disk
    /// may be failing. Whether it was held.
    pub(super) fn set_aside(&self, replica: ReplicaKey, why: Why) -> bool {
        let dir = self.find(replica);
        if let Some(dir) = dir {
            dir.set_aside(replica, why);
        }
        dir.is_some()
    }

    /// Each disk, and their sum, in which those that share a file system count once. Notices which have failed.
    pub(super) fn measure(&self) -> (Space, Vec<DiskState>) {
        let (mut sum, mut devices) = (Space::default(), BTreeSet::new());
        let states = self.all.iter().map(|disk| {
            let dir = match disk {
                Disk::Open(dir) => dir,
                Disk::LeftOut { path, reason } => {
                    return state(path, Some(reason));
                }
            };
            let space = dir.measure();
            if dir.failed().is_none() && devices.insert(dir.device()) {
                sum.capacity += space.capacity;
                sum.free += space.free;
            }
            let trash = dir.trash().content();
            DiskState {
                capacity_bytes: space.capacity,
                free_bytes: space.free,
                replicas: dir.n_held(),
                trash_files: trash.files,
                trash_bytes: trash.bytes,
                broken_files: trash.broken,
                ..state(dir.root(), dir.failed())
            }
        });
        let states = states.collect();
        (sum, states)
    }

    /// Some of the replicas that failed disks held, `max` of each disk at most, each told once.
    pub(super) fn take_lost(&self, max: usize) -> Vec<ReplicaKey> {
        let lost = self.open_dirs().flat_map(|dir| dir.take_lost(max));
        // One that was uploaded anew to another disk is not.
        lost.filter(|replica| self.find(*replica).is_none()).collect()
    }
}

/// The room for a new replica in each folder. A device is measured once: measured one after the other, two
/// folders on it would differ by whatever others wrote in between, and that would choose instead of the turn.
fn rooms(dirs: &[&Arc<DataDir>]) -> Vec<DiskRoom> {
    let mut devices = BTreeMap::new();
    let rooms = dirs.iter().map(|dir| {
        let measure = || dir.space().map_or(0, |space| space.free);
        let free = *devices.entry(dir.device()).or_insert_with(measure);
        DiskRoom { free, n_open: dir.n_open() }
    });
    rooms.collect()
}

/// Name and health of a disk.
fn state(path: &Path, failed: Option<&str>) -> DiskState {
    let bounded = |text: &str| text.chars().take(DISK_TEXT_BYTES_MAX / 4).collect::<String>();
    DiskState {
        path: bounded(&path.to_string_lossy()),
        failed: failed.map(bounded),
        ..DiskState::default()
    }
}

/// Compares before the folder is opened: its lock would only say that somebody has it.
fn refuse_overlap(path: &Path, before: &[Disk]) -> Result<(), DataDirError> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let others = before.iter().filter_map(|disk| match disk {
        Disk::Open(dir) => Some(dir.root()),
        Disk::LeftOut { .. } => None,
    });
    match others.into_iter().find(|other| real.starts_with(other) || other.starts_with(&real)) {
        None => Ok(()),
        Some(other) => {
            Err(DataDirError::Overlap { path: path.to_owned(), other: other.to_owned() })
        }
    }
}

fn refuse_two_clusters(dir: &DataDir, before: &[Disk]) -> Result<(), DataDirError> {
    let Some(cluster) = dir.cluster() else { return Ok(()) };
    for disk in before {
        let Disk::Open(other) = disk else { continue };
        if let Some(other_cluster) = other.cluster().filter(|other| *other != cluster) {
            let (path, other) = (dir.root().to_owned(), other.root().to_owned());
            return Err(DataDirError::TwoClusters { path, cluster, other, other_cluster });
        }
    }
    Ok(())
}

async fn open_one(
    path: &Path,
    owner: &Owner,
    reserve_bytes: u64,
) -> Result<(DataDir, Found), DataDirError> {
    let own = DataFolder::open_patiently(path, owner.clone()).await?;
    let opened = tokio::task::spawn_blocking(move || {
        let dir = DataDir::open(own, reserve_bytes)?;
        let found = dir.scan()?;
        warn_if_full(&dir, reserve_bytes);
        Ok::<_, DataDirError>((dir, found))
    });
    let panicked = |error| FolderError::io(path)(io::Error::other(error));
    opened.await.map_err(panicked)?
}

/// Adds what a folder held. What a disk brings back that another has too is not served.
fn take(dir: &DataDir, found: Found, sealed: &mut BTreeMap<ReplicaKey, Sealed>) {
    let Found { sealed: here, logs: _, n_removed, n_bad } = found;
    tracing::info!(path = %dir.root().display(), replicas = here.len(), n_removed, n_bad,
        "a data folder is open");
    for (replica, is) in here {
        if let Entry::Vacant(place) = sealed.entry(replica) {
            place.insert(is);
        } else {
            tracing::warn!(path = %dir.sealed_path(replica).display(), "a replica lies on two disks");
            dir.set_aside(replica, Why::Orphan);
        }
    }
}

/// By which of two terms is newer.
fn age(kept: &KeptTerm) -> (Epoch, u64) {
    (kept.term.epoch, kept.last_record)
}

/// A disk whose room is all reserved takes no chunk, and nothing else would say why.
fn warn_if_full(dir: &DataDir, reserve_bytes: u64) {
    let path = dir.root().display();
    match dir.space() {
        Ok(space) if space.free == 0 => tracing::warn!(%path, reserve_bytes,
            "no room for chunks: chunkserver.reserve takes all that the disk has free; free space, or lower it"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%path, %error, "the room on the disk can't be told"),
    }
}
