//! Whose turn it is: the order in which unfinished jobs are offered a slot, and how clients change it. `schedule` asks at
//! each slot.

use std::cmp::Reverse;

use mapreduce_protocol::{JobId, Priority, TaskKind};

use crate::job::LiveJob;
use crate::machine::{Core, Fifo};
use crate::messages::ReplyTo;
use crate::records::Record;

/// How unfinished jobs share the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The job of higher priority first, of equal ones the older (Hadoop: `JobQueueTaskScheduler`).
    Fifo,
    /// The job first that holds least for its weight, which is its priority's (Hadoop: `FairScheduler` with one pool): a
    /// small job beside a large one gets the next slots that become free.
    Fair,
}

/// A job's place in the order, the first one least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// Whether its reduces hold slots in vain: whatever it may hold, the next one ends that.
    stuck: Reverse<bool>,
    /// Slots that it holds, for its weight.
    held: u64,
    priority: Reverse<Priority>,
    fifo: Fifo,
}

impl Turn {
    fn new(
        sharing: Sharing,
        priority: Priority,
        (n_slots, stuck): (u32, bool),
        fifo: Fifo,
    ) -> Self {
        let held = match sharing {
            Sharing::Fifo => 0,
            Sharing::Fair => u64::from(n_slots) * share_unit(priority),
        };
        Self { stuck: Reverse(stuck), held, priority: Reverse(priority), fifo }
    }
}

/// What one slot counts for a job of that priority: twice as much as for one of the next higher.
fn share_unit(priority: Priority) -> u64 {
    match priority {
        Priority::VeryLow => 16,
        Priority::Low => 8,
        Priority::Normal => 4,
        Priority::High => 2,
        Priority::VeryHigh => 1,
    }
}

impl Core {
    pub(crate) fn handle_set_priority(&mut self, job: JobId, priority: Priority, to: ReplyTo) {
        if let Err(refusal) = self.check_unfinished(job) {
            return self.refuse_with(to, refusal);
        }
        if self.durable.job(job).is_some_and(|entry| entry.priority != priority) {
            self.record(Record::PriorityChanged { job, priority });
            self.live_mut(job).into_iter().for_each(|live| live.priority = priority);
            self.unsettled = true;
        }
        self.reply_status(job, to);
    }

    /// The jobs with waiting tasks or late attempts that are not paused, in the order in which they are asked whether they want a slot.
    pub(crate) fn turns(&self) -> Vec<Fifo> {
        let wants = |it: &LiveJob| !it.paused && (it.has_waiting() || !it.late.is_empty());
        let wanting = self.jobs.iter().filter(|(_, live)| wants(live));
        let turn = |(fifo, live): (&Fifo, &LiveJob)| {
            let held = |kind| live.tasks(kind).n_live();
            let n_slots = held(TaskKind::Map) + held(TaskKind::Reduce);
            Turn::new(self.settings.sharing, live.priority, (n_slots, live.is_stuck()), *fifo)
        };
        let mut turns: Vec<_> = wanting.map(turn).collect();
        turns.sort_unstable();
        turns.into_iter().map(|turn| turn.fifo).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_by_what_is_held_for_the_weight_then_by_priority_then_by_age() {
        let fifo = |ordinal| {
            let date = 20_261_122;
            Fifo::of(mapreduce_protocol::JobId { date, ordinal })
        };
        // Priority and slots held, of each job by age; whose turns.
        for (sharing, jobs, expected) in [
            (Sharing::Fair, &[(Priority::Normal, 5), (Priority::Normal, 0)][..], &[1, 0][..]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::Normal, 2)], &[0, 1]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 3)], &[1, 0]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 4)], &[1, 0]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 5)], &[0, 1]),
            (Sharing::Fair, &[(Priority::VeryLow, 1), (Priority::VeryHigh, 15)], &[1, 0]),
            (Sharing::Fair, &[(Priority::VeryLow, 1), (Priority::VeryHigh, 17)], &[0, 1]),
            (Sharing::Fair, &[(Priority::Low, 0), (Priority::High, 0)], &[1, 0]),
            (Sharing::Fifo, &[(Priority::Normal, 5), (Priority::Normal, 0)], &[0, 1]),
            (Sharing::Fifo, &[(Priority::Normal, 0), (Priority::High, 9)], &[1, 0]),
        ] {
            let turn = |(at, (priority, n_slots)): (usize, &(Priority, u32))| {
                let at = u32::try_from(at).unwrap();
                (Turn::new(sharing, *priority, (*n_slots, false), fifo(at)), at)
            };
            let mut turns: Vec<_> = jobs.iter().enumerate().map(turn).collect();
            turns.sort_unstable();
            let turns: Vec<_> = turns.into_iter().map(|(_, at)| at).collect();
            assert_eq!(turns, expected, "{sharing:?} {jobs:?}");
        }
    }
}
