//! What the journal's handle, its thread and the snapshotter tell one another. No files here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::claim::Claim;

/// See the module.
#[derive(Default)]
pub(crate) struct Shared {
    layout: Mutex<Layout>,
    /// Held while a snapshot is made.
    claim: Mutex<Claim>,
    /// Length of the newest snapshot's file; 0 while there is none.
    snapshot_bytes: AtomicU64,
    /// The last record that is surely on disk.
    synced: AtomicU64,
    /// How many segments, counted from the one that was active at the start (0), are ready or in use.
    prepared: AtomicU64,
    unpreparable: AtomicBool,
    retry_asked: AtomicBool,
    /// Whether the handle waits to hear that one of the two above has changed.
    word_wished: AtomicBool,
    failed: AtomicBool,
    syncs: AtomicU64,
    /// Goes up with each step of the thread; odd while it is at work.
    steps: AtomicU64,
}

#[derive(Default)]
struct Layout {
    snapshot: Option<u64>,
    /// First sequences of the closed segments that the snapshot does not cover, or not wholly.
    closed: Vec<u64>,
    active: u64,
}

impl Layout {
    fn covered(&self, end: u64) -> Covered {
        let ends_within = end > self.active;
        let open = ends_within.then_some(self.active);
        let segments = self.closed.iter().copied().chain(open).collect();
        Covered { snapshot: self.snapshot, segments, end, ends_within }
    }
}

/// What a snapshot made now would fold.
pub(crate) struct Covered {
    pub(crate) snapshot: Option<u64>,
    /// The old one may end within the first.
    pub(crate) segments: Vec<u64>,
    /// The first sequence that is not covered.
    pub(crate) end: u64,
    /// The last segment is open, and may have that record, too.
    pub(crate) ends_within: bool,
}

impl Shared {
    pub(crate) fn new(
        snapshot: Option<u64>,
        (closed, active): (Vec<u64>, u64),
        synced: u64,
        claim: Claim,
    ) -> Self {
        Self {
            layout: Mutex::new(Layout { snapshot, closed, active }),
            snapshot_bytes: AtomicU64::new(claim.snapshot_bytes()),
            claim: Mutex::new(claim),
            synced: AtomicU64::new(synced),
            ..Self::default()
        }
    }

    fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one snapshot at a time.
    pub(crate) fn claim(&self) -> MutexGuard<'_, Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing while a snapshot is made.
    pub(crate) fn claim_at_once(&self) -> Option<MutexGuard<'_, Claim>> {
        match self.claim.try_lock() {
            Ok(claim) => Some(claim),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn closed_segments(&self) -> usize {
        self.layout().closed.len()
    }

    /// All closed segments.
    pub(crate) fn closed(&self) -> Option<Covered> {
        let layout = self.layout();
        (!layout.closed.is_empty()).then(|| layout.covered(layout.active))
    }

    /// All that is durable, if any of it is not covered.
    pub(crate) fn durable(&self) -> Option<Covered> {
        let layout = self.layout();
        // The thread says so only after it has closed a segment, which is synced by then.
        let synced = self.synced.load(Ordering::Acquire).max(layout.active - 1);
        (synced > layout.snapshot.unwrap_or(0)).then(|| layout.covered(synced + 1))
    }

    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    /// There is a snapshot of everything up to this record, so many bytes long.
    pub(crate) fn covered_by(&self, snapshot: u64, bytes: u64) {
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        let mut layout = self.layout();
        layout.snapshot = Some(snapshot);
        let ends: Vec<u64> = layout.closed.iter().skip(1).copied().chain([layout.active]).collect();
        let mut ends = ends.into_iter();
        layout.closed.retain(|_| ends.next().is_some_and(|end| end > snapshot + 1));
    }

    /// The active segment is closed, and one that begins with `first` is active.
    pub(crate) fn rolled(&self, first: u64) {
        let mut layout = self.layout();
        let closed = std::mem::replace(&mut layout.active, first);
        // One that holds no record has been replaced: the next one bears its name. One that is wholly covered may be
        // gone.
        if closed != first && layout.snapshot.unwrap_or(0) + 1 < first {
            layout.closed.push(closed);
        }
    }

    pub(crate) fn set_synced(&self, last: u64) {
        self.synced.store(last, Ordering::Release);
    }

    pub(crate) fn set_prepared(&self, ordinal: u64) {
        self.prepared.store(ordinal, Ordering::Release);
        self.unpreparable.store(false, Ordering::Release);
    }

    pub(crate) fn set_unpreparable(&self) {
        self.unpreparable.store(true, Ordering::Release);
        self.retry_asked.store(false, Ordering::Release);
    }

    /// Whether segment `ordinal` is ready.
    pub(crate) fn is_prepared(&self, ordinal: u64) -> bool {
        self.prepared.load(Ordering::Acquire) >= ordinal
    }

    /// Whether the last try to prepare a segment has failed.
    pub(crate) fn is_unpreparable(&self) -> bool {
        self.unpreparable.load(Ordering::Acquire)
    }

    /// Whoever wishes looks once more afterwards: what changed before is seen then, and what changes later
    /// is said.
    pub(crate) fn wish_for_word(&self) {
        self.word_wished.swap(true, Ordering::AcqRel);
    }

    pub(crate) fn take_wish(&self) -> bool {
        self.word_wished.swap(false, Ordering::AcqRel)
    }

    /// True once for each failed preparation: the first to see it asks for another try.
    pub(crate) fn ask_retry(&self) -> bool {
        !self.retry_asked.swap(true, Ordering::AcqRel)
    }

    /// The thread did not try: whoever asks next is the first again.
    pub(crate) fn take_back_retry(&self) {
        self.retry_asked.store(false, Ordering::Release);
    }

    /// The thread begins to work, or ends to.
    pub(crate) fn turn_to(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The thread, which is at work, gets on.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(2, Ordering::Relaxed);
    }

    /// At which step the thread is, if it is at work.
    pub(crate) fn at_work(&self) -> Option<u64> {
        Some(self.steps.load(Ordering::Relaxed)).filter(|step| step % 2 == 1)
    }

    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn count_sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}
