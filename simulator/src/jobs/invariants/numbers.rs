//! No attempt number is used twice: each attempt is launched on one tracker in one term, and its
//! process is spawned once.

use ids::Epoch;
use mapreduce_protocol::{AttemptId, TrackerCommand, TrackerHeartbeatReply};

use super::Watch;

impl Watch {
    /// A tracker gets commands.
    pub(crate) fn see_told(&mut self, tracker: usize, epoch: Epoch, reply: &TrackerHeartbeatReply) {
        for command in &reply.commands {
            let TrackerCommand::Launch(launch) = &command.item else { continue };
            let here = (tracker, epoch);
            let first = *self.launched.entry(launch.attempt).or_insert(here);
            if first != here {
                let attempt = launch.attempt;
                let what = format!("{attempt} was launched on {first:?} and on {here:?}");
                self.broken("numbers", what);
            }
        }
    }

    /// A tracker spawns a process.
    pub(crate) fn see_spawn(&mut self, attempt: AttemptId, tracker: usize) {
        self.seen.n_attempts += 1;
        if let Some(before) = self.spawned.insert(attempt, tracker) {
            let what = format!("{attempt} was spawned on host-{before}, and now on host-{tracker}");
            self.broken("numbers", what);
        }
    }
}
