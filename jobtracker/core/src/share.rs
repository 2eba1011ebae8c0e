//! How jobs share slots, and how clients change that. `order` decides whose turn it is.

use mapreduce_protocol::{JobId, Priority};

use crate::machine::Core;
use crate::messages::ReplyTo;
use crate::records::Record;

/// How unfinished jobs share the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The job of the highest priority first, of equal ones the oldest (Hadoop:
    /// `JobQueueTaskScheduler`).
    Fifo,
    /// The job first that holds least for the weight of its priority (Hadoop: `FairScheduler` with
    /// one pool): a small job beside a large one gets the next slots that become free.
    Fair,
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
}
