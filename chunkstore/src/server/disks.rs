//! The disks of one chunkserver, a data folder on each: which has which replica, which one a new replica goes
//! to, and what is left when one fails. A folder that can't be opened at start is left out; one whose disk
//! fails later is not used any more, and all it held is lost. The files in a folder are `data_dir`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkstore_core::replica::{DiskRoom, KeptTerm, ReplicaKey, Sealed, Space, choose_disk};
use chunkstore_protocol::{DISK_TEXT_BYTES_MAX, DiskState};
use daemon::Owner;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use ids::ClusterId;
use tokio::time::timeout;

use super::data_dir::{Booking, DataDir, DataDirError};
use super::disk_calls::NoAnswer;
use super::logs::FoundLog;
use super::open_chunk::DiskError;
use super::opening::open_all;
use super::term_file::age;

/// While a disk makes no file for a replica in so long, the next one is tried as well.
const TRY_NEXT_AFTER: Duration = Duration::from_millis(500);
/// Once one disk has kept what is to be kept, the others have so long before that counts.
const OTHERS_LIMIT: Duration = Duration::from_secs(1);

/// What is the same for all disks of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskLimits {
    /// Bytes of each that are never given to chunks.
    pub(super) reserve_bytes: u64,
    /// A disk that gives no answer for so long hangs.
    pub(super) timeout: Duration,
}

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
}

#[derive(Debug)]
pub(super) enum Disk {
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
        limits: DiskLimits,
    ) -> Result<(Self, Holdings), DataDirError> {
        let (all, holdings) = open_all(paths, owner, limits).await?;
        let disks = Self { all, turn: AtomicUsize::new(0) };
        let keeping = async {
            if let Some(cluster) = disks.cluster() {
                disks.keep_cluster(&cluster).await?;
            }
            match disks.term() {
                Some(term) => disks.keep_term(term).await,
                None => Ok(()),
            }
        };
        let kept = timeout(limits.timeout, keeping).await;
        kept.unwrap_or_else(|_| {
            let hangs = disks.working().next().map_or_else(PathBuf::new, |dir| dir.root().into());
            Err(DataDirError::Hangs { path: hangs, limit: limits.timeout })
        })?;
        Ok((disks, holdings))
    }

    /// The cluster that the folders belong to; `None`: nobody's yet.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.open_dirs().find_map(|dir| dir.cluster())
    }

    /// Keeps the cluster that all folders belong to from now on, durably. A disk that can't has failed.
    ///
    /// # Errors
    /// When no disk could.
    pub(super) async fn keep_cluster(&self, cluster: &ClusterId) -> Result<(), DataDirError> {
        let cluster = cluster.clone();
        let keep = move |dir: &DataDir| match dir.cluster().as_ref() == Some(&cluster) {
            true => Ok(()),
            false => dir.keep_cluster(&cluster),
        };
        self.keep(keep).await
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
    pub(super) async fn keep_term(&self, term: KeptTerm) -> Result<(), DataDirError> {
        self.keep(move |dir| dir.keep_term(term)).await
    }

    /// On all disks at the same time, each on its own: one that hangs goes on trying, and keeps nobody from what others have.
    async fn keep(
        &self,
        write: impl Fn(&DataDir) -> Result<(), DataDirError> + Clone + Send + 'static,
    ) -> Result<(), DataDirError> {
        let tries = self.working().map(|dir| {
            let (dir, write) = (Arc::clone(dir), write.clone());
            tokio::spawn(async move {
                let mut writing =
                    dir.begin(move |dir| write(dir).inspect_err(|error| dir.fail(error)));
                let kept = writing.end().await;
                kept.unwrap_or_else(|cause| {
                    Err(DataDirError::NoAnswer { path: dir.root().to_owned(), cause: cause.into() })
                })
            })
        });
        let mut tries: FuturesUnordered<_> = tries.collect();
        let (mut is_kept, mut failure) = (false, None);
        loop {
            let next = match is_kept {
                true => timeout(OTHERS_LIMIT, tries.next()).await,
                false => Ok(tries.next().await),
            };
            match next {
                Ok(Some(Ok(Ok(())))) => is_kept = true,
                Ok(Some(Ok(Err(error)))) => failure = Some(error),
                // It was ended: the daemon is stopping.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        match (is_kept, failure) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(error),
            (false, None) => {
                let reasons = self.all.iter().filter_map(|disk| match disk {
                    Disk::Open(dir) => Some(format!("{}: {}", dir.root().display(), dir.failed()?)),
                    Disk::LeftOut { reason, .. } => Some(reason.clone()),
                });
                Err(DataDirError::NoneWorks { reasons: reasons.collect::<Vec<_>>().join("; ") })
            }
        }
    }

    /// The folders that are in use, those included whose disks have failed since.
    pub(super) fn open_dirs(&self) -> impl Iterator<Item = &Arc<DataDir>> {
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

    /// Makes the file of a replica to be written, on the disk with the most room that was not given up for it yet. A disk
    /// that takes long does not hold it up while there is another.
    pub(super) async fn create_file(
        &self,
        replica: ReplicaKey,
        given_up: &mut Vec<PathBuf>,
    ) -> Result<(Booking, File), DiskError> {
        let kind = Kind { make: DataDir::create_file, path: DataDir::open_path };
        self.create(kind, replica, given_up, Some(TRY_NEXT_AFTER)).await
    }

    /// The same, of a log's replica. On one disk after the other: of two, the next start could not tell which is the log.
    pub(super) async fn create_log(
        &self,
        replica: ReplicaKey,
    ) -> Result<(Booking, File), DiskError> {
        let kind = Kind { make: DataDir::create_log, path: DataDir::log_path };
        self.create(kind, replica, &mut Vec::new(), None).await
    }

    /// Each disk is tried once: whatever is wrong with one, another may take it.
    async fn create(
        &self,
        kind: Kind,
        replica: ReplicaKey,
        given_up: &mut Vec<PathBuf>,
        try_next_after: Option<Duration>,
    ) -> Result<(Booking, File), DiskError> {
        let (mut tries, mut failure) = (FuturesUnordered::new(), None);
        let mut is_measured = false;
        let made = loop {
            let chosen = self.choose(given_up);
            let wait = match &chosen {
                Some(dir) => {
                    given_up.push(dir.root().to_owned());
                    tries.push(kind.try_on(dir, replica));
                    try_next_after.unwrap_or_else(|| self.patience())
                }
                None if !tries.is_empty() => self.patience(),
                None if failure.is_none() && !is_measured => {
                    // What made room just now may not be known yet.
                    is_measured = true;
                    self.measure_again(given_up).await;
                    continue;
                }
                None => break None,
            };
            match timeout(wait, tries.next()).await {
                Ok(Some((booking, Ok(Ok(file))))) => break Some((booking, file)),
                Ok(Some((booking, Ok(Err(error))))) => {
                    // There is one here, and must not be a second elsewhere.
                    let is_here = error.kind() == io::ErrorKind::AlreadyExists;
                    let error = DiskError::new(&booking, &(kind.path)(&booking, replica), error);
                    tracing::warn!(folder = %booking.root().display(), %error,
                        "a disk takes no new replica: the server's other disks are tried");
                    if is_here {
                        failure = Some(error);
                        break None;
                    }
                    failure.get_or_insert(error);
                }
                Ok(Some((booking, Err(cause)))) => {
                    failure.get_or_insert(DiskError::no_answer(&booking, cause));
                }
                Ok(None) => {}
                // It goes on, and so do others beside it; if there are none any more, that was all.
                Err(_) if chosen.is_some() && try_next_after.is_some() => {}
                Err(_) => break None,
            }
        };
        if !tries.is_empty() {
            tokio::spawn(remove_late(tries, kind, replica));
        }
        let Some((booking, file)) = made else {
            return Err(failure.unwrap_or_else(|| self.takes_none()));
        };
        given_up.retain(|folder| folder != booking.root());
        Ok((booking, file))
    }

    /// Why no disk takes a new replica.
    fn takes_none(&self) -> DiskError {
        let working: Vec<_> = self.working().map(|dir| dir.root().display().to_string()).collect();
        let has_room = |dir: &&Arc<DataDir>| dir.last_space().free > 0;
        match self.working().find(has_room) {
            Some(dir) => DiskError::no_answer(dir, NoAnswer::Late { limit: self.patience() }),
            None if working.is_empty() => DiskError::NoneWorks,
            None => DiskError::OutOfSpace { folders: working.join(", ") },
        }
    }

    /// Prefers those that are quick; what gives no answer at all takes nothing new.
    fn choose(&self, given_up: &[PathBuf]) -> Option<Arc<DataDir>> {
        let is_left = |dir: &&Arc<DataDir>| {
            !dir.calls().is_in_doubt() && given_up.iter().all(|other| other != dir.root())
        };
        let (quick, slow): (Vec<_>, Vec<_>) =
            self.working().filter(is_left).partition(|dir| !dir.calls().is_slow());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        [quick, slow].into_iter().find_map(|dirs| {
            let chosen = choose_disk(&rooms(&dirs), turn);
            chosen.map(|at| Arc::clone(dirs[at]))
        })
    }

    /// Measures those that may take a new replica.
    async fn measure_again(&self, given_up: &[PathBuf]) {
        let left = self.working().filter(|dir| given_up.iter().all(|other| other != dir.root()));
        let measuring = left.filter(|dir| !dir.calls().is_slow()).map(async |dir| {
            // What was measured is kept there.
            let _ = dir.begin(DataDir::measure).within(TRY_NEXT_AFTER).await;
        });
        join_all(measuring).await;
    }

    /// After how long a call that does not answer is not waited for any more. With others beside its disk, half of the time in
    /// which that hangs: what was to be there may go to one of them.
    pub(super) fn patience(&self) -> Duration {
        let mut working = self.working();
        let limit = working.next().map_or(Duration::ZERO, |dir| dir.calls().limit());
        if working.next().is_some() { limit / 2 } else { limit }
    }

    /// The folders where a replica may be read: first the one that holds it, then those where it was removed, or found broken.
    pub(super) fn candidates(&self, replica: ReplicaKey) -> Vec<Arc<DataDir>> {
        let mut candidates: Vec<_> = self.working().cloned().collect();
        let rank = |dir: &Arc<DataDir>| match dir.holds(replica) {
            true => Some(0),
            false if dir.trash().has(replica, true) => Some(1),
            false => dir.trash().has(replica, false).then_some(2),
        };
        candidates.retain(|dir| rank(dir).is_some());
        candidates.sort_by_key(rank);
        candidates
    }

    /// The replicas of which a broken one is kept.
    pub(super) fn broken(&self) -> Vec<ReplicaKey> {
        self.working().flat_map(|dir| dir.trash().broken()).collect()
    }

    /// Each disk as measured last, and their sum, in which those that share a file system count once.
    pub(super) fn measured(&self) -> (Space, Vec<DiskState>) {
        let (mut sum, mut devices) = (Space::default(), BTreeSet::new());
        let states = self.all.iter().map(|disk| {
            let dir = match disk {
                Disk::Open(dir) => dir,
                Disk::LeftOut { path, reason } => {
                    return state(path, Some(reason));
                }
            };
            let space = dir.last_space();
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

/// How the file of a replica is made.
#[derive(Clone, Copy)]
struct Kind {
    make: fn(&DataDir, ReplicaKey) -> io::Result<File>,
    path: fn(&DataDir, ReplicaKey) -> PathBuf,
}

/// What came of it on a disk.
type Tried = (Booking, Result<io::Result<File>, NoAnswer>);

impl Kind {
    fn try_on(
        self,
        dir: &Arc<DataDir>,
        replica: ReplicaKey,
    ) -> impl Future<Output = Tried> + Send + use<> {
        let booking = dir.book();
        let mut making = dir.begin(move |dir| {
            (self.make)(dir, replica).inspect_err(|error| {
                dir.blame(error);
            })
        });
        async move {
            let made = making.end().await;
            (booking, made)
        }
    }
}

/// What is made too late goes.
async fn remove_late(
    mut tries: FuturesUnordered<impl Future<Output = Tried>>,
    kind: Kind,
    replica: ReplicaKey,
) {
    while let Some((booking, made)) = tries.next().await {
        if let Ok(Ok(_)) = made {
            let removing = move |dir: &DataDir| std::fs::remove_file((kind.path)(dir, replica));
            // What stays is removed at the next start.
            let _ = booking.begin(removing).end().await;
        }
    }
}

/// The room for a new replica in each folder. A device is measured once: measured one after the other, two
/// folders on it would differ by whatever others wrote in between, and that would choose instead of the turn.
fn rooms(dirs: &[&Arc<DataDir>]) -> Vec<DiskRoom> {
    let mut devices = BTreeMap::new();
    let rooms = dirs.iter().map(|dir| {
        let free = *devices.entry(dir.device()).or_insert_with(|| dir.last_space().free);
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
