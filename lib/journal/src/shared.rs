//! What the journal's handle, its thread and the snapshotter tell one another. No files here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Default)]
pub(crate) struct Shared {
    layout: Mutex<Layout>,
    snapshotting: Mutex<()>,
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
    /// First sequences of the closed segments that the snapshot does not cover.
    closed: Vec<u64>,
    active: u64,
}

/// What a snapshot made now would fold.
pub(crate) struct Closed {
    pub(crate) snapshot: Option<u64>,
    pub(crate) segments: Vec<u64>,
    /// The first sequence that is not in them.
    pub(crate) end: u64,
}

impl Shared {
    pub(crate) fn new(snapshot: Option<u64>, closed: Vec<u64>, active: u64) -> Self {
        Self { layout: Mutex::new(Layout { snapshot, closed, active }), ..Self::default() }
    }

    fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn one_snapshot_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.snapshotting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn closed_segments(&self) -> usize {
        self.layout().closed.len()
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        let layout = self.layout();
        (!layout.closed.is_empty()).then(|| Closed {
            snapshot: layout.snapshot,
            segments: layout.closed.clone(),
            end: layout.active,
        })
    }

    pub(crate) fn covered_by(&self, snapshot: u64) {
        let mut layout = self.layout();
        layout.snapshot = Some(snapshot);
        layout.closed.retain(|&first| first > snapshot);
    }

    /// The active segment is closed, and one that begins with `first` is active.
    pub(crate) fn rolled(&self, first: u64) {
        let mut layout = self.layout();
        let closed = std::mem::replace(&mut layout.active, first);
        // One that holds no record has been replaced: the next one bears its name.
        if closed != first {
            layout.closed.push(closed);
        }
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
