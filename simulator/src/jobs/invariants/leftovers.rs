//! When all jobs have ended, nothing of them is left: no process, map output, staging folder,
//! upload or occupied slot.

use std::collections::BTreeMap;

use mapreduce_protocol::AttemptId;

use super::Watch;
use crate::jobs::process::Process;
use crate::jobs::scene::Scene;

impl Watch {
    /// A process of a job that is over, if there is one.
    pub(crate) fn survivor(&self, processes: &BTreeMap<AttemptId, Process>) -> Option<AttemptId> {
        let is_over = |attempt: &&AttemptId| self.book.unfinished(attempt.task.job).is_none();
        processes.keys().find(is_over).copied()
    }
}

impl Scene {
    /// Remaining data of jobs that are over, on disks and in stores.
    pub(crate) fn leftover(&self) -> Option<String> {
        let book = &self.watch.book;
        let is_over = |it: &&AttemptId| book.unfinished(it.task.job).is_none();
        if let Some(output) = self.outputs.on_disk.keys().find(is_over) {
            return Some(format!("there is still the output of {output}"));
        }
        let over = book.jobs.iter().filter(|(_, job)| job.ended.is_some());
        over.map(|(job, _)| *job)
            .find_map(|job| self.store.leftover(job))
            .map(|left| format!("there is still {left}"))
    }
}
