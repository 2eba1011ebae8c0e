//! Decides when a snapshot is made, and makes it beside the loop. It is made after a number of
//! closed segments that are together at least as long as the last snapshot, so that it costs no
//! more than what it covers. On a full disk, where no segment is closed any more, it is made
//! whenever there is something new, to give back the space of removed state.

use std::time::Duration;

use clock::Stopwatch;
use ids::{Monotonic, Room};
use journal::{Fold, Journal};
use tokio::task::JoinHandle;

use crate::run::ROOM_INTERVAL;

/// On a full disk, the pause before the next snapshot, as a multiple of the last one's duration:
/// each folds the whole state.
const PAUSE_WHILE_FULL: u32 = 2;

/// See the module.
pub(crate) struct Snapshots {
    after_segments: u32,
    /// Minimum number of closed segments for the next one.
    next: u32,
    /// On a full disk, none is begun before this time.
    not_before: Option<Monotonic>,
    running: Option<Running>,
    /// Whether the last one failed.
    failed: bool,
}

struct Running {
    /// Completes with whether it was made.
    task: JoinHandle<bool>,
    since: Stopwatch,
}

impl Snapshots {
    /// Makes a snapshot after at least this many closed segments.
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

    /// Begins a snapshot if one is due and none is being made.
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
                // It is retried again and again, and the error was logged once.
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

    /// Waits until the running snapshot is made or has failed; forever if none is running.
    pub(crate) async fn made(&mut self) -> bool {
        match &mut self.running {
            Some(Running { task, .. }) => task.await.unwrap_or(false),
            None => std::future::pending().await,
        }
    }

    /// Notes that a snapshot ended. A failed one is retried when one more segment is closed.
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

    /// Waits, for at most `patience`, until no snapshot is being made.
    pub(crate) async fn settle(&mut self, patience: Duration) {
        if self.running.is_some() && tokio::time::timeout(patience, self.made()).await.is_err() {
            tracing::warn!("the snapshot that is being made is given up");
        }
    }
}
