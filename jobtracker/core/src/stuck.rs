//! Jobs whose reduces hold slots and that cannot go on without another slot, for a map that these
//! reduces wait for. `schedule` decides which reduce gives way, `order` whose turn it is.

use ids::{HostName, Monotonic};
use mapreduce_protocol::{AttemptId, TaskKind};

use crate::job::LiveJob;
use crate::speculate::Late;

impl LiveJob {
    /// Whether a map that reduces may wait for must run again while few maps run. Such a map takes
    /// any slot, so that the slot which a reduce gave up does not go to a reduce again.
    pub(crate) fn is_pressed(&self) -> bool {
        let must_run_again = self.waiting_maps().first().is_some_and(|first| !first.first_run);
        must_run_again && self.few_maps_run()
    }

    /// Whether no map runs, or fewer than half as many maps as reduces, which all wait for the lost
    /// ones. With fewer slots the maps of a few dead hosts would run one after the other and take
    /// longer than the whole job did; with more, the reduces would lose more of what they have
    /// fetched than is gained.
    fn few_maps_run(&self) -> bool {
        let running = |kind| self.tasks(kind).running;
        let maps = running(TaskKind::Map);
        maps == 0 || maps < running(TaskKind::Reduce) / 2
    }

    /// The reduce launched last on a suitable host, and when.
    pub(crate) fn youngest_reduce(
        &self,
        will_do: impl Fn(&HostName) -> bool,
    ) -> Option<(Monotonic, AttemptId)> {
        let reduces = self.live_attempts(TaskKind::Reduce);
        let useful = reduces.filter(|(_, attempt)| will_do(&attempt.host));
        useful.map(|(task, it)| (it.since, task.attempt(it.number))).max()
    }

    /// Whether reduces hold slots while the job makes no progress: maps wait but none runs (or few,
    /// if they must run again), or every running map is late.
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
