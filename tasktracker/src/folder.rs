//! The data folder and the folders on the local disks: their rooms, and the cleaning up after a former process. Whose
//! they are, `daemon` knows.
//!
//! ```text
//! lock, identity.json      in each of them, see `daemon::DataFolder`
//! programs/…               in the data folder, see `programs`
//! logs/<job>/…             in the data folder, see `logs`
//! attempts/<attempt>/      on each disk: working folder of a running attempt; gone with it
//! attempts.left-<n>/       on each disk: what a start found of former attempts, and could not remove
//! outputs/<job>/…          on each disk: map outputs, see `map_outputs`
//! ```

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use daemon::{FolderError, Owner};
use ids::ClusterId;
use mapreduce_protocol::AttemptId;
use tasktracker_core::DiskNumber;

use crate::map_outputs::MapOutputs;
use crate::{orphans, tree};

/// Opened folders; they stay locked as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    own: daemon::DataFolder,
    disks: Vec<LocalDisk>,
    outputs: MapOutputs,
}

/// A folder on a local disk.
#[derive(Debug)]
struct LocalDisk {
    root: PathBuf,
    /// Absent if it is the data folder, or could not be opened.
    own: Option<daemon::DataFolder>,
    is_left: AtomicBool,
}

impl LocalDisk {
    fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }
}

/// A disk that can't be used, and why.
pub(crate) type Failing = (DiskNumber, String);

impl DataFolder {
    /// Opens the data folder and those on the disks, makes their rooms and removes what attempts of a former process have
    /// left: processes first, then folders. The data folder keeps map outputs only if it is one of the disks. A disk
    /// that fails is left out, if there is another one.
    ///
    /// # Errors
    /// When the disk of the data folder says no, or all others do; when a folder is somebody else's.
    pub(crate) async fn open(
        root: &Path,
        disks: &[PathBuf],
        owner: Owner,
    ) -> Result<(Self, Vec<Failing>), FolderError> {
        let own = daemon::DataFolder::open_patiently(root, owner.clone()).await?;
        make_room(&own.root().join("programs"), PASSABLE)?;
        make_room(&own.root().join("logs"), 0o700)?;
        if !disks.iter().any(|disk| is_same(disk, own.root())) {
            clear(own.root())?;
        }
        let (mut opened, mut failing) = (Vec::new(), Vec::new());
        for (nth, path) in disks.iter().enumerate() {
            match open_disk(path, own.root(), owner.clone()).await {
                Ok(disk) => opened.push(disk),
                Err(error @ (FolderError::Io { .. } | FolderError::BadIdentity { .. })) => {
                    tracing::error!(path = %path.display(), %error, "a local disk is left out");
                    failing.push((DiskNumber(nth), error));
                    let (own, is_left) = (None, AtomicBool::new(true));
                    opened.push(LocalDisk { root: path.clone(), own, is_left });
                }
                Err(error) => return Err(error),
            }
        }
        if failing.len() == disks.len()
            && let Some((_, error)) = failing.pop()
        {
            return Err(error);
        }
        let folders = opened.iter().map(|disk| disk.root.join("outputs")).collect();
        let folder = Self { own, disks: opened, outputs: MapOutputs::new(folders) };
        for (disk, _) in &failing {
            folder.leave(*disk);
        }
        let failing = failing.into_iter().map(|(disk, error)| (disk, error.to_string()));
        Ok((folder, failing.collect()))
    }

    /// Lets other users pass through to the attempts' folders and the programs, without seeing what there
    /// is.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn let_others_pass(&self) -> Result<(), FolderError> {
        for root in std::iter::once(self.own.root()).chain(self.disks().map(|(_, root)| root)) {
            let mode = std::fs::Permissions::from_mode(PASSABLE);
            std::fs::set_permissions(root, mode).map_err(FolderError::io(root))?;
        }
        Ok(())
    }

    /// The cluster that this folder belongs to; `None` for a new one.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.own.cluster()
    }

    /// A cluster that one of the folders on the disks belongs to, if it is another one than `cluster`.
    pub(crate) fn other_cluster(&self, cluster: &ClusterId) -> Option<ClusterId> {
        let all =
            std::iter::once(&self.own).chain(self.disks.iter().filter_map(|it| it.own.as_ref()));
        all.filter_map(daemon::DataFolder::cluster).find(|found| found != cluster)
    }

    /// Makes the folders belong to a cluster, durably.
    ///
    /// # Errors
    /// When the data folder's disk says no. (Another disk that does is about to be found out.)
    pub(crate) fn join(&self, cluster: &ClusterId) -> Result<(), FolderError> {
        for disk in self.disks.iter().filter(|disk| !disk.is_left()) {
            let Some(own) = disk.own.as_ref().filter(|own| own.cluster().is_none()) else {
                continue;
            };
            if let Err(error) = own.join(cluster) {
                tracing::warn!(%error, "a local disk is not marked as this cluster's");
            }
        }
        if self.own.cluster().is_some() { Ok(()) } else { self.own.join(cluster) }
    }

    /// Where it is, without links.
    pub(crate) fn root(&self) -> &Path {
        self.own.root()
    }

    /// The folders on disks that are not left.
    pub(crate) fn disks(&self) -> impl Iterator<Item = (DiskNumber, &Path)> {
        let all = self.disks.iter().enumerate().filter(|(_, disk)| !disk.is_left());
        all.map(|(nth, disk)| (DiskNumber(nth), disk.root.as_path()))
    }

    /// The names of all, for people.
    pub(crate) fn names_of_disks(&self) -> Vec<String> {
        self.disks.iter().map(|disk| disk.root.display().to_string()).collect()
    }

    /// Leaves a disk alone from now on; the attempts whose map outputs lay there.
    pub(crate) fn leave(&self, disk: DiskNumber) -> Vec<AttemptId> {
        if let Some(disk) = self.disks.get(disk.0) {
            disk.is_left.store(true, Ordering::Relaxed);
        }
        self.outputs.leave(disk)
    }

    /// Whether a disk is left alone.
    pub(crate) fn is_left(&self, disk: DiskNumber) -> bool {
        self.disks.get(disk.0).is_none_or(LocalDisk::is_left)
    }

    /// The folders of attempts on disks that are not left.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = PathBuf> {
        self.disks.iter().filter(|disk| !disk.is_left()).map(LocalDisk::attempts)
    }

    /// The working folder of an attempt on a disk.
    pub(crate) fn attempt(&self, attempt: AttemptId, disk: DiskNumber) -> PathBuf {
        self.attempts_on(disk).join(attempt.to_string())
    }

    /// Where those on a disk are.
    pub(crate) fn attempts_on(&self, disk: DiskNumber) -> PathBuf {
        self.disks[disk.0].attempts()
    }

    pub(crate) fn map_outputs(&self) -> &MapOutputs {
        &self.outputs
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.own.root().join("programs")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.own.root().join("logs")
    }
}

async fn open_disk(path: &Path, home: &Path, owner: Owner) -> Result<LocalDisk, FolderError> {
    let own = match is_same(path, home) {
        true => None,
        false => Some(daemon::DataFolder::open_patiently(path, owner).await?),
    };
    let root = own.as_ref().map_or(home, |own| own.root()).to_owned();
    let disk = LocalDisk { root, own, is_left: AtomicBool::new(false) };
    let attempts = disk.attempts();
    end_attempts(&attempts)?;
    make_room(&attempts, PASSABLE)?;
    make_room(&disk.root.join("outputs"), 0o700)?;
    Ok(disk)
}

/// Ends what attempts of a former process have left, and removes their folders.
fn end_attempts(attempts: &Path) -> Result<(), FolderError> {
    let killed = orphans::kill_strays(attempts);
    if killed > 0 {
        tracing::warn!(killed, "ended task processes that a former tasktracker has left");
    }
    clear_away(attempts)
}

/// Removes what was put into the data folder while it was one of the disks.
fn clear(home: &Path) -> Result<(), FolderError> {
    end_attempts(&home.join("attempts"))?;
    clear_away(&home.join("outputs"))
}

fn is_same(path: &Path, home: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == home)
}

/// How often what can't be removed is put aside: each time, somebody is warned.
const ASIDE_MAX: u32 = 20;

/// Mode of folders that lead others to what is theirs.
const PASSABLE: u32 = 0o711;

fn make_room(path: &Path, mode: u32) -> Result<(), FolderError> {
    let made = std::fs::create_dir_all(path);
    let mode = std::fs::Permissions::from_mode(mode);
    made.and_then(|()| std::fs::set_permissions(path, mode)).map_err(FolderError::io(path))
}

/// Removes what is at `path`, if anything is. What can't be removed is put aside, where only the next starts look for it,
/// to try again: it keeps no disk from being used.
fn clear_away(path: &Path) -> Result<(), FolderError> {
    let mut free = None;
    for aside in (1..=ASIDE_MAX).map(|nth| path.with_extension(format!("left-{nth}"))) {
        match tree::remove(&aside) {
            Ok(()) => drop(free.get_or_insert(aside)),
            Err(error) => tell_of_leftovers(&aside, &error),
        }
    }
    let Err(error) = tree::remove(path) else { return Ok(()) };
    let Some(aside) = free else { return Err(FolderError::io(path)(error)) };
    std::fs::rename(path, &aside).map_err(FolderError::io(path))?;
    tell_of_leftovers(&aside, &error);
    Ok(())
}

fn tell_of_leftovers(aside: &Path, error: &io::Error) {
    tracing::warn!(
        path = %aside.display(),
        %error,
        "what tasks have left there can't be removed, and takes room: remove it by hand"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner::new("tasktracker", "host-1".parse().unwrap())
    }

    #[tokio::test]
    async fn what_a_former_process_was_at_is_cleaned_up_on_all_disks() {
        let place = tempfile::tempdir().unwrap();
        let (home, other) = (place.path().join("home"), place.path().join("other"));
        let disks = [home.clone(), other.clone()];
        // A child that another test is just starting may hold a copy of the lock.
        let open = async || DataFolder::open(&home, &disks, owner()).await.unwrap().0;
        let folder = open().await;
        let kept = folder.logs().join("kept");
        let left_over: Vec<_> = folder.attempts().map(|attempts| attempts.join("left")).collect();
        assert_eq!(left_over.len(), 2);
        for path in left_over.iter().chain([&kept]) {
            std::fs::create_dir(path).unwrap();
        }
        drop(folder);
        open().await;
        assert!(left_over.iter().all(|path| !path.exists()) && kept.exists());
    }

    #[tokio::test]
    async fn a_data_folder_that_is_no_disk_any_more_keeps_only_programs_and_logs() {
        let place = tempfile::tempdir().unwrap();
        let (home, other) = (place.path().join("home"), place.path().join("other"));
        let rooms = |disks: Vec<PathBuf>| {
            let home = home.clone();
            async move {
                drop(DataFolder::open(&home, &disks, owner()).await.unwrap());
                let there = |room: &&str| home.join(room).join("left").exists();
                ["attempts", "outputs", "programs", "logs"].iter().copied().filter(there).collect()
            }
        };
        let all: Vec<&str> = rooms(vec![home.clone()]).await;
        assert!(all.is_empty());
        for room in ["attempts", "outputs", "programs", "logs"] {
            std::fs::create_dir(home.join(room).join("left")).unwrap();
        }
        let with_home: Vec<&str> = rooms(vec![other.clone(), home.clone()]).await;
        assert_eq!(with_home, ["outputs", "programs", "logs"]);
        let without: Vec<&str> = rooms(vec![other]).await;
        assert_eq!(without, ["programs", "logs"]);
        assert!(!home.join("attempts").exists() && !home.join("outputs").exists());
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_opened_is_left_out_unless_it_is_the_last_one() {
        let place = tempfile::tempdir().unwrap();
        let (home, pulled) = (place.path().join("home"), place.path().join("pulled"));
        std::fs::write(&pulled, "").unwrap();
        let alone = DataFolder::open(&home, std::slice::from_ref(&pulled), owner()).await;
        assert!(matches!(alone, Err(FolderError::Io { .. })), "{alone:?}");
        let disks = [pulled.clone(), home.clone()];
        let (folder, failing) = DataFolder::open(&home, &disks, owner()).await.unwrap();
        assert_eq!(failing.iter().map(|(disk, _)| disk.0).collect::<Vec<_>>(), [0]);
        assert!(folder.is_left(DiskNumber(0)) && !folder.is_left(DiskNumber(1)));
        assert_eq!(folder.disks().count(), 1);
        let others = Owner::new("chunkserver", "host-1".parse().unwrap());
        let theirs = place.path().join("theirs");
        drop(daemon::DataFolder::open_patiently(&theirs, others).await.unwrap());
        drop(folder);
        let refused = DataFolder::open(&home, &[home.clone(), theirs], owner()).await;
        assert!(matches!(refused, Err(FolderError::OtherOwner { .. })), "{refused:?}");
    }

    #[test]
    fn what_a_former_process_left_and_nobody_can_remove_is_put_aside() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let disk = place.path().to_owned();
        let attempts = disk.join("attempts");
        for path in [&disk, &attempts, &attempts.join("theirs")] {
            std::fs::create_dir_all(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(attempts.join("theirs/file"), "x").unwrap();
        for path in [&disk, &attempts] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        let theirs = disk.join("attempts.left-1/theirs");
        let within = (disk.clone(), attempts.clone());
        crate::tree::tests::as_nobody(move |_| {
            let (disk, attempts) = within;
            clear_away(&attempts).unwrap();
            assert!(!attempts.exists() && disk.join("attempts.left-1/theirs/file").exists());
            std::fs::create_dir_all(attempts.join("a")).unwrap();
            clear_away(&attempts).unwrap();
            assert!(!attempts.exists());
        });
        assert!(theirs.exists(), "it was tried again in vain");
        clear_away(&attempts).unwrap();
        assert!(!theirs.exists(), "who may remove it does");
    }
}
