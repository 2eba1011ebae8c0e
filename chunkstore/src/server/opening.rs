//! Opens the data folders at the start, each on a thread of its own. A folder whose disk hangs is left
//! out, like one whose disk fails. `data_dir` knows what is in a folder.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chunkstore_core::replica::{ReplicaKey, Sealed};
use clock::Stopwatch;
use daemon::{DataFolder, FolderError, Owner};
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::data_dir::{DataDir, DataDirError, Found};
use super::disk_calls::DiskCalls;
use super::disks::{Disk, DiskLimits, Holdings};
use super::trash::Why;

/// The least time that a folder gets for a step: the lock of a former process may have to be waited for.
const STEP_LIMIT_MIN: Duration = Duration::from_secs(5);

/// Counts steps, so that opening a large folder can be told from one that hangs.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(Arc<AtomicU64>);

impl Steps {
    /// Another step is done.
    pub(super) fn done_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The result of `work`; `None` once it made no step for `limit`. Then the work is abandoned.
    async fn follow<T>(
        &self,
        mut work: JoinHandle<T>,
        limit: Duration,
    ) -> Option<Result<T, tokio::task::JoinError>> {
        let count = || self.0.load(Ordering::Relaxed);
        let (mut done, mut since) = (count(), Stopwatch::start());
        loop {
            if let Ok(ended) = tokio::time::timeout(limit / 8, &mut work).await {
                return Some(ended);
            }
            if done != count() {
                (done, since) = (count(), Stopwatch::start());
            } else if since.elapsed() >= limit {
                return None;
            }
        }
    }
}

/// Opens every folder, and lists what is in those that could be.
///
/// # Errors
/// When a folder is not this server's, or none works.
pub(super) async fn open_all(
    paths: &[PathBuf],
    owner: &Owner,
    limits: DiskLimits,
) -> Result<(Vec<Disk>, Holdings), DataDirError> {
    // Before any is opened: its lock would only say that somebody has it.
    let places = join_all(paths.iter().map(|path| real_path(path, limits))).await;
    refuse_overlap(paths, &places)?;
    let opened = paths.iter().zip(&places).map(async |(path, place)| match place {
        Some(_) => open_one(path, owner, paths.len(), limits).await,
        None => Err(hangs(path, limits)),
    });
    let (mut all, mut failures, mut sealed) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut logs = Vec::new();
    for (path, opened) in paths.iter().zip(join_all(opened).await) {
        match opened {
            Ok((dir, mut found)) => {
                refuse_two_clusters(&dir, &all)?;
                let here = std::mem::take(&mut found.logs).into_iter();
                logs.extend(here.map(|log| (Arc::clone(&dir), log)));
                take(&dir, found, &mut sealed).await;
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
    let is_open = all.iter().any(|disk| matches!(disk, Disk::Open(_)));
    match failures.pop() {
        Some(only) if !is_open && failures.is_empty() => Err(only),
        Some(last) if !is_open => {
            let reasons = failures.iter().chain([&last]).map(ToString::to_string);
            Err(DataDirError::NoneWorks { reasons: reasons.collect::<Vec<_>>().join("; ") })
        }
        _ => Ok((all, Holdings { sealed: sealed.into_iter().collect(), logs })),
    }
}

fn hangs(path: &Path, limits: DiskLimits) -> DataDirError {
    DataDirError::Hangs { path: path.to_owned(), limit: limits.timeout.max(STEP_LIMIT_MIN) }
}

async fn open_one(
    path: &Path,
    owner: &Owner,
    n_disks: usize,
    limits: DiskLimits,
) -> Result<(Arc<DataDir>, Found), DataDirError> {
    let (steps, runtime) = (Steps::default(), Handle::current());
    let (counted, owner, root) = (steps.clone(), owner.clone(), path.to_owned());
    let opening = tokio::task::spawn_blocking(move || {
        let own = runtime.block_on(DataFolder::open_patiently(&root, owner))?;
        let calls = DiskCalls::new(n_disks, limits.timeout);
        let (dir, found) = DataDir::open(own, limits.reserve_bytes, calls, &counted)?;
        warn_if_full(&dir, limits.reserve_bytes);
        Ok::<_, DataDirError>((Arc::new(dir), found))
    });
    let panicked = |error| FolderError::io(path)(io::Error::other(error));
    match steps.follow(opening, limits.timeout.max(STEP_LIMIT_MIN)).await {
        Some(opened) => opened.map_err(panicked)?,
        None => Err(hangs(path, limits)),
    }
}

/// Where a name leads, as far as there is something; `None` if its disk gives no answer.
async fn real_path(path: &Path, limits: DiskLimits) -> Option<PathBuf> {
    let named = path.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let is_there = |above: &&Path| above.canonicalize().is_ok();
        let above = named.ancestors().find(is_there).unwrap_or(&named);
        let real = above.canonicalize().unwrap_or_else(|_| above.to_owned());
        named.strip_prefix(above).map_or(named.clone(), |rest| match rest.as_os_str().is_empty() {
            true => real,
            false => real.join(rest),
        })
    });
    let looked = Steps::default().follow(looking, limits.timeout.max(STEP_LIMIT_MIN)).await?;
    Some(looked.unwrap_or_else(|_| path.to_owned()))
}

fn refuse_overlap(paths: &[PathBuf], places: &[Option<PathBuf>]) -> Result<(), DataDirError> {
    for (at, place) in places.iter().enumerate() {
        let Some(real) = place else { continue };
        let before = places.iter().take(at).flatten();
        let is_same = |other: &&PathBuf| real.starts_with(other) || other.starts_with(real);
        if let Some(other) = before.into_iter().find(is_same) {
            return Err(DataDirError::Overlap { path: paths[at].clone(), other: other.clone() });
        }
    }
    Ok(())
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

/// Adds what a folder held. What a disk brings back that another has too is not served.
async fn take(dir: &Arc<DataDir>, found: Found, sealed: &mut BTreeMap<ReplicaKey, Sealed>) {
    let Found { sealed: here, logs: _, n_removed, n_bad } = found;
    tracing::info!(path = %dir.root().display(), replicas = here.len(), n_removed, n_bad,
        "a data folder is open");
    let mut twice = Vec::new();
    for (replica, is) in here {
        if let Entry::Vacant(place) = sealed.entry(replica) {
            place.insert(is);
        } else {
            tracing::warn!(path = %dir.sealed_path(replica).display(), "a replica lies on two disks");
            dir.forget(replica);
            twice.push(replica);
        }
    }
    if !twice.is_empty() {
        let mut setting = dir.begin(move |dir| {
            twice.into_iter().for_each(|replica| dir.set_aside(replica, Why::Orphan));
        });
        // One that stays is not served, and found again at the next start.
        let _ = setting.answer().await;
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_goes_on_has_all_its_time_and_what_stands_still_is_left() {
        let (steps, limit) = (Steps::default(), Duration::from_millis(80));
        let (release, hangs) = mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || hangs.recv().is_err());
        assert!(steps.follow(work, limit).await.is_none());
        drop(release);
        let done = tokio::task::spawn_blocking(|| 7);
        assert_eq!(steps.follow(done, limit).await.unwrap().unwrap(), 7);
    }
}
