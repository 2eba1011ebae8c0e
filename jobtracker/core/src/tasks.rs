//! Soft state of a job's tasks of one kind, and how many of them run. Kept by `job`.

use std::time::Duration;

use mapreduce_protocol::TaskKind;

use crate::locality::Locality;
use crate::numbers::Numbers;
use crate::pace::Pace;
use crate::running::RunningEntry;
use crate::tally::Tally;
use crate::task::{LiveAttempt, TaskState};

/// The tasks of one kind.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) states: Vec<TaskState>,
    /// Tasks with a live attempt.
    pub(crate) running: u32,
    /// Tasks with two live attempts.
    pub(crate) backed_up: u32,
    /// Live attempts that the journal counts as killed: they came back.
    pub(crate) came_back: u32,
    /// All other live attempts.
    pub(crate) live: Tally,
    /// Run times of the winners.
    pub(crate) pace: Pace,
}

impl Tasks {
    /// Slots held by all live attempts.
    pub(crate) fn n_live(&self) -> u32 {
        self.live.attempts + self.came_back
    }

    /// The tasks of a job without running attempts; the run times of its winners are kept.
    pub(crate) fn of(entry: &RunningEntry, kind: TaskKind, numbers: &mut Numbers) -> Self {
        let states = vec![TaskState::default(); entry.tasks(kind).len()];
        let mut tasks = Self { states, ..Self::default() };
        for winner in entry.tasks(kind).iter().filter_map(|task| task.winner.as_ref()) {
            if let Some(ran_ms) = winner.ran_ms {
                let ran = Duration::from_millis(ran_ms);
                tasks.pace.add(numbers.host(&winner.host), ran, entry.mean_bytes(kind));
            }
        }
        tasks
    }

    /// Applies `count` (or its reverse) to the tally for a running attempt.
    pub(crate) fn count(
        &mut self,
        attempt: &LiveAttempt,
        count: impl Fn(&mut Tally, Option<Locality>),
    ) {
        if !attempt.came_back {
            count(&mut self.live, attempt.place);
        }
    }
}
