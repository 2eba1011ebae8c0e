//! What the journal's handle, its thread and the snapshotter tell one another. No files here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::claim::Claim;

/// See the module.
#[derive(Default)]
pub(crate) struct Shared {
    layout: Mutex<Layout>,
    /// Locked while a snapshot is made.
    claim: Mutex<Claim>,
    /// Length of the newest snapshot's file; 0 if there is none.
    snapshot_bytes: AtomicU64,
    /// The last record that is certainly on disk.
    synced: AtomicU64,
    /// How many segments, counted from the one that was active at the start (0), are ready or in
    /// use.
    prepared: AtomicU64,
    unpreparable: AtomicBool,
    retry_asked: AtomicBool,
    /// Whether the handle waits for a message that one of the two above has changed.
    word_wished: AtomicBool,
    failed: AtomicBool,
    syncs: AtomicU64,
    /// Incremented by the thread; odd while it is at work.
    steps: AtomicU64,
}

#[derive(Default)]
struct Layout {
    snapshot: Option<u64>,
    /// First sequences of the closed segments that the snapshot does not cover, or only in part.
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
    /// The old snapshot may end within the first of them.
    pub(crate) segments: Vec<u64>,
    /// The first sequence that is not covered.
    pub(crate) end: u64,
    /// Whether the last segment is open, so that it may have record `end` too.
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

    /// Locks the claim for a snapshot; only one is made at a time.
    pub(crate) fn claim(&self) -> MutexGuard<'_, Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the claim without waiting; `None` while a snapshot is made.
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

    /// All closed segments; `None` if there are none.
    pub(crate) fn closed(&self) -> Option<Covered> {
        let layout = self.layout();
        (!layout.closed.is_empty()).then(|| layout.covered(layout.active))
    }

    /// Everything durable; `None` if a snapshot covers all of it.
    pub(crate) fn durable(&self) -> Option<Covered> {
        let layout = self.layout();
        // `synced` is set only some time after a segment was closed, which syncs that segment.
        let synced = self.synced.load(Ordering::Acquire).max(layout.active - 1);
        (synced > layout.snapshot.unwrap_or(0)).then(|| layout.covered(synced + 1))
    }

    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    /// There is now a snapshot, of this many bytes, of everything up to this record.
    pub(crate) fn covered_by(&self, snapshot: u64, bytes: u64) {
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        let mut layout = self.layout();
        layout.snapshot = Some(snapshot);
        let ends: Vec<u64> = layout.closed.iter().skip(1).copied().chain([layout.active]).collect();
        let mut ends = ends.into_iter();
        layout.closed.retain(|_| ends.next().is_some_and(|end| end > snapshot + 1));
    }

    /// The active segment was closed, and the one that begins with `first` is active.
    pub(crate) fn rolled(&self, first: u64) {
        let mut layout = self.layout();
        let closed = std::mem::replace(&mut layout.active, first);
        // A segment without any record was replaced by the next one, which has the same name. One
        // that is covered completely may have been removed.
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

    /// The caller checks once more afterwards: an earlier change is seen then, and a later one is
    /// reported.
    pub(crate) fn wish_for_word(&self) {
        self.word_wished.swap(true, Ordering::AcqRel);
    }

    pub(crate) fn take_wish(&self) -> bool {
        self.word_wished.swap(false, Ordering::AcqRel)
    }

    /// True once for each failed preparation: the first caller to see it asks for another try.
    pub(crate) fn ask_retry(&self) -> bool {
        !self.retry_asked.swap(true, Ordering::AcqRel)
    }

    /// The thread was not asked after all: the next caller is the first one again.
    pub(crate) fn take_back_retry(&self) {
        self.retry_asked.store(false, Ordering::Release);
    }

    /// The thread begins or ends its work.
    pub(crate) fn turn_to(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The thread makes progress in its work.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(2, Ordering::Relaxed);
    }

    /// The thread's current step, if it is at work.
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
