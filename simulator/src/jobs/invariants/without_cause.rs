//! Nothing finished runs again without a cause. A map output counts as lost only if it really is,
//! or a reduce could not fetch it, or its tracker was silent for too long or registered without it;
//! reduces are undone only if a map's output differs from before; and no task with a winner is
//! launched.

use std::time::Duration;

use ids::Monotonic;
use jobtracker_core::Record;
use mapreduce_protocol::AttemptId;

use super::Watch;
use crate::jobs::ground::tracker_on;
use crate::jobs::scene::Scene;

impl Scene {
    pub(super) fn check_cause(&mut self, record: &Record) {
        let missing = match record {
            Record::MapOutputLost { attempt } => self.no_loss(*attempt),
            Record::ReducesUndone { map, .. } => self.watch.no_change(*map),
            _ => None,
        };
        if let Some(what) = missing {
            self.watch.broken("without_cause", what);
        }
    }

    fn no_loss(&self, map: AttemptId) -> Option<String> {
        let winner = self.watch.book.winner(map.task).filter(|winner| winner.attempt == map);
        let Some(winner) = winner else {
            return Some(format!("the output of {map} is lost, and it has not won"));
        };
        let tracker = tracker_on(&winner.host);
        let is_gone = self.outputs.on_disk.get(&map) != Some(&tracker);
        let is_served = self.outputs.served_at.values().any(|it| *it == tracker);
        let complained = self.watch.complaints.contains(&map);
        let listed = self.watch.listed.get(&tracker);
        let not_listed = listed.is_some_and(|listed| !listed.contains(&map));
        let now = self.ground.now().monotonic;
        let heard = self.watch.heard.get(&tracker).copied().unwrap_or(self.watch.started_at);
        let silent = now.since(heard) >= self.dead_after;
        let has_cause = is_gone || !is_served || complained || not_listed || silent;
        (!has_cause).then(|| {
            let since = now.since(heard);
            format!(
                "the output of {map} counts as lost; {} has it, heard {since:?} ago",
                winner.host
            )
        })
    }
}

impl Watch {
    fn no_change(&self, map: AttemptId) -> Option<String> {
        let made = self.results.get(&map).map(|result| &result.digest);
        let before = self.book.jobs.get(&map.task.job)?.digests.get(&map.task);
        let has_changed = before.is_some_and(|all| all.iter().any(|digest| Some(digest) != made));
        (!has_changed).then(|| {
            format!("reduces are undone for {map}, which made {made:?} and before {before:?}")
        })
    }

    /// The JobTracker intends to launch an attempt, or repeats the command.
    pub(super) fn check_launch(
        &mut self,
        now: Monotonic,
        attempt: AttemptId,
        dead_after: Duration,
    ) {
        let is_new = self.meant.insert(attempt);
        if is_new {
            self.check_wait(now, attempt, dead_after);
        }
        let Some(winner) = self.book.winner(attempt.task).filter(|_| is_new) else { return };
        if winner.attempt != attempt {
            let what = format!("{attempt} is launched, and {} has won", winner.attempt);
            self.broken("without_cause", what);
        }
    }
}
