//! A job's output is what a single run could have made: all its reduces have read the same output
//! of each map, and all maps; and if its maps are functions of their input, the output of that
//! function.

use jobtracker_core::Record;
use mapreduce_protocol::{AttemptId, JobState, TaskKind};

use super::Watch;
use crate::jobs::nature::Nature;

impl Watch {
    pub(super) fn check_purity(&mut self, record: &Record, natures: &[Nature]) {
        let Record::JobEnded { job, state: JobState::Succeeded, .. } = record else { return };
        let Some(book) = self.book.jobs.get(job).filter(|book| book.n_reduces > 0) else { return };
        let nature = &natures[book.nature];
        let reduces: Vec<_> = book
            .last_tasks(*job)
            .filter_map(|task| Some(book.winners.get(&task)?.attempt))
            .collect();
        for map in 0..book.n_maps.unwrap_or(0) {
            let pure = nature.digest(job.task(TaskKind::Map, map).attempt(0));
            let expected = match nature.is_pure() {
                true => Some(&pure),
                false => reduces.first().and_then(|reduce| self.read(*reduce, map)),
            };
            let others = reduces.iter().map(|reduce| (*reduce, self.read(*reduce, map)));
            if let Some((reduce, read)) = others.into_iter().find(|(_, read)| *read != expected) {
                let what = format!("of map {map} {reduce} has read {read:?}, not {expected:?}");
                return self.broken("purity", what);
            }
        }
    }

    /// Digest of the map output that a successful reduce has read.
    fn read(&self, reduce: AttemptId, map: u32) -> Option<&String> {
        self.reads.get(&reduce)?.get(&map).map(|(_, digest)| digest)
    }
}
