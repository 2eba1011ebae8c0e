//! When a snapshot is made, and its making beside the loop: after some closed segments, no fewer than are as long as the last
//! snapshot, so that its making costs no more than what it covers; and on a full disk, where no segment is closed any more,
//! whenever there is something new. That gives back the space of what was removed.

use std::time::Duration;

use clock::Stopwatch;
use ids::{Monotonic, Room};
use journal::{Fold, Journal};
use tokio::task::JoinHandle;

use crate::run::ROOM_INTERVAL;

/// On a full disk, so many times as long as one took is waited before the next: each folds the whole state.
const PAUSE_WHILE_FULL: u32 = 2;

/// See the module.
pub(crate) struct Snapshots {
    after_segments: u32,
    /// So many closed segments at least make the next one.
    next: u32,
    /// On a full disk none is begun before.
    not_before: Option<Monotonic>,
    running: Option<Running>,
    /// Whether the last one failed.
    failed: bool,
}

struct Running {
    /// Ends with whether it was made.
    task: JoinHandle<bool>,
    since: Stopwatch,
}

impl Snapshots {
    /// One after so many closed segments at least.
    pub(crate) fn after(segments: u32) -> Self {
        let after_segments = segments.max(1);
        Self {
            after_segments,
            next: after_segments,
            not_before: None,
            running: None,
            failed: false,
        }
    }

    /// Begins one, if it is time for it and none is being made.
    pub(crate) fn start<D: Fold + 'static>(&mut self, journal: &Journal, room: Room) {
        let is_full = room != Room::Ample;
        let is_due = match is_full {
            true => self.not_before.is_none_or(|at| at <= clock::monotonic()),
            false => journal.closed_segments() >= self.next.max(journal.segments_of_snapshot()),
        };
        if self.running.is_some() || !is_due {
            return;
        }
        let (snapshotter, failed_before) = (journal.snapshotter(), self.failed);
        let fold = move || {
            let made = match is_full {
                true => snapshotter.run_to_the_last::<D>(),
                false => snapshotter.run::<D>(),
            };
            match made {
                Ok(None) => true,
                Ok(Some(covered)) => {
                    tracing::info!(covered = covered.0, "snapshot made");
                    true
                }
                // It is tried again and again, and has been said.
                Err(error) if is_full && failed_before => {
                    tracing::debug!(%error, "no snapshot, the disk is full");
                    false
                }
                Err(error) => {
                    tracing::error!(%error, "no snapshot, the journal grows");
                    false
                }
            }
        };
        let task = tokio::task::spawn_blocking(fold);
        self.running = Some(Running { task, since: Stopwatch::start() });
    }

    /// Waits until the one that is being made is made, or failed; for ever where there is none.
    pub(crate) async fn made(&mut self) -> bool {
        match &mut self.running {
            Some(Running { task, .. }) => task.await.unwrap_or(false),
            None => std::future::pending().await,
        }
    }

    /// One that failed is tried again when one more segment is closed than now.
    pub(crate) fn on_made(&mut self, made: bool, closed: u32) {
        let took = self.running.take().map(|running| running.since.elapsed()).unwrap_or_default();
        let pause = ROOM_INTERVAL.max(took * PAUSE_WHILE_FULL);
        self.not_before = Some(clock::monotonic() + pause);
        self.failed = !made;
        self.next = match made {
            true => self.after_segments,
            false => closed + 1,
        };
    }

    /// Waits until none is being made, for so long.
    pub(crate) async fn settle(&mut self, patience: Duration) {
        if self.running.is_some() && tokio::time::timeout(patience, self.made()).await.is_err() {
            tracing::warn!("the snapshot that is being made is given up");
        }
    }
}
