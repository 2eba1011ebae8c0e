//! Users that tasks run as: each attempt that runs has one of its own, from a range that the configuration
//! names. So an attempt can't read what the daemons keep for themselves (the secret, chunks, other jobs'
//! outputs and logs), nor touch other attempts, and the system counts its processes apart.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why tasks can't run as the users that the configuration names.
#[derive(Debug, thiserror::Error)]
pub enum UidsError {
    /// Only root can become others.
    #[error(
        "tasktracker.task_uids is set, and this TaskTracker runs as uid {uid}: start it as root, or set \
         the key to null"
    )]
    NotRoot {
        /// Who it runs as.
        uid: u32,
    },
    /// An attempt would wait for a user for ever.
    #[error("tasktracker.task_uids has {given} user ids for {slots} slots: name at least as many")]
    TooFew {
        /// In the range.
        given: usize,
        /// Attempts that run at once.
        slots: u32,
    },
    /// A folder on the way to what tasks need.
    #[error(
        "tasks under tasktracker.task_uids can't reach {}: {} has mode {mode:o}; `chmod o+x` it, or choose \
         another place",
        wanted.display(), folder.display()
    )]
    Unreachable {
        /// What they need.
        wanted: PathBuf,
        /// The folder in the way.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// The users that are free; none where attempts run as this process' own.
#[derive(Debug)]
pub(crate) struct Uids {
    /// The one that was used longest ago first: what an attempt leaves where others can write is its user's, and so the next
    /// one's of that user.
    free: Mutex<VecDeque<u32>>,
    permits: Arc<Semaphore>,
}

/// A user that is one attempt's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Uid {
    pub(crate) number: u32,
    uids: Arc<Uids>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Uid {
    fn drop(&mut self) {
        self.uids.lock().push_back(self.number);
    }
}

impl Uids {
    /// For as many attempts as there are `slots`, which must be able to reach `places`.
    ///
    /// # Errors
    /// When it can't be so.
    pub(crate) fn of(
        range: &RangeInclusive<u32>,
        slots: u32,
        places: &[&Path],
    ) -> Result<Arc<Self>, UidsError> {
        let own = rustix::process::geteuid();
        if !own.is_root() {
            return Err(UidsError::NotRoot { uid: own.as_raw() });
        }
        let free: VecDeque<u32> = range.clone().collect();
        if free.len() < slots as usize {
            return Err(UidsError::TooFew { given: free.len(), slots });
        }
        places.iter().try_for_each(|place| reachable(place))?;
        let permits = Arc::new(Semaphore::new(free.len()));
        Ok(Arc::new(Self { free: Mutex::new(free), permits }))
    }

    /// A user of which no process runs; waits for one to be free.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Uid {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("it is never closed");
        let number = self.lock().pop_front().expect("there are as many as permits");
        Uid { number, uids: Arc::clone(self), _permit: permit }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anybody may pass through all folders above `place`.
fn reachable(place: &Path) -> Result<(), UidsError> {
    for folder in place.ancestors().skip(1) {
        let Ok(metadata) = folder.metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o001 == 0 {
            let (wanted, folder) = (place.to_owned(), folder.to_owned());
            return Err(UidsError::Unreachable { wanted, folder, mode });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_attempt_has_a_user_of_its_own_and_the_last_one_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let uids = Uids::of(&(5000..=5001), 2, &[]);
        if !rustix::process::geteuid().is_root() {
            assert!(matches!(uids, Err(UidsError::NotRoot { .. })));
            return;
        }
        let uids = uids.unwrap();
        let first = uids.acquire().await;
        let second = uids.acquire().await;
        assert_eq!((first.number, second.number), (5000, 5001));
        let third = tokio::time::timeout(Duration::from_millis(20), uids.acquire());
        assert!(third.await.is_err(), "there is none");
        drop(first);
        assert_eq!(uids.acquire().await.number, 5000);
        let uids = Uids::of(&(5000..=5002), 2, &[]).unwrap();
        for number in [5000, 5001, 5002, 5000] {
            assert_eq!(uids.acquire().await.number, number, "they are used in turn");
        }
        let too_few = Uids::of(&(5000..=5001), 3, &[]).unwrap_err().to_string();
        assert!(too_few.contains("2 user ids for 3 slots"), "{too_few}");
        let place = folder.path().join("data");
        let mode = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o700);
        let error = Uids::of(&(5000..=5001), 2, &[&place]).unwrap_err().to_string();
        assert!(error.contains("has mode 700"), "{error}");
        mode(0o711);
        assert!(Uids::of(&(5000..=5001), 2, &[&place]).is_ok());
    }
}
