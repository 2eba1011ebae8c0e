//! The end of the loop: inputs sent before are handled, their records synced and their effects run,
//! as far as the journal's disk cooperates, and within the stop's time limit.

use std::time::Duration;

use ids::Room;

use crate::handle::names;
use crate::run::{EventLoop, ROOM_INTERVAL};
use crate::{Machine, Unsettled, UnsettledBy};

/// Records and steps that are given up; nobody will be told of them.
#[derive(Clone, Copy, Default)]
struct GivenUp {
    records: u64,
    steps: usize,
}

impl<M: Machine, F: FnMut(M::Effect)> EventLoop<M, F> {
    /// Runs after the request to stop. What a full disk has no space for is given up at once, with
    /// its effects; what a disk does not do in time is given up too. Nobody was told of either.
    pub(crate) async fn settle(mut self) -> Result<(), Unsettled> {
        self.inputs.close();
        self.view.close();
        let patience = self.settings.stop_patience;
        let deadline = clock::monotonic() + patience;
        let mut given_up = None;
        let mut is_said = false;
        let cause = loop {
            self.look_at_folders();
            self.look_for_room();
            self.append_backlog();
            // Once something is given up, memory is ahead of what will be on disk, so no more
            // inputs are answered.
            let takes_rest = given_up.is_none() && self.takes_inputs();
            let rest = if takes_rest { self.inputs.try_recv().ok() } else { None };
            let has_more = rest.is_some();
            if has_more {
                self.handle_turn(rest);
            }
            self.log.journal.flush();
            if !self.backlog.is_empty() && self.room != Room::Ample {
                given_up = Some(self.give_backlog_up());
            }
            let is_handled = self.inputs.is_empty() || given_up.is_some();
            if is_handled && self.untold.is_empty() && self.durable == self.appended {
                break given_up.is_some().then_some(UnsettledBy::Full);
            }
            let left = deadline.since(clock::monotonic());
            if left.is_zero() {
                break Some(UnsettledBy::Slow(patience));
            }
            let pause = if has_more { Duration::ZERO } else { left.min(ROOM_INTERVAL) };
            tokio::select! {
                biased;
                word = self.log.durability.recv() => self.on_durability(word),
                () = tokio::time::sleep(pause) => if !has_more && !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(?patience, "waiting for the journal's disk before the end");
                },
            }
        };
        let left = deadline.since(clock::monotonic());
        self.close(cause, given_up.unwrap_or_default(), left).await
    }

    fn give_backlog_up(&mut self) -> GivenUp {
        let (records, before) = (self.backlog.len() as u64, self.untold.len());
        self.appended -= records;
        self.backlog.clear();
        self.untold.retain(|untold| untold.after <= self.appended);
        GivenUp { records, steps: before - self.untold.len() }
    }

    /// Frees the journal's lock, if its disk lets it.
    async fn close(
        mut self,
        cause: Option<UnsettledBy>,
        given_up: GivenUp,
        left: Duration,
    ) -> Result<(), Unsettled> {
        let folders = self.log.journal.places();
        let unsettled = cause.map(|cause| Unsettled {
            folders: folders.clone(),
            cause,
            records: given_up.records + (self.appended - self.durable),
            steps: given_up.steps + self.untold.len(),
            inputs: self.inputs.len(),
        });
        let left = left.max(ROOM_INTERVAL);
        if !matches!(cause, Some(UnsettledBy::Slow(_))) {
            self.snapshots.settle(left).await;
        }
        let log = self.log;
        // The journal's thread may be blocked by its disk, and so would be whoever waits for it.
        let closing = tokio::task::spawn_blocking(move || drop(log));
        match unsettled {
            Some(unsettled @ Unsettled { cause: UnsettledBy::Slow(_), .. }) => Err(unsettled),
            unsettled => {
                if tokio::time::timeout(left, closing).await.is_err() {
                    let folders = names(&folders);
                    tracing::warn!(
                        folders,
                        "the journal is left while its disk hangs; nothing of it is lost"
                    );
                }
                unsettled.map_or(Ok(()), Err)
            }
        }
    }
}
