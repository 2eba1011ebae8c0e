//! Jobs whose reduces hold slots, and that can't go on without one more, for a map that the reduces wait for: who gives way is
//! `schedule`'s to say, whose turn it is `order`'s.

use ids::{HostName, Monotonic};
use mapreduce_protocol::{AttemptId, TaskKind};

use crate::job::LiveJob;
use crate::speculate::Late;

impl LiveJob {
    /// Whether a map must run again that reduces may wait for, and few run: it takes any slot that there is, lest the one that
    /// a reduce has given way for goes to a reduce again.
    pub(crate) fn is_pressed(&self) -> bool {
        let must_run_again = self.waiting_maps().first().is_some_and(|first| !first.first_run);
        must_run_again && self.few_maps_run()
    }

    /// Whether none runs, or fewer than half as many as reduces, which all wait for those that were lost: one after the
    /// other, the maps of a few dead hosts would take longer than all of the job did. More slots than that would cost the
    /// reduces more of what they have fetched than it gains.
    fn few_maps_run(&self) -> bool {
        let running = |kind| self.tasks(kind).running;
        let maps = running(TaskKind::Map);
        maps == 0 || maps < running(TaskKind::Reduce) / 2
    }

    /// The reduce that was launched last on a host that will do, and when.
    pub(crate) fn youngest_reduce(
        &self,
        will_do: impl Fn(&HostName) -> bool,
    ) -> Option<(Monotonic, AttemptId)> {
        let reduces = self.live_attempts(TaskKind::Reduce);
        let useful = reduces.filter(|(_, attempt)| will_do(&attempt.host));
        useful.map(|(task, it)| (it.since, task.attempt(it.number))).max()
    }

    /// Whether reduces hold slots of a job that can't go on without another one: its maps wait and none runs, or few of
    /// those that must run again, or all that run are late.
    pub(crate) fn is_stuck(&self) -> bool {
        let running = self.tasks(TaskKind::Map).running as usize;
        let is_late_map = |late: &&Late| {
            let task = late.attempt.task;
            task.kind == TaskKind::Map && self.is_live(late.attempt) && self.live(task).len() == 1
        };
        let late = self.late.iter().filter(is_late_map).count();
        let stands_still = match self.waiting_maps().is_empty() {
            true => running > 0 && running <= late,
            false => running == 0 || self.is_pressed(),
        };
        self.tasks(TaskKind::Reduce).running > 0 && stands_still
    }
}
