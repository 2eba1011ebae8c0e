//! A task has one winner at a time, which really succeeded, wins only once, and read nothing that
//! is void.

use jobtracker_core::Record;
use mapreduce_protocol::TaskKind;

use super::Watch;
use crate::jobs::ground::tracker_on;

impl Watch {
    pub(super) fn check_winner(&mut self, record: &Record) {
        let Record::TaskSucceeded { attempt, host, digest, counters, .. } = record else { return };
        let Some(book) = self.book.jobs.get(&attempt.task.job) else { return };
        let is_reduce = attempt.task.kind == TaskKind::Reduce;
        let result = self.results.get(attempt);
        let wrong = if book.ended.is_some() {
            Some("its job has ended".to_owned())
        } else if let Some(winner) = book.winners.get(&attempt.task) {
            Some(format!("{} has", winner.attempt))
        } else if book.won.contains(attempt) {
            Some("it has won before".to_owned())
        } else if book.failed.contains(attempt) {
            Some("it has failed before".to_owned())
        } else if is_reduce && attempt.number < book.reduces_from {
            Some(format!("it may have read old bytes: {} and on may not", book.reduces_from))
        } else if self.spawned.get(attempt) != Some(&tracker_on(host)) {
            Some(format!("it did not run on {host}"))
        } else if result.is_none_or(|it| it.digest != *digest || it.counters != *counters) {
            Some(format!("its process said {result:?}"))
        } else {
            None
        };
        if let Some(why) = wrong {
            self.broken("one_winner", format!("{attempt} wins, and {why}"));
        }
    }
}
