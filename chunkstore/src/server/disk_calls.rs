//! Blocking calls to one disk. Each runs on a thread, and the number of threads per disk is bounded:
//! a disk that hangs, in calls that the kernel never completes, occupies those threads and nothing
//! else. Callers that wait for a disk are released when it is given up; most wait no longer than the
//! limit. `chunkstore_core` decides when a disk is probed and when it is given up ([`DiskWatch`]);
//! `disk_watch` asks it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_core::replica::{DiskCall, DiskNews, DiskWatch};
use clock::{Stopwatch, monotonic};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::READS_MAX;

/// Concurrent calls: roughly for all disks together, and the least and the most for each.
const PLACES: usize = 384;
const PLACES_MIN: usize = 32;
const PLACES_MAX: usize = 256;
/// Further threads, for blocking work that concerns no data folder.
const OTHER_THREADS: usize = 128;
/// A disk counts as slow while a call has been running for this long: new replicas go to others.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Threads for calls that block that a server on so many disks needs at most.
#[must_use]
pub fn threads_max(n_disks: usize) -> usize {
    OTHER_THREADS + n_disks * places_of(n_disks)
}

fn places_of(n_disks: usize) -> usize {
    (PLACES / n_disks.max(1)).clamp(PLACES_MIN, PLACES_MAX)
}

/// Why there is no answer. The call may still complete at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The disk is given up.
    #[error("the disk hangs: no answer for {limit:?}")]
    Hangs {
        /// `chunkserver.disk_timeout`.
        limit: Duration,
    },
    /// Just this call.
    #[error("the disk gave no answer for {limit:?}")]
    Late {
        /// How long it was waited for.
        limit: Duration,
    },
    /// A panic, or the end of the daemon.
    #[error("the call was ended")]
    Ended,
}

impl From<NoAnswer> for io::Error {
    fn from(error: NoAnswer) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}

/// The calls to one disk.
#[derive(Debug)]
pub(super) struct DiskCalls {
    limit: Duration,
    places: Arc<Semaphore>,
    /// Of all readers' places, those that this disk's may have.
    reads: Arc<Semaphore>,
    reads_max: usize,
    /// Never held across a system call.
    watch: Mutex<DiskWatch>,
    is_given_up: watch::Sender<bool>,
}

impl DiskCalls {
    /// To one of so many disks, each of which hangs when it gives no answer for so long.
    pub(super) fn new(n_disks: usize, limit: Duration) -> Arc<Self> {
        // With others beside it, a disk that hangs leaves them half of the readers.
        let reads_max = if n_disks > 1 { READS_MAX / 2 } else { READS_MAX };
        Arc::new(Self {
            limit,
            places: Arc::new(Semaphore::new(places_of(n_disks))),
            reads: Arc::new(Semaphore::new(reads_max)),
            reads_max,
            watch: Mutex::new(DiskWatch::new(limit)),
            is_given_up: watch::Sender::new(false),
        })
    }

    /// After how long without an answer it hangs.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs `work` on a thread as soon as one is free. Once started it runs to its end, even if the
    /// [`Call`] is dropped; if that is dropped before, `work` never starts.
    pub(super) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Call<T> {
        let (mut tell, answer) = oneshot::channel();
        let call =
            Call { answer: Some(answer), calls: Arc::clone(self), asked: Stopwatch::start() };
        if self.is_given_up() {
            return call;
        }
        let calls = Arc::clone(self);
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => calls.start(place, work, tell),
            Err(_) => drop(tokio::spawn(async move {
                tokio::select! {
                    () = calls.given_up() => {}
                    () = tell.closed() => {}
                    place = Arc::clone(&calls.places).acquire_owned() => {
                        // They are never closed.
                        if let Ok(place) = place {
                            calls.start(place, work, tell);
                        }
                    }
                }
            })),
        }
        call
    }

    fn start<T: Send + 'static>(
        self: Arc<Self>,
        place: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
        tell: oneshot::Sender<T>,
    ) {
        tokio::task::spawn_blocking(move || {
            let at_work = AtWork::begin(self);
            let done = work();
            drop((at_work, place));
            // Who has gone wants no answer.
            let _ = tell.send(done);
        });
    }

    /// A reader's place on this disk.
    ///
    /// # Errors
    /// How many there are, where all are taken.
    pub(super) fn reader(&self) -> Result<OwnedSemaphorePermit, usize> {
        Arc::clone(&self.reads).try_acquire_owned().map_err(|_| self.reads_max)
    }

    /// Whether both a call and a probe are unanswered at the moment.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.watch().is_in_doubt()
    }

    /// Whether others should be preferred.
    pub(super) fn is_slow(&self) -> bool {
        self.is_given_up() || self.oldest() >= SLOW_AFTER.min(self.limit / 2)
    }

    /// For how long the oldest of the calls at work has been.
    pub(super) fn oldest(&self) -> Duration {
        self.watch().oldest(monotonic())
    }

    /// What is to be done about the disk.
    pub(super) fn look(&self, has_failed: bool) -> DiskNews {
        self.watch().look(monotonic(), has_failed)
    }

    /// The probe was answered, or could not be made.
    pub(super) fn probe_ended(&self) {
        self.watch().probe_ended(monotonic());
    }

    /// Releases everybody who waits for the disk, now and in future.
    pub(super) fn give_up(&self) {
        self.is_given_up.send_replace(true);
    }

    fn is_given_up(&self) -> bool {
        *self.is_given_up.borrow()
    }

    /// Why no answer will come any more.
    fn never(&self) -> NoAnswer {
        match self.is_given_up() {
            true => NoAnswer::Hangs { limit: self.limit },
            false => NoAnswer::Ended,
        }
    }

    async fn given_up(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.is_given_up.subscribe().wait_for(|is_so| *is_so).await;
    }

    fn watch(&self) -> MutexGuard<'_, DiskWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, a call is at work.
struct AtWork {
    calls: Arc<DiskCalls>,
    call: DiskCall,
}

impl AtWork {
    fn begin(calls: Arc<DiskCalls>) -> Self {
        let call = calls.watch().begin(monotonic());
        Self { calls, call }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.calls.watch().end(self.call);
    }
}

/// A call that is under way, or waits for a place. Dropping it leaves it to itself.
#[derive(Debug)]
pub(super) struct Call<T> {
    /// `None` after it.
    answer: Option<oneshot::Receiver<T>>,
    calls: Arc<DiskCalls>,
    asked: Stopwatch,
}

impl<T> Call<T> {
    /// The answer, if it comes within the limit. May be dropped, and asked again.
    pub(super) async fn answer(&mut self) -> Result<T, NoAnswer> {
        self.within(self.calls.limit).await
    }

    /// The answer, if it comes within so long since the call was begun.
    pub(super) async fn within(&mut self, limit: Duration) -> Result<T, NoAnswer> {
        let left = limit.saturating_sub(self.asked.elapsed());
        let answer = tokio::time::timeout(left, self.end()).await;
        answer.unwrap_or(Err(NoAnswer::Late { limit }))
    }

    /// The answer, however late it is, unless the disk is given up.
    pub(super) async fn end(&mut self) -> Result<T, NoAnswer> {
        let Some(answer) = &mut self.answer else { return Err(self.calls.never()) };
        let ended = tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = self.calls.given_up() => return Err(self.calls.never()),
        };
        self.answer = None;
        ended.ok_or_else(|| self.calls.never())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// A call that hangs until what is returned is dropped.
    fn hang(calls: &Arc<DiskCalls>) -> (Call<()>, mpsc::Sender<()>) {
        let (release, hangs) = mpsc::channel::<()>();
        let waiting = move || {
            let _released = hangs.recv();
        };
        (calls.begin(waiting), release)
    }

    #[tokio::test]
    async fn who_waits_for_a_disk_is_let_go_when_it_is_given_up_and_a_late_answer_is_still_one() {
        let calls = DiskCalls::new(1, LIMIT);
        let (mut late, release) = hang(&calls);
        assert_eq!(late.answer().await, Err(NoAnswer::Late { limit: LIMIT }));
        assert!(calls.is_slow());
        drop(release);
        assert_eq!(late.end().await, Ok(()));
        let (mut hung, _release) = hang(&calls);
        let given_up = async { calls.give_up() };
        let (answer, ()) = tokio::join!(hung.end(), given_up);
        assert_eq!(answer, Err(NoAnswer::Hangs { limit: LIMIT }));
        assert_eq!(calls.begin(|| ()).end().await, Err(NoAnswer::Hangs { limit: LIMIT }));
    }

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_its_own_threads_and_no_other_disks() {
        let [sick, well] = [(); 2].map(|()| DiskCalls::new(40, LIMIT));
        let hanging: Vec<_> = (0..3 * PLACES_MIN).map(|_| hang(&sick)).collect();
        let mut waiting = sick.begin(|| ());
        assert_eq!(well.begin(|| 7).end().await, Ok(7));
        assert_eq!(waiting.answer().await, Err(NoAnswer::Late { limit: LIMIT }));
        drop(hanging);
        assert_eq!(waiting.end().await, Ok(()));
        let readers: Vec<_> = std::iter::from_fn(|| sick.reader().ok()).collect();
        assert_eq!((readers.len(), sick.reader().unwrap_err()), (READS_MAX / 2, READS_MAX / 2));
        assert!(well.reader().is_ok());
    }

    #[test]
    fn threads_are_shared_out_among_the_disks() {
        assert_eq!([1, 2, 3, 12, 64].map(places_of), [256, 192, 128, 32, 32]);
        assert_eq!([1, 2, 12, 64].map(threads_max), [384, 512, 512, 2176]);
    }
}
